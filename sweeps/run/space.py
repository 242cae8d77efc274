"""The cells of a sweep, from a grid or sampled by a search, each with a readable name."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from ptl_skel.errors import UserError

from .files import SEED, Sweep
from .schema import ARGUMENTS


@dataclass(frozen=True)
class Cell:
    """One training of a sweep.

    Attributes:
        name: Name of its folder: the values in which cells differ, then the seed, e.g.
            ``reduced-seed0``.
        arm: The name without the seed, which runs of several seeds have in common.
        values: All parameters, by the names of flags.
    """

    name: str
    arm: str
    values: dict[str, Any]


def grid(sweep: Sweep) -> list[Cell]:
    """All cells of a grid in W&B's order, the last parameter varying fastest; at most `run_cap`.

    Raises:
        UserError: All of them are skipped.
    """
    choices = [parameter.choices for parameter in sweep.parameters.values()]
    combinations = [dict(zip(sweep.parameters, values, strict=True))
                    for values in itertools.product(*choices)]
    cells = [cell_of(sweep, values) for values in combinations
             if not any(all(values[name] in skipped for name, skipped in entry.items())
                        for entry in sweep.skip)]
    if not cells:
        raise UserError(f"{sweep.path}: `skip` leaves out every cell of the grid")
    if len({cell.name for cell in cells}) < len(cells):  # long values that differ only at their end
        cells = [Cell(f"{number:03}-{cell.name}", f"{number:03}-{cell.arm}", cell.values)
                 for number, cell in enumerate(cells)]
    return cells[: sweep.run_cap]


def distributions(sweep: Sweep) -> dict[str, BaseDistribution]:
    """The distributions of a search; choices as JSON, which keeps dicts, lists and null."""
    sampled: dict[str, BaseDistribution] = {}
    for name, parameter in sweep.parameters.items():
        if not parameter.is_range:
            sampled[name] = CategoricalDistribution(list(map(json.dumps, parameter.choices)))
        elif parameter.kind == "int_uniform":
            sampled[name] = IntDistribution(parameter.min, parameter.max)
        else:
            log = parameter.kind == "log_uniform_values"
            sampled[name] = FloatDistribution(parameter.min, parameter.max, log, parameter.q)
    return sampled


def sampled_cell(sweep: Sweep, number: int, sampled: Mapping[str, Any]) -> Cell:
    """The cell for a sample from `distributions`; its number makes the name unique."""
    values = {name: sampled[name] if parameter.is_range else json.loads(sampled[name])
              for name, parameter in sweep.parameters.items()}
    cell = cell_of(sweep, values)
    return Cell(f"{number:03}-{cell.name}", f"{number:03}-{cell.arm}", values)


def extremes(sweep: Sweep) -> list[Cell]:
    """A few cells that together cover every value of the file, and both ends of each range."""
    choices = [parameter.choices for parameter in sweep.parameters.values()]
    return [cell_of(sweep, {name: values[min(position, len(values) - 1)]
                            for name, values in zip(sweep.parameters, choices, strict=True)})
            for position in range(max(map(len, choices)))]


def arguments_of(sweep: Sweep, cell: Cell) -> list[str]:
    """The arguments of ``ptl-skel fit`` for a cell, the same as from a W&B agent."""
    words = [json.dumps(cell.values) if word == ARGUMENTS else word for word in sweep.command]
    return words[words.index("fit") + 1:]


def cell_of(sweep: Sweep, values: dict[str, Any]) -> Cell:
    """The cell with some values, named after those that vary."""
    varied = [name for name, parameter in sweep.parameters.items()
              if name != SEED and len(parameter.choices) > 1]
    leaves = [leaf for name in varied for leaf in _leaves(name, values[name])]
    short = [name.rpartition(".")[2] for name, _ in leaves]
    parts = [_part(name if short.count(last) > 1 else last, value)
             for (name, value), last in zip(leaves, short, strict=True)]
    arm = re.sub(r"[^\w.,=+-]", "_", ",".join(parts))[:150] or sweep.name
    seed = f"-seed{values[SEED]}" if SEED in values else ""
    return Cell(f"{arm}{seed}", arm, values)


def _leaves(name: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        return [leaf for key, inner in value.items() for leaf in _leaves(f"{name}.{key}", inner)]
    return [(name, value)]


def _part(name: str, value: Any) -> str:
    if isinstance(value, str) and value.endswith((".yaml", ".yml")):
        return value.rpartition("/")[2].rpartition(".")[0]
    if name.endswith("class_path"):
        return str(value).rpartition(".")[2]
    return f"{name}={_text(value)}"


def _text(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "-".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value) if isinstance(value, str) else json.dumps(value)
