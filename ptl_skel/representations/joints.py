"""Keypoints to a Gaussian around each joint."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ptl_skel.representations.base import MIN_SCORE, Representation
from ptl_skel.skeletons import SkeletonLayout


class JointHeatmaps(Representation):
    """A Gaussian around each joint, one channel a joint, one image a frame.

    Only the pixels of a window around each joint are written, so the cost is that of filling the
    volume with zeros. The memory is channels-last, as the convolutions like it. Where persons
    meet, the larger value counts. A joint that is not finite is not drawn.

    Args:
        layout: The joints.
        sigma: Width of the Gaussian in pixels of the map.

    Raises:
        ValueError: `sigma` is not positive.

    Reference:
        PoseConv3D, arXiv 2104.13586, section 3.2, with the window of PYSKL.
    """

    def __init__(self, layout: SkeletonLayout, sigma: float = 0.6) -> None:
        if not (math.isfinite(sigma) and sigma > 0):
            raise ValueError(f"`sigma` must be positive, got {sigma}")
        self.layout = layout
        self.sigma = sigma

    @property
    def num_channels(self) -> int:
        """One channel a joint."""
        return self.layout.num_joints

    def __call__(self, keypoints: Tensor, scores: Tensor, size: tuple[int, int]) -> Tensor:
        """Heatmaps ``(N, V, T, H, W)`` in 0..1; see `Representation`."""
        clips, persons, frames, joints = scores.shape
        height, width = size
        drawn = (scores >= MIN_SCORE) & scores.isfinite() & keypoints.isfinite().all(-1)
        # Far outside, a joint is as invisible as anywhere outside: keep its window in integers.
        reach = 8 * (height + width + self.sigma)
        centers = torch.where(drawn[..., None], keypoints, -reach).clamp(-reach, reach)
        across, first_x = self._window(centers[..., 0], width)
        down, first_y = self._window(centers[..., 1], height)
        down = down * torch.where(drawn, scores, 0.0)[..., None]
        patches = down[..., :, None] * across[..., None, :]

        device = keypoints.device
        pixel = (torch.arange(down.shape[-1], device=device)[:, None] * width
                 + torch.arange(across.shape[-1], device=device)) * joints
        image = torch.arange(clips * frames, device=device).view(clips, frames, 1)
        image = image * (height * width)
        volume = torch.zeros(clips * frames * height * width * joints, device=device)
        for person in range(persons):
            corner = (image + first_y[:, person] * width + first_x[:, person]) * joints
            corner = corner + torch.arange(joints, device=device)
            index = (corner[..., None, None] + pixel).flatten()
            if person == 0:
                volume.scatter_(0, index, patches[:, person].flatten())
            else:
                volume.scatter_reduce_(0, index, patches[:, person].flatten(), "amax")
        return volume.view(clips, frames, height, width, joints).permute(0, 4, 1, 2, 3)

    def _window(self, center: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Values along one axis ``(..., P)``, 0 outside the window, and the first of P pixels.

        The P pixels always lie inside the image: near a border they are shifted, not cut, so that
        no pixel occurs twice.
        """
        reach = 3 * self.sigma
        pixels = min(math.floor(2 * reach) + 2, size)
        low, high = (center - reach).trunc(), (center + reach).trunc()
        first = low.clamp(0, size - pixels)
        position = first[..., None] + torch.arange(pixels, device=center.device)
        inside = (position >= low[..., None]) & (position <= high[..., None])
        values = torch.exp((position - center[..., None]).square() / (-2 * self.sigma**2))
        return torch.where(inside, values, 0.0), first.long()

    def mirror(self, inputs: Tensor) -> Tensor:
        """The array mirrored, left and right channels exchanged: column x becomes W - 1 - x."""
        return inputs.flip(-1)[:, list(self.layout.mirrored_joints)]
