"""Stages that process frames concurrently, each in its own thread.

Decoder and networks release the GIL, so threads are enough. Two stages are connected by a `Slot`.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

MAX_WAITING = 2
"""Maximum number of items between two stages if none are dropped."""
KEPT_TIMES = 10_000
"""Number of latest times that are kept for statistics, so that memory does not grow."""
STOP_TIMEOUT = 10.0
"""Seconds that a stage may take to end after it was stopped."""

_CHECK = 0.2  # seconds between checks for Ctrl-C


class Slot:
    """Passes items from one thread to the next.

    Args:
        newest: Hold one item, which a newer one replaces. Else hold up to `MAX_WAITING`; then `put`
            waits.

    Attributes:
        dropped: Items that were replaced.
    """

    def __init__(self, *, newest: bool) -> None:
        self._newest, self.dropped = newest, 0
        self._items: deque[Any] = deque()
        self._changed = threading.Condition()
        self._ended = self._stopped = False

    def put(self, item: Any) -> None:
        """Adds an item, unless the slot was stopped."""
        with self._changed:
            if self._newest:
                self.dropped += len(self._items)
                self._items.clear()
            self._changed.wait_for(lambda: self._stopped or len(self._items) < MAX_WAITING)
            if not self._stopped:
                self._items.append(item)
            self._changed.notify_all()

    def get(self) -> Any:
        """The next item; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._ended or bool(self._items))
            if self._stopped or not self._items:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def end(self) -> None:
        """Signals the end of the items; those in the slot are still passed on."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Wakes up both threads; items in the slot are lost."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()


class Stage:
    """A processing step for each item, with its timing.

    Args:
        name: Name in the summary.
        work: Takes an item from the previous stage, and returns the one for the next stage.
        own_core: On a machine with two cores, run alone on one of them. For a stage that takes
            longer than all others together, and starts no threads itself.

    Attributes:
        seconds: CPU time of the latest items.
    """

    def __init__(self, name: str, work: Callable[[Any], Any], *, own_core: bool = False) -> None:
        self.name, self.work, self.own_core = name, work, own_core
        self.seconds: deque[float] = deque(maxlen=KEPT_TIMES)

    def __call__(self, item: Any) -> Any:
        """Processes an item, and measures the time."""
        started = time.thread_time()
        result = self.work(item)
        self.seconds.append(time.thread_time() - started)
        return result


class Pipeline:
    """Runs stages on the items of a source until it ends, one fails, or Ctrl-C is pressed.

    Args:
        source: Items for the first stage.
        stages: In their order; the first one runs in the thread that reads the source.
        newest: Skip to the newest item if a stage is slow. Else all items pass all stages.
        close: Called to end the source early, from another thread.
    """

    def __init__(self, source: Iterable[Any], stages: Sequence[Stage], *, newest: bool,
                 close: Callable[[], None]) -> None:
        self._source, self.stages, self._close = source, stages, close
        self._slots = [Slot(newest=newest) for _ in stages[1:]]
        self._closing = threading.Event()
        self._errors: list[BaseException] = []
        self._cores = _two_cores() if any(stage.own_core for stage in stages) else None

    @property
    def dropped(self) -> list[int]:
        """Number of items that were dropped before each stage after the first."""
        return [slot.dropped for slot in self._slots]

    def run(self) -> None:
        """Runs to the end: returns when all items that were read have passed all stages.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed. Items in progress are finished, unless it is
                pressed again.
            BaseException: Raised by a stage or the source; re-raised after all threads have ended.
        """
        threads = [threading.Thread(target=self._run_stage, args=(place,), daemon=True)
                   for place in range(len(self.stages))]
        for thread in threads:
            thread.start()
        try:
            _join(threads)
        except KeyboardInterrupt:
            self._end_source()
            try:
                _join(threads, STOP_TIMEOUT)
            finally:
                self._stop()
                _join(threads, STOP_TIMEOUT)
            raise
        if self._errors:
            raise self._errors[0]

    def _end_source(self) -> None:
        self._closing.set()
        self._close()

    def _stop(self) -> None:
        self._end_source()
        for slot in self._slots:
            slot.stop()

    def _run_stage(self, place: int) -> None:
        """Runs a stage. An error in it stops all others; one in the source lets them finish."""
        try:
            if self._cores is not None and sys.platform == "linux":
                core = self._cores[0 if self.stages[place].own_core else 1]
                os.sched_setaffinity(threading.get_native_id(), {core})
            if place:
                self._work(place)
            else:
                self._read()
        except BaseException as error:  # raised again by `run`, in the main thread
            self._errors.append(error)
            if place:
                self._stop()
            else:
                self._close()

    def _read(self) -> None:
        items = iter(self._source)
        first = self.stages[0]
        try:
            while not self._closing.is_set():
                started = time.thread_time()
                try:
                    item = next(items)
                except StopIteration:
                    break
                result = first.work(item)
                first.seconds.append(time.thread_time() - started)
                self._slots[0].put(result)
        finally:
            self._slots[0].end()

    def _work(self, place: int) -> None:
        before = self._slots[place - 1]
        after = self._slots[place] if place < len(self._slots) else None
        try:
            while (item := before.get()) is not None:
                result = self.stages[place](item)
                if after is not None:
                    after.put(result)
        finally:
            if after is not None:
                after.end()


def _two_cores() -> tuple[int, int] | None:
    """The cores of this process if there are exactly two and it can assign threads to them.

    Left to itself, Linux often runs two of the threads on the same core while the other is idle.
    """
    if sys.platform != "linux":
        return None
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) == 2 else None


def _join(threads: Sequence[threading.Thread], seconds: float = float("inf")) -> None:
    """Waits for threads in short steps, in which Ctrl-C is seen on every system."""
    last = time.monotonic() + seconds
    for thread in threads:
        while thread.is_alive() and time.monotonic() < last:
            thread.join(_CHECK)
