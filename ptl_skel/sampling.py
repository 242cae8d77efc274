"""Which frames of a clip a network sees: pure functions on indices.

Uniform sampling takes T frames spread over the whole clip, whatever its length, so that an action
is seen from start to end.

Reference:
    PoseConv3D, arXiv 2104.13586, section 3.3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

TEST_SEED = 255
"""Seed of the sampler at test time, the one of the reference implementation (PYSKL)."""


def sample_train(num_frames: int, clip_len: int, seed: tuple[int, ...]) -> NDArray[np.int64]:
    """Frames of one random clip, ``(clip_len,)``; the same seed gives the same frames."""
    random = np.random.default_rng(seed)
    start = int(random.integers(num_frames)) if num_frames < clip_len else 0
    return _uniform(num_frames, clip_len, start, random.choice, random.integers)


def sample_test(num_frames: int, clip_len: int, num_clips: int = 1) -> NDArray[np.int64]:
    """Frames of the clips that stand for a sample at test time, ``(num_clips, clip_len)``.

    The clips differ, but are the same in every run: equal to PYSKL's test sampler.
    """
    random = np.random.RandomState(TEST_SEED)
    if num_frames < num_clips:
        starts = np.arange(num_clips)
    else:
        starts = np.arange(num_clips) * num_frames // num_clips
    clips = []
    for start in starts:
        # The reference draws here which part of the sample it looks at, always the whole.
        random.random_sample()
        clips.append(
            _uniform(num_frames, clip_len, int(start), random.choice, random.randint))
    return np.stack(clips)


def _uniform(
    num_frames: int, clip_len: int, start: int, choice: Callable[..., Any],
    integers: Callable[..., Any],
) -> NDArray[np.int64]:
    """The rule, for either of numpy's generators."""
    if num_frames < clip_len:
        return (start + np.arange(clip_len)) % num_frames
    if num_frames < 2 * clip_len:
        gaps = np.zeros(clip_len + 1, np.int64)
        gaps[choice(clip_len + 1, num_frames - clip_len, replace=False)] = 1
        return np.arange(clip_len) + np.cumsum(gaps)[:-1]
    edges = np.arange(clip_len + 1) * num_frames // clip_len
    frames: NDArray[np.int64] = edges[:-1] + integers(np.diff(edges))
    return frames
