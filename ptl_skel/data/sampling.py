"""Selects the frames of a clip that a network sees: pure functions on indices.

Uniform sampling takes T frames spread over the whole clip, whatever its length, so that an action
is seen from start to end: a clip of less than T frames is repeated from a random start; from a clip
of less than 2 T frames, single frames are dropped; any longer clip is divided into T equal
segments, and one frame is taken from each.

Two more methods are for training only. A network that predicts before the action is over has to
know beginnings: half of its clips are sampled from a first part of random length. A network that
sees every n-th frame of a camera has to know that speed: its clips are windows of evenly spaced
frames.

Random numbers in training are counter-based: each is an integer hash of the seed, the draw and its
position. So frames are the same on every device, in every process and in any batch.

Reference:
    PoseConv3D, arXiv 2104.13586, section 3.3.
    "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011; the hash is the finaliser of
    "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TEST_SEED = 255
"""Seed of the sampler at test time, the one of the reference implementation (PYSKL)."""

Sampling = Literal["uniform", "first_part", "camera_rate"]
"""How frames of training clips are sampled; see `sample_train`."""

ABSENT = -1
"""Stands for an empty frame."""

SHORTEST_PART = 15
"""Length of the shortest first part, in percent of the clip."""

FEWEST = 8
"""Minimum number of frames in a window, if the clip has so many."""

STRIDES = 3
"""The largest stride of a window; with 2, a camera with 30 frames per second is seen at 15."""


def sample_train(num_frames: Tensor, clip_len: int, seed: int, draws: Tensor,
                 sampling: Sampling = "uniform") -> Tensor:
    """Frames of random clips, ``(N, clip_len)``; the same seed and draw give the same frames.

    Args:
        num_frames: Frames of each clip, int64 ``(N,)``.
        clip_len: Number of frames to sample.
        seed: Seed of all draws.
        draws: Number of each draw, int64 ``(N,)``, on the device of `num_frames`.
        sampling: ``uniform`` spreads the frames over the clip. ``first_part`` does so for half of
            the draws, and for the others over the first 15 to 100 % of the clip. ``camera_rate``
            takes every frame, every second or every third up to a random one, or in half of the
            draws up to the last one, as if a camera had just shown that frame; in three of ten
            draws the stride is large enough to cover the whole clip up to that frame. Frames before
            the start of the clip are `ABSENT`.
    """
    place = torch.arange(clip_len + 4, device=num_frames.device)
    bits = _hash(_hash(_hash(torch.full_like(draws, seed)) + draws)[:, None] + place)
    frames, bits, others = num_frames[:, None], bits[:, : clip_len + 1], bits[:, clip_len + 1 :]
    if sampling == "camera_rate":
        return _window(frames, clip_len, others)
    if sampling == "first_part":
        frames = _first_part(frames, others)
    return _spread(frames, clip_len, bits)


def _first_part(frames: Tensor, bits: Tensor) -> Tensor:
    """The number of frames of each clip to sample from, ``(N, 1)``."""
    shortest = ((SHORTEST_PART * frames + 50) // 100).clamp(min=1)
    part = shortest + _below(frames - shortest + 1, bits[:, :1])
    return torch.where(bits[:, 1:2] < 0, part, frames)


def _window(frames: Tensor, clip_len: int, bits: Tensor) -> Tensor:
    """Evenly spaced frames ``(N, clip_len)``, `ABSENT` before the start of a clip."""
    of_ten = _below(torch.full_like(frames, 10 * STRIDES), bits[:, :1])
    stride = 1 + of_ten // 10
    first = torch.minimum(frames, FEWEST * stride) - 1
    last = first + _below(frames - first, bits[:, 2:3])
    last = torch.where(bits[:, 1:2] < 0, frames - 1, last)
    covering = -(-(last + 1) // clip_len)
    stride = torch.where(of_ten % 10 < 3, torch.maximum(stride, covering), stride)
    chosen = last - stride * torch.arange(clip_len - 1, -1, -1, device=frames.device)
    return torch.where(chosen >= 0, chosen, ABSENT)


def _spread(frames: Tensor, clip_len: int, bits: Tensor) -> Tensor:
    """Frames ``(N, clip_len)`` over the whole of clips with that many ``(N, 1)``."""
    place = torch.arange(clip_len + 1, device=frames.device)
    repeated = (_below(frames, bits[:, :1]) + place[:-1]) % frames
    # A random order of T + 1 positions; at the first of them single frames are dropped.
    gaps = torch.zeros_like(bits).scatter(1, bits.argsort(1), (place < frames - clip_len).long())
    thinned = place[:-1] + gaps.cumsum(1)[:, :-1]
    edges = place * frames // clip_len
    segmented = edges[:, :-1] + _below(edges.diff(dim=1), bits[:, :-1])
    chosen = torch.where(frames < 2 * clip_len, thinned, segmented)
    return torch.where(frames < clip_len, repeated, chosen)


def _hash(bits: Tensor) -> Tensor:
    """Scrambles int64: each bit of the result depends on all bits of the argument."""
    bits = bits + _GOLDEN
    bits = (bits ^ _shifted(bits, 30)) * _FACTORS[0]
    bits = (bits ^ _shifted(bits, 27)) * _FACTORS[1]
    return bits ^ _shifted(bits, 31)


# Constants of SplitMix64, as signed numbers: int64 wraps around as the unsigned type does.
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_FACTORS = 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64


def _shifted(bits: Tensor, by: int) -> Tensor:
    """Shifted to the right with zeros from the left, where ``>>`` repeats the sign."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _below(number: Tensor, bits: Tensor) -> Tensor:
    """Random integers in ``0 .. number - 1``, of numbers up to 2**31."""
    return _shifted(bits, 33) * number >> 31


def sample_test(num_frames: int, clip_len: int, num_clips: int = 1) -> NDArray[np.int64]:
    """Frames of the clips taken from a sample at test time, ``(num_clips, clip_len)``.

    The clips differ, but are the same in every run: equal to PYSKL's test sampler.
    """
    random = np.random.RandomState(TEST_SEED)
    if num_frames < num_clips:
        starts = np.arange(num_clips)
    else:
        starts = np.arange(num_clips) * num_frames // num_clips
    clips = []
    for start in starts:
        # The reference samples here which part of the clip it uses, which is always the whole clip.
        random.random_sample()
        clips.append(_test_clip(num_frames, clip_len, int(start), random))
    return np.stack(clips)


def _test_clip(num_frames: int, clip_len: int, start: int, random: np.random.RandomState
               ) -> NDArray[np.int64]:
    """Same rule, generator and order of its calls as in the reference."""
    if num_frames < clip_len:
        return (start + np.arange(clip_len)) % num_frames
    if num_frames < 2 * clip_len:
        gaps = np.zeros(clip_len + 1, np.int64)
        gaps[random.choice(clip_len + 1, num_frames - clip_len, replace=False)] = 1
        return np.arange(clip_len) + np.cumsum(gaps)[:-1]
    edges = np.arange(clip_len + 1) * num_frames // clip_len
    frames: NDArray[np.int64] = edges[:-1] + random.randint(np.diff(edges))
    return frames
