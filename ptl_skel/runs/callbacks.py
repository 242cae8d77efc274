"""Keeps the record of a run up to date, from its start to its end, however it ends."""

from __future__ import annotations

import contextlib
import math
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from ptl_skel.atomic import write_text
from ptl_skel.command import console
from ptl_skel.errors import UserError
from ptl_skel.metrics import LOSS
from ptl_skel.runs.environment import git_commit, machine, versions
from ptl_skel.runs.record import (
    CONFIG,
    ERROR,
    EXPORTED,
    ROBUSTNESS,
    read_result,
    write_result,
)

TRAIN_LOSS = f"train/{LOSS}"


class RunRecord(Callback):
    """Writes ``result.json``, ``config.yaml`` and, if the run fails, ``error.txt``.

    Args:
        facts: What is known before the run: command, seed, data.

    Attributes:
        result: Content of ``result.json``.
        training_seconds: Time spent in training steps, including those before the run was resumed.
    """

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.result: dict[str, Any] = {
            "status": "running", **facts, "model": None, "versions": versions(),
            "git_commit": git_commit(), "machine": machine(), "metrics": {}}
        self.training_seconds = 0.0
        self._run_dir = Path()
        self._rank = 0
        self._step_started = 0.0
        self._interrupted = False

    def start(self, run_dir: Path, config: str, rank: int) -> None:
        """Writes what is known; from now on the folder has a record.

        Args:
            run_dir: Folder of the run.
            config: Text of ``config.yaml``.
            rank: Rank of this process; only rank 0 writes.
        """
        self._run_dir, self._rank = run_dir, rank
        if rank == 0:
            for stale in run_dir.glob("error*.txt"):
                stale.unlink()
            write_text(run_dir / CONFIG, config)
            self._keep_earlier(run_dir)
        self._write()

    def _keep_earlier(self, run_dir: Path) -> None:
        """Keeps the epochs and metrics in the record of a resumed run, except those of its test."""
        with contextlib.suppress(UserError):  # a new run, or a record that cannot be used
            earlier = read_result(run_dir)
            self.result["metrics"] = {name: value for name, value in earlier["metrics"].items()
                                      if not name.startswith("test/")}
            self.result |= {name: earlier[name] for name in ("epochs", "diverged")
                            if name in earlier}

    def update(self, **facts: Any) -> None:
        """Adds facts to the record."""
        self.result.update(facts)
        self._write()

    def add_metrics(self, metrics: Mapping[str, float]) -> None:
        """Adds metrics that the trainer does not know."""
        self.result["metrics"].update(metrics)
        self._write()

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Records whether the block is interrupted or fails, and why; re-raises the exception.

        Raises:
            KeyboardInterrupt: After Ctrl-C, which Lightning would turn into an exit.
        """
        try:
            yield
        except BaseException as error:
            terminated = isinstance(error, SIGTERMException)
            if self._interrupted or terminated or isinstance(error, KeyboardInterrupt):
                self._record_interruption()
                if terminated:
                    sys.exit(128 + signal.SIGTERM)
                raise KeyboardInterrupt from error
            self._record_failure(error)
            raise

    def _record_interruption(self) -> None:
        if self._rank or self._first_failure():
            return  # it ended because another process failed, which is already recorded
        self.update(status="interrupted", error=None)
        last = self._run_dir / "checkpoints" / "last.ckpt"
        if last.exists():
            console.print(f"stopped; `ptl-skel fit --ckpt_path {last}` continues from the last "
                          "checkpoint", soft_wrap=True, markup=False, highlight=False)

    def _record_failure(self, error: BaseException) -> None:
        why = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        name = ERROR if self._rank == 0 else f"error-rank{self._rank}.txt"
        write_text(self._run_dir / name, traceback.format_exc())
        if self._rank == 0:  # the failure of another process appears here as a lost connection
            self.update(status="failed", error=self._first_failure() or why)
        else:  # rank 0 may be killed before it can write
            write_result(self._run_dir, {**read_result(self._run_dir), "status": "failed",
                                         "error": self._first_failure()})

    def _first_failure(self) -> str | None:
        """Which process other than rank 0 failed first, and why."""
        files = sorted(self._run_dir.glob("error-rank*.txt"), key=lambda file: file.stat().st_mtime)
        if not files:
            return None
        rank = files[0].stem.removeprefix("error-rank")
        return f"rank {rank}: {files[0].read_text(encoding='utf-8').strip().splitlines()[-1]}"

    def on_exception(self, trainer: Trainer, pl_module: LightningModule,
                     exception: BaseException) -> None:
        """Notes Ctrl-C."""
        self._interrupted = isinstance(exception, KeyboardInterrupt)

    def state_dict(self) -> dict[str, Any]:
        """The time spent so far, from which a resumed run continues."""
        return {"training_seconds": self.training_seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`."""
        self.training_seconds = state_dict["training_seconds"]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock; validation does not count as training."""
        self._step_started = time.perf_counter()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock; removes tests of the weights that a resumed run goes on from."""
        self._step_started = time.perf_counter()  # a run resumed within an epoch does not start one
        if self._rank == 0:
            for name in (ROBUSTNESS, EXPORTED):
                self._remove_earlier(self._run_dir / name)

    @staticmethod
    def _remove_earlier(tests: Path) -> None:
        if not tests.exists():
            return
        if tests.is_dir():
            shutil.rmtree(tests)
        else:
            tests.unlink()
        console.print(f"removed {tests}: its tests are those of earlier weights",
                      markup=False, highlight=False, soft_wrap=True)

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Counts the time of the step."""
        now = time.perf_counter()
        self.training_seconds += now - self._step_started
        self._step_started = now

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Records the last values of the learning curve."""
        self.result["epochs"] = trainer.current_epoch + 1
        if not math.isfinite(float(trainer.callback_metrics.get(TRAIN_LOSS, 0.0))):
            self.result.setdefault("diverged", trainer.current_epoch + 1)
        self._take_metrics(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Records the metrics of the validation."""
        self._step_started = time.perf_counter()
        if not trainer.sanity_checking:
            self._take_metrics(trainer)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Records the metrics of the test."""
        self._take_metrics(trainer)

    def _take_metrics(self, trainer: Trainer) -> None:
        self.result["metrics"].update(
            {name: float(value) for name, value in trainer.callback_metrics.items()})
        self._write()

    def _write(self) -> None:
        if self._rank == 0:
            self.result["training_seconds"] = round(self.training_seconds, 1)
            write_result(self._run_dir, self.result)
