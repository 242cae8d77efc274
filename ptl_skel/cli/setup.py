"""The preparation of a run before it gets a folder: settings, facts, checks."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import RichProgressBar

from ptl_skel.cli.parser import check_config_files, expand_shipped, value_of
from ptl_skel.configs import CONFIGS
from ptl_skel.data.datamodule import KeypointDataModule
from ptl_skel.errors import UserError
from ptl_skel.runs.checkpoints import CALIBRATION, RECORD, read_checkpoint, read_record, run_of
from ptl_skel.training.module import ActionRecognizer
from ptl_skel.training.weights import load_weights


def read_arguments(verb: str, args: Sequence[str]) -> tuple[list[str], dict[str, Any] | None]:
    """The arguments with the settings of the checkpoint that they name, and its content.

    Raises:
        UserError: The verb lacks a checkpoint, the checkpoint cannot be used, or a config file
            does not exist.
    """
    arguments = [expand_shipped(argument) for argument in args]
    check_config_files(arguments)
    path, weights = (value_of(flag, arguments) for flag in ("--ckpt_path", "--init_from"))
    if path is not None and weights is not None:
        raise UserError("a checkpoint holds its weights: leave out --ckpt_path or --init_from")
    if path is not None and path != "last":
        checkpoint = read_checkpoint(Path(path))
        if verb == "fit" and CALIBRATION in checkpoint[RECORD]:
            raise UserError(f"{path} is calibrated; continue from the checkpoint that "
                            "`ptl-skel calibrate` made it from")
        return ["--config", _settings_of(verb, Path(path), checkpoint), *arguments], checkpoint
    if verb != "fit" and weights is None and not {"-h", "--help"}.intersection(args):
        raise UserError(f"`ptl-skel {verb}` needs --ckpt_path, the checkpoint of a run, or "
                        "--init_from, a file of weights, with the settings of its model")
    return arguments, None


def _settings_of(verb: str, path: Path, checkpoint: Mapping[str, Any]) -> str:
    """The settings of a run in its checkpoint, as the text of a config file.

    Args:
        verb: ``fit`` resumes the run, in its folder; the others use its model and its data.
        path: Path of the checkpoint.
        checkpoint: Its content.
    """
    record = checkpoint[RECORD]
    config = dict(record["config"])
    config["data"] = {**config["data"], "class_names": record["class_names"]}
    if verb == "fit":
        return json.dumps({**config, "run_dir": str(run_of(path))})
    config = {name: config[name] for name in ("seed_everything", "model", "data")}
    if verb == "predict":  # all clips of a file, which may have no protocol
        config["data"]["protocol"] = None
    return json.dumps(config)


def name_backbone(command: str, settings: Any, checkpoint: Mapping[str, Any] | None) -> str | None:
    """The YAML file of a run's backbone; None if there is none or flags change it."""
    if "--model.backbone." in command:
        return None
    path = vars(settings.model.backbone).get("__path__")  # set by jsonargparse
    if path is not None:
        path = Path(str(path))
        return (path.relative_to(CONFIGS) if path.is_relative_to(CONFIGS) else path).as_posix()
    return None if checkpoint is None else checkpoint[RECORD].get("backbone_file")


def facts_of_run(command: str, settings: Any, data: KeypointDataModule,
                 backbone_file: str | None) -> dict[str, Any]:
    """What the record of a run holds before it starts."""
    header = data.file.header
    return {
        "command": command, "init_from": settings.init_from, "seed": settings.seed_everything,
        "backbone": settings.model.backbone.class_path, "backbone_file": backbone_file,
        "data": {"file": str(data.file.path), "fingerprint": data.file.fingerprint(),
                 "dataset": header.dataset, "source": header.source,
                 "protocol": data.protocol, "layout": data.layout.name,
                 "num_classes": data.num_classes,
                 "clips": {part: len(clips) for part, clips in data.parts.items()},
                 "validation": data.validation,
                 "corruption": None if data.corrupt is None else asdict(data.corrupt)}}


class ProgressBar(RichProgressBar):
    """Lightning's progress bar, but counting epochs from 1, as in records."""

    def _get_train_description(self, current_epoch: int) -> str:
        last = self.trainer.max_epochs
        of = "" if last in (None, -1) else f"/{last}"
        return f"{f'Epoch {current_epoch + 1}{of}':{len(self.validation_description)}}"


