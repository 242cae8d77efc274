"""``ptl-skel report``: run records summarised for the terminal, a paper and a browser.

From the records on disk to what is written::

    folders     folders of runs
    names       what the runs of an arm share, and what an arm is called
    study       records read, checked and grouped into arms
    statistics  what a difference between arms is worth
    summary     the numbers of each arm
    tables      terminal, Markdown, LaTeX, CSV
    plots       specified once for page and pictures
    page        HTML
    pictures    PNG
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ptl_skel.atomic import write_text
from ptl_skel.command import console
from ptl_skel.errors import UserError
from sweeps.report import tables
from sweeps.report.page import page
from sweeps.report.pictures import NO_BROWSER, write_pictures
from sweeps.report.plots import plots_of
from sweeps.report.study import Study, read_study
from sweeps.report.summary import summarise


def write_report(paths: Sequence[Path], out: Path | None = None, baseline: str | None = None,
                 folds: bool = False) -> None:
    """Prints the table of some runs, and writes it with plots, CSV files and a page.

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
    live = tables.live_rows(summaries)
    if live:
        console.print("\nlive recognition:", *tables.terminal(live, console), sep="\n",
                      markup=False, highlight=False)
    if gaps := study.gaps():
        console.print("\nfailed and missing:", *(f"  {gap}" for gap in gaps), sep="\n",
                      markup=False, highlight=False)
    groups = plots_of(study, summaries)
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / "report.md", tables.markdown(study, rows, notes, live))
        write_text(out / "table.tex", tables.latex(rows, notes))
        write_text(out / "arms.csv", tables.arms_csv(study, summaries))
        write_text(out / "runs.csv", tables.runs_csv(study))
        write_text(out / "classes.csv", tables.classes_csv(study))
        write_text(out / "report.html", page(study, groups, rows, notes, live))
        rendered = write_pictures([plot for group in groups for plot in group.plots], out)
    except OSError as error:
        raise UserError(f"the report cannot be written to {out}: {error.strerror}") from error
    if not rendered:
        console.print(NO_BROWSER, highlight=False)
    console.print(f"report: {out}", markup=False, highlight=False, soft_wrap=True)


def _common_parent(study: Study) -> Path:
    return Path(os.path.commonpath([run.folder.resolve().parent
                                    for arm in (*study.arms, *study.untested)
                                    for run in (*arm.runs, *arm.untested)]))
