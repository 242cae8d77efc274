"""One session of measurements: groups of rows in order, each with a time limit, a JSON file.

The file is written anew after every row, whole or not at all, so that a session which is cut off
loses nothing.
"""

from __future__ import annotations

import datetime
import gc
import json
import os
import platform
import signal
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from floors import Limits, Work
from material import FRAMES, SIZE
from timing import Timer

FORMAT = 1
SHORTEST = 5.0
"""A group starts only if so many seconds are left."""


class OutOfTime(BaseException):
    """The limit of a group is reached; not an `Exception`, so that no library catches it."""


@dataclass(frozen=True)
class Group:
    """Rows that belong together, and how many seconds they may take."""

    name: str
    measure: Callable[[Bench], None]
    seconds: float


class Bench:
    """Measures on a device, and keeps what came out.

    Args:
        device: ``cuda`` or ``cpu``.
        path: The JSON file.
        quick: Tiny shapes and few rounds: tries out the code, measures nothing.
    """

    def __init__(self, device: str, path: Path, *, quick: bool = False) -> None:
        self.device = torch.device(device)
        self.path = path
        self.quick = quick
        self.frames, self.size = (8, 16) if quick else (FRAMES, SIZE)
        self.timer = Timer(self.device, 0.0 if quick else 1.0)
        self.rounds = 1 if quick else 5
        self.limits = Limits(1.0, {})
        self.report: dict[str, Any] = {
            "format": FORMAT, "card": card(self.device), "quick": quick, "device": device,
            "input": [self.frames, self.size, self.size],
            "torch": torch.__version__, "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(), "python": platform.python_version(),
            "commit": commit(), "started": datetime.datetime.now(datetime.UTC).isoformat(),
            "limits": {}, "groups": {}, "rows": []}

    def medians(self, *candidates: Callable[[], object]) -> list[float]:
        """Median seconds of each candidate, run in turn."""
        return self.timer.medians(*candidates, rounds=self.rounds, warm_up=1 if self.quick else 3)

    def glance(self, candidate: Callable[[], object]) -> float:
        """Roughly the seconds of a candidate, soon."""
        rough = Timer(self.device, 0.0 if self.quick else 0.1)
        return rough.median(candidate, rounds=1 if self.quick else 3, warm_up=2)

    def batches(self, *sizes: int) -> Sequence[int]:
        """Batch sizes to try."""
        return (2,) if self.quick else sizes

    def set_limits(self, limits: Limits) -> None:
        """Notes what the machine reaches."""
        self.limits = limits
        self.report["limits"] = {"bandwidth": limits.bandwidth, "flops": dict(limits.flops)}
        self.write()

    def row(self, key: str, seconds: float, clips: int, *, work: Work | None = None,
            dtype: str = "bf16", note: str = "", **facts: float) -> None:
        """Adds a row.

        Args:
            key: What was measured; the same in every session.
            seconds: Of a batch.
            clips: In the batch.
            work: What its floor is computed from.
            dtype: Its compute dtype: ``bf16``, ``tf32`` or ``fp32``.
            note: For the reader.
            facts: Further numbers, e.g. a ratio to another row.
        """
        row: dict[str, Any] = {"group": self.current, "key": key, "seconds": seconds,
                               "clips": clips, "clips_per_second": clips / seconds}
        if work is not None:
            floor = self.limits.floor(work, dtype)
            row |= {"floor_seconds": floor.seconds, "floor": floor.kind,
                    "share": floor.seconds / seconds}
        row |= {"note": note, **facts}
        self.report["rows"].append(row)
        self.write()

    def fact(self, key: str, note: str, **facts: float) -> None:
        """Adds a row without a time."""
        self.report["rows"].append({"group": self.current, "key": key, "note": note, **facts})
        self.write()

    def find(self, key: str) -> dict[str, Any]:
        """The row of that key.

        Raises:
            LookupError: It was not measured.
        """
        for row in self.report["rows"]:
            if row["key"] == key:
                return dict(row)
        raise LookupError(f"row {key!r} was not measured")

    def run(self, groups: Sequence[Group], minutes: float) -> bool:
        """Measures group after group; whether none failed. A cut-off group is not a failure."""
        end = time.monotonic() + 60 * minutes
        for group in groups:
            self.current = group.name
            left = end - time.monotonic()
            status = "not reached" if left < SHORTEST else self._measure(group, left)
            self.report["groups"].setdefault(group.name, {})["status"] = status
            self.write()
            print(f"{group.name}: {status}", flush=True)
        return all(group["status"] != "failed" for group in self.report["groups"].values())

    def _measure(self, group: Group, left: float) -> str:
        started = time.monotonic()
        noted: dict[str, Any] = {"status": "running"}
        self.report["groups"][group.name] = noted
        try:
            with time_limit(left if self.quick else min(group.seconds, left)):
                group.measure(self)
            return "finished"
        except OutOfTime:
            return "cut off"
        except Exception:  # one row that fails on a new machine must not cost the others
            noted["error"] = traceback.format_exc()
            print(noted["error"], flush=True)
            return "failed"
        finally:
            noted["took"] = round(time.monotonic() - started, 1)
            self.free()

    def free(self) -> None:
        """Gives memory back, and forgets compiled networks."""
        torch._dynamo.reset()
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def write(self) -> None:
        """Writes the JSON file, whole or not at all."""
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps(self.report, indent=1) + "\n", encoding="utf-8")
        temporary.replace(self.path)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises `OutOfTime` inside when the time is up; in the main thread only."""
    def stop(signum: int, frame: FrameType | None) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def card(device: torch.device) -> str:
    """Name of the device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def commit() -> str | None:
    """Commit of the checkout; None outside one."""
    try:
        done = subprocess.run(["git", "describe", "--always", "--abbrev=12", "--dirty=+"],
                              cwd=Path(__file__).parent, capture_output=True, text=True,
                              check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
