"""Live recognition from a source to its outputs, and a summary of it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ptl_skel.live.drawing import draw_people
from ptl_skel.live.labels import Label, Labels
from ptl_skel.live.people import FramePredictions, People
from ptl_skel.live.pipeline import KEPT_TIMES, Pipeline, Stage
from ptl_skel.live.server import PageServer
from ptl_skel.live.writing import EventWriter, GifWriter, VideoWriter
from ptl_skel.pose import PoseEstimator, Poses, find_poses
from ptl_skel.pose.camera import Camera, is_camera
from ptl_skel.pose.video import Frame, FrameSource, Image, Video

_RATE = 30  # frames over which the rate on the page is computed


@dataclass(frozen=True)
class Outputs:
    """The outputs of a session.

    Args:
        video: Annotated video; None for none.
        events: Events as lines of JSON; None for none.
        page: Shows the stream; None for none.
        side: Longer side of drawn frames, px; smaller frames keep their size.
        heatmaps: Show the joint heatmaps of the persons in the corner.
    """

    video: Path | None = None
    events: Path | None = None
    page: PageServer | None = None
    side: int = 960
    heatmaps: bool = False

    @property
    def drawn(self) -> bool:
        """Whether frames are drawn at all."""
        return self.video is not None or self.page is not None


@dataclass
class Work:
    """A frame on its way through the stages.

    Attributes:
        frame: The frame.
        arrived: When it was decoded, seconds of `time.perf_counter`.
        image: Input of the pose estimator.
        poses: The persons in it.
        predictions: Predictions for them.
        labels: By number of the person; under None for the scene.
    """

    frame: Frame
    arrived: float
    image: Image | None
    poses: Poses | None = None
    predictions: FramePredictions | None = None
    labels: dict[Any, Label] = field(default_factory=dict)


@dataclass
class Summary:
    """Statistics of a session.

    Attributes:
        frames: Number of frames that were recognised.
        with_person: Number of these frames in which somebody was found.
        seconds: Wall-clock time.
        cpu: Milliseconds of CPU time per frame, of the whole process.
        dropped: Frames of a camera that were replaced by newer ones before they were recognised.
        not_drawn: Frames that were recognised, but not drawn and written.
        damaged: Packets of the source that could not be decoded.
        reconnects: How often the camera was lost and opened again.
        latency: Milliseconds from the decoded frame to its labels: median and 95th percentile.
        stages: Milliseconds of CPU time of each stage: median and 95th percentile.
    """

    frames: int
    with_person: int
    seconds: float
    cpu: float
    dropped: int
    not_drawn: int
    damaged: int
    reconnects: int
    latency: tuple[float, float]
    stages: dict[str, tuple[float, float]]


def open_source(source: str, patience: float, report: Callable[[str], None]) -> FrameSource:
    """A camera, or a video file.

    Raises:
        UserError: It cannot be opened.
    """
    if is_camera(source):
        return Camera(source, patience=patience, report=report)
    return Video(source)


class Session:
    """Recognises the persons of a source, frame by frame.

    Args:
        source: Source of the frames; it is closed at the end.
        estimator: Finds the poses of persons.
        people: Tracks and recognises them.
        labels: Turns predictions into labels and events.
        outputs: The outputs.
    """

    def __init__(self, source: FrameSource, estimator: PoseEstimator, people: People,
                 labels: Labels, outputs: Outputs) -> None:
        self._source, self._estimator, self._people = source, estimator, people
        self._labels, self._outputs = labels, outputs
        self._frames = self._with_person = 0
        self._latency: deque[float] = deque(maxlen=KEPT_TIMES)
        self._recent: deque[float] = deque(maxlen=_RATE)
        self._seconds = self._cpu = 0.0
        self._video: VideoWriter | GifWriter | None = None
        self._events: EventWriter | None = None
        # Drawing would take more time on the other core than the estimator takes on its own.
        alone = getattr(estimator, "single_threaded", False) and not outputs.drawn
        stages = [Stage("decode", self._decode), Stage("pose", self._find_poses, own_core=alone),
                  Stage("recognise", self._recognise)]
        if outputs.drawn:
            stages.append(Stage("draw", self._draw))
        camera = isinstance(source, Camera)
        self._pipeline = Pipeline(source, stages, newest=camera,
                                  close=source.close if camera else lambda: None)

    def run(self) -> None:
        """Runs until the source ends.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
            UserError: A camera was lost, or an output cannot be written.
        """
        with ExitStack() as stack:
            stack.callback(self._source.close)
            if self._outputs.video is not None:
                path, gif = self._outputs.video, self._outputs.video.suffix.lower() == ".gif"
                self._video = GifWriter(path) if gif else VideoWriter(path, self._source.fps)
                stack.enter_context(self._video)
            if self._outputs.events is not None:
                self._events = stack.enter_context(EventWriter(self._outputs.events))
            started, cpu = time.perf_counter(), time.process_time()
            try:
                self._pipeline.run()
            finally:
                self._seconds = time.perf_counter() - started
                self._cpu = time.process_time() - cpu

    def summarise(self) -> Summary:
        """The statistics so far, or of the whole session."""
        dropped = self._pipeline.dropped
        return Summary(
            frames=self._frames, with_person=self._with_person, seconds=self._seconds,
            cpu=1000 * self._cpu / max(self._frames, 1), dropped=sum(dropped[:2]),
            not_drawn=sum(dropped[2:]), damaged=self._source.num_damaged,
            reconnects=getattr(self._source, "num_reconnects", 0), latency=_spread(self._latency),
            stages={stage.name: _spread(stage.seconds) for stage in self._pipeline.stages})

    def _decode(self, frame: Frame) -> Work:
        arrived = time.perf_counter()
        return Work(frame, arrived, frame.to_image(self._estimator.preferred_side))

    def _find_poses(self, work: Work) -> Work:
        work.poses = find_poses(self._estimator, work.frame, work.image)
        work.image = None
        return work

    def _recognise(self, work: Work) -> Work:
        assert work.poses is not None
        frame = work.frame
        work.predictions = self._people.add(frame.time, work.poses, frame.size)
        if work.predictions.fresh:
            for event in self._labels.update(frame.time, work.predictions.probabilities):
                if self._events is not None:
                    self._events.write({"frame": frame.number, **event})
        work.labels = self._labels.show()
        now = time.perf_counter()
        self._latency.append(now - work.arrived)
        self._recent.append(now)
        self._frames += 1
        self._with_person += bool(len(work.poses))
        return work

    def _draw(self, work: Work) -> None:
        assert work.poses is not None
        assert work.predictions is not None
        image = work.frame.to_image(self._outputs.side)
        drawn = draw_people(
            image, work.poses, work.predictions.numbers, work.labels, self._estimator.layout,
            image.shape[0] / work.frame.size[0], heatmaps=self._outputs.heatmaps)
        if self._video is not None:
            self._video.write(drawn, work.frame.time)
        if self._outputs.page is not None:
            self._outputs.page.show(drawn, self._state(work))

    def _state(self, work: Work) -> dict[str, Any]:
        """The text on the page besides the image."""
        recent = list(self._recent)
        rate = (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 1 else 0.0
        times = ", ".join(f"{stage.name} {1000 * stage.seconds[-1]:.0f} ms"
                          for stage in self._pipeline.stages if stage.seconds)
        people = [{"person": who, "label": label.name, "probability": round(label.probability, 3),
                   "earlier": list(label.earlier)} for who, label in work.labels.items()]
        return {"facts": f"{work.frame.time:.1f} s, {rate:.1f} frames per second; {times}",
                "people": people}


def _spread(seconds: deque[float]) -> tuple[float, float]:
    """Median and 95th percentile in milliseconds; 0 if there are no values."""
    if not seconds:
        return 0.0, 0.0
    low, high = np.percentile(list(seconds), (50, 95))
    return 1000 * float(low), 1000 * float(high)
