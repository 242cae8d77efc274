"""``ptl-skel calibrate``: calibrates the probabilities of a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from ptl_skel.atomic import replacing
from ptl_skel.cli.deployable import refuse_not_finite
from ptl_skel.cli.lightning import load_trained
from ptl_skel.cli.live_score import WHOLE, make_predictor, predict_clips, runs_as_stream
from ptl_skel.command import CommandParser, console, writing
from ptl_skel.data.datamodule import KeypointDataModule
from ptl_skel.data.live import LiveScore, moments
from ptl_skel.errors import UserError
from ptl_skel.live.labels import MIN_PROBABILITY
from ptl_skel.metrics import SHARES
from ptl_skel.runs.checkpoints import CALIBRATION, RECORD, read_checkpoint
from ptl_skel.training.calibration import (
    apply_temperature,
    calibration_error,
    choose_threshold,
    error_on_other_half,
    fit_temperature,
)
from ptl_skel.training.module import ActionRecognizer

FEW = 100
"""Below this number of validation clips, the accuracy has a standard error of 2 points or more."""


def main(args: Sequence[str]) -> None:
    """Writes a checkpoint whose probabilities are calibrated on the validation part.

    Raises:
        UserError: The run held out no clips for validation, or the checkpoint cannot be used.
    """
    options = _parser().parse_args(args)
    out = options.out or options.ckpt_path.with_name("calibrated.ckpt")
    if out.exists() and not options.overwrite:
        raise UserError(f"{out} exists; --overwrite replaces it, --out names another file")
    if not 0 < options.precision <= 1:
        raise UserError(f"--precision must be above 0 and at most 1, got {options.precision}")
    checkpoint = read_checkpoint(options.ckpt_path)
    if CALIBRATION in checkpoint[RECORD]:
        raise UserError(f"{options.ckpt_path} is already calibrated")
    model, data = load_trained(
        ["--ckpt_path", str(options.ckpt_path),
         *([] if options.file is None else ["--data.file", str(options.file)])])
    refuse_not_finite(model, options.ckpt_path)
    if not data.has_validation:
        raise UserError(
            f"{options.ckpt_path} was trained without validation clips, and training clips "
            "cannot show how reliable its probabilities are; train with --data.val_fraction 0.2")
    if data.validation == "test part":
        raise UserError(f"{options.ckpt_path} was validated on the test part, which must not "
                        "be used for calibration; train with --data.val_on_test false "
                        "--data.val_fraction 0.2")
    if len(data.part("val")) < 2:
        raise UserError(f"{options.ckpt_path} was trained with only one validation clip, which is "
                        "not enough for a calibration; train with --data.val_fraction 0.2")
    logits, label, clip = predict_validation(model, data)
    facts, rows = _calibrate(logits, label, clip, options.precision)
    apply_temperature(model, facts["temperature"])
    checkpoint["state_dict"] = model.state_dict()
    checkpoint[RECORD] = {**checkpoint[RECORD], CALIBRATION: facts}
    try:
        with writing(out, flag=""), replacing(out) as temporary:
            torch.save(checkpoint, temporary)
    except RuntimeError as error:  # not an OSError, as torch writes the file
        raise UserError(f"{out} cannot be written: the disk may be full") from error
    table = Table(title=escape(str(out)), show_header=False)
    for name, value in rows:
        table.add_row(name, value)
    console.print(table)


@torch.inference_mode()
def predict_validation(model: ActionRecognizer, data: KeypointDataModule
                       ) -> tuple[Tensor, Tensor, NDArray[np.int64]]:
    """The predictions of a network on validation clips.

    A network that was trained to predict before an action is over is evaluated after each fifth of
    a clip, any other one at its end. A causal network runs as an exported stream does, with the
    same stride and memory.

    Returns:
        Log-probabilities ``(N, K)``, true classes ``(N,)`` and clip indices ``(N,)``.
    """
    clips = data.part("val")
    length = data.file.num_frames[clips].astype(np.int64)
    shares = list(moments(length, None).values())
    times = np.stack(shares if data.sampling != "uniform" else shares[-1:], 1)
    settings = data.live_score or LiveScore()
    memory = settings.memory if runs_as_stream(model, data) else WHOLE
    predictor = make_predictor(model, data, settings.stride, memory, torch.device("cpu"))
    predictions = predict_clips(predictor, data, clips, list(times))
    label = data.classes_of(torch.from_numpy(data.file.label[clips].astype(np.int64)))
    probabilities = torch.from_numpy(np.concatenate(predictions))
    smallest = torch.finfo(probabilities.dtype).tiny
    return (probabilities.clamp_min(smallest).log(), label.repeat_interleave(times.shape[1]),
            np.repeat(np.arange(len(clips)), times.shape[1]))


def _calibrate(logits: Tensor, label: Tensor, clip: NDArray[np.int64], precision: float
               ) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The facts of a calibration to record, and rows of the table.

    Raises:
        UserError: All predictions are right, or all those of half the clips.
    """
    temperature = fit_temperature(logits, label)
    before = calibration_error(logits.softmax(1), label)
    after = error_on_other_half(logits, label, torch.from_numpy(clip % 2 == 0))
    probability, found = (logits / temperature).softmax(1).max(1)
    right = found == label
    chosen = choose_threshold(probability, right, precision)
    clips = int(clip[-1]) + 1
    facts = {"temperature": temperature, "precision": precision,
             "min_probability": None if chosen is None else chosen[0],
             "clips": clips, "error_before": before, "error_after": after}
    several = len(label) > clips
    when = f", predictions after {', '.join(map(str, SHARES))} %" if several else ""
    few = f"; fewer than {FEW}, so the values below are uncertain" if clips < FEW else ""
    advice = (f"not reached; `live` and `segment` use {MIN_PROBABILITY}" if chosen is None else
              f"{chosen[0]:.2f}, reached by {100 * chosen[1]:.1f} % of the predictions")
    return facts, [
        ("validation", f"{clips:,} clips{when}{few}"),
        ("accuracy", f"{100 * right.double().mean():.1f} %"),
        ("temperature", f"{temperature:.3f}"),
        ("calibration error", f"{100 * before:.1f} % before, {100 * after:.1f} % after"),
        (f"threshold for {100 * precision:g} % correct", advice)]


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="ptl-skel calibrate", allow_abbrev=False, description="Divides the logits of a "
        "trained network by a temperature that is fitted on its validation part, so that its "
        "probabilities are calibrated, and finds the threshold above which a given share of its "
        "predictions is right. Predicted classes, and thus accuracies, do not change. The new "
        "checkpoint can be used like the old one, except to resume training.")
    parser.add_argument("--ckpt_path", type=Path, required=True, metavar="FILE",
                        help="checkpoint of a run with a validation part (--data.val_fraction)")
    parser.add_argument("--data.file", dest="file", type=Path, metavar="FILE", help=(
        "the keypoint file, if it has moved since the training"))
    parser.add_argument("--out", type=Path, metavar="FILE", help=(
        "checkpoint to write; default: calibrated.ckpt next to --ckpt_path"))
    parser.add_argument("--overwrite", action="store_true", help="replace the file --out")
    parser.add_argument("--precision", type=float, default=0.95, metavar="SHARE", help=(
        "share of labels of `ptl-skel live` and `segment` that should be right; sets their "
        "--min_probability; default: 0.95"))
    return parser
