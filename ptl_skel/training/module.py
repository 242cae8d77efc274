"""The LightningModule: a backbone, a linear head, the loss, the optimiser."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Literal, TypedDict, cast

import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics.functional.classification import multiclass_confusion_matrix

from ptl_skel.backbones.base import Backbone
from ptl_skel.backbones.layers import GlobalAvgPool, is_causal, temporal_stride
from ptl_skel.errors import UserError
from ptl_skel.metrics import LOSS, TOP1
from ptl_skel.training.averaging import AveragedWeights
from ptl_skel.training.device import use_tf32
from ptl_skel.training.evaluation import ClipPredictions, accuracies


class Batch(TypedDict):
    """A batch that a network is trained or tested on.

    Attributes:
        inputs: ``(N * views, C, T, H, W)``; the views of a clip are consecutive.
        label: ``(N,)``; -1 if it is not known.
        clip: Index of each clip in its file, ``(N,)``.
        views: Number of inputs per clip.
    """

    inputs: Tensor
    label: Tensor
    clip: Tensor
    views: int


def balance_weights(counts: Sequence[int]) -> Tensor:
    """Weight of each class in the loss: inversely proportional to its clips, 0 without clips.

    The mean over all clips is 1.

    Reference:
        King and Zeng, "Logistic Regression in Rare Events Data", 2001.
    """
    clips = torch.tensor(counts, dtype=torch.float32)
    present = clips > 0
    return torch.where(present, clips.sum() / (present.sum() * clips.clamp_min(1)), 0.0)


def classifier(backbone: Backbone, num_classes: int, dropout: float = 0.0) -> nn.Sequential:
    """A backbone with average pooling and a linear head, ``(N, C, T, H, W)`` to ``(N, K)``."""
    linear = nn.Linear(backbone.num_features, num_classes)
    nn.init.normal_(linear.weight, std=0.01)
    nn.init.zeros_(linear.bias)
    head = nn.Sequential(GlobalAvgPool(), nn.Flatten(), nn.Dropout(dropout), linear)
    for parameter in backbone.parameters():
        if parameter.ndim == 5:  # a copy: `contiguous` would not change the strides of 1x1x1
            parameter.data = torch.empty_like(
                parameter, memory_format=torch.channels_last_3d).copy_(parameter.data)
    return nn.Sequential(OrderedDict(backbone=backbone, head=head))


class ActionRecognizer(LightningModule):
    """Recognises the action of a clip.

    Args:
        backbone: Computes features, which are averaged over time and space for a linear layer.
        num_classes: Number of classes K.
        optimizer: Takes the parameters, e.g. ``torch.optim.SGD`` with its arguments.
        dropout: Dropout probability before the linear layer.
        label_smoothing: Label smoothing of the cross entropy.
        class_weights: ``balanced`` weights each training clip inversely to the frequency of its
            class: for classes so rare that sampling them more often (`data.balanced`) would repeat
            few clips too often. Use one of the two. None: equal weights.
        loss_at: ``end``: the loss is that of the whole clip. ``every_output``: the loss of a causal
            network is computed at each of its outputs over time, on the mean of the outputs so far,
            with more weight on later outputs; so the network learns to predict early.
        warmup: Fraction of the steps in which the learning rate rises linearly; then it falls to 0
            along half a cosine.
        average: Fraction of all steps over which the weights that are validated, tested and saved
            are averaged, e.g. 0.03. 0: the weights of the last step.
        batch_size: Clips in a batch per device.
        lr_batch_size: Batch size (over all devices and accumulated steps) that the learning rate is
            meant for; for other batch sizes it is scaled linearly (arXiv 1706.02677). None: not
            scaled.
        compile: Whether the network runs through ``torch.compile``; the first steps take minutes.

    Raises:
        UserError: An argument is out of range.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        optimizer: OptimizerCallable,
        dropout: float = 0.5,
        label_smoothing: float = 0.0,
        class_weights: Literal["balanced"] | None = None,
        loss_at: Literal["end", "every_output"] = "end",
        warmup: float = 0.0,
        average: float = 0.0,
        batch_size: int = 16,
        lr_batch_size: int | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__()
        for name, value in (("warmup", warmup), ("dropout", dropout),
                            ("label_smoothing", label_smoothing), ("average", average)):
            if not 0 <= value < 1:
                raise UserError(f"`model.{name}` must lie in 0..1, got {value}")
        if lr_batch_size is not None and lr_batch_size < 1:
            raise UserError(f"`model.lr_batch_size` must be >= 1, got {lr_batch_size}")
        if loss_at == "every_output" and not is_causal(backbone):
            raise UserError("`model.loss_at` every_output needs a causal network, whose outputs "
                            "do not depend on later frames: set `causal` of its convolutions")
        self.classifier = classifier(backbone, num_classes, dropout)
        self.loss_at = loss_at
        self.label_smoothing = label_smoothing
        self.class_weights = class_weights
        # Depends on the training part. Not a buffer, since buffers are saved, and averaged by EMA.
        self._weight: Tensor | None = None
        self.make_optimizer = optimizer
        self.warmup = warmup
        self.average = average
        self.batch_size = batch_size
        self.lr_batch_size = lr_batch_size
        self.compiled = compile
        self.predictions = ClipPredictions()

    def setup(self, stage: str) -> None:
        """Prepares the device; compiles the network in place, which keeps names and weights.

        Raises:
            UserError: There are class weights without a data module that counts clips.
        """
        device = self.trainer.strategy.root_device
        use_tf32(device)
        if self.class_weights is not None and stage == "fit":
            counts = getattr(getattr(self.trainer, "datamodule", None), "class_counts", None)
            if counts is None:
                raise UserError("`class_weights` needs a data module with `class_counts`")
            self._weight = balance_weights(counts).to(device)
        if self.compiled:
            (self.classifier if self.loss_at == "end" else self.classifier[0]).compile()

    def configure_callbacks(self) -> list[Callback]:
        """Averages the weights in training, if `average` is set."""
        averages = self.average and self.trainer.state.fn == "fit"
        return [AveragedWeights(self.average)] if averages else []

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs ``(N, C, T, H, W)`` to logits ``(N, K)``."""
        return cast(Tensor, self.classifier(inputs))

    def losses(self, logits: Tensor, label: Tensor) -> Tensor:
        """Cross entropy of logits ``(N, K)`` in training, with smoothing and class weights.

        The weight of a clip is that of its class. PyTorch would also multiply the smoothing term of
        every other class by the weight of that class, so that a rare class would be the best
        prediction for every clip. It would also divide by the weights in the batch, which takes
        from rare clips what they gained.

        Returns:
            The loss of each clip, ``(N,)``.
        """
        each = F.cross_entropy(logits, label, label_smoothing=self.label_smoothing,
                               reduction="none")
        return each if self._weight is None else each * self._weight[label]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of a batch."""
        label = batch["label"]
        if self.loss_at == "every_output":
            logits, loss = self._predict_at_every_output(batch["inputs"], label)
        else:
            logits = self(batch["inputs"])
            loss = self.losses(logits, label).mean()
        right = (logits.argmax(1) == label).float().mean()
        self.log_dict({f"train/{LOSS}": loss, f"train/{TOP1}": right}, on_epoch=True, on_step=False,
                      batch_size=len(label), prog_bar=True, sync_dist=True)
        return loss

    def _predict_at_every_output(self, inputs: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``(N, K)`` at the end of each clip, and the loss of all its outputs."""
        backbone, head = self.classifier
        features = backbone(inputs)
        begun = begun_outputs(inputs, temporal_stride(backbone))
        if features.shape[2] != begun.shape[1]:
            raise UserError(
                f"`model.loss_at` every_output needs a network that skips frames only with the "
                f"strides of its causal convolutions: {inputs.shape[2]} frames gave "
                f"{features.shape[2]} outputs, not {begun.shape[1]}")
        logits = cast(nn.Sequential, head)[2:](means_so_far(features, begun))  # (N, T', K)
        clips, outputs = logits.shape[:2]
        weight = begun * torch.arange(1, outputs + 1, device=inputs.device)
        each = self.losses(logits.flatten(0, 1), label.repeat_interleave(outputs)
                           ).view(clips, outputs)
        return logits[:, -1], (each * weight).sum() / weight.sum()

    def _predict(self, batch: Batch, batch_idx: int) -> None:
        self.predictions.update(batch["clip"], batch["label"], self(batch["inputs"]),
                                batch["views"])

    validation_step = test_step = predict_step = _predict

    def _start(self) -> None:
        self.predictions.reset()

    on_validation_epoch_start = on_test_epoch_start = on_predict_epoch_start = _start

    def on_validation_epoch_end(self) -> None:
        """Logs ``val/loss`` and accuracies."""
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        """Logs ``test/loss`` and accuracies."""
        self._log_metrics("test")

    def _log_metrics(self, part: str) -> None:
        _, label, probabilities = self.predictions.gather()
        metrics = accuracies(probabilities, label)
        metrics[LOSS] = F.nll_loss(probabilities.clamp_min(1e-12).log(), label)
        # Every process has computed the same from all clips, so the mean changes nothing.
        self.log_dict({f"{part}/{name}": value for name, value in metrics.items()},
                      prog_bar=part == "val", sync_dist=True)

    def confusion_matrix(self) -> Tensor:
        """Confusion matrix ``(K, K)`` of the last validation or test: rows are the true classes."""
        _, label, probabilities = self.predictions.gather()
        return multiclass_confusion_matrix(probabilities, label, probabilities.shape[1])

    def configure_optimizers(self) -> Any:
        """The optimiser with a cosine schedule that is updated at every step."""
        optimizer = self.make_optimizer(self.parameters())
        if self.lr_batch_size is not None:
            batch = (self.batch_size * self.trainer.world_size
                     * self.trainer.accumulate_grad_batches)
            for group in optimizer.param_groups:
                group["lr"] *= batch / self.lr_batch_size
        steps = self.trainer.estimated_stepping_batches
        schedule = LambdaLR(optimizer, lambda step: cosine(step / steps, self.warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def means_so_far(features: Tensor, begun: Tensor) -> Tensor:
    """Means over space, and over all outputs from the start of the clip up to each output.

    Args:
        features: ``(N, C, T, H, W)``.
        begun: See `begun_outputs`, ``(N, T)``.

    Returns:
        ``(N, T, C)``; 0 before the start of the clip.
    """
    each = features.movedim(1, -1).float().mean((2, 3)) * begun[..., None]
    return each.cumsum(1) / begun.cumsum(1).clamp(min=1)[..., None]


def begun_outputs(inputs: Tensor, stride: int) -> Tensor:
    """Which outputs over time come after the start of the clip, 1 or 0, ``(N, T // stride)``.

    Before that, its inputs ``(N, C, T, H, W)`` are 0. The last output always counts.

    Args:
        inputs: The inputs of a causal network.
        stride: Its stride over time.
    """
    present = (inputs.movedim(1, -1) != 0).flatten(2).any(-1)  # (N, T)
    begun = present.cumsum(1)[:, stride - 1 :: stride] > 0
    begun[:, -1:] = True
    return begun.float()


def cosine(progress: float, warmup: float) -> float:
    """Factor of the learning rate after the fraction `progress` of all steps."""
    if progress < warmup:
        return progress / warmup
    return (1 + math.cos(math.pi * min(1.0, (progress - warmup) / (1 - warmup)))) / 2
