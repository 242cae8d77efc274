"""Keypoints to a Gaussian around each joint."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ptl_skel.data.transforms import reorder
from ptl_skel.errors import UserError
from ptl_skel.representations.base import MIN_SCORE, Representation, has_kernel
from ptl_skel.skeletons import SkeletonLayout


class JointHeatmaps(Representation):
    """A Gaussian around each joint: a channel for each joint, an image for each frame.

    Only the pixels of a window around each joint are written, so the cost is that of filling the
    volume with zeros. The memory format is channels-last, in which convolutions are fastest. Where
    persons overlap, the maximum is taken. Joints that are not finite are not rendered.

    Args:
        layout: The joints.
        sigma: Width of the Gaussian in pixels of the map.

    Raises:
        UserError: `sigma` is not positive.

    Reference:
        PoseConv3D, arXiv 2104.13586, section 3.2, with the window of PYSKL.
    """

    def __init__(self, layout: SkeletonLayout, sigma: float = 0.6) -> None:
        if not (math.isfinite(sigma) and sigma > 0):
            raise UserError(f"`sigma` must be positive, got {sigma}")
        self.layout = layout
        self.sigma = sigma

    @property
    def num_channels(self) -> int:
        """One channel for each joint."""
        return self.layout.num_joints

    def __call__(self, keypoints: Tensor, scores: Tensor, size: tuple[int, int],
                 dtype: torch.dtype = torch.float32) -> Tensor:
        """Heatmaps ``(N, V, T, H, W)`` in 0..1; see `Representation`."""
        if has_kernel(keypoints.device):
            from ptl_skel.representations.kernel import render

            itself = [(joint, joint) for joint in range(self.num_channels)]
            return render(keypoints, scores, itself, self.sigma, size, dtype)
        return self.scatter(keypoints, scores, size, dtype)

    def scatter(self, keypoints: Tensor, scores: Tensor, size: tuple[int, int],
                dtype: torch.dtype = torch.float32) -> Tensor:
        """The same by tensor operations, on any device."""
        clips, persons, frames, joints = scores.shape
        height, width = size
        visible = (scores >= MIN_SCORE) & scores.isfinite() & keypoints.isfinite().all(-1)
        # A joint far outside is moved closer, so that its window can be stored as integers.
        reach = 8 * (height + width + self.sigma)
        centers = torch.where(visible[..., None], keypoints, -reach).clamp(-reach, reach)
        # Joints of all frames come last, so that every operation is over long rows.
        x, y = centers.flatten(2, 3).unbind(-1)
        across, first_x = self._window(x, width)
        down, first_y = self._window(y, height)
        down = down * torch.where(visible, scores, 0.0).flatten(2)[:, :, None]
        patches = (down[:, :, :, None] * across[:, :, None]).flatten(2).to(dtype)

        device = keypoints.device
        pixel = (torch.arange(down.shape[2], device=device)[:, None] * width
                 + torch.arange(across.shape[2], device=device)) * joints
        frame = torch.arange(frames, device=device)[:, None] * (height * width * joints)
        image = (frame + torch.arange(joints, device=device)).flatten()
        corner = (first_y * width + first_x) * joints + image
        index = (corner[:, :, None, None] + pixel[..., None]).flatten(2)

        volumes = torch.empty(clips, frames * height * width * joints, dtype=dtype, device=device)
        # On a CPU, clip by clip: the zeros just written are still in the cache.
        together = 1 if device.type == "cpu" else clips
        for volume, places, values in zip(
                *(torch.split(each, together) for each in (volumes, index, patches)), strict=True):
            volume.zero_().scatter_(1, places[:, 0], values[:, 0])
            for person in range(1, persons):
                volume.scatter_reduce_(1, places[:, person], values[:, person], "amax")
        return volumes.view(clips, frames, height, width, joints).permute(0, 4, 1, 2, 3)

    def _window(self, center: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Values along one axis around each of ``(N, M, I)`` centres, and the first pixel of each.

        Values are ``(N, M, P, I)``, 0 outside the window. The P pixels always lie inside the image:
        near a border they are shifted, not clamped, so that no pixel occurs twice.
        """
        reach = 3 * self.sigma
        pixels = min(math.floor(2 * reach) + 2, size)
        low, high = (center - reach).trunc(), (center + reach).trunc()
        first = low.clamp(0, size - pixels)
        center, low, high = center[:, :, None], low[:, :, None], high[:, :, None]
        position = first[:, :, None] + torch.arange(pixels, device=center.device)[:, None]
        inside = (position >= low) & (position <= high)
        values = torch.exp((position - center).square() / (-2 * self.sigma**2))
        return torch.where(inside, values, 0.0), first.long()

    def flip(self, inputs: Tensor) -> Tensor:
        """Column x becomes W - 1 - x, left and right channels are swapped."""
        return reorder(inputs.flip(-1), self.layout.mirrored_joints, 1)
