"""Runs a sweep file without a server: one coordinator, with trainings in its slots.

::

    <out>/sweep.json     settings of the sweep, and for each cell its values, command and state
    <out>/journal.log    the state of the search, Optuna's
    <out>/<cell>/        run folder of a cell, with what the training printed in log.txt
"""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from ptl_skel.atomic import write_text
from ptl_skel.command import MISTAKE, console
from ptl_skel.errors import UserError
from ptl_skel.locks import lock_folder

from .files import SEED, Sweep
from .jobs import Executor, command_of
from .progress import Progress, Running
from .space import arguments_of, extremes
from .trials import JOURNAL, OpenCell, Trials
from .watch import Curve, logged_by, reason, status_of

SCHEMA_VERSION = 1
STATE = "sweep.json"
POLL = 0.5
"""Seconds between polls of the trainings."""


def run_sweep(sweep: Sweep, out: Path, executor: Executor, retries: int) -> dict[str, str]:
    """Runs all cells of a sweep that are not finished yet.

    Args:
        sweep: The sweep.
        out: Folder of the sweep.
        executor: Runs the trainings.
        retries: How often in a row a training is restarted that ended without completing another
            epoch; one that makes progress is always restarted.

    Returns:
        Reasons for failed cells, by name.

    Raises:
        UserError: The command line rejects a value, another coordinator is working in the folder,
            the folder contains another sweep, or a finished run has not logged the metric.
    """
    check(sweep, executor)
    with lock_folder(out, "--out"), _terminable():
        coordinator = Coordinator(sweep, out, executor, retries)
        try:
            coordinator.run()
        finally:
            coordinator.shut_down()
        return coordinator.failures


def dry_run(sweep: Sweep, out: Path, executor: Executor) -> None:
    """Prints the commands that `run_sweep` would run, and their number; changes nothing.

    Raises:
        UserError: As in `run_sweep`.
    """
    check(sweep, executor)
    _same_settings(sweep, out)
    with tempfile.TemporaryDirectory() as copy:
        if (out / JOURNAL).is_file():
            shutil.copy(out / JOURNAL, copy)
        trials = Trials(sweep, Path(copy))
        cells = [opened.cell for opened in trials.begun]
        while (opened := trials.next()) is not None:
            cells.append(opened.cell)
            if sweep.method == "bayes":
                break
    for number, cell in enumerate(cells):
        print(executor.to_shell(command_of(sweep, cell, out / cell.name), number % executor.slots))
    done = int(trials.planned) - len(cells) if sweep.method != "bayes" else 0
    console.print(
        f"{int(trials.planned)} runs, {executor.slots} at a time"
        + f", {done} of them done" * bool(done)
        + "; shown is the next, the others depend on results" * (sweep.method == "bayes"))


def check(sweep: Sweep, executor: Executor) -> None:
    """Passes all values through the parser of ``ptl-skel fit``.

    Raises:
        UserError: It rejects one, the data do not exist, or the executor starts a different number
            of processes than the trainer expects.
    """
    from ptl_skel.cli.lightning import parse  # takes seconds

    cells = extremes(sweep)
    try:
        configs = parse([arguments_of(sweep, cell) for cell in cells])
    except UserError as error:
        raise UserError(f"{sweep.path}: ptl-skel fit refuses it: {error}") from error
    for config in configs:
        file = Path(str(config["data"]["file"]))
        if not file.is_file():
            raise UserError(f"{sweep.path}: keypoint file {file} does not exist; `make preprocess` "
                            "explains where data come from, --experiment and --set data.file=... "
                            "name other data")
        _check_tasks(sweep, config["trainer"], executor.tasks)


