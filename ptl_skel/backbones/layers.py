"""Convolutions of video networks: full 3D, and (2+1)D on free views of channels-last memory.

A tensor ``(N, C, T, H, W)`` in channels-last memory is stored as ``N, T, H, W, C``. A spatial
convolution is then a 2D convolution on ``(N*T, C, H, W)``, and a temporal one is a 2D convolution
with kernel ``(k, 1)`` on ``(N, C, T, H*W)``; both are views, nothing is copied. The arithmetic and
the shapes of the parameters are those of `torch.nn.Conv3d`, but PyTorch's temporal Conv3d on CPU
takes several times as long.

Kernels and strides are pairs (temporal, spatial).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ptl_skel.errors import UserError

Pair = tuple[int, int]

MOST_TIMES = 8
"""Values of `middle` below this are multiples of the outputs, larger ones are numbers of channels.

Larger multiples are not useful: above the temporal kernel size, full 3D costs less.
"""

ONEDNN_BLOCK = 16
"""With fewer channels, the gradient of a strided 1x1 convolution writes out of bounds on CPUs.

This is oneDNN's issue 6035, for less than a block of channels: 8 with AVX2, 16 with AVX-512.
"""


class SpatialConv(nn.Conv3d):
    """A convolution over height and width, kernel ``1 x k x k``."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int) -> None:
        self.pad = kernel // 2, kernel // 2
        super().__init__(in_channels, out_channels, (1, kernel, kernel), (1, stride, stride),
                         (0, *self.pad), bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """``(N, C, T, H, W)`` to ``(N, out_channels, T, H', W')``."""
        clips, frames = inputs.shape[0], inputs.shape[2]
        images = inputs.transpose(1, 2).flatten(0, 1)
        outputs = _conv2d(images, self.weight.squeeze(2), self.bias, self.stride[1:], self.pad)
        return outputs.view(clips, frames, *outputs.shape[1:]).transpose(1, 2)


class TemporalConv(nn.Conv3d):
    """A convolution over time, kernel ``k x 1 x 1``.

    Args:
        in_channels: Channels of the inputs.
        out_channels: Channels of the outputs.
        kernel: Kernel size k.
        stride: Stride s.
        groups: Groups of channels that are convolved separately.
        causal: Sees only the past: k - s zero frames come before the first one, and none after
            the last one. Output j then sees the inputs up to s * j + s - 1, and T inputs give
            floor(T / s) outputs. Otherwise k // 2 zero frames come before and after.

    Raises:
        UserError: A causal convolution would skip frames: its stride is longer than its kernel.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int,
                 groups: int = 1, causal: bool = False) -> None:
        if causal and kernel < stride:
            raise UserError("a causal convolution needs a temporal kernel at least as long as its "
                            f"stride, got {kernel} and {stride}")
        self.pad = 0 if causal else kernel // 2, 0
        self.past = kernel - stride
        self.causal = causal
        super().__init__(in_channels, out_channels, (kernel, 1, 1), (stride, 1, 1),
                         (*self.pad, 0), groups=groups, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """``(N, C, T, H, W)`` to ``(N, out_channels, T', H, W)``."""
        size = inputs.shape[3:]
        frames = inputs.flatten(3)
        if self.causal:
            frames = F.pad(frames, (0, 0, self.past, 0))
        # Dropping the third axis, not the fourth, gives the gradient the strides of its weight
        # (DDP).
        outputs = _conv2d(frames, self.weight.squeeze(3), self.bias, (self.stride[0], 1),
                          self.pad, self.groups)
        return outputs.view(*outputs.shape[:3], *size)


class SpatialAvgPool(nn.Module):
    """Means over squares of height and width; `torch.nn.AvgPool3d` leaves channels-last memory."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, inputs: Tensor) -> Tensor:
        """``(N, C, T, H, W)`` to ``(N, C, T, H // kernel, W // kernel)``."""
        outputs = F.avg_pool2d(inputs.transpose(1, 2).flatten(0, 1), self.kernel)
        return outputs.view(*inputs.shape[:1], -1, *outputs.shape[1:]).transpose(1, 2)


class GlobalAvgPool(nn.Module):
    """Means over time and space.

    The gradient of `torch.nn.AdaptiveAvgPool3d` is not in channels-last memory, and the gradients
    of all earlier layers would not be either.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """``(N, C, T, H, W)`` to ``(N, C)``."""
        return inputs.movedim(1, -1).mean((1, 2, 3))


class EveryFrame(nn.Module):
    """Each `step`-th frame of ``(N, C, T, H, W)``, with a gradient in channels-last memory.

    Args:
        step: 1 takes all frames.
        causal: Take the last frame of each `step` instead of the first: the newest one that an
            output of a causal convolution with that stride sees.
    """

    def __init__(self, step: int, causal: bool = False) -> None:
        super().__init__()
        self.step = step
        self.first = step - 1 if causal else 0

    def forward(self, inputs: Tensor) -> Tensor:
        """``(N, C, T, H, W)`` to ``(N, C, T', H, W)``."""
        return inputs.movedim(1, -1)[:, self.first::self.step].movedim(-1, 1)


class Conv3D(nn.Conv3d):
    """A full 3D convolution, kernel ``t x k x k``."""

    def __init__(self, in_channels: int, out_channels: int, kernel: Pair = (3, 3),
                 stride: Pair = (1, 1)) -> None:
        time, space = kernel
        super().__init__(in_channels, out_channels, (time, space, space),
                         (stride[0], stride[1], stride[1]), (time // 2, space // 2, space // 2),
                         bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """See the class; frames are padded first if the gradient on the CPU would be wrong.

        For bfloat16 inputs with fewer frames than the kernel, oneDNN 3 leaves uninitialised memory
        in the gradient of the weights.
        """
        low = torch.is_autocast_enabled("cpu") or inputs.dtype == torch.bfloat16
        if inputs.device.type == "cpu" and low and inputs.shape[2] < self.kernel_size[0]:
            time, *space = cast(tuple[int, int, int], self.padding)
            padded = F.pad(inputs, (0, 0, 0, 0, time, time))
            return F.conv3d(padded, self.weight, None, self.stride, (0, *space))
        return super().forward(inputs)


class Conv2Plus1D(nn.Sequential):
    """A spatial, then a temporal convolution, with batch norm and ReLU between.

    Args:
        in_channels: Channels of the inputs.
        out_channels: Channels of the outputs.
        kernel: Temporal and spatial kernel size.
        stride: Temporal and spatial stride.
        middle: Channels between the two. ``matched`` gives the unit as many parameters as the full
            3D convolution (the rule of R(2+1)D, which takes the input channels into account); a
            number below 8 is a multiple of `out_channels`; an integer of 8 or more is the number of
            channels.
        causal: The temporal convolution sees only the past, so that a trained network can run
            on a stream, frame by frame; see `TemporalConv`. Parameters do not change.

    Raises:
        UserError: `middle` is something else.

    Reference:
        R(2+1)D, arXiv 1711.11248, section 3.5.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: Pair = (3, 3),
                 stride: Pair = (1, 1), middle: Literal["matched"] | float = "matched",
                 causal: bool = False) -> None:
        channels = middle_channels(in_channels, out_channels, kernel, middle)
        super().__init__(
            SpatialConv(in_channels, channels, kernel[1], stride[1]),
            nn.BatchNorm3d(channels),
            nn.ReLU(inplace=True),
            TemporalConv(channels, out_channels, kernel[0], stride[0], causal=causal),
        )
        self.out_channels = out_channels
        self.causal = causal


def is_causal(network: nn.Module) -> bool:
    """Whether no output of a convolution in the network depends on a later frame.

    Also works for a single convolution; false for a network without temporal convolutions.
    """
    over_time = [module for module in network.modules()
                 if isinstance(module, nn.Conv3d) and module.kernel_size[0] > 1]
    return bool(over_time) and all(isinstance(module, TemporalConv) and module.causal
                                   for module in over_time)


def temporal_stride(network: nn.Module) -> int:
    """Frames between two outputs of a causal network: T frames give floor(T / stride) outputs."""
    return math.prod(module.stride[0] for module in network.modules()
                     if isinstance(module, TemporalConv))


ConvUnit = Callable[[int, int, Pair, Pair], Conv3D | Conv2Plus1D]
"""(in_channels, out_channels, kernel, stride) -> a convolution over space and time."""


class ConvNorm(nn.Sequential):
    """A convolution, its batch norm and perhaps a ReLU, under the names of PYSKL's checkpoints."""

    def __init__(self, conv: nn.Conv3d | Conv2Plus1D, *, relu: bool = False) -> None:
        super().__init__(OrderedDict(conv=conv, bn=nn.BatchNorm3d(conv.out_channels)))
        if relu:
            self.add_module("relu", nn.ReLU(inplace=True))


def _conv2d(images: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, ...],
            padding: Pair, groups: int = 1) -> Tensor:
    if weight.shape[2:] == (1, 1) and weight.shape[1] < ONEDNN_BLOCK:
        images, stride = images[..., ::stride[0], ::stride[1]], (1, 1)
    return F.conv2d(images, weight, bias, stride, padding, 1, groups)


def init_convolutions(network: nn.Module) -> None:
    """Normal weights for ReLU networks, for all convolutions over time and space.

    Reference:
        "Delving Deep into Rectifiers", arXiv 1502.01852, the variant that preserves gradients.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def middle_channels(
    in_channels: int, out_channels: int, kernel: Pair, middle: Literal["matched"] | float
) -> int:
    """Channels between the spatial and the temporal convolution; see `Conv2Plus1D`.

    Raises:
        UserError: `middle` is not one of these three.
    """
    if middle == "matched":
        time, space = kernel[0], kernel[1] ** 2
        full = time * space * in_channels * out_channels
        return max(1, full // (space * in_channels + time * out_channels))
    if 0 < middle < MOST_TIMES:
        return max(1, round(middle * out_channels))
    if not (middle >= MOST_TIMES and middle % 1 == 0):
        raise UserError("`middle` must be `matched`, a positive multiple of the outputs below "
                        f"{MOST_TIMES}, or a whole number of channels, got {middle}")
    return int(middle)
