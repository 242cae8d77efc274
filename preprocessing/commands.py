"""The commands ``ptl-skel preprocess``, ``ptl-skel check`` and ``ptl-skel split``.

Slow imports are made where they are used, so that help and worker processes start faster.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from ptl_skel.command import FAILED, CommandParser
from ptl_skel.errors import UserError


class Row(NamedTuple):
    """A source in the table of sources.

    Args:
        source: Its class, as module:name, see `resolve`; takes the input, and options by name.
        help: What it reads.
        input: Description of its INPUT.
        options: Names of its options in `OPTIONS`.
        in_workers: Whether it is read in worker processes.
        several: Whether it takes several inputs.
        chunk: Inputs that a worker process reads at a time; 1 if each takes long.
        report: A further table after the summary, as module:name of a function that takes the
            source and the keypoint file, and returns a table or None.
    """

    source: str
    help: str
    input: str
    options: Sequence[str] = ()
    in_workers: bool = True
    several: bool = False
    report: str = ""
    chunk: int = 16


FRAMES = "Skeletons over the frames of their videos: left limbs are blue, right ones are orange"
"""Title of a section of the page that `check` writes."""

_ANY = "keypoints"
_POSES = ("labels", "frame_size", "layout", "classes", "max_persons")

SOURCES = {
    "ntu": Row(".datasets.ntu.source:NtuSource",
               "raw .skeleton files of NTU RGB+D 60 or 120",
               "folders with .skeleton files at any depth, or the zip archives as they come",
               ("edition", "dimensions", "bodies", "classes"), several=True,
               report=".datasets.ntu.counts:compare"),
    "pyskl": Row(".datasets.pyskl:PysklSource",
                 "a pickle of PYSKL or MMAction2, of any layout",
                 "the .pkl file; only arrays and plain containers are loaded from it",
                 ("layout", "classes", "train", "val", "test"), in_workers=False),
    "penn_action": Row(".datasets.penn_action:PennActionSource",
                       "the .mat labels of Penn Action",
                       "the folder `labels`, or the one above it"),
    "video": Row(".tools.video:VideoSource",
                 "videos, in which it finds the persons and their joints",
                 "videos, or folders of them; the name of the folder that a video lies in is its "
                 "label", ("estimator", "pose_model", "layout", "classes", "max_persons"),
                 several=True, chunk=1),
    "openpose": Row(".tools.openpose:OpenPoseSource",
                    "your own keypoints: OpenPose's JSON files",
                    "a folder of JSON files, one per frame", _POSES),
    "coco": Row(".tools.coco:CocoSource",
                "your own keypoints: JSON of COCO, MMPose, AlphaPose, Ultralytics",
                "a JSON file, or a folder with one per clip or per frame", _POSES),
    "yolo": Row(".tools.yolo:YoloSource",
                "your own keypoints: YOLO-pose's text files",
                "a folder of text files, one per frame", _POSES),
    "mediapipe": Row(".tools.mediapipe:MediapipeSource",
                     "your own keypoints: MediaPipe's landmarks in NPY or CSV files",
                     "a file, a folder with one per clip, or one with a folder of NPY files per "
                     "clip",
                     _POSES),
    "tables": Row(".tools.wide:WideSource",
                  "your own keypoints: DeepLabCut, SLEAP, Kinect: CSV with a line per frame, HDF5",
                  "a CSV or HDF5 file, or a folder with one per clip", _POSES),
    "videopose3d": Row(".tools.videopose3d:VideoPose3DSource",
                       "the archives of VideoPose3D, in 2D or 3D",
                       "the .npz file; only arrays and plain containers are loaded from it",
                       _POSES, in_workers=False),
    "nw_ucla": Row(".tools.skeleton_json:NwUclaSource",
                   "the JSON of NW-UCLA, in 3D",
                   "the folder with a JSON file per clip", _POSES),
    "kinetics_skeleton": Row(".tools.skeleton_json:KineticsSource",
                             "the JSON of Kinetics-Skeleton, as ST-GCN reads it",
                             "the folder with a JSON file per clip", _POSES),
    "ctrgcn": Row(".datasets.ctrgcn:CtrGcnSource",
                  "NTU RGB+D as an archive of CTR-GCN, in 3D", "the .npz file, e.g. NTU60_CS.npz",
                  ("classes",), in_workers=False),
    "arrays": Row(".tools.arrays:ArraysSource",
                  "your own keypoints: NPZ, NPY or CSV files",
                  "an NPZ or NPY file, or a folder with one per clip; or CSV files with a line per "
                  "joint", _POSES),
}
"""All sources; `preprocessing.core.source` explains how to add one."""

_ANY_ROW = Row("", "keypoints of any of the sources below, which it recognises",
               "a file or a folder", ("tool", *_POSES))

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "tool": {"choices": ("auto", *SOURCES), "default": "auto", "metavar": "SOURCE",
             "help": "one of the sources below; default: auto, which recognises it"},
    "labels": {"metavar": "FILE", "type": Path,
               "help": "CSV file with the columns clip, label, split (train, val, test) and "
                       "subject, or some of them; default: the labels in the input"},
    "subjects": {"metavar": "PATTERN",
                 "help": r"regular expression that finds the number of the subject in the name of "
                         r"a clip, e.g. '_s(\d+)_' for a01_s07_e02; default: those in the input "
                         "or the labels"},
    "train": {"metavar": "FILE", "type": Path, "help": "a file whose clips are for training"},
    "val": {"metavar": "FILE", "type": Path,
            "help": "a file whose clips are for validation, or for testing without --test"},
    "test": {"metavar": "FILE", "type": Path, "help": "a file whose clips are for testing"},
    "frame_size": {"metavar": ("HEIGHT", "WIDTH"), "type": lambda text: _count(text), "nargs": 2,
                   "help": "of the video in pixels, if the input does not contain it"},
    "layout": {"help": "joint layout, e.g. body25, or your own YAML file; default: that of the "
                       "estimator for videos, otherwise inferred from the number of joints if only "
                       "one layout is common"},
    "classes": {"metavar": "FILE", "type": Path,
                "help": "class names, one per line; default: those that the input or the labels "
                        "contain, or the official ones"},
    "estimator": {"metavar": "NAME", "default": "movenet",
                  "help": "pose estimator: movenet (default), movenet-openvino, rtmlib, or the "
                          "class path of your own"},
    "pose_model": {"metavar": "FILE", "type": Path,
                   "help": "its model; default: the one from `ptl-skel pose fetch movenet`"},
    "max_persons": {"metavar": "N", "type": lambda text: _count(text), "default": 2,
                    "help": "maximum number of persons in a frame; default: 2"},
    "edition": {"type": int, "choices": (60, 120),
                "help": "60: only the NTU-60 part of the input; default: 120 if a file belongs to "
                        "it"},
    "dimensions": {"type": int, "choices": (2, 3), "default": 2,
                   "help": "2: pixels of the colour image (default); 3: metres from the camera"},
    "bodies": {"choices": ("pyskl", "all"), "default": "pyskl",
               "help": "pyskl: at most two persons, chosen as PYSKL does (default); all: "
                       "everything the sensor reports as a body"},
}
"""Options of sources, by the names of their arguments."""


def preprocess(args: Sequence[str]) -> int | None:
    """``ptl-skel preprocess SOURCE INPUT --out FILE``: keypoints of any source to one HDF5 file."""
    options: dict[str, Any] = vars(_parser().parse_args(args))
    name = options.pop("name")
    if options.get("frame_size"):
        options["frame_size"] = tuple(options["frame_size"])
    if name == "synthetic":
        _make_synthetic(**options)
        return None
    if name == _ANY:
        name, options = _recognise(**options)
    try:
        return _run(SOURCES[name], **options)
    except KeyboardInterrupt:
        print("\nInterrupted; the same command resumes from here.", file=sys.stderr)
        raise


def check(args: Sequence[str]) -> int | None:
    """``ptl-skel check FILE [--html PAGE [--video FOLDER]]``: validates and shows a file."""
    parser = CommandParser("ptl-skel check", description="Reads a whole keypoint file, reports "
                           "errors, and shows its contents.")
    parser.add_argument("file", metavar="FILE", type=Path, help="the keypoint file")
    parser.add_argument("--html", metavar="PAGE", type=Path,
                        help="also write an HTML page with interactive plots")
    parser.add_argument("--video", metavar="FOLDER", type=Path, nargs="+",
                        help="videos that the clips were made from, as given to `preprocess "
                        "video`: the page shows the skeletons on top of their frames")
    options = parser.parse_args(args)
    if options.video and options.html is None:
        raise UserError("--video needs --html PAGE, the page that shows the frames")
    if options.html is not None and options.html.suffix.lower() not in {".html", ".htm"}:
        raise UserError(f"--html {options.html} must end in .html")
    from .inspect.check import check_file

    file, findings, facts = check_file(options.file)
    if options.html is not None:
        from .inspect.page import write_page

        sections = {}
        if options.video:
            from .inspect.frames import show_frames
            from .tools.video import find_videos

            sections[FRAMES] = show_frames(file, find_videos(options.video))
        write_page(options.html, file, findings, facts, sections)
        print(f"The page: {options.html}")
    return None


def split(args: Sequence[str]) -> int | None:
    """``ptl-skel split FILE --by subject|class``: a random split for a file without one."""
    parser = CommandParser(
        "ptl-skel split", description="Adds a random split to a keypoint file; the same seed gives "
        "the same split.", epilog="example: ptl-skel split data/mine.h5 --by subject --fractions "
        "0.7 0.1 0.2, then ptl-skel fit ... --data.protocol random0")
    parser.add_argument("file", metavar="FILE", type=Path, help="the keypoint file")
    parser.add_argument("--by", choices=("subject", "class"), required=True,
                        help="subject: no subject is in two parts; class: divide each class alike")
    parser.add_argument("--fractions", metavar="F", type=float, nargs="+", default=[0.8, 0.2],
                        help="of train and test, or of train, val and test; default: 0.8 0.2")
    parser.add_argument("--seed", metavar="N", type=_count, default=0, help="default: 0")
    parser.add_argument("--name", help="of the new split; default: random and the seed")
    options = parser.parse_args(args)
    from ptl_skel.storage import KeypointFile, add_split

    from .inspect.check import parts_of
    from .inspect.copies import copies_of
    from .inspect.split import split_at_random

    file = KeypointFile(options.file)
    name = options.name or f"random{options.seed}"
    how = (f"random, by {options.by}, fractions {' '.join(f'{f:g}' for f in options.fractions)}, "
           f"seed {options.seed}")
    add_split(options.file, name,
              split_at_random(file, options.by, options.fractions, options.seed), how)
    file = KeypointFile(options.file)
    parts = [(part, len(positions)) for part, positions in parts_of(file, name)]
    unused = len(file) - sum(count for _, count in parts)
    print(f"{options.file} has the split {name}: "
          + ", ".join(f"{part} {count:,}" for part, count in parts)
          + (f"; {unused:,} clips without a {options.by} are in no part" if unused else "")
          + f"; train on it with --data.protocol {name}")
    for what, fact in copies_of(file, [name]).items():
        print(f"{what}: {fact}")
    return None


def resolve(name: str) -> Any:
    """Imports ``module:name``; a module that begins with a dot is in this package."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module, __package__), attribute)


