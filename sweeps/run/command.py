"""The options of ``python -m sweeps run``."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ptl_skel.command import console

if TYPE_CHECKING:
    from sweeps.run.jobs import Executor


def add_run(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``run``."""
    parser.description = ("Trains every cell of a W&B sweep file, without W&B. Stopped or killed, "
                          "the same command goes on; it also takes up again what failed.")
    parser.add_argument("file", metavar="FILE", type=Path, help="e.g. sweeps/backbone.yaml")
    parser.add_argument("--out", metavar="DIR", type=Path,
                        help="folder of the sweep; default: runs/<name of the file>")
    parser.add_argument("--experiment", metavar="YAML",
                        help="other data: takes the place of the file's experiment/*.yaml")
    parser.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], dest="settings",
                        help="fixes or adds a parameter, as if it were in the file; "
                             "NAME={values: [...]} varies it")
    parser.add_argument("--dry-run", action="store_true",
                        help="print the commands and how many there are")
    parser.add_argument("--slots", metavar="N", type=_positive,
                        help="trainings at the same time, each with a GPU or a share of the cores; "
                             "default: 1, on Slurm 64")
    parser.add_argument("--retries", metavar="N", type=_natural, default=1,
                        help="how often a crashed training goes on from its last checkpoint; "
                             "default: 1")
    parser.add_argument("--executor", choices=("local", "slurm"), default="local",
                        help="where trainings run: here, or as Slurm jobs; default: local")
    parser.add_argument("--slurm", metavar="NAME=VALUE", action="append", default=[],
                        help="what a job asks for, by submitit's names: timeout_min, "
                             "gpus_per_node, cpus_per_task, slurm_partition, ...")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> None:
    from sweeps.run.coordinator import dry_run, run_sweep
    from sweeps.run.files import read_sweep

    sweep = read_sweep(options.file, experiment=options.experiment, settings=options.settings)
    out = options.out or Path("runs") / sweep.name
    executor = _executor(options, out)
    if options.dry_run:
        dry_run(sweep, out, executor)
        return
    try:
        failures = run_sweep(sweep, out, executor, options.retries)
    except KeyboardInterrupt:
        print("sweeps: stopped; the same command goes on", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    console.print(f"runs: {out}", markup=False, highlight=False, soft_wrap=True)
    if failures:
        for name, why in failures.items():
            print(f"failed: {name}: {why}", file=sys.stderr)
        print(f"sweeps: {len(failures)} failed, the log is in {out}/<name>/log.txt; the same "
              "command tries again", file=sys.stderr)
        sys.exit(1)


def _executor(options: argparse.Namespace, out: Path) -> Executor:
    if options.executor == "slurm":
        from sweeps.run.slurm import SubmititExecutor

        asked = dict(text.partition("=")[::2] for text in options.slurm)
        return SubmititExecutor(options.slots or 64, out / "submitit", {
            name: int(value) if value.isdigit() else value for name, value in asked.items()})
    from sweeps.run.jobs import LocalExecutor

    return LocalExecutor(options.slots or 1)


def _natural(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"must be a whole number >= 0, got {text}")
    return int(text)


def _positive(text: str) -> int:
    if _natural(text) == 0:
        raise argparse.ArgumentTypeError("must be >= 1, got 0")
    return int(text)
