"""Your own tables: CSV files with one line per joint, with one or more clips.

==========  =====================================================================================
``clip``    name of the clip; its lines are consecutive
``frame``   number of the frame
``person``  number of the person, the same in all frames of the clip
``joint``   index of the joint in the layout, from 0, or its name; may be omitted if not found
``x, y``    pixels of the frame; empty for a joint that was not found
``score``   0..1; without this column 1
==========  =====================================================================================
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from ptl_skel.errors import UserError
from ptl_skel.skeletons import SkeletonLayout

from ..core.files import MAX_BYTES, find_clips, find_separator, to_numbers, write_point
from ..core.source import Unusable
from .poses import Poses

COLUMNS = ("clip", "frame", "person", "joint", "x", "y", "score")
_MAX_LINE = 100_000
_MAX_DIGITS = 5  # in the index of a joint, e.g. 132.0
_MAX_INDEX = 10**15  # exact as a float
_MAX_VALUES = 50_000_000  # of a clip in memory


@dataclass
class Part:
    """The lines of a clip in a file.

    Args:
        path: The file.
        columns: Names of its columns.
        separator: Separator of its values.
        start: Start of the first line, bytes.
        stop: End of the last line.
        joints: The joints of the layout.
    """

    path: Path
    columns: list[str]
    separator: str
    start: int
    stop: int
    joints: tuple[str, ...]


def find_parts(root: Path, layout: SkeletonLayout | None) -> dict[str, Part | Unusable]:
    """The clips in a CSV file or in a folder of CSV files.

    Raises:
        MissingFileError: There is no such file or folder.
        UserError: There is no CSV file in it, one is damaged or has other columns, or the layout
            is not known.
    """
    parts: dict[str, Part] = {}
    joints, scattered = set[str](), dict[str, Unusable]()
    for path in find_clips(root, ".csv").values():
        for clip, reason in _find_clips(path, layout.joints if layout else (), parts, joints):
            scattered[clip] = Unusable(reason)
    usable = {clip: part for clip, part in parts.items() if clip not in scattered}
    if not usable:
        raise UserError(f"{root} contains no clip with consecutive lines")
    if layout is None:  # if the legs are hidden, the largest index is not the last joint
        raise UserError(f"{root} is a table, which does not show how many joints the layout has; "
                        "name it with --layout, e.g. --layout coco17")
    indices = [int(joint) for joint in joints if joint.isascii() and joint.isdecimal()]
    if indices and min(indices) > 0:
        raise UserError(f"{root} numbers the joints from {min(indices)}; they must count from 0")
    return {**usable, **scattered}


def read_part(part: Part) -> Poses:
    """The persons in the lines of a clip.

    Raises:
        Unusable: The lines contain anything but numbers, or a joint twice.
    """
    if part.stop - part.start > MAX_BYTES:
        raise Unusable(f"its lines take {part.stop - part.start:,} bytes, more than the "
                       f"{MAX_BYTES:,} that a clip can take")
    with part.path.open("rb") as file:
        file.seek(part.start)
        text = file.read(part.stop - part.start).decode()
    try:
        rows = [[write_point(cell, part.separator) for cell in cells] for cells in csv.reader(
            io.StringIO(text, newline=""), delimiter=part.separator) if cells]
    except csv.Error as error:
        raise Unusable(f"its lines are not CSV: {error}") from error
    if any(len(cells) != len(part.columns) for cells in rows):
        raise Unusable(f"it has a line that does not have {len(part.columns)} values")
    order = [part.columns.index(name) for name in COLUMNS[1:] if name in part.columns]
    indices_of = {name: str(index) for index, name in enumerate(part.joints)}
    values = to_numbers([[indices_of.get(cell, cell) or "nan" for cell in (
        cells[i].strip() for i in order)] for cells in rows], "a line")
    indices = values[:, :3]
    if not ((indices >= 0) & (indices <= _MAX_INDEX) & (indices == np.floor(indices))).all():
        raise Unusable("`frame`, `person` and `joint` must be integers from 0")
    joint = indices[:, 2].astype(np.int64)
    num_joints = len(part.joints)
    if joint.max() >= num_joints:
        raise Unusable(f"it has a joint {joint.max()}, but there are {num_joints}")
    seen, row = np.unique(indices[:, :2].astype(np.int64), axis=0, return_inverse=True)
    shape = len(seen), num_joints
    if math.prod(shape) > _MAX_VALUES:
        raise Unusable("it names too few joints of too many persons and frames")
    if len(np.unique(row * num_joints + joint)) < len(joint):
        raise Unusable("it has a joint of the same person twice in a frame")
    keypoints, scores = np.zeros((*shape, 2)), np.zeros(shape)
    keypoints[row, joint] = values[:, 3:5]
    scores[row, joint] = values[:, 5] if len(order) > 5 else 1
    return Poses(keypoints, scores, seen[:, 0], seen[:, 1], seen[:, 0])


def _find_clips(path: Path, layout: tuple[str, ...], parts: dict[str, Part],
          joints: set[str]) -> Iterator[tuple[str, str]]:
    """Finds the lines of each clip and the joints in them.

    Yields:
        Clips whose lines are interrupted by another clip, or may lack the first line, and which of
        the two is the case.
    """
    if not path.is_file():
        raise UserError(f"{path} is not a regular file")
    with path.open("rb") as file:
        try:
            separator = find_separator(file.readline(_MAX_LINE).decode())
            file.seek(0)
            rows = csv.reader(_lines(file), strict=True, delimiter=separator)
            columns = [name.strip() for name in next(rows, [])]
            if not {*COLUMNS[:-1]} <= set(columns) <= set(COLUMNS):
                raise UserError(f"{path} must have the columns {', '.join(COLUMNS)}, of "
                                "which score may be left out, but has: "
                                f"{', '.join(columns)[:80] or 'nothing'}")
            clip_at, joint_at = columns.index("clip"), columns.index("joint")
            start, current, is_flawed = file.tell(), None, False
            for cells in rows:
                if len(cells) == len(columns):
                    if len(cells[joint_at]) <= _MAX_DIGITS:
                        joints.add(cells[joint_at].strip().removesuffix(".0"))
                    clip = cells[clip_at].strip()
                    if clip != current and clip in parts:
                        yield clip, "its lines are not consecutive"
                    if clip != current and is_flawed:
                        yield clip, "the line before its first one is damaged, and may belong to it"
                    parts.setdefault(clip, Part(path, columns, separator, start, start, layout))
                    current, is_flawed = clip, False
                elif current is None:
                    raise UserError(f"{path} has {len(cells)} values for {len(columns)} columns "
                                    "in its first line")
                else:
                    is_flawed |= bool(cells)
                start = parts[current].stop = file.tell()
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError(f"{path} is not a CSV file in UTF-8: {error}") from error


def _lines(file: IO[bytes]) -> Iterator[str]:
    """The lines of a file one by one, so that the file position is the end of each."""
    start = b"\xef\xbb\xbf"  # the byte order mark that some programs write for UTF-8
    while line := file.readline(_MAX_LINE):
        if len(line) == _MAX_LINE:
            raise csv.Error(f"a line is longer than {_MAX_LINE:,} bytes")
        yield line.removeprefix(start).decode()
        start = b""