class Coordinator:
    """Starts cells in free slots, watches them, and records how they end."""

    def __init__(self, sweep: Sweep, out: Path, executor: Executor, retries: int) -> None:
        self.sweep, self.out, self.executor, self.retries = sweep, out, executor, retries
        _same_settings(sweep, out)
        self.trials = Trials(sweep, out)
        self.begun = deque(self.trials.begun)
        self.running: dict[int, Running] = {}
        self.failures: dict[str, str] = {}
        self.state = ""
        self.progress = Progress(sweep, executor.slots, self.trials.planned)
        if self.trials.dropped:
            self.progress.say("not in the file any more, and left as they are: "
                              + ", ".join(self.trials.dropped))

    def run(self) -> None:
        """Runs until every cell has ended."""
        with self.progress:
            while True:
                self._fill_slots()
                self.progress.show(self.trials.overview(), self.running.values(), self.failures)
                if not self.running:
                    self._write_state()  # includes what a coordinator did before it was killed
                    return
                time.sleep(POLL)
                for one in list(self.running.values()):
                    self._poll(one)

    def shut_down(self) -> None:
        """Stops running trainings, which can be resumed from their last checkpoints."""
        for one in self.running.values():
            one.job.stop()
        while any(one.job.poll() is None for one in self.running.values()):
            time.sleep(POLL)

    def _fill_slots(self) -> None:
        for slot in range(self.executor.slots):
            while slot not in self.running:
                opened = self.begun.popleft() if self.begun else self.trials.next()
                if opened is None:
                    return
                run_dir = self.out / opened.cell.name
                if status_of(run_dir) == "finished":  # but the coordinator was killed just then
                    self._finish(opened, run_dir)
                else:
                    self._start(opened, run_dir, slot)

    def _start(self, opened: OpenCell, run_dir: Path, slot: int, last: Running | None = None
               ) -> None:
        """Starts a cell, or restarts it after its `last` training ended too early."""
        run_dir.mkdir(parents=True, exist_ok=True)
        job = self.executor.find(run_dir) or self.executor.start(
            command_of(self.sweep, opened.cell, run_dir), run_dir, slot)
        one = Running(opened, run_dir, job, last.curve if last else Curve(run_dir))
        one.curve.update()
        one.reached = one.curve.epochs
        if last is not None:
            one.tries, one.stuck = last.tries + 1, last.stuck
            one.reached = max(one.reached, last.reached)
        self.running[slot] = one
        self._write_state()

    def _poll(self, one: Running) -> None:
        code = one.job.poll()  # before reading the curve, which is complete if the job has ended
        one.curve.update()
        if self.sweep.halving is not None and not one.lags and self._lags(one):
            one.lags = True
            one.job.stop()
        if code is None:
            return
        slot = next(slot for slot, other in self.running.items() if other is one)
        del self.running[slot]
        one.stuck = 0 if one.curve.epochs > one.reached else one.stuck + 1
        if status_of(one.run_dir) == "finished":
            self._finish(one.opened, one.run_dir)
        elif one.lags:
            self.trials.stop(one.opened)
            self.progress.say(f"{one.name} lags behind and was stopped")
        elif one.stuck <= self.retries and code != MISTAKE:
            self.progress.say(f"{one.name} ended early and continues from its last checkpoint: "
                              + self._reason(one, code))
            self._start(one.opened, one.run_dir, slot, one)
        else:
            self.failures[one.name] = self._reason(one, code)
            self.progress.say(f"{one.name} failed: {self.failures[one.name]}")
        self._write_state()

    def _reason(self, one: Running, code: int) -> str:
        note = one.job.note()
        return reason(one.run_dir, code) + f" ({note})" * bool(note)

    def _lags(self, one: Running) -> bool:
        return any(one.opened.report(int(row["epoch"]) + 1, row[self.sweep.metric])
                   for row in one.curve.rows if self.sweep.metric in row and "epoch" in row)

    def _finish(self, opened: OpenCell, run_dir: Path) -> None:
        logged = logged_by(run_dir)
        if self.sweep.metric not in logged:
            hint = (": nothing is held out for validation, see data.val_fraction"
                    if self.sweep.metric.startswith("val/") else "")
            raise UserError(f"{run_dir} is finished, but has logged no {self.sweep.metric}{hint}; "
                            f"it has: {', '.join(logged)}")
        value = logged[self.sweep.metric]
        self.trials.finish(opened, value)
        self.progress.finished(opened.cell.name, value)

    def _write_state(self) -> None:
        """Updates sweep.json, for reports and for users."""
        running = {one.name for one in self.running.values()}
        cells = []
        for cell, state in self.trials.overview():
            if state == "open":
                state = ("running" if cell.name in running else
                         "failed" if cell.name in self.failures else "waiting")
            command = command_of(self.sweep, cell, self.out / cell.name)
            cells.append({"name": cell.name, "arm": cell.arm, "seed": cell.values.get(SEED),
                          "values": cell.values, "state": state,
                          "error": self.failures.get(cell.name), "command": shlex.join(command)})
        state = json.dumps({
            "schema_version": SCHEMA_VERSION, "sweep": self.sweep.name,
            "description": self.sweep.description,
            "metric": self.sweep.metric, "goal": self.sweep.goal,
            "settings": _settings(self.sweep), "cells": cells}, indent=1)
        if state != self.state:
            write_text(self.out / STATE, state)
            self.state = state


def _check_tasks(sweep: Sweep, trainer: Mapping[str, Any], tasks: tuple[int, int]) -> None:
    """Rejects a trainer that expects other processes than the executor starts for a run."""
    nodes, devices = trainer["num_nodes"], trainer["devices"]
    devices = len(devices) if isinstance(devices, list) else devices
    known = str(devices).isdigit()  # auto and -1 depend on the node
    if tasks != (1, 1) and (nodes != tasks[0] or (known and int(devices) != tasks[1])):
        raise UserError(
            f"{sweep.path}: a job has {tasks[0]} x {tasks[1]} processes (nodes x tasks_per_node), "
            f"but its trainer expects {nodes} x {devices}; give --set trainer.num_nodes="
            f"{tasks[0]} --set trainer.devices={tasks[1]}")


def _settings(sweep: Sweep) -> dict[str, Any]:
    """The settings that all cells of a folder must have in common."""
    settings: dict[str, Any] = {"method": sweep.method, "command": list(sweep.command)}
    if sweep.method != "grid":  # a grid may grow: its cells are identified by their values
        settings["parameters"] = {name: parameter.model_dump(exclude_unset=True)
                                  for name, parameter in sweep.parameters.items()}
    if sweep.method != "grid" or sweep.halving is not None:
        settings["metric"] = f"{sweep.metric}, {sweep.goal}"
    return settings


def _same_settings(sweep: Sweep, out: Path) -> None:
    path = out / STATE
    if not path.is_file():
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))["settings"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged; give --out another folder") from error
    now = _settings(sweep)
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            raise UserError(f"{out} was begun with another `{key}` ({before.get(key)}); give --out "
                            "another folder, or remove this one")


@contextmanager
def _terminable() -> Iterator[None]:
    """Makes SIGTERM and a closed terminal end the sweep as Ctrl-C does."""
    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    signals = [signal.SIGTERM]
    if sys.platform != "win32":
        signals.append(signal.SIGHUP)
    before = [signal.signal(number, stop) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
