"""The progress of a training, from the files in its run folder."""

from __future__ import annotations

import csv
import signal
from pathlib import Path
from typing import Any

from ptl_skel.errors import UserError
from ptl_skel.runs.record import read_result

from .process import LOG


def _result(run_dir: Path) -> dict[str, Any]:
    try:
        return read_result(run_dir)
    except UserError:
        return {}


def status_of(run_dir: Path) -> str | None:
    """The status in the run record: ``running``, ``finished``, ``interrupted`` or ``failed``."""
    return _result(run_dir).get("status")


def logged_by(run_dir: Path) -> dict[str, float]:
    """Last value of each metric of a run, and the cost of its network."""
    result = _result(run_dir)
    cost = {name: float(result["model"][name]) for name in ("params", "gmacs", "latency_ms")}
    return {**result["metrics"], **cost}


class Curve:
    """The learning curve of a run, read while it is being written.

    Args:
        run_dir: Folder of the run.

    Attributes:
        rows: Rows of ``metrics.csv`` so far, except one that is still being written.
    """

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / "metrics.csv"
        self.rows: list[dict[str, float]] = []
        self._text = ""
        self._seen: tuple[int, ...] = ()

    def update(self) -> None:
        """Reads new rows: none if the file has not changed, all if it was rewritten."""
        try:
            status = self.path.stat()
            seen = status.st_mtime_ns, status.st_size, status.st_ino
            if seen == self._seen:
                return
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:  # not started, or just restarted
            return
        self._seen = seen
        text = text[: text.rfind("\n") + 1]
        if not (self._text and text.startswith(self._text)):
            self.rows, self._text = [], text.partition("\n")[0] + "\n" if text else ""
        names = next(csv.reader(self._text.splitlines()), [])
        self.rows += [{name: float(value) for name, value in row.items() if value}
                      for row in csv.DictReader(text[len(self._text):].splitlines(), names)]
        self._text = text

    @property
    def epochs(self) -> int:
        """Number of completed epochs."""
        return max((int(row["epoch"]) + 1 for row in self.rows if "epoch" in row), default=0)


def reason(run_dir: Path, code: int) -> str:
    """Why a training ended, in one line: its own message, the exception, or the signal."""
    path = run_dir / LOG
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    lines = [line.strip() for line in text.rpartition("\n$ ")[2].splitlines()[1:] if line.strip()]
    for line in reversed(lines):
        if line.startswith("ptl-skel: "):
            return line.removeprefix("ptl-skel: ")
    result = _result(run_dir)
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    if result.get("status") == "failed" and result.get("error"):
        return str(result["error"]).splitlines()[0]
    return f"exit code {code}" + (f", {lines[-1]}" if lines else "")
