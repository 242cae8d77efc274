"""The command line: the only place that ties data and model together.

``ptl-skel fit|validate|test|predict`` is LightningCLI with links between data and model, a folder
for every run, and checkpoints that describe themselves: `validate`, `test` and `predict` take the
model, the representation and the data from the checkpoint, and flags override them.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import wandb
import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from rich.table import Table

from ptl_skel.cli.parser import Parser, expanded, value_of
from ptl_skel.command import console
from ptl_skel.configs import CONFIGS
from ptl_skel.cost.complexity import Complexity, bfloat16_slowdown, measure
from ptl_skel.data.datamodule import KeypointDataModule
from ptl_skel.errors import UserError
from ptl_skel.runs.checkpoints import RECORD, Describe, read_checkpoint, read_record
from ptl_skel.runs.environment import keep_freed_memory
from ptl_skel.runs.record import MetricsLogger, RunRecord, write_predictions
from ptl_skel.storage import KeypointFileError
from ptl_skel.training.module import ActionRecognizer
from ptl_skel.training.weights import load_weights


class SkeletonCLI(LightningCLI):
    """LightningCLI with the links, the run folder and the run record of ptl_skel."""

    datamodule: KeypointDataModule
    model: ActionRecognizer

    def __init__(self, verb: str, args: Sequence[str]) -> None:
        self.command = shlex.join(["ptl-skel", verb, *args])
        self.checkpoint: dict[str, Any] | None = None
        arguments = [expanded(argument) for argument in args]
        path = value_of("--ckpt_path", arguments)
        weights = value_of("--init_from", arguments)
        if path is not None and weights is not None:
            raise UserError("a checkpoint holds its weights: leave out --ckpt_path or --init_from")
        if path is not None and path != "last":
            self.checkpoint = read_checkpoint(Path(path))
            arguments = ["--config", self._checkpoint_config(verb, Path(path)), *arguments]
        elif verb != "fit" and weights is None and not {"-h", "--help"}.intersection(args):
            raise UserError(f"`ptl-skel {verb}` needs --ckpt_path, the checkpoint of a run, or "
                            "--init_from, a file of weights, and what they were trained for")
        quiet = ["--verbose=false"] if verb in {"validate", "test"} else []  # we print a table
        base = {"default_config_files": [str(CONFIGS / "base.yaml")]}
        super().__init__(
            ActionRecognizer, KeypointDataModule, save_config_callback=None,
            parser_class=Parser,
            parser_kwargs={"prog": "ptl-skel", **{name: dict(base) for name in self.subcommands()}},
            auto_configure_optimizers=False, load_from_checkpoint_support=False,
            args=[verb, *quiet, *arguments])

    def _checkpoint_config(self, verb: str, path: Path) -> str:
        """What a checkpoint says of its run, as the text of a config file."""
        assert self.checkpoint is not None
        record = self.checkpoint[RECORD]
        config = dict(record["config"])
        if verb == "fit":
            config["data"] = {**config["data"], "class_names": record["class_names"]}
            return json.dumps({**config, "run_dir": str(path.parent.parent)})
        config = {name: config[name] for name in ("seed_everything", "model", "data")}
        config["data"] = {**config["data"], "class_names": record["class_names"]}
        if verb == "predict":  # all clips of a file, which may have no protocol
            config["data"]["protocol"] = None
        return json.dumps(config)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds what belongs to a run, and links what data and model share."""
        parser.add_argument("--run_dir", type=str | None, default=None, help=(
            "Folder of the run; a name that is taken gets a number. "
            "Default: runs/<keypoint file>-<protocol>"))
        parser.add_argument("--init_from", type=str | None, default=None, help=(
            "Begin with the weights of a checkpoint: of PYSKL, MMAction2, torchvision or a run"))
        parser.add_argument("--wandb", choices=("off", "offline", "online"), default="offline",
                            help="Mirror the run in Weights & Biases")
        parser.add_argument("--test_after_fit", type=bool, default=True,
                            help="Test when training is over")
        parser.link_arguments("seed_everything", "data.seed")
        parser.link_arguments("data.batch_size", "model.batch_size")
        parser.link_arguments("data.num_classes", "model.num_classes", apply_on="instantiate")
        parser.link_arguments("data.num_channels", "model.backbone.init_args.in_channels",
                              apply_on="instantiate")
        # Only a network on a graph has such an argument; the others are passed over.
        parser.link_arguments("data.links", "model.backbone.init_args.links",
                              apply_on="instantiate")
        parser.set_defaults({"seed_everything": 0})

    def instantiate_classes(self) -> None:
        """Makes data, model and trainer; what does not fit ends in a sentence."""
        keep_freed_memory()
        try:
            super().instantiate_classes()
        except (ValueError, OSError) as error:
            raise UserError(str(error)) from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """A trainer with the loggers and callbacks of a run folder."""
        self.run_dir = self._run_dir()
        last = self.run_dir / "checkpoints" / "last.ckpt"
        if self.config[self.subcommand].ckpt_path == "last" and last.exists():
            self.checkpoint = read_checkpoint(last)
        self.datamodule.setup(str(self.subcommand))  # to report now what is wrong with the data
        self._check_checkpoint()
        self._load_weights()
        self.model.make_optimizer(self.model.parameters())  # to hear now what is wrong with it
        self.complexity = self._complexity()
        config = self._get(self.config_init, "trainer")
        text = self.parser_text()
        self.record = RunRecord(self.run_dir, text, self._facts(), self.complexity)
        callbacks: list[Callback] = [self.record]
        logger: list[Logger] | bool = False
        if self.subcommand == "fit":
            data = self.datamodule
            callbacks += [Describe(yaml.safe_load(text), data.layout, data.class_names),
                          *self._checkpoints()]
            done = self.checkpoint or {KeypointDataModule.__qualname__: {"epoch": 0}}
            epoch = int(done[KeypointDataModule.__qualname__]["epoch"]) - 1
            logger = [MetricsLogger(self.run_dir, epoch), *self._wandb(text)]
        if config["enable_progress_bar"] is not False:
            callbacks.append(RichProgressBar(leave=False))
        config["callbacks"] = [*(config["callbacks"] or []), *callbacks]
        return Trainer(**{**config, "logger": logger, "default_root_dir": str(self.run_dir),
                          "enable_checkpointing": self.subcommand == "fit",
                          "enable_model_summary": False, "use_distributed_sampler": False,
                          **kwargs})

    def parser_text(self) -> str:
        """The resolved config as YAML; `ptl-skel fit --config` takes it back."""
        config = self.config[self.subcommand].clone()
        for name in ("config", "ckpt_path", "weights_only"):
            config.pop(name, None)
        return str(self._parser(self.subcommand).dump(config, skip_unset=False))

    def _check_checkpoint(self) -> None:
        """Refuses a checkpoint of another layout, or with weights of another model."""
        if self.checkpoint is None:
            return
        self._check_layout(self.checkpoint[RECORD])
        if (known := self.checkpoint[RECORD]["class_names"]) != list(self.datamodule.class_names):
            raise UserError(f"the checkpoint was trained on the classes {', '.join(known)}; "
                            "`data.class_names` must be the same, in this order")
        shapes, needed = ({name: tuple(weight.shape) for name, weight in weights.items()}
                          for weights in (self.checkpoint["state_dict"], self.model.state_dict()))
        if shapes != needed:
            name = min(name for name, _ in shapes.items() ^ needed.items())
            raise UserError(
                f"the weights of the checkpoint do not fit the model: {name} has the shape "
                f"{shapes.get(name)} there, {needed.get(name)} here; without flags for the model, "
                "it is that of the checkpoint")

    def _check_layout(self, record: dict[str, Any]) -> None:
        trained, given = record["layout"], self.datamodule.layout.to_json()
        if trained != given:
            raise UserError(
                f"the checkpoint was trained on the skeleton layout {json.loads(trained)['name']}, "
                f"but {self.datamodule.file.path} has {self.datamodule.layout.name}")

    def before_instantiate_classes(self) -> None:
        """Takes the classes of a model from the weights of a run that `--init_from` names."""
        config = self.config[self.subcommand]
        if self.subcommand != "fit" and config.init_from and config.data.class_names is None:
            record = read_record(Path(config.init_from)) or {"class_names": None}
            config.data.class_names = record["class_names"]

    def _load_weights(self) -> None:
        path = self.config[self.subcommand].init_from
        if path is None or self.checkpoint is not None:
            return
        record = read_record(Path(path))
        if record is not None:
            self._check_layout(record)
        for adapted in load_weights(
                self.model.classifier, Path(path), adapt=self.subcommand == "fit",
                class_names=self.datamodule.class_names,
                trained_on=None if record is None else record["class_names"]):
            console.print(f"{path}: {adapted}", soft_wrap=True)

    def _run_dir(self) -> Path:
        config = self.config[self.subcommand]
        if self.subcommand != "fit" and config.ckpt_path is None:
            weights = Path(config.init_from)
            return _free(Path(config.run_dir or f"runs/{weights.stem}-{self.subcommand}"))
        if self.subcommand != "fit":
            beside = Path(config.ckpt_path).parent.parent / str(self.subcommand)
            return _free(Path(config.run_dir or beside))
        if self.checkpoint is not None:  # goes on in the folder of the checkpoint
            named = Path(config.run_dir)
            beside = Path(config.ckpt_path).parent.parent
            return named if named.resolve() == beside.resolve() else _free(named)
        data = self.datamodule
        named = Path(config.run_dir or f"runs/{data.file.path.stem}-{data.protocol}")
        if sweep_run := os.environ.get("WANDB_RUN_ID"):
            named = named.with_name(f"{named.name}-{sweep_run}")
        return named if config.ckpt_path == "last" else _free(named)

    def _complexity(self) -> Complexity:
        try:
            return measure(self.model, self.datamodule.input_shape)
        except ValueError as error:
            name = type(self.model.classifier.backbone).__name__
            raise UserError(f"backbone {name} does not fit the data: {error}") from error

    def _facts(self) -> dict[str, Any]:
        data = self.datamodule
        parts = {part: len(clips) for part, clips in data.parts.items()}
        return {
            "command": self.command, "init_from": self.config[self.subcommand].init_from,
            "seed": self.config[self.subcommand].seed_everything,
            "backbone": self.config[self.subcommand].model.backbone.class_path,
            "data": {"file": str(data.file.path), "dataset": data.file.header.dataset,
                     "source": data.file.header.source, "protocol": data.protocol,
                     "layout": data.layout.name, "num_classes": data.num_classes, "clips": parts,
                     "validation": data.validation}}

    def _checkpoints(self) -> list[ModelCheckpoint]:
        """The best of all epochs where there is validation, and always the last.

        Two callbacks, since Lightning's ``save_last`` passes over epochs that are not the best.
        """
        common: dict[str, Any] = {"dirpath": self.run_dir / "checkpoints", "save_top_k": 1,
                                  "save_on_train_epoch_end": True, "enable_version_counter": False}
        last = ModelCheckpoint(filename="last", **common)
        if not self.datamodule.has_validation:
            return [last]
        return [ModelCheckpoint(filename="best", monitor="val/top1", mode="max", **common), last]

    def _wandb(self, config: str) -> list[Logger]:
        mode = self.config.fit.wandb
        swept = "WANDB_SWEEP_ID" in os.environ
        if mode == "off" and not swept:
            return []
        first = getattr(rank_zero_only, "rank", 0) == 0
        if first:  # else W&B complains of a folder that is not there
            self.run_dir.mkdir(parents=True, exist_ok=True)
        logger = WandbLogger(
            name=self.run_dir.name, project="ptl_skel",
            save_dir=self.run_dir.resolve(),  # its service may have begun in another folder
            offline=mode == "offline" and not swept, config={"config": yaml.safe_load(config)},
            settings=wandb.Settings(silent=mode == "offline"))
        if first:
            cost = self.complexity
            logger.experiment.summary.update(
                {"params": cost.params, "gmacs": cost.gmacs, "latency_ms": cost.latency_ms})
        return [logger]

    def before_fit(self) -> None:
        """Warns where bfloat16 makes training slower, not faster."""
        trainer = self.trainer
        if trainer.precision.startswith("bf16") and trainer.strategy.root_device.type == "cpu":
            slowdown = bfloat16_slowdown()
            if slowdown > 2 and trainer.is_global_zero:
                console.print(f"warning: this CPU takes {slowdown:.0f} times as long in bfloat16; "
                              "--trainer.precision 32-true is faster", soft_wrap=True)

    def after_fit(self) -> None:
        """Tests in the same job, and says how it went."""
        data = self.datamodule
        name = "best.ckpt" if data.has_validation else "last.ckpt"
        path = self.run_dir / "checkpoints" / name
        if self.config.fit.test_after_fit and len(data.parts["test"]) and path.exists():
            # Loaded here, since averaging callbacks would bring back the weights not averaged.
            self.model.load_state_dict(read_checkpoint(path)["state_dict"])
            self.trainer.test(self.model, data, verbose=False)
            self._write_predictions()
            self.record.finish(self.trainer, tested=name)
        else:
            self.record.finish(self.trainer)
        self._say()
        if wandb.run is not None:  # else another fit in this process would be logged into it
            wandb.finish()

    def after_validate(self) -> None:
        """Writes the predictions and says how it went."""
        self._write_predictions()
        self.record.finish(self.trainer)
        self._say()

    def after_test(self) -> None:
        """Writes the predictions and says how it went."""
        self._write_predictions()
        config = self.config.test
        self.record.finish(self.trainer, tested=str(config.ckpt_path or config.init_from))
        self._say()

    def after_predict(self) -> None:
        """Writes the predictions and says where."""
        self._write_predictions()
        self.record.finish(self.trainer)
        if self.trainer.is_global_zero:
            console.print(f"predictions of {len(self.datamodule.file)} clips: "
                          f"{self.run_dir / 'predictions.npz'}")

    def _write_predictions(self) -> None:
        clip, label, probabilities = self.model.predictions.gather()
        if self.trainer.is_global_zero:
            data = self.datamodule
            ids = [data.file.ids[i] for i in clip.tolist()]
            write_predictions(self.run_dir / "predictions.npz", ids, label, probabilities,
                              data.class_names)

    def _say(self) -> None:
        if not self.trainer.is_global_zero:
            return
        result = self.record.result
        table = Table(title=str(self.run_dir), show_header=False)
        table.add_row("parameters", f"{self.complexity.params / 1e6:.3f} M")
        table.add_row("GMACs", f"{self.complexity.gmacs:.3f}")
        table.add_row("latency", f"{self.complexity.latency_ms:.1f} ms ({self.complexity.device})")
        if result["training_seconds"]:
            table.add_row("training", f"{result['training_seconds'] / 60:.1f} min")
        for name, value in result["metrics"].items():
            part, _, metric = name.partition("/")
            shown = f"{value:.4f}" if metric == "loss" else f"{100 * value:.2f} %"
            table.add_row(f"{part} {metric.replace('_', '-')}", shown)
        console.print(table)


