"""The data of a report: runs, arms, and the study of all arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .folders import natural_order
from .names import Settings

Part = Literal["test", "val"]
"""The part of the data whose predictions are compared."""


@dataclass(frozen=True)
class Run:
    """The record of a run.

    Attributes:
        folder: Folder of the run.
        settings: Settings that define its arm.
        backbone_file: The YAML file that its backbone was read from; None if not known.
        seed: Its seed.
        dataset: Name of its data set.
        protocol: Name of its split; with folds, of its fold; of held-out clips, with their seed.
        status: "tested" (or validated, if validation is compared), or the reason why it was not.
        command: The command that repeats it.
        commit: Commit of the code; a ``+`` stands for changes.
        params: Number of parameters.
        gmacs: Multiply-accumulates of one clip, in billions.
        latency_ms: Median time of a forward pass with one clip.
        machine: The machine on which that was measured.
        training_seconds: Time in training steps; 0 if a checkpoint of another run was tested.
        train_clips: Number of training clips; 0 if not recorded.
        chosen_on_test: Whether the checkpoint was chosen by its accuracy on the test part.
        diverged: First epoch in which the training loss was NaN or infinite; None if it never was.
        top1: Accuracy in 0..1.
        mean_class: Mean of the accuracies of the classes, 0..1.
        live: Scores of live recognition by the names of `ptl_skel.metrics.LIVE`; empty if the run
            did not compute them.
        predicted: Predicted class of each clip, ``(N,)``, in the order of its `Fold`.
        curve: The rows of ``metrics.csv``.
        corrupted: Accuracy on corrupted keypoints, by kind and level; see `ptl-skel robustness`.
    """

    folder: Path
    settings: Settings
    backbone_file: str | None
    seed: int
    dataset: str
    protocol: str
    status: str
    command: str
    commit: str
    params: int
    gmacs: float
    latency_ms: float
    machine: str
    training_seconds: float
    train_clips: int
    chosen_on_test: bool
    diverged: int | None = None
    top1: float = float("nan")
    mean_class: float = float("nan")
    live: Mapping[str, float] = field(default_factory=dict)
    predicted: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    curve: Sequence[Mapping[str, float]] = ()
    corrupted: Mapping[tuple[str, float], float] = field(default_factory=dict)

    @property
    def cell(self) -> tuple[str, int]:
        """The key of the run within its arm: fold and seed."""
        return self.protocol, self.seed


@dataclass(frozen=True)
class Fold:
    """The compared clips of a protocol: their ids and labels, ``(N,)``."""

    clip: tuple[str, ...]
    label: NDArray[np.int64]


@dataclass(frozen=True)
class Arm:
    """Runs that differ only in seed and fold.

    Attributes:
        name: Name, by the settings that differ between arms.
        unnamed: Description of further differences.
        runs: Tested runs, by fold and seed.
        untested: Other runs.
    """

    name: str
    unnamed: str
    runs: tuple[Run, ...]
    untested: tuple[Run, ...]

    def runs_of(self, protocol: str) -> list[Run]:
        """The tested runs of a fold."""
        return [run for run in self.runs if run.protocol == protocol]

    @property
    def seeds(self) -> list[int]:
        """Seeds of the tested runs."""
        return sorted({run.seed for run in self.runs})


@dataclass(frozen=True)
class Study:
    """Arms on the same clips.

    Attributes:
        dataset: Its name.
        part: The part that the clips belong to.
        class_names: K names.
        folds: By protocol, sorted; only one, unless folds were requested.
        arms: Arms with tested runs; the baseline, then the others in the given order.
        baseline: One of them, if the others are to be compared with it.
        untested: Names of arms without a tested run, and their runs.
        unrecorded: Descriptions of cells that a ``sweep.json`` lists and that have no record.
    """

    dataset: str
    part: Part
    class_names: tuple[str, ...]
    folds: Mapping[str, Fold]
    arms: tuple[Arm, ...]
    baseline: Arm | None
    untested: tuple[Arm, ...]
    unrecorded: tuple[str, ...]

    @property
    def repeated(self) -> bool:
        """Whether folds share clips, i.e. are repeated splits."""
        clips = [clip for fold in self.folds.values() for clip in fold.clip]
        return len(set(clips)) < len(clips)

    def gaps(self) -> list[str]:
        """Missing results: runs that did not reach their test, and cells without a run."""
        arms = [*self.arms, *self.untested]
        cells = {run.cell for arm in arms for run in (*arm.runs, *arm.untested)}
        found = []
        for arm in arms:
            tested = {run.cell for run in arm.runs}
            found += [f"{arm.name}, {self.cell_name(run.cell)}: {run.status} ({run.folder})"
                      for run in arm.untested if run.cell not in tested]
            own = tested | {run.cell for run in arm.untested}
            found += [f"{arm.name}, {self.cell_name(cell)}: missing"
                      for cell in sorted(cells - own, key=natural_order)]
        return [*found, *self.unrecorded]

    def cell_name(self, cell: tuple[str, int]) -> str:
        """A fold and a seed in words."""
        protocol, seed = cell
        return f"{protocol}, seed {seed}" if len(self.folds) > 1 else f"seed {seed}"
