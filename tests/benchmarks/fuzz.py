"""Mutated inputs of every format: each must be read or refused, never end in a traceback.

``python tests/benchmarks/fuzz.py [NUMBER] [SEED]`` reads NUMBER mutations of an input of each
format, 1,000 by default: bytes are changed, cut or repeated, and values, keys and words replaced.
What ends in anything but a `UserError` is kept in ``fuzz_failures``, and makes the command fail.
"""

from __future__ import annotations

import copy
import io
import json
import pickle
import random
import shutil
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.io import savemat

from preprocessing.core.plausibility import check_clip
from preprocessing.core.source import Source
from preprocessing.datasets.ctrgcn import CtrGcnSource
from preprocessing.datasets.ntu.source import NtuSource
from preprocessing.datasets.penn_action import PennActionSource
from preprocessing.datasets.pyskl import PysklSource
from preprocessing.synthetic.actions import ACTIONS
from preprocessing.synthetic.body import Build
from preprocessing.synthetic.dataset import perform
from preprocessing.synthetic.sensor import Camera, record, write_skeletons
from preprocessing.tools.arrays import ArraysSource
from preprocessing.tools.coco import CocoSource
from preprocessing.tools.mediapipe import MediapipeSource
from preprocessing.tools.openpose import OpenPoseSource
from preprocessing.tools.skeleton_json import KineticsSource, NwUclaSource
from preprocessing.tools.videopose3d import VideoPose3DSource
from preprocessing.tools.wide import WideSource
from preprocessing.tools.yolo import YoloSource
from ptl_skel.errors import UserError
from ptl_skel.skeletons import get_layout
from ptl_skel.storage import valid_clip

SIZE = 480, 640
ODD: list[Any] = [
    None, True, -1, 10**30, -10**400, 2**63, 1e308, float("nan"), float("inf"), "", "x", "7", "nan",
    "\0", "\udcff", [], {}, [[]], [None], {"a": 1}, [1, [2]], "a.jpg", 1.5]
ODD_IN_ARRAYS: list[Any] = [
    *ODD, b"x", (), (2, 3), np.float32("nan"), np.int64(2**62), np.zeros(0), np.array("a"),
    np.full((1, 2, 17, 2), np.inf), np.ones((1, 1, 17, 3), np.float16),
    np.ones((2, 3, 17, 2), np.int8), np.ones((1, 3, 17, 2), ">f8"), {1, 2},
    np.array([np.nan, 5.0]), np.ones((2, 0, 17, 2)), np.ones((3, 17, 2)) * 1e300]
WORDS = ["", "x", "-1", "1e400", "nan", "inf", "9" * 30, "0", "1.5", '"', "\n", "1e308", "99999",
         "²", "0x1", "1_0"]


@dataclass(frozen=True)
class Format:
    """A format and an input of it.

    Args:
        name: Of the file.
        content: Either a tree of containers, which `dump` writes, or a text of words.
        source: Reads the file, given its path.
        dump: Writes a tree; None for a text.
        odd: What values of a tree are replaced by.
        separator: Between the words of a text.
    """

    name: str
    content: Any
    source: Callable[[Path], Source]
    dump: Callable[[Any], bytes] | None = None
    odd: tuple[Any, ...] = tuple(ODD)
    separator: str = " "


