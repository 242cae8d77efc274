"""What a trained network saw in a clip: hidden joints and spans of time, and what that changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ptl_skel.cli.lightning import load_trained
from ptl_skel.data.datamodule import KeypointDataModule
from ptl_skel.data.dataset import ClipDataset
from ptl_skel.data.sampling import sample_test
from ptl_skel.errors import UserError
from ptl_skel.representations import JointHeatmaps
from ptl_skel.show.clip import View, find_clip
from ptl_skel.show.evidence import Evidence
from ptl_skel.training.module import ActionRecognizer

SPANS = 8
"""Spans of time that are hidden, one after the other."""
_SIGMA = 0.6  # px; width of the Gaussians in the picture where the network has no heatmaps


def explain_clip(checkpoint: Path, file: Path, clip: str, others: Sequence[str]) -> Evidence:
    """The evidence in a clip for the class that the network of a checkpoint predicts.

    Args:
        checkpoint: Of a run.
        file: Keypoint file with the clip.
        clip: Its id or place.
        others: Further options of ``ptl-skel test`` on the data.

    Raises:
        UserError: The checkpoint does not fit the file, or works on 3D coordinates.
    """
    model, data = load_trained(["--ckpt_path", str(checkpoint), "--data.file", str(file),
                                "--data.protocol", "null", *others])
    return find_evidence(model, data, find_clip(data.file, clip))


@torch.inference_mode()
def find_evidence(model: ActionRecognizer, data: KeypointDataModule, clip: int) -> Evidence:
    """Hides each joint in each span of time, and takes the fall of the log-odds.

    The box stays that of the whole clip: only what is rendered in it changes.

    Raises:
        UserError: The network works on 3D coordinates.
    """
    dataset = ClipDataset(data.file, np.array([clip]), data.clip_len)
    batch = dataset.__getitems__([0])
    keypoints, scores = data.maker.place(batch, several=False)
    if keypoints.shape[-1] != 2:
        raise UserError("the network sees 3D coordinates; evidence is shown on pixels, for "
                        "networks on heatmaps")
    logits = _predict(model, data, keypoints, scores[None])
    probabilities = logits[0].softmax(0)
    predicted = int(probabilities.argmax())

    def fall(hidden: Tensor) -> Tensor:
        """By how much the log-odds fall if joints are hidden, for each mask ``(n, T, V)``."""
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
    size = data.maker.eval_size, data.maker.eval_size
    rendered = data.maker.representation
    heatmaps = rendered if isinstance(rendered, JointHeatmaps) else JointHeatmaps(
        data.layout, _SIGMA)
    label, length = int(data.file.label[clip]), int(data.file.num_frames[clip])
    names = data.file.header.class_names
    sampled = sample_test(length, data.clip_len)[0] + 1
    return Evidence(
        View(data.file.ids[clip], "", data.layout, sampled, keypoints[0].numpy(),
             scores[0].numpy(), heatmaps(keypoints, scores, size)[0].numpy()),
        predicted=data.class_names[predicted], probability=float(probabilities[predicted]),
        true=names[label] if label >= 0 else None,
        spans=tuple((int(span[0]), int(span[-1]) + 1) for span in spans),
        cells=torch.stack([fall(each) for each in cells], 1).numpy(),
        joints=fall(always).numpy(), times=fall(everyone).numpy())


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
