"""A residual 1D-CNN over time on coordinates: the cheapest baseline.

Inputs have the same shape as for a 3D-CNN, with persons as rows and joints as columns.

Reference:
    DD-Net, arXiv 1907.09658: distances between joints, and motion at two speeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ptl_skel.backbones.base import Backbone
from ptl_skel.backbones.stgcnpp import COCO17, Links
from ptl_skel.errors import UserError

SPEEDS = (1, 2)
"""Frames between the two poses whose difference is the slow and the fast motion (DD-Net)."""


class ResidualBlock(nn.Module):
    """Two convolutions over time with a shortcut, ``(N, C, T)`` to ``(N, out_channels, T')``."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        pad = kernel // 2
        self.layers = nn.Sequential(
            nn.Conv1d(in_channels, out_channels, kernel, stride, pad, bias=False),
            nn.BatchNorm1d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv1d(out_channels, out_channels, kernel, 1, pad, bias=False),
            nn.BatchNorm1d(out_channels))
        same = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Sequential(
            nn.Conv1d(in_channels, out_channels, 1, stride, bias=False),
            nn.BatchNorm1d(out_channels))

    def forward(self, inputs: Tensor) -> Tensor:
        """See the class."""
        return torch.relu(self.layers(inputs) + self.shortcut(inputs))


class Conv1D(Backbone):
    """Convolutions over time, shared by all persons, with a maximum over the persons' features.

    Each frame of a person is described by the coordinates of the joints, all distances between two
    joints, how far each joint has moved over one and two frames, and which joints are missing.
    Values that involve a missing joint are 0. Takes the output of
    `ptl_skel.representations.NormalizedCoordinates`.

    Args:
        in_channels: Channels of the inputs: coordinates, then 1 for joints that are known.
        widths: Channels of each residual block.
        strides: Stride in time of each block.
        kernel: Kernel size of the convolutions, frames.
        links: (joint, the next joint towards the root) for every joint except the root; only their
            number matters.

    Raises:
        UserError: Blocks are not equally described, or a number is out of range.
    """

    reads = "representation/normalized.yaml"

    def __init__(self, in_channels: int, widths: Sequence[int], strides: Sequence[int],
                 kernel: int, links: Links = COCO17) -> None:
        super().__init__()
        if not len(widths) == len(strides) > 0 or min(*widths, *strides) < 1:
            raise UserError("`widths` and `strides` must have an entry >= 1 for each block, got "
                            f"{widths} and {strides}")
        if kernel < 1 or kernel % 2 == 0:
            raise UserError(f"`kernel` must be odd, got {kernel}")
        self.in_channels = in_channels
        self.num_features = widths[-1]
        self.num_joints = len(links) + 1
        first, second = torch.triu_indices(self.num_joints, self.num_joints, 1)
        self.register_buffer("first", first, persistent=False)
        self.register_buffer("second", second, persistent=False)
        moving = (in_channels - 1) * self.num_joints
        measured = moving * (1 + len(SPEEDS)) + len(first)
        self.data_bn = nn.BatchNorm1d(measured)
        self.embedding = nn.Sequential(
            nn.Conv1d(measured + self.num_joints, widths[0], 1, bias=False),
            nn.BatchNorm1d(widths[0]), nn.ReLU(inplace=True))
        channels = widths[0]
        blocks = []
        for width, stride in zip(widths, strides, strict=True):
            blocks.append(ResidualBlock(channels, width, kernel, stride))
            channels = width
        self.blocks = nn.Sequential(*blocks)

    def forward(self, inputs: Tensor) -> Tensor:
        """``(N, in_channels, T, M, V)`` to ``(N, num_features, T', 1, 1)``."""
        clips, _, _, persons, joints = inputs.shape
        if joints != self.num_joints:
            raise UserError(f"`links` describe {self.num_joints} joints, got {joints}; this "
                            f"network reads {self.reads}")
        frames = inputs.permute(0, 3, 1, 4, 2).flatten(0, 1)  # (N * M, C, V, T)
        # Not normalised: where no joint is missing in training, the first one would be an enormous
        # value in a test.
        missing = 1 - frames[:, -1]
        described = torch.cat([self.data_bn(self.measure(frames)), missing], 1)
        features = self.blocks(self.embedding(described))
        # Features are not negative, so an absent person, which is 0, does not change the maximum.
        present = (frames[:, -1].amax((1, 2)) > 0).to(features.dtype)
        each = (features * present[:, None, None]).unflatten(0, (clips, persons))
        return cast(Tensor, each.amax(1)[..., None, None])

    def measure(self, frames: Tensor) -> Tensor:
        """Coordinates, motion and distances, ``(N, C, V, T)`` to ``(N, D, T)``."""
        known = frames[:, -1:]
        joints = frames[:, :-1] * known
        parts = [joints]
        for step in SPEEDS:
            both = known * _earlier(known, step)
            parts.append((joints - _earlier(joints, step)) * both)
        first, second = (cast(Tensor, each) for each in (self.first, self.second))
        between = joints.index_select(2, first) - joints.index_select(2, second)
        both = known.index_select(2, first) * known.index_select(2, second)
        # Not 0 under the square root, which has no gradient there. The ONNX exporter drops a sum
        # with 1e-8.
        distances = between.square().sum(1, keepdim=True).clamp_min(1e-8).sqrt() * both
        return torch.cat([part.flatten(1, 2) for part in [*parts, distances]], 1)


def _earlier(values: Tensor, step: int) -> Tensor:
    """Each frame's values that many frames before, ``(N, C, V, T)``; 0 before the first."""
    frames = values.shape[-1]
    return F.pad(values, (step, 0))[..., :frames]
