"""The files in the folder of a run, and reading them; needs neither torch nor matplotlib.

::

    config.yaml       every setting; `ptl-skel fit --config` repeats the run
    metrics.csv       the learning curve
    checkpoints/      last.ckpt, and best.ckpt if there is validation
    result.json       command, machine, cost, status, metrics, scores of each class
    predictions.npz   class probabilities of each clip of the test
    predictions.csv   from `ptl-skel predict`: the most probable class of each clip
    error.txt         the traceback of a run that failed
    robustness/       from `ptl-skel robustness`: tests of the same weights on corrupted keypoints

If the training loss of a run became NaN or infinite, ``diverged`` in ``result.json`` is the first
such epoch, counted from 1. The run still finishes and tests the best checkpoint, which may be an
earlier one.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptl_skel.atomic import write_text
from ptl_skel.errors import MissingFileError, UserError

SCHEMA_VERSION = 1
CONFIG = "config.yaml"
RESULT = "result.json"
ERROR = "error.txt"
EXPORTED = "exported.json"
ROBUSTNESS = "robustness"


def write_result(run_dir: Path, result: Mapping[str, Any]) -> None:
    """Writes ``result.json``. Non-finite numbers, which JSON cannot represent, become null."""
    text = json.dumps(_finite({"schema_version": SCHEMA_VERSION, **result}), indent=1,
                      allow_nan=False)
    write_text(run_dir / RESULT, text)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_result(run_dir: Path) -> dict[str, Any]:
    """The ``result.json`` of a run; a metric that was not finite is NaN.

    Raises:
        MissingFileError: The run has none.
        UserError: It cannot be read, is damaged, or is from another version.
    """
    path = run_dir / RESULT
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist; `ptl-skel fit` leaves one in its folder")
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}") from error
    if not isinstance(result, dict) or result.get("schema_version") != SCHEMA_VERSION:
        raise UserError(f"{path} is not a run record of schema version {SCHEMA_VERSION}")
    metrics = result.get("metrics")
    if isinstance(metrics, dict):
        result["metrics"] = {name: math.nan if value is None else value
                             for name, value in metrics.items()}
    return result


def read_metrics(run_dir: Path) -> list[dict[str, float]]:
    """Rows of the ``metrics.csv`` of a run; empty if there is no such file."""
    path = run_dir / "metrics.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items() if value}
                for row in csv.DictReader(file)]
