"""Several data sets in one report: a separate report of each, and arms pooled over all."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import plotly.graph_objects as go

from ptl_skel.errors import UserError
from ptl_skel.runs.record import read_result

from .conclusions import METHOD, conclude
from .folders import find_runs
from .markdown import Comparison, compare_arms
from .reading import read_study
from .statistics import Difference, average_protocols, holm, noninferiority, pool
from .study import Study
from .style import COLOURS, escape, new_figure, shorten
from .summary import Summary
from .tables import Row, difference_cells, spread_cell

T = TypeVar("T")
NOTE = (
    "Δ: the mean over the data sets of the difference to {baseline}, with equal weights, each the "
    "mean of its protocols; its squared standard error is the sum of theirs divided by the "
    "square of their number, with Welch's degrees of freedom; p of the two-sided test with Holm's "
    "correction over the arms. It holds for these data sets")


@dataclass(frozen=True)
class Pooled:
    """Arms over several data sets.

    Attributes:
        comparisons: By data set and protocol; numbered protocols, such as folds, count as one.
        baseline: Name of the arm that the others are compared with.
        differences: By arm, for arms that are in every data set.
        rows: A table with a column for each data set.
        notes: Notes on the table.
        conclusions: A sentence for each arm.
    """

    comparisons: Mapping[str, Comparison]
    baseline: str
    differences: Mapping[str, Difference]
    rows: list[Row]
    notes: list[str]
    conclusions: list[str]


def pool_data_sets(paths: Sequence[Path], baseline: str | None, margin: float,
                   fuse: Sequence[Sequence[str]] = ()) -> Pooled:
    """Arms pooled over all data sets among the runs in some folders.

    Args:
        paths: Folders of runs, or folders that contain some.
        baseline: Name of the arm that the others are compared with.
        margin: Margin of non-inferiority, 0..1.
        fuse: Names of arms that are fused into another one, for each such arm.

    Raises:
        UserError: There is no baseline or only one data set, or runs cannot be compared.
    """
    if baseline is None:
        raise UserError("--pool compares arms over data sets; name the one they are compared with "
                        "by --baseline")
    groups: dict[tuple[str, str], list[Path]] = {}
    for folder in find_runs(paths):
        groups.setdefault(_dataset_and_protocol(folder), []).append(folder)
    if len(groups) < 2:
        raise UserError(f"--pool needs runs on several data sets or protocols; there is only "
                        f"{' '.join(next(iter(groups)))}")
    comparisons = {" ".join(data): compare_arms(
        read_study(folders, baseline, True, fuse), margin)
        for data, folders in sorted(groups.items())}
    parts = {comparison.study.part: name for name, comparison in comparisons.items()}
    if len(parts) > 1:
        raise UserError(f"the runs on {parts['test']} were tested, those on {parts['val']} only "
                        "validated; pool runs of one kind")
    datasets = [dataset for dataset, _ in sorted(groups)]  # of each comparison
    found = [{summary.arm.name: summary for summary in comparison.summaries}
             for comparison in comparisons.values()]
    names = list(dict.fromkeys(name for one in found for name in one))
    everywhere = [name for name in names if all(name in one for one in found)]
    # The baseline has no difference, nor has an arm without a fold of the baseline.
    differences = {
        name: pooled for name in everywhere
        if (pooled := _pool(datasets, [one[name].difference for one in found]))}
    p = dict(zip(differences, holm([one.p for one in differences.values()]), strict=True))
    inferior = holm([noninferiority(one, margin) for one in differences.values()])
    rows = [{"arm": name,
             **{data: _accuracy_cell(comparison.study, one[name]) if name in one else "-"
                for (data, comparison), one in zip(comparisons.items(), found, strict=True)},
             "mean": f"{100 * _mean(datasets, [one[name].top1.mean for one in found]):.2f}"
             if name in everywhere else "-",
             **difference_cells(differences.get(name), p.get(name))} for name in names]
    conclusions = conclude(
        [(name, difference, of_arm) for (name, difference), of_arm in zip(
            differences.items(), inferior, strict=True)], baseline, margin)
    notes = ["top-1 %" + " of validation clips; no run was tested" * ("val" in parts)
             + "; ±: standard deviation over seeds"]
    if any("†" in cell for row in rows for cell in row.values()):
        notes.append("† lacks folds that other arms have; differences are those of common folds")
    return Pooled(comparisons, baseline, differences, rows,
                  [*notes, NOTE.format(baseline=baseline), METHOD], conclusions)


def _accuracy_cell(study: Study, summary: Summary) -> str:
    """The accuracy of an arm on a data set; marked if it lacks folds."""
    lacks = any(not summary.arm.runs_of(protocol) for protocol in study.folds)
    return spread_cell(summary.top1) + " †" * lacks


def _by_dataset(datasets: Sequence[str], values: Sequence[T]) -> list[list[T]]:
    """The values of each data set; `datasets` has that of each value, in order."""
    groups: dict[str, list[T]] = {}
    for dataset, value in zip(datasets, values, strict=True):
        groups.setdefault(dataset, []).append(value)
    return list(groups.values())


def _pool(datasets: Sequence[str], differences: Sequence[Difference | None]
          ) -> Difference | None:
    """The mean over data sets of the means over their protocols; None where one is missing."""
    known = [difference for difference in differences if difference]
    if len(known) < len(differences):
        return None
    return pool([average_protocols(each) for each in _by_dataset(datasets, known)])


def _mean(datasets: Sequence[str], values: Sequence[float]) -> float:
    """The mean of accuracies, as that of `_pool`."""
    return statistics.fmean(map(statistics.fmean, _by_dataset(datasets, values)))


def _dataset_and_protocol(folder: Path) -> tuple[str, str]:
    """Data set and protocol of a run, without the number of a fold."""
    try:
        data = read_result(folder)["data"]
        protocol = re.sub(r"[ _-]?\d+$", "", str(data["protocol"])) or str(data["protocol"])
        return str(data["dataset"]), protocol
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder / 'result.json'} is damaged: {error!r}") from error


def pooled_plot(pooled: Pooled, margin: float) -> go.Figure:
    """Differences of arms to the baseline on each data set, pooled ones below, and the margin."""
    differences: dict[str, Mapping[str, Difference]] = {
        name: {summary.arm.name: summary.difference for summary in comparison.summaries
               if summary.difference} for name, comparison in pooled.comparisons.items()}
    differences["pooled"] = pooled.differences
    arms = list(dict.fromkeys(arm for found in differences.values() for arm in found))
    figure = new_figure("", 120 + (16 + 14 * len(differences)) * len(arms))
    for number, (name, found) in enumerate(differences.items()):
        last = number == len(differences) - 1
        value, low, high = (np.array([100 * getattr(one, part) for one in found.values()])
                            for part in ("value", "low", "high"))
        # Slightly offset vertically within the row of the arm.
        shift = 0.7 * (number + 0.5) / len(differences) - 0.35
        figure.add_scatter(
            x=value, y=[arms.index(arm) + shift for arm in found], mode="markers",
            name=escape(name), text=[escape(arm) for arm in found],
            marker={"size": 11 if last else 7, "symbol": "diamond" if last else "circle",
                    "color": "#20252c" if last else COLOURS[number % len(COLOURS)]},
            error_x={"array": high - value, "arrayminus": value - low,
                     "thickness": 2.5 if last else 1},
            hovertemplate="<b>%{text}</b><br>%{x:+.2f} points")
    figure.add_vline(0, line={"color": "#5d6875", "width": 1})
    figure.add_vline(-100 * margin, line={"color": "#c2255c", "width": 1, "dash": "dash"})
    figure.update_xaxes(tickformat="+", title_text=(
        f"top-1, points above {shorten(pooled.baseline)}; dashed: the margin"))
    figure.update_yaxes(tickvals=list(range(len(arms))), ticktext=[shorten(arm) for arm in arms],
                        autorange="reversed")
    return figure
