"""How a training does, from what it leaves in its run folder."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from ptl_skel.runs.record import read_metrics, read_result
from sweeps.run.process import LOG


def _result(run_dir: Path) -> dict[str, Any]:
    try:
        return read_result(run_dir)
    except (OSError, ValueError):
        return {}


def status_of(run_dir: Path) -> str | None:
    """What the run record says: ``running``, ``finished``, ``interrupted`` or ``failed``."""
    return _result(run_dir).get("status")


def logged_by(run_dir: Path) -> dict[str, float]:
    """Last value of each metric of a run, and what its network costs."""
    result = _result(run_dir)
    cost = {name: float(result["model"][name]) for name in ("params", "gmacs", "latency_ms")}
    return {**result["metrics"], **cost}


def metrics_so_far(run_dir: Path) -> list[dict[str, float]]:
    """Rows of the learning curve; empty where the training is just writing them."""
    try:
        return read_metrics(run_dir)
    except (ValueError, TypeError, KeyError):
        return []


def reason(run_dir: Path, code: int) -> str:
    """Why a training ended, in a line: its own sentence, or the exception, or the signal."""
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
