"""PoseConv3D's SlowOnly-R50: a ResNet-50 with temporal kernels only in its last two stages.

The published form is already factorised: its bottlenecks have 3x1x1 and 1x3x3 convolutions, but no
3x3x3. With a convolution as argument, the 1x3x3 in bottlenecks with a temporal kernel becomes
3x3x3, full or (2+1)D, and the 3x1x1 before it 1x1x1.

Reference:
    PoseConv3D, arXiv 2104.13586, table 2; the slow pathway of SlowFast, arXiv 1812.03982.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from ptl_skel.backbones.base import Backbone
from ptl_skel.backbones.layers import (
    Conv2Plus1D,
    ConvNorm,
    ConvUnit,
    EveryFrame,
    Pair,
    SpatialConv,
    TemporalConv,
    init_convolutions,
    is_causal,
)
from ptl_skel.errors import UserError

EXPANSION = 4
"""Channels after a bottleneck, relative to those inside (ResNet, arXiv 1512.03385)."""


class Bottleneck(nn.Module):
    """``k x 1 x 1``, ``1 x 3 x 3`` and ``1 x 1 x 1`` with a shortcut.

    ``(N, in_channels, T, H, W)`` to ``(N, 4 * width, T', H', W')``. With `conv` and k > 1 it is
    ``1 x 1 x 1``, ``k x 3 x 3`` and ``1 x 1 x 1``.
    """

    def __init__(self, in_channels: int, width: int, temporal_kernel: int, stride: Pair,
                 conv: ConvUnit | None = None) -> None:
        super().__init__()
        out_channels = EXPANSION * width
        if conv is None or temporal_kernel == 1:
            # The layers after the first convolution are spatial: skip frames that are not needed.
            self.inner = EveryFrame(stride[0])
            first: nn.Conv3d = TemporalConv(in_channels, width, temporal_kernel, 1)
            second: nn.Conv3d | Conv2Plus1D = SpatialConv(width, width, 3, stride[1])
        else:
            self.inner = EveryFrame(1)
            first = SpatialConv(in_channels, width, 1, 1)
            second = conv(width, width, (temporal_kernel, 3), stride)
        self.conv1 = ConvNorm(first, relu=True)
        self.conv2 = ConvNorm(second, relu=True)
        self.subsample = EveryFrame(stride[0], is_causal(second))
        self.conv3 = ConvNorm(SpatialConv(width, out_channels, 1, 1))
        self.downsample = nn.Identity() if stride == (1, 1) and in_channels == out_channels else (
            ConvNorm(SpatialConv(in_channels, out_channels, 1, stride[1])))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, inputs: Tensor) -> Tensor:
        """See the class."""
        outputs = self.inner(self.conv1(inputs))
        outputs = self.conv3(self.conv2(outputs))
        outputs = outputs + self.downsample(self.subsample(inputs))
        return cast(Tensor, self.relu(outputs))


class SlowOnly(Backbone):
    """A residual network of bottlenecks.

    In the published form, parameters are named as in PYSKL's checkpoints.

    Args:
        in_channels: Channels of the inputs.
        stem_width: Channels after the first convolution.
        stem_kernel: Its kernel in space; in time it is 1.
        stem_stride: Its stride in space.
        widths: Channels inside the bottlenecks of each stage; four times as many are their outputs.
        depths: Bottlenecks of each stage.
        strides: Stride (temporal, spatial) of the first bottleneck of each stage.
        temporal_kernels: Temporal kernel of the bottlenecks of each stage: of their first
            convolution, or of the second one if that is `conv`.
        conv: Second convolution of the bottlenecks with a temporal kernel, `Conv3D` or
            `Conv2Plus1D`, by class path. None: 1x3x3, as published, where the first one is
            temporal.

    Raises:
        UserError: The lists differ in length, or a number is out of range.
    """

    def __init__(
        self,
        in_channels: int,
        stem_width: int,
        stem_kernel: int,
        stem_stride: int,
        widths: Sequence[int],
        depths: Sequence[int],
        strides: Sequence[Pair],
        temporal_kernels: Sequence[int],
        conv: ConvUnit | None = None,
    ) -> None:
        super().__init__()
        if not len(widths) == len(depths) == len(strides) == len(temporal_kernels) > 0:
            raise UserError("`widths`, `depths`, `strides` and `temporal_kernels` must have an "
                            f"entry for each stage, got {len(widths)}, {len(depths)}, "
                            f"{len(strides)} and {len(temporal_kernels)}")
        if min(stem_width, stem_stride, *widths, *depths, *map(min, strides)) < 1:
            raise UserError("widths, depths and strides must be >= 1, got "
                            f"{stem_width}, {widths}, {depths}, {stem_stride}, {strides}")
        if any(size < 1 or size % 2 == 0 for size in (stem_kernel, *temporal_kernels)):
            raise UserError(f"kernel sizes must be odd, got {stem_kernel}, {temporal_kernels}")
        self.in_channels = in_channels
        self.num_features = EXPANSION * widths[-1]
        self.conv1 = ConvNorm(SpatialConv(in_channels, stem_width, stem_kernel, stem_stride),
                              relu=True)
        self.pool = nn.MaxPool3d((1, 3, 3), 1, (0, 1, 1))
        self.stages = [f"layer{number}" for number in range(1, len(widths) + 1)]
        channels = stem_width
        for stage, width, depth, stride, kernel in zip(
                self.stages, widths, depths, strides, temporal_kernels, strict=True):
            blocks = []
            for block in range(depth):
                first = (stride[0], stride[1]) if block == 0 else (1, 1)
                blocks.append(Bottleneck(channels, width, kernel, first, conv))
                channels = EXPANSION * width
            self.add_module(stage, nn.Sequential(*blocks))
        init_convolutions(self)

    def forward(self, inputs: Tensor) -> Tensor:
        """``(N, in_channels, T, H, W)`` to ``(N, num_features, T', H', W')``."""
        outputs: Tensor = self.pool(self.conv1(inputs))
        for stage in self.stages:
            outputs = self.get_submodule(stage)(outputs)
        return outputs
