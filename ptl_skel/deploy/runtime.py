"""Exported networks without torch: this file, `onnxruntime` and `numpy` are all that is needed.

It imports nothing else of its package, so it may be copied into other programs::

    recognizer = Recognizer("model.onnx")
    probabilities = recognizer(keypoints, scores, frame_size)   # of a clip
    print(recognizer.class_names[probabilities.argmax()])

    window = Window(recognizer, seconds=4)                      # a stream, frame by frame
    window.add(time, {track: (keypoints, scores)}, frame_size)  # of each person
    print(window.recognize())                                   # {track: probabilities}

Keypoints are ``(M, T, V, 2)`` of a clip: persons, frames, joints, coordinates; scores are
``(M, T, V)``. Of a person in a frame they are ``(V, 2)`` and ``(V,)``.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import ArrayLike, NDArray

METADATA = "ptl_skel"
"""Key under which a file describes its network, as JSON."""
FORMAT = 1
"""Version of that description."""
SEED = 255
"""Of the random frames, the seed of training (and of PYSKL's test sampler)."""
MOST_FRAMES = 4096
"""Frames that a window keeps at most: 34 seconds of 120 frames."""

Floats = NDArray[np.float32]


def open_session(path: str | Path, threads: int = 1) -> tuple[Any, dict[str, Any]]:
    """An exported file in ONNX Runtime, and what it says of its network.

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
    except Exception as error:  # onnxruntime has an exception of its own for each kind of damage
        raise ValueError(f"{path} is not an ONNX file that this version of onnxruntime reads: "
                         f"{str(error).splitlines()[0]}") from error
    described = session.get_modelmeta().custom_metadata_map.get(METADATA)
    if described is None:
        raise ValueError(f"{path} was not written by `ptl-skel export`")
    metadata: dict[str, Any] = json.loads(described)
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path} was written by version {metadata.get('ptl_skel')} of ptl_skel, "
                         "which this runtime does not read; export it again")
    return session, metadata


def sample_frames(num_frames: int, clip_len: int, num_clips: int = 1) -> NDArray[np.int64]:
    """Frames that a network sees of a clip, spread over all of it, ``(num_clips * clip_len,)``.

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
        random.random_sample()  # the reference takes a number here that it does not use
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
        path: A file of `ptl-skel export`.
        threads: CPU threads.

    Attributes:
        metadata: All that the file says of its network.
        class_names: K names, in the order of the probabilities.
        joint_names: V names, in the order of the keypoints.
        coordinates: Of each joint: 2 (pixels), or 3.
        num_frames: Frames that the network takes, `sample` chooses them.

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
        """Which of the frames of a clip the network sees, ``(self.num_frames,)``."""
        return sample_frames(num_frames, self.metadata["clip_len"], self.metadata["num_clips"])

    def __call__(self, keypoints: ArrayLike, scores: ArrayLike, frame_size: ArrayLike) -> Floats:
        """Probabilities ``(K,)`` of a clip of any length.

        Args:
            keypoints: Pixels, ``(M, T, V, 2)``; ``(T, V, 2)`` of one person. A joint that is NaN
                is missing.
            scores: Of the joints, ``(M, T, V)``, 0 for missing ones.
            frame_size: Height and width of the frame, pixels.

        Raises:
            ValueError: The shapes do not fit.
        """
        points, weights = np.asarray(keypoints, np.float32), np.asarray(scores, np.float32)
        if points.ndim == 3:
            points, weights = points[None], weights[None]
        if points.ndim != 4:
            raise ValueError("keypoints of a clip are (persons, frames, joints, coordinates), got "
                             f"{points.shape}")
        frames = self.sample(points.shape[1])
        self.check(points, weights)
        sizes = np.asarray(frame_size, np.float32)[None]
        probabilities = self.run(points[None, :, frames], weights[None, :, frames], sizes)
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
        sizes = np.asarray(frame_size, np.float32)
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


class Window:
    """The last seconds of a stream, for a network that sees clips.

    Frames are spread over the window, from the first one in it that shows the person; where a
    person is not seen, the joints are missing. Memory is bounded: frames leave the window, and a
    person who is not seen for `patience` seconds is forgotten.

    Args:
        recognizer: The network.
        seconds: Length of the window.
        patience: Seconds after which a person who is not seen is forgotten.
        together: Recognise one action of all persons in the scene; else one of each person.

    Raises:
        ValueError: A number is not positive.
    """

    def __init__(self, recognizer: Recognizer, seconds: float = 4.0, patience: float = 1.0,
                 together: bool = False) -> None:
        if not (seconds > 0 and patience > 0):
            raise ValueError(f"`seconds` and `patience` must be positive, got {seconds} and "
                             f"{patience}")
        self.recognizer = recognizer
        self.seconds = seconds
        self.patience = patience
        self.together = together
        self.frame_size = (1.0, 1.0)
        self._frames: deque[tuple[float, dict[Hashable, tuple[Floats, Floats]]]] = deque(
            maxlen=MOST_FRAMES)
        self._seen: dict[Hashable, float] = {}

    def reset(self) -> None:
        """Forgets all frames and persons, e.g. for another stream."""
        self._frames.clear()
        self._seen.clear()

    def add(self, time: float, people: Mapping[Hashable, tuple[ArrayLike, ArrayLike]],
            frame_size: tuple[float, float]) -> None:
        """Adds a frame. One of another size starts anew, since pixels are others.

        Args:
            time: Of the frame, seconds; frames come in order.
            people: Keypoints ``(V, 2)`` and scores ``(V,)`` of each person, by the number of its
                track. None in an empty frame.
            frame_size: Height and width of the frame, pixels.

        Raises:
            ValueError: A shape does not fit, or the time is not later than that of the last frame.
        """
        if not np.isfinite(time) or (self._frames and time <= self._frames[-1][0]):
            last = self._frames[-1][0] if self._frames else None
            raise ValueError(f"frames must come in order of time; got {time} after {last}")
        known: dict[Hashable, tuple[Floats, Floats]] = {}
        for track, (keypoints, scores) in people.items():
            points, weights = np.array(keypoints, np.float32), np.array(scores, np.float32)
            if points.ndim != 2:
                raise ValueError("keypoints of a person in a frame are (joints, coordinates), got "
                                 f"{points.shape}")
            self.recognizer.check(points, weights)
            known[track] = points, weights
        height, width = (float(side) for side in frame_size)
        if (height, width) != self.frame_size:
            self.reset()
            self.frame_size = height, width
        self._frames.append((time, known))
        while self._frames[0][0] <= time - self.seconds:
            self._frames.popleft()
        self._seen.update(dict.fromkeys(known, time))
        self._seen = {track: seen for track, seen in self._seen.items()
                      if time - seen <= self.patience}

    @property
    def tracks(self) -> list[Hashable]:
        """Persons in the window that are not forgotten."""
        found: dict[Hashable, None] = {}
        for _, people in self._frames:
            found.update(dict.fromkeys(people))
        return [track for track in found if track in self._seen]

    def recognize(self) -> dict[Hashable, Floats]:
        """Probabilities ``(K,)`` by track; under None if persons are recognised together.

        Empty where nobody is seen.
        """
        tracks = self.tracks
        if not tracks:
            return {}
        groups = [tracks] if self.together else [[track] for track in tracks]
        clips = [self._clip(group) for group in groups]
        keypoints, scores = (np.stack(each) for each in zip(*clips, strict=True))
        probabilities = self.recognizer.run(keypoints, scores, [self.frame_size] * len(groups))
        return dict(zip([None] if self.together else tracks, probabilities, strict=True))

    def _clip(self, tracks: list[Hashable]) -> tuple[Floats, Floats]:
        """Sampled frames of some persons, ``(M, T, V, C)`` and ``(M, T, V)``."""
        first = next(place for place, (_, people) in enumerate(self._frames)
                     if not people.keys().isdisjoint(tracks))
        frames = list(self._frames)[first:]
        sampled = self.recognizer.sample(len(frames))
        shape = (len(tracks), len(sampled), len(self.recognizer.joint_names),
                 self.recognizer.coordinates)
        keypoints, scores = np.zeros(shape, np.float32), np.zeros(shape[:-1], np.float32)
        for place, frame in enumerate(sampled):
            people = frames[frame][1]
            for person, track in enumerate(tracks):
                if track in people:
                    keypoints[person, place], scores[person, place] = people[track]
        return keypoints, scores
