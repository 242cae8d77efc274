"""Coordinates of keypoints, for networks without heatmaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ptl_skel.data.transforms import reorder
from ptl_skel.errors import UserError
from ptl_skel.representations.base import Representation
from ptl_skel.skeletons import SkeletonLayout


class Coordinates(Representation):
    """Coordinates of joints, bones or their motion.

    For pixels: x, y and score; x and y run from -1 to 1 over the frame. For 3D coordinates: x, y
    and z, relative to the root of the first person in the first frame that shows it. The root is
    the joint without a bone: the hip centre of Kinect and Human3.6M skeletons. Streams:

    - ``joint``: each joint;
    - ``bone``: each joint minus the next one towards the root, with the mean of their scores;
    - ``joint_motion``, ``bone_motion``: the next frame of the clip minus this one, with the mean
      of their scores; 0 in the last frame.

    Motion is the difference of sampled frames; PYSKL uses neighbouring frames of the video. A
    missing joint is at the corner (-1, -1) with score 0, or at the origin in 3D, as in PYSKL.
    Unlike in PYSKL, 3D skeletons are not rotated to be upright and face the front.

    Args:
        layout: The joints.
        stream: One of those above.
        persons: Number of persons: the first ones in the file. Absent ones are 0.
        bones: (joint, the next joint towards the root); the bone of a joint that is not listed is
            0. None: those of the layout. PYSKL links the hips of COCO to the nose.

    Raises:
        UserError: An argument is out of range.

    Reference:
        PYSKL, arXiv 2205.09443, section 3.1; streams and 3D origin from 2s-AGCN, arXiv 1805.07694.
    """

    cropped = False
    spatial = True
    mixed = False  # graph networks begin with a batch norm, which runs in single precision

    def __init__(self, layout: SkeletonLayout,
                 stream: Literal["joint", "bone", "joint_motion", "bone_motion"] = "joint",
                 persons: int = 2, bones: Sequence[tuple[int, int]] | None = None) -> None:
        streams = ("joint", "bone", "joint_motion", "bone_motion")
        if stream not in streams:
            raise UserError(f"`stream` must be one of {', '.join(streams)}, got {stream!r}")
        if persons < 1:
            raise UserError(f"`persons` must be >= 1, got {persons}")
        bones = layout.tree if bones is None else bones
        joints = range(layout.num_joints)
        if any(joint not in joints or parent not in joints for joint, parent in bones):
            raise UserError(f"`bones` must link joints 0 to {layout.num_joints - 1} of layout "
                            f"`{layout.name}`, got {bones}")
        self.layout = layout
        self.stream = stream
        self.persons = persons
        self.parents = list(joints)
        for joint, parent in bones:
            self.parents[joint] = parent
        self.root = root_of(layout, bones)

    @property
    def num_channels(self) -> int:
        """x, y and score; or x, y and z."""
        return 3

    def __call__(self, keypoints: Tensor, scores: Tensor, size: tuple[int, int],
                 dtype: torch.dtype = torch.float32) -> Tensor:
        """Streams ``(N, 3, T, M, V)``; see the class."""
        keypoints, scores = keypoints[:, : self.persons], scores[:, : self.persons]
        spatial = keypoints.shape[-1] == 3
        values = (relative_to_root(keypoints, scores, self.root) if spatial
                  else relative_to_frame(keypoints, scores, size))  # (N, 3, M, T, V)
        missing = self.persons - values.shape[2]
        values = torch.nn.functional.pad(values, (0, 0, 0, 0, 0, missing)).transpose(2, 3)
        subtract = torch.sub if spatial else difference
        if self.stream.startswith("bone"):
            values = subtract(values, reorder(values, self.parents, -1))
        if self.stream.endswith("motion"):
            motion = subtract(values[:, :, 1:], values[:, :, :-1])
            values = torch.nn.functional.pad(motion, (0, 0, 0, 0, 0, 1))
        return values.to(dtype)

    def flip(self, inputs: Tensor) -> Tensor:
        """See `Representation` and `flip_coordinates`."""
        return flip_coordinates(inputs, self.layout)


class NormalizedCoordinates(Representation):
    """Coordinates independent of the position and size of persons, and which joints are known.

    For pixels: x and y, from -1 to 1 over the box around all persons in all frames. For 3D
    coordinates: x, y and z relative to the root, as in `Coordinates`. The last channel is 1 for a
    known joint; all channels of a missing joint are 0. All persons of a batch are kept, which
    requires a network that does not depend on their number, e.g. `ptl_skel.backbones.Conv1D`.

    Args:
        layout: The joints.
    """

    spatial = True
    mixed = False  # differences of coordinates need single precision

    def __init__(self, layout: SkeletonLayout) -> None:
        self.layout = layout

    @property
    def num_channels(self) -> int:
        """x, y and known; one more for 3D coordinates."""
        return 3

    def __call__(self, keypoints: Tensor, scores: Tensor, size: tuple[int, int],
                 dtype: torch.dtype = torch.float32) -> Tensor:
        """``(N, 3, T, M, V)``, or ``(N, 4, T, M, V)`` for 3D coordinates; see the class."""
        known = scores > 0
        if keypoints.shape[-1] == 3:
            values = relative_to_root(keypoints, scores, root_of(self.layout, self.layout.tree))
        else:
            values = relative_to_frame(keypoints, scores, size)[:, :2] * known[:, None]
        return torch.cat([values, known[:, None]], 1).transpose(2, 3).to(dtype)

    def flip(self, inputs: Tensor) -> Tensor:
        """See `Representation` and `flip_coordinates`."""
        return flip_coordinates(inputs, self.layout)


def root_of(layout: SkeletonLayout, bones: Sequence[tuple[int, int]]) -> int:
    """The first joint without a bone; joint 0 if each has one."""
    return min(set(range(layout.num_joints)) - {joint for joint, _ in bones}, default=0)


def relative_to_root(keypoints: Tensor, scores: Tensor, root: int) -> Tensor:
    """x, y and z of 3D joints ``(N, 3, M, T, V)``; 0 for missing joints.

    The origin is the root of the first person in the first frame that shows it, or the mean of all
    joints if none does.
    """
    known = scores > 0
    seen = known[:, 0, :, root]  # (N, T)
    first = seen.to(torch.uint8).argmax(1)
    origin = keypoints[torch.arange(len(first), device=first.device), 0, first, root]
    values = torch.where(known[..., None], keypoints, 0.0)
    mean = values.sum((1, 2, 3)) / known.sum((1, 2, 3)).clamp_min(1)[:, None]
    origin = torch.where(seen.any(1, keepdim=True), origin, mean)[:, None, None, None]
    return torch.where(known[..., None], keypoints - origin, 0.0).movedim(-1, 1)


def flip_coordinates(inputs: Tensor, layout: SkeletonLayout) -> Tensor:
    """Flips ``(N, C, T, M, V)``: x becomes -x, left and right joints are swapped.

    In 3D the mirror plane goes through the origin, since coordinates are relative to it.
    """
    flipped = reorder(inputs, layout.mirrored_joints, -1)
    return torch.cat([-flipped[:, :1], flipped[:, 1:]], 1)


def relative_to_frame(keypoints: Tensor, scores: Tensor, size: tuple[int, int]) -> Tensor:
    """x, y and score of 2D joints ``(N, 3, M, T, V)``; absent persons are 0."""
    known = scores > 0
    present = known.any(-1, keepdim=True).any(2, keepdim=True)
    x, y = (torch.where(known, keypoints[..., axis] / (extent / 2) - 1, -1.0) * present
            for axis, extent in ((0, size[1]), (1, size[0])))
    return torch.stack([x, y, torch.where(known, scores, 0.0)], 1)


def difference(minuend: Tensor, subtrahend: Tensor) -> Tensor:
    """Coordinates subtracted, scores averaged; channels are x, y, score."""
    between = minuend[:, :2] - subtrahend[:, :2]
    return torch.cat([between, (minuend[:, 2:] + subtrahend[:, 2:]) / 2], 1)
