"""X3D-shallow: inverted bottlenecks around channel-wise 3x3x3 convolutions.

Reference:
    PoseConv3D, arXiv 2104.13586, table 2, after X3D, arXiv 2004.04730, without
    squeeze-and-excitation and swish.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from ptl_skel.backbones.base import Backbone
from ptl_skel.backbones.layers import ConvNorm, SpatialConv, TemporalConv, init_convolutions
from ptl_skel.errors import UserError

STEM_TEMPORAL_KERNEL = 5
"""Temporal kernel of the channel-wise convolution of the stem (X3D)."""


class InvertedBottleneck(nn.Module):
    """``1 x 1 x 1``, channel-wise ``3 x 3 x 3``, ``1 x 1 x 1``, with a shortcut.

    ``(N, in_channels, T, H, W)`` to ``(N, out_channels, T, H', W')``.
    """

    def __init__(self, in_channels: int, inner: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(SpatialConv(in_channels, inner, 1, 1), relu=True)
        self.conv2 = ConvNorm(nn.Conv3d(inner, inner, 3, (1, stride, stride), 1, groups=inner,
                                        bias=False))
        self.conv3 = ConvNorm(SpatialConv(inner, out_channels, 1, 1))
        self.downsample = nn.Identity() if stride == 1 and in_channels == out_channels else (
            ConvNorm(SpatialConv(in_channels, out_channels, 1, stride)))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, inputs: Tensor) -> Tensor:
        """See the class."""
        outputs = self.conv3(self.conv2(self.conv1(inputs)))
        return cast(Tensor, self.relu(outputs + self.downsample(inputs)))


class X3DShallow(Backbone):
    """A factorised stem, stages of inverted bottlenecks that keep every frame, a wide last layer.

    Parameters are named as in PYSKL's checkpoints.

    Args:
        in_channels: Channels of the inputs.
        stem_width: Channels after the first convolutions.
        stem_stride: Stride in space of the first convolution.
        widths: Channels of each stage.
        depths: Blocks of each stage.
        strides: Stride in space of the first block of each stage.
        expansion: Channels inside a block, as a multiple of its output channels.

    Raises:
        UserError: The lists differ in length, or a number is out of range.
    """

    def __init__(
        self,
        in_channels: int,
        stem_width: int,
        stem_stride: int,
        widths: Sequence[int],
        depths: Sequence[int],
        strides: Sequence[int],
        expansion: float,
    ) -> None:
        super().__init__()
        if not len(widths) == len(depths) == len(strides) > 0:
            raise UserError("`widths`, `depths` and `strides` must have an entry for each stage, "
                            f"got {len(widths)}, {len(depths)} and {len(strides)}")
        if min(stem_width, stem_stride, *widths, *depths, *strides) < 1 or not expansion >= 1:
            raise UserError("widths, depths, strides and `expansion` must be >= 1, got "
                            f"{stem_width}, {widths}, {depths}, {stem_stride}, {strides} and "
                            f"{expansion}")
        self.in_channels = in_channels
        self.conv1_s = nn.Sequential()
        self.conv1_s.add_module("conv", SpatialConv(in_channels, stem_width, 3, stem_stride))
        self.conv1_t = ConvNorm(TemporalConv(stem_width, stem_width, STEM_TEMPORAL_KERNEL, 1,
                                             groups=stem_width), relu=True)
        self.stages = [f"layer{number}" for number in range(1, len(widths) + 1)]
        channels = stem_width
        for stage, width, depth, stride in zip(self.stages, widths, depths, strides, strict=True):
            blocks = []
            for block in range(depth):
                blocks.append(InvertedBottleneck(channels, int(expansion * width), width,
                                                 stride if block == 0 else 1))
                channels = width
            self.add_module(stage, nn.Sequential(*blocks))
        self.num_features = int(expansion * channels)
        self.conv5 = ConvNorm(SpatialConv(channels, self.num_features, 1, 1), relu=True)
        init_convolutions(self)

    def forward(self, inputs: Tensor) -> Tensor:
        """``(N, in_channels, T, H, W)`` to ``(N, num_features, T, H', W')``."""
        outputs = self.conv1_t(self.conv1_s(inputs))
        for stage in self.stages:
            outputs = self.get_submodule(stage)(outputs)
        return cast(Tensor, self.conv5(outputs))
