"""Numbers of each arm: accuracy, cost, difference from the baseline."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptl_skel.errors import UserError

from .statistics import (
    Difference,
    compare,
    compare_splits,
    confusion,
    holm,
    noninferiority,
    pareto_front,
)
from .study import Arm, Run, Study


@dataclass(frozen=True)
class Spread:
    """Mean, and standard deviation over seeds; None if there are fewer than two."""

    mean: float
    deviation: float | None


@dataclass(frozen=True)
class Summary:
    """An arm in numbers.

    Attributes:
        arm: The arm.
        top1: Accuracy, 0..1: mean over seeds and, if there are several, over folds.
        mean_class: The same for the mean-class accuracy.
        difference: Difference from the baseline; None without one, and for the baseline itself.
        p: p-value of the difference, with Holm's correction over the arms.
        inferiority: One-sided p of the test that the arm is worse than the baseline by the margin
            or more, with Holm's correction over the arms.
        params: Number of parameters.
        gmacs: Multiply-accumulates of one clip, in billions.
        latency_ms: By machine, the median of the runs there.
        training_seconds: Mean of the runs; None if no run was trained.
        fronts: The costs (`COST_UNITS`) for which no other arm is cheaper and as accurate.
    """

    arm: Arm
    top1: Spread
    mean_class: Spread
    difference: Difference | None
    p: float | None
    inferiority: float | None
    params: int
    gmacs: float
    latency_ms: dict[str, float]
    training_seconds: float | None
    fronts: tuple[str, ...]


COST_UNITS = {"GMACs": "GMACs of one clip", "parameters": "parameters, millions",
              "latency": "latency of one clip, ms"}
"""Costs to compare accuracy with, and their units."""

CURVES = ("train/loss", "val/loss", "train/top1", "val/top1")
"""Columns of ``metrics.csv`` that are plotted."""


def summarise(study: Study, margin: float) -> list[Summary]:
    """A summary of each arm, in the order of the study.

    Args:
        study: The arms.
        margin: Margin of accuracy below the baseline within which an arm is not inferior, 0..1.

    Raises:
        UserError: Splits overlap, and a run has not recorded how many clips it was trained on.
    """
    differences = [_difference(study, arm) for arm in study.arms]
    found = [difference for difference in differences if difference]
    corrected = iter(holm([difference.p for difference in found]))
    inferior = iter(holm([noninferiority(difference, margin) for difference in found]))
    top1 = [_spread(study, arm, lambda run: run.top1) for arm in study.arms]
    fronts = {cost: pareto_front(values, [spread.mean for spread in top1])
              for cost in COST_UNITS if (values := costs_of(study.arms, cost))}
    return [
        Summary(
            arm=arm, top1=top1[number],
            mean_class=_spread(study, arm, lambda run: run.mean_class),
            difference=differences[number],
            p=next(corrected) if differences[number] else None,
            inferiority=next(inferior) if differences[number] else None,
            params=arm.runs[0].params, gmacs=arm.runs[0].gmacs, latency_ms=_latency(arm),
            training_seconds=_training(arm),
            fronts=tuple(cost for cost, front in fronts.items() if front[number]))
        for number, arm in enumerate(study.arms)]


def costs_of(arms: Sequence[Arm], cost: str) -> list[float]:
    """One of `COST_UNITS` of each arm; empty for latencies from different machines."""
    if cost == "GMACs":
        return [arm.runs[0].gmacs for arm in arms]
    if cost == "parameters":
        return [arm.runs[0].params / 1e6 for arm in arms]
    latencies = [_latency(arm) for arm in arms]
    common = set.intersection(*map(set, latencies))
    return [latency[min(common)] for latency in latencies] if common else []


def machines_of(study: Study) -> list[str]:
    """The machines on which latencies were measured."""
    return sorted({run.machine for arm in study.arms for run in arm.runs})


def class_recalls(study: Study, arm: Arm) -> NDArray[np.float64]:
    """Share of clips of each class that an arm recognises, ``(K,)``; NaN without clips."""
    recall: NDArray[np.float64] = arm_confusion(study, arm).diagonal()
    return recall


def arm_confusion(study: Study, arm: Arm) -> NDArray[np.float64]:
    """The confusion matrix of all runs of an arm, see `sweeps.report.statistics.confusion`."""
    label = np.concatenate([study.folds[run.protocol].label for run in arm.runs])
    predicted = np.concatenate([run.predicted for run in arm.runs])
    return confusion(label, predicted, len(study.class_names))


def curves_of(arm: Arm) -> dict[str, dict[str, NDArray[np.float64]]]:
    """The learning curves of an arm, by the names in `CURVES`.

    Returns:
        ``epoch``, and over the runs that reached it ``mean``, ``low`` and ``high``, each ``(E,)``.
    """
    curves = {}
    for name in CURVES:
        values: dict[float, list[float]] = {}
        for run in arm.runs:
            for row in run.curve:
                if name in row:
                    values.setdefault(row["epoch"], []).append(row[name])
        if values:
            epochs = sorted(values)
            curves[name] = {"epoch": np.array(epochs)} | {
                part: np.array([reduce(values[epoch]) for epoch in epochs])
                for part, reduce in (("mean", statistics.fmean), ("low", min), ("high", max))}
    return curves


def corrupted_of(arm: Arm) -> dict[tuple[str, float], float]:
    """Accuracy of an arm on corrupted keypoints by kind and level, the mean of its runs, 0..1."""
    places = sorted({place for run in arm.runs for place in run.corrupted})
    return {place: statistics.fmean(run.corrupted[place] for run in arm.runs
                                    if place in run.corrupted) for place in places}


def _difference(study: Study, arm: Arm) -> Difference | None:
    if study.baseline is None or arm is study.baseline:
        return None
    correct: tuple[list[NDArray[np.bool_]], list[NDArray[np.bool_]]] = ([], [])
    trained: list[Run] = []
    for protocol, fold in study.folds.items():
        runs = [one.runs_of(protocol) for one in (arm, study.baseline)]
        if all(runs):  # a fold that one of them lacks cannot be compared; the gaps list it
            for one, where in zip(runs, correct, strict=True):
                where.append(np.stack([run.predicted == fold.label for run in one]))
            trained.append(runs[0][0])
    if not (study.repeated and len(trained) > 1):
        return compare(*correct) if correct[0] else None
    for run in trained:
        if not run.train_clips:
            raise UserError(f"{run.folder} has not recorded how many clips it was trained on, "
                            "which the interval of splits that overlap needs")
    return compare_splits(*correct, [run.train_clips for run in trained])


def _spread(study: Study, arm: Arm, value: Callable[[Run], float]) -> Spread:
    """Mean over folds of the means over seeds; deviation over the seeds that have all folds."""
    by_fold = [{run.seed: value(run) for run in arm.runs_of(protocol)}
               for protocol in study.folds]
    means = [statistics.fmean(fold.values()) for fold in by_fold if fold]
    whole = set.intersection(*map(set, by_fold))
    seeds = [statistics.fmean(fold[seed] for fold in by_fold) for seed in sorted(whole)]
    return Spread(statistics.fmean(means), statistics.stdev(seeds) if len(seeds) > 1 else None)


def _latency(arm: Arm) -> dict[str, float]:
    return {machine: statistics.median(run.latency_ms for run in arm.runs
                                       if run.machine == machine)
            for machine in sorted({run.machine for run in arm.runs})}


def _training(arm: Arm) -> float | None:
    seconds = [run.training_seconds for run in arm.runs if run.training_seconds]
    return statistics.fmean(seconds) if seconds else None
