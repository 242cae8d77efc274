"""Options of the commands that recognise persons in videos, and objects made from them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptl_skel.command import CommandParser, console
from ptl_skel.errors import UserError

if TYPE_CHECKING:
    from ptl_skel.live.labels import Threshold
    from ptl_skel.live.people import People


def add_model_options(parser: CommandParser) -> None:
    """Adds options for the networks, and for how they process a video."""
    models = parser.add_argument_group("networks")
    models.add_argument("--model", type=Path, metavar="MODEL.onnx",
                        help="file from `ptl-skel export`, with --stream for a causal network")
    models.add_argument("--ckpt_path", type=Path, nargs="+", metavar="FILE", help=(
        "checkpoint of a run instead, or several, whose probabilities are averaged; they are "
        "exported at each start, which takes a few seconds"))
    models.add_argument("--estimator", default="movenet", metavar="NAME", help=(
        "pose estimator: movenet, movenet-openvino, rtmlib, or the class path of your own; "
        "default: movenet"))
    models.add_argument("--pose_model", type=Path, metavar="FILE", help=(
        "its model; default: the one from `ptl-skel pose fetch movenet`"))
    recognition = parser.add_argument_group("recognition")
    recognition.add_argument("--window", type=float, metavar="SECONDS", help=(
        "how far a network for whole clips looks back; default: 4"))
    recognition.add_argument("--stride", type=int, metavar="FRAMES", help=(
        "predict at every FRAMES-th frame; a causal network sees only these; default: 4, or as "
        "in the training of the causal network"))
    recognition.add_argument("--together", action="store_true", help=(
        "one label for all persons in the scene, for two-person actions, instead of one for each"))
    recognition.add_argument("--min_probability", type=float, metavar="P", help=(
        "below it, the label is unknown; default: that of `ptl-skel calibrate`, or 0.5"))


def parse_recognition(parser: CommandParser, command: str, args: Sequence[str]
                      ) -> tuple[Any, list[str]]:
    """The options of a command with `add_model_options`, and those for the data of a checkpoint.

    Raises:
        UserError: An option is unknown, no network or two are given, or a package is missing.
    """
    options, others = parser.parse_with_data(args)
    if (options.model is None) == (options.ckpt_path is None):
        raise UserError("give either --model, a file of `ptl-skel export`, or --ckpt_path, a "
                        "checkpoint")
    if options.model is not None and options.model.suffix == ".ckpt":
        raise UserError(f"--model {options.model} is a checkpoint: give it as --ckpt_path")
    for package in ("onnxruntime", "av"):
        if find_spec(package) is None:
            raise UserError(f"recognising videos needs the package {package}: "
                            "pip install 'ptl_skel[video]'")
    return options, others


def make_threshold(options: Any, people: People) -> Threshold:
    """The threshold for labels: that of the option, or else that of the network.

    Raises:
        UserError: The option is not in 0..1.
    """
    from ptl_skel.live.labels import Threshold

    given = options.min_probability
    return Threshold(people.min_probability if given is None else given)


@contextmanager
def exported_model(options: Any, others: Sequence[str]) -> Iterator[Path]:
    """The network as an exported file, which is temporary if a checkpoint is given.

    Raises:
        UserError: It cannot be exported.
    """
    if options.model is not None:
        if others:
            raise UserError(f"{others[0]} is for --ckpt_path; --model needs no data")
        yield options.model
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        with console.status("exporting"):
            _export(options.ckpt_path, path, others)
        yield path


def _export(checkpoints: Sequence[Path], path: Path, others: Sequence[str]) -> None:
    """Writes the file of checkpoints; for streams if one was trained for them."""
    from ptl_skel.cli.deployable import (  # takes seconds
        DROPPED,
        assemble,
        drops_calibration,
        example,
        load_networks,
        refuse_without_effect,
    )
    from ptl_skel.cli.ensemble import shares_of
    from ptl_skel.cli.export_stream import write_stream
    from ptl_skel.deploy.export import require_packages, write_onnx

    require_packages("onnx", "onnxscript")
    networks = load_networks(checkpoints, others)
    model, data = networks[0]
    stream = len(networks) == 1 and data.maker.box == "follow"
    refuse_without_effect(others, stream=stream)
    if stream:
        write_stream(path, model, data, checkpoints[0], "frame")
    else:
        if drops_calibration(checkpoints):
            console.print(f"calibration {DROPPED}", highlight=False, soft_wrap=True)
        graph, metadata = assemble(checkpoints, networks, shares_of(None, len(networks)))
        write_onnx(graph, *example(graph, data), metadata, path)
