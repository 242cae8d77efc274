"""The parser of the command line: jsonargparse with short error messages."""

from __future__ import annotations

import itertools
import logging
import os
import re
import secrets
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import jsonargparse
from lightning.pytorch.cli import LightningArgumentParser

from ptl_skel.configs import shipped, shipped_names, suggest_shipped
from ptl_skel.errors import MissingFileError, UserError
from ptl_skel.runs.length import Length

IGNORED_BY_RUNS = {
    "default_root_dir": "--run_dir names the folder of a run",
    "enable_checkpointing": "a run always keeps its last checkpoint, and the best one",
}
"""Arguments of Lightning's trainer that a run sets itself, and what to do instead."""

DEFAULT_REPRESENTATION = "ptl_skel.representations.JointHeatmaps"
"""The default in base.yaml."""
HEATMAPS = (DEFAULT_REPRESENTATION, "ptl_skel.representations.LimbHeatmaps")
"""Representations that networks on coordinates cannot read."""
KINDS = {"--config": "experiment", "--model.backbone": "backbone",
         "--data.representation": "representation", "--data.camera": "camera"}
"""Flags that take a YAML file, and the folder of the shipped ones."""
REQUIRED = {
    "--data.file": "a keypoint file, made by `ptl-skel preprocess`",
    "--model.backbone": "e.g. --model.backbone backbone/reduced.yaml, or your own YAML file; "
                        "shipped are " + ", ".join(shipped_names("backbone")),
}
"""Required settings of a run, and where to get them."""


def _drop_arguments(parser_or_action: Any, previous: Any, value: Any) -> None:
    """Drops arguments given for another class: a learning rate of SGD is wrong for AdamW."""
    if previous and "init_args" in previous and previous["class_path"] != value["class_path"]:
        previous["init_args"] = type(previous)()


# jsonargparse would keep the arguments that both classes share, without an option to disable it.
jsonargparse._typehints.discard_init_args_on_class_path_change = _drop_arguments


def _shorten(message: str) -> str:
    """Shortens jsonargparse's page of output about a value of the wrong type."""
    missing = re.fullmatch(r"the following arguments are required: (.+)", message)
    if missing is not None:
        names = [name.partition(".") for name in missing[1].split(", ")]
        flags = [f"--{name}" if name else argument for argument, _, name in names]
        return "; ".join(f"{flag} is missing{': ' * (flag in REQUIRED)}{REQUIRED.get(flag, '')}"
                         for flag in flags)
    if re.search(r"unrecognized arguments:.*--((model\.)?lr_scheduler|optimizer)", message):
        return (f"{message}; the optimizer is --model.optimizer, and the learning rate follows a "
                "warm-up of --model.warmup, then half a cosine")
    option = re.search(r'Parser key "data.representation":\s+Option \'(\w+)\' is not accepted',
                       message)
    if option is not None:
        return (f"the representation has no option {option[1]!r}; name the one that has it as "
                "well, e.g. --data.representation representation/coordinates.yaml")
    page = re.search(r'Parser key "(.+?)":.*?Subtypes: \[(.+?)\]\n.*Given value: (.+)', message,
                     re.S)
    if page is None:
        return message
    name, types, value = page.groups()
    if value.endswith((".yaml", ".yml")):
        return f"`{name}`: {value} does not exist or cannot be read"
    # The arguments of a class in ptl_skel: the error of one of them comes first.
    if "ptl_skel." in types and (inner := re.search(r"Errors:\n\s+- (.+?)\n\s+- ", message, re.S)):
        return f"`{name}`: {' '.join(inner[1].split())}"
    types = re.sub(r"typing\.Literal\[(.+?)\]|<class '(?:\w+\.)*(\w+)'>", r"\1\2", types)
    return f"`{name}` must be one of {types.replace('NoneType', 'null')}; got {value}"


def _real_cause(message: str, error: BaseException | None) -> str:
    """The actual error in a config file if jsonargparse reports that it was read twice.

    It reads a file with invalid content again, and the second error hides the first one.
    """
    if "Config file loop detected" not in message:
        return message
    while error is not None and "Config file loop detected" in str(error):
        error = error.__cause__ or error.__context__
    if error is None:
        return message
    name = re.search(r"Config file loop detected: (.+?) -> ", message)
    cause = " ".join(str(error).split())
    if "No module named" in cause:
        cause += "; install it, or add its folder to PYTHONPATH"
    return f"{name[1]}: {cause}" if name else cause


