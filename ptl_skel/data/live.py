"""Scores of live recognition: test clips as a camera would show them.

A prediction may use only the frames seen so far, and nothing from the future: not the length of the
clip, not its end, and not a box around later frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptl_skel.errors import UserError
from ptl_skel.metrics import SECONDS, SHARES

JOINED = 10
"""Clips that are joined into one stream."""
JOIN_SEED = 0
"""Seed of the order in which clips are joined: the same for every run."""
EVERY = 8
"""Frames between two predictions that are scored in a stream of joined clips."""


@dataclass(frozen=True)
class LiveScore:
    """Settings for testing a network before actions are over.

    Args:
        frame_rate: Frames per second of all clips, for the accuracy after some seconds; those in
            the keypoint file are not used. None: not scored.
        stride: A causal network sees every `stride`-th frame.
        memory: Frames that a prediction in a stream of joined clips takes into account: a window
            does not span more, and the mean of a causal network's outputs forgets earlier ones. In
            a single clip, all frames since its start count.
    """

    frame_rate: float | None = None
    stride: int = 2
    memory: int = 64

    def check(self) -> None:
        """Checks the arguments.

        Raises:
            UserError: A number is out of range.
        """
        if self.frame_rate is not None and not self.frame_rate > 0:
            raise UserError(f"`data.live_score.frame_rate` must be positive, got {self.frame_rate}")
        if not 1 <= self.stride <= self.memory:
            raise UserError("`data.live_score` needs 1 <= stride <= memory, got "
                            f"{self.stride} and {self.memory}")


@dataclass(frozen=True)
class Track:
    """The persons of a video, from its first frame on.

    Attributes:
        keypoints: ``(M, T, V, C)``.
        scores: ``(M, T, V)``.
        frame_size: Height and width, ``(2,)``.
    """

    keypoints: Tensor
    scores: Tensor
    frame_size: Tensor


def moments(num_frames: NDArray[np.int64], frame_rate: float | None
            ) -> dict[str, NDArray[np.int64]]:
    """When predictions are made: for each score, the number of frames seen of each clip, ``(N,)``.

    For a clip that ends earlier, it is the end.
    """
    seen = {f"top1_after_{share}_percent": np.maximum(1, np.rint(num_frames * share / 100))
             for share in SHARES}
    if frame_rate is not None:
        seen |= {f"top1_after_{seconds:g}_s": np.clip(np.rint(seconds * frame_rate), 1, num_frames)
                  for seconds in SECONDS}
    return {name: frames.astype(np.int64) for name, frames in seen.items()}


def choose_streams(clips: int) -> list[NDArray[np.int64]]:
    """Which clips are joined into each stream, in their order; every clip once."""
    order = np.random.default_rng(JOIN_SEED).permutation(clips)
    return np.array_split(order, max(1, clips // JOINED))


def join_tracks(tracks: Sequence[Track]) -> Track:
    """Joins videos into one, in which the persons of each start where the earlier ones ended.

    Each video is shifted and scaled for this. Persons that a video lacks are absent in it.
    """
    persons = max(len(track.scores) for track in tracks)
    keypoints, scores = [], []
    place = None
    for track in tracks:
        moved = track.keypoints
        own = _place(track, first=True)
        if place is not None and own is not None:
            scale = place[1] / own[1]
            moved = (moved - own[0]) * scale + place[0]
        absent = persons - len(track.scores)
        keypoints.append(torch.nn.functional.pad(moved, (0, 0, 0, 0, 0, 0, 0, absent)))
        scores.append(torch.nn.functional.pad(track.scores, (0, 0, 0, 0, 0, absent)))
        ended = _place(Track(moved, track.scores, track.frame_size), first=False)
        place = ended if ended is not None else place
    return Track(torch.cat(keypoints, 1), torch.cat(scores, 1), tracks[0].frame_size)


def _place(track: Track, *, first: bool) -> tuple[Tensor, Tensor] | None:
    """Centre and extent of the persons in the first or last frame that shows someone."""
    visible = track.scores > 0
    frames = visible.any(-1).any(0).nonzero().flatten()
    if not len(frames):
        return None
    frame = int(frames[0 if first else -1])
    joints = track.keypoints[:, frame][visible[:, frame]]
    low, high = joints.amin(0), joints.amax(0)
    return (low + high) / 2, (high - low).amax().clamp(min=1e-3)


def score_moments(predicted: NDArray[np.int64], label: NDArray[np.int64], names: Iterable[str]
                  ) -> dict[str, float]:
    """Accuracy by the name of the moment, and ``live_top1``, the mean over the shares of a clip.

    Args:
        predicted: Predicted class of each clip at each moment, ``(N, moments)``.
        label: True classes, ``(N,)``.
        names: The moments, as `moments` names them.
    """
    right = (predicted == label[:, None]).mean(0)
    scores = {name: float(share) for name, share in zip(names, right, strict=True)}
    return scores | {"live_top1": float(right[: len(SHARES)].mean())}


def score_stream(predicted: Sequence[NDArray[np.int64]], times: Sequence[NDArray[np.int64]],
                 lengths: Sequence[NDArray[np.int64]], labels: Sequence[NDArray[np.int64]]
                 ) -> dict[str, float]:
    """How well streams of joined clips are recognised.

    Args:
        predicted: For each stream, the predicted class at each of its `times`.
        times: Frames seen by then.
        lengths: For each stream, the numbers of frames of its clips.
        labels: Their classes.

    Returns:
        ``stream_top1``, share of predictions that are right; ``stream_reached``, share of clips
        with a right prediction; ``stream_delay``, median of the frames until the first one, or the
        length of a clip without one.
    """
    right: list[NDArray[np.bool_]] = []
    delays, reached = [], []
    for given, when, frames, label in zip(predicted, times, lengths, labels, strict=True):
        ends = np.cumsum(frames)
        clip = np.searchsorted(ends, when)
        hits = given == label[clip]
        right.append(hits)
        for number, (start, length) in enumerate(zip(ends - frames, frames, strict=True)):
            found = when[hits & (clip == number)]
            reached.append(len(found) > 0)
            delays.append(found[0] - start if len(found) else length)
    return {"stream_top1": float(np.concatenate(right).mean()),
            "stream_reached": float(np.mean(reached)), "stream_delay": float(np.median(delays))}
