"""The schema of sweep files: that of W&B, without entries that it accepts but cannot work."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ptl_skel.metrics import AT_THE_END, EVERY_EPOCH

ARGUMENTS = "${args_json_file}"
KNOWN_VARIABLES = r"\$\{(env|interpreter|program|args_json_file|envvar:\w+)\}"
DISTRIBUTIONS = {"constant": {"value"}, "categorical": {"values"}, "int_uniform": {"min", "max"},
                 "uniform": {"min", "max"}, "log_uniform_values": {"min", "max"},
                 "q_uniform": {"min", "max", "q"}}
"""Distributions that both W&B and the runner support, with the keys they need."""


class Part(BaseModel):
    """A part of a sweep file: unknown keys and values of a wrong type are rejected."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Parameter(Part):
    """The parameter of a flag: a value, several values, or a range."""

    distribution: Literal["constant", "categorical", "int_uniform", "uniform",
                          "log_uniform_values", "q_uniform"] | None = None
    value: Any = None
    values: list[Any] = Field([], min_length=1)
    min: Any = None
    max: Any = None
    q: Any = None

    @property
    def kind(self) -> str:
        """The distribution, by W&B's rules if none is given."""
        if self.distribution is not None:
            return self.distribution
        whole = type(self.min) is type(self.max) is int
        given = self.model_fields_set
        return ("constant" if "value" in given else "categorical" if "values" in given else
                "int_uniform" if whole else "uniform")

    @property
    def is_range(self) -> bool:
        """Whether it is a range between two numbers."""
        return "min" in DISTRIBUTIONS[self.kind]

    @property
    def choices(self) -> list[Any]:
        """The values, or both ends of the range."""
        if self.is_range:
            return [self.min, self.max]
        return [self.value] if self.kind == "constant" else self.values

    @field_validator("min", "max", "q")
    @classmethod
    def _check_number(cls, value: Any, info: ValidationInfo) -> Any:
        if type(value) not in (int, float):
            raise ValueError(f"`{info.field_name}` must be a number, got {value!r}"
                             + _with_point(value))
        return value

    @model_validator(mode="after")
    def _check(self) -> Parameter:
        given, needed = self.model_fields_set - {"distribution"}, DISTRIBUTIONS[self.kind]
        if not given:
            raise ValueError("give `value`, `values`, or `min` and `max`")
        if needed != given:
            raise ValueError(f"{self.kind} takes {', '.join(sorted(needed))}, got "
                             f"{', '.join(sorted(given))}")
        if not self.is_range:
            check_values(self.choices)
        elif self.min >= self.max:
            raise ValueError(f"`min` must be below `max`, got {self.min} and {self.max}")
        elif self.kind == "int_uniform" and not type(self.min) is type(self.max) is int:
            raise ValueError("int_uniform needs whole numbers")
        elif self.kind == "log_uniform_values" and self.min <= 0:
            raise ValueError(f"`min` must be positive, got {self.min}")
        elif self.q is not None and not 0 < self.q <= self.max - self.min:
            raise ValueError(f"`q` must lie in the range, got {self.q}")
        return self


class Metric(Part):
    """The metric to compare runs by; the default goal is that of W&B."""

    # The names are defined once; a type checker does not support a computed Literal, pydantic does.
    name: Literal[EVERY_EPOCH + AT_THE_END]  # type: ignore[valid-type]
    goal: Literal["maximize", "minimize"] = "minimize"


