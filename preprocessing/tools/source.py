"""Keypoints of other tools, read by a `Reader` per tool: what is the same for all of them.

Adding a tool: 1. write a class with the members of `Reader` in a module of its own; 2. list it in
``own_readers.py``; 3. test it on files in the tool's exact format.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from preprocessing.core.files import fingerprint
from preprocessing.core.layouts import choose_layout
from preprocessing.tools.labels import Labels, Row, name_classes, read_class_names, read_labels
from preprocessing.tools.poses import Poses
from preprocessing.tools.tracks import persons
from ptl_skel.storage import Clip, Header

NO_FRAME_SIZE = ("{} does not tell the size of the frames; give it in pixels, as --frame_size "
                 "HEIGHT WIDTH")
_MAX_SIDE = 100_000  # pixels


class Reader(Protocol):
    """Reads what one tool left. Instances travel to worker processes."""

    @property
    def root(self) -> Path:
        """The file or folder that is read."""

    @property
    def tool(self) -> str:
        """What the tool is called, and the command."""

    @property
    def usual_layouts(self) -> Mapping[int, str]:
        """Number of joints -> layout, where the tool gives only one with as many."""

    @property
    def clips(self) -> Sequence[str]:
        """Names of the clips, in the order in which they are to be stored."""

    @property
    def flawed(self) -> Mapping[str, ValueError]:
        """Files and clips that give none, and why, as `Source.read` raises it."""

    @property
    def files(self) -> Iterable[Path]:
        """All files that are read."""

    def read(self, clip: str) -> Poses:
        """What was found in a clip.

        Raises:
            ValueError: The clip cannot be used; the message says why.
        """

    def labels(self) -> Mapping[str, Row]:
        """What the input itself says of its clips; nothing, for most tools."""


class OwnKeypoints:
    """A source (see `preprocessing.core.source`) of the keypoints of another tool.

    Args:
        reader: Reads the tool's files.
        layout: Name or YAML file of the layout; by default inferred from the number of joints.
        frame_size: Height and width in pixels of frames whose size the input does not tell.
        max_persons: Persons that are kept, those with the highest scores.
        labels: CSV file of `preprocessing.tools.labels`; without it, what the input itself says.
        classes: File with a class name per line; by default the labels name the classes.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: No clip can be read, the layout or the size of the frames is not clear, or the
            labels do not fit.
    """

    def __init__(self, reader: Reader, *, layout: str | None = None,
                 frame_size: tuple[int, int] | None = None, max_persons: int = 2,
                 labels: Path | None = None, classes: Path | None = None) -> None:
        self._reader, self._frame_size, self._max_persons = reader, frame_size, max_persons
        rows = reader.labels() if labels is None else read_labels(labels)
        names = None if classes is None else read_class_names(classes)
        where = str(reader.root if labels is None else f"--labels {labels}")
        self._labels: Labels = name_classes(rows, names, where)
        self._flawed = dict(reader.flawed)
        if labels is not None:
            self._compare(where)
        first = self._first()
        joints, coordinates = first.keypoints.shape[1:]
        if max_persons < 1:
            raise ValueError(f"--max_persons must be >= 1, got {max_persons}")
        if frame_size is not None and not 1 <= min(frame_size) <= max(frame_size) <= _MAX_SIDE:
            raise ValueError(f"--frame_size must lie in 1 to {_MAX_SIDE}, got {frame_size[0]} "
                             f"{frame_size[1]}")
        if coordinates == 2 and first.frame_size is None and frame_size is None:
            raise ValueError(NO_FRAME_SIZE.format(reader.root))
        self.header = Header(
            dataset=reader.root.resolve().stem,
            layout=choose_layout(reader.root, layout, joints, reader.usual_layouts),
            class_names=self._labels.class_names,
            source=f"{reader.tool}, at most {max_persons} persons",
            num_coordinates=coordinates,
        )

    @property
    def job(self) -> Mapping[str, Any]:
        """Input and options that decide the content; not where the input lies."""
        return {"source": self._reader.tool, "files": fingerprint(self._reader.files),
                "frame_size": self._frame_size, "max_persons": self._max_persons,
                "labels": self._labels.digest}

    def keys(self) -> Sequence[str]:
        """Names of the clips, and then of what belongs to none."""
        return [*self._reader.clips, *self._flawed]

    def read(self, key: str) -> list[Clip]:
        """A clip with its persons followed, and its label.

        Raises:
            ValueError: The input gives no clip; the message says why.
        """
        if key in self._flawed:
            raise self._flawed[key]
        poses = self._reader.read(key)
        expected = self.header.layout.num_joints, self.header.num_coordinates
        if poses.keypoints.shape[1:] != expected:
            found = poses.keypoints.shape[1:]
            raise ValueError(f"it has {found[0]} joints with {found[1]} coordinates, not "
                             f"{expected[0]} with {expected[1]} as layout "
                             f"{self.header.layout.name}")
        keypoints, scores = persons(poses, self._max_persons)
        size = (1, 1) if expected[1] == 3 else poses.frame_size or self._frame_size
        if size is None or not 1 <= min(size) <= max(size) <= _MAX_SIDE:
            raise ValueError(f"the size of its frames is {size or 'not known; give --frame_size'}")
        if expected[1] == 2 and np.abs(keypoints).max() <= 1 < max(size):
            raise ValueError("all coordinates lie in -1 to 1: they are relative, not in pixels")
        return [Clip(key, keypoints, scores, size, self._labels.label(key),
                     self._labels.subject(key))]

    def splits(self, ids: Sequence[str]) -> Mapping[str, Mapping[str, Sequence[str]]]:
        """The protocol ``own``, where the labels tell train, val and test."""
        return self._labels.splits(ids)

    def _compare(self, where: str) -> None:
        """Clips that have a label alone are told as skipped; that all are so is a mistake."""
        known = set(self._reader.clips)
        absent = [clip for clip in self._labels.rows if clip not in known]
        if known.isdisjoint(self._labels.rows):
            raise ValueError(f"{where} names none of the clips in {self._reader.root}: there it "
                             f"has {absent[0]!r}, here is {self._reader.clips[0]!r}")
        self._flawed |= {clip: ValueError("it has a label, but there are no keypoints of it")
                         for clip in absent if clip not in self._flawed}

    def _first(self) -> Poses:
        """What was found in the first clip that can be read."""
        reason = ""
        for clip in self._reader.clips:
            try:
                return self._reader.read(clip)
            except ValueError as error:
                reason = reason or f"{clip}: {error}"
        raise ValueError(f"{self._reader.root} has no clip that can be used; the first, {reason}")
