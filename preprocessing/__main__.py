"""``python -m preprocessing <source> INPUT --out FILE``: keypoints of any source to one HDF5 file.

All that takes time is imported when it is asked for: worker processes start faster, and Ctrl-C is
answered from the first moment.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from preprocessing.core.source import Source

TOOLS = {
    "openpose": "a folder of OpenPose's JSON files, one per frame",
    "coco": "a JSON file, or a folder with one per clip: COCO results or annotations, or MMPose",
    "yolo": "a folder of YOLO-pose's text files, one per frame",
    "arrays": "an NPZ file, or a folder with one per clip; or CSV files with a line per joint",
}
"""Commands for keypoints of other tools, and what each reads."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one subcommand and returns its exit code: 0, 1 with a sentence, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except KeyboardInterrupt:
        print("\nInterrupted; give the same command again to go on.", file=sys.stderr)
        return 130
    except (OSError, ValueError) as error:
        print(f"error: {_sentence(error)}", file=sys.stderr)
        return 1
    return 0


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
    pyskl.add_argument("--layout", help="joint layout, e.g. sbu15, or a YAML file of your own; "
                       "default: from the number of joints where only one is usual")
    _add_classes(pyskl, "the labels themselves")
    pyskl.set_defaults(command=_pyskl)

    penn_action = commands.add_parser("penn_action", help="the .mat labels of Penn Action")
    _add_input(penn_action, "the folder `labels`, or the one above it")
    _add_workers(penn_action)
    penn_action.set_defaults(command=_penn_action)

    ntu = commands.add_parser("ntu", help="the raw .skeleton files of NTU RGB+D 60 or 120")
    _add_input(ntu, "folders with .skeleton files at any depth, or the zip archives as they come",
               nargs="+")
    ntu.add_argument("--edition", type=int, choices=(60, 120),
                     help="60: the NTU-60 part of what may be all of NTU-120; default: 120 where "
                     "a file is of it")
    ntu.add_argument("--dimensions", type=int, choices=(2, 3), default=2,
                     help="2: pixels of the colour image (default); 3: metres before the camera")
    ntu.add_argument("--bodies", choices=("pyskl", "all"), default="pyskl",
                     help="pyskl: at most two persons, chosen as PYSKL does (default); "
                     "all: everything the sensor took for a body")
    _add_classes(ntu, "class_names.txt in INPUT, else those of NTU RGB+D")
    _add_workers(ntu)
    ntu.set_defaults(command=_ntu)

    for tool, what in TOOLS.items():
        own = commands.add_parser(tool, help=f"keypoints of your own: {what}")
        _add_input(own, what)
        _add_own(own)
        own.set_defaults(command=_own, tool=tool)

    synthetic = commands.add_parser(
        "synthetic", help="makes .skeleton files of procedural bodies, for the source ntu to read")
    synthetic.add_argument("folder", metavar="FOLDER", type=Path, help="the folder to make")
    synthetic.add_argument("--seed", type=_count, default=0, help="decides everything; default: 0")
    synthetic.add_argument("--subjects", metavar="N", type=_count, default=12,
                           help="performers; default: 12")
    synthetic.add_argument("--replications", metavar="N", type=_count, default=2,
                           help="how often each performs each action; default: 2")
    synthetic.set_defaults(command=_synthetic)

    check = commands.add_parser("check", help="validates a keypoint file and tells what is in it")
    check.add_argument("file", metavar="FILE", type=Path)
    check.add_argument("--html", metavar="PAGE", type=Path, help="write the same with plots")
    check.set_defaults(command=_check)
    return parser


def _add_input(parser: argparse.ArgumentParser, what: str, nargs: str | None = None) -> None:
    parser.add_argument("input", metavar="INPUT", type=Path, help=what, nargs=nargs)
    parser.add_argument("--out", metavar="FILE", type=Path, required=True,
                        help="the keypoint file to write, e.g. data/ntu60.h5")
    parser.add_argument("--overwrite", action="store_true",
                        help="replace FILE, or the unfinished one of another run")
    parser.add_argument("--max_loss", metavar="PERCENT", type=_percent, default=1.0,
                        help="warn where more inputs than that are flawed; default: 1")
    parser.add_argument("--strict", action="store_true",
                        help="fail where more inputs than --max_loss are flawed")


def _add_classes(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--classes", metavar="FILE", type=Path,
                        help=f"names of the classes, one per line; default: {default}")


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", metavar="N", type=_count,
                        help="processes that read; default: one per CPU")


def _add_own(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--labels", metavar="FILE", type=Path,
                        help="CSV file with the columns clip, label and, if you like, split "
                        "(train, val, test) and subject; default: no labels")
    _add_classes(parser, "the labels: sorted, or 0 to the largest where they are numbers")
    parser.add_argument("--layout", help="joint layout, e.g. body25, or a YAML file of your own; "
                        "default: from the number of joints where only one is usual")
    parser.add_argument("--frame_size", metavar=("HEIGHT", "WIDTH"), type=_count, nargs=2,
                        help="of the video in pixels, where the input does not tell")
    parser.add_argument("--max_persons", metavar="N", type=_count, default=2,
                        help="the most persons in a frame; default: 2")
    _add_workers(parser)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a number >= 0, got {text!r}")
    return int(text)


def _percent(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 100:
            return float(text)
    raise argparse.ArgumentTypeError(f"must be a number from 0 to 100, got {text!r}")


def _run(source: Source, options: argparse.Namespace, *, workers: int | None,
         report: Callable[[], None] = lambda: None) -> None:
    from preprocessing.core import runner

    runner.run(source, options.out, workers=workers, overwrite=options.overwrite)
    report()
    runner.check_loss(options.out, options.max_loss, strict=options.strict)


def _pyskl(options: argparse.Namespace) -> None:
    from preprocessing.datasets.pyskl import PysklSource

    source = PysklSource(options.input, layout=options.layout, classes=options.classes)
    _run(source, options, workers=0)


def _penn_action(options: argparse.Namespace) -> None:
    from preprocessing.datasets.penn_action import PennActionSource

    _run(PennActionSource(options.input), options, workers=options.workers)


def _ntu(options: argparse.Namespace) -> None:
    from rich.console import Console

    from preprocessing.datasets.ntu.counts import compare
    from preprocessing.datasets.ntu.source import NtuSource

    source = NtuSource(options.input, dimensions=options.dimensions, bodies=options.bodies,
                       classes=options.classes, edition=options.edition)

    def report() -> None:
        if source.is_official:
            Console().print(compare(options.out, source.edition))

    _run(source, options, workers=options.workers, report=report)


def _own(options: argparse.Namespace) -> None:
    from preprocessing.tools.readers import own_keypoints

    frame_size = None if options.frame_size is None else tuple(options.frame_size)
    source = own_keypoints(options.tool, options.input, layout=options.layout,
                           frame_size=frame_size, max_persons=options.max_persons,
                           labels=options.labels, classes=options.classes)
    _run(source, options, workers=options.workers)


def _synthetic(options: argparse.Namespace) -> None:
    from preprocessing.synthetic.dataset import write_dataset

    clips = write_dataset(options.folder, seed=options.seed, subjects=options.subjects,
                          replications=options.replications)
    print(f"{clips:,} clips in {options.folder}; python -m preprocessing ntu {options.folder} "
          "--out FILE makes a keypoint file of them")


def _check(options: argparse.Namespace) -> None:
    from preprocessing.inspect.check import check

    check(options.file, options.html)


if __name__ == "__main__":
    sys.exit(main())
