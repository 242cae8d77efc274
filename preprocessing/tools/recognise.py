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

from ..core.files import find_separator, read_bytes, read_json, walk
from ..core.source import Unusable
from .arrays import read_npy
from .coco import OTHERS
from .columns import read_header
from .mediapipe import ROWS
from .tables import COLUMNS
from .wide import read_table

_LOOKED_AT = 20  # files of each extension
_SUFFIXES = {".skeleton": "ntu", ".pkl": "pyskl", ".pickle": "pyskl", ".mat": "penn_action",
             ".h5": "tables", ".hdf5": "tables"}
_ARCHIVES = {"keypoints": "arrays", "positions_2d": "videopose3d", "positions_3d": "videopose3d",
             "x_train": "ctrgcn"}
_SHARE = 1.5  # coordinates relative to a frame are in 0..1, or a little outside


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
    for path in _files(root):
        suffix = path.suffix.lower()
        seen[suffix] = seen.get(suffix, 0) + 1
        if seen[suffix] <= _LOOKED_AT:
            source = _source_of(path)
            if source:
                found.setdefault(source, path)
    if len(found) == 1:
        return next(iter(found))
    if not found:
        endings = ", ".join(suffix or "no ending" for suffix in islice(seen, 8)) or "no files"
        raise UserError(f"{root} is of no format that is known here; it holds {endings}. "
                        "`ptl-skel preprocess --help` lists the sources")
    raise UserError(f"{root} may be of several sources: "
                    + "; ".join(f"{source}, as {path.name}" for source, path in found.items())
                    + "; give one of these names in the place of keypoints")


def _files(root: Path) -> Iterator[Path]:
    if not root.is_dir():
        yield root
        return
    for folder, names in walk(root):
        yield from (folder / name for name in names)


def _source_of(path: Path) -> str:
    """The source that reads a file; empty if there is none, or the file is damaged."""
    suffix = path.suffix.lower()
    reads = {".json": _of_json, ".csv": _of_csv, ".txt": _of_text, ".npy": _of_npy,
             ".npz": _of_archive, ".zip": _of_archive}
    try:
        return reads[suffix](path) if suffix in reads else _SUFFIXES.get(suffix, "")
    except (Unusable, csv.Error):
        return ""


def _of_json(path: Path) -> str:
    content: Any = read_json(path)
    if isinstance(content, dict):
        key = next((key for key in OTHERS if key in content), "")
        return {"people": "openpose", "skeletons": "nw_ucla",
                "data": "kinetics_skeleton"}.get(key, "coco")
    return "coco" if isinstance(content, list) else ""


def _of_csv(path: Path) -> str:
    text = read_bytes(path).decode("utf-8-sig", errors="replace")
    lines = [cells for cells in islice(csv.reader(
        io.StringIO(text), delimiter=find_separator(text.split("\n", 1)[0])), 4) if cells]
    names = {name.strip() for name in lines[0]} if lines else set[str]()
    if names <= {"clip", "label", "split", "subject"}:
        return ""  # the labels
    if {*COLUMNS[:-1]} <= names:
        return "arrays"
    read_header(lines)
    table = read_table(path)
    places = [place for person in table.columns.places for joint in person for place in joint[:2]]
    values = [float(line[place]) for line in table.lines[:_LOOKED_AT] for place in places
              if _is_float(line[place])]
    has_score = any(joint[3] >= 0 for person in table.columns.places for joint in person)
    has_z = any(joint[2] >= 0 for person in table.columns.places for joint in person)
    are_shares = bool(values) and np.abs(values).max() < _SHARE and np.mean(
        np.asarray(values) >= 0) > 0.9
    return "mediapipe" if are_shares and (has_score or not has_z) else "tables"


def _is_float(text: str) -> bool:
    return re.fullmatch(r"\s*-?\d+(\.\d*)?([eE][-+]?\d+)?\s*", text, re.ASCII) is not None


def _of_text(path: Path) -> str:
    lines = read_bytes(path).decode(errors="replace").split("\n", 1)
    values = lines[0].split()
    is_yolo = len(values) > 5 and values[0].isdecimal() and all(map(_is_float, values))
    return "yolo" if is_yolo and re.search(r"\d\.txt$", path.name.lower()) else ""


def _of_npy(path: Path) -> str:
    array = read_npy(io.BytesIO(read_bytes(path)), path.name)
    if array.dtype.kind not in "iuf" or not array.ndim or not array.size:
        return ""
    is_row = array.shape[-1] in ROWS and array.ndim <= 2
    finite = array[..., :2][np.isfinite(array[..., :2])]
    return "mediapipe" if is_row or (finite.size and array.ndim in {2, 3} and (
        array.shape[-1] == 4 or finite.max() < _SHARE) and finite.min() > -_SHARE
        and array.shape[-1] in {2, 3, 4} and (finite >= 0).mean() > 0.9) else "arrays"


def _of_archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):  # damaged
        return ""
    if any(name.endswith(".skeleton") for name in names):
        return "ntu"
    return next((source for key, source in _ARCHIVES.items() if f"{key}.npy" in names), "")
