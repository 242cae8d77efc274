"""Long videos: from predictions over time to segments with start, end, label and probability."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptl_skel.errors import UserError
from ptl_skel.live.labels import Threshold
from ptl_skel.live.people import FramePredictions

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Segment:
    """An action of a person, or of all in the scene.

    Args:
        person: Number of the person; None for the whole scene.
        start: Seconds.
        end: Seconds.
        label: Name of the class.
        probability: Mean of the class over the segment.
    """

    person: int | None
    start: float
    end: float
    label: str
    probability: float


@dataclass(frozen=True)
class Rules:
    """Rules for turning predictions into segments.

    Args:
        threshold: The threshold for assigning and keeping a label.
        gap: Segments of the same label with at most this many seconds between them are merged.
        shortest: Segments shorter than this are dropped, seconds.

    Raises:
        UserError: A number is negative.
    """

    threshold: Threshold
    gap: float = 0.5
    shortest: float = 0.5

    def __post_init__(self) -> None:
        for name in ("gap", "shortest"):
            if not getattr(self, name) >= 0:
                raise UserError(f"--{name} must be >= 0, got {getattr(self, name)}")


@dataclass
class _Stay:
    """A period in which a person is present, or somebody in the scene, until predictions end."""

    first: float
    last: float
    times: list[float] = field(default_factory=list)
    probabilities: list[Floats] = field(default_factory=list)


class Tracks:
    """Collects the predictions for each person of a video; a few kB per minute of a person.

    A prediction for a time span counts for its middle.

    Args:
        span: Maximum number of seconds that a prediction looks back.
    """

    def __init__(self, span: float) -> None:
        self._span = span
        self._present: dict[Hashable, _Stay] = {}
        self._stays: dict[Hashable, list[_Stay]] = {}

    def add(self, time: float, predictions: FramePredictions) -> None:
        """Adds the predictions at a frame."""
        seen: list[Hashable] = [int(number) for number in predictions.numbers if number >= 0]
        if None in predictions.probabilities and (seen or None not in self._present):
            seen.append(None)
        for person in seen:
            if person not in self._present:
                self._present[person] = _Stay(time, time)
                self._stays.setdefault(person, []).append(self._present[person])
            self._present[person].last = time
        if predictions.fresh:
            for who, probabilities in predictions.probabilities.items():
                stay = self._present[who]
                span = min(self._span, time - stay.first)
                stay.times.append(time - span / 2)
                stay.probabilities.append(probabilities)
            self._present = {who: stay for who, stay in self._present.items()
                             if who in predictions.probabilities or not stay.times}

    @property
    def empty(self) -> bool:
        """Whether nobody was seen."""
        return not self._stays

    def segments(self, class_names: Sequence[str], rules: Rules) -> list[Segment]:
        """The segments of all persons, in the order of their start."""
        found = []
        for who, stays in self._stays.items():
            own = [segment for stay in stays if stay.times for segment in find_segments(
                np.array(stay.times), np.stack(stay.probabilities), (stay.first, stay.last),
                class_names, rules)]
            found += [replace(segment, person=None if who is None else int(str(who)))
                      for segment in _join(own, rules.gap)]
        return sorted(found, key=lambda each: (each.start, each.person or 0))


def _join(segments: Sequence[Segment], gap: float) -> list[Segment]:
    """Joins segments of the same label between which the person was away for a moment."""
    joined: list[Segment] = []
    for each in segments:
        if joined and joined[-1].label == each.label and each.start - joined[-1].end <= gap:
            last = joined[-1]
            lengths = [max(one.end - one.start, 1e-9) for one in (last, each)]
            mean = np.average([last.probability, each.probability], weights=lengths)
            joined[-1] = replace(last, end=each.end, probability=float(mean))
        else:
            joined.append(each)
    return joined


def find_segments(times: Floats, probabilities: Floats, seen: tuple[float, float],
                  class_names: Sequence[str], rules: Rules) -> list[Segment]:
    """The segments of one person.

    A prediction is valid from halfway after the previous one to halfway before the next one, those
    for times after the person left are not.

    Args:
        times: Times of the predictions, seconds, ascending, ``(n,)``.
        probabilities: ``(n, K)``.
        seen: When the person came and left, seconds.
        class_names: K names.
        rules: Rules for turning predictions into segments.
    """
    valid = times <= seen[1]
    valid[0] = True  # a causal network may predict for the first time after a short stay
    times, probabilities = np.minimum(times[valid], seen[1]), probabilities[valid]
    classes: list[int | None] = []
    for row in probabilities:
        classes.append(rules.threshold.choose(row, classes[-1] if classes else None))
    middles = (times[1:] + times[:-1]) / 2
    edges = np.concatenate([[min(seen[0], times[0])], middles, [seen[1]]])
    runs: list[tuple[int, int, int]] = []  # first prediction, the one after the last, class
    for place, label in enumerate(classes):
        if label is None:
            continue
        if runs and runs[-1][2] == label and (
                edges[place] - edges[runs[-1][1]] <= rules.gap):
            runs[-1] = runs[-1][0], place + 1, label
        else:
            runs.append((place, place + 1, label))
    runs = _merge([run for run in runs if edges[run[1]] - edges[run[0]] >= rules.shortest],
                  edges, rules.gap)
    return [Segment(None, float(edges[first]), float(edges[end]), class_names[label],
                    float(probabilities[first:end, label].mean()))
            for first, end, label in runs]


def _merge(runs: Sequence[tuple[int, int, int]], edges: Floats, gap: float
           ) -> list[tuple[int, int, int]]:
    """Joins runs of the same class between which a short one was dropped."""
    merged: list[tuple[int, int, int]] = []
    for first, end, label in runs:
        if merged and merged[-1][2] == label and edges[first] - edges[merged[-1][1]] <= gap:
            merged[-1] = merged[-1][0], end, label
        else:
            merged.append((first, end, label))
    return merged


def to_csv(segments: Sequence[Segment]) -> str:
    """A table with one line per segment; the person is empty for the whole scene."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [each.name for each in fields(Segment)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rounded(segment) for segment in segments)
    return text.getvalue()


def to_json(segments: Sequence[Segment], **facts: Any) -> str:
    """The segments and facts of the video as JSON."""
    return json.dumps({**facts, "segments": [_rounded(each) for each in segments]}, indent=1)


def _rounded(segment: Segment) -> dict[str, Any]:
    return {name: round(value, 4) if isinstance(value, float) else value
            for name, value in asdict(segment).items()}
