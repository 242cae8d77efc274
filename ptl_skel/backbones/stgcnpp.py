"""ST-GCN++: graph convolutions on coordinates, the baseline without heatmaps.

Inputs have the same shape as for a 3D-CNN, with persons as rows and joints as columns.

Reference:
    PYSKL, arXiv 2205.09443, section 3, after ST-GCN, arXiv 1801.07455.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ptl_skel.backbones.base import Backbone
from ptl_skel.errors import UserError

Links = Sequence[tuple[int, int]]
"""(joint, the next joint towards the root), for every joint except the root."""

COCO17: Links = ((1, 0), (2, 0), (3, 1), (4, 2), (5, 0), (6, 0), (7, 5), (8, 6), (9, 7), (10, 8),
                 (11, 5), (12, 6), (13, 11), (14, 12), (15, 13), (16, 14))
"""The skeleton of the published networks on 2D keypoints; the nose is its root."""

DILATIONS = (1, 2, 3, 4)
"""Dilations of the parallel temporal convolutions in a block."""

BRANCHES = len(DILATIONS) + 2
"""Parallel branches in a block: the convolutions, a maximum over time, and a 1x1 convolution."""


def is_tree(links: Links) -> bool:
    """Whether every joint except the root has a path to the root."""
    parents = dict(links)
    joints = set(range(len(links) + 1))
    reached = joints - set(parents)
    if len(reached) != 1 or not joints.issuperset(parents):
        return False
    while new := {joint for joint in joints - reached if parents[joint] in reached}:
        reached |= new
    return reached == joints


def adjacency(links: Links) -> Tensor:
    """Joints to themselves, towards the root and away from it, ``(3, V, V)``.

    Entry (i, j) is the weight with which joint j receives joint i; columns sum to 1.
    """
    joints = len(links) + 1
    towards = torch.zeros(joints, joints)
    for joint, parent in links:
        towards[parent, joint] = 1
    both = (matrix / matrix.sum(0).clamp_min(1) for matrix in (towards, towards.T))
    return torch.stack([torch.eye(joints), *both])


class GraphConv(nn.Module):
    """Mixes linked joints, ``(N, C, T, V)`` to ``(N, out_channels, T, V)``.

    The graph is a parameter, initialised with the skeleton.
    """

    def __init__(self, in_channels: int, out_channels: int, graph: Tensor) -> None:
        super().__init__()
        self.A = nn.Parameter(graph.clone())
        self.conv = nn.Conv2d(in_channels, len(graph) * out_channels, 1)
        self.bn = nn.BatchNorm2d(out_channels)
        self.down = nn.Identity() if in_channels == out_channels else nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1), nn.BatchNorm2d(out_channels))

    def forward(self, inputs: Tensor) -> Tensor:
        """See the class."""
        each = self.conv(inputs).unflatten(1, (len(self.A), -1))
        mixed = torch.einsum("nkctv,kvw->nctw", each, self.A)
        return torch.relu(self.bn(mixed) + self.down(inputs))


class DilatedConv(nn.Module):
    """A convolution over time, ``(N, C, T, V)`` to ``(N, C, T', V)``."""

    def __init__(self, channels: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, (3, 1), (stride, 1), (dilation, 0), (dilation, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        """See the class."""
        return cast(Tensor, self.conv(inputs))


class TemporalBranches(nn.Module):
    """Parallel convolutions over time of several widths, then mixed.

    ``(N, C, T, V)`` to ``(N, C, T', V)``; the channels are divided among the branches.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        share = channels // BRANCHES
        widths = [channels - share * (BRANCHES - 1), *[share] * (BRANCHES - 1)]

        def narrow(width: int, last: nn.Module) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(channels, width, 1), nn.BatchNorm2d(width), nn.ReLU(),
                                 last)

        branches: list[nn.Module] = [
            narrow(width, DilatedConv(width, stride, dilation))
            for width, dilation in zip(widths[:-2], DILATIONS, strict=True)]
        branches.append(narrow(widths[-2], nn.MaxPool2d((3, 1), (stride, 1), (1, 0))))
        branches.append(nn.Conv2d(channels, widths[-1], 1, (stride, 1)))
        self.branches = nn.ModuleList(branches)
        self.transform = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(),
                                       nn.Conv2d(channels, channels, 1))
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, inputs: Tensor) -> Tensor:
        """See the class."""
        outputs = torch.cat([branch(inputs) for branch in self.branches], 1)
        return cast(Tensor, self.bn(self.transform(outputs)))


class Shortcut(nn.Module):
    """A strided 1x1 convolution and its batch norm."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, (stride, 1))
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, inputs: Tensor) -> Tensor:
        """See the class."""
        return cast(Tensor, self.bn(self.conv(inputs)))


class GraphBlock(nn.Module):
    """A graph convolution, then convolutions over time, with a shortcut if `residual`."""

    def __init__(self, in_channels: int, out_channels: int, graph: Tensor, stride: int,
                 residual: bool) -> None:
        super().__init__()
        self.gcn = GraphConv(in_channels, out_channels, graph)
        self.tcn = TemporalBranches(out_channels, stride)
        self.residual: nn.Module | None = None
        if residual:
            same = stride == 1 and in_channels == out_channels
            self.residual = nn.Identity() if same else Shortcut(in_channels, out_channels, stride)

    def forward(self, inputs: Tensor) -> Tensor:
        """``(N, C, T, V)`` to ``(N, out_channels, T', V)``."""
        outputs = self.tcn(self.gcn(inputs))
        if self.residual is not None:
            outputs = outputs + self.residual(inputs)
        return torch.relu(outputs)


class STGCNpp(Backbone):
    """Graph convolutions over joints, convolutions over time, for each person separately.

    Takes the output of `ptl_skel.representations.Coordinates`. Parameters are named as in PYSKL's
    checkpoints.

    Args:
        in_channels: Channels of the inputs: x, y, score, or x, y, z.
        widths: Channels of each block, at least one for each of its `BRANCHES`.
        strides: Stride in time of each block.
        links: (joint, the next joint towards the root) for every joint except the root.

    Raises:
        UserError: The lists differ in length, a number is out of range, or the links are not a
            tree.
    """

    reads = "representation/coordinates.yaml"

    def __init__(self, in_channels: int, widths: Sequence[int], strides: Sequence[int],
                 links: Links = COCO17) -> None:
        super().__init__()
        if not len(widths) == len(strides) > 0 or min(*widths, *strides) < 1:
            raise UserError("`widths` and `strides` must have an entry >= 1 for each block, got "
                            f"{widths} and {strides}")
        if min(widths) < BRANCHES:
            raise UserError(f"`widths` must be >= {BRANCHES}, the parallel branches of a block, "
                            f"got {widths}")
        joints = len(links) + 1
        if not is_tree(links):
            raise UserError("`links` must name for every joint but the root the next one towards "
                            f"it, got {links}")
        self.in_channels = in_channels
        self.num_features = widths[-1]
        self.num_joints = joints
        self.data_bn = nn.BatchNorm1d(in_channels * joints)
        graph = adjacency(links)
        channels = in_channels
        blocks: list[nn.Module] = []
        for width, stride in zip(widths, strides, strict=True):
            blocks.append(GraphBlock(channels, width, graph, stride, residual=bool(blocks)))
            channels = width
        self.gcn = nn.Sequential(*blocks)

    def forward(self, inputs: Tensor) -> Tensor:
        """``(N, in_channels, T, M, V)`` to ``(N, num_features, T', M, V)``."""
        clips, channels, frames, persons, joints = inputs.shape
        if joints != self.num_joints:
            raise UserError(f"`links` describe {self.num_joints} joints, got {joints}; this "
                            f"network reads {self.reads}")
        each = inputs.permute(0, 3, 4, 1, 2).reshape(clips * persons, joints * channels, frames)
        each = self.data_bn(each).view(clips * persons, joints, channels, frames)
        features = self.gcn(each.permute(0, 2, 3, 1))
        outputs: Tensor = features.unflatten(0, (clips, persons)).permute(0, 2, 3, 1, 4)
        return outputs
