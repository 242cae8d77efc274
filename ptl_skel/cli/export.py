"""``ptl-skel export``: writes trained networks as an ONNX file that takes keypoints."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from ptl_skel.atomic import replacing
from ptl_skel.cli.deployable import (
    DROPPED,
    Trained,
    assemble,
    choose_clips,
    difference_from_torch,
    drops_calibration,
    example,
    feed_of,
    load_networks,
    refuse_difference,
    refuse_without_effect,
)
from ptl_skel.cli.ensemble import shares_of
from ptl_skel.cli.export_stream import FORMS, write_stream
from ptl_skel.command import CommandParser, console, writing
from ptl_skel.data.datamodule import KeypointDataModule
from ptl_skel.data.dataset import ClipDataset
from ptl_skel.deploy.export import (
    OPSET,
    list_operators,
    open_session,
    require_packages,
    run,
    update_metadata,
    write_onnx,
)
from ptl_skel.deploy.graph import Ensemble, Recognition
from ptl_skel.deploy.quantize import quantize
from ptl_skel.errors import UserError

CHECKED = 200
"""Number of clips on which a file is compared with PyTorch."""
CALIBRATED = 64
"""Number of training clips to calibrate the range of activations for 8 bits."""


def main(args: Sequence[str]) -> None:
    """Writes an ONNX file, and checks it.

    Raises:
        UserError: Something cannot be exported, or the file's outputs differ from the network's.
    """
    parser = _parser()
    options, others = parser.parse_with_data(args)
    out: Path = options.out
    if out.suffix != ".onnx":
        raise UserError(f"--out must end in .onnx, got {out}")
    if out.exists() and not options.overwrite:
        raise UserError(f"--out {out} exists; --overwrite replaces it")
    if not options.max_loss >= 0:
        raise UserError(f"--max_loss must be >= 0, got {options.max_loss}")
    checkpoints: list[Path] = options.ckpt_path
    if options.stream and (options.int8 or len(checkpoints) > 1):
        raise UserError("--stream takes one checkpoint, and not --int8; both are for networks that "
                        "take whole clips")
    if len(checkpoints) == 1:
        parser.refuse_without_effect(options, ["weights"], "on one checkpoint")
    if not options.int8:
        parser.refuse_without_effect(options, ["max_loss"], "without --int8")
    shares = shares_of(options.weights, len(checkpoints))
    refuse_without_effect(others, stream=options.stream is not None)
    require_packages("onnx", "onnxscript", "onnxruntime")
    networks = load_networks(checkpoints, others)
    with writing(out), replacing(out) as temporary:
        if options.stream:
            rows = write_stream(temporary, *networks[0], checkpoints[0], options.stream)
        else:
            rows = _write_clips(temporary, networks, shares, options)
    table = Table(title=escape(str(out)), show_header=False)
    table.add_row("size", f"{out.stat().st_size / 1e6:.2f} MB")
    for name, value in (*rows, ("operators", ", ".join(list_operators(out)))):
        table.add_row(name, value)
    console.print(table)


def _write_clips(path: Path, networks: Sequence[Trained], shares: Sequence[float], options: Any
                 ) -> list[tuple[str, str]]:
    """Writes and checks the file of networks for whole clips; returns rows of the table.

    Raises:
        UserError: A network has no export form, the outputs of the file differ from those of
            PyTorch, or the file in 8 bits is less accurate than allowed.
    """
    data = networks[0][1]
    module, metadata = assemble(options.ckpt_path, networks, shares,
                                "int8" if options.int8 else "float32")
    rows = [("inputs", _shapes(module, data)),
            ("outputs", f"probabilities (N, {data.num_classes})"), ("opset", str(OPSET))]
    if drops_calibration(options.ckpt_path):
        rows.append(("calibration", DROPPED))
    with tempfile.TemporaryDirectory() as folder:
        single = Path(folder) / "single.onnx" if options.int8 else path
        write_onnx(module, *example(module, data), metadata, single)
        clips = choose_clips(data, CHECKED)
        difference = difference_from_torch(single, networks, shares, clips)
        refuse_difference(difference)
        rows.append(("difference from PyTorch", f"at most {difference:.1e}, {len(clips)} clips"))
        if options.int8:
            quantize(single, path, (feed_of(ClipDataset(
                data.file, np.array([clip]), data.clip_len,
                num_clips=data.maker.test_clips)[0], data) for clip in _calibration(data)))
            difference_from_torch(path, networks, shares, clips)  # accepts all batch sizes
            accuracy = _check_int8(single, path, data, options.max_loss)
            update_metadata(path, metadata | {"accuracy": accuracy})
            rows += [(name, f"{100 * accuracy[key]:.2f} % of {accuracy['clips']} test clips")
                     for name, key in (("top-1, float32", "top1_float32"),
                                       ("top-1, int8", "top1"), ("same class", "same_class"))]
    return rows


def _calibration(data: KeypointDataModule) -> list[int]:
    clips = data.part("train")
    number = min(CALIBRATED, len(clips))
    chosen: list[int] = np.random.default_rng(0).choice(clips, number, replace=False).tolist()
    return chosen


def _check_int8(single: Path, path: Path, data: KeypointDataModule, max_loss: float
                ) -> dict[str, float]:
    """Test accuracy of a file in 8 bits and of that in single precision, in 0..1.

    Raises:
        UserError: The accuracy in 8 bits is lower by more than `max_loss` points.
    """
    label, expected, made = _predict_classes(data, single, path)
    accuracy, quantised = (float((each == label).mean()) for each in (expected, made))
    if 100 * (accuracy - quantised) > max_loss:
        raise UserError(
            f"in 8 bits the network is right in {100 * quantised:.2f} % of {len(label)} test "
            f"clips, in single precision in {100 * accuracy:.2f} %; that is more than --max_loss "
            f"{max_loss:g} points, so nothing was written")
    return {"clips": len(label), "top1_float32": accuracy, "top1": quantised,
            "same_class": float((expected == made).mean())}


def _predict_classes(data: KeypointDataModule, *paths: Path) -> list[np.ndarray]:
    """Classes of all test clips ``(N,)``, and those that each file predicts."""
    sessions = [open_session(path) for path in paths]
    dataset = ClipDataset(data.file, data.part("test"), data.clip_len,
                          num_clips=data.maker.test_clips)
    rows = []
    for place in range(len(dataset)):
        batch = dataset[place]
        found = [run(session, feed_of(batch, data))[0].argmax(1) for session in sessions]
        rows.append([data.classes_of(batch["label"]).numpy(), *found])
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


def _shapes(graph: Recognition | Ensemble, data: KeypointDataModule) -> str:
    frames = graph.views.clip_len * graph.views.num_clips
    joints = data.layout.num_joints
    size = "" if graph.views.camera else ", frame_size (N, 2)"
    return escape(f"keypoints (N, M, {frames}, {joints}, {graph.views.coordinates}), "
                  f"scores (N, M, {frames}, {joints}){size}")


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="ptl-skel export", allow_abbrev=False, description="Writes a trained network as an "
        "ONNX file that takes keypoints in pixels and returns class probabilities. Before it is "
        "saved under its name, it is compared with PyTorch on clips of the training's keypoint "
        "file.",
        epilog="Options of `ptl-skel test` that begin with --data. are accepted as well, if they "
        "affect the file: --data.file, another keypoint file; --data.test_clips, clips of each "
        "sample whose probabilities are averaged; and with --stream, --data.live_score.memory, "
        "frames after which a stream forgets.")
    parser.add_argument("--ckpt_path", type=Path, nargs="+", required=True, metavar="FILE", help=(
        "checkpoint of a run; of several, e.g. on coordinates and on heatmaps, the file returns "
        "the mean of the probabilities"))
    parser.add_argument("--weights", nargs="+", type=float, metavar="W", help=(
        "weights of the networks in that mean; default: equal weights"))
    parser.add_argument("--out", type=Path, required=True, metavar="MODEL.onnx",
                        help="the file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace the file --out")
    parser.add_argument("--stream", nargs="?", const="frame", choices=FORMS, help=(
        "a causal network for streams, with its states as inputs and outputs: `frame`, the "
        "default, predicts at every frame; `step` costs less, and predicts once in as many "
        "frames as the strides of the network skip"))
    parser.add_argument("--int8", action="store_true", help=(
        "compute the network in 8 bits, calibrated on training clips; compared with single "
        "precision on the test part"))
    parser.add_argument("--max_loss", type=float, default=1.0, metavar="POINTS", help=(
        "with --int8, write nothing if top-1 accuracy drops by more points; default: 1"))
    return parser
