"""``ptl-skel report``: run records summarised for the terminal, a paper, a browser and the docs.

From the records on disk to the outputs::

    folders      folders of runs
    names        common settings of the runs of an arm, and names of arms
    study        runs, arms, and the study of all arms
    reading      records read, checked and grouped into arms
    fused        arms that average the predictions of others
    statistics   intervals and tests for differences between arms
    summary      the numbers of each arm
    conclusions  whether an arm is not inferior
    tables       terminal, LaTeX, CSV
    plots        defined once for page and pictures; `style` has their appearance
    markdown     the parts of a Markdown page
    pooled       several data sets
    page         HTML
    pictures     PNG
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from ptl_skel.atomic import write_text
from ptl_skel.command import console
from ptl_skel.errors import UserError

from . import markdown, tables
from .folders import descriptions
from .markdown import compare_arms
from .page import render_page
from .pictures import NO_BROWSER, write_pictures
from .plots import Plot
from .pooled import pool_data_sets, pooled_plot
from .reading import read_study
from .study import Study


def write_report(paths: Sequence[Path], out: Path | None = None, baseline: str | None = None,
                 folds: bool = False, margin: float = 0.01,
                 fuse: Sequence[Sequence[str]] = ()) -> None:
    """Prints the table of some runs, and writes it with plots, CSV files and a page.

    Args:
        paths: Folders of runs, or folders that contain some.
        out: Folder to write to; None for ``report`` in the folder that contains all of them. A name
            that ends with ``.md`` is a page for the docs instead, with its pictures in a folder
            next to it.
        baseline: Name of the arm that the others are compared with.
        folds: Average over protocols, which are folds or overlapping splits.
        margin: Margin of accuracy below the baseline within which an arm is not inferior, 0..1.
        fuse: Names of arms that are fused into another one, for each such arm.

    Raises:
        UserError: The runs cannot be compared, or `out` cannot be written.
    """
    comparison = compare_arms(read_study(paths, baseline, folds, fuse), margin)
    study = comparison.study
    _print(comparison.rows, [*comparison.conclusions, *comparison.notes], study.gaps())
    for title, rows in (("live recognition", tables.live_rows(comparison.summaries)),
                        ("exported models", tables.exported_rows(study))):
        if rows:
            console.print(f"\n{title}:", *tables.terminal(rows, console), sep="\n", markup=False,
                          highlight=False)
    out = out or _common_parent(study) / "report"
    plots = [plot for group in comparison.groups for plot in group.plots]
    head = [f"# {comparison.title}", *descriptions(paths)]
    if out.suffix == ".md":
        shown = [plot for group in comparison.groups if group.in_text for plot in group.plots]
        _write_page(out, [*head, *markdown.section(comparison, f"{out.stem}/")], shown)
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / "table.tex", tables.latex(comparison.rows, comparison.notes))
        write_text(out / "arms.csv", tables.arms_csv(study, comparison.summaries, margin))
        write_text(out / "runs.csv", tables.runs_csv(study))
        write_text(out / "classes.csv", tables.classes_csv(study))
        write_text(out / "report.html", render_page(comparison))
        rendered = write_pictures(plots, out)
        write_text(out / "report.md", markdown.join(
            [*head, *markdown.section(comparison, "" if rendered else None),
             *markdown.commands(study)]))
    except OSError as error:
        raise UserError(f"the report cannot be written to {out}: {error.strerror}") from error
    _print_place(out, rendered)


def write_pooled(paths: Sequence[Path], out: Path, baseline: str | None, margin: float,
                 fuse: Sequence[Sequence[str]] = ()) -> None:
    """Prints arms pooled over several data sets, and writes a page for the docs.

    Args:
        paths: Folders of runs, or folders that hold some.
        out: The page; its pictures get a folder next to it.
        baseline: Name of the arm that the others are compared with.
        margin: See `write_report`.
        fuse: See `write_report`.

    Raises:
        UserError: The runs cannot be compared, or the page cannot be written.
    """
    if out.suffix != ".md":
        raise UserError(f"--pool writes a page: --out must end with .md, got {out}")
    pooled = pool_data_sets(paths, baseline, margin, fuse)
    gaps = [f"{name}: {gap}" for name, comparison in pooled.comparisons.items()
            for gap in comparison.study.gaps()]
    _print(pooled.rows, [*pooled.conclusions, *pooled.notes], gaps)
    parts = [f"# {out.stem.replace('_', ' ').capitalize()}", *descriptions(paths),
             markdown.bullets(pooled.conclusions), tables.markdown_table(pooled.rows),
             markdown.bullets(pooled.notes), f"![Differences]({out.stem}/pooled.png)"]
    plots = [Plot("pooled", "", pooled_plot(pooled, margin))]
    for number, (name, comparison) in enumerate(pooled.comparisons.items(), 1):
        parts += [f"## {name}", *markdown.section(comparison, f"{out.stem}/{number}_", "###")]
        plots += [Plot(f"{number}_{plot.name}", plot.label, plot.figure, plot.width)
                  for group in comparison.groups if group.in_text for plot in group.plots]
    command = ["ptl-skel", "report", *map(str, paths), "--pool", "--baseline", str(baseline),
               *(word for names in fuse for word in ("--fuse", "+".join(names))),
               "--margin", f"{100 * margin:g}", "--out", str(out)]
    _write_page(out, [*parts, "## Commands", "This page is generated from the records of the runs, "
                      "each of which contains its command:",
                      f"```bash\n{shlex.join(command)}\n```"], plots)


def _write_page(out: Path, parts: Sequence[str], plots: Sequence[Plot]) -> None:
    """Writes a Markdown page, and its pictures to the folder of the same name."""
    folder = out.with_suffix("")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        rendered = write_pictures(plots, folder)
        write_text(out, markdown.join([part for part in parts if rendered or part[:2] != "!["]))
    except OSError as error:
        raise UserError(f"the page cannot be written to {out}: {error.strerror}") from error
    _print_place(out, rendered)


def _print(rows: Sequence[tables.Row], lines: Sequence[str], gaps: Sequence[str]) -> None:
    console.print(*tables.terminal(rows, console), *lines, sep="\n", markup=False, highlight=False)
    if gaps:
        console.print("\nfailed and missing:", *(f"  {gap}" for gap in gaps), sep="\n",
                      markup=False, highlight=False)


def _print_place(out: Path, rendered: bool) -> None:
    if not rendered:
        console.print(NO_BROWSER, highlight=False)
    console.print(f"report: {out}", markup=False, highlight=False, soft_wrap=True)


def _common_parent(study: Study) -> Path:
    return Path(os.path.commonpath([run.folder.resolve().parent
                                    for arm in (*study.arms, *study.untested)
                                    for run in (*arm.runs, *arm.untested)]))
