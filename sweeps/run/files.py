"""Sweep files: W&B's YAML, read and checked before anything runs.

The one format serves ``wandb sweep`` and ``python -m sweeps run``. What is checked here is W&B's
schema and what the schema lets through although it cannot work.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from ptl_skel.errors import UserError

KEYS = ("program", "command", "method", "metric", "parameters", "early_terminate", "run_cap",
        "name", "description", "project", "entity")
METHODS = ("grid", "random", "bayes")
PARAMETER_KEYS = ("value", "values", "distribution", "min", "max", "q")
DISTRIBUTIONS = {
    "constant": {"value"},
    "categorical": {"values"},
    "int_uniform": {"min", "max"},
    "uniform": {"min", "max"},
    "log_uniform_values": {"min", "max"},
    "q_uniform": {"min", "max", "q"},
}
"""W&B's distributions that both W&B and the runner draw from, with the keys they need."""
HALVING_KEYS = ("type", "min_iter", "max_iter", "s", "eta", "strict")
EVERY_EPOCH = ("train/loss", "train/top1", "val/loss", "val/top1", "val/top5", "val/mean_class")
AT_THE_END = ("test/loss", "test/top1", "test/top5", "test/mean_class", "params", "gmacs",
              "latency_ms")
ARGUMENTS = "${args_json_file}"
SEED = "seed_everything"


@dataclass(frozen=True)
class Halving:
    """When a run that lags behind is stopped.

    After `first` epochs, and after each `factor` times as many, a run goes on only if it is among
    the best ``1 / factor`` of those that have come so far.

    Reference:
        Asynchronous successive halving, arXiv 1810.05934; W&B calls its one bracket ``hyperband``.
    """

    first: int
    factor: int


@dataclass(frozen=True)
class Sweep:
    """A sweep file.

    Attributes:
        path: The file.
        method: ``grid``, ``random`` or ``bayes``.
        metric: Name of the metric that tells runs apart.
        goal: ``maximize`` or ``minimize``.
        parameters: What is varied or fixed, each as in the file; names are flags of
            ``ptl-skel fit``.
        command: Words of the command, with W&B's ``${...}``.
        halving: When a run is stopped early; None for never.
        run_cap: How many runs there are at most.
    """

    path: Path
    method: str
    metric: str
    goal: Literal["maximize", "minimize"]
    parameters: dict[str, dict[str, Any]]
    command: tuple[str, ...]
    halving: Halving | None
    run_cap: int | None

    @property
    def name(self) -> str:
        """Name of the file without its ending."""
        return self.path.stem


def read_sweep(path: Path, *, experiment: str | None = None,
               settings: Sequence[str] = ()) -> Sweep:
    """Reads and checks a sweep file.

    Args:
        path: The file; the name of one that ships with the package does, too.
        experiment: Takes the place of the file's ``experiment/*.yaml``.
        settings: ``NAME=VALUE`` each: takes the place of, or adds, a parameter.

    Raises:
        UserError: The file cannot be read, or says something that cannot work.
    """
    beside = Path(__file__).parents[1] / path.name
    if not path.is_file() and beside.is_file():
        path = beside
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"sweep file {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    try:
        return _checked(path, content, experiment, settings)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


def _checked(path: Path, content: Any, experiment: str | None, settings: Sequence[str]) -> Sweep:
    if not isinstance(content, dict):
        raise ValueError("a sweep has `method`, `command` and `parameters`")
    _known(content, KEYS, "key")
    for key in ("method", "command", "parameters"):
        if key not in content:
            raise ValueError(f"`{key}` is missing")
    if not {"program", "project"} & content.keys():
        raise ValueError("`wandb sweep` needs a `project`, e.g. project: ptl_skel")
    method = _one_of(content["method"], METHODS, "method")
    if not isinstance(content["parameters"], dict):
        raise ValueError("`parameters` maps the names of flags to what they take")
    parameters = {**content["parameters"], **dict(map(_setting, settings))}
    if not parameters:
        raise ValueError("`parameters` is empty: there is nothing to vary")
    for name, parameter in parameters.items():
        _check_parameter(str(name), parameter, method)
    _check_names(parameters)
    metric, goal = _metric(content.get("metric"), method)
    run_cap = content.get("run_cap")
    if run_cap is not None:
        _positive(run_cap, "run_cap")
    elif any("min" in parameter for parameter in parameters.values()):
        raise ValueError(f"method {method} would go on for ever; add e.g. run_cap: 20")
    return Sweep(path, method, metric, goal, parameters,
                 _command(content["command"], experiment),
                 _halving(content.get("early_terminate"), metric), run_cap)


