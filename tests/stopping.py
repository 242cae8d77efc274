"""Callbacks that tests name on the command line."""

from pathlib import Path

import torch
from lightning.pytorch import Callback

from ptl_skel.backbones import Backbone, Conv3D


class StopInThirdEpoch(Callback):
    """Ctrl-C in the middle of the third epoch."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if (trainer.current_epoch, batch_idx) == (2, 1):
            raise KeyboardInterrupt


class LastEpochs(Callback):
    """Notes at the start of each epoch of what epoch the last checkpoint is."""

    seen: list[int] = []  # noqa: RUF012  # of the one run that uses it

    def on_train_epoch_start(self, trainer, pl_module):
        path = trainer.callbacks[-1].dirpath + "/last.ckpt"
        self.seen.append(torch.load(path)["epoch"] if Path(path).exists() else -1)


class LogsEveryStep(Callback):
    """Logs rows without an epoch, as monitors of devices do."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        trainer.logger.log_metrics({"temperature": 40.0}, step=trainer.global_step)


class FailInSetup(Callback):
    """Runs out of memory before anything is trained."""

    def setup(self, trainer, pl_module, stage):
        raise RuntimeError("CUDA out of memory")


class FailInSecondProcess(Callback):
    """A bug that shows in one process only."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.global_rank == 1:
            raise ZeroDivisionError("only here")


class Faulty(Backbone):
    """A backbone of the user's own with a bug that raises what our own checks raise, too."""

    def __init__(self, in_channels: int, where: str = "forward"):
        super().__init__()
        self.in_channels, self.num_features = in_channels, 2
        self.conv, self.where = Conv3D(in_channels, 2), where
        if where == "init":
            raise ValueError("a bug in a constructor")

    def forward(self, inputs):
        if self.training and self.where == "forward":
            raise FileNotFoundError("a bug in forward")
        return self.conv(inputs)
