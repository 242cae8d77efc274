"""Geometry on batches of keypoints, on any device; stateless, torch only.

Keypoints are ``(N, M, T, V, 2)``, their scores ``(N, M, T, V)``. A box is a row ``x0 y0 x1 y1`` in
the pixels of the keypoints; it may extend beyond the frame. All cropping, resizing and augmentation
is done here, on coordinates, before rendering.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptl_skel.errors import UserError
from ptl_skel.skeletons import SkeletonLayout

BOX_PADDING = 0.25
"""How much wider than the persons a box is on each side, relative to its half size (PYSKL)."""
MIN_BOX = 10.0
"""If the persons are narrower or lower than this many pixels, the whole frame is used (PYSKL)."""
FAR = 10.0
"""Frame sizes from the centre of the frame, beyond which a joint is missing: trackers that have
lost one write such numbers. `ptl-skel preprocess` has the same rule, so this matters for files that
were made otherwise. `ptl_skel.deploy.runtime` implements it for exported networks."""
FOLLOWING = 0.1
"""Fraction of the way to the persons that the centre of a `follow_box` moves in a frame."""
SHRINKING = 0.05
"""Fraction by which a `follow_box` approaches a smaller size in a frame; it grows at once."""


def drop_far(keypoints: Tensor, scores: Tensor, frame_size: Tensor) -> tuple[Tensor, Tensor]:
    """Keypoints and scores, set to 0 for joints more than `FAR` frame sizes away.

    A single such joint would spoil the box of a whole clip, or of seconds of a stream.

    Args:
        keypoints: Pixels, ``(N, M, T, V, 2)``.
        scores: ``(N, M, T, V)``.
        frame_size: Height and width of the frame, ``(N, 2)``.
    """
    away = (keypoints - per_clip(frame_size.flip(1) / 2)).abs().amax(-1)
    near = away <= FAR * per_clip(frame_size.amax(1))
    return torch.where(near[..., None], keypoints, 0.0), torch.where(near, scores, 0.0)


def compact_box(keypoints: Tensor, scores: Tensor, frame_size: Tensor) -> Tensor:
    """The square around all persons in all frames, ``(N, 4)``; the frame if they are too small.

    Args:
        keypoints: ``(N, M, T, V, 2)``; coordinates equal to 0 are ignored, as are joints of
            score 0.
        scores: ``(N, M, T, V)``.
        frame_size: Height and width of the frame, ``(N, 2)``.

    Reference:
        PoseConv3D, arXiv 2104.13586, "subjects-centered cropping"; exactly as PYSKL's PoseCompact.
    """
    counted = (keypoints != 0) & (scores > 0)[..., None]
    low = torch.where(counted, keypoints, math.inf).amin((1, 2, 3))
    high = torch.where(counted, keypoints, -math.inf).amax((1, 2, 3))
    extent = high - low
    half = (extent / 2).amax(1, keepdim=True) * (1 + BOX_PADDING)
    center = (low + high) / 2
    square = torch.cat([(center - half).trunc(), (center + half).trunc()], 1)
    frame = frame_box(keypoints, scores, frame_size)
    return torch.where((extent >= MIN_BOX).all(1, keepdim=True), square, frame)


def follow_box(keypoints: Tensor, scores: Tensor, frame_size: Tensor) -> Tensor:
    """A square for each frame, ``(N, T, 4)``, that depends only on this frame and earlier ones.

    This is the box that can be computed on a stream. Its centre follows that of the persons with a
    delay; its size grows with them at once and shrinks slowly. While nobody is visible it does not
    change; before the first person it is the square around the frame.
    `ptl_skel.deploy.runtime_stream` implements the same rule.

    Args:
        keypoints: ``(N, M, T, V, 2)``; joints of score 0 are ignored.
        scores: ``(N, M, T, V)``.
        frame_size: Height and width of the frame, ``(N, 2)``.
    """
    counted = (scores > 0)[..., None]
    low = torch.where(counted, keypoints, math.inf).amin((1, 3))  # (N, T, 2)
    high = torch.where(counted, keypoints, -math.inf).amax((1, 3))
    extent = (high - low).amax(-1, keepdim=True)
    seen = extent >= MIN_BOX  # false where nobody is: the extent is then -inf
    centers, halves = (low + high) / 2, extent / 2 * (1 + BOX_PADDING)
    center, half = frame_size.flip(1) / 2, frame_size.amax(1, keepdim=True) / 2
    known = torch.zeros_like(seen[:, 0])
    boxes = []
    for now, new_center, new_half in zip(seen.unbind(1), centers.unbind(1), halves.unbind(1),
                                         strict=True):
        first = now & ~known
        known = known | now
        moved = center + FOLLOWING * (new_center - center)
        resized = torch.maximum(new_half, half + SHRINKING * (new_half - half))
        center = torch.where(first, new_center, torch.where(now, moved, center))
        half = torch.where(first, new_half, torch.where(now, resized, half))
        boxes.append(torch.cat([center - half, center + half], 1))
    return torch.stack(boxes, 1)


def frame_box(keypoints: Tensor, scores: Tensor, frame_size: Tensor) -> Tensor:
    """The whole frame, ``(N, 4)``; same arguments as `compact_box`."""
    return torch.cat([torch.zeros_like(frame_size), frame_size.flip(1)], 1).to(keypoints.dtype)


def crop_resize(keypoints: Tensor, box: Tensor, size: tuple[int, int]) -> Tensor:
    """Keypoints in the pixels of an image of ``size`` (height, width) that shows the box."""
    corner, extent = box[:, :2], box[:, 2:] - box[:, :2]
    scale = torch.stack([size[1] / extent[:, 0], size[0] / extent[:, 1]], 1)
    return (keypoints - per_clip(corner)) * per_clip(scale)


def relative_to(keypoints: Tensor, boxes: Tensor) -> Tensor:
    """Keypoints relative to the box of their frame ``(N, T, 4)``, which becomes 0 to 1."""
    corner, extent = boxes[..., :2], boxes[..., 2:] - boxes[..., :2]
    return (keypoints - corner[:, None, :, None]) / extent[:, None, :, None]


def random_crop(
    box: Tensor, area: tuple[float, float], aspect: tuple[float, float], attempts: int = 10
) -> Tensor:
    """A random part of each box, ``(N, 4)``; the whole box if no attempt fits.

    Args:
        box: ``(N, 4)``.
        area: Range of the part's area, relative to the box.
        aspect: Range of its width over its height, sampled log-uniformly.
        attempts: How many shapes are sampled for each box; the first that fits is taken.
    """
    extent = box[:, 2:] - box[:, :2]
    shape = (len(box), attempts)
    areas = extent.prod(1, keepdim=True) * _uniform(*area, shape, box)
    aspects = _uniform(math.log(aspect[0]), math.log(aspect[1]), shape, box).exp()
    sizes = torch.stack([(areas * aspects).sqrt(), (areas / aspects).sqrt()], -1)
    fits = (sizes <= extent[:, None]).all(-1)
    first = fits.to(torch.uint8).argmax(1)
    chosen = sizes[torch.arange(len(box), device=box.device), first]
    chosen = torch.where(fits.any(1, keepdim=True), chosen, extent)
    corner = box[:, :2] + (extent - chosen) * torch.rand_like(extent)
    return torch.cat([corner, corner + chosen], 1)


def flip(keypoints: Tensor, width: int, layout: SkeletonLayout, chosen: Tensor) -> Tensor:
    """Flips the ``chosen`` ``(N,)`` keypoints horizontally: x becomes ``width - x``.

    Each joint is replaced by the one on the other side, so that left joints remain left joints.
    """
    flipped = reorder(keypoints, layout.mirrored_joints, -2)
    flipped = torch.stack([width - flipped[..., 0], flipped[..., 1]], -1)
    return torch.where(per_clip(chosen[:, None]), flipped, keypoints)


def flip_scores(scores: Tensor, layout: SkeletonLayout, chosen: Tensor) -> Tensor:
    """Scores, those of the horizontal flip if ``chosen`` ``(N,)``."""
    flipped = reorder(scores, layout.mirrored_joints, -1)
    return torch.where(chosen[:, None, None, None], flipped, scores)


def rotate_scale_shift(
    keypoints: Tensor, box: Tensor, angle: Tensor, scale: Tensor, shift: Tensor
) -> Tensor:
    """Keypoints rotated and scaled about the centre of the box, then shifted.

    Args:
        keypoints: ``(N, M, T, V, 2)``.
        box: ``(N, 4)``.
        angle: Radians, ``(N,)``.
        scale: Factor for each axis, ``(N, 2)``.
        shift: Relative to the size of the box, ``(N, 2)``.
    """
    center, extent = (box[:, :2] + box[:, 2:]) / 2, box[:, 2:] - box[:, :2]
    x, y = (keypoints - per_clip(center)).unbind(-1)
    turned = torch.stack(turn(x, y, angle), -1)
    return turned * per_clip(scale) + per_clip(center + shift * extent)


@dataclass(frozen=True)
class Augmentation:
    """Augmentation in training, sampled for each clip.

    Args:
        crop_area: Range of the area of a random crop, relative to the box; 1 and 1 for no crop.
        crop_aspect: Range of its width over its height.
        flip: Probability of a horizontal flip.
        rotation: Largest rotation, degrees; for 3D coordinates about their third axis.
        scale: Largest change of size, for each axis; 0.1 is 90 to 110 %.
        shift: Largest shift relative to the box; has no effect on 3D coordinates, nor has a crop.
        drop: Largest share of joints that are missing; each clip gets a share from 0 to this one.
        displace: Largest standard deviation of a displacement of joints, independent in each frame,
            relative to the size of the person.
        low_scores: Largest fraction by which scores are lowered.

    Raises:
        UserError: A range or a probability is out of range.
    """

    crop_area: tuple[float, float] = (0.56, 1.0)
    crop_aspect: tuple[float, float] = (0.75, 1.3333)
    flip: float = 0.5
    rotation: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    drop: float = 0.0
    displace: float = 0.0
    low_scores: float = 0.0

    def __post_init__(self) -> None:
        for name in ("crop_area", "crop_aspect"):
            low, high = getattr(self, name)
            if not 0 < low <= high < math.inf or (name == "crop_area" and high > 1):
                raise UserError(f"`{name}` must be a range of positive numbers (an area at most "
                                f"1), got {low} to {high}")
        if not 0 <= self.flip <= 1:
            raise UserError(f"`flip` must be a probability, got {self.flip}")
        for name in ("drop", "displace", "low_scores", "shift"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"`{name}` must lie in 0..1, got {getattr(self, name)}")
        if not 0 <= self.rotation <= 180:
            raise UserError(f"`rotation` must lie in 0..180 degrees, got {self.rotation}")
        if not 0 <= self.scale < 1:
            raise UserError(f"`scale` must lie in 0..1, got {self.scale}")

    def __call__(
        self, keypoints: Tensor, scores: Tensor, box: Tensor, size: tuple[int, int],
        layout: SkeletonLayout,
    ) -> tuple[Tensor, Tensor]:
        """Augmented keypoints and scores, in pixels of an image of ``size`` (height, width)."""
        clips = len(box)
        keypoints, scores = self._degrade(keypoints, scores)
        if self.rotation or self.scale or self.shift:
            largest = math.radians(self.rotation)
            keypoints = rotate_scale_shift(
                keypoints, box, _uniform(-largest, largest, (clips,), box),
                _uniform(1 - self.scale, 1 + self.scale, (clips, 2), box),
                _uniform(-self.shift, self.shift, (clips, 2), box))
        if self.crop_area != (1.0, 1.0):
            box = random_crop(box, self.crop_area, self.crop_aspect)
        keypoints = crop_resize(keypoints, box, size)
        flipped = torch.rand(clips, device=box.device) < self.flip
        return flip(keypoints, size[1], layout, flipped), flip_scores(scores, layout, flipped)

    def spatial(self, keypoints: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """3D coordinates ``(N, M, T, V, 3)``, rotated about the third axis, scaled along each.

        Crop and shift would have no effect, as representations of 3D coordinates are relative to
        the persons. They swap left and right themselves, so `flip` is not applied here.
        """
        keypoints, scores = self._degrade(keypoints, scores)
        if not (self.rotation or self.scale):
            return keypoints, scores
        clips, largest = len(keypoints), math.radians(self.rotation)
        angle = _uniform(-largest, largest, (clips,), keypoints)
        scale = _uniform(1 - self.scale, 1 + self.scale, (clips, 3), keypoints)
        x, y, z = keypoints.unbind(-1)
        return torch.stack([*turn(x, y, angle), z], -1) * per_clip(scale), scores

    def _degrade(self, keypoints: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Keypoints and scores as a worse pose estimator would give them.

        `ptl_skel.data.corruption` does the same in a test, reproducibly.
        """
        if self.displace:
            keypoints = displace(keypoints, scores, self.displace * _level(keypoints),
                                 torch.randn_like(keypoints))
        if self.low_scores:
            scores = scores * (1 - self.low_scores * _level(scores) * torch.rand_like(scores))
        if self.drop:
            scores = scores * (torch.rand_like(scores) >= self.drop * _level(scores))
        return keypoints, scores