def _parser() -> CommandParser:
    parser = CommandParser(
        "ptl-skel preprocess", description="Writes the keypoints of a data set to one HDF5 file, "
        "which `ptl-skel fit` trains on. An interrupted run resumes when the same command is "
        "given again.", epilog="example: ptl-skel preprocess coco results/ --labels labels.csv "
        "--frame_size 480 640 --out data/mine.h5; `ptl-skel preprocess SOURCE --help` lists the "
        "options of each source")
    sources = parser.add_subparsers(metavar="SOURCE", required=True, dest="name")
    for name, row in {_ANY: _ANY_ROW, **SOURCES}.items():
        one = sources.add_parser(name, help=row.help, description=f"Reads {row.help}.")
        one.add_argument("input", metavar="INPUT", type=Path, help=row.input,
                         nargs="+" if row.several else "?" if "train" in row.options else None)
        one.add_argument("--out", metavar="FILE", type=Path, required=True,
                         help="the keypoint file to write, e.g. data/ntu60.h5")
        for option in dict.fromkeys([*row.options, "labels", "subjects"]):
            one.add_argument(f"--{option}", **OPTIONS[option])
        one.add_argument("--overwrite", action="store_true",
                         help="replace FILE, or the unfinished one of another run")
        one.add_argument("--max_loss", metavar="PERCENT", type=_percent, default=1.0,
                         help="warn if more inputs than that are unusable; default: 1")
        one.add_argument("--strict", action="store_true",
                         help="turn that warning into an error")
        if row.in_workers:
            one.add_argument("--workers", metavar="N", type=_count,
                             help="processes that read; default: one per CPU")
    synthetic = sources.add_parser(
        "synthetic", help="makes .skeleton files of procedural bodies, for the source ntu",
        description="Makes .skeleton files of procedural bodies, for the source ntu to read.")
    synthetic.add_argument("folder", metavar="FOLDER", type=Path, help="the folder to make")
    for option, default, what in (
            ("seed", 0, "decides everything"), ("subjects", 12, "performers, 3 to 30"),
            ("replications", 2, "how often each performs each action, 1 to 999")):
        synthetic.add_argument(f"--{option}", metavar="N", type=_count, default=default,
                               help=f"{what}; default: {default}")
    return parser


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"must be a number >= 0, got {text!r}")
    return int(text)


