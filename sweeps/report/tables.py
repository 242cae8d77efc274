"""The table of a report for terminal, Markdown, LaTeX and CSV, with its notes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from ptl_skel.metrics import DELAY, LIVE

from .folders import read_exported
from .statistics import Difference
from .study import Study
from .summary import (
    Spread,
    Summary,
    class_recalls,
    corrupted_of,
    costs_of,
    machines_of,
)

Row = dict[str, str]

TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
       "±": r"$\pm$", "Δ": r"$\Delta$", "◆": r"$\diamond$", "†": r"$\dagger$",
       "‡": r"$\ddagger$", "<": "$<$",
       **{letter: f"\\{letter}" for letter in "&%$#_{}"}}


def rows_of(study: Study, summaries: Sequence[Summary]) -> list[Row]:
    """The table: for each arm the cell of each column."""
    machines = machines_of(study)
    rows = []
    for summary in summaries:
        arm = summary.arm
        row = {
            "arm": arm.name,
            "seeds": f"{len(arm.seeds)}" + " †" * bool(_lacks_cells(study, summary)),
            "top-1 %": spread_cell(summary.top1)
            + " *" * any(run.chosen_on_test for run in arm.runs),
            "mean-class %": spread_cell(summary.mean_class),
        }
        if study.baseline is not None:
            row |= difference_cells(summary.difference, summary.p, mark=_some_lack_seeds(summaries))
        row |= {
            "parameters": f"{summary.params / 1e6:.3f} M",
            "GMACs": f"{summary.gmacs:.3f}",
            "latency": ", ".join(f"{latency:.1f} ms" + (f" [{machines.index(machine) + 1}]"
                                                        if len(machines) > 1 else "")
                                 for machine, latency in summary.latency_ms.items()),
            "training": _minutes(summary.training_seconds),
        }
        if len(summaries) > 1:
            row |= {cost: f"{row[cost]} ◆" for cost in summary.fronts}
        rows.append(row)
    return rows


def live_rows(summaries: Sequence[Summary]) -> list[Row]:
    """The table of live recognition: a row for each arm with such scores."""
    rows = []
    for summary in summaries:
        runs = [run.live for run in summary.arm.runs if run.live]
        names = [name for name in LIVE if any(name in live for live in runs)]
        means = {name: float(np.mean([live[name] for live in runs if name in live]))
                 for name in names}
        if means:
            rows.append({"arm": summary.arm.name, "runs": str(len(runs))} | {
                LIVE[name]: f"{mean:.0f} frames" if name == DELAY else f"{100 * mean:.2f} %"
                for name, mean in means.items()})
    columns = dict.fromkeys(column for row in rows for column in row)
    return [{column: row.get(column, "") for column in columns} for row in rows]


def notes_on(study: Study, summaries: Sequence[Summary]) -> list[str]:
    """Notes on the table, starting with the data."""
    clips = sum(len(fold.clip) for fold in study.folds.values())
    protocols = list(study.folds)
    kind = "splits, which overlap" if study.repeated else "folds"
    part = "test" if study.part == "test" else "validation"
    notes = [f"{study.dataset}, {', '.join(protocols)}: {clips:,} {part} clips"
             + (f"; accuracies are means over the {len(protocols)} {kind}"
                if len(protocols) > 1 else "")]
    if any(summary.top1.deviation is not None for summary in summaries):
        notes.append("±: standard deviation over seeds"
                     + (f", each the mean of its {kind.split(',')[0]}" if len(protocols) > 1
                        else ""))
    notes += _on_differences(study, summaries)
    notes += _on_settings(summaries)
    machines = machines_of(study)
    where = (machines[0] if len(machines) == 1 else
             ", ".join(f"[{number}] {name}" for number, name in enumerate(machines, 1)))
    notes.append(f"latency: one clip, median, on {where}; training: mean time of a run")
    if len(summaries) > 1:
        notes.append("◆: no other arm is as accurate and cheaper"
                     + ("" if costs_of(study.arms, "latency") else
                        "; not latency, which was not measured on one machine"))
    commits = sorted({run.commit[:10] + "+" * run.commit.endswith("+")
                      for arm in study.arms for run in arm.runs if run.commit})
    if len(commits) > 1:
        notes.append(f"the runs used different versions of the code: commits {', '.join(commits)}")
    if any(run.chosen_on_test for arm in study.arms for run in arm.runs):
        notes.append("* the checkpoint was chosen on the test part")
    notes += [f"{arm.name}, {study.cell_name(run.cell)}: the training diverged, its loss is not a "
              f"number since epoch {run.diverged}"
              for arm in study.arms for run in arm.runs if run.diverged is not None]
    if any(_lacks_cells(study, summary) for summary in summaries):
        notes.append("† lacks cells that other arms have, see below")
    return notes


def _on_settings(summaries: Sequence[Summary]) -> list[str]:
    groups: dict[str, list[str]] = {}
    for summary in summaries:
        if summary.arm.runs[0].settings:  # fused ones have none
            groups.setdefault(summary.arm.unnamed, []).append(summary.arm.name)
    if len(groups) < 2:
        return []
    return ["arms differ in more than the backbone: "
            + "; ".join(f"{', '.join(names)}: {words}" for words, names in groups.items())]


def _on_differences(study: Study, summaries: Sequence[Summary]) -> list[str]:
    found = [summary.difference for summary in summaries if summary.difference]
    if not found or study.baseline is None:
        return []
    notes = [f"Δ top-1: top-1 minus that of {study.baseline.name}, in points, with its 95 % "
             "interval; p: of a paired test for a difference on the same clips, with "
             f"Holm's correction over {len(found)} arm{'s' * (len(found) > 1)}"]
    if study.repeated and any(difference.covers_seeds for difference in found):
        notes.append("interval and test cover clips, training sets and seeds: Student's t on the "
                     "differences of splits, with Nadeau and Bengio's correction for their overlap")
    elif any(difference.covers_seeds for difference in found):
        notes.append(
            "interval and test cover clips and seeds: Student's t with Welch's degrees of freedom, "
            "the variance that of the paired differences of clips plus those of the seeds' "
            "accuracies")
    if any(not difference.covers_seeds for difference in found):
        mark = "‡ " * _some_lack_seeds(summaries)
        notes.append(
            f"{mark}interval and test cover only clips, as there is one seed: other seeds may "
            "change more than the interval shows; interval of Bonett and Price, exact test over "
            "swaps of the arms' predictions (McNemar's)")
    return notes


def _some_lack_seeds(summaries: Sequence[Summary]) -> bool:
    """Whether the intervals of some arms cover seeds, and those of other arms do not."""
    return len({summary.difference.covers_seeds for summary in summaries
                if summary.difference}) > 1


def difference_cells(difference: Difference | None, p: float | None, mark: bool = False) -> Row:
    """The cells of a difference with its corrected p-value; empty for the baseline.

    Args:
        difference: Difference from the baseline.
        p: Corrected p-value.
        mark: Whether to mark one that covers only clips.
    """
    if difference is None or p is None:
        return {"Δ top-1": "", "95 % interval": "", "p": ""}
    return {
        "Δ top-1": f"{100 * difference.value:+.2f}",
        "95 % interval": f"{100 * difference.low:+.2f} to {100 * difference.high:+.2f}",
        "p": p_text(p) + " ‡" * (mark and not difference.covers_seeds),
    }


def p_text(p: float | None) -> str:
    """A p-value with three digits."""
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _lacks_cells(study: Study, summary: Summary) -> bool:
    cells = {run.cell for arm in study.arms for run in (*arm.runs, *arm.untested)}
    return cells != {run.cell for run in summary.arm.runs}


def spread_cell(spread: Spread) -> str:
    """An accuracy in percent with its deviation."""
    if spread.deviation is None:
        return f"{100 * spread.mean:.2f}"
    return f"{100 * spread.mean:.2f} ± {100 * spread.deviation:.2f}"


def _minutes(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds / 60:.1f} min"


def terminal(rows: Sequence[Row], console: Console) -> list[Table]:
    """The table for rich; in parts, one below the other, if the terminal is too narrow."""
    unlimited = console.options.update(max_width=1000)
    first, *columns = rows[0]
    parts = [[first]]
    for column in columns:
        part = _terminal_table(rows, [*parts[-1], column])
        if console.measure(part, options=unlimited).maximum <= console.width:
            parts[-1].append(column)
        else:
            parts.append([first, column])
    return [_terminal_table(rows, part) for part in parts]


def _terminal_table(rows: Sequence[Row], columns: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        arm = column == "arm"
        table.add_column(column, justify="left" if arm else "right", no_wrap=not arm,
                         min_width=8 if arm else None)
    for row in rows:
        table.add_row(*(row[column] for column in columns))
    return table


def markdown_table(rows: Sequence[Mapping[str, str]]) -> str:
    """A table as Markdown."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |"
                     for line in lines)


