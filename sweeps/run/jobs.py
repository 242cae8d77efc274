"""One training of a sweep: its command, and the process that runs it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from ptl_skel.errors import UserError
from ptl_skel.runs.process import die_with

from .files import Sweep
from .process import LOG
from .space import Cell, arguments_of

GRACE = 30.0
"""Seconds between SIGTERM and SIGKILL."""


class Job(Protocol):
    """A training that was started."""

    def poll(self) -> int | None:
        """Exit code; None while it runs."""

    def stop(self) -> None:
        """Asks it to stop; after `GRACE` seconds it is killed."""

    def note(self) -> str:
        """The executor's reason for its end, if the run folder does not show it, or ""."""


class Executor(Protocol):
    """Runs trainings.

    Attributes:
        slots: Number of concurrent trainings.
        tasks: Nodes, and processes on each, for a training. ``(1, 1)`` is a single process, which
            starts further ones itself if its trainer has several devices.
    """

    slots: int
    tasks: tuple[int, int]

    def start(self, command: list[str], run_dir: Path, slot: int) -> Job:
        """Starts a training."""

    def to_shell(self, command: list[str], slot: int) -> str:
        """The command of `start`, to paste into a shell."""

    def find(self, run_dir: Path) -> Job | None:
        """The running training in that folder that an earlier coordinator started."""


def command_of(sweep: Sweep, cell: Cell, run_dir: Path) -> list[str]:
    """The command that trains a cell in its folder, or resumes it.

    Raises:
        UserError: The command needs an environment variable that is not set.
    """
    words: list[str] = []
    for word in sweep.command[: sweep.command.index("fit") + 1]:
        if variable := re.fullmatch(r"\$\{envvar:(\w+)\}", word):
            if variable[1] not in os.environ:
                raise UserError(f"{sweep.path}: the environment has no {variable[1]}")
            words.append(os.environ[variable[1]])
        elif word == "${interpreter}":
            words.append(sys.executable)
        elif word != "${env}":
            words.append(word)
    return [*words, "--trainer.enable_progress_bar", "false", *arguments_of(sweep, cell),
            "--run_dir", str(run_dir), "--ckpt_path", "last"]


class LocalExecutor:
    """Trainings as child processes, each with its share of the machine.

    Args:
        slots: Number of concurrent trainings; each gets its share of the cores and of the GPUs. If
            there are more slots than GPUs, slots share them.
    """

    tasks = (1, 1)

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.gpus = visible_gpus()
        cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
        self.threads = max(1, cores // slots)

    def environment(self, slot: int) -> dict[str, str]:
        """Environment of the training in a slot; variables set by the user are kept."""
        own = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(self.threads))}
        if self.gpus:  # a training uses the first of its share, unless it has more devices
            share = max(1, len(self.gpus) // self.slots)
            first = slot * share % len(self.gpus)
            own["CUDA_VISIBLE_DEVICES"] = ",".join(self.gpus[first : first + share])
        return own

    def start(self, command: list[str], run_dir: Path, slot: int) -> LocalJob:
        """See `Executor`."""
        return LocalJob(command, self.environment(slot), run_dir)

    def to_shell(self, command: list[str], slot: int) -> str:
        """See `Executor`."""
        return to_shell(command, self.environment(slot))

    def find(self, run_dir: Path) -> None:
        """None: a child process ends with its coordinator."""


class LocalJob:
    """A child process that ends with its parent, however that happens (on Linux)."""

    def __init__(self, command: list[str], environment: Mapping[str, str], run_dir: Path) -> None:
        self.killed_at = float("inf")
        with (run_dir / LOG).open("ab") as log:
            log.write(f"$ {to_shell(command, environment)}\n".encode())
            log.flush()
            self.process = subprocess.Popen(
                command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True, preexec_fn=die_with(os.getpid()))

    def poll(self) -> int | None:
        """See `Job`."""
        if self.process.poll() is None and time.monotonic() > self.killed_at:
            self._kill()
        return self.process.poll()

    def _kill(self) -> None:
        """Kills the training and, on systems with process groups, its child processes."""
        if sys.platform == "win32":
            self.process.kill()
        else:
            os.killpg(self.process.pid, signal.SIGKILL)

    def stop(self) -> None:
        """See `Job`."""
        if self.process.poll() is None and self.killed_at == float("inf"):
            self.process.terminate()
            self.killed_at = time.monotonic() + GRACE

    def note(self) -> str:
        """See `Job`."""
        return ""


def to_shell(command: list[str], environment: Mapping[str, str]) -> str:
    """A command to paste into a shell."""
    return " ".join([*(f"{name}={value}" for name, value in environment.items()),
                     shlex.join(command)])


def visible_gpus() -> list[str]:
    """Names of the GPUs as CUDA_VISIBLE_DEVICES takes them."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in visible.split(",") if name.strip() not in {"", "-1"}]
    try:
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True,
                                check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(number) for number, line in enumerate(listed.splitlines()) if line.strip()]
