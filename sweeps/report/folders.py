"""Folders of runs, and further records of sweeps."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ptl_skel.errors import UserError
from ptl_skel.runs.record import EXPORTED, ROBUSTNESS, read_result


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """Folders with a ``result.json``: those given, or else all below them.

    Raises:
        UserError: No folder has one.
    """
    found: dict[Path, Path] = {}  # by resolved path, so that each counts once
    for path in paths:
        if not path.is_dir():
            raise UserError(f"{path} is a file; give the folder of a run, or one that holds runs"
                            if path.exists() else f"{path} does not exist")
        below = [path] if (path / "result.json").exists() else list(_below(path))
        if not below:
            raise UserError(f"{path} holds no run: neither it nor a folder below it has a "
                            "result.json, which `ptl-skel fit` writes")
        for folder in below:
            found.setdefault(folder.resolve(), folder)
    return list(found.values())


def _below(path: Path) -> Iterator[Path]:
    for folder, inner, files in os.walk(path):
        inner.sort(key=natural_order)
        if "result.json" in files:
            inner.clear()  # everything in the folder of a run belongs to it
            yield Path(folder)


def unrecorded_cells(path: Path) -> Iterator[str]:
    """Cells of the sweep in a folder that have no record."""
    file = path / "sweep.json"
    if not file.is_file():
        return
    state = _read_state(file)
    try:
        for cell in state["cells"]:
            if not (path / cell["name"] / "result.json").exists():
                error = f", {cell['error']}" if cell["error"] else ""
                yield f"cell {cell['name']}: {cell['state']}{error}, no record"
    except (KeyError, TypeError) as error:
        raise UserError(f"{file} is damaged: {error!r}") from error


def _read_state(file: Path) -> dict[str, Any]:
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file} is damaged: {error!r}") from error
    if not isinstance(state, dict):
        raise UserError(f"{file} is damaged: it holds no sweep")
    return state


def descriptions(paths: Sequence[Path]) -> list[str]:
    """Descriptions in the files of the sweeps in some folders, each once."""
    texts = [_read_state(path / "sweep.json").get("description") for path in paths
             if (path / "sweep.json").is_file()]
    return list(dict.fromkeys(text.strip() for text in texts if text))


def read_corrupted(run: Path) -> dict[tuple[str, float], tuple[Path, float]]:
    """The tests of a run on corrupted keypoints by kind and level; see `ptl-skel robustness`.

    Returns:
        The folder of each, and the accuracy in 0..1.

    Raises:
        UserError: A record is damaged.
    """
    found = {}
    for file in sorted(run.glob(f"{ROBUSTNESS}/*/result.json")):
        result = read_result(file.parent)
        try:
            if result["status"] == "finished":
                corruption = result["data"]["corruption"]
                place = str(corruption["kind"]), float(corruption["level"])
                found[place] = file.parent, float(result["metrics"]["test/top1"])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{file} is damaged: {error!r}; without it, `ptl-skel robustness` "
                            "tests again") from error
    return found


def read_exported(run: Path) -> list[dict[str, str]]:
    """Costs of exported forms of a run, as rows of a table; see `ptl-skel profile --exported`.

    Raises:
        UserError: The record is damaged.
    """
    file = run / EXPORTED
    if not file.is_file():
        return []
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        threads = int(record["threads"])
        where = f"{record['cpu']}, {threads} thread{'s' if threads > 1 else ''}"
        return [{"network": str(each["name"]), "params": str(each["params"]),
                 "GMACs": str(each["gmacs"]), "size": str(each["size"]),
                 "p50": f"{float(each['p50_ms']):.2f} ms", "p95": f"{float(each['p95_ms']):.2f} ms",
                 "CPU": f"{float(each['cpu_ms']):.2f} ms", **_accuracy_cells(each.get("accuracy")),
                 "measured on": where}
                for each in record["networks"]]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{file} is damaged: {error!r}; `ptl-skel profile --exported` writes it "
                        "again") from error


def _accuracy_cells(accuracy: Mapping[str, float] | None) -> dict[str, str]:
    """Accuracies that were measured when a file was exported in 8 bits; empty for others."""
    top1, before, same = ("" if accuracy is None else f"{100 * float(accuracy[name]):.2f} %"
                          for name in ("top1", "top1_float32", "same_class"))
    return {"top-1, int8": top1, "top-1, float32": before, "same class": same}


def natural_order(value: object) -> list[tuple[int, str]]:
    """A key that sorts ``fold10`` after ``fold2``."""
    return [(int(part), "") if part.isdigit() else (-1, part)
            for part in re.split(r"(\d+)", str(value))]
