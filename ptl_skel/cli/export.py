"""``ptl-skel export``: a trained network as ONNX file that takes keypoints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table
from torch import Tensor, nn

from ptl_skel.atomic import replacing
from ptl_skel.cli.lightning import load_trained
from ptl_skel.command import CommandParser, console
from ptl_skel.cost.folding import FoldingError, fold_batch_norm
from ptl_skel.data.datamodule import KeypointDataModule
from ptl_skel.data.dataset import ClipDataset, KeypointBatch
from ptl_skel.deploy.export import (
    OPSET,
    Arrays,
    largest_difference,
    list_operators,
    require_packages,
    write_onnx,
)
from ptl_skel.deploy.graph import Recognition, Views
from ptl_skel.errors import UserError
from ptl_skel.runs.record import read_result
from ptl_skel.training.module import ActionRecognizer

CHECKED = 200
"""Clips on which a file is compared with PyTorch."""
TOLERANCE = 1e-5
"""Largest difference of a probability that is rounding."""
FORMAT = 1
"""Version of the metadata in a file."""


def main(args: Sequence[str]) -> None:
    """Writes an ONNX file, and checks it.

    Raises:
        UserError: Something cannot be exported, or the file does not compute what the network does.
    """
    options, others = _parser().parse_known_args(args)
    for option in others:
        if option.startswith("-") and not option.startswith("--data."):
            raise UserError(f"unknown option {option}; `ptl-skel export --help` lists them")
    out: Path = options.out
    if out.suffix != ".onnx":
        raise UserError(f"--out must end in .onnx, got {out}")
    if out.exists() and not options.overwrite:
        raise UserError(f"--out {out} exists; --overwrite replaces it")
    require_packages()
    model, data = load_trained(["--ckpt_path", str(options.ckpt_path), *others])
    graph = make_graph(model, data)
    metadata = describe(options.ckpt_path, data, graph.views)
    clips = choose_clips(data, CHECKED)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out) as temporary:
            write_onnx(graph, *example(graph, data), metadata, temporary)
            difference = check_file(temporary, model, data, clips)
            operators = list_operators(temporary)
    except OSError as error:
        raise UserError(f"--out {out} cannot be written: {error.strerror or error}") from error
    table = Table(title=escape(str(out)), show_header=False)
    table.add_row("size", f"{out.stat().st_size / 1e6:.2f} MB")
    table.add_row("inputs", escape(_shapes(graph, data)))
    table.add_row("outputs", f"probabilities (N, {data.num_classes})")
    table.add_row("operators", f"opset {OPSET}: {', '.join(operators)}")
    table.add_row("largest difference", f"{difference:.1e} from PyTorch, on {len(clips)} clips")
    console.print(table)


def make_graph(model: ActionRecognizer, data: KeypointDataModule) -> Recognition:
    """The network of a checkpoint with all that stands before it, batch norms folded.

    Raises:
        UserError: The representation or the camera has no export form.
    """
    maker = data.maker
    if maker.coordinates == 3 and maker.camera is None:
        raise UserError(f"{data.file.path} holds 3D coordinates without a camera; only networks on "
                        "2D pixels, or on heatmaps that a camera projects, can be exported")
    views = Views(data.clip_len, maker.test_clips, maker.test_flip, maker.camera)
    size = maker.eval_size, maker.eval_size
    classifier: nn.Module = model.classifier
    try:
        classifier = fold_batch_norm(model.classifier, torch.rand(1, *data.input_shape))
    except FoldingError:  # a network of the user's own is exported as it is
        classifier = model.classifier
    return Recognition(classifier, maker.representation, size, views).eval()


def example(graph: Recognition, data: KeypointDataModule
            ) -> tuple[dict[str, Tensor], list[str], dict[str, list[int]]]:
    """Inputs to export a graph with, names of its outputs, and dimensions that are dynamic."""
    frames = graph.views.clip_len * graph.views.num_clips
    shape = 2, 3, frames, data.layout.num_joints
    inputs = {"keypoints": 300 * torch.rand(*shape, graph.views.coordinates),
              "scores": torch.rand(shape)}
    dynamic = {"keypoints": [0, 1], "scores": [0, 1]}
    if graph.views.camera is None:
        inputs["frame_size"] = torch.tensor([[480.0, 640.0]] * 2)
        dynamic["frame_size"] = [0]
    return inputs, ["probabilities"], dynamic


def describe(checkpoint: Path, data: KeypointDataModule, views: Views) -> dict[str, Any]:
    """What a file says of its network, for whoever runs it."""
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    training: dict[str, Any] = {"checkpoint": str(checkpoint), "sha256": digest}
    try:
        record = read_result(checkpoint.parent.parent)
    except UserError:  # the checkpoint was moved out of the folder of its run
        record = {}
    training |= {name: record.get(name) for name in ("git_commit", "seed", "command")}
    maker = data.maker
    return {
        "format": FORMAT, "ptl_skel": version("ptl_skel"), "class_names": list(data.class_names),
        "layout": json.loads(data.layout.to_json()), "coordinates": views.coordinates,
        "clip_len": views.clip_len, "num_clips": views.num_clips, "flip": views.flip,
        "sampling": "uniform", "size": [maker.eval_size, maker.eval_size],
        "representation": type(maker.representation).__name__, "precision": "float32",
        "training": training}


def choose_clips(data: KeypointDataModule, number: int) -> NDArray[np.int64]:
    """Some clips of the test part, or of all where there is none, evenly spread."""
    clips = data.parts.get("test", np.empty(0, np.int64))
    if not len(clips):
        clips = np.arange(len(data.file))
    return clips[np.unique(np.linspace(0, len(clips) - 1, number).astype(np.int64))]


def check_file(path: Path, model: ActionRecognizer, data: KeypointDataModule,
               clips: NDArray[np.int64]) -> float:
    """The largest difference of a file from PyTorch, on several sizes of batches and of groups.

    Raises:
        UserError: It is more than rounding, or the file does not take all of them.
    """
    difference = largest_difference(path, (
        (feed_of(batch, data), [predict(model, data, batch).numpy()])
        for batch in _batches(data, clips)))
    if not difference <= TOLERANCE:
        raise UserError(f"the exported network differs from PyTorch by up to {difference:.1e}, "
                        f"more than {TOLERANCE:.0e}; nothing was written")
    return difference


def feed_of(batch: KeypointBatch, data: KeypointDataModule) -> Arrays:
    """The inputs of a file for a batch."""
    names = ["keypoints", "scores", *(["frame_size"] if data.maker.camera is None else [])]
    return {name: batch[name].numpy() for name in names}


@torch.inference_mode()
def predict(model: ActionRecognizer, data: KeypointDataModule, batch: KeypointBatch) -> Tensor:
    """Probabilities ``(N, K)`` as `ptl-skel test` computes them."""
    inputs = data.maker.evaluate(batch, torch.float32, several=True)
    probabilities: Tensor = model(inputs).softmax(1)
    return probabilities.view(-1, data.maker.test_views, data.num_classes).mean(1)


def _batches(data: KeypointDataModule, clips: NDArray[np.int64]) -> Iterator[KeypointBatch]:
    """All clips, in batches of 1 to 16; in every second one, others join the persons of each."""
    dataset = ClipDataset(data.file, clips, data.clip_len, num_clips=data.maker.test_clips)
    first = 0
    for number in (1, 2, 5, *[16] * len(clips)):
        places = range(first, min(first + number, len(clips)))
        if not places:
            return
        batch = dataset.__getitems__(places)
        if len(places) > 1 and number != 16:
            for name in ("keypoints", "scores"):
                joined = torch.cat([batch[name], batch[name].roll(1, 0)], 1)
                batch = KeypointBatch(**{**batch.tensors, name: joined})
        yield batch
        first += number


def _shapes(graph: Recognition, data: KeypointDataModule) -> str:
    frames = graph.views.clip_len * graph.views.num_clips
    joints = data.layout.num_joints
    size = "" if graph.views.camera else ", frame_size (N, 2)"
    return (f"keypoints (N, M, {frames}, {joints}, {graph.views.coordinates}), "
            f"scores (N, M, {frames}, {joints}){size}")


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="ptl-skel export", allow_abbrev=False, description="Writes a trained network as ONNX "
        "file: keypoints in pixels go in, class probabilities come out. The file is compared with "
        "PyTorch on clips of the keypoint file of the training before it gets its name.",
        epilog="Options of `ptl-skel test` that begin with --data. are taken as well, e.g. "
        "--data.file, another keypoint file, and --data.test_clips, views that are averaged.")
    parser.add_argument("--ckpt_path", type=Path, required=True, metavar="FILE",
                        help="checkpoint of a run")
    parser.add_argument("--out", type=Path, required=True, metavar="MODEL.onnx",
                        help="the file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace the file --out")
    return parser
