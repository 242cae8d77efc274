"""From probabilities to labels: smoothing, unknown labels, and events for changed labels."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptl_skel.errors import UserError

Floats = NDArray[np.float32]

MIN_PROBABILITY = 0.5
"""Default probability above which a label is assigned, without a calibrated one."""
KEEP = 0.7
"""A label is kept down to this fraction of the threshold."""
_HISTORY = 3  # earlier labels that are shown


@dataclass(frozen=True)
class Threshold:
    """The threshold for assigning a label.

    Args:
        probability: Probability of a class above which it is assigned. Below, the label is unknown;
            an assigned label is kept until it falls below `KEEP` times this.

    Raises:
        UserError: It is not in 0..1.
    """

    probability: float = MIN_PROBABILITY

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise UserError(f"--min_probability must be in 0..1, got {self.probability}")

    def choose(self, probabilities: Floats, current: int | None) -> int | None:
        """The class to assign for probabilities ``(K,)``, None for unknown.

        Args:
            probabilities: Probabilities of the classes.
            current: The class assigned so far.
        """
        best = int(probabilities.argmax())
        if probabilities[best] >= self.probability:
            return best
        if current is not None and probabilities[current] >= KEEP * self.probability:
            return current
        return None


@dataclass
class Label:
    """The label of a person.

    Args:
        name: Name of the class, None for unknown.
        probability: Probability of that class; for unknown, that of the most likely one.
        earlier: Earlier names, the latest first; neighbours differ, also from `name`.
    """

    name: str | None
    probability: float
    earlier: tuple[str, ...]


@dataclass
class _Person:
    smooth: Floats
    time: float
    assigned: int | None
    earlier: deque[str]


class Labels:
    """The label of each person in a stream, and the events when it changes.

    Args:
        class_names: K names.
        threshold: The threshold for assigning a label.
        smoothing: Seconds after which the influence of a prediction has fallen to a third; 0: none.

    Raises:
        UserError: `smoothing` is negative.
    """

    def __init__(self, class_names: list[str], threshold: Threshold, smoothing: float) -> None:
        if not smoothing >= 0:
            raise UserError(f"--smoothing must be >= 0, got {smoothing}")
        self._names, self._threshold, self._smoothing = class_names, threshold, smoothing
        self._people: dict[Hashable, _Person] = {}

    def update(self, time: float, probabilities: Mapping[Hashable, Floats]
               ) -> list[dict[str, Any]]:
        """Updates the labels; returns the events: persons whose label changed, or who have left.

        Args:
            time: Seconds.
            probabilities: ``(K,)`` of each person; persons not included have left.
        """
        events = [self._event(time, who, None, None)
                  for who in self._people if who not in probabilities]
        self._people = {who: person for who, person in self._people.items()
                        if who in probabilities}
        for who, new in probabilities.items():
            person = self._people.get(who)
            if person is None:
                person = self._people[who] = _Person(new, time, None, deque(maxlen=_HISTORY))
            elif self._smoothing:
                share = 1 - np.exp(-(time - person.time) / self._smoothing)
                person.smooth = person.smooth + np.float32(share) * (new - person.smooth)
            else:
                person.smooth = new
            person.time = time
            assigned = self._threshold.choose(person.smooth, person.assigned)
            if assigned != person.assigned:
                name = self._name(person.assigned)
                if name is not None and name not in list(person.earlier)[:1]:
                    person.earlier.appendleft(name)
                person.assigned = assigned
                events.append(self._event(time, who, assigned, person.smooth))
        return events

    def show(self) -> dict[Hashable, Label]:
        """The label of each person."""
        shown = dict[Hashable, Label]()
        for who, person in self._people.items():
            name, earlier = self._name(person.assigned), tuple(person.earlier)
            # A person whose label was unknown in between gets the same one again.
            shown[who] = Label(name, _probability(person.smooth, person.assigned),
                               earlier[1:] if name in earlier[:1] else earlier)
        return shown

    def _name(self, assigned: int | None) -> str | None:
        return None if assigned is None else self._names[assigned]

    def _event(self, time: float, who: Hashable, assigned: int | None, smooth: Floats | None
               ) -> dict[str, Any]:
        return {"time": round(time, 3), "person": who,
                "event": "left" if smooth is None else "label",
                "label": self._name(assigned),
                "probability": None if smooth is None else round(_probability(smooth, assigned), 4)}


def _probability(smooth: Floats, assigned: int | None) -> float:
    return float(smooth.max() if assigned is None else smooth[assigned])
