"""Medians of candidates that run in turn in one process, on the CPU or on a GPU."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable

import torch

LONG_ENOUGH = 5e-3
"""Seconds that one reading on a GPU covers at least; shorter candidates are repeated in it."""
MOST_REPEATS = 200


class Timer:
    """Times candidates by CUDA events on a GPU, by a clock elsewhere.

    Args:
        device: Where the candidates run.
        seconds: How long a group of candidates runs, about.
        clock: Of the CPU, seconds.
    """

    def __init__(self, device: torch.device, seconds: float,
                 clock: Callable[[], float] = time.perf_counter) -> None:
        self.device = device
        self.seconds = seconds
        self.clock = clock

    def medians(self, *candidates: Callable[[], object], rounds: int = 5, warm_up: int = 1
                ) -> list[float]:
        """Median seconds of each candidate, run in turn at least `rounds` times."""
        for candidate in candidates:
            for _ in range(warm_up):
                candidate()
        repeats = [1] * len(candidates)
        if self.device.type == "cuda":
            repeats = [repeats_for(self._read(candidate, 1)) for candidate in candidates]
        times: list[list[float]] = [[] for _ in candidates]
        end = time.perf_counter() + self.seconds
        while time.perf_counter() < end or len(times[0]) < rounds:
            for kept, candidate, number in zip(times, candidates, repeats, strict=True):
                kept.append(self._read(candidate, number))
        return [statistics.median(kept) for kept in times]

    def median(self, candidate: Callable[[], object], rounds: int = 5, warm_up: int = 1) -> float:
        """Median seconds of one candidate."""
        return self.medians(candidate, rounds=rounds, warm_up=warm_up)[0]

    def _read(self, candidate: Callable[[], object], number: int) -> float:
        """Seconds of one call, the mean of `number`."""
        if self.device.type != "cuda":
            begin = self.clock()
            for _ in range(number):
                candidate()
            return (self.clock() - begin) / number
        begin_event, end_event = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(self.device)  # else what others have queued hides the launches
        begin_event.record()
        for _ in range(number):
            candidate()
        end_event.record()
        end_event.synchronize()
        return float(begin_event.elapsed_time(end_event)) / 1e3 / number


def repeats_for(seconds: float) -> int:
    """How many calls of that length make a reading long enough."""
    return max(1, min(MOST_REPEATS, round(LONG_ENOUGH / max(seconds, 1e-9))))


def busy_share(intervals: Iterable[tuple[float, float]]) -> float:
    """Share of the time from the first start to the last end in which any interval runs."""
    ordered = sorted(intervals)
    if not ordered:
        return 0.0
    busy, until = 0.0, ordered[0][0]
    for start, end in ordered:
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    return busy / max(until - ordered[0][0], 1e-12)


def kernel_intervals(profiler: torch.profiler.profile) -> list[tuple[float, float, str]]:
    """Start and end in microseconds, and name, of what ran on the GPU, in order."""
    return sorted((event.time_range.start, event.time_range.end, event.name)
                  for event in profiler.events() or ()
                  if event.device_type.name == "CUDA" and not event.is_user_annotation)
