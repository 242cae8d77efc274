"""Tables with one line per frame, as DeepLabCut, SLEAP, Kinect recorders and many scripts write.

CSV files with columns as in `tools.columns`, one per clip or with a column ``clip``; and the HDF5
files of DeepLabCut and of SLEAP's analysis export. Values are pixels, or metres if every joint has
a z. The layout is inferred from the joint names if they match one; otherwise name it with
``--layout``.

Reference:
    Mathis et al.: DeepLabCut: markerless pose estimation of user-defined body parts with deep
    learning, arXiv 1804.03142. Pereira et al.: SLEAP: A deep learning system for multi-animal pose
    tracking, Nature Methods 2022.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import io
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ptl_skel.errors import UserError

from ..core.files import (
    find_clips,
    find_kind,
    find_separator,
    read_bytes,
    stamp,
    to_numbers,
    write_point,
)
from ..core.labels import Row
from ..core.source import Unusable
from .columns import Columns, read_header
from .pose_hdf5 import read_hdf5
from .poses import Floats, Poses
from .source import PoseSource

SUFFIXES = (".csv", ".h5", ".hdf5")
_MAX_PERSONS = 6  # of a Kinect; if more lines have the same time, times are whole seconds
_MIN_REPEATED = 0.25  # share of times with several lines


@dataclass(frozen=True)
class Part:
    """A clip in a file.

    Args:
        path: The file.
        clip: Its name in the column ``clip``; empty if the file is one clip.
    """

    path: Path
    clip: str = ""


@dataclass(frozen=True)
class Table:
    """The lines of a file.

    Args:
        columns: Meaning of the columns.
        lines: The cells of each line with a frame.
    """

    columns: Columns
    lines: list[list[str]]

    def clips(self) -> dict[str, list[list[str]]]:
        """The lines of each clip, in the order of the file."""
        place = self.columns.roles.get("clip")
        if place is None:
            return {"": self.lines}
        clips: dict[str, list[list[str]]] = {}
        for line in self.lines:
            clips.setdefault(line[place].strip(), []).append(line)
        return clips


class WideSource(PoseSource[Part]):
    """Reads tables with one line per frame: a file, or a folder of them."""

    tool = "tables"

    def find(self) -> Mapping[str, Part | Unusable]:
        """The files, or the clips in them."""
        return find_tables(self.root)

    def paths(self, place: Part) -> Iterable[Path]:
        """The file."""
        return (place.path,)

    def read_poses(self, place: Part) -> Poses:
        """The persons in the lines of a clip."""
        return read_part(place)

    def find_labels(self) -> Mapping[str, Row]:
        """The column ``label`` of each clip."""
        return find_labels(self._clips)


def find_tables(root: Path) -> dict[str, Part | Unusable]:
    """The clips in a file, or in the files of a folder.

    Raises:
        MissingFileError: There is no such file or folder.
        UserError: There is no such file in it, or a clip is in two of them.
    """
    found: dict[str, Part | Unusable] = {}
    for name, path in _files(root).items():
        if path.suffix.lower() != ".csv":
            found[name] = Part(path)
            continue
        try:
            table = read_table(path)
        except Unusable as error:
            found[name] = error
            continue
        clips = table.clips()
        if "clip" in table.columns.roles and "" in clips:
            found[name] = Unusable("some of its lines name no clip")
            continue
        for clip in clips:
            if (clip or name) in found:
                raise UserError(f"{root} has the clip {clip!r} in two files")
            found[clip or name] = Part(path, clip)
    return found


def read_part(place: Part) -> Poses:
    """The persons in a clip.

    Raises:
        Unusable: The file is damaged, or has another format.
    """
    if place.path.suffix.lower() != ".csv":
        return read_hdf5(place.path)
    table = read_table(place.path)
    lines = table.clips().get(place.clip)
    if lines is None:
        raise Unusable("its lines are no longer in the file")
    return _poses(table.columns, lines)


def find_labels(clips: MutableMapping[str, Any]) -> dict[str, Row]:
    """The column ``label`` of the clips; if it changes within a clip, an `Unusable`."""
    labels: dict[str, Row] = {}
    for clip, place in clips.items():
        if not isinstance(place, Part) or place.path.suffix.lower() != ".csv":
            continue
        table = read_table(place.path)
        column = table.columns.roles.get("label")
        if column is None:
            continue
        names = sorted({line[column].strip() for line in table.clips()[place.clip]})
        if len(names) == 1:
            labels[clip] = Row(names[0])
        else:
            clips[clip] = Unusable(
                f"its label changes from line to line, from {names[0]!r} to {names[1]!r}: these "
                "are single frames, not a clip; number the clips in a column clip")
    return labels


def _files(root: Path) -> dict[str, Path]:
    # DeepLabCut and SLEAP can write the same clip as CSV and as HDF5.
    return find_clips(root, find_kind(root, SUFFIXES, may_repeat=True) or SUFFIXES[0])


def read_table(path: Path) -> Table:
    """The lines of a CSV file.

    Raises:
        Unusable: It is not a CSV file with columns of joints, or a line has too few values.
    """
    return _read_table(path, stamp(path))


@functools.lru_cache(maxsize=2)  # several clips of a file are read one after the other
def _read_table(path: Path, _: tuple[int, int]) -> Table:
    try:
        text = read_bytes(path).decode("utf-8-sig")
        separator = find_separator(text.split("\n", 1)[0])
        lines = [[write_point(cell, separator) for cell in cells] for cells in csv.reader(
            io.StringIO(text, newline=""), delimiter=separator)
            if any(cell.strip() for cell in cells)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise Unusable(f"{path.name} is not a CSV file in UTF-8: {error}") from error
    columns = read_header(lines[:4])
    for number, cells in enumerate(lines[columns.header :], columns.header + 1):
        if len(cells) != len(lines[0]):
            raise Unusable(f"line {number} of {path.name} has {len(cells)} values, the first line "
                           f"{len(lines[0])}")
    if len(lines) == columns.header:
        raise Unusable(f"{path.name} has no line below its header")
    return Table(columns, lines[columns.header :])


def _poses(columns: Columns, lines: Sequence[Sequence[str]]) -> Poses:
    frame = columns.roles.get("frame")
    person = columns.roles.get("person")
    numbers, note = np.arange(len(lines)), _doubt(columns)
    names = [line[person].strip() if person is not None else "" for line in lines]
    if frame is not None:
        given = to_numbers([line[frame] for line in lines], "the column of frames")
        if not (np.isfinite(given).all() and (given == np.floor(given)).all()
                and (np.abs(given) < 2**53).all()):
            raise Unusable("the column of frames must hold integers")
        numbers = given.astype(np.int64)
    elif len(set(names)) > 1:
        raise Unusable("it has a column of persons, but none of frames")
    elif "time" in columns.roles:
        note = note or _check_times([line[columns.roles["time"]] for line in lines])
    ids = {name: i for i, name in enumerate(sorted(set(names), key=_in_order))}
    owner = np.array([ids[name] if name or person is None else -1 for name in names], np.int64)
    values = to_numbers([[cell.strip() or "nan" for cell in line] for line in (
        _chosen(lines, columns))], "a line (which is empty where a joint is missing)")
    has_z = all(joint[2] >= 0 for of_person in columns.places for joint in of_person)
    axes = (0, 1, 2) if has_z else (0, 1)
    several = len(columns.places)
    rows: list[Floats] = []
    scores: list[Floats] = []
    for at, of_person in enumerate(columns.places):
        first = at * len(of_person) * 4
        block = values[:, first : first + len(of_person) * 4].reshape(len(lines), -1, 4)
        rows.append(block[..., axes])
        scores.append(np.where(np.isnan(block[..., 3]), 1, block[..., 3])
                      if any(joint[3] >= 0 for joint in of_person)
                      else np.ones(block.shape[:2]))
    if several > 1:
        owner = np.repeat(np.arange(several), len(lines))
    return Poses(np.concatenate(rows), np.concatenate(scores), np.tile(numbers, several),
                 owner, np.unique(numbers), joint_names=columns.joints, note=note)


def _doubt(columns: Columns) -> str:
    if not columns.unused:
        return ""
    return (f"doubtful: columns of each joint are left out: {columns.unused}; scores must be "
            "called score, and each person needs lines of its own")


def _check_times(cells: Sequence[str]) -> str:
    """Checks that the lines are in chronological order, if they have no frame number.

    Returns:
        A doubt if several lines have the same time, as those of several persons do.

    Raises:
        Unusable: They are not in order.
    """
    times: list[float] = []
    with contextlib.suppress(ValueError):  # times of day
        times = [float(cell) for cell in cells]
    if any(later < earlier for earlier, later in pairwise(times)):
        raise Unusable("its lines are not in the order of their times, or are of several videos; "
                       "number the frames in a column frame, and the videos in a column clip")
    counts = np.unique(cells, return_counts=True)[1]
    if counts.max() > _MAX_PERSONS or (counts > 1).mean() < _MIN_REPEATED:
        return ""
    return (f"doubtful: up to {counts.max()} lines have the same time; if they are of several "
            "persons, number these in a column person, and the frames in a column frame")


def _chosen(lines: Sequence[Sequence[str]], columns: Columns) -> Iterable[list[str]]:
    """The cells x, y, z and score of each joint of each person; empty if there is no column."""
    places = [place for of_person in columns.places for joint in of_person for place in joint]
    for line in lines:
        yield [line[place] if place >= 0 else "" for place in places]


def _in_order(name: str) -> tuple[float, str]:
    """Sorts numbers by value, and before names."""
    try:
        return float(name), name
    except ValueError:
        return float("inf"), name
