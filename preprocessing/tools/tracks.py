"""Tracks persons from frame to frame, and selects those to keep.

1. A person with a track id from the tool belongs to the track with that id.
2. Others continue the tracks of the last `_MEMORY` frames, or start one, as
   `ptl_skel.pose.tracks.PersonTracker` decides.
3. The tracks, in the order of their sums of scores, take the first of ``max_persons`` slots that
   is free in all of their frames; a track without a free slot is dropped. So a person who returns
   as a new track gets the old slot again. If the tool numbers every person, and there are enough
   slots, each number has its own slot, in order.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ptl_skel.pose.tracks import PersonTracker

from ..core.source import Unusable
from .poses import Floats, Integers, Poses

MAX_FRAMES = 100_000  # a clip of an hour; if there are more, the numbers are not frame numbers
_MEMORY = 30  # frames; a second of most videos
_CROWDED = 9  # persons in a frame, of a clip that does not have more frames
_CROWD = 50  # persons in a frame, on average over the largest clip
_RUN, _STEADY = 3, 0.8  # frames, and share of small steps, in a possible video
_FEW, _SMALL_STEP = 10, 5  # frames; step between the numbers of processed frames


def follow_persons(poses: Poses, max_persons: int) -> tuple[Floats, Floats]:
    """Keypoints and scores of the selected persons, as in `arrange_persons`.

    Raises:
        Unusable: No joint is visible, or the frame numbers are too far apart.
    """
    return arrange_persons(poses, max_persons)[:2]


def arrange_persons(poses: Poses, max_persons: int, max_frames: int = MAX_FRAMES
                    ) -> tuple[Floats, Floats, int]:
    """Keypoints ``(M, T, V, C)`` and scores ``(M, T, V)`` of the persons that are kept, M >= 1.

    A joint is missing if its score is not positive, its coordinates are not finite, or it is at
    exactly 0, 0, as tools mark joints that they did not find. In metres, 0, 0, 0 is an ordinary
    position. A constant step between frame numbers, e.g. for every fifth frame or for time stamps
    in milliseconds, is removed. The clip starts with the first frame that shows anybody and ends
    with the last.

    Args:
        poses: The poses.
        max_persons: Maximum number of persons in a frame.
        max_frames: Maximum number of frames in the clip.

    Returns:
        Keypoints, scores, and the index of the processed frame at which the clip starts.

    Raises:
        Unusable: No joint is visible, or the frame numbers are too far apart.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        keypoints = poses.keypoints.astype(np.float32)
    _check_one_clip(poses.frame, poses.person)
    present = np.isfinite(keypoints).all(-1) & (poses.scores > 0)
    if keypoints.shape[-1] == 2:
        present &= (keypoints != 0).any(-1)
    rows = np.flatnonzero(present.any(1))
    if not rows.size:
        raise Unusable("no joint is visible in any frame")
    numbers = np.unique(np.concatenate([poses.frame, poses.frames]))
    if len(numbers) <= _CROWDED < len(rows) / len(numbers):
        others = "no other frame" if len(numbers) == 1 else f"{len(numbers) - 1} more"
        raise Unusable(f"it has {len(rows)} persons in frame {numbers[0]} and {others}; number the "
                       "frames 0, 1, 2 and so on")
    indices = _count_frames(numbers)
    frame = indices[np.searchsorted(numbers, poses.frame[rows])]
    before = int(frame.min())
    frame -= before
    if frame.max() >= max_frames:
        raise Unusable(f"its frames are numbered {numbers[0]} to {numbers[-1]}, more than the "
                       f"{max_frames:,} that a clip can have")
    keypoints = np.where(present[rows, :, None], keypoints[rows].astype(np.float64), 0)
    scores = np.where(present[rows], np.minimum(poses.scores[rows], 1), 0).astype(np.float32)
    track = assign_tracks(keypoints, scores, frame, poses.person[rows])
    place = _assign_slots(track, frame, scores.sum(1), poses.person[rows], max_persons)
    kept = np.flatnonzero(place >= 0)
    first = int(frame[kept].min())
    at = place[kept], frame[kept] - first
    shape = int(at[0].max()) + 1, int(at[1].max()) + 1
    if math.prod(shape) > max_frames * _CROWD:
        raise Unusable(f"it has {shape[0]:,} persons in {shape[1]:,} frames; fewer persons are "
                       "kept with --max_persons")
    chosen = np.zeros((*shape, *keypoints.shape[1:]), np.float32)
    chosen_scores = np.zeros(chosen.shape[:3], np.float32)
    chosen[at], chosen_scores[at] = keypoints[kept], scores[kept]
    return chosen, chosen_scores, before + first


def _check_one_clip(frame: Integers, person: Integers) -> None:
    """Checks that the frame numbers of a person do not start again.

    Raises:
        Unusable: They do, as in a file with the rows of several videos.
    """
    steps = np.diff(np.unique(frame))
    if not steps.size:
        return
    usual, last_start = np.median(steps), frame.min() + (frame.max() - frame.min()) // 10
    for number in np.unique(person):
        rows = frame[person == number]
        runs = np.split(rows, np.flatnonzero(np.diff(rows) < 0) + 1)
        count = sum(run[0] <= last_start and len(np.unique(run)) >= _RUN
                    and (np.diff(run) <= usual).mean() >= _STEADY for run in runs)
        if count > 1:
            raise Unusable(f"its frames are counted from {frame.min()} {count} times: these are "
                           f"{count} videos, or persons without a number; give each video its "
                           "own file or name, or number the persons")


def _count_frames(numbers: Integers) -> Integers:
    """Indices of frames, ``(F,)``, from their numbers in increasing order, without a constant step.

    Raises:
        Unusable: The numbers have large and varying steps, like irregular time stamps.
    """
    steps = np.diff(numbers)
    step = max(1, int(np.gcd.reduce(steps)))
    if len(numbers) < _FEW or np.median(steps) <= _SMALL_STEP * step:
        return np.asarray((numbers - numbers[0]) // step)
    usual = steps[steps < 1.5 * steps.min()].mean()  # 33.3 for 0, 33, 67, 100, ...
    indices = np.concatenate([[0], np.cumsum(np.rint(steps / usual).astype(np.int64))])
    expected = numbers[0] + indices * (numbers[-1] - numbers[0]) / indices[-1]
    if np.abs(numbers - expected).max() > 1:  # more than rounding
        shown = ", ".join(map(str, numbers[:4].tolist()))
        raise Unusable(f"its frames are numbered {shown} and so on, which look like irregular time "
                       "stamps; number the frames 0, 1, 2 and so on")
    return indices


def assign_tracks(keypoints: Floats, scores: Floats, frame: Integers, person: Integers) -> Integers:
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
    tracker = PersonTracker(begin=0, keep=0, confirm=1, patience=_MEMORY)  # the tool has filtered
    in_order = np.argsort(frame, kind="stable")
    for rows in np.split(in_order, np.flatnonzero(np.diff(frame[in_order])) + 1):
        track[rows] = tracker.update(keypoints[rows], scores[rows], np.ones(len(rows)),
                                     frame=int(frame[rows[0]]), numbers=person[rows])
    return track


def _assign_slots(track: Integers, frame: Integers, weight: NDArray[np.floating], person: Integers,
            max_persons: int) -> Integers:
    """Slot of each row, ``(R,)``, by the third rule of this module; -1 for a dropped row.

    Args:
        track: ``(R,)``.
        frame: ``(R,)``.
        weight: Sum of the scores of each row, ``(R,)``.
        person: Number that the tool gave, ``(R,)``; -1 for none.
        max_persons: Number of slots.
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
