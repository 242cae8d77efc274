"""Runs side by side: a table, accuracy against cost, confusion matrices; from run records only."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.table import Table

from ptl_skel.commands import UserError, console
from ptl_skel.records import Predictions, read_predictions, read_result
from sweeps.pictures import draw_accuracy, draw_confusion


@dataclass(frozen=True)
class Run:
    """What the record of a tested run says.

    Attributes:
        name: Its folder, as seen from the folder that holds all runs of the report.
        dataset: Data set and protocol, which runs must share to be compared.
        protocol: See `dataset`.
        top1: Accuracy in 0..1.
        mean_class: Mean of the accuracies of the classes, 0..1.
        params: Number of parameters.
        gmacs: Multiply-accumulates of one clip, in billions.
        latency_ms: Median time of a forward pass with one clip.
        machine: Where that was measured.
        training_seconds: Time in training steps; 0 where a checkpoint of another run was tested.
        seed: Seed of the run.
        chosen_on_test: The checkpoint was chosen by its accuracy on the test part.
        predictions: Of each clip of the test.
    """

    name: str
    dataset: str
    protocol: str
    top1: float
    mean_class: float
    params: int
    gmacs: float
    latency_ms: float
    machine: str
    training_seconds: float
    seed: int
    chosen_on_test: bool
    predictions: Predictions


def read_run(folder: Path, name: str) -> Run:
    """The record of a run.

    Raises:
        UserError: It is missing, damaged, or has no test.
    """
    try:
        result = read_result(folder)
        if "test/top1" not in result["metrics"]:
            raise UserError(f"{folder} has no test (the run is {result['status']}); `ptl-skel "
                            "test` on its checkpoint makes a record that has one")
        data, model, metrics = result["data"], result["model"], result["metrics"]
        return Run(
            name, str(data["dataset"]), str(data["protocol"]), float(metrics["test/top1"]),
            float(metrics["test/mean_class"]), int(model["params"]), float(model["gmacs"]),
            float(model["latency_ms"]), f"{result['machine']['cpu']} ({model['device']})",
            float(result["training_seconds"]), int(result["seed"]),
            data["validation"] == "test part", read_predictions(folder))
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder / 'result.json'} is damaged: {error!r}") from error
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from error


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """The records of runs that can be compared.

    Raises:
        UserError: One is missing or damaged, or of another data set or protocol than the first.
    """
    parent = _common_parent(folders)
    runs = [read_run(folder, folder.resolve().relative_to(parent).as_posix())
            for folder in folders]
    for folder, run in zip(folders, runs, strict=True):
        if (run.dataset, run.protocol) != (runs[0].dataset, runs[0].protocol):
            raise UserError(
                f"{folder} is a run on {run.dataset} ({run.protocol}), but {folders[0]} is one on "
                f"{runs[0].dataset} ({runs[0].protocol}); compare runs on the same data")
    return runs


def _common_parent(folders: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([folder.resolve().parent for folder in folders]))


def write_report(folders: Sequence[Path], out: Path | None = None) -> None:
    """Prints the table of some runs, and writes it with the pictures.

    Args:
        folders: The folders of the runs.
        out: Where to write; None for ``report`` in the folder that holds all of them.

    Raises:
        UserError: The runs cannot be compared, or `out` cannot be written.
    """
    runs = read_runs(folders)
    out = out or _common_parent(folders) / "report"
    rows, notes = rows_of(runs), notes_on(runs)
    table = Table(*rows[0], box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*row.values())
    console.print(table, *notes, sep="\n", markup=False, highlight=False)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "table.md").write_text(markdown(rows, notes), encoding="utf-8")
        points = [(run.name, run.gmacs, run.top1) for run in runs]
        draw_accuracy(points, notes[0]).savefig(out / "accuracy_vs_gmacs.png", dpi=130)
        for run in runs:
            title = f"{run.name}: top-1 {_percent(run.top1)}, mean-class {_percent(run.mean_class)}"
            figure = draw_confusion(confusion(run.predictions), run.predictions.class_names, title)
            figure.savefig(out / f"confusion_{run.name.replace('/', '-')}.png", dpi=110)
    except OSError as error:
        raise UserError(f"the report cannot be written to {out}: {error.strerror}") from error
    console.print(f"table and pictures: {out}", markup=False, highlight=False, soft_wrap=True)


def rows_of(runs: Sequence[Run]) -> list[dict[str, str]]:
    """The table: for each run the cell of each column."""
    rows = [{
        "arm": run.name,
        "top-1": _percent(run.top1) + " *" * run.chosen_on_test,
        "mean-class": _percent(run.mean_class),
        "params": f"{run.params / 1e6:.3f} M",
        "GMACs": f"{run.gmacs:.3f}",
        "latency": f"{run.latency_ms:.1f} ms",
        "machine": run.machine,
        "training": f"{run.training_seconds / 60:.1f} min" if run.training_seconds else "-",
        "seed": str(run.seed),
    } for run in runs]
    if len({run.machine for run in runs}) == 1:  # then `notes_on` says it once
        for row in rows:
            del row["machine"]
    return rows


def notes_on(runs: Sequence[Run]) -> list[str]:
    """What holds for all rows of the table; first the data."""
    first = runs[0]
    notes = [f"{first.dataset}, {first.protocol}: {len(first.predictions.clip):,} test clips"]
    if len({run.machine for run in runs}) == 1:
        notes.append(f"latency: one clip on {first.machine}")
    if any(run.chosen_on_test for run in runs):
        notes.append("* the checkpoint was chosen on the test part")
    return notes


def markdown(rows: Sequence[dict[str, str]], notes: Sequence[str]) -> str:
    """The table as Markdown, the notes below it."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    table = "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |"
                      for line in lines)
    return "\n\n".join([table, *notes]).replace("\n* ", "\n\\* ") + "\n"


def confusion(predictions: Predictions) -> NDArray[np.float64]:
    """Share of the clips of each true class (row) that got each class, ``(K, K)``.

    Rows of classes without a clip are NaN.
    """
    classes = len(predictions.class_names)
    known = predictions.label >= 0
    counts = np.zeros((classes, classes))
    np.add.at(counts, (predictions.label[known], predictions.probabilities.argmax(1)[known]), 1)
    clips = counts.sum(1, keepdims=True)
    shares: NDArray[np.float64] = np.where(clips > 0, counts / np.maximum(clips, 1), np.nan)
    return shares


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
