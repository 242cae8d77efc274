"""Tracks persons from frame to frame and chooses those that are kept.

1. A person with a number that the tool gave (a track id) belongs to the track of that number.
2. Others continue the nearest track. Each track of the last `_MEMORY` frames is extrapolated with
   its last speed; its distance to a person is the mean distance of the joints seen in both,
   weighted by the lower of the two scores, relative to the size of the larger body (diagonal of
   the box around its joints). Persons and tracks are matched so that the sum of distances is
   smallest; nothing is matched over more than `_REACH`. A person who matches no track starts one.
3. The tracks, in the order of their sums of scores, take the first of ``max_persons`` places that
   is free in all of their frames; a track that finds no place is dropped. So a person who returns
   as a new track takes the old place again. Where the tool numbers everybody, and there are enough
   places for all numbers, each number has its own place, in their order.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ..core.source import Unusable
from .poses import Floats, Integers, Poses

MAX_FRAMES = 100_000  # a clip of an hour; more means that the numbers are not those of frames
_MEMORY = 30  # frames; a second of most videos
_COAST = 5  # frames for which a person who is not seen is assumed to keep moving
_REACH = 0.5  # of the size of the body; nobody moves that far from one frame to the next
_CROWD = 50  # persons in a frame; of more, those with the lowest scores are not kept anyway
_FAR = 1e6
_FEW, _SMALL_STEP = 10, 5  # frames; numbers of frames in between which were not processed


@dataclass(frozen=True)
class _Track:
    """Where a person was seen last.

    Args:
        frame: The frame.
        keypoints: ``(V, C)``.
        scores: ``(V,)``.
        speed: Mean movement of the joints per frame, ``(C,)``.
    """

    frame: int
    keypoints: Floats
    scores: Floats
    speed: Floats


def follow_persons(poses: Poses, max_persons: int) -> tuple[Floats, Floats]:
    """Keypoints ``(M, T, V, C)`` and scores ``(M, T, V)`` of the persons that are kept, M >= 1.

    A joint is missing where its score is not positive, its coordinates are not finite, or it lies
    at exactly 0, 0, as tools mark what they did not find. In metres 0, 0, 0 is an ordinary place.
    A constant step between the numbers of the frames, e.g. of every fifth frame or of time stamps
    in milliseconds, is removed. The clip starts with the first frame that shows anybody and ends
    with the last.

    Args:
        poses: What was found.
        max_persons: The most persons in a frame.

    Raises:
        Unusable: No joint is visible, or the numbers of the frames lie too far apart.
    """
    with np.errstate(over="ignore"):
        keypoints = poses.keypoints.astype(np.float32)
    present = np.isfinite(keypoints).all(-1) & (poses.scores > 0)
    if keypoints.shape[-1] == 2:
        present &= (keypoints != 0).any(-1)
    rows = np.flatnonzero(present.any(1))
    if not rows.size:
        raise Unusable("no joint is visible in any frame")
    numbers = np.unique(np.concatenate([poses.frame, poses.frames]))
    indices = _count_frames(numbers)
    frame = indices[np.searchsorted(numbers, poses.frame[rows])]
    frame -= frame.min()
    if frame.max() >= MAX_FRAMES:
        raise Unusable(f"its frames are numbered {numbers[0]} to {numbers[-1]}, more than the "
                       f"{MAX_FRAMES:,} that a clip can have")
    keypoints = np.where(present[rows, :, None], keypoints[rows].astype(np.float64), 0)
    scores = np.where(present[rows], np.minimum(poses.scores[rows], 1), 0).astype(np.float32)
    track = follow(keypoints, scores, frame, poses.person[rows])
    place = _places(track, frame, scores.sum(1), poses.person[rows], max_persons)
    kept = np.flatnonzero(place >= 0)
    at = place[kept], frame[kept] - frame[kept].min()
    shape = int(at[0].max()) + 1, int(at[1].max()) + 1
    if math.prod(shape) > MAX_FRAMES * _CROWD:
        raise Unusable(f"it has {shape[0]:,} persons in {shape[1]:,} frames; fewer persons are "
                       "kept with --max_persons")
    chosen = np.zeros((*shape, *keypoints.shape[1:]), np.float32)
    chosen_scores = np.zeros(chosen.shape[:3], np.float32)
    chosen[at], chosen_scores[at] = keypoints[kept], scores[kept]
    return chosen, chosen_scores


def _count_frames(numbers: Integers) -> Integers:
    """Indices of frames, ``(F,)``, from their numbers in increasing order, without a constant step.

    Raises:
        Unusable: The numbers have large and different distances, as irregular time stamps have.
    """
    steps = np.diff(numbers)
    step = max(1, int(np.gcd.reduce(steps)))
    if len(numbers) < _FEW or np.median(steps) <= _SMALL_STEP * step:
        return np.asarray((numbers - numbers[0]) // step)
    usual = steps[steps < 1.5 * steps.min()].mean()  # 33.3 of 0, 33, 67, 100, ...
    indices = np.concatenate([[0], np.cumsum(np.rint(steps / usual).astype(np.int64))])
    expected = numbers[0] + indices * (numbers[-1] - numbers[0]) / indices[-1]
    if np.abs(numbers - expected).max() > 1:  # more than rounding
        shown = ", ".join(map(str, numbers[:4].tolist()))
        raise Unusable(f"its frames are numbered {shown} and so on, which look like irregular time "
                       "stamps; number the frames 0, 1, 2 and so on")
    return indices


def follow(keypoints: Floats, scores: Floats, frame: Integers, person: Integers) -> Integers:
    """Number of the track of each row, ``(R,)``, by the first two rules of this module; or -1.

    Args:
        keypoints: ``(R, V, C)``, finite.
        scores: ``(R, V)``; 0 for a missing joint.
        frame: ``(R,)``; in any order.
        person: Number that the tool gave to the person, ``(R,)``; -1 for none.
    """
    once = len(np.unique(np.stack([frame, person]), axis=1).T) == len(frame)
    if once and person.min() >= 0:  # all persons are numbered
        return np.unique(person, return_inverse=True)[1]
    track = np.full(len(frame), -1, np.int64)
    new, numbered, live = itertools.count(), dict[int, int](), dict[int, _Track]()
    in_order = np.lexsort((-scores.sum(1), frame))  # by frame, and in a frame the strongest first
    for rows in np.split(in_order, np.flatnonzero(np.diff(frame[in_order])) + 1):
        now = int(frame[rows[0]])
        live = {i: seen for i, seen in live.items() if now - seen.frame <= _MEMORY}
        here: dict[int, int] = {}  # track -> row
        others = []
        for row in rows[:_CROWD].tolist():
            number = int(person[row])
            if number >= 0 and number not in numbered:
                numbered[number] = next(new)
            if number >= 0 and numbered[number] not in here:
                here[numbered[number]] = row
            else:
                others.append(row)
        free = [i for i in live if i not in here]
        nearest = _match([live[i] for i in free], now, keypoints[others], scores[others])
        for position, row in enumerate(others):
            here[free[nearest[position]] if position in nearest else next(new)] = row
        for i, row in here.items():
            track[row] = i
            live[i] = _seen(live.get(i), now, keypoints[row], scores[row])
    return track


def _match(tracks: Sequence[_Track], now: int, keypoints: Floats, scores: Floats) -> dict[int, int]:
    """Position of a person -> position of its track, for those that are near enough."""
    if not tracks or not len(keypoints):
        return {}
    expected = np.stack([seen.keypoints + seen.speed * min(now - seen.frame, _COAST)
                         for seen in tracks])
    weights = np.minimum(scores[:, None], np.stack([seen.scores for seen in tracks]))  # (P, Q, V)
    moved = np.linalg.norm(keypoints[:, None] - expected, axis=-1)
    sizes = np.maximum(_sizes(keypoints, scores)[:, None], np.array(
        [_sizes(seen.keypoints, seen.scores) for seen in tracks]))
    with np.errstate(divide="ignore", invalid="ignore"):  # no joint in both, or bodies of no size
        distances = (moved * weights).sum(-1) / weights.sum(-1) / sizes
    distances = np.where(distances <= _REACH, distances, _FAR)
    return {int(i): int(j) for i, j in zip(*linear_sum_assignment(distances), strict=True)
            if distances[i, j] < _FAR}


def _sizes(keypoints: Floats, scores: Floats) -> Floats:
    """Diagonal of the box around the visible joints: ``(..., V, C)`` to ``(...)``."""
    visible = scores[..., None] > 0
    highest = np.where(visible, keypoints, -np.inf).max(-2)
    lowest = np.where(visible, keypoints, np.inf).min(-2)
    return np.asarray(np.linalg.norm(highest - lowest, axis=-1))


def _seen(before: _Track | None, now: int, keypoints: Floats, scores: Floats) -> _Track:
    """The track after it was seen in another frame."""
    speed = np.zeros(keypoints.shape[1])
    if before is not None:
        weights = np.minimum(before.scores, scores)
        if weights.any():
            step = weights @ (keypoints - before.keypoints) / weights.sum()
            speed = step / (now - before.frame)
    return _Track(now, keypoints, scores, speed)


def _places(track: Integers, frame: Integers, weight: NDArray[np.floating], person: Integers,
            max_persons: int) -> Integers:
    """Place of each row, ``(R,)``, by the third rule of this module; -1 for a dropped row.

    Args:
        track: ``(R,)``.
        frame: ``(R,)``.
        weight: Sum of the scores of each row, ``(R,)``.
        person: Number that the tool gave, ``(R,)``; -1 for none.
        max_persons: Number of places.
    """
    numbers = np.unique(person)
    found = np.unique(track[track >= 0])
    if numbers[0] >= 0 and len(numbers) == len(found) <= max_persons:
        return np.searchsorted(numbers, person)
    place = np.full(len(track), -1, np.int64)
    rows_of = np.split(np.argsort(track, kind="stable"), np.searchsorted(np.sort(track), found))[1:]
    taken: list[NDArray[np.bool_]] = []
    for rows in sorted(rows_of, key=lambda rows: -float(weight[rows].sum())):
        for i in range(max_persons):
            if i == len(taken):
                taken.append(np.zeros(int(frame.max()) + 1, bool))
            if not taken[i][frame[rows]].any():
                taken[i][frame[rows]], place[rows] = True, i
                break
    return place