class Hyperband(Part):
    """The rule for stopping runs that lag behind.

    After `first` epochs, and then after every `eta` times as many, a run continues only if it is
    among the best ``1 / eta`` of the runs that have come that far.

    Reference:
        Asynchronous successive halving, arXiv 1810.05934; W&B calls its one bracket ``hyperband``.
    """

    type: Literal["hyperband"]
    min_iter: PositiveInt | None = None
    max_iter: PositiveInt | None = None
    s: PositiveInt | None = None
    eta: int = Field(3, ge=2)
    strict: Any = None

    @property
    def first(self) -> int:
        """Epochs before the first comparison."""
        if self.min_iter is None and self.max_iter is not None and self.s is not None:
            return max(1, self.max_iter // int(self.eta**self.s))
        return self.min_iter or 0

    @model_validator(mode="after")
    def _check(self) -> Hyperband:
        if not self.first:
            raise ValueError("`early_terminate` needs `min_iter`, or `max_iter` and `s`")
        return self


class SweepFile(Part):
    """A sweep file.

    `skip` is not a key of W&B: cells whose values are all among those of one of its entries are
    omitted from a grid. W&B agents train them.
    """

    method: Literal["grid", "random", "bayes"]
    command: list[str]
    parameters: dict[str, Parameter] = Field(min_length=1)
    metric: Metric | None = None
    early_terminate: Hyperband | None = None
    run_cap: PositiveInt | None = None
    program: Any = None
    project: Any = None
    entity: Any = None
    name: Any = None
    description: str = ""
    skip: list[dict[str, list[Any]]] = []

    @field_validator("command")
    @classmethod
    def _check_command(cls, words: list[str]) -> list[str]:
        if "fit" not in words or not re.search(r"ptl[_-]skel$", words[words.index("fit") - 1]):
            raise ValueError("`command` does not run `ptl_skel fit`")
        if ARGUMENTS not in words or words[words.index(ARGUMENTS) - 1] != "--config":
            raise ValueError(
                f"`command` must pass the values as --config {ARGUMENTS}, which keeps their types;"
                " ${args} writes null as the word None, and dicts so that they cannot be read")
        for word in words:
            if word.startswith("${") and not re.fullmatch(KNOWN_VARIABLES, word):
                raise ValueError(f"`command` has {word}, which would pass the values twice")
        return words

    @model_validator(mode="after")
    def _check(self) -> SweepFile:
        check_names(self.parameters)
        if "run_dir" in self.parameters or "--run_dir" in self.command:
            raise ValueError("`run_dir` has no effect in a sweep, which gives each training a "
                             "folder of its own; `ptl-skel sweep --out` names the one around them")
        if self.program is None and self.project is None:
            raise ValueError("`wandb sweep` needs a `project`, e.g. project: ptl_skel")
        if self.method == "bayes" and self.metric is None:
            raise ValueError("method bayes needs a `metric`: {name: val/top1, goal: maximize}")
        unknown = [name for one in self.skip for name in one if name not in self.parameters]
        if unknown or not all(self.skip):
            raise ValueError(f"`skip` names {unknown[0] if unknown else 'nothing'}; each of its "
                             f"entries needs parameters: {', '.join(self.parameters)}")
        if self.skip and self.method != "grid":
            raise ValueError(f"`skip` leaves cells out of a grid; method {self.method} samples")
        ranges = [name for name, parameter in self.parameters.items() if parameter.is_range]
        if ranges and self.method == "grid":
            raise ValueError(f"parameter `{ranges[0]}` is a range, which method grid cannot list; "
                             "give its `values`, or use method random or bayes")
        if ranges and self.run_cap is None:
            raise ValueError(f"method {self.method} would never end; add e.g. run_cap: 20")
        if self.early_terminate and (self.metric is None or self.metric.name not in EVERY_EPOCH):
            raise ValueError("`early_terminate` compares runs while they train; it needs a "
                             f"`metric` of every epoch: {', '.join(EVERY_EPOCH)}")
        return self


def check_values(values: Iterable[Any]) -> None:
    """Rejects values that YAML reads as something else, and duplicate values."""
    seen: set[str] = set()
    for value in values:
        if value in ("None", "none"):
            raise ValueError(f"{value} is a word in YAML, write null")
        try:
            written = json.dumps(value, sort_keys=True)
        except TypeError as error:
            raise ValueError(f"{value} is a {type(value).__name__} in YAML; put it in "
                             "quotes") from error
        if written in seen:
            raise ValueError(f"the value {value!r} is there twice")
        seen.add(written)


def check_names(names: Iterable[str]) -> None:
    """Rejects a parameter inside another one: one of the two would be silently lost."""
    for outer in names:
        for inner in names:
            if not inner.startswith(f"{outer}."):
                continue
            if outer.endswith(("backbone", "representation", "optimizer", "conv")):
                raise ValueError(
                    f"`{outer}` and `{inner}` are both set, but a class and its argument cannot be "
                    f"given apart: use `{outer}.class_path` and `{outer}.init_args.{{...}}`, one "
                    f"whole dict, or put --{outer} into `command`")
            raise ValueError(f"`{inner}` lies inside `{outer}`, and one would be lost; write "
                             f"`{inner.removeprefix(f'{outer}.')}` into the values of `{outer}`")


def sentence(error: ValidationError) -> str:
    """The errors in a file; an unknown key first, since it explains a missing one."""
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    kind, given, path = first["type"], first["input"], [str(part) for part in first["loc"]]
    key = path[-1] if path else "a sweep file"
    part, known = "", SweepFile.model_fields
    if path[:1] == ["parameters"] and len(path) > 1:
        part, known = f"parameter `{path[1]}`: ", Parameter.model_fields
    elif len(path) > 1:
        part = f"`{path[0]}`: "
        known = (Metric if path[0] == "metric" else Hyperband).model_fields
    if kind == "value_error":
        return part + str(first["ctx"]["error"])
    if kind == "missing":
        return f"{part}`{key}` is missing"
    if kind == "extra_forbidden" and key == "parameters":
        return f"{part}it holds `parameters`; write dotted names instead, `{path[1]}.x`"
    if kind == "extra_forbidden":
        return f"{part}unknown key {key!r}{_near(key, known)}; there are: {', '.join(known)}"
    if kind == "too_short":
        return f"{part}`{key}` is empty"
    if kind in {"model_type", "dict_type"}:
        return f"{part or f'`{key}` '}must be {{key: value, ...}}, got {given!r}"
    must = re.sub(r"^Input should |'", "", first["msg"])
    near = _near(str(given), re.findall(r"'(.+?)'", first["msg"]))
    return f"{part}`{key}` must {must}, got {given!r}{near}{_with_point(given)}"


def _with_point(value: Any) -> str:
    """Detects a trap of YAML: 1e-4 is a string, 1.0e-4 a number."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+e[+-]?\d+", value, re.IGNORECASE):
        return f"; YAML needs a point, {value.lower().replace('e', '.0e')}"
    return ""


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    return f", perhaps {near[0]!r}" if near else ""
