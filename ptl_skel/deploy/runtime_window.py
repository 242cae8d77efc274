"""The last seconds of a stream, for exported networks that see clips, without torch.

Besides `numpy` it needs only `ptl_skel.deploy.runtime`; both files may be copied into other
programs::

    window = Window(Recognizer("model.onnx"), seconds=4)
    window.add(time, {track: (keypoints, scores)}, frame_size)  # for each person in a frame
    print(window.recognize())                                   # {track: probabilities}

For each person in a frame, keypoints are ``(V, 2)`` and scores ``(V,)``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping
from itertools import islice

import numpy as np
from numpy.typing import ArrayLike

try:
    from ptl_skel.deploy import runtime
except ModuleNotFoundError:  # copies in the same folder
    import runtime  # type: ignore

Floats = runtime.Floats

MOST_FRAMES = 4096
"""Maximum number of frames in a window, 34 seconds at 120 per second. Of longer windows every
second frame is kept, or every fourth, and so on."""


class Window:
    """The last seconds of a stream, for a network that sees clips.

    Frames are spread over the window, from the first one in it that shows the person; in frames
    without the person, the joints are missing. Memory is bounded: frames leave the window, no more
    than `MOST_FRAMES` are kept, and a person who is not seen for `patience` seconds is forgotten.

    Args:
        recognizer: The network.
        seconds: Length of the window.
        patience: Seconds after which a person who is not seen is forgotten.
        together: Recognise one action for all persons in the scene instead of one for each person.

    Raises:
        ValueError: A number is not positive.
    """

    def __init__(self, recognizer: runtime.Recognizer, seconds: float = 4.0, patience: float = 1.0,
                 together: bool = False) -> None:
        runtime.check_positive(seconds=seconds, patience=patience)
        self.recognizer = recognizer
        self.seconds = seconds
        self.patience = patience
        self.together = together
        self.frame_size = (1.0, 1.0)
        self._frames: deque[tuple[float, dict[Hashable, tuple[Floats, Floats]]]] = deque()
        self._step = 0.0  # seconds between the frames that are kept
        self._seen: dict[Hashable, float] = {}

    def reset(self) -> None:
        """Forgets all frames and persons, e.g. for another stream."""
        self._frames.clear()
        self._seen.clear()
        self._step = 0.0

    def add(self, time: float, people: Mapping[Hashable, tuple[ArrayLike, ArrayLike]],
            frame_size: tuple[float, float]) -> None:
        """Adds a frame. If its size differs, the stream starts again, since pixels change.

        Args:
            time: Time of the frame, seconds; frames come in order.
            people: Keypoints ``(V, 2)`` and scores ``(V,)`` of each person, by track id. Empty for
                a frame without persons.
            frame_size: Height and width of the frame, pixels.

        Raises:
            ValueError: A shape does not fit, or the time is not later than that of the last frame.
        """
        time = runtime.check_time(time, self._frames[-1][0] if self._frames else -np.inf)
        known = self.recognizer.read_people(people)
        size = runtime.check_frame_size(frame_size)
        if size != self.frame_size:
            self.reset()
            self.frame_size = size
        if not self._frames or time - self._frames[-1][0] >= self._step:
            self._frames.append((time, known))
        while len(self._frames) > 1 and self._frames[0][0] <= time - self.seconds:
            self._frames.popleft()
        if len(self._frames) > MOST_FRAMES:
            self._step = 2 * (time - self._frames[0][0]) / MOST_FRAMES
            self._frames = deque(islice(self._frames, 0, None, 2))
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

        Empty if nobody is seen.
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