def make_trainer(config: Mapping[str, Any], callbacks: list[Callback], *,
                 checkpointing: bool) -> Trainer:
    """A trainer without a logger.

    Args:
        config: Settings of the trainer.
        callbacks: Replace those of the settings; a progress bar is added.
        checkpointing: Whether it keeps checkpoints.

    Raises:
        UserError: The settings do not fit each other or this machine.
    """
    if config["enable_progress_bar"] is not False:
        callbacks = [*callbacks, ProgressBar(leave=False)]
    benchmark = config["benchmark"]
    if benchmark is None and not config["deterministic"]:
        benchmark = True  # shapes are fixed, so cuDNN compares its algorithms once for each
    try:
        return Trainer(**{**config, "benchmark": benchmark, "callbacks": callbacks, "logger": False,
                          "enable_checkpointing": checkpointing,
                          "enable_model_summary": bool(config["enable_model_summary"]),
                          "use_distributed_sampler": False})
    except (MisconfigurationException, ValueError) as error:  # Lightning raises both
        raise UserError(str(error)) from error


def take_classes(settings: Any) -> None:
    """Sets the classes of a model from the weights of a run that ``--init_from`` names."""
    if settings.init_from is not None and settings.data.class_names is None:
        record = read_record(Path(settings.init_from))
        settings.data.class_names = None if record is None else record["class_names"]


def load_initial_weights(path: Path, data: KeypointDataModule, model: ActionRecognizer, *,
                         adapt: bool) -> list[str]:
    """Loads the weights of ``--init_from``; returns what was adapted, one sentence each.

    Raises:
        UserError: They do not fit.
    """
    record = read_record(path)
    if record is not None:
        _check_layout(record, data)
    return load_weights(model.classifier, path, adapt=adapt, class_names=data.class_names,
                        trained_on=None if record is None else record["class_names"])


def _check_layout(record: Mapping[str, Any], data: KeypointDataModule) -> None:
    trained, given = record["layout"], data.layout.to_json()
    if trained != given:
        raise UserError(
            f"the checkpoint was trained on the skeleton layout {json.loads(trained)['name']}, "
            f"but {data.file.path} has {data.layout.name}")


def check_checkpoint(checkpoint: Mapping[str, Any], data: KeypointDataModule,
                     model: ActionRecognizer) -> None:
    """Rejects a checkpoint with another layout, other classes, or the weights of another model.

    Raises:
        UserError: It does not fit.
    """
    _check_layout(checkpoint[RECORD], data)
    if (known := checkpoint[RECORD]["class_names"]) != list(data.class_names):
        raise UserError(f"the checkpoint was trained on the classes {', '.join(known)}; "
                        "`data.class_names` must be the same, in this order; `ptl-skel fit "
                        "--init_from` trains its weights on other classes")
    shapes, needed = ({name: tuple(weight.shape) for name, weight in weights.items()}
                      for weights in (checkpoint["state_dict"], model.state_dict()))
    if shapes != needed:
        name = min(name for name, _ in shapes.items() ^ needed.items())
        raise UserError(
            f"the weights of the checkpoint do not fit the model: {name} has the shape "
            f"{shapes.get(name)} there, {needed.get(name)} here; without flags for the model, "
            "it is that of the checkpoint")


def check_epochs(checkpoint: Mapping[str, Any], max_epochs: int | None) -> None:
    """Rejects resuming a run that has already trained for more epochs than requested.

    Raises:
        UserError: It has.
    """
    begun = int(checkpoint["epoch"])  # counts from 0
    if max_epochs is not None and 0 <= max_epochs <= begun:
        raise UserError(f"the checkpoint is from epoch {begun + 1}, later than "
                        f"--trainer.max_epochs {max_epochs}")


