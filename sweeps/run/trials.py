"""The state of a sweep: its cells as trials of an Optuna study, in a crash-safe journal.

A failed cell stays open in the journal, so that the same command resumes it.
"""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from ptl_skel.errors import UserError

from .files import Sweep
from .space import Cell, distributions, grid, sampled_cell

JOURNAL = "journal.log"
STATES = {TrialState.WAITING: "waiting", TrialState.RUNNING: "open",
          TrialState.COMPLETE: "finished", TrialState.PRUNED: "stopped early"}
"""States of cells by the states of trials; a failed trial does not belong to a cell."""
ATTEMPTS = 100
"""How often a search resamples if it has sampled the same values before."""


@dataclass
class OpenCell:
    """A cell that is waiting or has been started, with its trial.

    Attributes:
        cell: The cell.
        trial: Its Optuna trial.
        reported: Number of epochs whose metric was reported to the trial.
    """

    cell: Cell
    trial: optuna.Trial
    reported: int = 0

    def report(self, epoch: int, value: float) -> bool:
        """Records the metric after that many epochs; returns whether the cell lags behind.

        Each epoch is compared once, which takes milliseconds however many trials there are.
        """
        if epoch <= self.reported:
            return False
        self.reported = epoch
        self.trial.report(value, epoch)
        return self.trial.should_prune()


class Trials:
    """The cells of a sweep in their folder.

    Args:
        sweep: The sweep.
        out: Folder of the sweep; only one process may use it.

    Attributes:
        begun: Cells that an earlier coordinator left open, which are resumed first.

    Raises:
        UserError: The folder contains cells with the same names and other values.
    """

    def __init__(self, sweep: Sweep, out: Path) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.sweep = sweep
        self.cells = {cell.name: cell for cell in grid(sweep)} if sweep.method == "grid" else {}
        self.space = {} if self.cells else distributions(sweep)
        journal = out / JOURNAL
        # A coordinator that was killed while writing leaves its lock, on which Optuna would wait.
        journal.with_name(f"{JOURNAL}.lock").unlink(missing_ok=True)
        self.study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(journal))), study_name="sweep",
            direction=sweep.goal, load_if_exists=True, pruner=_pruner(sweep))
        self.dropped = self._close_unknown()
        self._enqueue()
        self.begun = [OpenCell(self._cell_of(trial), optuna.Trial(self.study, trial._trial_id),
                           max(trial.intermediate_values, default=0))
                      for trial in self._all(TrialState.RUNNING)]

    def _all(self, *states: TrialState) -> list[FrozenTrial]:
        """Trials in some states, or all trials; not copies, so they must not be modified."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    def _close_unknown(self) -> list[str]:
        """Closes trials in progress whose cells are not in the file; returns names of these."""
        unknown = [trial for trial in self._all(TrialState.RUNNING) if not self._is_known(trial)]
        for trial in unknown:
            self.study.tell(trial.number, state=TrialState.FAIL)
        return [trial.user_attrs["cell"] for trial in unknown if self.cells]

    def _is_known(self, trial: FrozenTrial | optuna.Trial) -> bool:
        """Whether a trial is a cell of the file, with all its values."""
        if self.cells:
            return trial.user_attrs["cell"] in self.cells
        return trial.params.keys() == self.space.keys()  # else killed during sampling

    def _enqueue(self) -> None:
        """Adds the cells of a grid that are not in the journal yet."""
        known = {trial.user_attrs["cell"]: trial.user_attrs["values"]
                 for trial in self._all(*STATES) if self.cells}
        for name, cell in self.cells.items():
            if name not in known:
                attributes = {"cell": name, "values": cell.values}
                self.study.enqueue_trial({}, user_attrs=attributes)
            elif known[name] != cell.values:
                key = next(key for key in {**known[name], **cell.values}
                           if known[name].get(key) != cell.values.get(key))
                raise UserError(
                    f"the cell {name} was begun with another value of {key}; give --out another "
                    "folder, or remove this one")

    def _cell_of(self, trial: FrozenTrial | optuna.Trial) -> Cell:
        if self.cells:
            return self.cells[trial.user_attrs["cell"]]
        return sampled_cell(self.sweep, trial.number, trial.params)

    def next(self) -> OpenCell | None:
        """The next cell that has not been started; None if there are no more."""
        if not self.cells:
            return self._sample()
        while self._all(TrialState.WAITING):
            trial = self.study.ask()
            if self._is_known(trial):
                return OpenCell(self._cell_of(trial), trial)
            self.study.tell(trial, state=TrialState.FAIL)
        return None

    def _sample(self) -> OpenCell | None:
        for _ in range(ATTEMPTS):
            kept = self._all(*STATES)
            sampled = {json.dumps(trial.params, sort_keys=True) for trial in kept}
            if len(kept) >= self.planned:
                return None
            # Seeded by their number, so that a resumed search samples the same values.
            self.study.sampler = _sampler(self.sweep, len(self._all()))
            trial = self.study.ask(self.space)
            if json.dumps(trial.params, sort_keys=True) not in sampled:
                return OpenCell(self._cell_of(trial), trial)
            self.study.tell(trial, state=TrialState.FAIL)
        return None

    def _size(self) -> float:
        """Number of cells that a search can sample."""
        return math.prod(len(one.choices) if isinstance(one, CategoricalDistribution) else math.inf
                         for one in self.space.values())

    def finish(self, opened: OpenCell, value: float) -> None:
        """Closes a cell with its metric; NaN counts as the worst."""
        worst = -math.inf if self.sweep.goal == "maximize" else math.inf
        self.study.tell(opened.trial, worst if math.isnan(value) else value)

    def stop(self, opened: OpenCell) -> None:
        """Closes a cell that was stopped early."""
        self.study.tell(opened.trial, state=TrialState.PRUNED)

    def overview(self) -> list[tuple[Cell, str]]:
        """Cells so far, each ``waiting``, ``open``, ``finished`` or ``stopped early``."""
        return [(self._cell_of(trial), STATES[trial.state]) for trial in self._all(*STATES)
                if self._is_known(trial)]

    @property
    def planned(self) -> float:
        """Total number of cells; infinite for a search without end."""
        if self.cells:
            return len(self.cells)
        cap = self.sweep.run_cap
        return min(math.inf if cap is None else cap, self._size())


def _pruner(sweep: Sweep) -> optuna.pruners.BasePruner:
    if sweep.halving is None:
        return optuna.pruners.NopPruner()
    return optuna.pruners.SuccessiveHalvingPruner(
        min_resource=sweep.halving.first, reduction_factor=sweep.halving.eta)


def _sampler(sweep: Sweep, seed: int) -> optuna.samplers.BaseSampler:
    if sweep.method == "random":
        return optuna.samplers.RandomSampler(seed)
    with warnings.catch_warnings():  # constant_liar, for several slots, is called experimental
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)
