"""An input of every format, to be mutated: real movement where the folder of real data is there."""

from __future__ import annotations

import functools
import io
import json
import pickle
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fuzz_parsers as parsers
import h5py
import numpy as np
from fuzz_compare import Parsed
from fuzz_parsers import SIZE, Parse
from numpy.typing import NDArray
from scipy.io import loadmat, savemat

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
from ptl_skel.skeletons import get_layout
from ptl_skel.storage import Clip, ClipWriter, Header, KeypointFile

JOINTS = get_layout("coco17").joints
ODD: list[Any] = [
    None, True, -1, 10**30, -10**400, 2**63, 1e308, float("nan"), float("inf"), "", "x", "7", "nan",
    "\0", "\udcff", [], {}, [[]], [None], {"a": 1}, [1, [2]], "a.jpg", 1.5]
ODD_IN_ARRAYS: list[Any] = [
    *ODD, b"x", (), (2, 3), np.float32("nan"), np.int64(2**62), np.zeros(0), np.array("a"),
    np.full((1, 2, 17, 2), np.inf), np.ones((1, 1, 17, 3), np.float16),
    np.ones((2, 3, 17, 2), np.int8), np.ones((1, 3, 17, 2), ">f8"), {1, 2},
    np.array([np.nan, 5.0]), np.ones((2, 0, 17, 2)), np.ones((3, 17, 2)) * 1e300]


@dataclass(frozen=True)
class Format:
    """A format and an input of it.

    Args:
        name: Of the file.
        content: A tree of containers, which `dump` writes; a text of words; or bytes.
        source: The source of the file, given its path; or a keypoint file.
        parse: Reads it independently.
        dump: Writes a tree; None for a text.
        odd: What values of a tree are replaced by.
        separator: Between the words of a text.
    """

    name: str
    content: Any
    source: Callable[[Path], Source | KeypointFile]
    parse: Parse
    dump: Callable[[Any], bytes] | None = None
    odd: tuple[Any, ...] = tuple(ODD)
    separator: str = " "


