"""The commands ``ptl-skel sweep`` and ``ptl-skel report``; see `sweeps.run` and `sweeps.report`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ptl_skel.command import FAILED, INTERRUPTED, CommandParser, console
from ptl_skel.errors import UserError

if TYPE_CHECKING:
    from .run.jobs import Executor


def sweep(args: Sequence[str]) -> int | None:
    """Trains every cell of a sweep file; returns `FAILED` if some trainings failed."""
    options = _sweep_parser().parse_args(args)
    from .run.coordinator import dry_run, run_sweep
    from .run.files import read_sweep

    file = read_sweep(options.file, experiment=options.experiment, settings=options.settings)
    out = options.out or Path("runs") / file.name
    executor = _executor(options, out)
    if options.dry_run:
        dry_run(file, out, executor)
        return None
    try:
        failures = run_sweep(file, out, executor, options.retries)
    except KeyboardInterrupt:
        print("ptl-skel sweep: stopped; the same command continues", file=sys.stderr)
        return INTERRUPTED
    console.print(f"runs: {out}", markup=False, highlight=False, soft_wrap=True)
    if not failures:
        return None
    for name, why in failures.items():
        print(f"failed: {name}: {why}", file=sys.stderr)
    print(f"ptl-skel sweep: {len(failures)} failed, see {out}/<name>/log.txt; the same command "
          "tries again", file=sys.stderr)
    return FAILED


def report(args: Sequence[str]) -> None:
    """Compares the records of runs."""
    parser = CommandParser("ptl-skel report", description="Compares the records of runs: "
                           "tables, an interactive page, plots.")
    parser.add_argument("runs", nargs="+", metavar="RUNS", type=Path,
                        help="folder of a run, or a folder that contains runs")
    parser.add_argument("--baseline", metavar="ARM", help="compare all other arms with this one")
    parser.add_argument("--folds", action="store_true",
                        help="average over protocols, which are folds of one data set, or "
                             "overlapping splits of it")
    parser.add_argument("--pool", action="store_true",
                        help="the runs are on several data sets: report each, and all pooled")
    parser.add_argument("--margin", metavar="POINTS", type=_points,
                        help="by how many points of top-1 an arm may be worse than the baseline to "
                             "count as not inferior; default: 1")
    parser.add_argument("--fuse", metavar="ARM+ARM", type=_arms, action="append", default=[],
                        help="add an arm with the mean of the probabilities of two or more arms, "
                             "run by run; can be repeated")
    parser.add_argument("--out", metavar="DIR", type=Path,
                        help="where to write; default: `report` in the folder of all the runs. A "
                             "name that ends with .md: a page for the docs, pictures next to it")
    options = parser.parse_args(args)
    if options.baseline is None:
        parser.refuse_without_effect(options, ["margin"], "without --baseline")
    if options.pool:
        parser.refuse_without_effect(options, ["folds"], "with --pool, which averages over folds")
    margin = options.margin or 0.01
    from .report import write_pooled, write_report

    if options.pool:
        out = options.out or Path("report.md")
        write_pooled(options.runs, out, options.baseline, margin, options.fuse)
    else:
        write_report(options.runs, options.out, options.baseline, options.folds, margin,
                     options.fuse)


def _sweep_parser() -> CommandParser:
    parser = CommandParser("ptl-skel sweep", description="Trains every cell of a W&B sweep file, "
                           "without W&B. After Ctrl-C or a kill the same command resumes; it "
                           "also retries failed trainings.")
    parser.add_argument("file", metavar="FILE", type=Path, help="e.g. sweeps/backbone.yaml")
    parser.add_argument("--out", metavar="DIR", type=Path,
                        help="folder of the sweep; default: runs/<name of the file>")
    parser.add_argument("--experiment", metavar="YAML",
                        help="other data: replaces the file's experiment/*.yaml")
    parser.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], dest="settings",
                        help="fixes or adds a parameter, as if it were in the file; "
                             "NAME={values: [...]} varies it")
    parser.add_argument("--dry_run", action="store_true",
                        help="print the commands and their number")
    parser.add_argument("--slots", metavar="N", type=_positive,
                        help="concurrent trainings, each with a share of the GPUs and cores; "
                             "default: 1, on Slurm 64")
    parser.add_argument("--retries", metavar="N", type=_natural, default=1,
                        help="how often in a row a training is restarted that ended without "
                             "completing another epoch; one that makes progress is always "
                             "restarted, from its last checkpoint; default: 1")
    parser.add_argument("--executor", choices=("local", "slurm"), default="local",
                        help="run trainings on this machine, or as Slurm jobs; default: local")
    parser.add_argument("--slurm", metavar="NAME=VALUE", action="append", default=[],
                        help="resources of a job, with submitit's names: timeout_min, "
                             "gpus_per_node, tasks_per_node, cpus_per_task, slurm_partition, ...")
    return parser


def _executor(options: argparse.Namespace, out: Path) -> Executor:
    if options.executor == "slurm":
        from .run.files import read_assignment
        from .run.slurm import SubmititExecutor

        resources = dict(read_assignment("--slurm", text) for text in options.slurm)
        return SubmititExecutor(options.slots or 64, out / "submitit", resources)
    if options.slurm:
        raise UserError(f"--slurm {options.slurm[0]} has no effect without --executor slurm")
    from .run.jobs import LocalExecutor

    return LocalExecutor(options.slots or 1)


def _arms(text: str) -> list[str]:
    names = [name.strip() for name in text.split("+")]
    if len(names) < 2 or len(set(names)) < len(names) or "" in names:
        raise argparse.ArgumentTypeError(f"must be two or more arms, joined by +, got {text}")
    return names


def _points(text: str) -> float:
    """Converts points of accuracy to a fraction."""
    try:
        points = float(text)
    except ValueError:
        points = 0.0
    if not 0 < points < 100:
        raise argparse.ArgumentTypeError(f"must be a number of points above 0, got {text}")
    return points / 100


def _natural(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"must be a whole number >= 0, got {text}")
    return int(text)


def _positive(text: str) -> int:
    if _natural(text) == 0:
        raise argparse.ArgumentTypeError("must be >= 1, got 0")
    return int(text)
