"""Heatmaps on a GPU in one kernel, which writes every byte of the volume to memory once.

Each program of the kernel handles one frame of one clip. It fills the frame with zeros, then writes
the pixels near each limb, person by person, while the frame is still in the cache. A joint is a
limb that ends where it starts. This module is only imported if `has_kernel` finds Triton, which
comes with PyTorch's CUDA build. The tensor code in `joints` and `limbs` is used on all other
devices, and is the reference.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ptl_skel.representations.base import MIN_SCORE
from ptl_skel.representations.limbs import FARTHEST, REACH, LimbHeatmaps
from ptl_skel.skeletons import LAYOUTS

TOLERANCE = 1e-4
"""Largest allowed difference between values of the kernel and of the tensor code."""
FILL, ITEMS = 1024, 512
"""Numbers that a program writes, and pixels that it computes, at a time."""


def render(keypoints: Tensor, scores: Tensor, limbs: Sequence[tuple[int, int]], sigma: float,
           size: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """Heatmaps ``(N, L, T, H, W)`` in channels-last memory, one channel for each limb.

    Args:
        keypoints: ``(N, M, T, V, 2)``.
        scores: ``(N, M, T, V)``.
        limbs: Pairs of joints; a pair of the same joint renders that joint.
        sigma: Width of the Gaussian in pixels.
        size: Height and width.
        dtype: Of the heatmaps.
    """
    clips, persons, frames, joints = scores.shape
    starts, ends = _pairs(tuple(limbs), keypoints.device)
    volume = torch.empty(clips, frames, *size, len(limbs), dtype=dtype, device=keypoints.device)
    span = math.floor(2 * REACH * sigma) + 1
    single = all(start == end for start, end in limbs)
    launch: Any = _render_frame[(clips * frames,)]
    with torch.cuda.device_of(volume):  # Triton launches on the current device
        launch(volume, keypoints.contiguous().float(), scores.contiguous().float(), starts, ends,
               persons, frames, joints, sigma, REACH * sigma, span,
               HEIGHT=size[0], WIDTH=size[1], LIMBS=len(limbs),
               PIXELS=min(span, math.floor(6 * sigma) + 2) if single else span,
               LANES=triton.next_power_of_2(len(limbs)), LEAST=MIN_SCORE, FAR=FARTHEST,
               FILLED=FILL, AT_ONCE=ITEMS,
               enable_fp_fusion=False)  # a limb of length 1 is one on every device
    return volume.permute(0, 4, 1, 2, 3)


def find_fault(device: torch.device) -> str | None:
    """Why the kernel cannot be used on a device: it does not run, or its values are wrong."""
    maker = LimbHeatmaps(LAYOUTS["coco17"])
    random = torch.Generator().manual_seed(0)
    keypoints = torch.rand(2, 2, 3, 17, 2, generator=random) * 30 - 3
    scores = torch.rand(2, 2, 3, 17, generator=random)
    expected = maker.scatter(keypoints, scores, (24, 24))
    try:
        found = render(keypoints.to(device), scores.to(device), maker.limbs, maker.sigma, (24, 24),
                       torch.float32).cpu()
    except Exception as error:  # whatever the compiler of a machine raises
        return f"{type(error).__name__}: {error}"
    difference = float((found - expected).abs().max())
    return f"values differ by {difference:.2g}" if difference > TOLERANCE else None


@functools.cache
def _pairs(limbs: tuple[tuple[int, int], ...], device: torch.device) -> tuple[Tensor, Tensor]:
    starts, ends = torch.tensor(limbs, dtype=torch.int32).T.contiguous().to(device)
    return starts, ends


@triton.jit
def _joint(points, scores, place, mask, LEAST, FAR):
    """x, y and score of joints; score 0 where one is missing or not finite."""
    x = tl.load(points + 2 * place, mask=mask, other=0.0)
    y = tl.load(points + 2 * place + 1, mask=mask, other=0.0)
    score = tl.load(scores + place, mask=mask, other=0.0)
    infinity = float("inf")
    known = (score >= LEAST) & (score < infinity)
    known = known & (tl.abs(x) < infinity) & (tl.abs(y) < infinity)
    x = tl.minimum(tl.maximum(tl.where(known, x, 0.0), -FAR), FAR)
    y = tl.minimum(tl.maximum(tl.where(known, y, 0.0), -FAR), FAR)
    return x, y, tl.where(known, score, 0.0)


@triton.jit
def _trunc(values):
    return values.to(tl.int32).to(tl.float32)


@triton.jit
def _limb(points, scores, first, starts, ends, limb, mask, sigma, HEIGHT, WIDTH, LEAST, FAR):
    """The geometry of limbs; u is the longer axis of each, x or y, and v the other one.

    Returns their start and line along u and v, their strength, the first pixel and the number of
    columns along u, and the first and the last pixel along v.
    """
    start_x, start_y, start_score = _joint(
        points, scores, first + tl.load(starts + limb, mask=mask, other=0), mask, LEAST, FAR)
    end_x, end_y, end_score = _joint(
        points, scores, first + tl.load(ends + limb, mask=mask, other=0), mask, LEAST, FAR)
    line_x, line_y = end_x - start_x, end_y - start_y
    strength = tl.minimum(start_score, end_score)
    is_long = line_x * line_x + line_y * line_y >= 1
    strength = tl.where(is_long | (strength == 0), strength, start_score)
    line_x, line_y = tl.where(is_long, line_x, 0.0), tl.where(is_long, line_y, 0.0)
    wide = tl.abs(line_x) >= tl.abs(line_y)
    start_u, start_v = tl.where(wide, start_x, start_y), tl.where(wide, start_y, start_x)
    line_u, line_v = tl.where(wide, line_x, line_y), tl.where(wide, line_y, line_x)
    last_u, last_v = tl.where(wide, WIDTH - 1, HEIGHT - 1), tl.where(wide, HEIGHT - 1, WIDTH - 1)
    reach = 3 * sigma
    low_u = tl.maximum(_trunc(start_u + tl.minimum(line_u, 0.0) - reach), 0.0)
    high_u = tl.minimum(_trunc(start_u + tl.maximum(line_u, 0.0) + reach), last_u)
    low_v = tl.maximum(_trunc(start_v + tl.minimum(line_v, 0.0) - reach), 0.0)
    high_v = tl.minimum(_trunc(start_v + tl.maximum(line_v, 0.0) + reach), last_v)
    visible = mask & (strength > 0) & (low_u <= high_u) & (low_v <= high_v)
    columns = tl.where(visible, high_u - low_u + 1, 0.0).to(tl.int32)
    return (start_u, start_v, line_u, line_v, wide, strength, low_u, columns, low_v, high_v)


@triton.jit
def _render_frame(
        volume, points, scores, starts, ends, persons, frames, joints, sigma, reach, span,
        HEIGHT: tl.constexpr, WIDTH: tl.constexpr, LIMBS: tl.constexpr, PIXELS: tl.constexpr,
        LANES: tl.constexpr, LEAST: tl.constexpr, FAR: tl.constexpr, FILLED: tl.constexpr,
        AT_ONCE: tl.constexpr):
    """One frame of one clip: ``volume`` is ``(N, T, H, W, L)``."""
    SIZE: tl.constexpr = HEIGHT * WIDTH * LIMBS
    program = tl.program_id(0)
    clip, frame = program // frames, program % frames
    image = volume + program.to(tl.int64) * SIZE
    zeros = tl.zeros([FILLED], volume.dtype.element_ty)
    for begin in range(0, SIZE, FILLED):
        place = begin + tl.arange(0, FILLED)
        tl.store(image + place, zeros, mask=place < SIZE)
    for person in range(persons):
        first = ((clip * persons + person) * frames + frame) * joints
        lane = tl.arange(0, LANES)
        (_, _, _, _, _, _, _, all_columns, _, _) = _limb(
            points, scores, first, starts, ends, lane, lane < LIMBS, sigma, HEIGHT, WIDTH, LEAST,
            FAR)
        most = tl.max(all_columns, 0)
        tl.debug_barrier()  # what other threads have written is seen from here on
        for begin in range(0, LIMBS * most * PIXELS, AT_ONCE):
            item = begin + tl.arange(0, AT_ONCE)
            limb = item // (most * PIXELS)
            column = item // PIXELS % most
            (start_u, start_v, line_u, line_v, wide, strength, low_u, columns, low_v,
             high_v) = _limb(points, scores, first, starts, ends, limb, limb < LIMBS, sigma,
                             HEIGHT, WIDTH, LEAST, FAR)
            u = low_u + column
            along_u = u - start_u
            sign = tl.where(line_u > 0, 1.0, tl.where(line_u < 0, -1.0, 0.0))
            slope = sign / tl.maximum(tl.abs(line_u), 0.5)
            share = tl.minimum(tl.maximum(along_u * slope, 0.0), 1.0)
            middle = start_v + share * line_v
            lowest = tl.ceil(middle - reach)
            v = tl.maximum(lowest, low_v) + item % PIXELS
            seen = (column < columns) & (v <= high_v) & (v < lowest + span)
            along_v = v - start_v
            scale = 1 / tl.maximum(line_u * line_u + line_v * line_v, 1.0)
            share = along_u * line_u * scale + along_v * (line_v * scale)
            share = tl.minimum(tl.maximum(share, 0.0), 1.0)
            off_u, off_v = along_u - share * line_u, along_v - share * line_v
            square = off_u * off_u + off_v * off_v
            value = tl.exp(square * (-0.5 / (sigma * sigma))) * strength
            x, y = tl.where(wide, u, v).to(tl.int32), tl.where(wide, v, u).to(tl.int32)
            pixel = image + (y * WIDTH + x) * LIMBS + limb
            before = tl.load(pixel, mask=seen, other=0.0).to(tl.float32)
            tl.store(pixel, tl.maximum(before, value).to(volume.dtype.element_ty), mask=seen)
