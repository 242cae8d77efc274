"""Independent parsers of all formats, slow and plain: what a file says by another reading.

They share nothing with the readers, and parse what the readers have accepted; `fuzz_compare` finds
where the two differ.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from fuzz_compare import Floats, NotParsedError, Parsed
from scipy.io import loadmat

NAN = float("nan")
SIZE = 480, 640
"""Height and width of the frames of all inputs that do not hold them."""


Parse = Callable[[Path], Mapping[str, Parsed]]


def _clips(parse: Callable[[Any], Parsed], parts: Mapping[str, Any]) -> dict[str, Parsed]:
    """The clips that can be parsed; a reader that has read another one is found out."""
    found = {}
    for clip, part in parts.items():
        with contextlib.suppress(Exception):  # anything can be wrong with the others
            found[clip] = parse(part)
    return found


def number(value: Any) -> float:
    """A value as a number; NaN for null."""
    return NAN if value is None else float(value)


def whole(value: Any) -> Any:
    """A value, as an integer where it is one."""
    is_whole = isinstance(value, float) and value % 1 == 0 and abs(value) < 2**53
    return int(value) if is_whole else value


def _column(values: Any) -> Floats:
    return np.array([number(value) for value in values])


def _pose(person: Mapping[str, Any]) -> Floats:
    """A person in any JSON of COCO's kind."""
    given, scores = person["keypoints"], person.get("keypoint_scores")
    if isinstance(given, dict):
        visible = given.get("visible")
        ones = np.ones(len(given["x"]))
        return np.stack([_column(given["x"]), _column(given["y"]),
                         ones if visible is None else _column(visible)], 1)
    if isinstance(given[0], list):
        rows = np.stack([_column(joint) for joint in given])
    elif scores is None:
        rows = _column(given).reshape(-1, 3)
    else:
        rows = _column(given).reshape(len(scores), -1)
    if scores is not None:
        return np.column_stack([rows, _column(scores)])
    return rows if rows.shape[1] == 3 else np.column_stack([rows, np.ones(len(rows))])


def _orders(entries: Sequence[Mapping[str, Any]], *keys: str) -> list[Any]:
    """What entries are in order by."""
    for key in keys:
        values = [whole(entry.get(key)) for entry in entries]
        if all(isinstance(value, int) for value in values):
            return values
        texts = [str(int(value)) if isinstance(value, int) else value for value in values]
        if all(isinstance(text, str) and re.search("[0-9]", text) for text in texts):
            stems = [re.sub(r"\.[^./]*$", "", str(text)) for text in texts]
            found = [re.findall("[0-9]+", stem) or re.findall("[0-9]+", str(text))
                     for stem, text in zip(stems, texts, strict=True)]
            is_one_form = len({re.sub("[0-9]+", "#", str(text)) for text in texts}) == 1
            return [tuple(map(int, digits if is_one_form else digits[-1:])) for digits in found]
    raise ValueError("no numbers of frames")


def parse_coco(path: Path) -> dict[str, Parsed]:
    """JSON of COCO, MMPose, AlphaPose, Ultralytics."""
    content = json.loads(path.read_bytes())
    if isinstance(content, dict) and "annotations" in content:
        orders = _orders(content["images"], "frame_id", "file_name", "id")
        order = {repr(whole(image.get("id"))): at
                 for image, at in zip(content["images"], orders, strict=True)}
        poses = [(order[repr(whole(one.get("image_id")))], _pose(one))
                 for one in content["annotations"] if one.get("keypoints")]
        return {path.stem: Parsed(poses)}
    if isinstance(content, dict) and "instance_info" in content:
        content = content["instance_info"]
    if isinstance(content, dict):
        content = [{**person, "image_id": image} for image, persons in content.items()
                   for person in persons]
    if content and all(isinstance(frame, str) for frame in content):
        content = [json.loads(frame) for frame in content]
    if content and all(isinstance(frame, list) for frame in content):
        content = [{"frame_id": i, "instances": frame} for i, frame in enumerate(content)]
    if any("instances" in entry for entry in content):
        orders = _orders(content, "frame_id")
        return {path.stem: Parsed([
            (at, _pose(person)) for at, entry in zip(orders, content, strict=True)
            for person in entry["instances"]])}
    orders = _orders(content, "frame_id", "file_name", "image_id")
    return {path.stem: Parsed([(at, _pose(person))
                               for at, person in zip(orders, content, strict=True)])}


