"""The interface of a pose estimator, and the poses in an image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ptl_skel.errors import UserError
from ptl_skel.pose.video import Frame, Image
from ptl_skel.skeletons import SkeletonLayout

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Poses:
    """The persons in an image; N = 0 if there is nobody.

    Args:
        keypoints: ``(N, V, 2)``: x and y in pixels of the image.
        scores: Confidence of each joint in 0..1, ``(N, V)``; 0 for a joint that was not found.
        boxes: Left, top, right and bottom in pixels of the image, ``(N, 4)``.
        confidence: Confidence of each person in 0..1, ``(N,)``.
    """

    keypoints: Floats
    scores: Floats
    boxes: Floats
    confidence: Floats

    def __len__(self) -> int:
        """Number of persons N."""
        return len(self.keypoints)

    @classmethod
    def from_joints(cls, keypoints: Floats, scores: Floats) -> Poses:
        """Persons from an estimator that gives only joints.

        The box surrounds all joints of a person; the confidence is the mean of their scores.
        """
        corners = np.concatenate([keypoints.min(1), keypoints.max(1)], 1)
        return cls(keypoints, scores, corners, scores.mean(1))

    @classmethod
    def nobody(cls, num_joints: int) -> Poses:
        """No person, N = 0."""
        shapes = (0, num_joints, 2), (0, num_joints), (0, 4), (0,)
        return cls(*(np.zeros(shape, np.float32) for shape in shapes))


class PoseEstimator(Protocol):
    """Finds the joints of all persons in an image.

    An estimator may also have an attribute `single_threaded`: if it is true, `ptl-skel live` may
    run it on a core of its own.
    """

    @property
    def layout(self) -> SkeletonLayout:
        """The joints that it finds, in the order of its outputs."""

    @property
    def preferred_side(self) -> int | None:
        """Longer side of its input images, px; None for the size of the video.

        Frames are scaled when they are decoded, which is cheaper than scaling them here.
        """

    def __call__(self, image: NDArray[np.uint8]) -> Poses:
        """The persons in an RGB image ``(H, W, 3)``, of any size."""


def find_poses(estimator: PoseEstimator, frame: Frame, image: Image | None = None) -> Poses:
    """The persons in a frame of a video, in pixels of the frame.

    Scores are clipped to 0..1; joints at positions that are not finite get score 0.

    Args:
        estimator: Finds them.
        frame: The frame.
        image: The frame as an image for the estimator, if it already exists.

    Raises:
        UserError: The estimator returns arrays with other shapes than those of its layout.
    """
    if image is None:
        image = frame.to_image(estimator.preferred_side)
    poses = _checked(estimator(image), estimator)
    height, width = frame.size
    scale = np.array([width / image.shape[1], height / image.shape[0]], np.float32)
    return replace(poses, keypoints=poses.keypoints * scale, boxes=poses.boxes * np.tile(scale, 2))


def _checked(poses: Poses, estimator: PoseEstimator) -> Poses:
    """The poses as finite numbers of 32 bits."""
    joints, persons = estimator.layout.num_joints, len(poses)
    arrays = []
    for name, shape in (("keypoints", (persons, joints, 2)), ("scores", (persons, joints)),
                        ("boxes", (persons, 4)), ("confidence", (persons,))):
        array = np.asarray(getattr(poses, name), np.float32)
        if array.shape != shape:
            raise UserError(f"the pose estimator {type(estimator).__name__} returned `{name}` of "
                            f"the shape {array.shape}, expected {shape}: {persons} persons with "
                            f"the {joints} joints of layout {estimator.layout.name}")
        arrays.append(array)
    keypoints, scores, boxes, confidence = arrays
    finite = np.isfinite(keypoints).all(-1) & np.isfinite(scores)
    return Poses(np.where(finite[..., None], keypoints, 0),
                 np.where(finite, np.clip(scores, 0, 1), 0), np.nan_to_num(boxes),
                 np.clip(np.nan_to_num(confidence), 0, 1))