def formats() -> dict[str, Format]:
    """An input of every format, by a name for it."""
    pose = [[100.0 + joint, 200.0, 0.5] for joint in range(17)]
    flat = [value for joint in pose for value in joint]
    arrays = tuple(ODD_IN_ARRAYS)
    keypoints = np.random.default_rng(0).uniform(50, 400, (2, 3, 17, 2)).astype(np.float32)
    table = "clip,frame,person,joint,x,y,score\n" + "".join(
        f"c{clip},{frame},0,{joint},{100 + joint}.5,200,0.5\n"
        for clip in range(2) for frame in range(2) for joint in range(17))
    skeleton = _skeleton()
    results = [{"image_id": f"{frame}.jpg", "keypoints": flat, "idx": [1.0]} for frame in range(3)]
    return {
        "COCO results": _json("one.json", results, CocoSource),
        "COCO annotations": _json("one.json", {
            "images": [{"id": i, "file_name": f"{i}.jpg", "height": 480, "width": 640}
                       for i in range(3)],
            "annotations": [{"image_id": i, "track_id": 1, "keypoints": flat} for i in range(3)],
            "categories": [{"id": 1, "keypoints": []}]}, CocoSource),
        "MMPose": _json("one.json", {"instance_info": [{"frame_id": i, "instances": [
            {"keypoints": [joint[:2] for joint in pose], "keypoint_scores": [0.5] * 17}]}
            for i in range(3)]}, CocoSource),
        "AlphaPose": _json("one.json", {f"{i}.jpg": results[:1] for i in range(3)}, CocoSource),
        "Ultralytics": _json("one.json", [[{"track_id": 1, "keypoints": {
            "x": flat[::3], "y": flat[1::3], "visible": flat[2::3]}}] for _ in range(3)],
            CocoSource),
        "OpenPose": _json("a_000_keypoints.json", {"people": [
            {"person_id": [i], "pose_keypoints_2d": [9.0 + i] * 75} for i in range(2)]},
            OpenPoseSource),
        "YOLO": Format("a_1.txt", f"0 0.5 0.5 0.2 0.4{' 0.5 0.5 0.7' * 17} 0.9 1\n" * 2,
                       lambda path: YoloSource(path.parent, frame_size=SIZE)),
        "CSV": Format("one.csv", table, lambda path: ArraysSource(
            path, frame_size=SIZE, layout="coco17"), separator=","),
        "NPZ": Format("one.npz", {"keypoints": keypoints, "scores": np.ones((2, 3, 17)),
                                  "label": "jump", "height": 480, "width": 640},
                      lambda path: ArraysSource(path, frame_size=SIZE), _npz, arrays),
        "PYSKL": Format("one.pkl", {"split": {"x_train": ["a"], "x_val": ["b"]}, "annotations": [
            {"frame_dir": name, "label": i, "img_shape": [480, 640], "total_frames": 3,
             "keypoint": keypoints, "keypoint_score": np.ones((2, 3, 17), np.float16)}
            for i, name in enumerate("ab")]}, PysklSource, _pickle, arrays),
        "Wide table": Format("one.csv", _wide_table(), lambda path: WideSource(
            path, frame_size=SIZE), separator=","),
        "DeepLabCut": Format("one.csv", _deeplabcut(), lambda path: WideSource(
            path, frame_size=SIZE), separator=","),
        "SLEAP": Format("one.h5", {
            "tracks": keypoints.transpose(0, 3, 2, 1), "point_scores": np.ones((2, 17, 3)),
            "node_names": np.array([f"{joint}".encode() for joint in get_layout("coco17").joints])},
            lambda path: WideSource(path, frame_size=SIZE), _hdf5, arrays),
        "MediaPipe": Format("one.npy", {"frames": np.full((3, 258), 0.5)}, lambda path:
                            MediapipeSource(path, frame_size=SIZE), _npy, arrays),
        "VideoPose3D": Format("one.npz", {
            "positions_2d": {"S1": {"Walking 1": [keypoints[0]]}, "S2": {"custom": [keypoints[1]]}},
            "metadata": {"layout_name": "h36m", "video_metadata": {"S1": {"w": 640, "h": 480}}}},
            lambda path: VideoPose3DSource(path, frame_size=SIZE), _npz, arrays),
        "CTR-GCN": Format("NTU60_CS.npz", {
            "x_train": np.full((1, 5, 150), -1.0, np.float32), "y_train": np.eye(3)[:1],
            "x_test": np.full((1, 5, 150), -1.0, np.float32), "y_test": np.eye(3)[1:2]},
            CtrGcnSource, _npz, arrays),
        "NW-UCLA": Format("a01_s01_e00_v01.json", {
            "file_name": "a01_s01_e00_v01", "label": 1, "skeletons": [
                [[-1.0, i, 2.0] for i in range(20)] for _ in range(3)]}, NwUclaSource,
            lambda tree: json.dumps(tree).encode()),
        "Kinetics-Skeleton": Format("one.json", {"label": "yoga", "label_index": 1, "data": [
            {"frame_index": i, "skeleton": [{"pose": [0.5] * 36, "score": [0.5] * 18}]}
            for i in range(3)]}, lambda path: KineticsSource(path, frame_size=SIZE),
            lambda tree: json.dumps(tree).encode()),
        "Penn Action": Format("0001.mat", {
            "action": "squat", "train": 1, "dimensions": np.array([480, 640, 3]),
            "visibility": np.ones((3, 13)), "x": np.full((3, 13), 30.0),
            "y": np.full((3, 13), 40.0)}, lambda path: PennActionSource(path.parent), _mat, arrays),
        "NTU": Format("S001C001P001R001A001.skeleton", skeleton,
                      lambda path: NtuSource(path.parent)),
        "NTU in an archive": Format("one.zip", skeleton, lambda path: NtuSource(path), _zip),
    }


def mutate(rng: random.Random, given: Format) -> bytes:
    """The bytes of a mutated input."""
    if given.dump is not None:
        tree = given.content
        if rng.random() < 0.7 and not isinstance(tree, str):
            tree = _replace(rng, tree, given.odd)
        raw = given.dump(tree)
        return raw if rng.random() < 0.5 else _twist(rng, raw)
    words = given.content.split(given.separator)
    for _ in range(rng.choice((0, 1, 3))):
        words[rng.randrange(len(words))] = rng.choice(WORDS)
    raw = given.separator.join(words).encode()
    return raw if rng.random() < 0.5 else _twist(rng, raw)


def read(given: Format, path: Path) -> bool:
    """Reads a file as the command does; whether it gives a clip.

    Raises:
        Exception: A bug.
    """
    try:
        source = given.source(path)
        clips = []
        for key in source.keys():  # noqa: SIM118  # a source is not a dictionary
            try:
                clips += [valid_clip(check_clip(clip), source.header) for clip in source.read(key)]
            except UserError:
                continue
        source.splits([clip.id for clip in clips])
    except UserError:
        return False
    return bool(clips)