def formats(shared: Path | None = None) -> dict[str, Format]:
    """An input of every format, by a name for it.

    Args:
        shared: The folder of real data; None for synthetic values.
    """
    keypoints = _movement(shared)  # (2, 3, 17, 2)
    # No two numbers are equal, or an exchange of axes would not be noticed.
    scores = np.linspace(0.3, 0.9, 102).reshape(2, 3, 17)
    flats = [[round(float(value), 3) for joint in frame for value in joint] for frame in
             np.concatenate([keypoints[0], scores[0, ..., None]], -1)]
    flat = flats[0]
    shares = np.linspace(0.2, 0.8, 3 * 258).reshape(3, 258)
    metres = np.linspace(-1.5, 1.5, 5 * 150, dtype=np.float32).reshape(1, 5, 150)
    results = [{"image_id": f"{frame}.jpg", "keypoints": flats[frame], "idx": [1.0]}
               for frame in range(3)]
    arrays = functools.partial(Format, odd=tuple(ODD_IN_ARRAYS))
    table = functools.partial(WideSource, frame_size=SIZE)
    clips = {clip: Parsed([(frame, np.reshape(flats[frame], (17, 3)))
                                   for frame in range(3)]) for clip in ("one", "two")}
    return {
        "COCO results": _json("one.json", results, CocoSource, parsers.parse_coco),
        "COCO annotations": _json("one.json", {
            "images": [{"id": i, "file_name": f"{i}.jpg", "height": 480, "width": 640}
                       for i in range(3)],
            "annotations": [{"image_id": i, "track_id": 1, "keypoints": flats[i]}
                            for i in range(3)],
            "categories": [{"id": 1, "keypoints": []}]}, CocoSource, parsers.parse_coco),
        "MMPose": _json("one.json", {"instance_info": [{"frame_id": i, "instances": [
            {"keypoints": np.reshape(flats[i], (17, 3))[:, :2].tolist(),
             "keypoint_scores": scores[0, i].tolist()}]} for i in range(3)]},
            CocoSource, parsers.parse_coco),
        "AlphaPose": _json("one.json", {f"{i}.jpg": results[i : i + 1] for i in range(3)},
                           CocoSource, parsers.parse_coco),
        "Ultralytics": _json("one.json", [[{"track_id": 1, "keypoints": {
            "x": flats[i][::3], "y": flats[i][1::3], "visible": flats[i][2::3]}}]
            for i in range(3)], CocoSource, parsers.parse_coco),
        "OpenPose": _json("a_000_keypoints.json", {"people": [
            {"person_id": [i], "pose_keypoints_2d": [*flats[i], *flats[i]][:75]}
            for i in range(2)]}, OpenPoseSource, parsers.parse_openpose),
        "YOLO": Format("a_1.txt", _yolo(shares),
                       lambda path: YoloSource(path.parent, frame_size=SIZE), parsers.parse_yolo),
        "CSV": Format("one.csv", _long_table(flat), lambda path: ArraysSource(
            path, frame_size=SIZE, layout="coco17"),
            lambda path: parsers.parse_long_csv(path, JOINTS), separator=","),
        "NPZ": arrays("one.npz", {"keypoints": keypoints, "scores": scores, "label": "jump",
                                  "height": 480, "width": 640},
                      lambda path: ArraysSource(path, frame_size=SIZE), parsers.parse_npz, _npz),
        "Wide table": Format("one.csv", _wide_table(flats), table,
                             lambda path: parsers.parse_wide_csv(path, JOINTS), separator=","),
        "DeepLabCut": Format("one.csv", _deeplabcut(flats), table,
                             lambda path: parsers.parse_deeplabcut(path, JOINTS), separator=","),
        "SLEAP": arrays("one.h5", {
            "tracks": keypoints.transpose(0, 3, 2, 1), "point_scores": scores.transpose(0, 2, 1),
            "node_names": np.array([joint.encode() for joint in JOINTS])},
            table, parsers.parse_sleap, _hdf5),
        "MediaPipe": arrays("one.npy", {"frames": shares}, lambda path:
                            MediapipeSource(path, frame_size=SIZE), parsers.parse_mediapipe, _npy),
        "VideoPose3D": arrays("one.npz", {
            "positions_2d": {"S1": {"Walking 1": [keypoints[0]]}, "S2": {"custom": [keypoints[1]]}},
            "metadata": {"layout_name": "h36m", "video_metadata": {"S1": {"w": 640, "h": 480}}}},
            lambda path: VideoPose3DSource(path, frame_size=SIZE), parsers.parse_videopose3d, _npz),
        "CTR-GCN": arrays("NTU60_CS.npz", {
            "x_train": metres, "y_train": np.eye(3)[:1], "x_test": -metres,
            "y_test": np.eye(3)[1:2]},
            CtrGcnSource, parsers.parse_ctrgcn, _npz),
        "NW-UCLA": Format("a01_s01_e00_v01.json", _nw_ucla(shared), NwUclaSource,
                          parsers.parse_nw_ucla, _dump_json),
        "Kinetics-Skeleton": Format("one.json", {"label": "yoga", "label_index": 1, "data": [
            {"frame_index": i, "skeleton": [{"pose": shares[i, :36].tolist(),
                                             "score": shares[i, 36:54].tolist()}]}
            for i in range(3)]}, lambda path: KineticsSource(path, frame_size=SIZE),
            parsers.parse_kinetics, _dump_json),
        "Penn Action": arrays("0001.mat", _penn_action(shared),
                              lambda path: PennActionSource(path.parent),
                              parsers.parse_penn_action, _mat),
        "NTU": Format("S001C001P001R001A001.skeleton", _skeleton(),
                      lambda path: NtuSource(path.parent), parsers.parse_ntu),
        "NTU in an archive": Format("one.zip", _skeleton(), lambda path: NtuSource(path),
                                    parsers.parse_ntu, _zip),
        "Labels": Format("labels.csv", "clip,label,split,subject\none,jump,train,1\n"
                         "two,walk,test,2\n", functools.partial(_labelled, results),
                         lambda path: parsers.parse_labels(path, clips), separator=","),
        "Keypoint file": Format("one.h5", _keypoint_file(keypoints, scores), KeypointFile,
                                parsers.parse_keypoint_file, bytes),
        **{f"PYSKL{name}": _pyskl(layout, annotations)
           for name, layout, annotations in _annotations(shared, keypoints, scores)},
    }