class Parser(LightningArgumentParser):
    """A parser that raises a `UserError` instead of printing a page of usage."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raises the message as a `UserError`."""
        raise UserError(_shorten(_real_cause(message, ex))) from ex

    def parse_path(self, path: Any, *args: Any, **kwargs: Any) -> Any:
        """Parses a config file; a message about it names the file."""
        try:
            return super().parse_path(path, *args, **kwargs)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not a text file, so it cannot be a config") from error

    def parse_string(self, content: str, *args: Any, **kwargs: Any) -> Any:
        """Parses a config, in which shipped files can be given by their short names."""
        named = re.sub(r"(?<![\w./-])\w+/\w+\.yaml", lambda name: shipped(name[0]), content)
        return super().parse_string(named, *args, **kwargs)


def expand_shipped(argument: str) -> str:
    """Expands short names of shipped configs, e.g. ``backbone/reduced.yaml``, to paths."""
    name, separator, value = argument.partition("=")
    return f"{name}={shipped(value)}" if separator else shipped(argument)


def _flags(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Flags and their values, given as ``--flag value`` or ``--flag=value``."""
    for argument, following in itertools.pairwise([*arguments, ""]):
        flag, separator, value = argument.partition("=")
        if flag.startswith("--"):
            yield flag, value if separator else following


def value_of(flag: str, arguments: Sequence[str]) -> str | None:
    """The value of a flag, the last one as for the parser; None if it is not given."""
    return dict(_flags(arguments)).get(flag)


def check_config_files(arguments: Sequence[str]) -> None:
    """Reports a YAML file that does not exist, with shipped files of similar names.

    Raises:
        MissingFileError: There is no such file.
    """
    for flag, value in _flags(arguments):
        if flag != "--run_dir" and value.endswith((".yaml", ".yml")) and not Path(value).exists():
            raise MissingFileError(f"{flag} {value} does not exist; {suggest_shipped(value)}")
        if flag in KINDS and _lacks_ending(value):
            own = f"{value}.yaml"
            near = (f"did you mean {own}?" if Path(own).is_file()
                    else suggest_shipped(f"{KINDS[flag]}/{Path(own).name}"))
            raise MissingFileError(f"{flag} {value} is not a YAML file; {near}")


def _lacks_ending(value: str) -> bool:
    """Whether a value may be a YAML file; names of classes have dots or capital letters."""
    return (re.fullmatch(r"[a-z0-9_/-]+", value) is not None and value != "null"
            and not Path(value).is_file())


def add_run_arguments(parser: LightningArgumentParser) -> None:
    """Adds the options of a run, and links those that data and model share."""
    parser.add_argument("--run_dir", type=str | None, default=None, help=(
        "Folder of the run; a name that is taken gets a number. "
        "Default: runs/<keypoint file>-<protocol>"))
    parser.add_argument("--init_from", type=str | None, default=None, help=(
        "Start from the weights of a checkpoint: of PYSKL, MMAction2, torchvision or a run"))
    parser.add_argument("--wandb", choices=("off", "offline", "online"), default="offline",
                        help="Mirror the run in Weights & Biases")
    parser.add_class_arguments(Length, "length")
    parser.add_argument("--test_after_fit", type=bool, default=True,
                        help="Test when training is over")
    parser.link_arguments("seed_everything", "data.seed", compute_fn=int)
    parser.link_arguments("data.batch_size", "model.batch_size")
    parser.link_arguments("data.num_classes", "model.num_classes", apply_on="instantiate")
    parser.link_arguments("data.num_channels", "model.backbone.init_args.in_channels",
                          apply_on="instantiate")
    # Only a network on a graph has such an argument; the others ignore the link.
    parser.link_arguments("data.links", "model.backbone.init_args.links",
                          apply_on="instantiate")
    parser.set_defaults({"seed_everything": 0})


def check_settings(settings: Any, args: Sequence[str]) -> None:
    """Rejects settings that would have no effect, or bypass the checks of the command line.

    Args:
        settings: The parsed settings of a run.
        args: The command line.

    Raises:
        UserError: One of them is set.
    """
    if settings.ckpt_path is not None and value_of("--ckpt_path", args) is None:
        raise UserError("`ckpt_path` in a config file is not supported; give it as --ckpt_path")
    seed = settings.seed_everything
    if seed is not None and not 0 <= seed < 2**32:
        raise UserError(f"--seed_everything must be true, or a number of 0 to {2**32 - 1}, got "
                        f"{seed}")
    trainer = settings.trainer
    for name in ("accumulate_grad_batches", "check_val_every_n_epoch", "val_check_interval"):
        value = trainer[name]
        if type(value) is int and value < 1:
            raise UserError(f"--trainer.{name} must be >= 1, got {value}")
    if 0 in (trainer.max_epochs, trainer.max_steps):
        raise UserError("--trainer.max_epochs or max_steps 0 trains nothing; to test weights as "
                        "they are, use `ptl-skel test --init_from`")
    if trainer.max_epochs is not None and trainer.max_epochs < 0 and trainer.max_steps < 0:
        raise UserError(f"--trainer.max_epochs {trainer.max_epochs} would train forever, but the "
                        "learning rate has to reach 0 at the end; leave it out for a length that "
                        "suits the data, or give --trainer.max_steps")
    given = next((flag for flag, _ in _flags(args) if flag.startswith("--length")), None)
    if given and (trainer.max_epochs is not None or trainer.max_steps != -1):
        limit = "max_steps" if trainer.max_epochs is None else "max_epochs"
        unset = "null" if limit == "max_epochs" else -1
        raise UserError(f"{given} has no effect, since `trainer.{limit}` is {trainer[limit]}; give "
                        f"--trainer.{limit} {unset} as well, or leave {given} out")
    for name, instead in IGNORED_BY_RUNS.items():
        if trainer[name] is not None:
            raise UserError(f"--trainer.{name} has no effect: {instead}")
    averaging = [callback.class_path for callback in as_list(trainer["callbacks"])
                 if callback.class_path.endswith("WeightAveraging")]
    if averaging and settings.model.average:
        raise UserError(f"--trainer.callbacks has {averaging[0]}, and `model.average` averages the "
                        "weights as well; give --model.average 0 to use only the callback")
    if isinstance(trainer["logger"], bool):
        raise UserError("--trainer.logger takes loggers in addition to metrics.csv, which a run "
                        "always writes; --wandb off turns Weights & Biases off")


def parse_run(parse: Callable[[Sequence[str]], Any], args: Sequence[str]) -> Any:
    """Parses the command line of a run; some networks select their representation.

    Args:
        parse: Returns the settings for a command line.
        args: The command line.

    Raises:
        UserError: A setting is not accepted; see also `missing_representation`.
    """
    try:
        settings = parse(args)
    except UserError:
        # The options may be those of the representation that the network selects.
        others, first = _without_options(args)
        if first is None or not (missing := missing_representation(parse(others), others)):
            raise
        return parse([*args[:first], *missing, *args[first:]])
    missing = missing_representation(settings, args)
    return parse([*args, *missing]) if missing else settings


def _without_options(args: Sequence[str]) -> tuple[list[str], int | None]:
    """A command line without options of the representation, and the place of the first one."""
    others, first, is_value = list[str](), None, False
    for place, word in enumerate(args):
        if word.startswith("--data.representation.init_args."):
            first, is_value = place if first is None else first, "=" not in word
        elif is_value:
            is_value = False
        else:
            others.append(word)
    return others, first


def missing_representation(settings: Any, args: Sequence[str]) -> list[str]:
    """The missing representation flag of a network not made for heatmaps, or an empty list.

    Args:
        settings: The parsed settings of a run; its representation is the default unless another one
            was given.
        args: The command line.

    Raises:
        UserError: The given representation makes heatmaps, which the network does not read.
    """
    module, _, name = settings.model.backbone.class_path.rpartition(".")
    reads = getattr(import_module(module), name).reads
    given = settings.data.representation.class_path
    if reads is None or given not in HEATMAPS:
        return []
    chosen = any(flag.startswith("--data.representation") for flag, _ in _flags(args))
    if chosen or given != DEFAULT_REPRESENTATION:
        raise UserError(f"{name} does not read heatmaps; leave --data.representation out, or give "
                        f"--data.representation {reads}")
    if not Path(shipped(reads)).is_file():
        raise UserError(f"{name}.reads is {reads!r}, which is not a file; give e.g. "
                        "'representation/normalized.yaml'")
    return ["--data.representation", shipped(reads)]


def as_list(value: Any) -> list[Any]:
    """A list from a value that may be None, single or several."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def choose_seed() -> int:
    """A random seed, as for ``--seed_everything true``.

    Processes that Lightning starts from the first one find its seed in the environment.
    """
    inherited = os.environ.get("PL_GLOBAL_SEED") if "LOCAL_RANK" in os.environ else None
    return secrets.randbelow(2**31) if inherited is None else int(inherited)


def silence_lightning() -> None:
    """Hides messages of Lightning that users cannot act on."""
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
