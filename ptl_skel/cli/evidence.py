"""What a network sees in a clip: the effect of hidden joints, and its predictions over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ptl_skel.cli.lightning import load_trained
from ptl_skel.cli.live_score import WHOLE, make_predictor, read_track
from ptl_skel.data.datamodule import KeypointDataModule
from ptl_skel.data.dataset import ClipDataset
from ptl_skel.data.live import LiveScore
from ptl_skel.data.sampling import sample_test
from ptl_skel.errors import UserError
from ptl_skel.representations import JointHeatmaps
from ptl_skel.show.clip import View, find_clip
from ptl_skel.show.evidence import Evidence
from ptl_skel.show.predictions import PredictionsOverTime
from ptl_skel.training.module import ActionRecognizer

SPANS = 8
"""Number of time spans that are hidden in turn."""
_SIGMA = 0.6  # px; width of the Gaussians in the picture if the network has no heatmaps


def explain_clip(checkpoint: Path, file: Path, clip: str, others: Sequence[str]) -> Evidence:
    """The evidence in a clip for the class that the network of a checkpoint predicts.

    Args:
        checkpoint: Checkpoint of a run.
        file: Keypoint file with the clip.
        clip: Its id or number.
        others: Further data options of ``ptl-skel test``.

    Raises:
        UserError: The checkpoint does not fit the file, or works on 3D coordinates.
    """
    model, data = _load(checkpoint, file, others)
    return find_evidence(model, data, find_clip(data.file, clip))


def predict_clip(checkpoint: Path, file: Path, clip: str, others: Sequence[str]
                 ) -> PredictionsOverTime:
    """The predictions of a checkpoint as a clip goes on; arguments as in `explain_clip`.

    Raises:
        UserError: The checkpoint does not fit the file, or works on 3D coordinates.
    """
    model, data = _load(checkpoint, file, others)
    return predict_over_time(model, data, find_clip(data.file, clip))


def _load(checkpoint: Path, file: Path, others: Sequence[str]
          ) -> tuple[ActionRecognizer, KeypointDataModule]:
    return load_trained(["--ckpt_path", str(checkpoint), "--data.file", str(file),
                         "--data.protocol", "null", *others])


@torch.inference_mode()
def predict_over_time(model: ActionRecognizer, data: KeypointDataModule, clip: int
                      ) -> PredictionsOverTime:
    """Predictions at each frame that the network samples from the clip, using the frames so far.

    The last one uses the whole clip, as in a test.

    Raises:
        UserError: The network works on 3D coordinates.
    """
    keypoints, scores = _read(data, clip)
    view = _view(data, clip, keypoints, scores)
    settings = data.live_score or LiveScore()
    predictor = make_predictor(model.eval(), data, settings.stride, WHOLE, torch.device("cpu"))
    seen = np.append(view.frames[:-1], data.file.num_frames[clip])
    seen = np.maximum.accumulate(seen)  # in a short clip, the first frames are sampled twice
    probabilities, = predictor([read_track(data, clip)], [seen])
    return PredictionsOverTime(view, data.class_names, probabilities, _true_class(data, clip))


@torch.inference_mode()
def find_evidence(model: ActionRecognizer, data: KeypointDataModule, clip: int) -> Evidence:
    """Hides each joint in each time span, and measures the decrease of the log-odds.

    The box is always that of the whole clip: only what is rendered in it changes.

    Raises:
        UserError: The network works on 3D coordinates.
    """
    keypoints, scores = _read(data, clip)
    logits = _predict(model, data, keypoints, scores[None])
    probabilities = logits[0].softmax(0)
    predicted = int(probabilities.argmax())

    def fall(hidden: Tensor) -> Tensor:
        """How much the log-odds fall if joints are hidden, for each mask ``(n, T, V)``."""
        masked = _predict(model, data, keypoints, scores * ~hidden[:, None, None])
        return _log_odds(logits, predicted) - _log_odds(masked, predicted)

    frames, joints = scores.shape[2:]
    spans = np.array_split(np.arange(frames), min(SPANS, frames))
    cells = torch.zeros(len(spans), joints, frames, joints, dtype=torch.bool)
    for place, span in enumerate(spans):
        for joint in range(joints):
            cells[place, joint, span, joint] = True
    always = torch.eye(joints, dtype=torch.bool)[:, None].expand(-1, frames, -1)
    everyone = cells.any(1)
    return Evidence(
        _view(data, clip, keypoints, scores),
        predicted=data.class_names[predicted], probability=float(probabilities[predicted]),
        true=_true_class(data, clip),
        spans=tuple((int(span[0]), int(span[-1]) + 1) for span in spans),
        cells=torch.stack([fall(each) for each in cells], 1).numpy(),
        joints=fall(always).numpy(), times=fall(everyone).numpy())


def _read(data: KeypointDataModule, clip: int) -> tuple[Tensor, Tensor]:
    """Keypoints ``(1, M, T, V, 2)`` in pixels of the heatmaps, and scores, as in a test.

    Raises:
        UserError: The network works on 3D coordinates.
    """
    batch = ClipDataset(data.file, np.array([clip]), data.clip_len).__getitems__([0])
    keypoints, scores = data.maker.place(batch, several=False)
    if keypoints.shape[-1] != 2:
        raise UserError("the network takes 3D coordinates; --ckpt_path only shows networks on 2D "
                        "pixels")
    return keypoints, scores


def _view(data: KeypointDataModule, clip: int, keypoints: Tensor, scores: Tensor) -> View:
    size = data.maker.eval_size, data.maker.eval_size
    rendered = data.maker.representation
    heatmaps = rendered if isinstance(rendered, JointHeatmaps) else JointHeatmaps(
        data.layout, _SIGMA)
    frames = sample_test(int(data.file.num_frames[clip]), data.clip_len)[0] + 1
    return View(data.file.ids[clip], "", data.layout, frames, keypoints[0].numpy(),
                scores[0].numpy(), heatmaps(keypoints, scores, size)[0].numpy())


def _true_class(data: KeypointDataModule, clip: int) -> str | None:
    """Name of the true class; None if it is not known."""
    label = int(data.file.label[clip])
    return data.file.header.class_names[label] if label >= 0 else None


def _predict(model: ActionRecognizer, data: KeypointDataModule, keypoints: Tensor, scores: Tensor
             ) -> Tensor:
    """Logits ``(n, K)`` of a clip ``(1, M, T, V, 2)`` with scores ``(n, 1, M, T, V)``."""
    size = data.maker.eval_size, data.maker.eval_size
    inputs = [data.maker.representation(keypoints, each, size, torch.float32) for each in scores]
    logits: Tensor = model(torch.cat(inputs))
    return logits


def _log_odds(logits: Tensor, label: int) -> Tensor:
    """Logarithm of p / (1 - p) of a class, ``(n, K)`` to ``(n,)``."""
    others = torch.cat([logits[:, :label], logits[:, label + 1:]], 1)
    return logits[:, label] - others.logsumexp(1)