def parse_openpose(path: Path) -> dict[str, Parsed]:
    """A frame of OpenPose."""
    people = json.loads(path.read_bytes())["people"]
    bodies = [person["pose_keypoints_2d"] for person in people]
    return {"a": Parsed([(0, _column(body).reshape(-1, 3)) for body in bodies if np.size(body)])}


def parse_yolo(path: Path) -> dict[str, Parsed]:
    """A frame of YOLO-pose, with ``x y v`` of all joints, and two values after them."""
    lines = [line.decode("latin1").split() for line in path.read_bytes().splitlines()]
    poses = [(1, _column(line[5 : 5 + (len(line) - 5) // 3 * 3]).reshape(-1, 3)
              * (SIZE[1], SIZE[0], 1)) for line in lines if line]
    return {"a": Parsed(poses)}


def _lines(path: Path) -> list[list[str]]:
    text = path.read_bytes().decode("utf-8-sig")
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    return [[cell.strip() for cell in line] for line in lines if any(map(str.strip, line))]


def _by_clip(path: Path) -> dict[str, list[dict[str, str]]]:
    """The lines of each clip by the names of their columns.

    An empty line stands for one of another length; it may be of the clip before it or after it.
    """
    names, *lines = _lines(path)
    clips: dict[str, list[dict[str, str]]] = {}
    current, flawed = path.stem, False
    for i, line in enumerate(lines):
        if len(line) != len(names):
            clips.setdefault(current, []).append({})
            flawed = True
            continue
        row = dict(zip(names[::-1], line[::-1], strict=True))  # the first of two of a name
        clip = row.get("clip", path.stem)
        clips.setdefault(clip, []).extend([{}] * (flawed and clip != current))
        clips[clip].append({"frame": str(i), **row})
        current, flawed = clip, False
    return clips


def parse_long_csv(path: Path, joints: Sequence[str]) -> dict[str, Parsed]:
    """A line per joint."""
    def parse(rows: list[dict[str, str]]) -> Parsed:
        poses: dict[tuple[float, float], Floats] = {}
        for row in rows:
            joint = row["joint"]
            index = joints.index(joint) if joint in joints else int(float(joint))
            key = float(row["frame"]), float(row["person"])
            x, y, score = row["x"], row["y"], row.get("score", "1")
            poses.setdefault(key, np.zeros((len(joints), 3)))[index] = [
                float(x or NAN), float(y or NAN), float(score or NAN)]
        return Parsed([(frame, pose) for (frame, _), pose in poses.items()])

    return _clips(parse, _by_clip(path))


def parse_wide_csv(path: Path, joints: Sequence[str]) -> dict[str, Parsed]:
    """A line per frame, with ``nose_x,nose_y,nose_score`` and so on."""
    def parse(rows: list[dict[str, str]]) -> Parsed:
        rows = [{re.sub("[ ._:/-]+", "_", name): cell for name, cell in row.items()}
                for row in rows]
        return Parsed([(float(row["frame"]), np.array(
            [[*(float(row[f"{joint}_{axis}"] or NAN) for axis in "xy"),
              _score(row.get(f"{joint}_score", ""))] for joint in joints])) for row in rows],
            rows[0].get("label", ""))

    return _clips(parse, _by_clip(path))


def parse_deeplabcut(path: Path, joints: Sequence[str]) -> dict[str, Parsed]:
    """Three lines above those of the frames."""
    lines = _lines(path)
    rows = {line[0].lower(): line for line in lines[:4]}
    header = sum(name in rows for name in ("scorer", "individuals", "bodyparts", "coords"))
    column = {(part, axis.lower()): i for i, (part, axis) in enumerate(
        zip(rows["bodyparts"], rows["coords"], strict=True)) if i}
    poses = []
    for line in lines[header:]:
        pose = np.array([[float(line[column[joint, axis]] or NAN) for axis in "xy"]
                         + [_score(line[column[joint, "likelihood"]])
                            if (joint, "likelihood") in column else 1.0] for joint in joints])
        poses.append((float(line[0]), pose))
    return {path.stem: Parsed(poses)}


def _score(cell: str) -> float:
    """A score; 1 where there is none."""
    value = float(cell or NAN)
    return 1.0 if np.isnan(value) else value


def _rows(keypoints: Any, scores: Any) -> list[tuple[int, Floats]]:
    """Poses of arrays ``(M, T, V, C)`` and ``(M, T, V)``."""
    joined = np.concatenate([np.asarray(keypoints, np.float64),
                             np.asarray(scores, np.float64)[..., None]], -1)
    return [(t, pose) for person in joined for t, pose in enumerate(person)]


def parse_npz(path: Path) -> dict[str, Parsed]:
    """Arrays of one's own."""
    with np.load(path, allow_pickle=True) as arrays:
        keypoints = arrays["keypoints"]
        scores = arrays["scores"] if "scores" in arrays else (keypoints != 0).any(-1)
        label = arrays["label"].item() if "label" in arrays and arrays["label"].size == 1 else None
    label = whole(label)
    if keypoints.ndim == 3:
        keypoints, scores = keypoints[None], scores[None]
    is_text = isinstance(label, str | int | bytes) and not isinstance(label, bool)
    text = label.decode(errors="replace") if isinstance(label, bytes) else str(label)
    return {path.stem: Parsed(_rows(keypoints, scores), text.strip() if is_text else "",
                              zero_is_missing=keypoints.shape[-1] == 2)}


def parse_pickle(path: Path) -> dict[str, Parsed]:
    """PYSKL; persons are kept as they are."""
    def parse(one: Mapping[str, Any]) -> Parsed:
        keypoints, scores = np.asarray(one["keypoint"], np.float64), one.get("keypoint_score")
        if scores is None:
            scores = np.isfinite(keypoints).all(-1) & (keypoints != 0).any(-1)
        label = int(one.get("label", -1))
        return Parsed(_rows(keypoints, scores), "" if label == -1 else str(label),
                      zero_is_missing=False)

    # NumPy trusts a pickle, and can crash where the reader ignores what is damaged.
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException), path.open("rb") as file:
            pickle.load(file, encoding="latin1")
            code = 0
        os._exit(code)
    if os.waitpid(child, 0)[1]:
        raise NotParsedError
    with path.open("rb") as file:
        content = pickle.load(file, encoding="latin1")
    annotations = content["annotations"] if isinstance(content, dict) else content
    return _clips(parse, {one["frame_dir"]: one for one in annotations})


def parse_sleap(path: Path) -> dict[str, Parsed]:
    """Analysis export: (tracks, 2, nodes, frames)."""
    with h5py.File(path) as file, np.errstate(invalid="ignore"):  # a NaN may be a signal
        tracks = np.asarray(file["tracks"][()], np.float64).transpose(0, 3, 2, 1)
        scores = np.ones(tracks.shape[:3])
        if "point_scores" in file:  # a reader that accepts what cannot be read here is found out
            scores = np.nan_to_num(file["point_scores"][()]).transpose(0, 2, 1)
    return {path.stem: Parsed(_rows(tracks, scores))}


def parse_mediapipe(path: Path) -> dict[str, Parsed]:
    """Rows of 258 or 132 values, or landmarks."""
    array = np.asarray(np.load(path, allow_pickle=True), np.float64)
    poses = []
    for t, frame in enumerate(array):
        if frame.ndim == 1:
            hands = frame[132:].reshape(-1, 3)
            rows = np.concatenate([frame[:132].reshape(33, 4)[:, [0, 1, 3]],
                                   np.column_stack([hands[:, :2], np.ones(len(hands))])])
        else:
            rows = frame[:, [0, 1, 3]] if frame.shape[1] == 4 else np.column_stack(
                [frame[:, :2], np.ones(len(frame))])
        poses.append((t, np.column_stack([_scaled(rows[:, :2]), rows[:, 2]])))
    return {path.stem: Parsed(poses)}


def parse_videopose3d(path: Path) -> dict[str, Parsed]:
    """An object in an archive."""
    with np.load(path, allow_pickle=True) as arrays:
        key = "positions_2d" if "positions_2d" in arrays else "positions_3d"
        positions = arrays[key].item()
    found = {}
    for subject, actions in positions.items():
        for action, cameras in actions.items():
            several = cameras if isinstance(cameras, list | tuple) else [cameras]
            for camera, keypoints in enumerate(several):
                name = f"{subject}/{action}" + (f"/{camera}" if len(several) > 1 else "")
                if isinstance(keypoints, np.ndarray) and keypoints.ndim == 3:
                    label = "" if action == "custom" else re.sub(r" \d+$", "", str(action))
                    found[name] = Parsed(_rows(keypoints[None], np.ones((1, *keypoints.shape[:2]))),
                                         label, zero_is_missing=keypoints.shape[2] == 2)
    return found


def parse_ctrgcn(path: Path) -> dict[str, Parsed]:
    """Rows of two persons with 25 joints."""
    def parse(row: tuple[Any, Any]) -> Parsed:
        keypoints = row[0].reshape(-1, 2, 25, 3).swapaxes(0, 1)
        present = (keypoints != 0).any((2, 3))
        scores = np.broadcast_to(present[..., None], keypoints.shape[:3])
        label = row[1].argmax() if row[1].ndim else int(row[1])
        return Parsed(_rows(keypoints, scores), str(label), zero_is_missing=False)

    with np.load(path, allow_pickle=True) as arrays:
        rows = {f"{part}_{i:06d}": row for part in ("train", "test")
                if np.ndim(arrays[f"x_{part}"]) == 3 for i, row in enumerate(
                    zip(arrays[f"x_{part}"], arrays[f"y_{part}"], strict=False))}
    return _clips(parse, rows)


def parse_nw_ucla(path: Path) -> dict[str, Parsed]:
    """A clip in metres."""
    frames = json.loads(path.read_bytes())["skeletons"]
    poses = [(t, np.stack([np.append(_column(joint), 1) for joint in frame]))
             for t, frame in enumerate(frames)]
    return {path.stem: Parsed(poses, "pick up with one hand", zero_is_missing=False)}


def _scaled(shares: Floats) -> Floats:
    with np.errstate(over="ignore"):
        return shares * (SIZE[1], SIZE[0])


def parse_kinetics(path: Path) -> dict[str, Parsed]:
    """A clip in shares of the frame."""
    content = json.loads(path.read_bytes())
    label = whole(content.get("label"))
    poses = [(entry["frame_index"], np.column_stack([
        _scaled(_column(person["pose"]).reshape(-1, 2)), _column(person["score"])]))
        for entry in content["data"] for person in entry["skeleton"]]
    return {path.stem: Parsed(poses, str(label) if isinstance(label, str | int) else "")}


def parse_penn_action(path: Path) -> dict[str, Parsed]:
    """Coordinates count from 1; what is not annotated lies near the corner."""
    content = loadmat(path, variable_names=("action", "visibility", "x", "y"))
    x, y = (np.asarray(content[axis], np.float64) for axis in "xy")
    is_hidden = content["visibility"] == 0
    at_corner = (x >= 0) & (x < 2) & (y >= 0) & (y < 2)
    scores = np.select([is_hidden & at_corner, is_hidden], [0.0, 0.5], 1.0)
    joined = np.stack([x - 1, y - 1, scores], -1)
    return {path.stem: Parsed(list(enumerate(joined)), str(content["action"].item()),
                              zero_is_missing=False)}


def parse_ntu(path: Path) -> dict[str, Parsed]:
    """Pixels of the colour image; which bodies count is another question."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            name = next(n for n in archive.namelist() if n.endswith(".skeleton"))
            data = archive.read(name)
    else:
        name, data = path.name, path.read_bytes()
    lines = iter([line.split() for line in data.decode("latin1").splitlines() if line.strip()])
    poses = []
    for t in range(int(next(lines)[0])):
        for _ in range(int(next(lines)[0])):
            next(lines)
            joints = [next(lines) for _ in range(int(next(lines)[0]))]
            poses.append((t, np.array([[float(joint[5]), float(joint[6]), float(joint[11]) / 2]
                                       for joint in joints])))
    return {Path(name).stem: Parsed(poses, chosen=True)}


def parse_keypoint_file(path: Path) -> dict[str, Parsed]:
    """Our own format."""
    found = {}
    with h5py.File(path) as file:
        index = {name: stored[()] for name, stored in file["clips"].items()}
        for i, clip in enumerate(index["id"]):
            persons, frames = int(index["num_persons"][i]), int(index["num_frames"][i])
            first = int(index["start"][i])
            rows = slice(first, first + persons * frames)
            keypoints = file["frames/keypoints"][rows].reshape(persons, frames, 17, 2)
            scores = file["frames/scores"][rows].reshape(persons, frames, 17)
            found[clip.decode()] = Parsed(_rows(keypoints, scores), zero_is_missing=False,
                                          keeps_far=True)
    return found


def parse_labels(path: Path, poses: Mapping[str, Parsed]) -> dict[str, Parsed]:
    """A CSV file of labels for clips whose poses are known."""
    names, *lines = _lines(path)
    rows = {row["clip"]: row for row in (dict(zip(names, line, strict=True)) for line in lines)}
    return {clip: Parsed(one.poses, rows.get(clip, {}).get("label", ""))
            for clip, one in poses.items()}
