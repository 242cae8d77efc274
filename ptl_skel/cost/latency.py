"""Latencies of one or several calls, measured in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

LEAST = 3
"""Minimum number of calls of each, however little time there is."""


@dataclass(frozen=True)
class Latency:
    """Times of single calls, milliseconds.

    Attributes:
        p50_ms: Median.
        p95_ms: 95th percentile.
        cpu_ms: Median of the CPU time of this process, over all its threads. Other load on the
            machine affects it less than the wall-clock time.
    """

    p50_ms: float
    p95_ms: float
    cpu_ms: float


def forward_pass(model: nn.Module, inputs: Tensor) -> Callable[[], None]:
    """A call that runs a network, and returns when its work is done, also on a GPU."""
    def call() -> None:
        model(inputs)
        if inputs.device.type == "cuda":
            torch.cuda.synchronize(inputs.device)
    return call


def measure_in_turn(calls: Sequence[Callable[[], object]], seconds: float) -> list[Latency]:
    """Latencies of calls that are made in turn, so that other load on the machine affects all.

    Args:
        calls: Each must return only when its work is done, on a GPU after synchronising.
        seconds: How long to measure each, approximately.
    """
    for call in calls:  # the first one warms up
        call()
    times: list[list[tuple[float, float]]] = [[] for _ in calls]
    started = time.perf_counter()
    while len(times[0]) < LEAST or time.perf_counter() - started < seconds * len(calls):
        for call, taken in zip(calls, times, strict=True):
            begin, begin_cpu = time.perf_counter(), time.process_time()
            call()
            taken.append((time.perf_counter() - begin, time.process_time() - begin_cpu))
    return [_summarise(taken) for taken in times]


def _summarise(taken: Sequence[tuple[float, float]]) -> Latency:
    """From the wall-clock and CPU seconds that each call took."""
    clock, cpu = ([1e3 * each for each in column] for column in zip(*taken, strict=True))
    slow = sorted(clock)[min(len(clock) - 1, round(0.95 * len(clock)))]
    return Latency(statistics.median(clock), slow, statistics.median(cpu))
