"""``ptl-skel fit|validate|test|predict``: LightningCLI with a folder and a record for every run.

`validate`, `test` and `predict` take the model, the representation and the data from the
checkpoint; flags override them.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from ptl_skel.cli import outcome, setup
from ptl_skel.cli.live_score import score_live
from ptl_skel.cli.options import leading_help
from ptl_skel.cli.parser import (
    Parser,
    add_run_arguments,
    as_list,
    check_settings,
    choose_seed,
    expand_shipped,
    parse_run,
    silence_lightning,
)
from ptl_skel.command import console
from ptl_skel.configs import CONFIGS
from ptl_skel.data.classes import listed
from ptl_skel.data.datamodule import KeypointDataModule
from ptl_skel.errors import UserError
from ptl_skel.locks import lock_folder
from ptl_skel.runs.callbacks import RunRecord
from ptl_skel.runs.checkpoints import Describe, keep_checkpoints, read_checkpoint
from ptl_skel.runs.environment import keep_freed_memory
from ptl_skel.runs.folder import Ranks, reserve_folder, wait_for_file
from ptl_skel.runs.loggers import MetricsLogger, check_wandb, finish_wandb, wandb_loggers
from ptl_skel.training.module import ActionRecognizer


class SkeletonCLI(LightningCLI):
    """LightningCLI with the links, the run folder and the run record of ptl_skel."""

    datamodule: KeypointDataModule
    model: ActionRecognizer

    def __init__(self, verb: str, args: Sequence[str]) -> None:
        self.command = shlex.join(["ptl-skel", verb, *args])
        self.lock: AbstractContextManager[Any] = nullcontext()
        arguments, self.checkpoint = setup.read_arguments(verb, args)
        quiet = ["--verbose=false"] if verb in {"validate", "test"} else []  # a table is printed
        base = {"default_config_files": [str(CONFIGS / "base.yaml")]}
        super().__init__(
            ActionRecognizer, KeypointDataModule, save_config_callback=None,
            parser_class=Parser,
            parser_kwargs={"prog": "ptl-skel", **{name: dict(base) for name in self.subcommands()}},
            auto_configure_optimizers=False, load_from_checkpoint_support=False,
            args=[verb, *quiet, *arguments])

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """See `add_run_arguments`."""
        add_run_arguments(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses the arguments, and rejects those that would have no effect or bypass a check."""
        def parse(words: Sequence[str]) -> Any:
            LightningCLI.parse_arguments(self, parser, list(words))
            return self.config[self.config.subcommand]

        self.settings = parse_run(parse, args)
        check_settings(self.settings, args)
        if isinstance(self.settings.seed_everything, bool):
            self.settings.seed_everything = self.settings.data.seed = choose_seed()

    def before_instantiate_classes(self) -> None:
        """See `setup.take_classes`."""
        if self.subcommand != "fit":
            setup.take_classes(self.settings)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Makes the trainer, checks everything, and then reserves the folder of the run."""
        keep_freed_memory()
        fitting = self.subcommand == "fit"
        if fitting:
            self._set_length()
        config = self._get(self.config_init, "trainer")
        text = self.parser_text()
        backbone_file = setup.name_backbone(self.command, self.settings, self.checkpoint)
        self.record = RunRecord(setup.facts_of_run(self.command, self.settings, self.datamodule,
                                                   backbone_file))
        checkpoints = keep_checkpoints(self.datamodule.has_validation) if fitting else []
        callbacks: list[Callback] = [*as_list(config["callbacks"]), self.record]
        if fitting:
            callbacks += [Describe(yaml.safe_load(text), self.datamodule.layout,
                                   self.datamodule.class_names, backbone_file), *checkpoints]
        trainer = setup.make_trainer({**config, **kwargs}, callbacks, checkpointing=fitting)
        self.ranks = Ranks(trainer)
        folder = setup.name_folder(str(self.subcommand), self.settings, self.datamodule,
                                   os.environ.get("WANDB_RUN_ID"))
        self._wait_for_ranks(folder, text)
        continues = fitting and self._resumes(folder)
        self._check(trainer)
        self.run_dir = Path(self.ranks.decide(lambda: self._reserve_folder(folder, continues)))
        for checkpoint in checkpoints:
            checkpoint.dirpath = str(self.run_dir / "checkpoints")
        self.record.start(self.run_dir, text, trainer.global_rank)
        return trainer

    def _set_length(self) -> None:
        """Sets the number of epochs if no setting does: the schedule needs the last step."""
        trainer = self.settings.trainer
        if trainer.max_epochs is None and trainer.max_steps == -1:
            made, clips = self.config_init.fit, len(self.datamodule.part("train"))
            trainer.max_epochs = made.trainer.max_epochs = made.length.epochs(clips)
            if "LOCAL_RANK" not in os.environ:
                console.print(f"{trainer.max_epochs:,} epochs of {clips:,} clips; "
                              "shorten it with --trainer.max_epochs or --length.clips",
                              soft_wrap=True)

    def _wait_for_ranks(self, folder: Path, text: str) -> None:
        """Waits for the other processes of the run; if they do not appear, records the error."""
        try:
            self.ranks.meet()
        except Exception:
            if self.ranks.is_first:
                continues = self.settings.ckpt_path is not None and folder.is_dir()
                self.record.start(Path(self._reserve_folder(folder, continues)), text, rank=0)
                with self.record.watch():
                    raise
            raise

    def _reserve_folder(self, folder: Path, continues: bool) -> str:
        """Reserves the folder of the run, or uses that of the run that it resumes."""
        folder = folder if continues else reserve_folder(folder)
        self.lock = lock_folder(folder, "--run_dir")
        return str(folder)

    def _resumes(self, folder: Path) -> bool:
        """Whether `fit` resumes in an existing folder, and from which checkpoint."""
        if self.settings.ckpt_path != "last":
            return self.checkpoint is not None and folder.resolve() == Path(
                self.settings.ckpt_path).resolve().parent.parent
        last = folder / "checkpoints" / "last.ckpt"
        if self.ranks.decide(last.is_file):
            wait_for_file(last)
            self.checkpoint = read_checkpoint(last)
        path = None if self.checkpoint is None else str(last)
        self.settings.ckpt_path = self.config_init.fit.ckpt_path = path
        return True

    def _check(self, trainer: Trainer) -> None:
        """Rejects settings that do not fit together, and loads initial weights."""
        seed, weights, fitting = (self.settings.seed_everything, self.settings.init_from,
                                  self.subcommand == "fit")
        if self.ranks.decide(lambda: seed) != seed:
            raise UserError("--seed_everything must be a number where torchrun or Slurm starts "
                            "several processes")
        self.datamodule.setup(str(self.subcommand))
        model = self.settings.model
        setup.check_channels(model.backbone, self.datamodule)
        if fitting:
            setup.check_balance(self.model, self.datamodule)
            setup.check_validation(trainer, self.datamodule)
            self.ranks.decide(lambda: check_wandb(self.settings.wandb))
        if self.checkpoint is not None:
            setup.check_checkpoint(self.checkpoint, self.datamodule, self.model)
            if fitting:
                setup.check_epochs(self.checkpoint, self.settings.trainer.max_epochs)
                setup.check_same_optimizer(
                    self.checkpoint, yaml.safe_load(self.parser_text())["model"]["optimizer"])
        elif weights is not None:
            for adapted in setup.load_initial_weights(
                    Path(weights), self.datamodule, self.model, adapt=fitting):
                console.print(f"{weights}: {adapted}", soft_wrap=True)
        setup.check_optimizer(self.model, model.optimizer.class_path)

    def parser_text(self) -> str:
        """The resolved config as YAML, which `ptl-skel fit --config` accepts."""
        config = self.settings.clone()
        for name in ("config", "ckpt_path", "weights_only"):
            config.pop(name, None)
        return str(self._parser(self.subcommand).dump(config, skip_unset=False))

    def _run_subcommand(self, subcommand: str) -> None:
        """Runs the verb, and records how it ends."""
        with self.lock, self.record.watch(), self.ranks.handing_on():
            if self.ranks.is_first and subcommand != "predict":
                device = self.trainer.strategy.root_device
                self.record.update(
                    model=outcome.measure_cost(self.model, self.datamodule, device))
            with setup.mistakes_of_callbacks():
                super()._run_subcommand(subcommand)
        # If this is left to the exit of the process, threads of its process group may abort it.
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    def before_fit(self) -> None:
        """Adds the loggers, and warns of what makes training slow or its result bad."""
        settings = self.config_init.fit
        steps = 0 if self.checkpoint is None else int(self.checkpoint["global_step"])
        self.trainer.loggers = [MetricsLogger(self.run_dir, steps),
                                *as_list(settings.trainer.logger)]
        if self.ranks.is_first:
            outcome.warn_of_slow_bfloat16(self.trainer)
            outcome.warn_of_untrained_classes(self.datamodule)
            self.trainer.loggers += wandb_loggers(self.run_dir, settings.wandb,
                                                  yaml.safe_load(self.parser_text()),
                                                  self.record.result["model"])

    def after_fit(self) -> None:
        """Tests the best checkpoint, or the last one if nothing is held out.

        Without a test, the predictions of the last validation are written.
        """
        if self.ranks.is_first:
            outcome.warn_of_early_end(self.trainer)
        folder = self.run_dir / "checkpoints"
        # Without validation so far, e.g. due to check_val_every_n_epoch, there is no best one.
        name = self.ranks.decide(
            lambda: "best.ckpt" if (folder / "best.ckpt").exists() else "last.ckpt")
        path = folder / name
        wanted = self.settings.test_after_fit and len(self.datamodule.parts["test"]) > 0
        # Read by one process, since it may appear later for others on a shared disk. Not read by
        # the trainer, since averaging callbacks would restore the weights that are not averaged.
        weights = self.ranks.decide(
            lambda: read_checkpoint(path)["state_dict"] if wanted and path.exists() else None)
        if weights is None and self.model.predictions.clip:
            self.after_validate()
        elif weights is None:
            self._finish()
        else:
            self.model.load_state_dict(weights)
            self.trainer.test(self.model, self.datamodule, verbose=False)
            self.after_test(name)
        finish_wandb()

    def after_test(self, tested: str | None = None) -> None:
        """Writes predictions and scores of live recognition and of classes; finishes the record."""
        live = score_live(self.model, self.datamodule, self.trainer.strategy.root_device)
        self.record.add_metrics({f"test/{name}": value for name, value in live.items()})
        self.after_validate(tested=tested or str(self.settings.ckpt_path
                                                 or self.settings.init_from),
                            classes=outcome.score_classes(self.model, self.datamodule))

    def after_validate(self, **facts: Any) -> None:
        """Writes predictions, and finishes the record."""
        outcome.save_predictions(self.run_dir, self.model, self.datamodule,
                                 write=self.ranks.is_first)
        self._finish(**facts)

    def before_predict(self) -> None:
        """Reports labels that predictions cannot be compared with."""
        if self.ranks.is_first and (unknown := self.datamodule.unknown_classes()):
            console.print(f"{self.datamodule.file.path} has clips of {listed(unknown)}, which the "
                          "model does not know; these labels are ignored", markup=False,
                          highlight=False, soft_wrap=True)

    def after_predict(self) -> None:
        """Also writes and shows a table of the predicted classes."""
        self.after_validate()
        if self.ranks.is_first:
            console.print(outcome.tabulate_predictions(self.run_dir))

    def _finish(self, **facts: Any) -> None:
        self.record.update(**facts, status="finished")
        if self.ranks.is_first:
            console.print(outcome.summarise_run(self.run_dir, self.record.result))
            outcome.warn_of_divergence(self.record.result)


class _Parsing(SkeletonCLI):
    """The command line up to the end of parsing."""

    def instantiate_classes(self) -> None:
        """Does nothing."""

    def _run_subcommand(self, subcommand: str) -> None:
        pass


class _Loading(SkeletonCLI):
    """The command line up to a model with its weights and its data; runs nothing."""

    def instantiate_classes(self) -> None:
        """Makes data and model, without a trainer."""
        self.config_init = self.parser.instantiate(self.config)
        self.datamodule = self._get(self.config_init, "data")
        self.model = self._get(self.config_init, "model")

    def _run_subcommand(self, subcommand: str) -> None:
        pass


def load_trained(args: Sequence[str]) -> tuple[ActionRecognizer, KeypointDataModule]:
    """The model of a checkpoint in evaluation mode, and its data.

    Args:
        args: ``--ckpt_path`` and further options of `ptl-skel test`, e.g. ``--data.file``.

    Raises:
        UserError: The checkpoint cannot be used, or the data does not fit it.
    """
    silence_lightning()
    cli = _Loading("test", args)
    assert cli.checkpoint is not None
    setup.check_checkpoint(cli.checkpoint, cli.datamodule, cli.model)
    cli.model.load_state_dict(cli.checkpoint["state_dict"])
    return cli.model.eval(), cli.datamodule


def parse(commands: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """The settings of ``ptl-skel fit`` for each list of arguments, without running it.

    Raises:
        UserError: The parser rejects one.
    """
    silence_lightning()
    parser = _Parsing("fit", commands[0]).parser
    parsed = []
    for args in commands:
        words = ["fit", *(expand_shipped(word) for word in args)]
        settings = parse_run(lambda words: parser.parse_args(list(words)).fit, words)
        parsed.append(settings.as_dict())
    return parsed


def run(verb: str, args: Sequence[str]) -> None:
    """Runs fit, validate, test or predict.

    Raises:
        UserError: A user's mistake.
    """
    if {"-h", "--help"}.intersection(args):
        print(leading_help(verb))
    silence_lightning()
    SkeletonCLI(verb, args)
