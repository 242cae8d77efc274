"""C3D-light: a short stack of 3x3x3 convolutions that keeps every frame to the end.

Published in full 3D; the convolution is an argument, so that the same stack can be factorised.

Reference:
    PoseConv3D, arXiv 2104.13586, table 2, after C3D, arXiv 1412.0767.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor

from ptl_skel.backbones.base import Backbone
from ptl_skel.backbones.layers import (
    Conv3D,
    ConvNorm,
    ConvUnit,
    SpatialAvgPool,
    init_convolutions,
)
from ptl_skel.errors import UserError


class C3DLight(Backbone):
    """Six 3x3x3 convolutions, halving height and width three times, never the frames.

    In full 3D, parameters are named as in PYSKL's checkpoints.

    Args:
        in_channels: Channels of the inputs.
        width: Channels of the first convolution; the deeper ones have 2, 4, 4, 8 and 8 times
            as many.
        conv: The convolution, `Conv3D` as published or `Conv2Plus1D`, by class path.

    Raises:
        UserError: `width` is less than 1.
    """

    def __init__(self, in_channels: int, width: int, conv: ConvUnit = Conv3D) -> None:
        super().__init__()
        if width < 1:
            raise UserError(f"`width` must be >= 1, got {width}")
        self.in_channels = in_channels
        self.num_features = 8 * width

        def unit(inputs: int, outputs: int) -> ConvNorm:
            return ConvNorm(conv(inputs, outputs, (3, 3), (1, 1)), relu=True)

        self.conv1a = unit(in_channels, width)
        self.conv2a = unit(width, 2 * width)
        self.conv3a = unit(2 * width, 4 * width)
        self.conv3b = unit(4 * width, 4 * width)
        self.conv4a = unit(4 * width, 8 * width)
        self.conv4b = unit(8 * width, 8 * width)
        self.pool = SpatialAvgPool(2)
        init_convolutions(self)

    def forward(self, inputs: Tensor) -> Tensor:
        """``(N, in_channels, T, H, W)`` to ``(N, num_features, T, H // 8, W // 8)``."""
        outputs = self.pool(self.conv1a(inputs))
        outputs = self.pool(self.conv2a(outputs))
        outputs = self.pool(self.conv3b(self.conv3a(outputs)))
        return cast(Tensor, self.conv4b(self.conv4a(outputs)))
