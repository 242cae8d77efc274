"""Persons in the frames of a stream: tracks them, and recognises their actions."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ptl_skel.deploy.runtime import Recognizer
from ptl_skel.deploy.runtime_stream import Stream
from ptl_skel.deploy.runtime_window import Window
from ptl_skel.errors import UserError
from ptl_skel.live.labels import MIN_PROBABILITY
from ptl_skel.pose import PersonTracker, Poses
from ptl_skel.skeletons import SkeletonLayout, map_joints

Floats = NDArray[np.float32]

_MIN_STEP = 1e-3  # seconds between two frames, even if their time stamps are equal


@dataclass(frozen=True)
class Settings:
    """Settings for recognition.

    Args:
        window: Seconds that a network for whole clips sees. None: 4; a causal network accepts
            nothing else, since it decides itself.
        stride: Predict at every `stride`-th frame; a causal network sees only these. None: 4, or
            the stride that the causal network was trained with.
        patience: Seconds after which a person who is not seen is forgotten.
        together: One prediction for all persons in the scene, for two-person actions.

    Raises:
        UserError: A number is not positive.
    """

    window: float | None = None
    stride: int | None = None
    patience: float = 1.0
    together: bool = False

    def __post_init__(self) -> None:
        if self.window is not None and not self.window > 0:
            raise UserError(f"--window must be positive, got {self.window}")
        if self.stride is not None and self.stride < 1:
            raise UserError(f"--stride must be >= 1, got {self.stride}")


@dataclass(frozen=True)
class FramePredictions:
    """The predictions at a frame.

    Args:
        numbers: Numbers of the persons in the frame, ``(N,)``; -1 for those who are not tracked
            (yet).
        probabilities: ``(K,)`` of each tracked person who has been recognised, including those who
            are hidden for a moment; by number, or under None for the whole scene.
        fresh: Whether they were computed at this frame; otherwise they are those of an earlier one.
    """

    numbers: NDArray[np.int64]
    probabilities: Mapping[Hashable, Floats]
    fresh: bool


class People:
    """Tracks persons in a stream, and recognises their actions.

    Args:
        model: A file from ``ptl-skel export``, with ``--stream`` for a causal network.
        layout: Joints of the pose estimator.
        settings: Settings for recognition.

    Attributes:
        class_names: Names of the K classes.
        layout: Joints of the network.
        min_probability: Threshold for assigning a label: that of the calibration, or 0.5.
        span: Maximum number of seconds that a prediction looks back; 0 if the network decides it.

    Raises:
        UserError: The file does not exist, was not exported, or is for 3D keypoints, the joints of
            the pose estimator cannot be mapped to those of the network, or a causal network is
            given a window.
    """

    def __init__(self, model: Path, layout: SkeletonLayout, settings: Settings) -> None:
        recognizer = _read(model)
        if recognizer.coordinates != 2:
            raise UserError(f"{model} is for 3D keypoints; videos give 2D keypoints")
        self.class_names = recognizer.class_names
        self.layout = SkeletonLayout.from_mapping(recognizer.metadata["layout"])
        self._joints = list(map_joints(layout, self.layout))
        calibration = recognizer.metadata.get("calibration") or {}
        self.min_probability: float = calibration.get("min_probability") or MIN_PROBABILITY
        causal = "stream" in recognizer.metadata
        if causal and settings.window is not None:
            raise UserError(f"--window has no effect on {model}, a causal network, which remembers "
                            "what it has seen; leave it out")
        window = settings.window or 4.0
        self._recognize: Window | Stream
        if causal:
            self._recognize = Stream(recognizer, settings.stride, settings.patience,
                                     settings.together)
        else:
            self._recognize = Window(recognizer, window, settings.patience,
                                     settings.together)
        self.span = 0.0 if causal else window
        self._every = 1 if causal else settings.stride or 4
        self._tracker = PersonTracker()
        self._frames = 0
        self._time = -np.inf
        self._last: Mapping[Hashable, Floats] = {}

    def add(self, time: float, poses: Poses, frame_size: tuple[int, int]) -> FramePredictions:
        """Adds a frame.

        Args:
            time: Time of the frame, seconds.
            poses: The persons in it, in pixels.
            frame_size: Height and width, pixels.
        """
        self._time = max(time, self._time + _MIN_STEP)
        numbers = self._tracker.update(poses.keypoints, poses.scores, poses.confidence)
        people: dict[Hashable, tuple[ArrayLike, ArrayLike]] = {
            int(number): (poses.keypoints[row, self._joints], poses.scores[row, self._joints])
            for row, number in enumerate(numbers) if number >= 0}
        self._recognize.add(self._time, people, frame_size)
        fresh = self._frames % self._every == 0
        self._frames += 1
        if fresh:
            self._last = self._recognize.recognize()
        return FramePredictions(numbers, self._last, fresh)


def _read(model: Path) -> Any:
    try:
        return Recognizer(model)
    except (FileNotFoundError, ValueError) as error:
        raise UserError(str(error)) from error
