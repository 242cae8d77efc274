"""Exported causal networks on streams, without torch: a person is recognised frame by frame.

Besides `onnxruntime` and `numpy` it needs only `ptl_skel.deploy.runtime`; both files may be copied
into other programs::

    stream = Stream(Recognizer("stream.onnx"))
    stream.add(time, {track: (keypoints, scores)}, frame_size)  # for each person in a frame
    print(stream.recognize())                                   # {track: probabilities}

Memory does not grow: for each person, only the states of the network and the box are kept, and a
person who is not seen for `patience` seconds is forgotten.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

try:
    from ptl_skel.deploy import runtime
except ModuleNotFoundError:  # copies in the same folder
    import runtime  # type: ignore

Floats = runtime.Floats

PADDING = 0.25
"""How much wider than the persons a box is on each side, relative to its half size."""
MIN_BOX = 10.0
"""Persons smaller than this many pixels do not move it."""
FOLLOWING = 0.1
"""Fraction of the way to the persons that its centre moves in a frame."""
SHRINKING = 0.05
"""Fraction by which it approaches a smaller size in a frame; it grows at once."""
COUNTERS = ("new_mean", "new_seen")
"""States that are 0 when a stream starts: the mean of the outputs so far, and their number."""


class FollowBox:
    """The square around persons that can be computed at each frame of a stream.

    It is the box that networks are trained with; see `ptl_skel.data.transforms.follow_box`.

    Args:
        frame_size: Height and width of the frame, pixels.
    """

    def __init__(self, frame_size: tuple[float, float]) -> None:
        height, width = frame_size
        self.center: Floats = np.array([width / 2, height / 2], np.float32)
        self.half = np.float32(max(height, width)) / 2
        self._known = False

    def update(self, keypoints: Floats, scores: Floats) -> None:
        """Moves on to the next frame.

        Args:
            keypoints: Pixels, ``(..., V, 2)``.
            scores: ``(..., V)``; joints of score 0 are ignored.
        """
        joints = keypoints[scores > 0]
        if not len(joints):
            return
        low, high = joints.min(0), joints.max(0)
        extent = (high - low).max()
        if extent < MIN_BOX:
            return
        center = np.asarray((low + high) / 2, np.float32)
        half = extent / 2 * np.float32(1 + PADDING)
        if self._known:
            center = np.asarray(self.center + FOLLOWING * (center - self.center), np.float32)
            half = max(half, self.half + np.float32(SHRINKING) * (half - self.half))
        self.center, self.half, self._known = center, half, True

    def relative(self, keypoints: Floats) -> Floats:
        """Keypoints relative to the box, which becomes 0 to 1."""
        return np.asarray((keypoints - (self.center - self.half)) / (2 * self.half), np.float32)


@dataclass
class _Track:
    """The state of a person, or of a group that is recognised together.

    `past` holds the last rows of each output of the network that is an input of later frames.
    """

    box: FollowBox
    past: dict[str, deque[Floats]]
    seen: float
    frames: list[tuple[Floats, Floats]] = field(default_factory=list)
    probabilities: Floats | None = None


class Stream:
    """A stream for a causal network; takes frames as `Window` does.

    Args:
        recognizer: With a file from ``ptl-skel export --stream``.
        stride: Use every `stride`-th frame. None: as in training, for about 30 frames per second.
        patience: Seconds after which a person who is not seen is forgotten.
        together: Recognise one action for all persons in the scene instead of one for each person.

    Attributes:
        chunk: Number of used frames between two predictions.

    Raises:
        ValueError: The file is not one for streams, or a number is not positive.
    """

    def __init__(self, recognizer: runtime.Recognizer, stride: int | None = None,
                 patience: float = 1.0, together: bool = False) -> None:
        described = recognizer.metadata.get("stream")
        if described is None:
            raise ValueError("the file is for whole clips; `ptl-skel export --stream` writes "
                             "those for streams")
        self.recognizer = recognizer
        self.stride: int = described["stride"] if stride is None else stride
        runtime.check_positive(stride=self.stride, patience=patience)
        if self.stride != int(self.stride):
            raise ValueError(f"`stride` must be a whole number, got {stride}")
        self.chunk: int = described["chunk"]
        self.patience = patience
        self.together = together
        self._links: list[dict[str, Any]] = described["states"]
        self._outputs = [each.name for each in recognizer.session.get_outputs()]
        self._empty = self._settle(described["settle"])
        self.reset()

    def reset(self) -> None:
        """Forgets all persons, e.g. for another stream."""
        self._tracks: dict[Hashable, _Track] = {}
        self._frame_size: tuple[float, float] | None = None
        self._time = -np.inf
        self._skip = 0

    def add(self, time: float, people: Mapping[Hashable, tuple[ArrayLike, ArrayLike]],
            frame_size: tuple[float, float]) -> None:
        """Adds a frame. If its size differs, the stream starts again, since pixels change.

        Args:
            time: Time of the frame, seconds; frames come in order.
            people: Keypoints ``(V, 2)`` in pixels and scores ``(V,)`` of each person, by track id.
                Empty for a frame without persons. A joint that is NaN is missing.
            frame_size: Height and width of the frame, pixels.

        Raises:
            ValueError: A shape does not fit, a frame size is not positive, or the time is not
                later than that of the last frame.
        """
        time = runtime.check_time(time, self._time)
        size = runtime.check_frame_size(frame_size)
        known = self.recognizer.read_people(people)
        for points, weights in known.values():
            runtime.drop_missing(points, weights, size)
        if size != self._frame_size:
            self.reset()
            self._frame_size = size
        self._time = time
        self._skip, taken = (self._skip + 1) % self.stride, self._skip == 0
        groups: dict[Hashable, list[tuple[Floats, Floats]]] = {
            track: [person] for track, person in known.items()}
        if self.together:
            groups = {None: list(known.values())} if known else {}
        self._tracks = {name: track for name, track in self._tracks.items()
                        if time - track.seen <= self.patience}
        for name in groups:
            if name not in self._tracks and taken:
                self._tracks[name] = _Track(FollowBox(size), _copy(self._empty), time)
            if name in self._tracks:
                self._tracks[name].seen = time
        if taken:
            self._add_frame(groups)

    def recognize(self) -> dict[Hashable, Floats]:
        """Probabilities ``(K,)`` by track; under None if persons are recognised together.

        A person is not included until the network has seen `chunk` frames.
        """
        return {name: track.probabilities for name, track in self._tracks.items()
                if track.probabilities is not None}

    def _settle(self, frames: int) -> dict[str, deque[Floats]]:
        """The initial states of a stream: those after frames without persons."""
        shapes = {each.name: each.shape[1:] for each in self.recognizer.session.get_inputs()}
        track = _Track(FollowBox((1, 1)), {}, 0)
        for link in self._links:
            longest = max(each["delay"] for each in self._links if each["output"] == link["output"])
            zeros = np.zeros((1, *shapes[link["input"]]), np.float32)
            track.past[link["output"]] = deque([zeros] * longest, longest)
        begun = _copy(track.past)
        joints = len(self.recognizer.joint_names)
        nobody = np.zeros((1, joints, 2), np.float32), np.zeros((1, joints), np.float32)
        for _ in range(frames // self.chunk):
            track.frames = [nobody] * self.chunk
            self._run([track])
        return track.past | {name: begun[name] for name in COUNTERS}

    def _add_frame(self, groups: Mapping[Hashable, list[tuple[Floats, Floats]]]) -> None:
        """Adds a frame to each track, and runs those whose chunk is full."""
        joints = len(self.recognizer.joint_names)
        nobody = [(np.zeros((joints, 2), np.float32), np.zeros(joints, np.float32))]
        for name, track in self._tracks.items():
            points, weights = (np.stack(each) for each in zip(*groups.get(name, nobody),
                                                              strict=True))
            track.box.update(points, weights)
            track.frames.append((track.box.relative(points), weights))
        ready = [track for track in self._tracks.values() if len(track.frames) == self.chunk]
        if ready:
            self._run(ready)

    def _run(self, tracks: Sequence[_Track]) -> None:
        feed = {name: _stack([[frame[part] for frame in track.frames] for track in tracks])
                for part, name in enumerate(("keypoints", "scores"))}
        for link in self._links:
            rows = [track.past[link["output"]][-link["delay"]] for track in tracks]
            feed[link["input"]] = rows[0] if len(rows) == 1 else np.concatenate(rows)
        outputs = dict(zip(self._outputs, self.recognizer.session.run(None, feed), strict=True))
        probabilities = outputs.pop("probabilities")
        for row, track in enumerate(tracks):
            track.probabilities = probabilities[row]
            for name, values in outputs.items():
                track.past[name].append(values[row : row + 1])
            track.frames = []


def _copy(past: Mapping[str, deque[Floats]]) -> dict[str, deque[Floats]]:
    return {name: rows.copy() for name, rows in past.items()}


def _stack(frames: Sequence[Sequence[Floats]]) -> Floats:
    """Frames ``(M, V, ...)`` of tracks as ``(N, M, P, V, ...)``; absent persons have score 0."""
    persons = max(len(frame) for row in frames for frame in row)
    stacked = np.zeros((len(frames), persons, len(frames[0]), *frames[0][0].shape[1:]), np.float32)
    for n, row in enumerate(frames):
        for p, frame in enumerate(row):
            stacked[n, : len(frame), p] = frame
    return stacked
