"""Predictions of the clips of a validation or test, from all processes, and their accuracies."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_f1_score
from torchmetrics.utilities import dim_zero_cat

from ptl_skel.metrics import F1, MEAN_CLASS, TOP1, TOP5


class ClipPredictions(Metric):
    """Class probabilities per clip, from any number of views and processes.

    A clip that is added more than once (as padding of a process's last batch) counts once.
    """

    full_state_update = False
    clip: list[Tensor]
    label: list[Tensor]
    probabilities: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("clip", "label", "probabilities"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, clip: Tensor, label: Tensor, logits: Tensor, views: int = 1) -> None:
        """Adds clips ``(N,)`` with the logits ``(N * views, K)`` of all their views.

        Raises:
            ValueError: The number of logits does not fit.
        """
        if len(logits) != len(clip) * views:
            raise ValueError(f"{len(clip)} clips of {views} views have {len(clip) * views} logits, "
                             f"got {len(logits)}")
        probabilities = logits.float().softmax(1).view(len(clip), views, logits.shape[1]).mean(1)
        self.clip.append(clip)
        self.label.append(label)
        self.probabilities.append(probabilities)

    def gather(self) -> tuple[Tensor, Tensor, Tensor]:
        """Clips ``(N,)`` in ascending order, labels ``(N,)`` and probabilities ``(N, K)``."""
        # The wrapper that torchmetrics puts around `compute` squeezes tensors of one element.
        clip, label, probabilities = self.compute()
        return clip.view(-1), label.view(-1), probabilities.view(clip.numel(), -1)

    def compute(self) -> tuple[Tensor, Tensor, Tensor]:
        """See `gather`."""
        clip, label, probabilities = (
            dim_zero_cat(state) for state in (self.clip, self.label, self.probabilities))
        order = clip.argsort(stable=True)
        first = torch.ones_like(clip, dtype=torch.bool)
        first[1:] = clip[order][1:] != clip[order][:-1]
        kept = order[first]
        return clip[kept], label[kept], probabilities[kept]


def accuracies(probabilities: Tensor, label: Tensor) -> dict[str, Tensor]:
    """Top-1, top-5 and mean-class accuracy, and the macro mean of F1 scores, in 0..1.

    Classes without clips do not count, except in F1 if they are predicted for some clip.
    """
    classes = probabilities.shape[1]
    present = torch.unique(label)
    per_class = multiclass_accuracy(probabilities, label, classes, average="none")
    return {
        TOP1: multiclass_accuracy(probabilities, label, classes, average="micro"),
        TOP5: multiclass_accuracy(probabilities, label, classes, average="micro",
                                  top_k=min(5, classes)),
        MEAN_CLASS: per_class[present].mean(),
        F1: multiclass_f1_score(probabilities, label, classes, average="macro"),
    }


def class_scores(confusion: Tensor) -> list[dict[str, float]]:
    """Clips, precision, recall and F1 score of each class, from counts ``(K, K)``.

    Rows are the true classes. A score that cannot be computed for lack of clips is 0.
    """
    right, of_class, predicted = confusion.diag(), confusion.sum(1), confusion.sum(0)
    columns = {
        "precision": right / predicted.clamp_min(1), "recall": right / of_class.clamp_min(1),
        "f1": 2 * right / (of_class + predicted).clamp_min(1)}
    return [{"clips": int(number), **{name: round(float(column[k]), 4)
                                      for name, column in columns.items()}}
            for k, number in enumerate(of_class.tolist())]
