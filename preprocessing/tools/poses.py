"""The poses in a clip, for all pose tools: persons in frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.source import Unusable

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.int64]

PERSON = "person"
"""Name of the class of persons in COCO, and in models trained on it."""

_MAX_NUMBER = 10**18  # differences still fit in 64 bits


@dataclass(frozen=True)
class Poses:
    """The persons of a clip, with one row for each frame in which a person was found.

    Args:
        keypoints: ``(R, V, 2)`` pixels of the frame, or ``(R, V, 3)`` metres.
        scores: ``(R, V)``; 0 for a missing joint.
        frame: Number of the frame of each row, ``(R,)``.
        person: Number that the tool assigned to the person of each row, ``(R,)``; -1 for none.
        frames: Numbers of all frames that the tool processed, ``(F,)``, with or without persons.
        frame_size: Height and width of the frame in pixels, None if not in the input.
        joint_names: Names of the joints in the input, in their order; empty if it has none.
        note: What was left out or is doubtful; may be empty.
    """

    keypoints: Floats
    scores: Floats
    frame: Integers
    person: Integers
    frames: Integers
    frame_size: tuple[int, int] | None = None
    joint_names: tuple[str, ...] = ()
    note: str = ""


def choose_persons(classes: Sequence[str], usual: Collection[str]) -> tuple[list[bool], str]:
    """Which detections are persons, and a note about the others.

    If there are several classes, the one called person is used; the others are left out.

    Args:
        classes: Name or number of the class of each detection; empty if the tool gives none.
        usual: Classes that are accepted as persons if there is only one class.

    Raises:
        Unusable: There are several classes, and none is called person.
    """
    counts = Counter(classes)
    others = {name: count for name, count in counts.items() if name.casefold() != PERSON}
    listed = ", ".join(f"{name or 'none'} ({count})" for name, count in sorted(others.items()))
    if not others:
        return [True] * len(classes), ""
    if len(others) < len(counts):
        return ([name.casefold() == PERSON for name in classes],
                f"left out, being of other classes than {PERSON}: {listed}")
    if len(counts) > 1:
        raise Unusable(f"it has several classes: {listed}; keep one, as Ultralytics does with "
                       "`classes=0`, or if all are persons, give all the same class")
    name = next(iter(counts))
    return [True] * len(classes), "" if not name or name in usual else (
        f"doubtful: all are of the class {name}; are they persons?")


def split_values(values: Floats, num_joints: int | None) -> tuple[Floats, Floats | None]:
    """Keypoints ``(V, 2)`` and scores ``(V,)`` in a list x, y, score, ..., or x, y, ...

    Args:
        values: The list.
        num_joints: V if known; otherwise all lists are read as triples.

    Raises:
        Unusable: The list has another length.
    """
    if num_joints is not None and values.shape == (2 * num_joints,):
        return values.reshape(-1, 2), None
    if values.ndim != 1 or values.size % 3:
        raise Unusable(f"keypoints of the shape {values.shape} are not a list x, y, score, ...; "
                       "for a list x, y, ... name the layout with --layout")
    return values.reshape(-1, 3)[:, :2], values.reshape(-1, 3)[:, 2]


class PoseList:
    """Collects the persons of a clip one by one."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, Floats, Floats | None]] = []

    def add(self, frame: int, keypoints: Floats, scores: Floats | None, person: int = -1) -> None:
        """Adds a person.

        Args:
            frame: Number of the frame.
            keypoints: ``(V, 2)`` pixels, or ``(V, 3)`` metres.
            scores: ``(V,)``; None if the tool does not give any.
            person: Number of the person, -1 if the tool does not give one.

        Raises:
            Unusable: The number of joints differs from that of the scores, or of the other persons.
        """
        joints = len(keypoints)
        if scores is not None and scores.shape != (joints,):
            raise Unusable(f"frame {frame} has a person with {joints} joints, but "
                           f"{scores.size} scores")
        if self._rows and self._rows[0][2].shape[1] != keypoints.shape[1]:
            raise Unusable(f"some persons are in 2D and others in 3D, as in frame {frame}")
        if self._rows and len(self._rows[0][2]) != joints:
            raise Unusable(f"persons have {len(self._rows[0][2])} joints, but in frame {frame} "
                           f"one has {joints}")
        self._rows.append((frame, person, keypoints, scores))

    def finish(self, frames: Iterable[int], frame_size: tuple[int, int] | None = None,
               joint_names: tuple[str, ...] = (), note: str = "") -> Poses:
        """All persons that were added.

        Args:
            frames: Numbers of all frames that the tool processed.
            frame_size: Height and width in pixels, if known.
            joint_names: Names of the joints, if known.
            note: What was left out or is doubtful.

        Raises:
            Unusable: There is no person in any frame, or a number is absurd.
        """
        if not self._rows:
            raise Unusable("there is no person in any frame")
        keypoints = np.stack([row[2] for row in self._rows])
        scores = np.stack([np.ones(len(row[2])) if row[3] is None else row[3]
                           for row in self._rows])
        processed = list(frames)
        if max(map(abs, [*processed, *(number for row in self._rows for number in row[:2])])
               ) > _MAX_NUMBER:
            raise Unusable("the number of a frame or of a person is absurdly large")
        frame, person = (np.array([row[i] for row in self._rows], np.int64) for i in (0, 1))
        return Poses(keypoints, scores, frame, np.maximum(person, -1),
                     np.array(processed, np.int64), frame_size, joint_names, note)
