"""Sweep files and executors for tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from sweeps.run.watch import Curve

COMMAND = ["${env}", "${interpreter}", "-m", "ptl_skel", "fit", "--config", "tiny.yaml",
           "--config", "${args_json_file}"]
SWEEP: dict[str, Any] = {
    "project": "tests", "method": "grid", "metric": {"name": "test/top1", "goal": "maximize"},
    "command": COMMAND,
    "parameters": {"seed_everything": {"values": [0, 1]}, "data.clip_len": {"values": [8, 12]}}}


def write_sweep(path: Path = Path("sweep.yaml"), **changes: Any) -> Path:
    """`SWEEP` with some keys changed; None leaves a key out."""
    content = {**SWEEP, **changes}
    path.write_text(yaml.safe_dump({key: value for key, value in content.items()
                                    if value is not None},
                                   sort_keys=False))
    return path


def write_record(run_dir: Path, *, status: str = "finished", error: str | None = None,
                 curve: list[dict[str, float]] | None = None, **metrics: float) -> None:
    """What a run leaves behind, as far as a coordinator reads it."""
    run_dir.mkdir(parents=True, exist_ok=True)
    named = {name.replace("_", "/", 1): value for name, value in metrics.items()}
    (run_dir / "result.json").write_text(json.dumps({
        "schema_version": 1, "status": status, "error": error, "metrics": named,
        "model": {"params": 10, "gmacs": 0.5, "latency_ms": 2.0}}))
    if curve:
        lines = [",".join(curve[0]), *(",".join(map(str, row.values())) for row in curve)]
        (run_dir / "metrics.csv").write_text("\n".join(lines) + "\n")


def epochs_of(run_dir: Path) -> int:
    """How many epochs of a run have come to their end, while it may be writing."""
    curve = Curve(run_dir)
    curve.update()
    return curve.epochs


class Script:
    """An executor whose trainings are functions in this process.

    Args:
        train: Takes values, run folder and how often this start was looked at; returns the exit
            code, or None while the training continues.
        slots: See `sweeps.run.jobs.Executor`.
    """

    def __init__(self, train: Callable[[dict[str, Any], Path, int], int | None],
                 slots: int = 1) -> None:
        self.train, self.slots, self.tasks = train, slots, (1, 1)
        self.started: list[str] = []
        self.stopped: list[str] = []
        self.most = self.now = 0

    def start(self, command: list[str], run_dir: Path, slot: int) -> Training:
        configs = [command[i + 1] for i, word in enumerate(command) if word == "--config"]
        self.started.append(run_dir.name)
        self.now += 1
        self.most = max(self.most, self.now)
        return Training(self, json.loads(configs[-1]), run_dir)

    def to_shell(self, command: list[str], slot: int) -> str:
        return " ".join(command)

    def find(self, run_dir: Path) -> None:
        return None


class Training:
    def __init__(self, script: Script, values: dict[str, Any], run_dir: Path) -> None:
        self.script, self.values, self.run_dir = script, values, run_dir
        self.looks, self.code = 0, None

    def poll(self) -> int | None:
        if self.code is None:
            self.looks += 1
            self.code = self.script.train(self.values, self.run_dir, self.looks)
            self.script.now -= self.code is not None
        return self.code

    def note(self) -> str:
        return ""

    def stop(self) -> None:
        if self.code is None:
            self.script.stopped.append(self.run_dir.name)
            self.script.now -= 1
            self.code = -15
