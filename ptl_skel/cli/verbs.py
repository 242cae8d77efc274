"""The entry point: every verb of ``ptl-skel`` in one table.

Adding a verb: 1. write ``main(args) -> int | None`` in a module of its own, with a
`ptl_skel.command.CommandParser`; 2. add a row here; 3. test it through `main` of this module.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from ptl_skel.command import run_command
from ptl_skel.errors import UserError


class Verb(NamedTuple):
    """A description of a verb, and its function and module, which is imported on demand."""

    what: str
    module: str
    function: str = "main"


VERBS = {
    "preprocess": Verb("convert keypoints from any source to a keypoint file",
                       "preprocessing.commands", "preprocess"),
    "check": Verb("check a keypoint file, and show its contents",
                  "preprocessing.commands", "check"),
    "split": Verb("add a random split to a keypoint file",
                  "preprocessing.commands", "split"),
    "pose": Verb("download the pose model for videos", "ptl_skel.cli.pose"),
    "fit": Verb("train a model, then test it", "ptl_skel.cli.lightning", "fit"),
    "validate": Verb("validate a checkpoint", "ptl_skel.cli.lightning", "validate"),
    "test": Verb("test a checkpoint", "ptl_skel.cli.lightning", "test"),
    "predict": Verb("write class probabilities of all clips of a keypoint file",
                    "ptl_skel.cli.lightning", "predict"),
    "calibrate": Verb("calibrate the probabilities of a network",
                      "ptl_skel.cli.calibrate"),
    "robustness": Verb("test runs on keypoints that are missing, displaced or have low scores",
                       "ptl_skel.cli.robustness"),
    "profile": Verb("parameters, GMACs and latency of backbones", "ptl_skel.cli.profile"),
    "ensemble": Verb("average the predictions of several runs, e.g. joints and limbs",
                     "ptl_skel.cli.ensemble"),
    "export": Verb("export a trained network to ONNX, from keypoints to probabilities",
                   "ptl_skel.cli.export"),
    "live": Verb("recognise each person in front of a camera or in a video", "ptl_skel.cli.live"),
    "segment": Verb("find the actions in a long video: start, end, label and probability",
                    "ptl_skel.cli.segment"),
    "show": Verb("plot a clip: skeleton and heatmaps", "ptl_skel.cli.show"),
    "sweep": Verb("run all trainings of a sweep file", "sweeps.commands", "sweep"),
    "report": Verb("compare runs: tables, statistics, plots", "sweeps.commands", "report"),
}

HELP = f"""usage: ptl-skel VERB [options]

Skeleton-based action recognition with factorised 3D-CNNs.

verbs (`ptl-skel VERB --help` lists the options of each):
{chr(10).join(f"  {name:<10} {verb.what}" for name, verb in VERBS.items())}

Every verb takes --debug, which shows the traceback of an error.
"""


def main(args: Sequence[str] | None = None) -> None:
    """Runs a verb, and exits with its code if that is not 0."""
    code = run_command(_dispatch, args)
    if code:
        sys.exit(code)


def _dispatch(args: Sequence[str]) -> int | None:
    if not args or args[0] in {"-h", "--help"}:
        print(HELP, end="")
        return 0
    name, *rest = args
    if name not in VERBS:
        near = difflib.get_close_matches(name, [*VERBS, "train"], 1)
        way_out = ("`ptl-skel --help` lists them" if not near else "`ptl-skel fit` trains"
                   if near == ["train"] else f"did you mean `ptl-skel {near[0]}`?")
        raise UserError(f"unknown verb {name!r}; {way_out}")
    return _function(VERBS[name])(rest)


def _function(verb: Verb) -> Callable[[Sequence[str]], int | None]:
    module = import_module(installed_name(verb.module))
    if verb.module == "ptl_skel.cli.lightning":
        return partial(module.run, verb.function)
    function: Callable[[Sequence[str]], int | None] = getattr(module, verb.function)
    return function


def installed_name(module: str) -> str:
    """The full name of a module of the table.

    `preprocessing` and `sweeps` are next to this package in a checkout; when installed, they are
    part of it. Unrelated packages with these names are not mistaken for them.
    """
    package = module.partition(".")[0]
    if package == "ptl_skel":
        return module
    spec = find_spec(package)
    beside = Path(__file__).resolve().parents[2] / package / "__init__.py"
    found = spec is not None and spec.origin is not None and Path(spec.origin).resolve() == beside
    return module if found else f"ptl_skel.{module}"
