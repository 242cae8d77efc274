"""A table of one's own: CSV files with a line per joint, of one clip or many.

==========  =====================================================================================
``clip``    name of the clip; its lines stand together
``frame``   number of the frame
``person``  number of the person, the same in all frames of the clip
``joint``   index of the joint in the layout, from 0; joints that were not found are left out
``x, y``    pixels of the frame; empty for a joint that was not found
``score``   0..1; without this column 1
==========  =====================================================================================
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from preprocessing.core.files import MAX_BYTES, find_clips, numbers
from preprocessing.core.layouts import UNIQUE_LAYOUTS
from preprocessing.tools.labels import Row
from preprocessing.tools.poses import Poses

_COLUMNS = ("clip", "frame", "person", "joint", "x", "y", "score")
_MAX_LINE = 100_000
_MAX_DIGITS = 3  # of the index of a joint
_MAX_INDEX = 10**15  # exact as a float
_MAX_VALUES = 50_000_000  # of a clip in memory


@dataclass
class _Part:
    """The lines of a clip in a file.

    Args:
        path: The file.
        columns: What its columns are called.
        start: Where the first line begins, bytes.
        stop: Where the last one ends.
    """

    path: Path
    columns: list[str]
    start: int
    stop: int


class CsvReader:
    """Reads CSV files.

    Args:
        root: A file, or a folder of files.
        num_joints: Number of joints; None takes the largest index in all files.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ValueError: There is no CSV file in it, or one is damaged or has other columns.
    """

    tool = "arrays"
    usual_layouts: Mapping[int, str] = UNIQUE_LAYOUTS

    def __init__(self, root: Path, *, num_joints: int | None = None) -> None:
        self.root = root
        self.flawed: dict[str, ValueError] = {}
        self._parts: dict[str, _Part] = {}
        joints = set[str]()
        self._files = list(find_clips(root, ".csv").values())
        for path in self._files:
            self._find(path, joints)
        indices = [int(joint) for joint in joints if joint.isascii() and joint.isdecimal()]
        for clip in self.flawed:
            del self._parts[clip]
        if not self._parts:
            raise ValueError(f"{root} holds no clip whose lines stand together")
        if indices and min(indices) > 0:
            raise ValueError(f"{root} numbers the joints from {min(indices)}; they count from 0")
        self._num_joints = num_joints or max(indices, default=0) + 1

    @property
    def clips(self) -> list[str]:
        """Names of the clips."""
        return list(self._parts)

    @property
    def files(self) -> Iterable[Path]:
        """All files that are read."""
        return self._files

    def labels(self) -> Mapping[str, Row]:
        """Nothing: labels have a file of their own."""
        return {}

    def read(self, clip: str) -> Poses:
        """What the lines of a clip hold.

        Raises:
            ValueError: They hold anything but numbers, or a joint twice.
        """
        part = self._parts[clip]
        if part.stop - part.start > MAX_BYTES:
            raise ValueError(f"its lines take {part.stop - part.start:,} bytes, more than the "
                             f"{MAX_BYTES:,} that a clip can take")
        with part.path.open("rb") as file:
            file.seek(part.start)
            text = file.read(part.stop - part.start).decode()
        try:
            rows = [cells for cells in csv.reader(io.StringIO(text, newline="")) if cells]
        except csv.Error as error:
            raise ValueError(f"its lines are no CSV: {error}") from error
        if any(len(cells) != len(part.columns) for cells in rows):
            raise ValueError(f"it has a line that is not of {len(part.columns)} values")
        order = [part.columns.index(name) for name in _COLUMNS[1:] if name in part.columns]
        values = numbers([[cells[i].strip() or "nan" for i in order] for cells in rows], "a line")
        indices = values[:, :3]
        if not ((indices >= 0) & (indices <= _MAX_INDEX) & (indices == np.floor(indices))).all():
            raise ValueError("`frame`, `person` and `joint` have to be integers from 0")
        joint = indices[:, 2].astype(np.int64)
        if joint.max() >= self._num_joints:
            raise ValueError(f"it has a joint {joint.max()}, but there are {self._num_joints}")
        seen, row = np.unique(indices[:, :2].astype(np.int64), axis=0, return_inverse=True)
        shape = len(seen), self._num_joints
        if math.prod(shape) > _MAX_VALUES:
            raise ValueError("it names too few joints of too many persons and frames")
        if len(np.unique(row * self._num_joints + joint)) < len(joint):
            raise ValueError("it has a joint of the same person twice in a frame")
        keypoints, scores = np.zeros((*shape, 2)), np.zeros(shape)
        keypoints[row, joint] = values[:, 3:5]
        scores[row, joint] = values[:, 5] if len(order) > 5 else 1
        return Poses(keypoints, scores, seen[:, 0], seen[:, 1], seen[:, 0])

    def _find(self, path: Path, joints: set[str]) -> None:
        """Notes where the lines of each clip are, and which joints they name."""
        if not path.is_file():
            raise ValueError(f"{path} is no regular file")
        with path.open("rb") as file:
            try:
                rows = csv.reader(_lines(file), strict=True)
                columns = [name.strip() for name in next(rows, [])]
                if not {*_COLUMNS[:-1]} <= set(columns) <= set(_COLUMNS):
                    raise ValueError(f"{path} must have the columns {', '.join(_COLUMNS)}, of "
                                     "which score may be left out, but has: "
                                     f"{', '.join(columns)[:80] or 'nothing'}")
                clip_at, joint_at = columns.index("clip"), columns.index("joint")
                start, current = file.tell(), None
                for cells in rows:
                    if len(cells) == len(columns):
                        if len(cells[joint_at]) <= _MAX_DIGITS:
                            joints.add(cells[joint_at].strip())
                        clip = cells[clip_at].strip()
                        if clip != current and clip in self._parts:
                            self.flawed[clip] = ValueError("its lines do not stand together")
                        self._parts.setdefault(clip, _Part(path, columns, start, start))
                        current = clip
                    elif current is None:
                        raise ValueError(f"{path} has {len(cells)} values for {len(columns)} "
                                         "columns in its first line")
                    start = self._parts[current].stop = file.tell()
            except (csv.Error, UnicodeDecodeError) as error:
                raise ValueError(f"{path} is no CSV file in UTF-8: {error}") from error


def _lines(file: IO[bytes]) -> Iterator[str]:
    """The lines of a file one by one, so that its position tells where each ends."""
    start = b"\xef\xbb\xbf"  # with which some programs mark UTF-8
    while line := file.readline(_MAX_LINE):
        if len(line) == _MAX_LINE:
            raise csv.Error(f"a line is longer than {_MAX_LINE:,} bytes")
        yield line.removeprefix(start).decode()
        start = b""