def latex(rows: Sequence[Row], notes: Sequence[str]) -> str:
    """The table as LaTeX, for the package booktabs; the notes as comments."""
    columns = "l" + "r" * (len(rows[0]) - 1)
    lines = [*(f"% {note}" for note in notes), f"\\begin{{tabular}}{{{columns}}}", "\\toprule",
             " & ".join(map(_tex, rows[0])) + r" \\", "\\midrule",
             *(" & ".join(map(_tex, row.values())) + r" \\" for row in rows),
             "\\bottomrule", "\\end{tabular}"]
    return "\n".join(lines) + "\n"


def _tex(text: str) -> str:
    escaped = "".join(TEX.get(letter, letter) for letter in text)
    return re.sub(r"(?<![\w.])[-+](?=\d)", r"$\g<0>$", escaped)


def arms_csv(study: Study, summaries: Sequence[Summary], margin: float) -> str:
    """All numbers of the arms, a row for each; accuracies in 0..1."""
    rows = []
    for summary in summaries:
        arm, difference = summary.arm, summary.difference
        rows.append({
            "arm": arm.name, "dataset": study.dataset, "protocols": " ".join(study.folds),
            "runs": len(arm.runs), "seeds": " ".join(map(str, arm.seeds)),
            "top1": summary.top1.mean, "top1_deviation": summary.top1.deviation,
            "mean_class": summary.mean_class.mean,
            "mean_class_deviation": summary.mean_class.deviation,
            "baseline": study.baseline.name if study.baseline else None,
            "difference": difference and difference.value,
            "difference_low": difference and difference.low,
            "difference_high": difference and difference.high,
            "p": difference and difference.p, "p_holm": summary.p,
            "margin": difference and margin, "p_inferior_holm": summary.inferiority,
            "covers": difference and ("clips and seeds" if difference.covers_seeds else "clips"),
            "params": summary.params, "gmacs": summary.gmacs,
            "latency_ms": " ".join(f"{value:.3f}" for value in summary.latency_ms.values()),
            "machine": "; ".join(summary.latency_ms), "training_seconds": summary.training_seconds,
            "front": " ".join(summary.fronts)})
    return _csv(rows)


