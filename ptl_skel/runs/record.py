"""What a run leaves behind in its folder, and reading it back.

::

    config.yaml       every setting; `ptl-skel fit --config` repeats the run
    metrics.csv       the learning curve, a row for each epoch
    checkpoints/      last.ckpt, and best.ckpt where there is validation
    result.json       `RunRecord`: what ran where, what it cost, how it ended, its metrics
    predictions.npz   clip id, label and log-probabilities of each clip of the test
"""

from __future__ import annotations

import csv
import json
import os
import platform
import subprocess
import time
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException
from numpy.typing import NDArray

from ptl_skel.command import console
from ptl_skel.cost.complexity import Complexity

SCHEMA_VERSION = 1


class MetricsLogger(CSVLogger):
    """Writes ``metrics.csv`` into the folder of the run; a resumed run continues it.

    Args:
        run_dir: Folder of the run.
        epoch: The epoch at whose end the run is taken up; rows of later ones are dropped.
    """

    def __init__(self, run_dir: Path, epoch: int) -> None:
        super().__init__(run_dir, name="", version="")
        self._resumed = [{**row, "epoch": int(row["epoch"]), "step": int(row["step"])}
                         for row in read_metrics(run_dir) if row["epoch"] <= epoch]

    @property
    def experiment(self) -> Any:
        """Lightning's writer, which forgets the rows of an earlier run, with these rows."""
        fresh = self._experiment is None
        writer = super().experiment
        if fresh and self._resumed:
            writer.metrics = [*self._resumed]
        return writer


class RunRecord(Callback):
    """Keeps ``result.json`` true at any moment of a run.

    Args:
        run_dir: Folder of the run.
        config: Text of ``config.yaml``.
        facts: What is known before the run: command, seed, data.
        complexity: Cost of the network.
    """

    def __init__(self, run_dir: Path, config: str, facts: Mapping[str, Any],
                 complexity: Complexity) -> None:
        self.run_dir = run_dir
        self.config = config
        self.result: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION, "status": "running", **facts,
            "model": asdict(complexity), "versions": versions(), "git_commit": git_commit(),
            "machine": machine(), "metrics": {}}
        self.training_seconds = 0.0
        self._epoch_started = 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Writes down what is known before anything runs."""
        if trainer.is_global_zero:
            self.run_dir.mkdir(parents=True, exist_ok=True)
            if not (self.run_dir / "config.yaml").exists() or stage == "fit":
                write_text(self.run_dir / "config.yaml", self.config)
        self._write(trainer)

    def state_dict(self) -> dict[str, Any]:
        """The time spent so far: a resumed run goes on counting."""
        return {"training_seconds": self.training_seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`."""
        self.training_seconds = state_dict["training_seconds"]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock; validation does not count as training."""
        self._epoch_started = time.perf_counter()

    on_train_start = on_train_epoch_start  # a run resumed within an epoch does not start one

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes the learning curve's last values."""
        self.result["epochs"] = trainer.current_epoch + 1
        self._take_metrics(trainer)

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Counts the time of the step."""
        now = time.perf_counter()
        self.training_seconds += now - self._epoch_started
        self._epoch_started = now

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes the metrics of the validation."""
        self._epoch_started = time.perf_counter()
        if not trainer.sanity_checking:
            self._take_metrics(trainer)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes the metrics of the test."""
        self._take_metrics(trainer)

    def _take_metrics(self, trainer: Trainer) -> None:
        self.result["metrics"].update(
            {name: float(value) for name, value in trainer.callback_metrics.items()})
        self._write(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule,
                     exception: BaseException) -> None:
        """A run that ends before its time says so."""
        stopped = isinstance(exception, (KeyboardInterrupt, SIGTERMException))
        self.result["status"] = "interrupted" if stopped else "failed"
        self.result["error"] = None if stopped else f"{type(exception).__name__}: {exception}"
        self._write(trainer)
        last = self.run_dir / "checkpoints" / "last.ckpt"
        if stopped and trainer.is_global_zero and last.exists():
            console.print(f"stopped; `ptl-skel fit --ckpt_path {last}` goes on from the end of "
                          "the last epoch", soft_wrap=True)

    def finish(self, trainer: Trainer, **facts: Any) -> None:
        """Marks the run as finished, with what else is known by now."""
        self.result.update(facts, status="finished")
        self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            self.result["training_seconds"] = round(self.training_seconds, 1)
            write_text(self.run_dir / "result.json", json.dumps(self.result, indent=1))


def write_predictions(path: Path, ids: Sequence[str], label: torch.Tensor,
                      probabilities: torch.Tensor, class_names: Sequence[str]) -> None:
    """Writes clip id ``(N,)``, label ``(N,)``, log-probabilities ``(N, K)`` and class names."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        np.savez_compressed(
            file, clip=np.array(ids), label=label.cpu().numpy(),
            logits=probabilities.clamp_min(1e-12).log().cpu().numpy(),
            probabilities=probabilities.cpu().numpy(), class_names=np.array(class_names))
    temporary.replace(path)


