"""Checkpoints that contain what is needed to use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from ptl_skel.errors import MissingFileError, UserError
from ptl_skel.skeletons import SkeletonLayout

RECORD = "ptl_skel"
"""Key of a checkpoint that holds its config, layout and classes."""
CALIBRATION = "calibration"
"""Key of that record that holds the facts of a calibration, if there was one."""


def run_of(checkpoint: Path) -> Path:
    """The folder of the run that wrote a checkpoint, which lies two levels above it."""
    folder = checkpoint.parent.parent
    return folder if folder.name not in {"", ".."} else checkpoint.resolve().parent.parent


class Describe(Callback):
    """Writes into each checkpoint what is needed to use it.

    Args:
        config: All settings of the run except the checkpoint to resume from.
        layout: The joints of its data.
        class_names: The classes of its data.
        backbone_file: The YAML file that the backbone was read from, if it was.
    """

    def __init__(self, config: Mapping[str, Any], layout: SkeletonLayout,
                 class_names: Sequence[str], backbone_file: str | None = None) -> None:
        self.record = {"config": dict(config), "layout": layout.to_json(),
                       "class_names": list(class_names), "backbone_file": backbone_file}

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule,
                           checkpoint: dict[str, Any]) -> None:
        """Adds the record."""
        checkpoint[RECORD] = self.record


def keep_checkpoints(has_validation: bool) -> list[ModelCheckpoint]:
    """Callbacks that save the best epoch if there is validation, and always the last one.

    Two callbacks, since Lightning's ``save_last`` ignores epochs that are not the best. Their
    folder is set when the folder of the run is known.
    """
    common: dict[str, Any] = {"save_top_k": 1, "save_on_train_epoch_end": True,
                              "enable_version_counter": False}
    last = ModelCheckpoint(filename="last", **common)
    if not has_validation:
        return [last]
    return [ModelCheckpoint(filename="best", monitor="val/top1", mode="max", **common), last]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of a run; only tensors and plain containers are loaded.

    Raises:
        MissingFileError: There is no such file.
        UserError: It is damaged or from another program.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; a checkpoint is a file, such as "
                        f"{path / 'checkpoints' / 'last.ckpt'}")
    if not path.is_file():
        raise MissingFileError(f"checkpoint {path} does not exist; a run leaves them in its "
                               "checkpoints/")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # a damaged file can raise anything
        raise UserError(f"{path} is not a checkpoint: it is damaged, or a file of another kind"
                        ) from error
    record = checkpoint.get(RECORD) if isinstance(checkpoint, dict) else None
    if (not isinstance(record, dict) or not {"config", "layout", "class_names"} <= record.keys()
            or not {"state_dict", "epoch"} <= checkpoint.keys()):
        raise UserError(f"{path} was not written by `ptl-skel fit`")
    return dict(checkpoint)


def read_record(path: Path) -> dict[str, Any] | None:
    """Config, layout and classes in a file of weights; None if it is not from ptl_skel."""
    try:
        return dict(read_checkpoint(path)[RECORD])
    except UserError:
        return None