def runs_csv(study: Study) -> str:
    """All runs, including those without a test, a row for each."""
    return _csv([{
        "arm": arm.name, "protocol": run.protocol, "seed": run.seed, "status": run.status,
        "top1": run.top1, "mean_class": run.mean_class, "params": run.params, "gmacs": run.gmacs,
        "latency_ms": run.latency_ms, "machine": run.machine,
        "training_seconds": run.training_seconds, "folder": run.folder, "commit": run.commit,
        "command": run.command}
        for arm in (*study.arms, *study.untested) for run in (*arm.runs, *arm.untested)])


def classes_csv(study: Study) -> str:
    """Accuracy of each class in each arm, 0..1; empty for classes without test clips."""
    recalls = {arm.name: class_recalls(study, arm) for arm in study.arms}
    return _csv({"class": study.class_names, **recalls})


def robustness_rows(study: Study) -> list[Row]:
    """Accuracy of each arm on corrupted keypoints, by kind and level; empty without such tests."""
    found = {arm.name: corrupted_of(arm) for arm in study.arms}
    places = sorted({place for values in found.values() for place in values})
    return [{"arm": name, **{f"{kind} {level:g}": f"{100 * values[kind, level]:.2f}"
                             if (kind, level) in values else "-" for kind, level in places}}
            for name, values in found.items() if places]


def exported_rows(study: Study) -> list[Row]:
    """Costs of exported forms of runs, and of the networks that were measured with them."""
    rows = [{"arm": arm.name, "run": study.cell_name(run.cell), **row}
            for arm in study.arms for run in arm.runs for row in read_exported(run.folder)]
    known = [column for column in rows[0] if any(row[column] for row in rows)] if rows else []
    return [{column: row[column] for column in known} for row in rows]


def class_rows(study: Study) -> list[Row]:
    """For each class of the test, the accuracy of the baseline, and differences of other arms."""
    assert study.baseline is not None
    baseline = class_recalls(study, study.baseline)
    others = {arm.name: class_recalls(study, arm) - baseline
              for arm in study.arms if arm is not study.baseline}
    return [{"class": study.class_names[number],
             study.baseline.name: f"{100 * baseline[number]:.1f} %",
             **{name: f"{100 * values[number]:+.1f}" for name, values in others.items()}}
            for number in np.flatnonzero(~np.isnan(baseline)).tolist()]


def _csv(data: Sequence[Any] | dict[Any, Any]) -> str:
    return str(pd.DataFrame(data).to_csv(index=False, lineterminator="\n"))
