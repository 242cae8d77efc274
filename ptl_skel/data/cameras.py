"""Cameras for 3D skeletons: project metres to the pixels that heatmaps are rendered from.

Stateless, batched, on any device, torch only. A camera is on a sphere around the persons of a clip:
with yaw 0 and pitch 0 it looks in the direction of the sensor. Keypoints are ``(N, M, T, V, 3)``,
their scores ``(N, M, T, V)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ptl_skel.data.transforms import constant, per_clip, turn
from ptl_skel.errors import UserError

NEAR = 0.05
"""Joints closer than this fraction of the persons' distance, or behind the camera, are missing."""
MIN_IN_VIEW = 0.8
"""A lower share of joints in view is treated as a mistake; NW-UCLA clips have at least 0.96."""
CHECKED = 64
"""Number of clips used to check whether a camera sees the persons."""

Axis = Literal["x", "y", "z", "-x", "-y", "-z"]


@dataclass(frozen=True)
class Camera:
    """Looks at the centre of all persons of a clip, from one place for the whole clip.

    Args:
        projection: ``perspective``; ``orthographic``, where distant joints are as large as near
            ones; or ``none``, which only rotates the persons, for representations of 3D.
        axes: Axes of the data that point to the right of the image, up, and away from the sensor.
            ``x y z`` is Kinect (NTU RGB+D, NW-UCLA), ``x -y z`` OpenCV and MediaPipe, ``x z y``
            data whose z is the height.
        yaw: Degrees by which the camera moves to its right around the persons; 90 is a side view.
        pitch: Degrees by which it moves up and looks down; -90 to 90.
        distance: From the persons' centre, in the unit of the data. None: the camera keeps the
            sensor's distance and direction, so that yaw 0 and pitch 0 give the sensor's image.
        focal: Focal length relative to the width of the image.
        frame_size: Height and width of the image, pixels.
        random_yaw: Largest change of the yaw in training, degrees; 180 is from anywhere.
        random_pitch: Largest change of the pitch in training, degrees.
        random_distance: Largest relative change of the distance; 0.2 is 80 to 120 %.
        test_yaws: Changes of the yaw at test time, degrees: one camera for each, whose class
            probabilities are averaged. Validation does not use them.
    """

    projection: Literal["perspective", "orthographic", "none"] = "perspective"
    axes: tuple[Axis, Axis, Axis] = ("x", "y", "z")
    yaw: float = 0.0
    pitch: float = 0.0
    distance: float | None = 3.0
    focal: float = 0.9
    frame_size: tuple[int, int] = (480, 640)
    random_yaw: float = 0.0
    random_pitch: float = 0.0
    random_distance: float = 0.0
    test_yaws: tuple[float, ...] = (0.0,)

    def check(self) -> None:
        """Checks the arguments; the command-line parser would hide errors of a constructor.

        Raises:
            UserError: One of them is out of range.
        """
        kinds = ("perspective", "orthographic", "none")
        if self.projection not in kinds:
            raise UserError(f"`projection` must be one of {', '.join(kinds)}, got "
                            f"{self.projection!r}")
        if sorted(axis[-1:] for axis in self.axes) != ["x", "y", "z"]:
            raise UserError("`axes` must name x, y and z once each, with or without a minus, got "
                            f"{' '.join(self.axes)}")
        if not all(map(math.isfinite, (self.yaw, *self.test_yaws))) or not self.test_yaws:
            raise UserError("`yaw` and `test_yaws` must be degrees, at least one at the test, got "
                            f"{self.yaw} and {list(self.test_yaws)}")
        if not -90 <= self.pitch <= 90:
            raise UserError(f"`pitch` must lie in -90..90, got {self.pitch}")
        for name in ("distance", "focal"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UserError(f"`{name}` must be positive, got {value}")
        if min(self.frame_size) < 1:
            raise UserError(f"`frame_size` must be a height and a width, got {self.frame_size}")
        for name in ("random_yaw", "random_pitch"):
            if not 0 <= getattr(self, name) <= 180:
                raise UserError(f"`{name}` must lie in 0..180, got {getattr(self, name)}")
        if not 0 <= self.random_distance < 1:
            raise UserError(f"`random_distance` must lie in 0..1, got {self.random_distance}")

    def project(self, keypoints: Tensor, scores: Tensor, extra_yaw: float = 0.0
                ) -> tuple[Tensor, Tensor]:
        """Projects joints to the image, without random changes of the camera.

        Args:
            keypoints: ``(N, M, T, V, 3)``.
            scores: ``(N, M, T, V)``.
            extra_yaw: Degrees added to the yaw.

        Returns:
            Pixels ``(N, M, T, V, 2)``, or rotated ``(N, M, T, V, 3)`` without a projection, and
            their scores: 0 also for joints behind the camera.
        """
        angles = keypoints.new_full((2, len(keypoints)), math.radians(self.yaw + extra_yaw))
        angles[1] = math.radians(self.pitch)
        return self._project(keypoints, scores, angles, keypoints.new_ones(len(keypoints)))

    def project_random(self, keypoints: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """The same in training, with a random place of the camera for each clip."""
        clips = len(keypoints)
        change = 2 * torch.rand(3, clips, dtype=keypoints.dtype, device=keypoints.device) - 1
        yaw = self.yaw + self.random_yaw * change[0]
        pitch = self.pitch + self.random_pitch * change[1]
        angles = torch.stack([yaw, pitch]) * (math.pi / 180)
        return self._project(keypoints, scores, angles, 1 + self.random_distance * change[2])

    def project_test_views(self, keypoints: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """The same from each of `test_yaws`, ``(N * views, ...)``; those of a clip in a row."""
        seen = [self.project(keypoints, scores, yaw) for yaw in self.test_yaws]
        pixels, visible = (torch.stack(each, 1).flatten(0, 1) for each in zip(*seen, strict=True))
        return pixels, visible

    def frame_sizes(self, keypoints: Tensor) -> Tensor:
        """Height and width of the image for each clip, ``(N, 2)``."""
        return constant(tuple(self.frame_size), keypoints.device).expand(len(keypoints), 2)

    def check_view(self, keypoints: Tensor, scores: Tensor, source: object) -> None:
        """Checks that it sees most joints: in the image, or within one image size of it.

        Args:
            keypoints: ``(N, M, T, V, 3)``.
            scores: ``(N, M, T, V)``.
            source: Where they come from, for the message.

        Raises:
            UserError: It does not, because the data is in another unit or has another origin.
        """
        if self.projection == "none":
            return
        pixels, visible = self.project(keypoints, scores)
        height, width = self.frame_size
        x, y = pixels.unbind(-1)
        near = (x > -width) & (x < 2 * width) & (y > -height) & (y < 2 * height) & (visible > 0)
        share = float(near.sum() / (scores > 0).sum().clamp_min(1))
        if share < MIN_IN_VIEW:
            raise UserError(
                f"the camera sees {100 * share:.0f} % of the joints of {source}. It expects "
                f"`distance` in the unit of the file, and the axes {' '.join(self.axes)}; without "
                "a distance, coordinates relative to the sensor")

    def _project(self, keypoints: Tensor, scores: Tensor, angles: Tensor, farther: Tensor
                 ) -> tuple[Tensor, Tensor]:
        """See `project`; angles are yaw and pitch in radians ``(2, N)``, `farther` a factor."""
        points = torch.stack([
            keypoints[..., "xyz".index(axis[-1])] * (-1 if axis[0] == "-" else 1)
            for axis in self.axes])  # (3, N, M, T, V)
        center = persons_center(points, scores)
        turned = rotate(points - center, angles[0], angles[1])
        if self.projection == "none":
            return torch.stack(turned, -1), scores
        if self.distance is None:
            x0, y0, distance = (per_clip(place * farther) for place in center.flatten(1))
        else:
            x0 = y0 = torch.zeros_like(per_clip(farther))
            distance = per_clip(self.distance * farther)
        x, y, depth = turned[0] + x0, turned[1] + y0, turned[2] + distance
        if self.projection == "orthographic":
            depth = distance.expand_as(depth)
        height, width = self.frame_size
        visible = (scores > 0) & (depth > NEAR * distance) & (distance > 0)
        scale = self.focal * width / torch.where(visible, depth, 1.0)
        pixels = torch.stack([width / 2 + x * scale, height / 2 - y * scale], -1)
        return torch.where(visible[..., None], pixels, 0.0), torch.where(visible, scores, 0.0)


def persons_center(points: Tensor, scores: Tensor) -> Tensor:
    """Mean of the joints that are not missing, over all persons and frames of each clip.

    Args:
        points: ``(C, N, M, T, V)``.
        scores: ``(N, M, T, V)``.

    Returns:
        ``(C, N, 1, 1, 1)``.
    """
    known = (scores > 0).to(points.dtype)
    number = known.sum((1, 2, 3), keepdim=True).clamp_min(1)
    return torch.where(known > 0, points, 0.0).sum((2, 3, 4), keepdim=True) / number


def rotate(points: Tensor, yaw: Tensor, pitch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Points as seen by a camera that moves to its right by `yaw`, then up by `pitch`.

    Args:
        points: Right, up and away from the origin, ``(3, N, M, T, V)``.
        yaw: Radians, ``(N,)``.
        pitch: Radians, ``(N,)``.
    """
    right, up, away = points
    right, away = turn(right, away, -yaw)
    up, away = turn(up, away, -pitch)
    return right, up, away
