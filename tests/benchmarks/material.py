"""What the benchmarks measure: networks, keypoint files, batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ptl_skel.backbones.layers import SpatialConv, TemporalConv
from ptl_skel.cli.profile import load_backbone
from ptl_skel.configs import CONFIGS
from ptl_skel.skeletons import LAYOUTS
from ptl_skel.storage import Clip, ClipWriter, Header
from ptl_skel.training.module import classifier

FRAMES, JOINTS, SIZE = 32, 17, 56
CLASSES = 60
COCO = LAYOUTS["coco17"]
BACKBONES = sorted(path.stem for path in (CONFIGS / "backbone").glob("*.yaml"))
MAPS = JOINTS, FRAMES, SIZE, SIZE
COORDINATES = 3, FRAMES, 2, JOINTS  # x, y and score of two persons: what ST-GCN++ reads


class PlainConv3d(nn.Module):
    """The weights of a unit on views, through `torch.nn.functional.conv3d`."""

    def __init__(self, unit: SpatialConv | TemporalConv) -> None:
        super().__init__()
        self.unit = unit

    def forward(self, inputs: Tensor) -> Tensor:
        """Plain Conv3d."""
        unit = self.unit
        return F.conv3d(inputs, unit.weight, None, unit.stride, unit.padding, 1, unit.groups)


def as_conv3d(network: nn.Module) -> nn.Module:
    """The network with every unit on views replaced by plain Conv3d with the same weights."""
    for name, child in network.named_children():
        if isinstance(child, SpatialConv | TemporalConv):
            setattr(network, name, PlainConv3d(child))
        else:
            as_conv3d(child)
    return network


class NormOnImages(nn.BatchNorm3d):
    """A batch norm that sees ``(N*T, C, H, W)``: the same statistics, through 2D kernels."""

    def forward(self, inputs: Tensor) -> Tensor:
        """``(N, C, T, H, W)`` to the same shape."""
        clips, frames = inputs.shape[0], inputs.shape[2]
        images = inputs.transpose(1, 2).flatten(0, 1)
        if self.training:
            images = F.batch_norm(images, self.running_mean, self.running_var, self.weight,
                                  self.bias, True, self.momentum or 0.0, self.eps)
        else:
            images = F.batch_norm(images, self.running_mean, self.running_var, self.weight,
                                  self.bias, False, 0.0, self.eps)
        return images.view(clips, frames, *images.shape[1:]).transpose(1, 2)


def with_norms_on_images(network: nn.Module) -> nn.Module:
    """The network with every batch norm as a 2D one on views."""
    for module in network.modules():
        if type(module) is nn.BatchNorm3d:
            module.__class__ = NormOnImages
    return network


def load(name: str) -> nn.Module:
    """A backbone with a head, shipped or of a YAML file."""
    torch.manual_seed(0)
    path = name if name.endswith(".yaml") else f"backbone/{name}.yaml"
    return classifier(load_backbone(path, shape_of(name)[0]), CLASSES)


def shape_of(name: str, frames: int = FRAMES, size: int = SIZE) -> tuple[int, ...]:
    """What a backbone reads of a clip."""
    if name in {"conv1d", "stgcnpp"}:
        return COORDINATES[0], frames, *COORDINATES[2:]
    return JOINTS, frames, size, size


def clips(number: int, shape: Sequence[int] = MAPS, device: str = "cpu") -> Tensor:
    """Inputs in channels-last memory."""
    inputs = torch.rand(number, *shape, device=device)
    return inputs.contiguous(memory_format=torch.channels_last_3d)


def keypoints(number: int, persons: int, frames: int = FRAMES, size: int = SIZE
              ) -> tuple[Tensor, Tensor]:
    """Keypoints ``(N, M, T, V, 2)`` and scores ``(N, M, T, V)`` of persons that fill the maps.

    Limbs are 9 pixels long in the mean, as those of Penn Action in the box around the person.
    """
    torch.manual_seed(0)
    shape = number, persons, frames
    reach = min(17, size)
    place = torch.rand(*shape, 1, 2) * (size - reach)
    return place + torch.rand(*shape, JOINTS, 2) * reach, torch.rand(*shape, JOINTS)


def write_file(path: Path, number: int = 256, persons: int = 2,
               frames: tuple[int, int] = (40, 150)) -> None:
    """Two persons, 40 to 150 frames, as NTU RGB+D has them; all clips are there to train on."""
    random = np.random.default_rng(0)
    names = tuple(f"class {label}" for label in range(CLASSES))
    pool = random.random((persons, 2 * frames[1], JOINTS, 3), np.float32)
    with ClipWriter(path, Header("bench", COCO, names, "bench", dtype="float16")) as writer:
        for i in range(number):
            first, length = random.integers(frames[1]), random.integers(*frames)
            part = pool[:, first : first + length]
            writer.add(str(i), [Clip(str(i), part[..., :2] * 500, part[..., 2], (1080, 1920),
                                     i % CLASSES)])
        writer.finish({"all": {"train": [str(i) for i in range(number)]}})