def check_same_optimizer(checkpoint: Mapping[str, Any], optimizer: Mapping[str, Any]) -> None:
    """Rejects resuming a run with another optimiser, whose state the checkpoint lacks.

    Args:
        checkpoint: Its content.
        optimizer: The settings ``model.optimizer`` of the run, as a config file holds them.

    Raises:
        UserError: Its class or an argument differs.
    """
    trained = checkpoint[RECORD]["config"]["model"]["optimizer"]
    way_out = ("; leave --model.optimizer out, or start a new run from the weights with "
               "--init_from instead of --ckpt_path")
    if trained["class_path"] != optimizer["class_path"]:
        raise UserError(f"the checkpoint holds the state of {trained['class_path']}, which "
                        f"--model.optimizer {optimizer['class_path']} cannot continue" + way_out)
    given = optimizer.get("init_args") or {}
    for name, value in (trained.get("init_args") or {}).items():
        if name in given and given[name] != value:
            raise UserError(f"--model.optimizer.init_args.{name} {given[name]} has no effect on "
                            f"a run that continues: the checkpoint holds {value}" + way_out)


def check_channels(backbone: Any, data: KeypointDataModule) -> None:
    """Rejects a backbone whose number of channels differs from that of the data.

    Args:
        backbone: The settings ``model.backbone`` of the run.
        data: Determines the number that the network gets.

    Raises:
        UserError: The numbers differ.
    """
    given = backbone.init_args.get("in_channels")  # None: not given
    if given not in (None, data.num_channels):
        raise UserError(f"`model.backbone.init_args.in_channels` is {given}, but the inputs made "
                        f"of {data.file.path} have {data.num_channels} channels; leave it out, "
                        "since it follows from the data")


def check_balance(model: ActionRecognizer, data: KeypointDataModule) -> None:
    """Rejects rare classes that would be both sampled more often and weighted more.

    Raises:
        UserError: They would.
    """
    if data.balanced and model.class_weights is not None:
        raise UserError("--data.balanced and --model.class_weights both make up for rare classes, "
                        "together twice; leave one of them out")


def check_validation(trainer: Trainer, data: KeypointDataModule) -> None:
    """Rejects a ``val_check_interval`` in steps that no epoch reaches.

    Args:
        trainer: Provides the setting, the number of processes and of used batches.
        data: Provides the number of batches.

    Raises:
        UserError: It is larger than the number of batches in an epoch.
    """
    interval = trainer.val_check_interval
    if not isinstance(interval, int) or trainer.check_val_every_n_epoch is None:
        return
    batches, limit = data.train_batches(trainer.world_size), trainer.limit_train_batches
    used = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    if interval > used:
        raise UserError(f"--trainer.val_check_interval {interval} is more than the {used} batches "
                        "of an epoch; give at most that, or --trainer.check_val_every_n_epoch "
                        "null to count batches over epochs")


@contextlib.contextmanager
def mistakes_of_callbacks() -> Iterator[None]:
    """Reports that Lightning's EarlyStopping waits for a metric that the run does not log.

    Raises:
        UserError: It does.
    """
    try:
        yield
    except RuntimeError as error:
        if "conditioned on metric" not in str(error):
            raise
        raise UserError(f"--trainer.callbacks: {' '.join(str(error).split())} Names with val/ need "
                        "validation clips: --data.val_fraction 0.2") from error


def check_optimizer(model: ActionRecognizer, class_path: str) -> None:
    """Creates a PyTorch optimiser once, to report errors in its arguments early.

    Raises:
        UserError: An argument is out of range.
    """
    try:
        model.make_optimizer(model.parameters())
    except ValueError as error:
        if not class_path.startswith("torch.optim."):  # a bug in the user's own class
            raise
        raise UserError(f"--model.optimizer {class_path}: {error}") from error


def name_folder(verb: str, config: Any, data: KeypointDataModule, sweep_run: str | None) -> Path:
    """The requested folder of a run; see `ptl_skel.runs.folder.reserve_folder`.

    Args:
        verb: ``fit``, ``validate``, ``test`` or ``predict``.
        config: Settings of the run.
        data: Determines the name of a new run.
        sweep_run: Id of the run in a sweep of W&B.
    """
    if verb != "fit":
        if config.run_dir is not None:
            return Path(config.run_dir)
        if config.ckpt_path is None:
            return Path(f"runs/{Path(config.init_from).stem}-{verb}")
        return run_of(Path(config.ckpt_path)) / verb
    folder = Path(config.run_dir or f"runs/{data.file.path.stem}-{data.protocol}")
    starts_anew = config.ckpt_path in (None, "last")
    return folder.with_name(f"{folder.name}-{sweep_run}") if sweep_run and starts_anew else folder
