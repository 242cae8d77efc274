"""Which frames of a clip a network sees: pure functions on indices.

Uniform sampling takes T frames spread over the whole clip, whatever its length, so that an action
is seen from start to end: a clip of less than T frames is repeated from some start; one of less
than 2 T loses single frames; of any other, each of T equal segments gives one frame.

Random numbers of training are counter-based: each is an integer hash of the seed, the draw and its
place. So frames are the same on every device, in every process and in any batch.

Reference:
    PoseConv3D, arXiv 2104.13586, section 3.3.
    "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011; the hash is the finaliser of
    "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TEST_SEED = 255
"""Seed of the sampler at test time, the one of the reference implementation (PYSKL)."""


def sample_train(num_frames: Tensor, clip_len: int, seed: int, draws: Tensor) -> Tensor:
    """Frames of random clips, ``(N, clip_len)``; the same seed and draw give the same frames.

    Args:
        num_frames: Frames of each clip, int64 ``(N,)``.
        clip_len: How many of them are taken.
        seed: Of all draws.
        draws: Number of each draw, int64 ``(N,)``, on the device of `num_frames`.
    """
    frames = num_frames[:, None]
    place = torch.arange(clip_len + 1, device=num_frames.device)
    bits = _hash(_hash(_hash(torch.full_like(draws, seed)) + draws)[:, None] + place)
    repeated = (_below(frames, bits[:, :1]) + place[:-1]) % frames
    # A random order of T + 1 places; the first of them are where single frames are left out.
    gaps = torch.zeros_like(bits).scatter(1, bits.argsort(1), (place < frames - clip_len).long())
    thinned = place[:-1] + gaps.cumsum(1)[:, :-1]
    edges = place * frames // clip_len
    segmented = edges[:, :-1] + _below(edges.diff(dim=1), bits[:, :-1])
    chosen = torch.where(frames < 2 * clip_len, thinned, segmented)
    return torch.where(frames < clip_len, repeated, chosen)


def _hash(bits: Tensor) -> Tensor:
    """Scrambles int64: each bit of the result depends on all of the argument."""
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
        # The reference samples here which part of the clip it looks at: always the whole.
        random.random_sample()
        clips.append(_test_clip(num_frames, clip_len, int(start), random))
    return np.stack(clips)


def _test_clip(num_frames: int, clip_len: int, start: int, random: np.random.RandomState
               ) -> NDArray[np.int64]:
    """The rule with the generator, and the order of its calls, of the reference."""
    if num_frames < clip_len:
        return (start + np.arange(clip_len)) % num_frames
    if num_frames < 2 * clip_len:
        gaps = np.zeros(clip_len + 1, np.int64)
        gaps[random.choice(clip_len + 1, num_frames - clip_len, replace=False)] = 1
        return np.arange(clip_len) + np.cumsum(gaps)[:-1]
    edges = np.arange(clip_len + 1) * num_frames // clip_len
    frames: NDArray[np.int64] = edges[:-1] + random.randint(np.diff(edges))
    return frames
