"""Results of a run besides metrics: cost of its network, predictions, scores of classes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import Trainer
from rich.markup import escape
from rich.table import Table

from ptl_skel.backbones import Backbone
from ptl_skel.command import console
from ptl_skel.cost.complexity import bfloat16_slowdown, measure
from ptl_skel.data.classes import listed
from ptl_skel.data.datamodule import KeypointDataModule
from ptl_skel.errors import UserError
from ptl_skel.metrics import DELAY, F1, LOSS
from ptl_skel.runs.predictions import (
    PREDICTIONS,
    Predictions,
    read_predictions,
    top_predictions,
    write_predictions,
    write_table,
)
from ptl_skel.training.evaluation import class_scores
from ptl_skel.training.module import ActionRecognizer

WORST = 3
"""Number of classes with the lowest F1 scores that a summary lists."""

SHOWN = 10
"""Number of predictions that are printed."""


def measure_cost(model: ActionRecognizer, data: KeypointDataModule, device: torch.device,
                 ) -> dict[str, Any]:
    """Parameters, GMACs and latency of a network, on the device that the run uses.

    Raises:
        UserError: The backbone returns another number of channels than it declares.
        RuntimeError: It does not take the inputs.
    """
    if device.type != "cpu":
        model = copy.deepcopy(model).to(device)  # Lightning moves the model itself, later
    backbone, shapes = cast(Backbone, model.classifier.backbone), list[torch.Size]()
    hook = backbone.register_forward_hook(lambda *known: shapes.append(known[-1].shape))
    try:
        return asdict(measure(model, data.input_shape))
    except RuntimeError as error:
        if not shapes or shapes[0][1] == backbone.num_features:
            raise
        raise UserError(f"the backbone {type(backbone).__name__} declares "
                        f"{backbone.num_features} `num_features`, but its features have "
                        f"{shapes[0][1]} channels, in the shape {tuple(shapes[0])}") from error
    finally:
        hook.remove()


def save_predictions(run_dir: Path, model: ActionRecognizer, data: KeypointDataModule,
                     *, write: bool) -> None:
    """Gathers the predictions of all processes, and writes them if `write` is True."""
    clip, label, probabilities = model.predictions.gather()
    if write:
        write_predictions(run_dir / PREDICTIONS, Predictions(
            tuple(data.file.ids[i] for i in clip.tolist()), label.cpu().numpy(),
            probabilities.cpu().numpy(), data.class_names))


def tabulate_predictions(run_dir: Path) -> Table:
    """Writes the predictions of a run as a table, ``predictions.csv``, and returns its beginning.

    Args:
        run_dir: Folder of the run, which has written its ``predictions.npz``.
    """
    predictions = read_predictions(run_dir)
    write_table(run_dir / "predictions.csv", predictions)
    found = top_predictions(predictions)
    table = Table("clip", "class", "probability", title=escape(str(run_dir / "predictions.csv")))
    for clip, name, probability in found[:SHOWN]:
        table.add_row(escape(clip), escape(name), f"{probability:.4f}")
    if len(found) > SHOWN:
        table.add_row(f"and {len(found) - SHOWN:,} more", "", "")
    return table


def score_classes(model: ActionRecognizer, data: KeypointDataModule) -> list[dict[str, Any]]:
    """Name, clips, precision, recall and F1 score of each class in the test."""
    scores = class_scores(model.confusion_matrix())
    return [{"name": name, **each} for name, each in zip(data.class_names, scores, strict=True)]


def warn_of_slow_bfloat16(trainer: Trainer) -> None:
    """Warns if bfloat16 makes training slower."""
    if not trainer.precision.startswith("bf16") or trainer.strategy.root_device.type != "cpu":
        return
    if (slowdown := bfloat16_slowdown()) > 2:
        console.print(f"warning: this CPU takes {slowdown:.0f} times as long in bfloat16; "
                      "--trainer.precision 32-true is faster", soft_wrap=True)


def warn_of_untrained_classes(data: KeypointDataModule) -> None:
    """Warns of classes without training clips, e.g. because their only subject is held out."""
    untrained = [name for name, count in zip(data.class_names, data.class_counts, strict=True)
                 if not count]
    if untrained:
        console.print(f"warning: the network cannot learn {listed(untrained)}: no training clip "
                      f"shows it (validation: {data.validation})", soft_wrap=True, markup=False)


def warn_of_early_end(trainer: Trainer) -> None:
    """Warns of a training that ended before its last step, e.g. because of ``max_time``.

    Args:
        trainer: Has just trained.
    """
    steps = trainer.estimated_stepping_batches
    if trainer.global_step < steps:
        console.print(
            f"warning: the training ended after {trainer.global_step:,} of {steps:,.0f} steps; the "
            "learning rate falls to 0, and weights are averaged, only at the end, so "
            "--trainer.max_epochs with fewer epochs gives a better network", soft_wrap=True)


def warn_of_divergence(result: Mapping[str, Any]) -> None:
    """Warns if the training loss became NaN or infinite.

    Args:
        result: Content of ``result.json``.
    """
    if "diverged" in result:
        console.print(f"warning: the training diverged: since epoch {result['diverged']} its loss "
                      "is not a number; a lower --model.optimizer.init_args.lr, --model.warmup or "
                      "--trainer.gradient_clip_val can prevent that", soft_wrap=True)


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
        if seconds := result["training_seconds"]:
            table.add_row("training", f"{seconds:.0f} s" if seconds < 60 else
                          f"{seconds / 60:.1f} min")
    for name, value in result["metrics"].items():
        part, _, metric = name.partition("/")
        shown = (f"{value:.4f}" if metric == LOSS else f"{value:.0f} frames" if metric == DELAY
                 else f"{100 * value:.2f} %")
        name = "F1" if metric == F1 else metric.replace("_", "-")
        table.add_row(f"{part} {name}", shown)
    tested = [each for each in result.get("classes", ()) if each["clips"]]
    if len(tested) > WORST:
        worst = sorted(tested, key=lambda each: float(each["f1"]))[:WORST]
        table.add_row("lowest F1", escape(", ".join(
            f"{each['name']} {100 * each['f1']:.0f} %" for each in worst)))
    if (run_dir / PREDICTIONS).exists():
        table.add_row("predictions", escape(str(run_dir / PREDICTIONS)))
    return table
