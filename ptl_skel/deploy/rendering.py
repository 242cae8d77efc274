"""Representations as modules without loops, for export.

A representation in training loops over clips and persons, and skips pixels that stay 0. An exporter
would unroll the loops for the batch of its example input. These forms compute every pixel of every
person instead, with operations for any number of clips, persons and frames. Their values equal
those of the training form up to rounding.

A form is called with keypoints ``(N, M, T, V, 2)`` in pixels of the heatmap and scores ``(N, M, T,
V)``, and returns inputs of a network, ``(N, C, T, H, W)``, or ``(N, C, T, M, V)`` for coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ptl_skel.errors import UserError
from ptl_skel.representations import (
    MIN_SCORE,
    Coordinates,
    JointHeatmaps,
    LimbHeatmaps,
    NormalizedCoordinates,
    Representation,
)
from ptl_skel.representations.coordinates import difference, relative_to_frame
from ptl_skel.representations.limbs import FARTHEST

LARGEST = torch.finfo(torch.float32).max


def is_finite(values: Tensor) -> Tensor:
    """Which values are neither NaN nor infinite, using operations that every runtime has."""
    return values.abs() <= LARGEST


def make_dense(representation: Representation, size: tuple[int, int]) -> DenseForm:
    """The export form of a representation.

    Args:
        representation: One of this package.
        size: Height and width of the maps, pixels.

    Raises:
        UserError: There is none, because it is the user's own class.
    """
    if isinstance(representation, JointHeatmaps):
        return DenseJoints(representation, size)
    if isinstance(representation, LimbHeatmaps):
        return DenseLimbs(representation, size)
    if isinstance(representation, Coordinates):
        return DenseCoordinates(representation, size)
    if isinstance(representation, NormalizedCoordinates):
        return DenseNormalized(size, representation.layout.mirrored_joints)
    raise UserError(f"the representation {type(representation).__name__} cannot be exported; "
                    "those of ptl_skel can")


class DenseForm(nn.Module):
    """A representation without loops; see the module.

    Args:
        size: Height and width of the maps, pixels.
        flipped: For each channel, or joint, the one that replaces it in a horizontal flip.
    """

    flipped: Tensor

    def __init__(self, size: tuple[int, int], flipped: Sequence[int]) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("flipped", torch.tensor(flipped))

    def flip(self, inputs: Tensor, keypoints: Tensor, scores: Tensor) -> Tensor:
        """The horizontal flip of inputs that were made from these keypoints: of the images."""
        return inputs.flip(-1).index_select(1, self.flipped)


class DenseSkeletons(DenseForm):
    """Base class of forms without images, which flip keypoints."""

    def flip(self, inputs: Tensor, keypoints: Tensor, scores: Tensor) -> Tensor:
        """See `DenseForm.flip`. Missing joints are the same in both."""
        x, y = keypoints.split(1, -1)
        keypoints = torch.cat([self.size[1] - x, y], -1)
        flipped: Tensor = self(keypoints.index_select(-2, self.flipped),
                               scores.index_select(-1, self.flipped))
        return flipped


class DenseJoints(DenseForm):
    """`JointHeatmaps`: a column and a row of values for each joint, and their product."""

    rows: Tensor
    columns: Tensor

    def __init__(self, joints: JointHeatmaps, size: tuple[int, int]) -> None:
        super().__init__(size, joints.layout.mirrored_joints)
        self.sigma = joints.sigma
        self.register_buffer("rows", torch.arange(size[0], dtype=torch.float32))
        self.register_buffer("columns", torch.arange(size[1], dtype=torch.float32))

    def forward(self, keypoints: Tensor, scores: Tensor) -> Tensor:
        """Heatmaps ``(N, V, T, H, W)``."""
        keypoints, scores = _persons_last(keypoints, scores)
        visible = (scores >= MIN_SCORE) & is_finite(scores) & is_finite(keypoints).all(-1)
        outside = 8 * (sum(self.size) + self.sigma)
        centers = torch.where(visible[..., None], keypoints, -outside).clamp(-outside, outside)
        down = self._values(centers[..., 1], self.rows)
        down = down * torch.where(visible, scores, 0.0)[..., None]
        across = self._values(centers[..., 0], self.columns)
        maps = down[..., :, None] * across[..., None, :]  # (N, T, V, M, H, W)
        return maps.amax(3).transpose(1, 2)

    def _values(self, center: Tensor, pixels: Tensor) -> Tensor:
        """Values of ``(P,)`` pixels along one axis around ``(...)`` centres, ``(..., P)``."""
        reach = 3 * self.sigma
        low, high = (center - reach).trunc()[..., None], (center + reach).trunc()[..., None]
        inside = (pixels >= low) & (pixels <= high)
        distance = pixels - center[..., None]
        return torch.exp(distance * distance / (-2 * self.sigma**2)) * inside


class DenseLimbs(DenseForm):
    """`LimbHeatmaps`: the distance of every pixel to every limb."""

    starts: Tensor
    ends: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(self, limbs: LimbHeatmaps, size: tuple[int, int]) -> None:
        super().__init__(size, limbs.flipped_limbs)
        self.sigma = limbs.sigma
        starts, ends = zip(*limbs.limbs, strict=True)
        self.register_buffer("starts", torch.tensor(starts))
        self.register_buffer("ends", torch.tensor(ends))
        self.register_buffer("rows", torch.arange(size[0], dtype=torch.float32))
        self.register_buffer("columns", torch.arange(size[1], dtype=torch.float32))

    def forward(self, keypoints: Tensor, scores: Tensor) -> Tensor:
        """Heatmaps ``(N, L, T, H, W)``."""
        keypoints, scores = _persons_last(keypoints, scores)
        visible = (scores >= MIN_SCORE) & is_finite(scores) & is_finite(keypoints).all(-1)
        points = torch.where(visible[..., None], keypoints, 0.0).clamp(-FARTHEST, FARTHEST)
        strengths = torch.where(visible, scores, 0.0)
        start = points.index_select(2, self.starts)
        line = points.index_select(2, self.ends) - start
        first = strengths.index_select(2, self.starts)
        strength = first.minimum(strengths.index_select(2, self.ends))
        length = (line * line).sum(-1)
        long = length >= 1
        strength = torch.where(long | (strength == 0), strength, first)
        line = line * long[..., None]  # else only the first joint

        across, in_columns = self._offsets(start[..., 0], line[..., 0], self.columns)
        down, in_rows = self._offsets(start[..., 1], line[..., 1], self.rows)
        across, down = across[..., None, :], down[..., :, None]  # (N, T, L, M, 1, W), (..., H, 1)
        x, y = line[..., 0, None, None], line[..., 1, None, None]
        scale = (1 / length.clamp(min=1))[..., None, None]
        along = (across * (x * scale) + down * (y * scale)).clamp(0, 1)
        off_x, off_y = across - along * x, down - along * y
        values = torch.exp((off_x * off_x + off_y * off_y) * (-0.5 / self.sigma**2))
        inside = in_columns[..., None, :] & in_rows[..., :, None]
        return (values * strength[..., None, None] * inside).amax(3).transpose(1, 2)

    def _offsets(self, start: Tensor, line: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Along one axis: pixels relative to the start, and which are in the box; ``(..., P)``."""
        reach = 3 * self.sigma
        low = (start + line.clamp(max=0) - reach).trunc()[..., None]
        high = (start + line.clamp(min=0) + reach).trunc()[..., None]
        return pixels - start[..., None], (pixels >= low) & (pixels <= high)