def displace(keypoints: Tensor, scores: Tensor, level: Tensor | float, noise: Tensor) -> Tensor:
    """Keypoints ``(N, M, T, V, C)``, moved by noise of the same shape.

    Args:
        keypoints: Pixels, or the unit of 3D coordinates.
        scores: ``(N, M, T, V)``.
        level: Displacement for noise of 1, relative to the size of the person; one number, or one
            for each clip, ``(N, 1, 1, 1, 1)``.
        noise: Of each coordinate.
    """
    return keypoints + level * person_sizes(keypoints, scores) * noise


def person_sizes(keypoints: Tensor, scores: Tensor) -> Tensor:
    """The largest side of the box around each person in all frames, ``(N, M, 1, 1, 1)``.

    Args:
        keypoints: ``(N, M, T, V, C)``.
        scores: ``(N, M, T, V)``; joints of score 0 do not count. 0 for an absent person.
    """
    known = (scores > 0)[..., None]
    low = torch.where(known, keypoints, torch.inf).amin((2, 3))
    high = torch.where(known, keypoints, -torch.inf).amax((2, 3))
    return (high - low).clamp_min(0).amax(-1)[..., None, None, None]


def split_clips(values: Tensor, num_clips: int) -> Tensor:
    """The K clips of a sample as samples: ``(N, M, K * T, ...)`` to ``(N * K, M, T, ...)``."""
    each: Tensor = values.unflatten(2, (num_clips, -1)).transpose(1, 2).flatten(0, 1)
    return each


