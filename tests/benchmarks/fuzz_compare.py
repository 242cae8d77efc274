"""Whether the clips that were read are those that an independent parser finds in the file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptl_skel.storage import Clip, Header

Floats = NDArray[np.float64]


@dataclass
class Parsed:
    """What a file says about a clip.

    Args:
        poses: Number of the frame, and x, y (and z) and score of each joint ``(V, C + 1)``.
        label: Name of the class; empty where there is none, None where it is not compared.
        zero_is_missing: Whether a joint at 0, 0 was not found.
        chosen: Whether a reader may leave out persons; otherwise it may if there are over two.
        keeps_far: Whether joints far outside the frame stay.
    """

    poses: list[tuple[Any, Floats]] = field(default_factory=list)
    label: str | None = None
    zero_is_missing: bool = True
    chosen: bool = False
    keeps_far: bool = False


class NotParsedError(Exception):
    """The independent parser is stricter than it has to be, so nothing can be compared."""


def compare(clips: Iterable[Clip], header: Header, parsed: Mapping[str, Parsed]) -> str:
    """Where clips differ from what the file says; empty if they do not."""
    for clip in clips:
        if clip.id not in parsed:
            return f"the file has no clip {clip.id!r}"
        wanted = parsed[clip.id]
        name = header.class_names[clip.label] if clip.label >= 0 else ""
        if wanted.label is not None and name != wanted.label:
            return f"{clip.id} has the label {name!r}, not {wanted.label!r}"
        difference = _compare_frames(clip, wanted)
        if difference:
            return f"{clip.id}: {difference}"
    return ""


def _compare_frames(clip: Clip, wanted: Parsed) -> str:
    given: dict[Any, list[Floats]] = {}
    for number, pose in wanted.poses:
        seen = _without_missing(pose, wanted.zero_is_missing)
        if seen[:, -1].any():
            given.setdefault(number, []).append(seen)
    frames = [given[number] for number in sorted(given)]
    if not wanted.keeps_far:
        frames = _without_far(_without_marks(frames, clip.frame_size), clip.frame_size)
    stored = np.concatenate([clip.keypoints, clip.scores[..., None]], -1).astype(np.float64)
    kept = [[pose for pose in stored[:, t] if pose[:, -1].any()] for t in range(stored.shape[1])]
    kept = [persons for persons in kept if persons]
    is_exact = not wanted.chosen and all(len(persons) <= 2 for persons in frames)
    if is_exact and len(kept) != len(frames):
        return f"{len(kept)} frames show somebody, not {len(frames)}"
    tolerance = 2e-3 if clip.keypoints.dtype == np.float16 else 1e-5
    at = 0
    for i, persons in enumerate(kept):
        while at < len(frames) and not _all_in(persons, frames[at], tolerance):
            if is_exact:
                return f"frame {i} differs: {persons[0][:3]} against {frames[at][0][:3]}"
            at += 1
        if at == len(frames):
            return f"frame {i} is not in the file, or not at its place: {persons[0][:3]}"
        if is_exact and len(persons) != len(frames[at]):
            return f"frame {i} has {len(persons)} persons, not {len(frames[at])}"
        at += 1
    return ""


def _without_missing(pose: Floats, zero_is_missing: bool) -> Floats:
    with np.errstate(over="ignore"):
        places = pose[:, :-1].astype(np.float32)
    seen = np.isfinite(places).all(1) & (pose[:, -1] > 0)
    if zero_is_missing:
        seen &= (places != 0).any(1)
    # Half precision holds nothing smaller.
    scores = np.where(seen, np.clip(pose[:, -1], 0, 1).astype(np.float16), 0)
    return np.where(scores[:, None] > 0, np.column_stack([places, scores]), 0).astype(np.float64)


def _without_marks(frames: list[list[Floats]], frame_size: tuple[int, int]) -> list[list[Floats]]:
    """Without joints at one number in all axes that no joint is at, unless all are."""
    def is_mark(pose: Floats) -> NDArray[np.bool_]:
        first = pose[:, 0]
        same = (pose[:, :-1] == first[:, None]).all(1) & (pose[:, -1] > 0)
        if pose.shape[1] == 3:
            return np.asarray(same & ((first <= 0) | (first > max(frame_size))))
        return np.asarray(same & ((first != 0) | (not pose[:, :-1].any())))

    if all(is_mark(pose)[pose[:, -1] > 0].all() for persons in frames for pose in persons):
        return frames
    kept = [[np.where(is_mark(pose)[:, None], 0, pose) for pose in persons] for persons in frames]
    kept = [[pose for pose in persons if pose[:, -1].any()] for persons in kept]
    return [persons for persons in kept if persons]


def _without_far(frames: list[list[Floats]], frame_size: tuple[int, int]) -> list[list[Floats]]:
    """Without joints more than ten frame sizes or 1000 median distances away."""
    if not frames:
        return frames
    rows = np.concatenate([pose for persons in frames for pose in persons])
    if rows.shape[1] == 3:
        centre, limit = np.array(frame_size)[::-1] / 2, 10.0 * max(frame_size)
    else:
        centre = np.zeros(3)
        limit = 1000 * float(np.median(np.abs(rows[rows[:, -1] > 0, :-1]).max(1)))
        if (np.abs(rows[:, :-1]).max(1) > limit).mean() >= 0.05:
            return frames
    kept = [[np.where((np.abs(pose[:, :-1] - centre).max(1) > limit)[:, None], 0, pose)
             for pose in persons] for persons in frames]
    kept = [[pose for pose in persons if pose[:, -1].any()] for persons in kept]
    return [persons for persons in kept if persons]


def _all_in(persons: Sequence[Floats], frame: Sequence[Floats], tolerance: float) -> bool:
    """Whether each stored person is one of those in a frame of the file."""
    return all(any(_same(pose, other, tolerance) for other in frame) for pose in persons)


def _same(pose: Floats, other: Floats, tolerance: float) -> bool:
    if pose.shape != other.shape or ((pose[:, -1] > 0) != (other[:, -1] > 0)).any():
        return False
    seen = pose[:, -1] > 0
    return (np.allclose(pose[seen, :-1], other[seen, :-1], tolerance, 1e-4)
            and np.allclose(pose[:, -1], other[:, -1], 2e-3, 1e-3))
