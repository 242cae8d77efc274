"""Tracks persons from frame to frame: one tracker for files and for cameras.

Each track is extrapolated with its speed and compared to the persons of the new frame by the
similarity of their joints (`similarities`). Persons and tracks are matched to maximise the sum of
similarities, in two rounds: first persons with high confidence, then the others with the remaining
tracks. Thus a half-hidden person keeps the track, and a shadow does not start one. Tracks that were
seen in the last frame have priority, so that a hidden person does not take over the track of
somebody in front.

Reference:
    Zhang et al., "ByteTrack", arXiv 2110.06864: the two rounds. The similarity has the form of
    COCO's object keypoint similarity, with one width for all joints, so it serves every layout.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ptl_skel.errors import UserError

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.int64]

_COAST = 5  # frames for which a hidden person is assumed to keep moving
_TRIAL = 2  # frames without the person after which an unconfirmed track is dropped
_WIDTH = 0.28  # relative to the size of the body: at half the size the similarity is 0.2
_MATCH = 0.2  # similarity below which nothing is matched
_HIDDEN = 0.5  # factor on the similarity of tracks that were not seen in the last frame
_CROWD = 50  # persons in a frame; beyond, those with the lowest scores are dropped


@dataclass
class _Track:
    """A tracked person.

    Args:
        id: Number of the track, -1 until it is confirmed.
        frame: The last frame in which the person was seen.
        keypoints: The joints there, ``(V, C)``.
        scores: ``(V,)``.
        speed: Mean movement of the joints per frame, ``(C,)``.
        hits: Number of frames in which the person was seen.
    """

    id: int
    frame: int
    keypoints: Floats
    scores: Floats
    speed: Floats
    hits: int = 1

    def expected(self, frame: int) -> Floats:
        """The expected positions of the joints in a frame, ``(V, C)``."""
        return self.keypoints + self.speed * min(frame - self.frame, _COAST)

    def update(self, frame: int, keypoints: Floats, scores: Floats) -> None:
        """Continues the track with the person in a new frame."""
        weights = np.minimum(self.scores, scores)
        if weights.any():
            step = weights @ (keypoints - self.keypoints) / weights.sum()
            speed = step / (frame - self.frame)
            self.speed = speed if self.hits == 1 else (self.speed + speed) / 2
        self.frame, self.keypoints, self.scores = frame, keypoints, scores
        self.hits += 1


class PersonTracker:
    """Gives the same person the same number in all frames.

    Args:
        begin: Persons of at least this confidence can start a track.
        keep: Persons of at least this confidence can continue one; others are ignored.
        confirm: Frames in which a person must have been seen to get a number.
        patience: Frames for which a person who is not seen keeps the number.

    Raises:
        UserError: `keep` is above `begin`, `confirm` is below 1 or `patience` below 0.
    """

    def __init__(self, *, begin: float = 0.3, keep: float = 0.1, confirm: int = 3,
                 patience: int = 30) -> None:
        if keep > begin:
            raise UserError(f"`keep` must be <= `begin`, got {keep} and {begin}")
        if confirm < 1 or patience < 0:
            raise UserError(f"`confirm` must be >= 1 and `patience` >= 0, got {confirm} and "
                            f"{patience}")
        self._begin, self._keep, self._confirm, self._patience = begin, keep, confirm, patience
        self._tracks: list[_Track] = []
        self._new = itertools.count()
        self._numbered: dict[int, int] = {}
        self._frame = -1

    @property
    def live(self) -> set[int]:
        """Numbers of the persons who are visible or may return."""
        return {track.id for track in self._tracks if track.id >= 0}

    def update(self, keypoints: Floats, scores: Floats, confidence: Floats, *,
               frame: int | None = None, numbers: Integers | None = None) -> Integers:
        """Number of each person in a new frame, ``(N,)``; -1 for those without a track (yet).

        Args:
            keypoints: ``(N, V, C)``, finite.
            scores: ``(N, V)``; 0 for a missing joint.
            confidence: ``(N,)``.
            frame: Number of the frame, higher than that of the last; by default the next one.
            numbers: Track ids from a pose tool, ``(N,)``, -1 for none; persons with the same id
                always belong to the same track.
        """
        now = self._frame = self._frame + 1 if frame is None else frame
        self._tracks = [track for track in self._tracks if now - track.frame <= (
            self._patience if track.id >= 0 else _TRIAL)]
        owner: dict[int, _Track] = {}
        strongest = np.argsort(-scores.sum(1), kind="stable")[:_CROWD]
        rows = [row for row in strongest.tolist() if confidence[row] >= self._keep]
        if numbers is not None:
            self._match_ids(now, rows, numbers, keypoints, scores, owner)
        rows = [row for row in rows if row not in owner]
        sure = [row for row in rows if confidence[row] >= self._begin]
        self._match(now, sure, keypoints, scores, owner)
        self._match(now, [row for row in rows if row not in sure], keypoints, scores, owner)
        for row in sure:
            if row not in owner:
                owner[row] = self._start(now, keypoints[row], scores[row])
        ids = np.full(len(keypoints), -1, np.int64)
        for row, track in owner.items():
            if track.id < 0 and track.hits >= self._confirm:
                track.id = next(self._new)
            ids[row] = track.id
        return ids

    def _start(self, now: int, keypoints: Floats, scores: Floats) -> _Track:
        track = _Track(-1, now, keypoints, scores, np.zeros(keypoints.shape[-1]))
        self._tracks.append(track)
        return track

    def _match_ids(self, now: int, rows: list[int], numbers: Integers, keypoints: Floats,
               scores: Floats, owner: dict[int, _Track]) -> None:
        """Assigns tracks to persons with ids from a pose tool; each id is used once."""
        tracks = {track.id: track for track in self._tracks}
        for row in rows:
            number = int(numbers[row])
            if number < 0 or any(self._numbered.get(number) == track.id
                                 for track in owner.values()):
                continue
            if number not in self._numbered:
                self._numbered[number] = next(self._new)
            track = tracks.get(self._numbered[number])
            if track is None:
                track = self._start(now, keypoints[row], scores[row])
                track.id = self._numbered[number]
            else:
                track.update(now, keypoints[row], scores[row])
            owner[row] = track

    def _match(self, now: int, rows: list[int], keypoints: Floats, scores: Floats,
               owner: dict[int, _Track]) -> None:
        """Continues the unmatched tracks with the persons in these rows."""
        free = [track for track in self._tracks if track.frame < now]
        if not free or not rows:
            return
        similar = similarities(keypoints[rows], scores[rows],
                               np.stack([track.expected(now) for track in free]),
                               np.stack([track.scores for track in free]))
        hidden = np.array([now - track.frame > 1 for track in free])
        similar = np.where(similar >= _MATCH, similar, 0) * np.where(hidden, _HIDDEN, 1)
        for i, j in zip(*linear_sum_assignment(similar, maximize=True), strict=True):
            if similar[i, j] > 0:
                owner[rows[i]] = free[j]
                free[j].update(now, keypoints[rows[i]], scores[rows[i]])


def similarities(keypoints: Floats, scores: Floats, others: Floats, other_scores: Floats
                 ) -> Floats:
    """Similarity of the poses of persons, in 0..1, ``(P, Q)``.

    The mean over the joints seen in both of ``exp(-d^2 / (2 (w s)^2))``, weighted by the lower of
    the two scores: d is the distance of a joint, s the size of the larger body (diagonal of the box
    around its joints), w a constant.

    Args:
        keypoints: Of P persons, ``(P, V, C)``.
        scores: ``(P, V)``.
        others: Of Q persons, ``(Q, V, C)``.
        other_scores: ``(Q, V)``.
    """
    weights = np.minimum(scores[:, None], other_scores)  # (P, Q, V)
    squares = ((keypoints[:, None] - others) ** 2).sum(-1)
    sizes = np.maximum(_sizes(keypoints, scores)[:, None], _sizes(others, other_scores))
    with np.errstate(divide="ignore", invalid="ignore"):  # no common joint, or bodies of size 0
        near = np.exp(-squares / (2 * (_WIDTH * sizes[..., None]) ** 2))
        similar = (near * weights).sum(-1) / weights.sum(-1)
    return np.asarray(np.nan_to_num(similar))


def _sizes(keypoints: Floats, scores: Floats) -> Floats:
    """Diagonal of the box around the visible joints: ``(..., V, C)`` to ``(...)``."""
    visible = scores[..., None] > 0
    highest = np.where(visible, keypoints, -np.inf).max(-2)
    lowest = np.where(visible, keypoints, np.inf).min(-2)
    return np.asarray(np.linalg.norm(np.maximum(highest - lowest, 0), axis=-1))
