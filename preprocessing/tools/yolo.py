"""The text files of YOLO-pose, as Ultralytics writes them (``save_txt=True``): one per frame.

One line per person: ``class cx cy w h`` of the box, then ``x y v`` of each joint, or ``x y``,
relative to the width and height of the frame. They may be followed by the confidence of the box
(``save_conf=True``) and the number of the person (``model.track``). A frame without a file has no
persons. Ultralytics sets uncertain joints to 0, 0; they are missing. Lines of several classes do
not show which of them are persons, so they are rejected.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..core.files import read_bytes, to_numbers
from ..core.source import Unusable
from .frame_files import FrameFiles, find_frame_files
from .poses import Floats, PoseList, Poses, choose_persons
from .source import PoseSource

TAIL = ".txt"
_MAX_BYTES = 20_000_000  # of a frame; a person takes a few hundred
_BOX = 5  # class and box, before the joints
_MAX_EXTRA = 2  # confidence and number
_MIN_INSIDE = 0.8  # of the joints, in a box a quarter larger than that of the person
_MAX_SHARE = 3  # joints may be a little outside the frame, but not this far


class YoloSource(PoseSource[FrameFiles]):
    """Reads a folder of YOLO-pose text with one or more clips, named as in `tools.frame_files`.

    Without a layout, lines are read as ``x y v`` if this gives a number of joints in `layouts`.
    """

    tool = "yolo"

    def find(self) -> Mapping[str, FrameFiles | Unusable]:
        """The videos in the folder."""
        if self.frame_size is None:
            raise self._no_frame_size()
        return find_frame_files(self.root, TAIL)

    def paths(self, place: FrameFiles) -> Iterable[Path]:
        """The files of its frames."""
        return (path for _, path in place)

    def read_poses(self, place: FrameFiles) -> Poses:
        """The persons in the files of a clip."""
        frames: list[int] = []
        lines: list[Floats] = []
        for frame, path in place:
            for number, text in enumerate(read_bytes(path, _MAX_BYTES).splitlines(), 1):
                if text.strip():
                    lines.append(to_numbers(text.split(), f"line {number} of {path.name}"))
                    frames.append(frame)
        _, note = choose_persons([f"{line[0]:g}" for line in lines if line.size], ("0",))
        height, width = self.frame_size or (1, 1)
        inside: list[list[float]] = []
        found, shapes = PoseList(), [self._shape(len(line)) for line in lines]
        persons = _numbers(lines, [len(line) - _BOX - joints * values
                                   for line, (joints, values) in zip(lines, shapes, strict=True)])
        for frame, line, (joints, values), person in zip(frames, lines, shapes, persons,
                                                         strict=True):
            pose = line[_BOX : _BOX + joints * values].reshape(joints, values)
            if (np.abs(pose[:, :2]) > _MAX_SHARE).any():
                raise Unusable(f"frame {frame} has coordinates beyond {_MAX_SHARE}: they are not "
                               "relative to the width and height")
            pairs = line[_BOX : _BOX + (len(line) - _BOX) // 2 * 2].reshape(-1, 2)
            inside.append([_share_inside(line[1:_BOX], pose[:, :2]),
                           _share_inside(line[1:_BOX], pairs)])
            found.add(frame, pose[:, :2] * (width, height), pose[:, 2] if values == 3 else None,
                      person)
        as_read, as_pairs = np.mean(inside, 0) if inside else (1, 0)
        if self.layout is None and as_read < max(as_pairs, _MIN_INSIDE):
            raise Unusable("many joints lie outside the boxes of their persons: the lines are of "
                           "another layout, or without a score; name the layout with --layout")
        return found.finish(place.frames.tolist(), note=note)

    def _shape(self, length: int) -> tuple[int, int]:
        """Number of joints, and of values per joint, in a line with that many values."""
        counts = self.layouts if self.num_joints is None else (self.num_joints,)
        for values in (3,) if self.num_joints is None else (3, 2):
            for joints in counts:
                if 0 <= length - _BOX - values * joints <= _MAX_EXTRA:
                    return joints, values
        expected = " or ".join(map(str, counts))
        hint = "; name another layout with --layout" if self.num_joints is None else ""
        raise Unusable(f"a line has {length} values, which is not a box with {expected} joints"
                       + hint)


def _share_inside(box: Floats, joints: Floats) -> float:
    """Share of joints ``(V, 2)`` in a box ``cx, cy, w, h`` that is a quarter larger than given."""
    found = joints[joints.any(1)].clip(-_MAX_SHARE, _MAX_SHARE)
    box = box.clip(-_MAX_SHARE, _MAX_SHARE)
    return float((np.abs(found - box[:2]) <= 0.625 * box[2:]).all(1).mean()) if len(found) else 1


def _numbers(lines: Sequence[Floats], extra: Sequence[int]) -> list[int]:
    """The number of the person of each line, -1 for none.

    Args:
        lines: The values.
        extra: Number of values after the joints, for each line.
    """
    last = [float(line[-1]) for line in lines]
    # A single value is the number if some lines have none, and the confidence if some have two.
    # If all lines have one, it is the number if all of them are integers.
    whole = all(value >= 1 and value.is_integer() for value in last)
    has_confidence = 2 in extra or (set(extra) == {1} and not whole)
    return [int(value) if count == 1 + has_confidence and value.is_integer() else -1
            for value, count in zip(last, extra, strict=True)]
