"""The folder of a run: reserved at the start, and known to all processes of the run.

The processes of a run are started in two ways. Lightning starts the others from the first one,
which passes its decisions on in the environment. torchrun and Slurm start all of them at once; then
they first join their process group, and rank 0 sends its decisions to the others.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from ptl_skel.errors import UserError
from ptl_skel.runs.process import die_with

DECISIONS = "PTL_SKEL_DECISIONS"
"""Environment variable that holds rank 0's decisions for processes that Lightning starts."""
LAG = 60.0
"""Seconds after which a file that rank 0 has seen must have appeared on a shared disk."""


def reserve_folder(wanted: Path) -> Path:
    """Makes a new folder: `wanted`, or its name with the first free number.

    Raises:
        UserError: The folder cannot be created.
    """
    if wanted.exists() and not wanted.is_dir():
        raise UserError(f"--run_dir {wanted} is a file; give the name of a folder")
    number, folder = 1, wanted
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        while True:
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                return folder
            number += 1
            folder = wanted.with_name(f"{wanted.name}-{number}")
    except OSError as error:
        raise UserError(f"--run_dir {wanted} cannot be made: {error.strerror}") from error


class Ranks:
    """The processes of a run; rank 0 decides for all of them.

    Args:
        trainer: Knows their number and how they were started.

    Raises:
        UserError: There are several nodes without a launcher, or not as many processes as the
            trainer expects.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.decisions: list[Any] = []
        """What rank 0 has decided so far, for the processes that Lightning starts from it."""
        self._inherited = _take_decisions()
        environment = getattr(trainer.strategy, "cluster_environment", None)
        # A process that Lightning has started from another one looks like one of torchrun's.
        self._all_at_once = (self._inherited is None and environment is not None
                             and environment.creates_processes_externally)
        if (trainer.num_nodes > 1 and isinstance(environment, LightningEnvironment)
                and not self._all_at_once):
            raise UserError(f"--trainer.num_nodes {trainer.num_nodes} needs torchrun or Slurm, "
                            "which start the processes on all nodes")
        expected = trainer.num_devices * trainer.num_nodes
        if environment is not None and self._all_at_once and expected > 1:
            try:  # before the processes wait for each other
                environment.validate_settings(trainer.num_devices, trainer.num_nodes)
            except ValueError as error:
                raise UserError(" ".join(str(error).split())) from error

    @property
    def is_first(self) -> bool:
        """Whether this process is rank 0."""
        return self.trainer.global_rank == 0

    def meet(self) -> None:
        """Waits for the other processes, if torchrun or Slurm starts all of them at once.

        To be called before anything is decided.
        """
        if self._all_at_once and self.trainer.world_size > 1:
            self.trainer.strategy.setup_environment()

    def decide(self, decision: Callable[[], Any]) -> Any:
        """The decision of rank 0, in every process.

        Args:
            decision: Called in rank 0 only; returns a JSON value before training starts, or
                anything that can be pickled afterwards.

        Raises:
            UserError: Raised by `decision`; in every process.
        """
        if self.trainer.world_size == 1:
            return decision()
        if self._all_at_once or torch.distributed.is_initialized():
            return self._broadcast(decision)
        if self._inherited is not None:
            return next(self._inherited)
        self.decisions.append(decision())
        return self.decisions[-1]

    def _broadcast(self, decision: Callable[[], Any]) -> Any:
        message: tuple[str, Any] = ("", None)
        if self.is_first:
            try:
                message = "decided", decision()
            except UserError as error:
                message = "refused", str(error)
        kind, value = self.trainer.strategy.broadcast(message)
        if kind == "refused":
            raise UserError(value)
        return value

    @contextmanager
    def handing_on(self) -> Iterator[None]:
        """Passes the decisions so far to processes that Lightning starts in this block."""
        if not self.decisions:
            yield
            return
        os.environ[DECISIONS] = json.dumps({"process": os.getpid(), "taken": self.decisions})
        self._leave_interrupts_to_rank_0()
        try:
            yield
        finally:
            del os.environ[DECISIONS]

    def _leave_interrupts_to_rank_0(self) -> None:
        """Makes the other processes that Lightning starts ignore Ctrl-C.

        A terminal sends it to all processes. If one ended during its start, Lightning would kill
        rank 0 before that can record the interruption; rank 0 terminates the others itself.
        """
        launcher = self.trainer.strategy.launcher
        if not isinstance(launcher, _SubprocessScriptLauncher):
            return
        start = launcher._call_children_scripts

        def start_ignoring() -> None:
            handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
            try:
                start()
            finally:
                signal.signal(signal.SIGINT, handler)

        vars(launcher)["_call_children_scripts"] = start_ignoring


def _take_decisions() -> Iterator[Any] | None:
    """The decisions of rank 0, in a process that Lightning started from it; else None.

    Such a process ends with rank 0. Otherwise, if rank 0 is killed during the rendezvous, it would
    wait for half an hour.
    """
    inherited = os.environ.get(DECISIONS)
    if inherited is None:
        return None
    decisions = json.loads(inherited)
    ask = die_with(decisions["process"])
    if ask is not None:
        ask()
    taken: list[Any] = decisions["taken"]
    return iter(taken)


def wait_for_file(path: Path) -> None:
    """Waits for a file that rank 0 has seen, but that may appear later for others on a shared disk.

    Raises:
        UserError: It has not appeared.
    """
    patience = time.monotonic() + LAG
    while not path.is_file():
        if time.monotonic() > patience:
            raise UserError(f"{path} is seen by the first process only; a run on several nodes "
                            "needs a shared disk")
        time.sleep(0.1)
