"""The base class of sources of keypoints from pose tools.

Adding a tool, say one called toypose:

1. write a subclass of `PoseSource` in ``preprocessing/tools/toypose.py`` with its three abstract
   methods: they find the clips in the input, and read the poses of one;
2. add a row to `SOURCES` in ``preprocessing/commands.py``;
3. test it on files in the tool's exact format.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from ptl_skel.errors import UserError
from ptl_skel.skeletons import get_layout
from ptl_skel.storage import MAX_SIDE, Clip, Header

from ..core.files import read_class_names
from ..core.labels import Row, match_clips, name_classes, read_labels
from ..core.layouts import USUAL_LAYOUTS, choose_layout
from ..core.plausibility import check_metres, check_scores
from ..core.source import Unusable
from .poses import Poses
from .tracks import follow_persons

T = TypeVar("T")


class PoseSource(ABC, Generic[T]):
    """A source (see `preprocessing.core.source`) of keypoints from a pose tool.

    Args:
        root: The file or folder to read.
        layout: Name or YAML file of the layout; by default inferred from the number of joints.
        frame_size: Height and width in pixels of frames whose size is not in the input.
        max_persons: Number of persons to keep, those with the highest scores.
        labels: CSV file of `preprocessing.core.labels`; by default the labels in the input.
        classes: File with one class name per line; by default the labels define the classes.

    Raises:
        MissingFileError: A file does not exist.
        UserError: No clip can be read, the layout or the frame size is unknown, or the labels do
            not fit.
    """

    tool: ClassVar[str]
    """Name of the tool and of its command."""

    layouts: ClassVar[Mapping[int, str]] = USUAL_LAYOUTS
    """Number of joints -> layout, if the tool has only one with that many."""

    def __init__(self, root: Path, *, layout: str | None = None,
                 frame_size: tuple[int, int] | None = None, max_persons: int = 2,
                 labels: Path | None = None, classes: Path | None = None) -> None:
        if max_persons < 1:
            raise UserError(f"--max_persons must be >= 1, got {max_persons}")
        if frame_size is not None and not 1 <= min(frame_size) <= max(frame_size) <= MAX_SIDE:
            raise UserError(f"--frame_size must lie in 1 to {MAX_SIDE}, got {frame_size[0]} "
                            f"{frame_size[1]}")
        self.root, self.frame_size, self.max_persons = root, frame_size, max_persons
        self.layout = None if layout is None else get_layout(layout)
        self._clips, self._label_file = dict(self.find()), labels
        rows = (self.find_labels() if labels is None else
                match_clips(read_labels(labels), self._clips))
        names = None if classes is None else read_class_names(classes)
        where = str(root if labels is None else f"--labels {labels}")
        self._labels = name_classes(rows, names, where)
        if labels is not None:
            self._add_clips_without_keypoints(where)
        first = self._first()
        joints, coordinates = first.keypoints.shape[1:]
        if coordinates == 2 and first.frame_size is None and frame_size is None:
            raise self._no_frame_size()
        self._joints = joints
        self._chosen = choose_layout(root, layout, joints, self.layouts, first.joint_names,
                                     coordinates)
        self.header = Header(
            dataset=root.resolve().stem, layout=self._chosen.layout,
            class_names=self._labels.class_names,
            source=f"{self.tool}, at most {max_persons} persons", num_coordinates=coordinates)

    @abstractmethod
    def find(self) -> Mapping[str, T | Unusable]:
        """The clips in `root`: name -> place of the clip, in the order of storing.

        Instead of a place, it may be an error, which is raised when the clip is read.

        Raises:
            UserError: There is no clip, or the input is not from this tool.
        """

    @abstractmethod
    def paths(self, place: T) -> Iterable[Path]:
        """The files of a clip."""

    @abstractmethod
    def read_poses(self, place: T) -> Poses:
        """The poses in a clip.

        Raises:
            Unusable: The clip cannot be used; the message says why.
        """

    @property
    def num_joints(self) -> int | None:
        """Number of joints of the given layout, None without one."""
        return None if self.layout is None else self.layout.num_joints

    def find_labels(self) -> Mapping[str, Row]:
        """Labels in the input itself, by clip; empty for most tools."""
        return {}

    @property
    def files(self) -> Iterable[Path]:
        """The files of all clips, and that of the labels."""
        for place in self._clips.values():
            if not isinstance(place, Unusable):
                yield from self.paths(place)
        if self._label_file is not None:
            yield self._label_file

    @property
    def options(self) -> Mapping[str, Any]:
        """Settings that affect the clips and are not in the header."""
        return {"frame_size": self.frame_size}

    def keys(self) -> Sequence[str]:
        """Names of the clips."""
        return list(self._clips)

    def read(self, key: str) -> list[Clip]:
        """A clip with its persons tracked, and its label.

        Raises:
            Unusable: The input gives no clip; the message says why.
        """
        poses = self._read(key)
        expected = self._joints, self.header.num_coordinates
        if poses.keypoints.shape[1:] != expected:
            joints, coordinates = poses.keypoints.shape[1:]
            raise Unusable(f"it has {joints} joints with {coordinates} coordinates, not "
                           f"{expected[0]} with {expected[1]} as the first clip")
        if self._chosen.order is not None:
            poses = replace(poses, keypoints=poses.keypoints[:, self._chosen.order],
                            scores=poses.scores[:, self._chosen.order])
        notes = [note for note in (poses.note, check_scores(poses.scores)) if note]
        keypoints, scores = follow_persons(poses, self.max_persons)
        size = (1, 1) if expected[1] == 3 else poses.frame_size or self.frame_size
        if size is None or not 1 <= min(size) <= max(size) <= MAX_SIDE:
            raise Unusable(f"the size of its frames is {size or 'not known; give --frame_size'}")
        return [Clip(key, keypoints, scores, size, self._labels.label(key),
                     self._labels.subject(key), repairs="; ".join(notes))]

    def splits(self, ids: Sequence[str]) -> Mapping[str, Mapping[str, Sequence[str]]]:
        """The protocol ``own``, if the labels have a split."""
        return self._labels.splits(ids)

    def _no_frame_size(self) -> UserError:
        return UserError(f"the size of the frames is not in {self.root}; give it in pixels, as "
                         "--frame_size HEIGHT WIDTH")

    def _add_clips_without_keypoints(self, where: str) -> None:
        """Reports clips that only have a label as skipped; if all are, raises an error."""
        known = [clip for clip, place in self._clips.items() if not isinstance(place, Unusable)]
        absent = [clip for clip in self._labels.rows if clip not in set(known)]
        if known and len(absent) == len(self._labels.rows):
            raise UserError(f"{where} names none of the clips in {self.root}: it names "
                            f"{absent[0]!r}, the input has {known[0]!r}")
        for clip in absent:
            self._clips.setdefault(clip, Unusable("it has a label, but no keypoints"))

    def _read(self, clip: str) -> Poses:
        place = self._clips[clip]
        if isinstance(place, Unusable):
            raise place
        return self.read_poses(place)

    def _first(self) -> Poses:
        """The poses in the first clip that can be read."""
        reason = "it is empty"
        for clip in self._clips:
            try:
                poses = self._read(clip)
                if poses.keypoints.shape[-1] == 3:  # before the layout is requested
                    check_metres(poses.keypoints[poses.scores > 0])
                return poses
            except Unusable as error:
                reason = f"{clip}: {error}" if reason == "it is empty" else reason
        raise UserError(f"{self.root} has no clip that can be used; the first, {reason}")
