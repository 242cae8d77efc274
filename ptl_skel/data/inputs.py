"""From keypoints of a batch to network inputs, on the device, without synchronising with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ptl_skel.data.cameras import Camera
from ptl_skel.data.dataset import KeypointBatch
from ptl_skel.data.transforms import (
    Augmentation,
    compact_box,
    crop_resize,
    drop_far,
    flip,
    flip_scores,
    follow_box,
    frame_box,
    relative_to,
    split_clips,
)
from ptl_skel.errors import UserError
from ptl_skel.representations import Representation
from ptl_skel.skeletons import SkeletonLayout

_DTYPES = {"bf16": torch.bfloat16, "16": torch.float16, "64": torch.float64}


@dataclass
class InputMaker:
    """Applies camera, box, augmentation and representation, in this order.

    Args:
        representation: Makes the inputs.
        layout: The joints.
        coordinates: Number of coordinates of each joint in the file: 2 or 3.
        camera: Projects 3D coordinates; None: they stay as they are.
        augment: Augmentation in training.
        size: Height and width of the heatmaps in training, pixels.
        eval_size: The same at validation and test.
        test_clips: Clips taken from each sample at test time.
        test_flip: Test on the horizontal flip of each clip as well.
        box: What heatmaps show: ``clip``, the square around the persons in all frames, or
            ``follow``, a square for each frame that depends only on the frames so far.
        use_scores: Weight joints by their scores; otherwise all joints that are not missing have
            score 1.

    Raises:
        UserError: Camera, representation and coordinates do not fit each other, or an argument of
            the camera is out of range.
    """

    representation: Representation
    layout: SkeletonLayout
    coordinates: int
    camera: Camera | None
    augment: Augmentation
    size: int
    eval_size: int
    test_clips: int
    test_flip: bool
    box: Literal["clip", "follow"] = "clip"
    use_scores: bool = True

    def __post_init__(self) -> None:
        if self.camera is not None:
            self.camera.check()
        if self.camera is not None and self.coordinates == 2:
            raise UserError("the file holds 2D pixels, and `data.camera` is for 3D coordinates; "
                            "leave it out")
        if self._spatial and not self.representation.spatial:
            raise UserError("the file holds 3D coordinates; heatmaps need 2D pixels: project them "
                            "by a camera, e.g. --data.camera camera/moving.yaml")
        if self.box == "follow" and (self._spatial or not self.representation.cropped):
            raise UserError("`data.box` follow is for heatmaps of 2D keypoints, which show a box; "
                            "leave it out")

    @property
    def _spatial(self) -> bool:
        """Whether the representation gets 3D coordinates."""
        projected = self.camera is not None and self.camera.projection != "none"
        return self.coordinates == 3 and not projected

    @property
    def test_views(self) -> int:
        """Number of inputs per clip at test time."""
        cameras = 1 if self.camera is None else len(self.camera.test_yaws)
        return cameras * self.test_clips * (1 + self.test_flip)

    def shape(self, clip_len: int) -> tuple[int, ...]:
        """Shape of an input at test time, ``(C, T, H, W)``."""
        nobody = torch.zeros(1, 1, clip_len, self.layout.num_joints, 3 if self._spatial else 2)
        inputs = self.representation(nobody, nobody[..., 0], (self.eval_size, self.eval_size))
        return tuple(inputs.shape[1:])

    def dtype(self, precision: str) -> torch.dtype:
        """Dtype of the inputs for a precision of the trainer, e.g. bfloat16 for ``bf16-true``."""
        number, _, kind = precision.partition("-")
        if kind == "mixed" and not self.representation.mixed:
            return torch.float32
        return _DTYPES.get(number, torch.float32)

    def train(self, batch: KeypointBatch, dtype: torch.dtype) -> Tensor:
        """Augmented inputs ``(N, C, T, H, W)``, one per clip."""
        keypoints, scores, frame_size = self._prepare(batch, Camera.project_random)
        size = self.size, self.size
        if self._spatial:
            keypoints, scores = self.augment.spatial(keypoints, scores)
            inputs = self.representation(keypoints, scores, size, dtype)
            return _flip_some(inputs, self.representation.flip, self.augment.flip)
        keypoints, box = self._find_box(keypoints, scores, frame_size)
        keypoints, scores = self.augment(keypoints, scores, box, size, self.layout)
        return self.representation(keypoints, scores, size, dtype)

    def evaluate(self, batch: KeypointBatch, dtype: torch.dtype, *, several: bool) -> Tensor:
        """Inputs ``(N * views, C, T, H, W)``; one view per clip, or `several` as in a test."""
        keypoints, scores = self.place(batch, several=several)
        inputs = self.representation(keypoints, scores, (self.eval_size, self.eval_size), dtype)
        if several and self.test_flip:
            inputs = _interleave(inputs, self._flip(inputs, keypoints, scores))
        return inputs

    def _flip(self, inputs: Tensor, keypoints: Tensor, scores: Tensor) -> Tensor:
        """The horizontal flip of inputs ``(N, C, T, H, W)``, which were made from the keypoints.

        Heatmaps are flipped as images, as in PYSKL. 2D coordinates are flipped before the
        representation, which puts missing joints into the same corner whether flipped or not.
        """
        if self._spatial or not self.representation.spatial:
            return self.representation.flip(inputs)
        every = torch.ones(len(keypoints), dtype=torch.bool, device=keypoints.device)
        return self.representation(
            flip(keypoints, self.eval_size, self.layout, every),
            flip_scores(scores, self.layout, every), (self.eval_size, self.eval_size), inputs.dtype)

    def place(self, batch: KeypointBatch, *, several: bool) -> tuple[Tensor, Tensor]:
        """Keypoints and scores that `evaluate` renders; 2D keypoints in pixels of the heatmaps."""
        keypoints, scores, frame_size = self._prepare(
            batch, Camera.project_test_views if several else Camera.project)
        size = self.eval_size, self.eval_size
        clips = self.test_clips if several else 1
        if self.box == "follow":  # separately in each of the clips
            keypoints, scores = (split_clips(each, clips) for each in (keypoints, scores))
            frame_size, clips = frame_size.repeat_interleave(clips, 0), 1
        if not self._spatial:
            keypoints = crop_resize(*self._find_box(keypoints, scores, frame_size), size)
        if clips > 1:
            keypoints, scores = (split_clips(each, clips) for each in (keypoints, scores))
        return keypoints, scores

    def _prepare(self, batch: KeypointBatch,
                 project: Callable[[Camera, Tensor, Tensor], tuple[Tensor, Tensor]]
                 ) -> tuple[Tensor, Tensor, Tensor]:
        """Keypoints and scores of a batch as they are used, and the sizes of their frames.

        Args:
            batch: The batch.
            project: How a camera projects 3D coordinates.
        """
        keypoints, scores, frame_size = batch["keypoints"], batch["scores"], batch["frame_size"]
        if not self.use_scores:
            scores = (scores > 0).to(scores.dtype)
        if self.coordinates == 2:
            keypoints, scores = drop_far(keypoints, scores, frame_size)
        if self.camera is not None:
            keypoints, scores = project(self.camera, keypoints, scores)
            frame_size = self.camera.frame_sizes(keypoints)
        return keypoints, scores, frame_size

    def _find_box(self, keypoints: Tensor, scores: Tensor, frame_size: Tensor
                  ) -> tuple[Tensor, Tensor]:
        """Keypoints, and the box ``(N, 4)`` in their unit that the inputs show."""
        if self.box == "follow":
            keypoints = relative_to(keypoints, follow_box(keypoints, scores, frame_size))
            return keypoints, frame_box(keypoints, scores, torch.ones_like(frame_size))
        find_box = compact_box if self.representation.cropped else frame_box
        return keypoints, find_box(keypoints, scores, frame_size)


def _interleave(inputs: Tensor, flipped: Tensor) -> Tensor:
    """Each input, followed by its horizontal flip; channels-last memory remains so."""
    both = [each.movedim(1, -1) for each in (inputs, flipped)]
    stacked: Tensor = torch.stack(both, 1).flatten(0, 1).movedim(-1, 1)
    return stacked


def _flip_some(inputs: Tensor, flip: Callable[[Tensor], Tensor], probability: float) -> Tensor:
    """Replaces each input by its horizontal flip with that probability."""
    chosen = torch.rand(len(inputs), device=inputs.device) < probability
    return torch.where(chosen.view(-1, *[1] * (inputs.ndim - 1)), flip(inputs), inputs)
