"""Loggers for metrics during a run: ``metrics.csv``, and Weights & Biases."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, WandbLogger

from ptl_skel.errors import UserError
from ptl_skel.metrics import COST
from ptl_skel.runs.record import read_metrics


class MetricsLogger(CSVLogger):
    """Writes ``metrics.csv`` to the folder of the run; a resumed run appends to it.

    Args:
        run_dir: Folder of the run.
        resumed_at: Steps of the checkpoint from which the run is resumed; rows of later ones are
            dropped. 0 for a new run.
    """

    def __init__(self, run_dir: Path, resumed_at: int) -> None:
        super().__init__(run_dir, name="", version="")
        self._earlier = [
            {**row, **{name: int(row[name]) for name in ("epoch", "step") if name in row}}
            for row in read_metrics(run_dir) if row["step"] < resumed_at]

    @property
    def experiment(self) -> Any:
        """Lightning's writer, with the rows of an earlier run, which it would drop."""
        fresh = self._experiment is None
        writer = super().experiment
        if fresh and self._earlier:
            writer.metrics = [*self._earlier]
        return writer


def _wandb_mode(mode: str) -> str:
    """The W&B mode; always online for a run that an agent of ``wandb sweep`` started."""
    return "online" if "WANDB_SWEEP_ID" in os.environ else mode


def check_wandb(mode: str) -> None:
    """Logs in if the mode is online; at a terminal, W&B asks for a missing key.

    Raises:
        UserError: There is no key.
    """
    if _wandb_mode(mode) != "online":
        return
    import wandb

    try:
        wandb.login()
    except wandb.errors.UsageError as error:
        raise UserError("--wandb online needs the key of an account: `wandb login` stores it, or "
                        "WANDB_API_KEY holds it; --wandb offline needs none") from error


def wandb_loggers(run_dir: Path, mode: str, config: Mapping[str, Any], cost: Mapping[str, Any],
                  ) -> list[WandbLogger]:
    """The logger for Weights & Biases; empty if the mode is off.

    Args:
        run_dir: Folder of the run, which exists.
        mode: ``off``, ``offline``, which writes only to the folder of the run, or ``online``.
        config: Settings of the run.
        cost: Cost of its network; `COST` becomes the summary.
    """
    mode = _wandb_mode(mode)
    if mode == "off":
        return []
    import wandb

    logger = WandbLogger(
        name=run_dir.name, project="ptl_skel",
        save_dir=run_dir.resolve(),  # its service may have been started in another folder
        offline=mode == "offline", config={"config": dict(config)},
        settings=wandb.Settings(silent=mode == "offline"))
    logger._wandb_init.pop("anonymous", None)  # Lightning sets it to None; W&B warns about it
    logger.experiment.summary.update({name: cost[name] for name in COST})
    return [logger]


def finish_wandb() -> None:
    """Ends the W&B run; otherwise another fit in this process would be logged to it."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish()
