"""``python -m preprocessing <source> INPUT --out FILE``: keypoints of any source to one HDF5 file.

The sources import what they need when they are asked for, so that worker processes start fast.
"""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Sequence
from pathlib import Path

from preprocessing import runner


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one subcommand and returns its exit code: 0, 1 with a sentence, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options) or 0)
    except KeyboardInterrupt:
        print("\nInterrupted; the same command goes on from here.", file=sys.stderr)
        return 130
    except (OSError, ValueError) as error:
        print(f"error: {_sentence(error)}", file=sys.stderr)
        return 1


def _sentence(error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "the disk is full; nothing was kept, free some space and run the command again"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m preprocessing", description="Writes the keypoints of a data set to one HDF5 "
        "file. An interrupted run goes on when the same command is given again.")
    commands = parser.add_subparsers(metavar="SOURCE", required=True)

    pyskl = commands.add_parser("pyskl", help="a pickle of PYSKL or MMAction2, of any layout")
    _add_input(pyskl, "the .pkl file; nothing but arrays and plain containers is loaded from it")
    _add_layout_and_classes(pyskl)
    pyskl.set_defaults(command=_pyskl)

    penn_action = commands.add_parser("penn_action", help="the .mat labels of Penn Action")
    _add_input(penn_action, "the folder `labels`, or the one above it")
    _add_workers(penn_action)
    penn_action.set_defaults(command=_penn_action)
    return parser


def _add_input(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("input", metavar="INPUT", type=Path, help=what)
    parser.add_argument("--out", metavar="FILE", type=Path, required=True,
                        help="the keypoint file to write, e.g. data/ntu60.h5")
    parser.add_argument("--overwrite", action="store_true",
                        help="replace FILE, or the unfinished one of another run")


def _add_layout_and_classes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--layout", help="joint layout, e.g. sbu15, or a YAML file of your own; "
                        "default: from the number of joints where only one fits")
    parser.add_argument("--classes", metavar="FILE", type=Path,
                        help="class names, one per line; default: the labels")


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", metavar="N", type=int,
                        help="processes that read; default: one per CPU")


def _pyskl(options: argparse.Namespace) -> None:
    from preprocessing.pyskl import PysklSource

    source = PysklSource(options.input, layout=options.layout, classes=options.classes)
    runner.run(source, options.out, workers=0, overwrite=options.overwrite)


def _penn_action(options: argparse.Namespace) -> None:
    from preprocessing.penn_action import PennActionSource

    runner.run(PennActionSource(options.input), options.out, workers=options.workers,
               overwrite=options.overwrite)


if __name__ == "__main__":
    sys.exit(main())
