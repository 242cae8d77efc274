"""The residual networks of the comparison: one network with the convolution as an argument.

Full 3D, (2+1)D and (2+1)D with reduced channels differ only in the convolution and the widths, so
differences in their results are due to these.

Reference:
    R3D and R(2+1)D: arXiv 1711.11248. Factorised, narrow, on skeleton heatmaps: Noor and Park,
    "Factorized 3D-CNN for Skeleton-based Action Recognition".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from ptl_skel.backbones.base import Backbone
from ptl_skel.backbones.layers import (
    ConvUnit,
    EveryFrame,
    Pair,
    SpatialConv,
    init_convolutions,
    is_causal,
)
from ptl_skel.errors import UserError


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut, ``(N, C, T, H, W)`` to ``(N, out_channels, T', H', W')``."""

    def __init__(self, in_channels: int, out_channels: int, conv: ConvUnit, kernel: Pair,
                 stride: Pair) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, out_channels, kernel, stride)
        self.norm1 = nn.BatchNorm3d(out_channels)
        self.conv2 = conv(out_channels, out_channels, kernel, (1, 1))
        self.norm2 = nn.BatchNorm3d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.subsample = EveryFrame(stride[0], is_causal(self.conv1))
        self.shortcut = nn.Sequential() if stride == (1, 1) and in_channels == out_channels else (
            nn.Sequential(SpatialConv(in_channels, out_channels, 1, stride[1]),
                          nn.BatchNorm3d(out_channels)))

    def forward(self, inputs: Tensor) -> Tensor:
        """See the class."""
        outputs = self.relu(self.norm1(self.conv1(inputs)))
        outputs = self.norm2(self.conv2(outputs))
        outputs = outputs + self.shortcut(self.subsample(inputs))
        return cast(Tensor, self.relu(outputs))


class VideoResNet(Backbone):
    """A residual network of basic blocks over space and time.

    Args:
        in_channels: Channels of the inputs.
        conv: The convolution, `Conv3D` or `Conv2Plus1D`, by class path.
        stem_width: Channels after the first convolution.
        stem_kernel: Its kernel (temporal, spatial).
        stem_stride: Its stride.
        widths: Channels of each stage.
        depths: Blocks of each stage.
        strides: Stride (temporal, spatial) of the first block of each stage.
        kernel: Kernel (temporal, spatial) of every convolution in the blocks.

    Raises:
        UserError: `widths`, `depths` and `strides` differ in length, or are not positive.
    """

    def __init__(
        self,
        in_channels: int,
        conv: ConvUnit,
        stem_width: int,
        stem_kernel: Pair,
        stem_stride: Pair,
        widths: Sequence[int],
        depths: Sequence[int],
        strides: Sequence[Pair],
        kernel: Pair,
    ) -> None:
        super().__init__()
        if not len(widths) == len(depths) == len(strides) > 0:
            raise UserError("`widths`, `depths` and `strides` must have an entry for each stage, "
                            f"got {len(widths)}, {len(depths)} and {len(strides)}")
        if min(stem_width, *widths, *depths, *stem_stride, *(min(pair) for pair in strides)) < 1:
            raise UserError("widths, depths and strides must be >= 1, got "
                            f"{stem_width}, {widths}, {depths}, {stem_stride}, {strides}")
        if any(size < 1 or size % 2 == 0 for size in (*stem_kernel, *kernel)):
            raise UserError(f"kernel sizes must be odd, got {stem_kernel} and {kernel}")
        self.in_channels = in_channels
        self.num_features = widths[-1]
        self.stem = nn.Sequential(conv(in_channels, stem_width, stem_kernel, stem_stride),
                                  nn.BatchNorm3d(stem_width), nn.ReLU(inplace=True))
        stages = []
        channels = stem_width
        for width, depth, stride in zip(widths, depths, strides, strict=True):
            blocks = []
            for block in range(depth):
                first = (stride[0], stride[1]) if block == 0 else (1, 1)
                blocks.append(ResidualBlock(channels, width, conv, kernel, first))
                channels = width
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        init_convolutions(self)

    def forward(self, inputs: Tensor) -> Tensor:
        """``(N, in_channels, T, H, W)`` to ``(N, num_features, T', H', W')``."""
        return cast(Tensor, self.stages(self.stem(inputs)))