def _percent(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 100:
            return float(text)
    raise argparse.ArgumentTypeError(f"must be a number from 0 to 100, got {text!r}")


def _recognise(*, tool: str, input: Path, workers: int | None, **options: Any
               ) -> tuple[str, dict[str, Any]]:
    """The source that reads the input, and the options that it takes.

    Raises:
        UserError: The source is ambiguous, or does not take an option.
    """
    from .tools.recognise import recognise

    name = recognise(input) if tool == "auto" else tool
    row = SOURCES[name]
    if tool == "auto":
        print(f"{input} is read as {name}: {row.help}")
    for option in _POSES[1:]:
        if option not in row.options:
            given = options.pop(option)
            if given is not None and given != OPTIONS[option].get("default"):
                raise UserError(f"{input} is of the source {name}, which takes no --{option}")
    for option in row.options:
        options.setdefault(option, OPTIONS[option].get("default"))
    if row.in_workers:
        options["workers"] = workers
    return name, {"input": [input] if row.several else input, **options}


def _run(row: Row, *, input: Path | list[Path], out: Path, overwrite: bool,
         max_loss: float, strict: bool, subjects: str | None = None, workers: int | None = 0,
         **options: Any) -> int | None:
    from ptl_skel.storage import KeypointFile

    from .core.labelled import LabelledSource
    from .core.runner import run
    from .core.subjects import SubjectsFromNames
    from .inspect.check import facts_of, print_table, tabulate
    from .inspect.copies import copies_of
    from .inspect.doubts import doubts_of

    labels = None if "labels" in row.options else options.pop("labels")
    source = reader = resolve(row.source)(input, **options)
    if labels is not None:
        source = LabelledSource(reader, labels, has_classes=options.get("classes") is not None)
    if subjects is not None:
        source = SubjectsFromNames(source, subjects)
    summary = run(source, out, workers=workers, overwrite=overwrite, chunk=row.chunk)
    file = KeypointFile(out)
    if summary:
        print_table(tabulate(file, {
            **facts_of(file), **doubts_of(file), **copies_of(file), **summary}))
        for what in ("skipped", "repaired"):
            report = out.with_suffix(f".{what}.csv")
            if report.exists():
                print(f"What was {what} and why: {report}")
    table = resolve(row.report)(reader, file) if row.report else None
    if table is not None:
        print_table(table)
    if file.num_lost * 100 <= max_loss * file.num_inputs:
        return None
    print(f"{'ptl-skel' if strict else 'warning'}: {file.num_lost:,} of {file.num_inputs:,} inputs "
          f"({file.num_lost / file.num_inputs:.1%}) are unusable, more than --max_loss "
          f"{max_loss:g} %; {out.with_suffix('.skipped.csv')} lists why", file=sys.stderr)
    return FAILED if strict else None


def _make_synthetic(folder: Path, seed: int, subjects: int, replications: int) -> None:
    from .synthetic.dataset import write_dataset

    clips = write_dataset(folder, seed=seed, subjects=subjects, replications=replications)
    print(f"{clips:,} clips in {folder}; `ptl-skel preprocess ntu {folder} --out FILE` makes a "
          "keypoint file of them")
