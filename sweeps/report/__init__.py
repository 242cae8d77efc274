"""``python -m sweeps report``: what run records add up to, for the terminal, a paper and a browser.

From the records on disk to what is written::

    names       what the runs of an arm share, and what an arm is called
    study       records read, checked and grouped into arms
    statistics  what a difference between arms is worth
    summary     the numbers of each arm
    tables      terminal, Markdown, LaTeX, CSV
    pictures    PNG
    page        HTML
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ptl_skel.atomic import write_text
from ptl_skel.command import console
from ptl_skel.errors import UserError
from sweeps.report import tables
from sweeps.report.page import page
from sweeps.report.pictures import (
    Point,
    draw_accuracy,
    draw_classes,
    draw_confusion,
    draw_curves,
)
from sweeps.report.study import Study, read_study
from sweeps.report.summary import (
    COST_UNITS,
    Summary,
    arm_confusion,
    class_recalls,
    costs_of,
    curves_of,
    summarise,
)


def write_report(paths: Sequence[Path], out: Path | None = None, baseline: str | None = None,
                 folds: bool = False) -> None:
    """Prints the table of some runs, and writes it with all that belongs to it.

    Args:
        paths: Folders of runs, or folders that hold some.
        out: Where to write; None for ``report`` in the folder that holds all of them.
        baseline: Name of the arm that the others are compared with.
        folds: Average over protocols, which are folds.

    Raises:
        UserError: The runs cannot be compared, or `out` cannot be written.
    """
    study = read_study(paths, baseline, folds)
    summaries = summarise(study)
    out = out or _common_parent(study) / "report"
    rows, notes = tables.rows_of(study, summaries), tables.notes_on(study, summaries)
    console.print(*tables.terminal(rows, console), *notes, sep="\n", markup=False, highlight=False)
    if gaps := study.gaps():
        console.print("\nfailed and missing:", *(f"  {gap}" for gap in gaps), sep="\n",
                      markup=False, highlight=False)
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / "report.md", tables.markdown(study, rows, notes))
        write_text(out / "table.tex", tables.latex(rows, notes))
        write_text(out / "arms.csv", tables.arms_csv(study, summaries))
        write_text(out / "runs.csv", tables.runs_csv(study))
        write_text(out / "classes.csv", tables.classes_csv(study))
        write_text(out / "report.html", page(study, summaries, rows, notes))
        for name, figure in _pictures(study, summaries, notes[0]).items():
            _save(figure, out / f"{name}.png")
    except OSError as error:
        raise UserError(f"the report cannot be written to {out}: {error.strerror}") from error
    console.print(f"tables and pictures: {out}", markup=False, highlight=False, soft_wrap=True)


def _common_parent(study: Study) -> Path:
    return Path(os.path.commonpath([run.folder.resolve().parent
                                    for arm in (*study.arms, *study.untested)
                                    for run in (*arm.runs, *arm.untested)]))


def _pictures(study: Study, summaries: Sequence[Summary], title: str) -> dict[str, Figure]:
    """All pictures by name."""
    pictures = {}
    for cost, unit in COST_UNITS.items():
        if costs := costs_of(study.arms, cost):
            points = [Point(summary.arm.name, value, summary.top1.mean, summary.top1.deviation,
                            cost in summary.fronts)
                      for summary, value in zip(summaries, costs, strict=True)]
            pictures[f"accuracy_vs_{cost.lower()}"] = draw_accuracy(points, unit, title)
    curves = {arm.name: curves_of(arm) for arm in study.arms}
    if any(curves.values()):
        pictures["learning_curves"] = draw_curves(curves, title)
    if study.baseline is not None and len(study.arms) > 1:
        recalls = {arm.name: class_recalls(study, arm) for arm in study.arms}
        pictures["class_differences"] = draw_classes(recalls, study.baseline.name,
                                                     study.class_names, title)
    for summary in summaries:
        name = summary.arm.name
        top1, mean_class = 100 * summary.top1.mean, 100 * summary.mean_class.mean
        pictures[f"confusion_{_file_name(name)}"] = draw_confusion(
            arm_confusion(study, summary.arm), study.class_names,
            f"{name}: top-1 {top1:.2f} %, mean-class {mean_class:.2f} %")
    return pictures


def _file_name(arm: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._=-" else "-" for letter in arm)


def _save(figure: Figure, path: Path) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    figure.savefig(temporary, format="png", dpi=130)
    temporary.replace(path)
