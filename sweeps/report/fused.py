"""Arms whose predictions are the mean of those of other arms."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ptl_skel.errors import UserError
from ptl_skel.runs.predictions import PREDICTIONS, in_the_order_of, read_predictions

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
    predicted = np.mean([_probabilities(run, fold) for run in runs], 0).argmax(1)
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
        if not all((folder / PREDICTIONS).is_file() for folder in folders):
            continue
        files = [read_predictions(folder) for folder in folders]
        files = [in_the_order_of(files[0], file, (folders[0], folder))
                 for folder, file in zip(folders, files, strict=True)]
        mean = np.mean([file.probabilities.astype(np.float64) for file in files], 0)
        accuracies[place] = float((mean.argmax(1) == files[0].label).mean())
    return accuracies


def _probabilities(run: Run, fold: Fold) -> NDArray[np.float64]:
    """Probabilities of a run, ``(N, K)``, in the order of its fold."""
    file = read_predictions(run.folder)
    place = {clip: number for number, clip in enumerate(file.clip)}
    return file.probabilities[[place[clip] for clip in fold.clip]].astype(np.float64)
