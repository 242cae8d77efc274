"""Everything from keypoints to probabilities as one module, for export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ptl_skel.data.cameras import Camera
from ptl_skel.data.transforms import compact_box, crop_resize, drop_far, frame_box, split_clips
from ptl_skel.deploy.rendering import DenseForm, is_finite, make_dense
from ptl_skel.errors import UserError
from ptl_skel.representations import Representation


@dataclass(frozen=True)
class Views:
    """The views of a sample.

    Attributes:
        clip_len: Frames T of a clip.
        num_clips: Clips per sample; their frames follow each other.
        flip: Whether the horizontal flip of each clip is a view as well.
        camera: Projects 3D coordinates from each of its test viewpoints; None for 2D pixels.
        use_scores: Weight joints by their scores; otherwise each is only present or missing.
    """

    clip_len: int
    num_clips: int = 1
    flip: bool = False
    camera: Camera | None = None
    use_scores: bool = True

    @property
    def coordinates(self) -> int:
        """Number of coordinates of each joint: 2 or 3."""
        return 2 if self.camera is None else 3

    @property
    def number(self) -> int:
        """Number of inputs of the network per sample."""
        cameras = 1 if self.camera is None else len(self.camera.test_yaws)
        return cameras * self.num_clips * (1 + self.flip)


class Recognition(nn.Module):
    """Camera, box, resizing, rendering, network and the mean of the views.

    Args:
        classifier: Inputs ``(N, C, T, H, W)`` to logits ``(N, K)``.
        representation: Makes its inputs.
        size: Height and width of the maps, pixels.
        views: The views of a sample.

    Raises:
        UserError: The representation or the camera has no export form.
    """

    image: Tensor

    def __init__(self, classifier: nn.Module, representation: Representation,
                 size: tuple[int, int], views: Views) -> None:
        super().__init__()
        if views.camera is not None and views.camera.projection == "none":
            raise UserError("networks on 3D coordinates cannot be exported; those on heatmaps that "
                            "a camera projects can")
        self.classifier = classifier
        self.render: DenseForm = make_dense(representation, size)
        self.size = size
        self.views = views
        self.find_box = compact_box if representation.cropped else frame_box

        if views.camera is not None:
            self.register_buffer("image", torch.tensor(views.camera.frame_size))

    def forward(self, keypoints: Tensor, scores: Tensor, frame_size: Tensor | None = None
                ) -> Tensor:
        """Probabilities ``(N, K)``.

        Args:
            keypoints: Pixels of the frame, ``(N, M, T, V, 2)`` for the frames of all clips; with a
                camera, 3D coordinates ``(N, M, T, V, 3)``. A joint that is not finite is missing.
            scores: ``(N, M, T, V)``, 0 for missing joints.
            frame_size: Height and width of the frame, ``(N, 2)``; None with a camera.
        """
        keypoints, scores = drop_missing(keypoints, scores, use_scores=self.views.use_scores)
        if self.views.camera is not None:
            keypoints, scores = self.views.camera.project_test_views(keypoints, scores)
            frame_size = self.image.expand(keypoints.shape[0], 2)
        else:
            assert frame_size is not None
            keypoints, scores = drop_far(keypoints, scores, frame_size)
        box = self.find_box(keypoints, scores, frame_size)
        keypoints = crop_resize(keypoints, box, self.size)
        if self.views.num_clips > 1:
            keypoints, scores = (
                split_clips(each, self.views.num_clips) for each in (keypoints, scores))
        inputs = self.render(keypoints, scores)
        if self.views.flip:
            flipped = self.render.flip(inputs, keypoints, scores)
            inputs = torch.stack([inputs, flipped], 1).flatten(0, 1)
        probabilities: Tensor = self.classifier(inputs).softmax(1)
        if self.views.number > 1:
            probabilities = probabilities.unflatten(0, (-1, self.views.number)).mean(1)
        return probabilities


class Ensemble(nn.Module):
    """The weighted mean of the probabilities of several networks.

    Args:
        networks: They see the same frames, and know the same classes.
        shares: The weight of each; their sum is 1.
    """

    def __init__(self, networks: Sequence[Recognition], shares: Sequence[float]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.shares = list(shares)
        self.views = networks[0].views
        """Of the first network; the others may flip differently."""

    def forward(self, keypoints: Tensor, scores: Tensor, frame_size: Tensor | None = None
                ) -> Tensor:
        """See `Recognition.forward`."""
        made = [share * network(keypoints, scores, frame_size)
                for share, network in zip(self.shares, self.networks, strict=True)]
        return torch.stack(made).sum(0)


def drop_missing(keypoints: Tensor, scores: Tensor, *, use_scores: bool = True
                 ) -> tuple[Tensor, Tensor]:
    """Keypoints and scores, set to 0 for joints that are missing or not finite.

    Scores are at most 1; without `use_scores` they are 1 for all other joints.
    """
    known = is_finite(keypoints).all(-1) & is_finite(scores) & (scores > 0)
    scores = torch.where(known, scores.clamp(max=1) if use_scores else 1.0, 0.0)
    return torch.where(known[..., None], keypoints, 0.0), scores
