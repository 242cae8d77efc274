"""Exported networks without torch: needs only this file, `onnxruntime` and `numpy`.

It imports nothing else of its package, so it may be copied into other programs::

    recognizer = Recognizer("model.onnx")
    probabilities = recognizer(keypoints, scores, frame_size)
    print(recognizer.class_names[probabilities.argmax()])

The keypoints of a clip are ``(M, T, V, 2)``: persons, frames, joints, coordinates; its scores are
``(M, T, V)``. For streams, copy `runtime_window` or, for causal networks, `runtime_stream` as well.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import ArrayLike, NDArray

METADATA = "ptl_skel"
"""Key of the metadata that describes the network, as JSON."""
FORMAT = 1
"""Version of that description, and of the inputs and outputs of a file."""
STREAM_FORMAT = 2
"""The same for files for streams. Those of version 1 had other states."""
SEED = 255
"""Seed of the random frames, the same as at test time (and in PYSKL's test sampler)."""
FAR = 10.0
"""Frame sizes from the centre of the frame, beyond which a joint is missing: the rule of
`ptl_skel.data.transforms.drop_far`."""

Floats = NDArray[np.float32]


def open_session(path: str | Path, threads: int = 1) -> tuple[Any, dict[str, Any]]:
    """An exported file in ONNX Runtime, and its description of the network.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It was not written by `ptl-skel export`, or by another version.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} does not exist; `ptl-skel export` writes such files")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(str(path), options,
                                               providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a different exception for each kind of damage
        raise ValueError(f"{path} is not an ONNX file that this version of onnxruntime reads: "
                         f"{str(error).splitlines()[0]}") from error
    described = session.get_modelmeta().custom_metadata_map.get(METADATA)
    if described is None:
        raise ValueError(f"{path} was not written by `ptl-skel export`")
    metadata: dict[str, Any] = json.loads(described)
    found, read = metadata.get("format"), STREAM_FORMAT if "stream" in metadata else FORMAT
    if found != read:
        raise ValueError(f"{path} was written by version {metadata.get('ptl_skel')} of ptl_skel "
                         f"in format {found}, but this runtime reads format {read}; export it "
                         "again")
    return session, metadata


def as_floats(what: str, values: ArrayLike) -> Floats:
    """Values as a new array.

    Raises:
        ValueError: They are not numbers, or do not form an array.
    """
    try:
        with np.errstate(over="ignore"):  # too large for float32: infinite, so missing
            return np.array(values, np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} must be an array of numbers: {error}") from error


def check_frame_size(frame_size: ArrayLike) -> tuple[float, float]:
    """Height and width of a frame.

    Raises:
        ValueError: They are not two positive numbers.
    """
    size = as_floats("a frame size", frame_size)
    if size.shape != (2,) or not (np.isfinite(size) & (size > 0)).all():
        raise ValueError("a frame size is a positive height and width, got "
                         f"{np.asarray(frame_size).tolist()}")
    return float(size[0]), float(size[1])


def check_time(time: float, last: float) -> float:
    """The time of the next frame of a stream.

    Raises:
        ValueError: It is not a number, or not later than that of the last frame.
    """
    if not is_number(time):
        raise ValueError(f"the time of a frame is a number of seconds, got {type(time).__name__}")
    if not (np.isfinite(time) and time > last):
        raise ValueError(f"frames must come in order of time; got {time} after {last}")
    return float(time)


def check_positive(**numbers: float) -> None:
    """Checks arguments by name.

    Raises:
        ValueError: One is not a positive number.
    """
    for name, value in numbers.items():
        if not (is_number(value) and value > 0):
            raise ValueError(f"`{name}` must be a positive number, got {value!r}")


def is_number(value: object) -> bool:
    """Whether something is a single number, and not text or a boolean."""
    number = np.asarray(value)
    return not number.shape and number.dtype.kind in "iuf"


def drop_missing(keypoints: Floats, scores: Floats, frame_size: tuple[float, float]) -> None:
    """Sets missing joints to 0, in place; scores above 1 count as 1.

    A joint is missing if its score is 0, if a number is not finite, or if it lies more than `FAR`
    frame sizes from the centre of the frame.
    """
    height, width = frame_size
    with np.errstate(over="ignore", invalid="ignore"):
        away = np.abs(keypoints - np.array([width, height], np.float32) / 2).max(-1)
        present = (away <= np.float32(FAR * max(frame_size))) & np.isfinite(scores) & (scores > 0)
    keypoints[~present] = 0
    scores[~present] = 0
    np.minimum(scores, 1, out=scores)


def sample_frames(num_frames: int, clip_len: int, num_clips: int = 1) -> NDArray[np.int64]:
    """The frames of a clip that a network sees, spread over all of it, ``(num_clips * clip_len,)``.

    The rule of `ptl_skel.data.sampling.sample_test`, which is that of PYSKL (arXiv 2104.13586).

    Raises:
        ValueError: There are no frames.
    """
    if num_frames < 1:
        raise ValueError("there are no frames to sample from")
    random = np.random.RandomState(SEED)
    clips = np.arange(num_clips)
    starts = clips if num_frames < num_clips else clips * num_frames // num_clips
    sampled = []
    for start in starts:
        random.random_sample()  # the reference samples a number here that it does not use
        if num_frames < clip_len:
            frames = (start + np.arange(clip_len)) % num_frames
        elif num_frames < 2 * clip_len:
            gaps = np.zeros(clip_len + 1, np.int64)
            gaps[random.choice(clip_len + 1, num_frames - clip_len, replace=False)] = 1
            frames = np.arange(clip_len) + np.cumsum(gaps)[:-1]
        else:
            edges = np.arange(clip_len + 1) * num_frames // clip_len
            frames = edges[:-1] + random.randint(np.diff(edges))
        sampled.append(frames)
    return np.concatenate(sampled).astype(np.int64)


class Recognizer:
    """An exported network; takes keypoints of clips.

    Args:
        path: A file written by `ptl-skel export`.
        threads: CPU threads.

    Attributes:
        metadata: The description of the network in the file.
        class_names: K names, in the order of the probabilities.
        joint_names: V names, in the order of the keypoints.
        coordinates: Number of coordinates of each joint: 2 (pixels) or 3.
        num_frames: Number of frames that the network takes; `sample` chooses them.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It was not written by `ptl-skel export`, or by another version.
    """

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        self.session, self.metadata = open_session(path, threads)
        self.class_names: list[str] = self.metadata["class_names"]
        self.joint_names: list[str] = self.metadata["layout"]["joints"]
        self.coordinates: int = self.metadata["coordinates"]
        self.num_frames: int = self.metadata["clip_len"] * self.metadata["num_clips"]
        self._inputs = {each.name for each in self.session.get_inputs()}

    def sample(self, num_frames: int) -> NDArray[np.int64]:
        """The frames of a clip that the network sees, ``(self.num_frames,)``."""
        return sample_frames(num_frames, self.metadata["clip_len"], self.metadata["num_clips"])

    def __call__(self, keypoints: ArrayLike, scores: ArrayLike, frame_size: ArrayLike) -> Floats:
        """Probabilities ``(K,)`` of a clip of any length.

        Args:
            keypoints: Pixels, ``(M, T, V, 2)``, or ``(T, V, 2)`` for one person. A joint that is
                NaN is missing.
            scores: Scores of the joints, ``(M, T, V)``, 0 for missing ones.
            frame_size: Height and width of the frame, pixels.

        Raises:
            ValueError: The shapes do not fit.
        """
        points, weights = as_floats("keypoints", keypoints), as_floats("scores", scores)
        if points.ndim == 3:
            points, weights = points[None], weights[None]
        if points.ndim != 4:
            raise ValueError("keypoints of a clip are (persons, frames, joints, coordinates), got "
                             f"{points.shape}")
        frames = self.sample(points.shape[1])
        self.check(points, weights)
        size = check_frame_size(frame_size)
        probabilities = self.run(points[None, :, frames], weights[None, :, frames], [size])
        first: Floats = probabilities[0]
        return first

    def run(self, keypoints: Floats, scores: Floats, frame_size: ArrayLike) -> Floats:
        """Probabilities ``(N, K)`` of sampled clips.

        Args:
            keypoints: ``(N, M, self.num_frames, V, 2)``.
            scores: ``(N, M, self.num_frames, V)``.
            frame_size: ``(N, 2)``.

        Raises:
            ValueError: The shapes do not fit, or a frame size is not positive.
        """
        if "stream" in self.metadata:
            raise ValueError("the file is for streams; `ptl_skel.deploy.runtime_stream` runs it")
        self.check(keypoints, scores)
        if keypoints.ndim != 5 or keypoints.shape[2] != self.num_frames or not keypoints.shape[1]:
            raise ValueError(f"expected keypoints (clips, persons, {self.num_frames} frames, "
                             f"joints, coordinates), got {keypoints.shape}")
        sizes = as_floats("frame sizes", frame_size)
        if sizes.shape != (len(keypoints), 2) or not (np.isfinite(sizes) & (sizes > 0)).all():
            raise ValueError("expected a positive height and width of the frame for each of "
                             f"{len(keypoints)} clips, got {np.asarray(frame_size).tolist()}")
        feed = {"keypoints": keypoints, "scores": scores, "frame_size": sizes}
        outputs = self.session.run(["probabilities"], {name: feed[name] for name in self._inputs})
        probabilities: Floats = outputs[0]
        return probabilities

    def check(self, keypoints: Floats, scores: Floats) -> None:
        """Checks joints and coordinates of ``(..., V, C)`` and ``(..., V)``.

        Raises:
            ValueError: They are not those of the network.
        """
        expected = len(self.joint_names), self.coordinates
        if keypoints.shape[-2:] != expected:
            layout = self.metadata["layout"]["name"]
            raise ValueError(f"the network takes {expected[0]} joints (layout {layout}) of "
                             f"{expected[1]} coordinates, got keypoints of the shape "
                             f"{keypoints.shape}")
        if scores.shape != keypoints.shape[:-1]:
            raise ValueError(f"expected scores of the shape {keypoints.shape[:-1]}, got "
                             f"{scores.shape}")

    def read_people(self, people: Mapping[Hashable, tuple[ArrayLike, ArrayLike]]
                    ) -> dict[Hashable, tuple[Floats, Floats]]:
        """Keypoints ``(V, C)`` and scores ``(V,)`` of the persons in a frame, as new arrays.

        Raises:
            ValueError: They are not those of the network.
        """
        if not isinstance(people, Mapping):
            raise ValueError("the persons in a frame are a dictionary of pairs of keypoints and "
                             f"scores by track, got {type(people).__name__}")
        read = {}
        for track, person in people.items():
            if not isinstance(person, (tuple, list)) or len(person) != 2:
                raise ValueError("a person in a frame is a pair of keypoints and scores, got "
                                 f"{type(person).__name__}")
            points, weights = as_floats("keypoints", person[0]), as_floats("scores", person[1])
            if points.ndim != 2:
                raise ValueError("keypoints of a person in a frame are (joints, coordinates), got "
                                 f"{points.shape}")
            self.check(points, weights)
            read[track] = points, weights
        return read
