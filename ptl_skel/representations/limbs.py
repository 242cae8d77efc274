"""Keypoints to a Gaussian along each limb."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ptl_skel.representations.base import MIN_SCORE, Representation
from ptl_skel.skeletons import SkeletonLayout

FARTHEST = 1e5
"""Joints are moved to within so many pixels: farther away, single precision loses a limb's line."""


class LimbHeatmaps(Representation):
    """A Gaussian of the distance to each limb, one channel a limb, one image a frame.

    Drawn within the limb's bounding box widened by three sigma, as strong as the weaker of its two
    joints; a limb shorter than a pixel is the Gaussian of its first joint. Where persons meet,
    the larger value counts. A limb of which a joint is missing or not finite is not drawn.

    The pixels of all boxes are one ragged list. On a GPU its length has to be waited for, once for
    each person.

    Args:
        layout: The joints.
        sigma: Width of the Gaussian in pixels of the map.
        limbs: Pairs of joint indices, one for each channel; None: those of the layout.

    Raises:
        ValueError: `sigma` is not positive, a limb is none, or the mirror image of a limb is none.

    Reference:
        PoseConv3D, arXiv 2104.13586, section 3.2, exact to PYSKL's GeneratePoseTarget.
    """

    def __init__(self, layout: SkeletonLayout, sigma: float = 0.6,
                 limbs: Sequence[tuple[int, int]] | None = None) -> None:
        if not (math.isfinite(sigma) and sigma > 0):
            raise ValueError(f"`sigma` must be positive, got {sigma}")
        self.limbs = layout.limbs if limbs is None else tuple((a, b) for a, b in limbs)
        if not self.limbs:
            raise ValueError(f"layout `{layout.name}` has no limbs; `limbs` can name them")
        self.sigma = sigma
        joints = range(layout.num_joints)
        if any(start not in joints or end not in joints for start, end in self.limbs):
            raise ValueError(f"`limbs` must link joints 0 to {layout.num_joints - 1} of layout "
                             f"`{layout.name}`, got {self.limbs}")
        places = {frozenset(limb): place for place, limb in enumerate(self.limbs)}
        mirrored = [frozenset(layout.mirrored_joints[joint] for joint in limb)
                    for limb in self.limbs]
        if len(places) < len(self.limbs) or not set(mirrored) <= set(places):
            raise ValueError("`limbs` must name each limb once, and the mirror image of each, got "
                             f"{self.limbs}")
        self.mirrored_limbs = [places[limb] for limb in mirrored]

    @property
    def num_channels(self) -> int:
        """One channel a limb."""
        return len(self.limbs)

    def __call__(self, keypoints: Tensor, scores: Tensor, size: tuple[int, int]) -> Tensor:
        """Heatmaps ``(N, L, T, H, W)`` in 0..1; see `Representation`."""
        clips, persons, frames = scores.shape[:3]
        drawn = (scores >= MIN_SCORE) & scores.isfinite() & keypoints.isfinite().all(-1)
        points = torch.where(drawn[..., None], keypoints, 0.0).clamp(-FARTHEST, FARTHEST)
        strengths = torch.where(drawn, scores, 0.0)
        volume = torch.zeros(clips * frames * size[0] * size[1] * self.num_channels,
                             device=keypoints.device)
        for person in range(persons):
            index, values = self._pixels(points[:, person], strengths[:, person], size)
            if person:
                values = values.maximum(volume[index])
            volume[index] = values
        return volume.view(clips, frames, *size, self.num_channels).permute(0, 4, 1, 2, 3)

    def _pixels(self, points: Tensor, scores: Tensor, size: tuple[int, int]
                ) -> tuple[Tensor, Tensor]:
        """Where in the volume one person is drawn, each place once, and the values there.

        Args:
            points: ``(N, T, V, 2)``, finite.
            scores: ``(N, T, V)``, 0 for joints that are not drawn.
            size: Height and width.
        """
        height, width = size
        starts, ends = (list(joints) for joints in zip(*self.limbs, strict=True))
        start_x, start_y = points[:, :, starts].flatten(0, 2).unbind(1)
        end_x, end_y = points[:, :, ends].flatten(0, 2).unbind(1)
        first = scores[:, :, starts].flatten()
        strength = first.minimum(scores[:, :, ends].flatten())
        line_x, line_y = end_x - start_x, end_y - start_y
        length = line_x.square() + line_y.square()
        long = length >= 1
        line_x, line_y = line_x * long, line_y * long  # else the first joint alone
        low_x, columns = self._extent(start_x, line_x, width)
        low_y, rows = self._extent(start_y, line_y, height)
        number = torch.where(strength > 0, columns * rows, 0)

        # From limbs to the pixels of all limbs: what a limb knows is repeated for each of them.
        limb = torch.repeat_interleave(number)
        place = torch.arange(len(limb), device=limb.device) - (number.cumsum(0) - number)[limb]
        row = place.div(columns[limb], rounding_mode="floor")
        column = place - row * columns[limb]
        known = torch.stack([
            low_x - start_x, low_y - start_y, line_x, line_y,
            1 / length.clamp_min(1), torch.where(long, strength, first)])
        x, y, line_x, line_y, scale, strength = known[:, limb]
        x, y = x + column, y + row
        along = ((x * line_x + y * line_y) * scale).clamp_(0, 1)
        distance = (x - along * line_x).square_() + (y - along * line_y).square_()
        values = (distance / (-2 * self.sigma**2)).exp_() * strength

        channels = self.num_channels
        number_of_limbs = torch.arange(len(start_x), device=limb.device)
        image = number_of_limbs.div(channels, rounding_mode="floor")
        corner = (image * height + low_y.long()) * width + low_x.long()
        corner = corner * channels + number_of_limbs % channels
        return corner[limb] + (row * width + column) * channels, values

    def _extent(self, start: Tensor, line: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Along one axis: the first pixel of each limb's box and how many there are, ``(I,)``."""
        reach = 3 * self.sigma
        low = (start + line.clamp(max=0) - reach).trunc().clamp(0, size)
        high = (start + line.clamp(min=0) + reach).trunc().clamp(-1, size - 1)
        return low, (high - low + 1).clamp(min=0).long()

    def mirror(self, inputs: Tensor) -> Tensor:
        """The array mirrored, left and right channels exchanged: column x becomes W - 1 - x."""
        return inputs.flip(-1)[:, self.mirrored_limbs]
