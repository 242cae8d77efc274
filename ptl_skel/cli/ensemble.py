"""``ptl-skel ensemble``: the mean of the predictions of several runs, e.g. joints and limbs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from ptl_skel.atomic import write_text
from ptl_skel.command import CommandParser, console, writing
from ptl_skel.errors import UserError
from ptl_skel.metrics import F1, MEAN_CLASS, TOP1, TOP5
from ptl_skel.runs.predictions import (
    Predictions,
    in_the_order_of,
    read_predictions,
    write_predictions,
)
from ptl_skel.training.evaluation import accuracies

STEPS = [step / 10 for step in range(21)]
"""Weights that are tried for a file while the others are fixed; all start with 1."""


def main(args: Sequence[str]) -> None:
    """Prints the accuracy of several predictions, and of their weighted mean.

    Raises:
        UserError: The files do not belong together, or the weights are invalid.
    """
    options = _parser().parse_args(args)
    if options.out is not None and options.out.suffix != ".npz":
        raise UserError(f"--out must end in .npz, got {options.out}")
    outputs = [] if options.out is None else [options.out, options.out.with_suffix(".json")]
    if taken := [path for path in outputs if path.exists()]:
        raise UserError(f"--out: {taken[0]} exists; it is not overwritten")
    files = read_matching(options.predictions)
    shares = shares_of(_search_weights(options.search, files) if options.search
                       else options.weights, len(files))
    fused = fuse(stacked(files), shares)
    table = Table("predictions", "weight", "top-1", "top-5", "mean-class", "F1")
    for name, share, file in zip(options.predictions, shares, files, strict=True):
        metrics = _metrics(torch.from_numpy(file.probabilities), files[0])
        table.add_row(name, f"{share:.2f}", *_format_metrics(metrics))
    metrics = _metrics(fused, files[0])
    table.add_section()
    table.add_row("fused", "", *_format_metrics(metrics))
    table.title = f"{len(files[0].clip)} clips"
    console.print(table)
    if options.out is not None:
        with writing(options.out):
            write_predictions(options.out, replace(files[0], probabilities=fused.numpy()))
            write_text(outputs[1], json.dumps(
                {"predictions": options.predictions, "weights": shares, "metrics": metrics},
                indent=1))


def shares_of(weights: Sequence[float] | None, number: int) -> list[float]:
    """Weights with the sum 1; equal ones for None.

    Raises:
        UserError: There are more or fewer than `number`, or they are not weights.
    """
    weights = [1.0] * number if weights is None else weights
    if len(weights) != number or not all(weight >= 0 for weight in weights) or (
            not 0 < sum(weights) < float("inf")):
        raise UserError(f"--weights must be {number} numbers >= 0, one for each network, and not "
                        "all 0")
    return [weight / sum(weights) for weight in weights]


def read_matching(names: Sequence[str]) -> list[Predictions]:
    """Predictions of the same clips, in the order of the first.

    Raises:
        UserError: They are not of the same clips, do not agree on labels or classes, or are of a
            network that diverged.
    """
    files = [read_predictions(Path(name)) for name in names]
    for name, file in zip(names, files, strict=True):
        if not np.isfinite(file.probabilities).all():
            raise UserError(f"{name} has probabilities that are not finite numbers, so the "
                            "training diverged; leave it out")
    return [in_the_order_of(files[0], file, (names[0], name))
            for name, file in zip(names, files, strict=True)]


def stacked(files: Sequence[Predictions]) -> Tensor:
    """Probabilities of all files, ``(F, N, K)``."""
    return torch.stack([torch.from_numpy(file.probabilities) for file in files])


def fuse(probabilities: Tensor, weights: Sequence[float]) -> Tensor:
    """The weighted mean ``(N, K)`` of probabilities ``(F, N, K)``."""
    scale = torch.tensor(weights, dtype=torch.float64) / sum(weights)
    return torch.einsum("f,fnk->nk", scale, probabilities.double()).float()


def search(probabilities: Tensor, label: Tensor) -> list[float]:
    """Weights for ``(F, N, K)`` with the most right clips, and then the highest likelihood.

    Each file in turn gets the best of `STEPS`, until nothing improves. The search starts with equal
    weights, and keeps them if no others are better.
    """
    weights = [1.0] * len(probabilities)
    best = _score(probabilities, label, weights)
    while True:
        before = best
        for file in range(len(weights)):
            for step in STEPS:
                tried = [*weights[:file], step, *weights[file + 1 :]]
                if sum(tried) and (score := _score(probabilities, label, tried)) > best:
                    weights, best = tried, score
        if best == before:
            return weights


def _score(probabilities: Tensor, label: Tensor, weights: Sequence[float]) -> tuple[int, float]:
    fused = fuse(probabilities, weights)
    likelihood = fused[torch.arange(len(label)), label].clamp_min(1e-12).log().mean()
    return int((fused.argmax(1) == label).sum()), round(float(likelihood), 6)


def _search_weights(names: Sequence[str], tested: Sequence[Predictions]) -> list[float]:
    """Weights that are best for validation clips.

    Raises:
        UserError: Their number differs from that of the models, or they contain test clips.
    """
    files = read_matching(names)
    if len(files) != len(tested):
        raise UserError(f"--search must name validation predictions of the same {len(tested)} "
                        f"models, got {len(files)}")
    if files[0].class_names != tested[0].class_names:
        raise UserError(f"--search {names[0]} has other classes than the predictions to fuse")
    if shared := set(files[0].clip) & set(tested[0].clip):
        raise UserError(f"weights must not be chosen on test clips: {len(shared)} clips of "
                        f"--search are among those tested, e.g. {min(shared)}")
    known = files[0].label >= 0
    if not known.any():
        raise UserError(f"--search {names[0]} holds no labelled clip")
    return search(stacked(files)[:, torch.from_numpy(known)],
                  torch.from_numpy(files[0].label[known]))


def _metrics(probabilities: Tensor, file: Predictions) -> dict[str, float]:
    """Accuracies and F1, 0..1; empty if no clip has a label."""
    label = torch.from_numpy(file.label)
    known = label >= 0
    if not known.any():
        return {}
    found = accuracies(probabilities[known], label[known])
    return {name: float(found[name]) for name in (TOP1, TOP5, MEAN_CLASS, F1)}


def _format_metrics(metrics: Mapping[str, float]) -> list[str]:
    return [f"{100 * value:.2f} %" for value in metrics.values()] or ["-"] * 4


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="ptl-skel ensemble", description="Fuses predictions: the weighted mean of their "
        "probabilities. Clips are matched by their ids.")
    parser.add_argument("predictions", nargs="+", metavar="RUN_OR_NPZ",
                        help="folder of a run, or its predictions.npz")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--weights", nargs="+", type=float, metavar="W",
                     help="one for each; default: equal weights")
    how.add_argument("--search", nargs="+", metavar="RUN_OR_NPZ", help=(
        "predictions of validation clips, of the same models in the same order, for which the "
        "weights are chosen; `ptl-skel validate` writes them"))
    parser.add_argument("--out", type=Path, help="write the fused predictions to this .npz file, "
                        "and weights and metrics to the .json file of the same name")
    return parser
