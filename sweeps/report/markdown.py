"""Markdown of a report: its sections, separately or with those of other data sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .conclusions import METHOD, conclude
from .plots import Group, plots_of
from .study import Study
from .summary import Summary, summarise
from .tables import (
    Row,
    class_rows,
    exported_rows,
    live_rows,
    markdown_table,
    notes_on,
    robustness_rows,
    rows_of,
)

MAX_CLASSES = 20
"""Number of classes that the Markdown lists."""


@dataclass(frozen=True)
class Comparison:
    """The report on the arms for one data set.

    Attributes:
        study: The arms.
        margin: Margin of non-inferiority, 0..1.
        summaries: The arms in numbers.
        rows: Their table.
        notes: Notes on the table.
        conclusions: A sentence for each arm that is compared with the baseline.
        groups: Plots.
    """

    study: Study
    margin: float
    summaries: list[Summary]
    rows: list[Row]
    notes: list[str]
    conclusions: list[str]
    groups: list[Group]

    @property
    def title(self) -> str:
        """Data set and protocols."""
        return f"{self.study.dataset}, {', '.join(self.study.folds)}"


def compare_arms(study: Study, margin: float) -> Comparison:
    """The comparison of the arms of a study; `margin` in 0..1."""
    summaries = summarise(study, margin)
    baseline = study.baseline.name if study.baseline else ""
    conclusions = conclude(
        [(summary.arm.name, summary.difference, summary.inferiority) for summary in summaries
         if summary.difference is not None and summary.inferiority is not None], baseline, margin)
    notes = [*notes_on(study, summaries), *([METHOD] if conclusions else [])]
    return Comparison(study, margin, summaries, rows_of(study, summaries), notes, conclusions,
                      plots_of(study, summaries))


def section(comparison: Comparison, pictures: str | None, level: str = "##") -> list[str]:
    """The parts of Markdown on one data set: conclusions, table, notes, pictures, gaps, classes.

    Args:
        comparison: See `compare_arms`.
        pictures: Prefix of picture names in links; None without pictures.
        level: Level of the headings.
    """
    study = comparison.study
    parts = [bullets(comparison.conclusions)] if comparison.conclusions else []
    parts += [markdown_table(comparison.rows), bullets(comparison.notes)]
    if pictures is not None:
        parts += [f"![{plot.label or group.title}]({pictures}{plot.name}.png)"
                  for group in comparison.groups if group.in_text for plot in group.plots]
    if live := live_rows(comparison.summaries):
        parts += [f"{level} Live recognition", markdown_table(live),
                  "Top-1 accuracy of predictions from the frames so far, mean of the runs; for "
                  "streams of joined clips, also the share of recognised actions, and the median "
                  "delay."]
    if robustness := robustness_rows(study):
        parts += [f"{level} Accuracy on corrupted keypoints, %", markdown_table(robustness)]
    if exported := exported_rows(study):
        parts += [f"{level} Exported models", markdown_table(exported),
                  "One clip at a time, measured in turn: files start with keypoints, and include "
                  "rendering; others start with the inputs of the network. Median and 95th "
                  "percentile of the wall-clock time, and median of the CPU time."]
    if gaps := study.gaps():
        parts += [f"{level} Failed and missing", bullets(gaps)]
    if study.baseline is not None and len(study.arms) > 1:
        classes = class_rows(study)
        shown = sorted(classes, key=_largest_difference, reverse=True)[:MAX_CLASSES]
        parts += [f"{level} Accuracy of classes, in points above {study.baseline.name}",
                  *([f"The {MAX_CLASSES} that differ most."] if len(shown) < len(classes) else []),
                  markdown_table(shown)]
    return parts


def commands(study: Study) -> list[str]:
    """The commands that trained the arms."""
    return ["## Commands", bullets(
        [f"{arm.name}, {study.cell_name(run.cell)}: `{run.command}`"
         for arm in study.arms for run in arm.runs])]


def bullets(lines: Sequence[str]) -> str:
    """A list, in which a line that begins with a star is escaped."""
    return "\n".join("- " + line.replace("* ", "\\* ", 1) for line in lines)


def join(parts: Sequence[str]) -> str:
    """Joins parts of a page, with an empty line between them."""
    return "\n\n".join(parts) + "\n"


def _largest_difference(row: Row) -> float:
    return max(abs(float(cell)) for cell in list(row.values())[2:])
