"""Calibration: predictions with a probability of 0.8 should be right in 80 of 100 cases.

Reference:
    Guo et al., "On Calibration of Modern Neural Networks", arXiv 1706.04599.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from torch import Tensor, nn
from torchmetrics.functional.classification import multiclass_calibration_error

from ptl_skel.errors import UserError
from ptl_skel.training.module import ActionRecognizer

BINS = 15
"""Bins of the calibration error, as in the paper."""
_LARGEST = 20.0  # temperature to try; its inverse is the smallest one


def fit_temperature(logits: Tensor, label: Tensor) -> float:
    """The temperature to divide logits by, which maximises the likelihood of the labels.

    Args:
        logits: ``(N, K)``; log-probabilities work as well.
        label: ``(N,)``.

    Raises:
        UserError: All predictions are right, so the best temperature would be 0.
    """
    if _all_right(logits, label):
        raise UserError(f"all {len(label)} predictions are right, so the probabilities cannot be "
                        "calibrated; use more clips, or other ones")
    logits = logits.double()
    found = minimize_scalar(
        lambda log: F.cross_entropy(logits / math.exp(log), label).item(),
        bounds=(-math.log(_LARGEST), math.log(_LARGEST)), method="bounded")
    return math.exp(found.x)


def calibration_error(probabilities: Tensor, label: Tensor) -> float:
    """Expected calibration error: mean difference between probability and accuracy, in 0..1.

    Args:
        probabilities: ``(N, K)``.
        label: ``(N,)``.
    """
    return multiclass_calibration_error(
        probabilities, label, probabilities.shape[1], n_bins=BINS).item()


def error_on_other_half(logits: Tensor, label: Tensor, half: Tensor) -> float:
    """The calibration error, where the temperature of each half is fitted on the other half.

    Args:
        logits: ``(N, K)``.
        label: ``(N,)``.
        half: Which half each belongs to, ``(N,)``, boolean.

    Raises:
        UserError: All predictions of a half are right.
    """
    calibrated = torch.empty_like(logits)
    for side in (half, ~half):
        if _all_right(logits[side], label[side]):
            raise UserError(f"only {int((logits.argmax(1) != label).sum())} of {len(label)} "
                            "predictions are wrong, none of them for one half of the clips, so the "
                            "probabilities cannot be calibrated; use more clips, or other ones")
    for side in (half, ~half):
        calibrated[side] = (logits[side] / fit_temperature(logits[~side], label[~side])).softmax(1)
    return calibration_error(calibrated, label)


def _all_right(logits: Tensor, label: Tensor) -> bool:
    return bool((logits.argmax(1) == label).all())


def choose_threshold(probability: Tensor, right: Tensor, precision: float
                     ) -> tuple[float, float] | None:
    """The smallest threshold above which the accuracy of predictions is at least `precision`.

    Args:
        probability: Probability of each prediction, ``(N,)``.
        right: Whether it is right, ``(N,)``.
        precision: In 0..1.

    Returns:
        The threshold, and the share of predictions at or above it; None if no threshold reaches
        that precision.
    """
    ordered, order = probability.sort(descending=True)
    count = torch.arange(1, len(order) + 1)
    share = right[order].double().cumsum(0) / count
    last = ordered != torch.cat((ordered[1:], ordered.new_full((1,), -1)))  # equal ones go together
    reached = ((share >= precision) & last).nonzero().flatten()
    if not len(reached):
        return None
    return ordered[reached[-1]].item(), count[reached[-1]].item() / len(order)


@torch.no_grad()
def apply_temperature(model: ActionRecognizer, temperature: float) -> None:
    """Divides the logits of a network by a temperature, in its last layer."""
    linear = cast(nn.Linear, cast(nn.Sequential, model.classifier[1])[-1])
    linear.weight.div_(temperature)
    linear.bias.div_(temperature)
