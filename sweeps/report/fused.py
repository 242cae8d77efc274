"""Arms whose predictions are the mean of those of other arms."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ptl_skel.errors import UserError
from ptl_skel.runs.predictions import (
    PREDICTIONS,
    Predictions,
    in_the_order_of,
    read_predictions,
)

from .folders import natural_order, read_corrupted
from .statistics import recalls
from .study import Arm, Fold, Run


def fuse_arms(arms: Sequence[Arm], folds: Mapping[str, Fold], number_of_classes: int) -> Arm:
    """An arm with the mean of the probabilities of two or more arms.

    It has a run for each fold and seed that all of them have. Its cost is the sum of theirs.

    Args:
        arms: Arms of a study.
        folds: The compared clips, by protocol.
        number_of_classes: K.

    Raises:
        UserError: They have no fold and seed in common.
    """
    by_cell = [{run.cell: run for run in arm.runs} for arm in arms]
    name = " + ".join(arm.name for arm in arms)
    common = set.intersection(*map(set, by_cell))
    if not common:
        raise UserError(f"--fuse {name}: no fold and seed was tested with all of them")
    runs = [_fuse([runs[cell] for runs in by_cell], folds[cell[0]], number_of_classes)
            for cell in sorted(common, key=natural_order)]
    return Arm(name, "", tuple(runs), ())


def _fuse(runs: Sequence[Run], fold: Fold, number_of_classes: int) -> Run:
    """The run whose predictions are the mean of those of several runs with the same cell.

    Nothing is written: its folder does not exist, and only names it.
    """
    mean = _mean([run.folder for run in runs])
    place = {clip: number for number, clip in enumerate(mean.clip)}
    predicted = mean.probabilities.argmax(1)[[place[clip] for clip in fold.clip]]
    machines = dict.fromkeys(run.machine for run in runs)
    folders = [str(run.folder) for run in runs]
    return replace(
        runs[0],
        folder=runs[0].folder.with_name(" + ".join(run.folder.name for run in runs)),
        settings={}, backbone_file=None,
        command=shlex.join(["ptl-skel", "ensemble", *folders]),
        params=sum(run.params for run in runs), gmacs=sum(run.gmacs for run in runs),
        latency_ms=sum(run.latency_ms for run in runs), machine=" + ".join(machines),
        training_seconds=sum(run.training_seconds for run in runs),
        chosen_on_test=any(run.chosen_on_test for run in runs),
        diverged=next((run.diverged for run in runs if run.diverged is not None), None),
        top1=float((predicted == fold.label).mean()),
        mean_class=float(np.nanmean(recalls(fold.label, predicted, number_of_classes))),
        live={}, predicted=predicted, curve=(), corrupted=_fuse_corrupted(runs))


def _fuse_corrupted(runs: Sequence[Run]) -> dict[tuple[str, float], float]:
    """Accuracy on corrupted keypoints, for the tests whose predictions all runs have.

    `ptl-skel robustness` corrupts the keypoints of a clip in the same way for all networks.
    """
    tests = [read_corrupted(run.folder) if run.corrupted else {} for run in runs]
    accuracies = {}
    for place in sorted(set.intersection(*map(set, tests))):
        folders = [test[place][0] for test in tests]
        if all((folder / PREDICTIONS).is_file() for folder in folders):
            mean = _mean(folders)
            accuracies[place] = float((mean.probabilities.argmax(1) == mean.label).mean())
    return accuracies


def _mean(folders: Sequence[Path]) -> Predictions:
    """The mean of the predictions in some folders, in the order of the first.

    Raises:
        UserError: They are damaged, or not of the same clips.
    """
    files = [read_predictions(folder) for folder in folders]
    files = [in_the_order_of(files[0], file, (folders[0], folder))
             for folder, file in zip(folders, files, strict=True)]
    return replace(files[0], probabilities=np.mean([file.probabilities for file in files], 0,
                                                   dtype=np.float64))
