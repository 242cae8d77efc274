"""The progress display of a coordinator: a live table, or lines without a terminal."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from rich import box
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ptl_skel.command import console

from .files import Sweep
from .jobs import Job
from .space import Cell
from .trials import OpenCell
from .watch import Curve


@dataclass
class Running:
    """A cell that is being trained.

    Attributes:
        opened: The cell.
        run_dir: Its folder.
        job: Its training.
        curve: Its learning curve.
        tries: Number of starts.
        stuck: Number of consecutive last starts that did not complete another epoch.
        reached: Completed epochs when it was started.
        lags: Whether it was asked to stop, since others are better.
        started: Start time on the monotonic clock, seconds.
    """

    opened: OpenCell
    run_dir: Path
    job: Job
    curve: Curve
    tries: int = 1
    stuck: int = 0
    reached: int = 0
    lags: bool = False
    started: float = field(default_factory=time.monotonic)

    @property
    def name(self) -> str:
        """Name of the cell."""
        return self.opened.cell.name


class Progress:
    """The table of a sweep.

    Args:
        sweep: The sweep.
        slots: Number of concurrent trainings.
        planned: Total number of cells.
    """

    def __init__(self, sweep: Sweep, slots: int, planned: float) -> None:
        self.sweep, self.slots, self.planned = sweep, slots, planned
        self.values: dict[str, float] = {}
        self.started = time.monotonic()
        self.live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Progress:
        if console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.live.stop()

    def say(self, text: str) -> None:
        """Prints a permanent line."""
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    def finished(self, name: str, value: float) -> None:
        """Prints the outcome of a cell."""
        self.values[name] = value
        self.say(f"{name} finished: {self.sweep.metric} {value:.4f}")

    def show(self, cells: Sequence[tuple[Cell, str]], running: Collection[Running],
             failures: Mapping[str, str]) -> None:
        """Refreshes the table."""
        if not console.is_terminal:
            return
        table = Table("running", "epoch", "train/loss", self.sweep.metric, "minutes",
                      box=box.SIMPLE_HEAD)
        for one in running:
            last: dict[str, float] = {}
            for row in one.curve.rows:
                last |= row
            again = f" (try {one.tries})" if one.tries > 1 else ""
            epoch = f"{int(last['epoch']) + 1}" if "epoch" in last else "-"
            table.add_row(one.name + again, epoch, _number(last.get("train/loss")),
                          _number(last.get(self.sweep.metric)),
                          f"{(time.monotonic() - one.started) / 60:.1f}")
        self.live.update(Group(table, Text(self._summary(cells, len(running), len(failures)))),
                         refresh=True)

    def _summary(self, cells: Sequence[tuple[Cell, str]], running: int, failed: int) -> str:
        count = Counter(state for _, state in cells)
        left = self.planned - count["finished"] - count["stopped early"] - failed
        parts = [f"{count['finished']} of {self.planned:.0f} finished", f"{running} running"]
        parts += [f"{count['stopped early']} stopped early"] * (count["stopped early"] > 0)
        parts += [f"{failed} failed"] * (failed > 0)
        if self.values:
            each = (time.monotonic() - self.started) / len(self.values)
            parts.append(f"about {each * left / 60:.0f} min left")
        return ", ".join(parts)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
