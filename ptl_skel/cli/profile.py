"""``ptl-skel profile``: the cost of backbones and exported networks, side by side."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from argparse import ArgumentError, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import yaml
from jsonargparse import ArgumentParser
from rich.table import Table

from ptl_skel.atomic import write_text
from ptl_skel.backbones import Backbone
from ptl_skel.command import CommandParser, console, writing
from ptl_skel.configs import shipped, suggest_shipped
from ptl_skel.cost.complexity import measure
from ptl_skel.cost.folding import FoldingError, fold_batch_norm
from ptl_skel.cost.latency import Latency, forward_pass, measure_in_turn
from ptl_skel.deploy.export import require_packages
from ptl_skel.errors import MissingFileError, UserError
from ptl_skel.runs.environment import machine
from ptl_skel.runs.record import EXPORTED, RESULT
from ptl_skel.training.module import classifier

if TYPE_CHECKING:
    from ptl_skel.deploy.runtime import Recognizer

COLUMNS = ("network", "params", "GMACs", "size", "p50 ms", "p95 ms", "CPU ms")
MAX_SECONDS = 3600
"""The longest measurement of a latency that is accepted, seconds."""


@dataclass(frozen=True)
class Candidate:
    """Something whose latency is measured.

    Attributes:
        name: Its name.
        params: Its number of parameters; empty if not known, as are the next ones.
        gmacs: Its multiply-accumulates, billions.
        size: Size of its file.
        call: Recognises one clip.
        file: The exported file.
        accuracy: In 0..1, measured when it was exported in 8 bits; None for others.
    """

    name: str
    params: str
    gmacs: str
    size: str
    call: Callable[[], object]
    file: Path | None = None
    accuracy: Mapping[str, float] | None = None

    def row(self, latency: Latency) -> tuple[str, ...]:
        """Its row of a table with `COLUMNS`."""
        return (self.name, self.params, self.gmacs, self.size,
                *(f"{ms:.2f}" for ms in (latency.p50_ms, latency.p95_ms, latency.cpu_ms)))


def main(args: Sequence[str]) -> None:
    """Prints the cost of backbones with a linear head, and of exported networks.

    Raises:
        UserError: A file does not describe a backbone, or a number is out of range.
    """
    parser = _parser()
    options = parser.parse_args(args)
    if not options.backbones and not options.exported:
        raise UserError("name backbones, or files of `ptl-skel export` as --exported")
    if not options.backbones:
        parser.refuse_without_effect(options, ["input", "classes"], "on exported files")
    if min(*options.input, options.classes) < 1:
        raise UserError("--input and --classes must be >= 1")
    if not 0 <= options.seconds <= MAX_SECONDS:
        raise UserError(f"--seconds must lie in 0..{MAX_SECONDS}, got {options.seconds:g}")
    cores = os.cpu_count() or 1
    if options.threads is not None and not 1 <= options.threads <= cores:
        raise UserError(f"--threads must be 1 to {cores}, the cores of this machine, got "
                        f"{options.threads}")
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    candidates = [candidate for name in options.backbones
                  for candidate in _of_backbone(name, options, device)]
    candidates += [_of_file(path) for path in options.exported]
    with torch.inference_mode():
        found = measure_in_turn([each.call for each in candidates], options.seconds)
    rows = [each.row(latency) for each, latency in zip(candidates, found, strict=True)]
    title = _title(options, device)
    table = Table(*COLUMNS, title=title)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    _record(candidates, found)
    if options.out is not None:
        lines = [title, "", *(f"| {' | '.join(row)} |" for row in (
            COLUMNS, ["---"] * len(COLUMNS), *rows))]
        with writing(options.out):
            write_text(options.out, "\n".join(lines) + "\n")


def _record(candidates: Sequence[Candidate], found: Sequence[Latency]) -> None:
    """Adds the results to the runs whose folders contain the files, for `ptl-skel report`.

    Raises:
        UserError: The folder of a run is not writable.
    """
    folders = dict.fromkeys(each.file.parent for each in candidates
                            if each.file and (each.file.parent / RESULT).is_file())
    for folder in folders:
        networks = [{"name": each.name, "params": each.params, "gmacs": each.gmacs,
                     "size": each.size, **asdict(latency), "accuracy": each.accuracy}
                    for each, latency in zip(candidates, found, strict=True)
                    if each.file is None or each.file.parent == folder]
        record = {"cpu": machine()["cpu"], "threads": torch.get_num_threads(),
                  "networks": networks}
        with writing(folder / EXPORTED, flag=""):
            write_text(folder / EXPORTED, json.dumps(record, indent=2) + "\n")
        console.print(f"recorded for reports: {folder / EXPORTED}", markup=False, highlight=False,
                      soft_wrap=True)


def _title(options: Namespace, device: torch.device) -> str:
    """Input, device and machine, as far as relevant."""
    facts = machine()
    where = (facts["gpus"][0] if device.type == "cuda"
             else f"cpu, {torch.get_num_threads()} threads of {facts['cpu']}")
    if not options.backbones:
        return str(where)
    return f"input {_product(options.input)}, {options.classes} classes, {where}"


def _of_backbone(name: str, options: Namespace, device: torch.device) -> list[Candidate]:
    """A backbone with a linear head, as it is and with batch norms folded.

    Raises:
        UserError: The file does not describe a backbone.
    """
    network = classifier(load_backbone(name, options.input[0]), options.classes).to(device).eval()
    cost = measure(network, tuple(options.input), seconds=0)
    inputs = torch.rand(1, *options.input, device=device)
    if inputs.ndim == 5:
        inputs = inputs.contiguous(memory_format=torch.channels_last_3d)
    forms = {"": network}
    with contextlib.suppress(FoldingError):  # `measure` has warned about it
        forms[", folded"] = fold_batch_norm(network, inputs)
    numbers = f"{cost.params / 1e6:.3f} M", f"{cost.gmacs:.3f}", ""
    return [Candidate(Path(name).stem + what, *numbers, forward_pass(form, inputs))
            for what, form in forms.items()]


def _of_file(path: Path) -> Candidate:
    """An exported network on the CPU, for one clip of one person, or the next frames of a stream.

    Raises:
        UserError: It was not written by `ptl-skel export`, or a package is missing.
    """
    require_packages("onnxruntime")
    from ptl_skel.deploy.runtime import Recognizer

    try:
        recognizer = Recognizer(path, torch.get_num_threads())
    except (ValueError, FileNotFoundError) as error:
        raise UserError(str(error)) from error
    joints, coordinates = len(recognizer.joint_names), recognizer.coordinates
    size = f"{path.stat().st_size / 1e6:.2f} MB"
    if "stream" in recognizer.metadata:
        frames = recognizer.metadata["stream"]["chunk"]
        return Candidate(f"{path.name} (a person's next {frames} frame{'s' * (frames > 1)})", "",
                         "", size, _stream_caller(recognizer), path)
    clip = 200 * np.random.default_rng(0).random(
        (1, 1, recognizer.num_frames, joints, coordinates), np.float32)
    scores = np.ones(clip.shape[:-1], np.float32)
    networks = recognizer.metadata.get("networks", [recognizer.metadata])
    shape = " + ".join(_product([joints, recognizer.num_frames, *network["size"]])
                       for network in networks)
    return Candidate(f"{path.name} ({shape})", "", "", size,
                     lambda: recognizer.run(clip, scores, [(480, 640)]), path,
                     recognizer.metadata.get("accuracy"))


def _stream_caller(recognizer: Recognizer) -> Callable[[], object]:
    """Recognises the next frames of a person in a stream, as many as for one prediction."""
    from ptl_skel.deploy.runtime_stream import Stream

    stream, times = Stream(recognizer, stride=1), itertools.count()
    person = 200 * np.random.default_rng(0).random((len(recognizer.joint_names), 2), np.float32)
    scores = np.ones(len(person), np.float32)

    def call() -> object:
        for _ in range(stream.chunk):
            stream.add(next(times), {0: (person, scores)}, (480, 640))
        return stream.recognize()

    return call


def _product(numbers: Sequence[int]) -> str:
    return "x".join(map(str, numbers))


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="ptl-skel profile", description="Parameters, GMACs (multiply-accumulates of one "
        "clip, in billions) and latency of networks, for one clip at a time: median, 95th "
        "percentile, and median of the CPU time. All are measured in turn. Files for streams "
        "are measured for as many frames as they take at a time.")
    parser.add_argument("backbones", nargs="*", metavar="BACKBONE", help=(
        "YAML file of a backbone, yours or shipped, e.g. backbone/reduced.yaml; measured from "
        "the network inputs"))
    parser.add_argument("--exported", nargs="+", type=Path, default=[], metavar="MODEL.onnx", help=(
        "files from `ptl-skel export`; measured from keypoints, on the CPU. If a file is in the "
        f"folder of a run, the results are recorded there, as {EXPORTED}, and reports show them"))
    parser.add_argument("--input", nargs=4, type=int, default=(17, 32, 56, 56),
                        metavar=("C", "T", "H", "W"), help="default: 17 32 56 56")
    parser.add_argument("--classes", type=int, default=60, help="outputs of the head; default: 60")
    parser.add_argument("--threads", type=int, help="CPU threads; default: one per core")
    parser.add_argument("--seconds", type=float, default=2.0,
                        help="how long the latency of each is measured; default: 2")
    parser.add_argument("--out", type=Path, metavar="TABLE.md",
                        help="write the table to this file as Markdown")
    return parser


def load_backbone(name: str, in_channels: int) -> Backbone:
    """The backbone that a YAML file describes.

    Raises:
        UserError: There is no such file, or it does not describe a backbone.
    """
    path = Path(shipped(name))
    if not path.is_file():
        raise MissingFileError(f"backbone file {name} does not exist; {suggest_shipped(name)}")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Backbone, "backbone")
    try:
        declared = yaml.safe_load(path.read_text(encoding="utf-8"))
        arguments = declared.get("init_args") or {}
        config = parser.parse_object({"backbone": {
            **declared, "init_args": {**arguments, "in_channels": in_channels}}})
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, TypeError, ArgumentError) as error:
        raise UserError(f"{name} does not describe a backbone: {error}") from error
    backbone = parser.instantiate(config).backbone
    assert isinstance(backbone, Backbone)
    return backbone