def fuzz(name: str, given: Format, number: int, seed: int, failures: Path) -> tuple[int, int]:
    """Reads mutations of an input; how many gave a clip, and how many ended in a traceback."""
    rng = random.Random(f"{name} {seed}")
    good = bad = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / given.name
        for _ in range(number):
            path.write_bytes(mutate(rng, given))
            try:
                good += read(given, path)
            except Exception:  # what is looked for
                bad += 1
                failures.mkdir(exist_ok=True)
                shutil.copy(path, failures / f"{name} {seed} {bad} {given.name}")
                traceback.print_exc()
    return good, bad


def _replace(rng: random.Random, tree: Any, odd: tuple[Any, ...]) -> Any:
    """Replaces or removes a node, or doubles or renames it."""
    tree = copy.deepcopy(tree)
    holder: Any = None
    key: Any = None
    node = tree
    while isinstance(node, dict | list) and node and (holder is None or rng.random() < 0.85):
        holder = node
        key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        node = node[key]
    how = rng.random()
    if holder is None:
        return rng.choice(odd)
    if how < 0.2:
        del holder[key]
    elif how < 0.3:
        if isinstance(holder, list):
            holder.append(copy.deepcopy(node))
        else:
            holder[rng.choice(("x", "people", "keypoints"))] = holder.pop(key)
    else:
        holder[key] = rng.choice(odd)
    return tree


def _twist(rng: random.Random, raw: bytes) -> bytes:
    """Cuts off the end, removes or repeats a part, or changes some bytes."""
    how, start = rng.random(), rng.randrange(len(raw) + 1)
    end = start + rng.randrange(1, 40)
    if how < 0.25:
        return raw[:start]
    if how < 0.35:
        return raw[:start] + raw[end:]
    if how < 0.45:
        return raw[:end] + raw[start:]
    changed = bytearray(raw or b"x")
    for _ in range(rng.choice((1, 1, 2, 5))):
        changed[rng.randrange(len(changed))] = rng.choice((rng.randrange(256), *b'09-\n",e'))
    return bytes(changed)


def _json(name: str, content: Any, source: type[CocoSource] | type[OpenPoseSource]) -> Format:
    return Format(name, content, lambda path: source(
        path.parent if source is OpenPoseSource else path, frame_size=SIZE),
        lambda tree: json.dumps(tree).encode())


def _pickle(tree: Any) -> bytes:
    return pickle.dumps(tree)


def _mat(tree: Any) -> bytes:
    raw = io.BytesIO()
    try:  # compressed as the real files are, so that changed bytes do not match their sum
        savemat(raw, tree, do_compression=True)  # type: ignore[arg-type]  # stub: paths only
    except Exception:  # what cannot be written cannot be there
        return b""
    return raw.getvalue()


def _npz(tree: Any) -> bytes:
    raw = io.BytesIO()
    try:
        np.savez(raw, **tree)
    except Exception:  # as above
        return b""
    return raw.getvalue()


def _npy(tree: Any) -> bytes:
    raw = io.BytesIO()
    try:
        np.save(raw, tree["frames"])
    except Exception:  # as above
        return b""
    return raw.getvalue()


def _hdf5(tree: Any) -> bytes:
    raw = io.BytesIO()
    try:
        with h5py.File(raw, "w") as file:
            for name, value in tree.items():
                file[name] = value
    except Exception:  # as above
        return b""
    return raw.getvalue()


def _wide_table() -> str:
    header = ["clip", "frame", "person", "label"]
    for joint in get_layout("coco17").joints:
        header += [f"{joint}_x", f"{joint}_y", f"{joint}_score"]
    return ",".join(header) + "\n" + "".join(
        f"c{clip},{frame},0,walk" + ",100.5,200,0.5" * 17 + "\n"
        for clip in range(2) for frame in range(2))


def _deeplabcut() -> str:
    joints = get_layout("coco17").joints
    lines = ["scorer" + ",DLC" * 51, "bodyparts" + "".join(f",{joint}" * 3 for joint in joints),
             "coords" + ",x,y,likelihood" * 17]
    return "\n".join([*lines, *(f"{frame}" + ",100.5,200,0.5" * 17 for frame in range(3)), ""])


def _zip(text: str) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("S001C001P001R001A001.skeleton", text)
    return raw.getvalue()


def _skeleton() -> str:
    rng = np.random.default_rng(0)
    bodies = perform(ACTIONS[0], rng, Build(1, 1, 1), Build(1, 1, 1))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.skeleton"
        write_skeletons(path, record([body[:9] for body in bodies], Camera(0, 3, 1), rng))
        return path.read_text()


def main(number: int = 1_000, seed: int = 0) -> int:
    """Fuzzes all formats and prints what came of it."""
    warnings.simplefilter("error")
    total = 0
    for name, given in formats().items():
        began = time.monotonic()
        good, bad = fuzz(name, given, number, seed, Path("fuzz_failures"))
        total += bad
        print(f"{name:18} {number:,} read: {good:,} gave a clip, {bad} a traceback, "
              f"{time.monotonic() - began:.1f} s", flush=True)
    return int(total > 0)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