class DenseCoordinates(DenseSkeletons):
    """`Coordinates` of 2D joints, with the same streams."""

    parents: Tensor

    def __init__(self, coordinates: Coordinates, size: tuple[int, int]) -> None:
        super().__init__(size, coordinates.layout.mirrored_joints)
        self.persons = coordinates.persons
        self.stream = coordinates.stream
        self.register_buffer("parents", torch.tensor(coordinates.parents))

    def forward(self, keypoints: Tensor, scores: Tensor) -> Tensor:
        """Streams ``(N, 3, T, persons, V)``."""
        values = relative_to_frame(keypoints, scores, self.size)  # (N, 3, M, T, V)
        # Padded with absent persons for any number of them, then the first ones.
        values = torch.nn.functional.pad(values, (0, 0, 0, 0, 0, self.persons))
        values = values[:, :, : self.persons].transpose(2, 3)
        if self.stream.startswith("bone"):
            values = difference(values, values.index_select(-1, self.parents))
        if self.stream.endswith("motion"):
            motion = difference(values[:, :, 1:], values[:, :, :-1])
            values = torch.nn.functional.pad(motion, (0, 0, 0, 0, 0, 1))
        return values


class DenseNormalized(DenseSkeletons):
    """`NormalizedCoordinates` of 2D joints."""

    def forward(self, keypoints: Tensor, scores: Tensor) -> Tensor:
        """``(N, 3, T, M, V)``: x, y and 1 for known joints."""
        known = (scores > 0).to(keypoints.dtype)[:, None]
        values = relative_to_frame(keypoints, scores, self.size)[:, :2] * known
        return torch.cat([values, known], 1).transpose(2, 3)


def _persons_last(keypoints: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """``(N, M, T, V, ...)`` to ``(N, T, V, M, ...)``.

    The maximum over persons then reads heatmaps from the cache, and ONNX Runtime computes it with
    vector instructions even if N and T are 1.
    """
    return keypoints.permute(0, 2, 3, 1, 4), scores.permute(0, 2, 3, 1)