def _setting(text: str) -> tuple[str, dict[str, Any]]:
    """``NAME=VALUE`` as a parameter; VALUE may be a parameter itself, ``{values: [1, 2]}``."""
    name, separator, written = text.partition("=")
    if not (name and separator):
        raise ValueError(f"--set takes NAME=VALUE, got {text!r}")
    try:
        value = yaml.safe_load(written)
    except yaml.YAMLError as error:
        raise ValueError(f"--set {name}: {written!r} is no value of YAML") from error
    if isinstance(value, bool) and written.lower() not in {"true", "false"}:
        value = written  # YAML takes the word off for false
    if isinstance(value, dict) and value and value.keys() <= set(PARAMETER_KEYS):
        return name, value
    return name, {"value": value}


def _check_parameter(name: str, parameter: Any, method: str) -> None:
    if not isinstance(parameter, dict):
        raise ValueError(f"parameter `{name}` needs `value: {parameter}` or `values: [...]`")
    if "parameters" in parameter:
        raise ValueError(f"parameter `{name}` holds `parameters`; write dotted names instead, "
                         f"`{name}.x`")
    _known(parameter, PARAMETER_KEYS, f"key of parameter `{name}`")
    kind = distribution_of(parameter)
    if kind is None or kind not in DISTRIBUTIONS:
        what = "says not what it takes" if kind is None else f"has the distribution {kind!r}"
        raise ValueError(f"parameter `{name}` {what}; give `value`, `values`, `min` and `max`, or "
                         f"a distribution of: {', '.join(DISTRIBUTIONS)}")
    if missing := DISTRIBUTIONS[kind] - parameter.keys():
        raise ValueError(f"parameter `{name}`: {kind} needs `{min(missing)}`")
    if extra := parameter.keys() - DISTRIBUTIONS[kind] - {"distribution"}:
        raise ValueError(f"parameter `{name}`: {kind} has no `{min(extra)}`")
    if kind in {"constant", "categorical"}:
        _check_values(name, [parameter["value"]] if kind == "constant" else parameter["values"])
        return
    if method == "grid":
        raise ValueError(f"parameter `{name}` is a range, which method grid cannot go through; "
                         "list its `values`, or take method random or bayes")
    _check_range(name, kind, parameter)


def distribution_of(parameter: Mapping[str, Any]) -> str | None:
    """The distribution of a parameter, by W&B's rules where it names none; None for unclear."""
    if "distribution" in parameter:
        return str(parameter["distribution"])
    if "value" in parameter:
        return "constant"
    if "values" in parameter:
        return "categorical"
    if {"min", "max"} <= parameter.keys():
        whole = all(type(parameter[key]) is int for key in ("min", "max"))
        return "int_uniform" if whole else "uniform"
    return None


def _check_values(name: str, values: Any) -> None:
    if not isinstance(values, list) or not values:
        raise ValueError(f"parameter `{name}`: `values` is a list of at least one value")
    seen = []
    for value in values:
        if value in ("None", "none"):
            raise ValueError(f"parameter `{name}`: {value} is a word in YAML, write null")
        try:
            written = json.dumps(value, sort_keys=True)
        except TypeError as error:
            raise ValueError(f"parameter `{name}`: {value} is a {type(value).__name__} in YAML; "
                             "put it in quotes") from error
        if written in seen:
            raise ValueError(f"parameter `{name}` has the value {value!r} twice")
        seen.append(written)


def _check_range(name: str, kind: str, parameter: Mapping[str, Any]) -> None:
    for key in sorted(DISTRIBUTIONS[kind]):
        if type(parameter[key]) not in (int, float):
            raise ValueError(f"parameter `{name}`: `{key}` must be a number, got "
                             f"{parameter[key]!r}" + _with_point(parameter[key]))
    low, high = parameter["min"], parameter["max"]
    if kind == "int_uniform" and not type(low) is type(high) is int:
        raise ValueError(f"parameter `{name}`: int_uniform needs whole numbers")
    if low >= high:
        raise ValueError(f"parameter `{name}`: `min` must be below `max`, got {low} and {high}")
    if kind == "log_uniform_values" and low <= 0:
        raise ValueError(f"parameter `{name}`: `min` must be positive, got {low}")
    if "q" in parameter and not 0 < parameter["q"] <= high - low:
        raise ValueError(f"parameter `{name}`: `q` must lie in the range, got {parameter['q']}")


