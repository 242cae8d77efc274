"""``ptl-skel robustness``: tests trained runs on degraded keypoints."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from ptl_skel.cli.lightning import run
from ptl_skel.command import CommandParser, console
from ptl_skel.data.corruption import KINDS, Corruption
from ptl_skel.errors import UserError
from ptl_skel.runs.record import ROBUSTNESS, read_result

LEVELS = {"drop": (0.1, 0.2, 0.4), "displace": (0.02, 0.05, 0.1), "low_scores": (0.5, 0.9)}
"""Default tests; see `ptl_skel.data.corruption.Corruption`."""


def main(args: Sequence[str]) -> None:
    """Tests each run at each level, unless the record of that test exists.

    Raises:
        UserError: There are no trained runs, or an option is out of range.
    """
    parser = CommandParser(
        prog="ptl-skel robustness", description="Tests trained runs on corrupted keypoints: joints "
        "that are missing (drop), displaced, or have low scores. `ptl-skel report` shows the "
        "accuracies as curves. The same command resumes an interrupted one.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUNS",
                        help="folder of a run, or a folder that contains runs")
    for kind, unit in (("drop", "shares of joints that are missing"),
                       ("displace", "standard deviations, relative to the size of the person"),
                       ("low_scores", "largest fractions by which scores are lowered")):
        default = " ".join(map(str, LEVELS[kind]))
        parser.add_argument(f"--{kind}", nargs="*", type=float, default=LEVELS[kind],
                            metavar="LEVEL", help=f"{unit}; default: {default}")
    parser.add_argument("--accelerator", default="auto", help="auto, cpu or gpu; default: auto")
    options = parser.parse_args(args)
    wanted = [Corruption(kind, level) for kind in KINDS for level in getattr(options, kind)]
    for corruption in wanted:
        corruption.check()
    runs = [folder for path in options.runs for folder in _trained_below(path)]
    if not runs:
        raise UserError(f"there is no trained run in {', '.join(map(str, options.runs))}: no "
                        "folder with checkpoints/ and the result.json of a finished test")
    for folder in runs:
        checkpoint = folder / "checkpoints" / str(read_result(folder)["tested"])
        for corruption in wanted:
            place = folder / ROBUSTNESS / f"{corruption.kind}-{corruption.level:g}"
            # An interrupted test keeps its name, and the next one gets a number.
            if any(map(_is_finished, [place, *place.parent.glob(f"{place.name}-*")])):
                continue
            console.print(f"{place}", markup=False, highlight=False, soft_wrap=True)
            run("test", ["--ckpt_path", str(checkpoint), "--run_dir", str(place),
                         "--trainer.accelerator", options.accelerator,
                         "--trainer.enable_progress_bar", "false", "--data.corrupt",
                         json.dumps({"kind": corruption.kind, "level": corruption.level})])


def _trained_below(path: Path) -> Iterator[Path]:
    """Folders of runs that were trained and tested; a separate test has no checkpoints."""
    for file in sorted(path.rglob("result.json")):
        if (file.parent / "checkpoints").is_dir() and "tested" in read_result(file.parent):
            yield file.parent


def _is_finished(folder: Path) -> bool:
    return ((folder / "result.json").is_file()
            and read_result(folder)["status"] == "finished")
