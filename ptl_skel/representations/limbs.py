"""Keypoints to a Gaussian along each limb."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ptl_skel.data.transforms import reorder
from ptl_skel.errors import UserError
from ptl_skel.representations.base import MIN_SCORE, Representation, has_kernel
from ptl_skel.skeletons import SkeletonLayout

REACH = math.sqrt(2 * math.log(1e6)) * math.sqrt(2)
"""Range above and below a limb, in sigma, that is rendered. Values fall to 1e-6 at a distance of
the first factor; the second one is for diagonal limbs, as the range is measured along an axis."""
FARTHEST = 1e5
"""Joints are clamped to this many pixels: beyond, single precision loses the line of a limb."""


class LimbHeatmaps(Representation):
    """A Gaussian of the distance to each limb: a channel for each limb, an image for each frame.

    It is rendered within the limb's bounding box widened by three sigma, scaled by the lower score
    of its two joints; a limb shorter than a pixel is the Gaussian of its first joint. Where persons
    overlap, the maximum is taken. A limb with a missing or non-finite joint is not rendered. The
    pixels of all boxes form one ragged list. Knowing its length would require synchronising a GPU:
    there, `scatter` computes the maximum number of columns, and the kernel only the existing ones.

    Args:
        layout: The joints.
        sigma: Width of the Gaussian in pixels of the map.
        limbs: Pairs of joint indices, one for each channel; None: those of the layout.

    Raises:
        UserError: `sigma` is not positive, a limb is not a pair of joints, or its horizontal flip
            is not a limb.

    Reference:
        PoseConv3D, arXiv 2104.13586, section 3.2, exactly as PYSKL's GeneratePoseTarget.
    """

    def __init__(self, layout: SkeletonLayout, sigma: float = 0.6,
                 limbs: Sequence[tuple[int, int]] | None = None) -> None:
        if not (math.isfinite(sigma) and sigma > 0):
            raise UserError(f"`sigma` must be positive, got {sigma}")
        self.limbs = layout.limbs if limbs is None else tuple((a, b) for a, b in limbs)
        if not self.limbs:
            raise UserError(f"layout `{layout.name}` has no limbs; `limbs` can name them")
        self.sigma = sigma
        joints = range(layout.num_joints)
        if any(start not in joints or end not in joints for start, end in self.limbs):
            raise UserError(f"`limbs` must link joints 0 to {layout.num_joints - 1} of layout "
                            f"`{layout.name}`, got {self.limbs}")
        places = {frozenset(limb): place for place, limb in enumerate(self.limbs)}
        flipped = [frozenset(layout.mirrored_joints[joint] for joint in limb)
                    for limb in self.limbs]
        if len(places) < len(self.limbs) or not set(flipped) <= set(places):
            raise UserError("`limbs` must list each limb once, and the horizontal flip of each, "
                            f"got {self.limbs}")
        self.flipped_limbs = [places[limb] for limb in flipped]

    @property
    def num_channels(self) -> int:
        """One channel for each limb."""
        return len(self.limbs)

    def __call__(self, keypoints: Tensor, scores: Tensor, size: tuple[int, int],
                 dtype: torch.dtype = torch.float32) -> Tensor:
        """Heatmaps ``(N, L, T, H, W)`` in 0..1; see `Representation`."""
        if has_kernel(keypoints.device):
            from ptl_skel.representations.kernel import render

            return render(keypoints, scores, self.limbs, self.sigma, size, dtype)
        return self.scatter(keypoints, scores, size, dtype)

    def scatter(self, keypoints: Tensor, scores: Tensor, size: tuple[int, int],
                dtype: torch.dtype = torch.float32) -> Tensor:
        """The same by tensor operations, on any device."""
        clips, persons, frames = scores.shape[:3]
        visible = (scores >= MIN_SCORE) & scores.isfinite() & keypoints.isfinite().all(-1)
        points = torch.where(visible[..., None], keypoints, 0.0).clamp(-FARTHEST, FARTHEST)
        strengths = torch.where(visible, scores, 0.0)
        volume = torch.zeros(clips * frames * size[0] * size[1] * self.num_channels,
                             dtype=dtype, device=keypoints.device)
        for person in range(persons):
            index, values = self._pixels(points[:, person], strengths[:, person], size)
            values = values.to(dtype)
            if person == 0:
                volume.scatter_(0, index, values)
            else:
                volume.scatter_reduce_(0, index, values, "amax")
        return volume.view(clips, frames, *size, self.num_channels).permute(0, 4, 1, 2, 3)

    def _pixels(self, points: Tensor, scores: Tensor, size: tuple[int, int]
                ) -> tuple[Tensor, Tensor]:
        """Indices into the volume of the pixels of one person, and their values; both 1D.

        An index may occur more than once, with the same value.

        Args:
            points: ``(N, T, V, 2)``, finite.
            scores: ``(N, T, V)``, 0 for joints that are not rendered.
            size: Height and width.
        """
        height, width, channels, device = *size, self.num_channels, points.device
        starts, ends = zip(*self.limbs, strict=True)
        start = reorder(points, starts, 2).flatten(0, 2).T  # (2, I): x and y for each limb
        line = reorder(points, ends, 2).flatten(0, 2).T - start
        first = reorder(scores, starts, 2).flatten()
        strength = first.minimum(reorder(scores, ends, 2).flatten())
        length = line.square().sum(0)
        long = length >= 1
        strength = torch.where(long | (strength == 0), strength, first)
        line = line * long  # else only the first joint

        # From here on u is the longer axis of each limb, x or y, and v the other one.
        wide = line[0].abs() >= line[1].abs()
        start, line = (torch.where(wide, pair, pair.flip(0)) for pair in (start, line))
        last = torch.where(wide, width - 1, height - 1), torch.where(wide, height - 1, width - 1)
        low_u, high_u = self._extent(start[0], line[0], last[0])
        low_v, high_v = self._extent(start[1], line[1], last[1])
        strength = strength * ((low_u <= high_u) & (low_v <= high_v))
        number = torch.where(strength > 0, high_u - low_u + 1, 0)
        low_u, high_u = low_u.minimum(last[0]), high_u.clamp(min=0)
        low_v, high_v = low_v.minimum(last[1]), high_v.clamp(min=0)
        place = torch.arange(len(length), device=device)
        corner = place.div(channels, rounding_mode="floor") * (height * width * channels)
        corner = corner + place % channels
        steps = torch.where(wide, channels, width * channels), torch.where(
            wide, width * channels, channels)

        # From limbs to their columns: the values of a limb are repeated for each of them. Counting
        # them would synchronise a GPU: there, the maximum number of columns is computed.
        limb, column = _columns(number, max(size), exactly=device.type == "cpu")
        start_u, start_v, line_u, line_v, low_u, high_u, low_v, high_v, strength, scale = (
            torch.stack([*start, *line, low_u, high_u, low_v, high_v, strength,
                         1 / length.clamp(min=1)]).index_select(1, limb))
        corner, step_u, step_v = torch.stack([corner, *steps]).index_select(1, limb)
        u = (low_u + column).minimum(high_u)
        corner = corner + u.long() * step_u
        u = u - start_u
        slope = line_u.sign() / line_u.abs().clamp(min=0.5)  # at least 0.7 for a long limb
        middle = start_v + (u * slope).clamp(0, 1) * line_v

        # From columns to pixels.
        reach = REACH * self.sigma
        pixels = torch.arange(math.floor(2 * reach) + 1, device=device)[:, None]
        v = ((middle - reach).ceil() + pixels).clamp_(low_v, high_v)
        index = v.long().mul_(step_v).add_(corner)
        v -= start_v
        along = torch.addcmul(u * line_u * scale, v, line_v * scale).clamp_(0, 1)
        v.addcmul_(along, line_v, value=-1)
        distance = torch.addcmul(u, along, line_u, value=-1).square_().addcmul_(v, v)
        values = distance.mul_(-0.5 / self.sigma**2).exp_().mul_(strength)
        return index.flatten(), values.flatten()

    def _extent(self, start: Tensor, line: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """Along one axis: the first and the last pixel of each limb's box in the image, ``(I,)``.

        The last comes before the first if the box is outside the image.
        """
        reach = 3 * self.sigma
        low = (start + line.clamp(max=0) - reach).trunc().clamp(min=0)
        high = (start + line.clamp(min=0) + reach).trunc().minimum(last)
        return low, high

    def flip(self, inputs: Tensor) -> Tensor:
        """Column x becomes W - 1 - x, left and right channels are swapped."""
        return reorder(inputs.flip(-1), self.flipped_limbs, 1)


def _columns(number: Tensor, most: int, *, exactly: bool) -> tuple[Tensor, Tensor]:
    """For each column the index of its limb, and its number within the limb; ``(J,)``.

    Args:
        number: Columns of each limb.
        most: Most columns of any limb.
        exactly: List the actual columns of each limb instead of `most` for each.
    """
    limbs = torch.arange(len(number), device=number.device)
    if not exactly:
        columns = torch.arange(most, device=number.device)
        return limbs.repeat(most), columns[:, None].expand(most, len(limbs)).flatten()
    number = number.clamp(min=0).long()
    limb = limbs.repeat_interleave(number)
    return limb, torch.arange(len(limb)) - (number.cumsum(0) - number).index_select(0, limb)
