"""Sweep files: W&B's YAML, read and checked before anything runs.

``wandb sweep`` and ``ptl-skel sweep`` use the same format; `sweeps.run.schema` has its rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ValidationError

from ptl_skel.errors import UserError

from .schema import Hyperband, Parameter, SweepFile, sentence

SEED = "seed_everything"
DEFAULT_METRIC: tuple[str, Literal["maximize"]] = ("test/top1", "maximize")


@dataclass(frozen=True)
class Sweep:
    """A sweep file.

    Attributes:
        path: The file.
        method: ``grid``, ``random`` or ``bayes``.
        metric: Name of the metric that runs are compared by.
        goal: ``maximize`` or ``minimize``.
        parameters: Varied or fixed parameters; names are flags of ``ptl-skel fit``.
        command: Words of the command, with W&B's ``${...}``.
        halving: Rule for stopping runs early; None for never.
        run_cap: Maximum number of runs.
        skip: Cells to omit from a grid: those whose values are all among the values of an entry.
        description: Text about it in reports.
    """

    path: Path
    method: str
    metric: str
    goal: Literal["maximize", "minimize"]
    parameters: Mapping[str, Parameter]
    command: tuple[str, ...]
    halving: Hyperband | None
    run_cap: int | None
    skip: Sequence[Mapping[str, Sequence[Any]]]
    description: str

    @property
    def name(self) -> str:
        """Name of the file without its extension."""
        return self.path.stem


def read_sweep(path: Path, *, experiment: str | None = None,
               settings: Sequence[str] = ()) -> Sweep:
    """Reads and checks a sweep file.

    Args:
        path: The file, or the name of one that ships with the package.
        experiment: Replaces the file's ``experiment/*.yaml``.
        settings: ``NAME=VALUE`` each: replaces or adds a parameter.

    Raises:
        UserError: The file cannot be read, or is invalid.
    """
    beside = Path(__file__).parents[1] / path.name
    if not path.is_file() and beside.is_file():
        path = beside
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"sweep file {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if isinstance(content, dict) and isinstance(content.get("parameters"), dict):
        content["parameters"] |= dict(map(_setting, settings))
    try:
        file = SweepFile.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: {sentence(error)}") from error
    metric, goal = (file.metric.name, file.metric.goal) if file.metric else DEFAULT_METRIC
    return Sweep(path, file.method, metric, goal, file.parameters,
                 _command(path, file.command, experiment), file.early_terminate, file.run_cap,
                 file.skip, file.description)


def read_assignment(flag: str, text: str) -> tuple[str, Any]:
    """Name and value of ``NAME=VALUE``; VALUE is YAML: a number, a string, a list and so on.

    Args:
        flag: The flag it is given with, for messages.
        text: Its text.

    Raises:
        UserError: The text has another form, or the value is not YAML.
    """
    name, separator, written = text.partition("=")
    if not (name and separator):
        raise UserError(f"{flag} takes NAME=VALUE, got {text!r}")
    try:
        value = yaml.safe_load(written)
    except yaml.YAMLError as error:
        raise UserError(f"{flag} {name}: {written!r} is not a value of YAML") from error
    if isinstance(value, bool) and written.lower() not in {"true", "false"}:
        value = written  # YAML reads the word off as false
    return name, value


def _setting(text: str) -> tuple[str, Any]:
    """``NAME=VALUE`` as a parameter; VALUE may be a parameter itself, ``{values: [1, 2]}``."""
    name, value = read_assignment("--set", text)
    if isinstance(value, dict) and value and value.keys() <= Parameter.model_fields.keys():
        return name, value
    return name, {"value": value}


def _command(path: Path, words: Sequence[str], experiment: str | None) -> tuple[str, ...]:
    if experiment is None:
        return tuple(words)
    found = [position for position, word in enumerate(words) if "experiment/" in word]
    if not found:
        raise UserError(f"{path}: --experiment has nothing to replace: `command` names no "
                        "experiment/*.yaml")
    return (*words[:found[0]], experiment, *words[found[0] + 1:])