def _movement(shared: Path | None) -> NDArray[np.float32]:
    """Pixels of two persons in three frames, ``(2, 3, 17, 2)``."""
    if shared is None:
        return np.random.default_rng(0).uniform(50, 400, (2, 3, 17, 2)).astype(np.float32)
    clips = _clips(shared / "data/nw_ucla/nw_ucla_2d.pkl")
    return np.stack([clip["keypoint"][0, 4:7, :17] for clip in clips])


def _clips(path: Path) -> list[dict[str, Any]]:
    """The first and the last clip of real data, not more than 12 frames."""
    with path.open("rb") as file:
        annotations = pickle.load(file)["annotations"]
    return [{**one, "total_frames": min(12, one["keypoint"].shape[1]),
             **{name: one[name][:, :12] for name in ("keypoint", "keypoint_score") if name in one}}
            for one in (annotations[0], annotations[-1])]


def _annotations(shared: Path | None, keypoints: NDArray[np.float32], scores: NDArray[np.float64]
                 ) -> list[tuple[str, str | None, list[dict[str, Any]]]]:
    """Name, layout and annotations of PYSKL's pickles."""
    own = [{"frame_dir": name, "label": i, "img_shape": [480, 640], "total_frames": 3,
            "keypoint": keypoints, "keypoint_score": scores.astype(np.float16)}
           for i, name in enumerate("ab")]
    real = [] if shared is None else [
        (" of SBU", "sbu15", _clips(shared / "data/sbu/sbu_interaction.pkl")),
        (" of NW-UCLA", "kinect20", _clips(shared / "data/nw_ucla/nw_ucla_3d.pkl")),
        (" of MSR", "msr20", _clips(shared / "data/msr_action3d/msr_action3d.pkl"))]
    return [("", None, own), *real]


def _pyskl(layout: str | None, annotations: list[dict[str, Any]]) -> Format:
    train, val = ([one["frame_dir"]] for one in annotations)
    return Format("one.pkl", {"split": {"x_train": train, "x_val": val},
                              "annotations": annotations},
                  lambda path: PysklSource(path, layout=layout), parsers.parse_pickle,
                  pickle.dumps, tuple(ODD_IN_ARRAYS))


def _nw_ucla(shared: Path | None) -> dict[str, Any]:
    skeletons = (np.linspace(-1.5, 1.5, 180).reshape(3, 20, 3).tolist() if shared is None else
                 _clips(shared / "data/nw_ucla/nw_ucla_3d.pkl")[0]["keypoint"][0, :4].tolist())
    return {"file_name": "a01_s01_e00_v01", "label": 1, "skeletons": skeletons}


def _penn_action(shared: Path | None) -> dict[str, Any]:
    if shared is None:
        return {"action": "squat", "train": 1, "dimensions": np.array([480, 640, 3]),
                "visibility": np.ones((3, 13)), "x": np.linspace(30, 90, 39).reshape(3, 13),
                "y": np.linspace(140, 40, 39).reshape(3, 13)}
    content = loadmat(shared / "data/penn_action/labels/0001.mat")
    return {name: value for name, value in content.items() if not name.startswith("__")}


def _json(name: str, content: Any, source: type[CocoSource] | type[OpenPoseSource],
          parse: Parse) -> Format:
    return Format(name, content, lambda path: source(
        path.parent if source is OpenPoseSource else path, frame_size=SIZE), parse, _dump_json)


