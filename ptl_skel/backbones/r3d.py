"""R3D-18, MC3-18 and R(2+1)D-18 as published with weights trained on Kinetics-400.

All are the same network of basic blocks. They differ in which stages have temporal kernels (in MC3
only the first), and in whether the convolutions are factorised. Names of parameters and numbers of
middle channels are those of torchvision's checkpoints.

Reference:
    "A Closer Look at Spatiotemporal Convolutions", arXiv 1711.11248, table 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from ptl_skel.backbones.base import Backbone
from ptl_skel.backbones.layers import (
    Conv3D,
    EveryFrame,
    SpatialConv,
    TemporalConv,
    init_convolutions,
    middle_channels,
)
from ptl_skel.errors import UserError


class BasicBlock(nn.Module):
    """Two convolutions and a shortcut, ``(N, C, T, H, W)`` to ``(N, out_channels, T', H', W')``.

    Args:
        in_channels: Channels of the inputs.
        out_channels: Channels of the outputs.
        stride: In space, and also in time if `temporal_kernel` is 3.
        temporal_kernel: 1 or 3.
        factorised: 1x3x3 and 3x1x1 instead of 3x3x3. Both convolutions have the number of middle
            channels that makes the first one cost as much as the full convolution, as in the
            published networks, although the second one has more inputs if the number of channels
            grows.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, temporal_kernel: int,
                 factorised: bool) -> None:
        super().__init__()
        kernel = temporal_kernel, 3
        middle = middle_channels(in_channels, out_channels, kernel, "matched")

        def conv(inputs: int, step: int) -> nn.Module:
            if temporal_kernel == 1:
                return SpatialConv(inputs, out_channels, 3, step)
            if factorised:
                return nn.Sequential(
                    SpatialConv(inputs, middle, 3, step), nn.BatchNorm3d(middle),
                    nn.ReLU(inplace=True), TemporalConv(middle, out_channels, kernel[0], step))
            return Conv3D(inputs, out_channels, kernel, (step, step))

        self.conv1 = nn.Sequential(conv(in_channels, stride), nn.BatchNorm3d(out_channels),
                                   nn.ReLU(inplace=True))
        self.conv2 = nn.Sequential(conv(out_channels, 1), nn.BatchNorm3d(out_channels))
        self.subsample = EveryFrame(stride if temporal_kernel > 1 else 1)
        self.downsample = nn.Sequential() if stride == 1 and in_channels == out_channels else (
            nn.Sequential(SpatialConv(in_channels, out_channels, 1, stride),
                          nn.BatchNorm3d(out_channels)))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, inputs: Tensor) -> Tensor:
        """See the class."""
        outputs = self.conv2(self.conv1(inputs))
        outputs = outputs + self.downsample(self.subsample(inputs))
        return cast(Tensor, self.relu(outputs))


class VideoResNet18(Backbone):
    """The residual networks of the R(2+1)D paper, for inputs of any number of channels.

    Args:
        in_channels: Channels of the inputs.
        stem_width: Channels after the stem, 3x7x7 with stride 2 in space.
        stem_middle: Factorises the stem, with that many channels in the middle; None: full 3D.
        widths: Channels of each stage.
        depths: Blocks of each stage.
        strides: Stride of the first block of each stage, in space, and also in time if its temporal
            kernel is 3.
        temporal_kernels: Temporal kernel of the convolutions of each stage, 1 or 3.
        factorised: Factorise the convolutions with a temporal kernel.

    Raises:
        UserError: The lists differ in length, or a number is out of range.
    """

    def __init__(
        self,
        in_channels: int,
        stem_width: int,
        stem_middle: int | None,
        widths: Sequence[int],
        depths: Sequence[int],
        strides: Sequence[int],
        temporal_kernels: Sequence[int],
        factorised: bool,
    ) -> None:
        super().__init__()
        if not len(widths) == len(depths) == len(strides) == len(temporal_kernels) > 0:
            raise UserError("`widths`, `depths`, `strides` and `temporal_kernels` must have an "
                            f"entry for each stage, got {len(widths)}, {len(depths)}, "
                            f"{len(strides)} and {len(temporal_kernels)}")
        if min(stem_width, stem_middle or 1, *widths, *depths, *strides) < 1:
            raise UserError("widths, depths and strides must be >= 1, got "
                            f"{stem_width}, {stem_middle}, {widths}, {depths}, {strides}")
        if not {1, 3}.issuperset(temporal_kernels):
            raise UserError(f"`temporal_kernels` must be 1 or 3, got {temporal_kernels}")
        self.in_channels = in_channels
        self.num_features = widths[-1]
        stem: list[nn.Module] = [Conv3D(in_channels, stem_width, (3, 7), (1, 2))]
        if stem_middle is not None:
            stem = [SpatialConv(in_channels, stem_middle, 7, 2), nn.BatchNorm3d(stem_middle),
                    nn.ReLU(inplace=True), TemporalConv(stem_middle, stem_width, 3, 1)]
        self.stem = nn.Sequential(*stem, nn.BatchNorm3d(stem_width), nn.ReLU(inplace=True))
        self.stages = [f"layer{number}" for number in range(1, len(widths) + 1)]
        channels = stem_width
        for stage, width, depth, stride, kernel in zip(
                self.stages, widths, depths, strides, temporal_kernels, strict=True):
            blocks = []
            for block in range(depth):
                blocks.append(BasicBlock(channels, width, stride if block == 0 else 1, kernel,
                                         factorised))
                channels = width
            self.add_module(stage, nn.Sequential(*blocks))
        init_convolutions(self)

    def forward(self, inputs: Tensor) -> Tensor:
        """``(N, in_channels, T, H, W)`` to ``(N, num_features, T', H', W')``."""
        outputs: Tensor = self.stem(inputs)
        for stage in self.stages:
            outputs = self.get_submodule(stage)(outputs)
        return outputs