def reorder(values: Tensor, order: Sequence[int], dim: int) -> Tensor:
    """The entries of a dimension that `order` lists, e.g. joints, without synchronising a GPU.

    A list as an index would be copied to the device each time, with a synchronisation.
    """
    return values.index_select(dim, constant(tuple(order), values.device))


@functools.cache
def constant(numbers: tuple[int, ...], device: torch.device) -> Tensor:
    """The numbers as a tensor, which is cached for each device; do not modify it."""
    return torch.tensor(numbers, device=device)


def turn(x: Tensor, y: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates ``(N, M, T, V)``, rotated by an angle for each clip, ``(N,)`` in radians.

    Written out, because a matrix product on a GPU may use TF32.
    """
    cos, sin = per_clip(angle.cos()), per_clip(angle.sin())
    return cos * x - sin * y, sin * x + cos * y


def per_clip(values: Tensor) -> Tensor:
    """Values per clip ``(N,)`` or ``(N, C)``, to be broadcast with ``(N, M, T, V)`` and so on."""
    return values[:, None, None, None]


def _level(like: Tensor) -> Tensor:
    """A random number in 0..1 for each clip, to be broadcast with `like`."""
    return torch.rand(len(like), *[1] * (like.ndim - 1), dtype=like.dtype, device=like.device)


def _uniform(low: float, high: float, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Random numbers between `low` and `high`, of the dtype and on the device of `like`."""
    return low + (high - low) * torch.rand(shape, dtype=like.dtype, device=like.device)