def _free(folder: Path) -> Path:
    """The folder itself, or its name with the first number that is not taken."""
    number, free = 1, folder
    while free.exists():
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free


class _Parsing(SkeletonCLI):
    """The command line up to the point where it would do something."""

    def instantiate_classes(self) -> None:
        """Makes nothing."""

    def _run_subcommand(self, subcommand: str) -> None:
        pass


def parse(commands: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """What ``ptl-skel fit`` makes of each list of arguments: all its settings, nothing done.

    Raises:
        UserError: The parser refuses one.
    """
    _quiet()
    parser = _Parsing("fit", commands[0]).parser
    return [parser.parse_args(["fit", *(expanded(argument) for argument in args)]).fit.as_dict()
            for args in commands]


def run(verb: str, args: Sequence[str]) -> None:
    """Runs fit, validate, test or predict.

    Raises:
        UserError: The user's mistake, in a sentence.
    """
    _quiet()
    try:
        SkeletonCLI(verb, args)
    except (KeypointFileError, MisconfigurationException) as error:
        raise UserError(str(error)) from error
    except OSError as error:  # a folder that cannot be written, a full disk
        raise UserError(f"{error.filename or 'the run'}: {error.strerror or error}") from error


def _quiet() -> None:
    """Leaves out what Lightning says that nobody can do anything about."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    for message in ("The 'train_dataloader' does not have many workers",
                    "The 'val_dataloader' does not have many workers",
                    "The 'test_dataloader' does not have many workers",
                    "The 'predict_dataloader' does not have many workers",
                    "Experiment logs directory", "Checkpoint directory", "Be aware that when using",
                    "Total length of `list` across ranks is zero",
                    "LightningCLI's args parameter", "`isinstance.treespec, LeafSpec",
                    "You're resuming from a checkpoint that ended before",  # exact: see the data
                    "predict returned None", "there is no last checkpoint available"):
        warnings.filterwarnings("ignore", f".*{message}")
