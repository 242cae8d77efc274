"""What a run finds out beside its metrics: the cost of its network, and predictions of clips."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from rich.markup import escape
from rich.table import Table

from ptl_skel.command import console
from ptl_skel.cost.complexity import bfloat16_slowdown, measure
from ptl_skel.data.datamodule import KeypointDataModule
from ptl_skel.runs.predictions import Predictions, write_predictions
from ptl_skel.training.module import ActionRecognizer


def measure_cost(model: ActionRecognizer, data: KeypointDataModule, device: torch.device,
                 ) -> dict[str, Any]:
    """Parameters, GMACs and latency of a network, on the device that the run uses."""
    if device.type != "cpu":
        model = copy.deepcopy(model).to(device)  # Lightning moves the model itself, later
    return asdict(measure(model, data.input_shape))


def save_predictions(run_dir: Path, model: ActionRecognizer, data: KeypointDataModule,
                     *, write: bool) -> None:
    """Gathers the predictions of all processes, and writes them if `write` is true."""
    clip, label, probabilities = model.predictions.gather()
    if write:
        write_predictions(run_dir / "predictions.npz", Predictions(
            tuple(data.file.ids[i] for i in clip.tolist()), label.cpu().numpy(),
            probabilities.cpu().numpy(), data.class_names))


def warn_of_slow_bfloat16(trainer: Trainer) -> None:
    """Warns where bfloat16 makes training slower, not faster."""
    if not trainer.precision.startswith("bf16") or trainer.strategy.root_device.type != "cpu":
        return
    if (slowdown := bfloat16_slowdown()) > 2:
        console.print(f"warning: this CPU takes {slowdown:.0f} times as long in bfloat16; "
                      "--trainer.precision 32-true is faster", soft_wrap=True)


def summarise_run(run_dir: Path, result: Mapping[str, Any]) -> Table:
    """A table of the cost and the metrics of a run.

    Args:
        run_dir: Folder of the run.
        result: Content of its ``result.json``.
    """
    table = Table(title=escape(str(run_dir)), show_header=False)
    if (cost := result["model"]) is not None:
        table.add_row("parameters", f"{cost['params'] / 1e6:.3f} M")
        table.add_row("GMACs", f"{cost['gmacs']:.3f}")
        table.add_row("latency", f"{cost['latency_ms']:.1f} ms ({cost['device']})")
    if result["training_seconds"]:
        table.add_row("training", f"{result['training_seconds'] / 60:.1f} min")
    for name, value in result["metrics"].items():
        part, _, metric = name.partition("/")
        shown = f"{value:.4f}" if metric == "loss" else f"{100 * value:.2f} %"
        table.add_row(f"{part} {metric.replace('_', '-')}", shown)
    if (run_dir / "predictions.npz").exists():
        table.add_row("predictions", escape(str(run_dir / "predictions.npz")))
    return table
