"""``python -m sweeps run FILE`` trains what a sweep file asks for, ``report`` compares the runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ptl_skel.errors import UserError
from sweeps.run.command import add_run


def main(args: Sequence[str] | None = None) -> None:
    """Runs a command; a user's mistake ends in a sentence and exit code 2."""
    options = _parser().parse_args(args)
    try:
        options.command(options)
    except UserError as error:
        print(f"sweeps: {error}", file=sys.stderr)
        sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m sweeps", description="Runs and compares trainings.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    add_run(commands.add_parser("run", help="run a sweep file without a server"))
    report = commands.add_parser("report", help="compares the runs of a sweep by their records")
    report.add_argument("runs", nargs="+", metavar="RUNS", type=Path,
                        help="folder of a run, or a folder that holds runs")
    report.add_argument("--baseline", metavar="ARM", help="compare all other arms with this one")
    report.add_argument("--folds", action="store_true",
                        help="average over protocols, which are folds of one data set")
    report.add_argument("--out", metavar="DIR", type=Path,
                        help="where to write; default: `report` in the folder of all the runs")
    report.set_defaults(command=_report)
    return parser


def _report(options: argparse.Namespace) -> None:
    from sweeps.report import write_report

    write_report(options.runs, options.out, options.baseline, options.folds)


if __name__ == "__main__":
    main()
