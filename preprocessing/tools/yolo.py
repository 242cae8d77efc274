"""The text files of YOLO-pose, as Ultralytics writes them (``save_txt=True``): one per frame.

A line for each person: ``class cx cy w h`` of its box, then ``x y v`` of each joint, or ``x y``; a
share of the width and height of the frame. Behind them may stand the confidence of the box
(``save_conf=True``) and the number of the person (``model.track``). A frame without a file is one
without persons. Ultralytics sets joints it is not sure of to 0, 0, so they are missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from preprocessing.core.files import numbers, read_bytes
from preprocessing.core.layouts import UNIQUE_LAYOUTS
from preprocessing.tools.frame_files import find_frame_files
from preprocessing.tools.labels import Row
from preprocessing.tools.poses import Floats, PoseList, Poses

TAIL = ".txt"
_MAX_BYTES = 20_000_000  # of a frame; a person takes a few hundred
_BOX = 5  # class and box, before the joints
_MAX_BEHIND = 2  # confidence and number
_MAX_SHARE = 3  # joints are found a little beyond the frame, but not as far


class YoloReader:
    """Reads a folder of YOLO-pose text, of one clip or many.

    Args:
        root: The folder; clips are found and named by `preprocessing.tools.frame_files`.
        frame_size: Height and width of the frames in pixels.
        num_joints: Number of joints, None to tell it from the length of the lines, which is
            possible for lines with ``x y v`` and a number of joints among `usual_layouts`.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: There is no such file in it, or two clips would have the same name.
    """

    tool = "yolo"
    usual_layouts: Mapping[int, str] = UNIQUE_LAYOUTS

    def __init__(self, root: Path, frame_size: tuple[int, int], *,
                 num_joints: int | None = None) -> None:
        self.root, self._frame_size, self._num_joints = root, frame_size, num_joints
        self._files, self.flawed = find_frame_files(root, TAIL)

    @property
    def clips(self) -> list[str]:
        """Names of the clips."""
        return list(self._files)

    @property
    def files(self) -> Iterable[Path]:
        """All files that are read."""
        return (path for files in self._files.values() for _, path in files)

    def labels(self) -> Mapping[str, Row]:
        """Nothing: the text files know no labels of clips."""
        return {}

    def read(self, clip: str) -> Poses:
        """What was found in a clip.

        Raises:
            ValueError: A file is damaged, or there is nobody in any of them.
        """
        files = self._files[clip]
        frames: list[int] = []
        lines: list[Floats] = []
        for frame, path in files:
            for number, text in enumerate(read_bytes(path, _MAX_BYTES).splitlines(), 1):
                if text.strip():
                    lines.append(numbers(text.split(), f"line {number} of {path.name}"))
                    frames.append(frame)
        height, width = self._frame_size
        found, shapes = PoseList(), [self._shape(len(line)) for line in lines]
        persons = _numbers(lines, [len(line) - _BOX - joints * values
                                   for line, (joints, values) in zip(lines, shapes, strict=True)])
        for frame, line, (joints, values), person in zip(frames, lines, shapes, persons,
                                                         strict=True):
            pose = line[_BOX : _BOX + joints * values].reshape(joints, values)
            if np.abs(pose[:, :2]).max() > _MAX_SHARE:
                raise ValueError(f"frame {frame} has coordinates beyond {_MAX_SHARE}: they are "
                                 "no shares of the width and the height")
            found.add(frame, pose[:, :2] * (width, height), pose[:, 2] if values == 3 else None,
                      person)
        return found.finish(files.frames.tolist())

    def _shape(self, length: int) -> tuple[int, int]:
        """Number of joints, and of values of each, in a line of that many values."""
        counts = self.usual_layouts if self._num_joints is None else (self._num_joints,)
        for values in (3,) if self._num_joints is None else (3, 2):
            for joints in counts:
                if 0 <= length - _BOX - values * joints <= _MAX_BEHIND:
                    return joints, values
        expected = " or ".join(map(str, counts))
        hint = "; another layout is named with --layout" if self._num_joints is None else ""
        raise ValueError(f"a line has {length} values, which is no box with {expected} joints"
                         + hint)


def _numbers(lines: Sequence[Floats], behind: Sequence[int]) -> list[int]:
    """The number of the person of each line, -1 for none.

    Args:
        lines: The values.
        behind: How many of them stand behind the joints.
    """
    last = [float(line[-1]) for line in lines]
    # A single value is the number where some lines have none, and the confidence where some have
    # two; where all lines have one, it is the number if it is a whole one throughout.
    whole = all(value >= 1 and value.is_integer() for value in last)
    has_confidence = 2 in behind or (set(behind) == {1} and not whole)
    return [int(value) if count == 1 + has_confidence and value.is_integer() else -1
            for value, count in zip(last, behind, strict=True)]