def read_result(run_dir: Path) -> dict[str, Any]:
    """The ``result.json`` of a run.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is damaged or of another version.
    """
    path = run_dir / "result.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; `ptl-skel fit` leaves one in its folder")
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(result, dict) or result.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"{path} is no run record of schema version {SCHEMA_VERSION}")
    return result


@dataclass(frozen=True)
class Predictions:
    """What a run said of each clip of its test.

    Attributes:
        clip: Ids of the clips, ``(N,)``.
        label: True classes, ``(N,)``; -1 where they are not known.
        probabilities: ``(N, K)``.
        class_names: K names.
    """

    clip: tuple[str, ...]
    label: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    class_names: tuple[str, ...]


def read_predictions(run: Path) -> Predictions:
    """The ``predictions.npz`` of a run, given by the folder of the run or itself.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is damaged.
    """
    path = run if run.suffix == ".npz" else run / "predictions.npz"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; `ptl-skel test` on a checkpoint of the "
                                "run writes one")
    try:
        with np.load(path, allow_pickle=False) as file:
            names = ("clip", "label", "probabilities", "class_names")
            clip, label, probabilities, class_names = (file[name] for name in names)
        if (len(clip), len(class_names)) != probabilities.shape or clip.shape != label.shape:
            raise ValueError("its arrays do not fit each other")
        if len(label) and not -1 <= label.min() <= label.max() < len(class_names):
            raise ValueError("it has labels out of range")
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile,
            zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    return Predictions(tuple(clip.tolist()), label, probabilities, tuple(class_names.tolist()))


def in_the_order_of(first: Predictions, file: Predictions, names: tuple[object, object],
                    ) -> Predictions:
    """Predictions of the same clips as the first, in its order.

    Args:
        first: Gives the order.
        file: What is put into it.
        names: Of the two, for messages.

    Raises:
        ValueError: They are not of the same clips, or do not agree on labels or classes.
    """
    first_name, name = names
    place = {clip: i for i, clip in enumerate(file.clip)}
    if len(place) < len(file.clip):
        raise ValueError(f"{name} holds a clip twice")
    if file.class_names != first.class_names:
        raise ValueError(f"{name} has other classes than {first_name}")
    if other := sorted(place.keys() ^ set(first.clip)):
        raise ValueError(f"{name} and {first_name} are not of the same clips: {len(other)} are in "
                         f"one alone, e.g. {other[0]}")
    order = [place[clip] for clip in first.clip]
    if (file.label[order] != first.label).any():
        raise ValueError(f"{name} has other labels than {first_name}")
    return Predictions(first.clip, first.label, file.probabilities[order], first.class_names)


def read_metrics(run_dir: Path) -> list[dict[str, float]]:
    """Rows of the ``metrics.csv`` of a run; empty where there is none."""
    path = run_dir / "metrics.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items() if value}
                for row in csv.DictReader(file)]


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def versions() -> dict[str, str]:
    """Versions of Python and of what the numbers depend on."""
    packages = ("ptl_skel", "torch", "lightning", "torchmetrics", "numpy", "h5py")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def machine() -> dict[str, Any]:
    """Where the run takes place."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"system": platform.platform(), "cpu": _cpu_name(), "cores": os.cpu_count(),
            "threads": torch.get_num_threads(), "gpus": gpus}


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def git_commit() -> str | None:
    """Commit of the source tree, with ``+`` where it has changes; None outside a checkout."""
    here = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            cwd=here, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()
