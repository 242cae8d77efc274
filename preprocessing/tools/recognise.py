"""Recognises which tool wrote a file or folder, for ``preprocess keypoints``."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ptl_skel.errors import MissingFileError, UserError

from ..core.files import find_separator, is_label_table, read_bytes, read_json, walk
from ..core.plausibility import check_metres
from ..core.source import Unusable
from .arrays import read_npy
from .coco import OTHERS
from .mediapipe import ROWS
from .poses import Floats
from .tables import COLUMNS
from .video import ENDINGS
from .wide import read_table

_MAX_FILES = 20  # that are examined, of each extension
_SUFFIXES = {".skeleton": "ntu", ".pkl": "pyskl", ".pickle": "pyskl", ".mat": "penn_action",
             ".h5": "tables", ".hdf5": "tables", ".slp": "tables"}
_ARCHIVES = {"keypoints": "arrays", "positions_2d": "videopose3d", "positions_3d": "videopose3d",
             "x_train": "ctrgcn"}
# Coordinates relative to the frame are in 0..1; those of legs may be far below its edge.
_USUAL_MAX, _MAX = 1.5, 10
_MOST, _NEARLY_ALL = 0.75, 0.9  # of the coordinates: at most `_USUAL_MAX`, and not negative


def recognise(root: Path) -> str:
    """The name of the source that reads the input.

    Raises:
        MissingFileError: There is no such file or folder.
        UserError: It is ambiguous; the message lists the candidates.
    """
    if not root.exists():
        raise MissingFileError(f"{root} does not exist; give a file or a folder of keypoints")
    found: dict[str, Path] = {}
    seen: dict[str, int] = {}
    reason = ""
    for path in _files(root):
        suffix = path.suffix.lower()
        seen[suffix] = seen.get(suffix, 0) + 1
        if seen[suffix] <= _MAX_FILES:
            try:
                source = _source_of(path)
            except (Unusable, csv.Error) as error:
                source, reason = "", reason or f"; {path.name} cannot be read: {error}"
            if source:
                found.setdefault(source, path)
    if len(found) == 1:
        return next(iter(found))
    if not found:
        endings = ", ".join(suffix or "no ending" for suffix in islice(seen, 8)) or "no files"
        advice = ("`ptl-skel preprocess video` finds the keypoints of videos"
                  if ENDINGS.intersection(seen) else
                  "`ptl-skel preprocess --help` lists the sources")
        raise UserError(f"{root} has an unknown format; it contains {endings}{reason}. {advice}")
    raise UserError(f"{root} may be of several sources: "
                    + "; ".join(f"{source}, as {path.name}" for source, path in found.items())
                    + "; give one of these names instead of `keypoints`")


def _files(root: Path) -> Iterator[Path]:
    if not root.is_dir():
        yield root
        return
    for folder, names in walk(root):
        yield from (folder / name for name in names)


def _source_of(path: Path) -> str:
    """The source that reads a file; empty if no source does.

    Raises:
        Unusable: It is damaged, or does not hold keypoints.
    """
    suffix = path.suffix.lower()
    reads = {".json": _source_of_json, ".csv": _source_of_csv, ".txt": _source_of_text,
             ".npy": _source_of_npy, ".npz": _source_of_archive, ".zip": _source_of_archive}
    return reads[suffix](path) if suffix in reads else _SUFFIXES.get(suffix, "")


def _source_of_json(path: Path) -> str:
    content: Any = read_json(path)
    if isinstance(content, dict):
        key = next((key for key in OTHERS if key in content), "")
        return {"people": "openpose", "skeletons": "nw_ucla",
                "data": "kinetics_skeleton"}.get(key, "coco")
    return "coco" if isinstance(content, list) else ""


def _source_of_csv(path: Path) -> str:
    text = read_bytes(path).decode("utf-8-sig", errors="replace")
    lines = [cells for cells in islice(csv.reader(
        io.StringIO(text), delimiter=find_separator(text.split("\n", 1)[0])), 4) if cells]
    if is_label_table(path):
        return ""
    if lines and {*COLUMNS[:-1]} <= {name.strip() for name in lines[0]}:
        return "arrays"
    table = read_table(path)
    joints = [joint for person in table.columns.places for joint in person]
    places = np.array([[float(line[place]) if place >= 0 and _is_float(line[place]) else np.nan
                        for place in joint[:3]]
                       for line in table.lines[:_MAX_FILES] for joint in joints])
    has_score, has_z = (any(joint[axis] >= 0 for joint in joints) for axis in (3, 2))
    if has_z and not has_score:
        return "mediapipe" if _are_fractions_and_depth(places) else "tables"
    return "mediapipe" if _are_fractions(places[:, :2]) else "tables"


def _are_fractions(places: Floats) -> bool:
    """Whether coordinates ``(..., 2)`` are fractions of the frame, some of them beyond its edge."""
    finite = places[np.isfinite(places)]
    return bool(finite.size and np.abs(finite).max() < _MAX and (np.abs(finite) < _USUAL_MAX).mean()
                > _MOST and (finite >= 0).mean() > _NEARLY_ALL)


def _are_fractions_and_depth(places: Floats) -> bool:
    """Whether coordinates ``(N, 3)`` are fractions of the frame and a depth, not metres."""
    try:
        check_metres(places[np.isfinite(places).all(1)])
    except Unusable:
        return _are_fractions(places[:, :2])
    return False


def _is_float(text: str) -> bool:
    return re.fullmatch(r"\s*-?\d+(\.\d*)?([eE][-+]?\d+)?\s*", text, re.ASCII) is not None


def _source_of_text(path: Path) -> str:
    lines = read_bytes(path).decode(errors="replace").split("\n", 1)
    values = lines[0].split()
    is_yolo = len(values) > 5 and values[0].isdecimal() and all(map(_is_float, values))
    return "yolo" if is_yolo and re.search(r"\d\.txt$", path.name.lower()) else ""


def _source_of_npy(path: Path) -> str:
    array = read_npy(io.BytesIO(read_bytes(path)), path.name)
    if array.dtype.kind not in "iuf" or not array.ndim or not array.size:
        return ""
    is_row = array.shape[-1] in ROWS and array.ndim <= 2
    is_mediapipe = is_row or (array.ndim in {2, 3} and (array.shape[-1] == 4 or (
        array.shape[-1] in {2, 3} and _are_fractions(array[..., :2]))))
    return "mediapipe" if is_mediapipe else "arrays"


def _source_of_archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):  # damaged
        return ""
    if any(name.endswith(".skeleton") for name in names):
        return "ntu"
    is_npz = path.suffix.lower() == ".npz"  # what else it may hold is reported when it is read
    return next((source for key, source in _ARCHIVES.items() if f"{key}.npy" in names),
                "arrays" if is_npz else "")
