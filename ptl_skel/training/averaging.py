"""Averaged weights, which a run validates, tests and saves."""

from __future__ import annotations

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class AveragedWeights(WeightAveraging):
    """An exponential moving average of the weights over the last part of the training.

    Its span is a fraction of the steps rather than a fixed number, so the same setting suits short
    and long trainings. The average starts with the first step and has a shorter span at the start,
    since the initial weights are not useful. Buffers, such as the statistics of batch norms, are
    averaged as well.

    Args:
        share: Span of the average as a fraction of all steps, in 0..1.
    """

    def __init__(self, share: float) -> None:
        super().__init__(multi_avg_fn=self._mix)
        self.share = share
        self.span = 1.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Copies the model; the updates are counted on the CPU, to avoid GPU synchronisation."""
        super().setup(trainer, pl_module, stage)
        if self._average_model is not None:
            self._average_model.n_averaged = self._average_model.n_averaged.cpu()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Counts the steps."""
        self.span = max(1.0, self.share * float(trainer.estimated_stepping_batches))

    @torch.no_grad()
    def _mix(self, averaged: list[Tensor], current: list[Tensor], updates: Tensor | int) -> None:
        """Updates the average with the weights of this step."""
        if not averaged[0].is_floating_point():  # the batch counter of a batch norm
            for kept, new in zip(averaged, current, strict=True):
                kept.copy_(new)
            return
        # Weights in half precision are averaged in single precision, as the copy was made before.
        current = [new.to(kept.dtype) for kept, new in zip(averaged, current, strict=True)]
        torch._foreach_lerp_(averaged, current, newest_weight(self._latest_update_step, self.span))


def newest_weight(updates: int, span: float) -> float:
    """Weight of the newest value in an average over `span` values, after that many updates."""
    return 1 / min(span, (10 + updates) / 9)