def _labelled(results: list[Any], path: Path) -> CocoSource:
    folder = path.parent / "clips"
    if not folder.exists():
        folder.mkdir()
        for clip in ("one", "two"):
            (folder / f"{clip}.json").write_text(json.dumps(results))
    return CocoSource(folder, frame_size=SIZE, labels=path)


def _keypoint_file(keypoints: NDArray[np.float32], scores: NDArray[np.float64]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.h5"
        with ClipWriter(path, Header("tiny", get_layout("coco17"), ("a", "b"), "fuzz")) as writer:
            for i, clip in enumerate(("one", "two")):
                writer.add(clip, [Clip(clip, keypoints + i, scores, SIZE, 1)])
            writer.finish({"own": {"train": ["one"], "test": ["two"]}})
        return path.read_bytes()


def _yolo(shares: NDArray[np.float64]) -> str:
    """Two persons in a frame."""
    return "".join("0 0.5 0.5 0.9 0.9 " + " ".join(f"{value:.4f}" for value in shares[i, :51])
                   + " 0.9 1\n" for i in range(2))


def _dump_json(tree: Any) -> bytes:
    return json.dumps(tree).encode()


def _mat(tree: Any) -> bytes:
    return _dumped(lambda raw: savemat(  # compressed, as the real files are
        raw, tree, do_compression=True))  # type: ignore[arg-type]  # stub: paths only


def _npz(tree: Any) -> bytes:
    return _dumped(lambda raw: np.savez(raw, **tree))


def _npy(tree: Any) -> bytes:
    return _dumped(lambda raw: np.save(raw, tree["frames"]))


def _hdf5(tree: Any) -> bytes:
    def write(raw: io.BytesIO) -> None:
        with h5py.File(raw, "w") as file:
            for name, value in tree.items():
                file[name] = value

    return _dumped(write)


def _dumped(write: Callable[[io.BytesIO], None]) -> bytes:
    raw = io.BytesIO()
    try:
        write(raw)
    except Exception:  # what cannot be written cannot be there
        return b""
    return raw.getvalue()


def _long_table(flat: list[float]) -> str:
    return "clip,frame,person,joint,x,y,score\n" + "".join(
        f"c{clip},{frame},0,{joint},{flat[3 * joint] + frame:.2f},{flat[3 * joint + 1]},"
        f"{0.3 + joint / 30:.2f}\n"
        for clip in range(2) for frame in range(2) for joint in range(17))


def _wide_table(flats: list[list[float]]) -> str:
    header = ["clip", "frame", "person", "label"]
    for joint in JOINTS:
        header += [f"{joint}_x", f"{joint}_y", f"{joint}_score"]
    return ",".join(header) + "\n" + "".join(
        f"c{clip},{frame},0,walk,{','.join(map(str, flats[frame]))}\n"
        for clip in range(2) for frame in range(2))


def _deeplabcut(flats: list[list[float]]) -> str:
    lines = ["scorer" + ",DLC" * 51, "bodyparts" + "".join(f",{joint}" * 3 for joint in JOINTS),
             "coords" + ",x,y,likelihood" * 17]
    return "\n".join([*lines, *(f"{frame},{','.join(map(str, flats[frame]))}"
                                for frame in range(3)), ""])


def _zip(text: str) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("S001C001P001R001A001.skeleton", text)
    return raw.getvalue()


@functools.cache
def _skeleton() -> str:
    rng = np.random.default_rng(0)
    bodies = perform(ACTIONS[0], rng, Build(1, 1, 1), Build(1, 1, 1))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.skeleton"
        write_skeletons(path, record([body[:9] for body in bodies], Camera(0, 3, 1), rng))
        lines = path.read_text().splitlines()
    joints = [i for i, line in enumerate(lines) if len(line.split()) == 12]
    for i in joints[::3]:  # inferred, not tracked
        lines[i] = " ".join([*lines[i].split()[:-1], "1"])
    return "\n".join([*lines, ""])