def _with_point(value: Any) -> str:
    """YAML's trap: 1e-4 is a word, 1.0e-4 a number."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+e[+-]?\d+", value, re.IGNORECASE):
        return f"; YAML wants a point, {value.lower().replace('e', '.0e')}"
    return ""


def _check_names(parameters: Mapping[str, Any]) -> None:
    """Refuses a parameter inside another: of the two, one would be lost without a word."""
    for outer in parameters:
        for inner in parameters:
            if not inner.startswith(f"{outer}."):
                continue
            rest = inner.removeprefix(f"{outer}.")
            if outer.endswith(("backbone", "representation", "optimizer", "conv")):
                raise ValueError(
                    f"`{outer}` and `{inner}` are both set, but the class and its argument cannot "
                    f"be given apart: take `{outer}.class_path` and `{outer}.init_args.{{...}}`, "
                    f"one whole dict, or put --{outer} into `command`")
            raise ValueError(f"`{inner}` lies inside `{outer}`, and one would be lost; write "
                             f"`{rest}` into the values of `{outer}`")


def _metric(metric: Any, method: str) -> tuple[str, Literal["maximize", "minimize"]]:
    if metric is None:
        if method == "bayes":
            raise ValueError("method bayes needs a `metric`: {name: val/top1, goal: maximize}")
        return "test/top1", "maximize"
    if not isinstance(metric, dict) or "name" not in metric:
        raise ValueError("`metric` is {name: ..., goal: maximize or minimize}")
    _known(metric, ("name", "goal"), "key of `metric`")
    name = str(metric["name"])
    if name not in EVERY_EPOCH + AT_THE_END:
        raise ValueError(f"no run logs the metric {name!r}{_near(name, EVERY_EPOCH + AT_THE_END)}; "
                         f"there are: {', '.join(EVERY_EPOCH + AT_THE_END)}")
    goal = _one_of(metric.get("goal", "minimize"), ("maximize", "minimize"), "goal")
    return name, "maximize" if goal == "maximize" else "minimize"


def _command(command: Any, experiment: str | None) -> tuple[str, ...]:
    if not isinstance(command, list) or not all(isinstance(word, str) for word in command):
        raise ValueError("`command` is a list of words")
    words = list(command)
    if "fit" not in words or not re.search(r"ptl[_-]skel$", words[words.index("fit") - 1]):
        raise ValueError("`command` does not run `ptl_skel fit`")
    if ARGUMENTS not in words or words[words.index(ARGUMENTS) - 1] != "--config":
        raise ValueError(
            f"`command` must take the values by --config and {ARGUMENTS}, which keeps their types;"
            " ${args} writes null as the word None, and dicts as nothing that can be read")
    for word in words:
        if word.startswith("${") and not re.fullmatch(
                r"\$\{(env|interpreter|program|args_json_file|envvar:\w+)\}", word):
            raise ValueError(f"`command` has {word}, which would hand the values over twice")
    if experiment is not None:
        found = [position for position, word in enumerate(words) if "experiment/" in word]
        if not found:
            raise ValueError("--experiment has nothing to replace: `command` names no "
                             "experiment/*.yaml")
        words[found[0]] = experiment
    return tuple(words)


def _halving(stopping: Any, metric: str) -> Halving | None:
    if stopping is None:
        return None
    if not isinstance(stopping, dict) or stopping.get("type") != "hyperband":
        raise ValueError("`early_terminate` is {type: hyperband, min_iter: ..., eta: ...}")
    _known(stopping, HALVING_KEYS, "key of `early_terminate`")
    if metric not in EVERY_EPOCH:
        raise ValueError(f"`early_terminate` compares runs on their way, but {metric} comes at the "
                         f"end; take a metric of: {', '.join(EVERY_EPOCH)}")
    factor = _positive(stopping.get("eta", 3), "eta")
    if factor < 2:
        raise ValueError("`eta` must be >= 2, got 1")
    if "min_iter" in stopping:
        return Halving(_positive(stopping["min_iter"], "min_iter"), factor)
    if not {"max_iter", "s"} <= stopping.keys():
        raise ValueError("`early_terminate` needs `min_iter`, or `max_iter` and `s`")
    last, brackets = (_positive(stopping[key], key) for key in ("max_iter", "s"))
    return Halving(max(1, last // factor**brackets), factor)


def _positive(value: Any, key: str) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"`{key}` must be a whole number >= 1, got {value!r}")
    return value


def _one_of(value: Any, known: Sequence[str], key: str) -> str:
    if value not in known:
        raise ValueError(f"`{key}` must be one of {', '.join(known)}, got {value!r}")
    return str(value)


def _known(given: Collection[str], known: Sequence[str], what: str) -> None:
    for key in given:
        if key not in known:
            raise ValueError(f"unknown {what}: {key!r}{_near(str(key), known)}; there are: "
                             f"{', '.join(known)}")


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f", perhaps {near[0]!r}" if near else ""
