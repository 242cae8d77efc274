"""Reads run records into comparable arms, or reports why they cannot be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from ptl_skel.errors import UserError
from ptl_skel.metrics import LIVE
from ptl_skel.runs.length import Length
from ptl_skel.runs.predictions import Predictions, in_the_order_of, read_predictions
from ptl_skel.runs.record import read_metrics, read_result

from .folders import find_runs, natural_order, read_corrupted, unrecorded_cells
from .fused import fuse_arms
from .names import Settings, name_arms, settings_of
from .statistics import recalls
from .study import Arm, Fold, Part, Run, Study

UNMEASURED: dict[str, Any] = {"params": 0, "gmacs": float("nan"), "latency_ms": float("nan"),
                             "device": "not measured"}
"""Cost of the network of a run that failed before it was measured."""


def read_study(paths: Sequence[Path], baseline: str | None = None, folds: bool = False,
               fuse: Sequence[Sequence[str]] = ()) -> Study:
    """Arms from run records.

    Args:
        paths: Folders of runs, or folders that contain some.
        baseline: Name of the arm that the others are compared with, or a prefix of it.
        folds: Whether runs may have several protocols: folds of the data set, or overlapping
            splits.
        fuse: Names of arms that are fused into another one, for each such arm.

    Raises:
        UserError: A record is missing or damaged, runs cannot be compared or are the same cell, or
            no arm has one of the names.
    """
    records = {folder: read_result(folder) for folder in find_runs(paths)}
    records = {folder: result for folder, result in records.items() if not _is_prediction(result)}
    part = _part_of(records.values())
    reader = _Reader(part, folds)
    runs = [reader.read(folder, result) for folder, result in records.items()]
    if not runs:
        raise UserError(f"{', '.join(map(str, paths))}: only runs of `ptl-skel predict`, which "
                        "have no test")
    tested = [run for run in runs if run.status == "tested"]
    if not tested:
        raise UserError(f"no run was tested: {runs[0].folder} is {runs[0].status}; `ptl-skel test` "
                        "or `validate` on a checkpoint writes a record with predictions")
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(repr(sorted(run.settings.items())), []).append(run)
    names = name_arms([group[0].settings for group in groups.values()],
                      [next((run.backbone_file for run in group if run.backbone_file), None)
                       for group in groups.values()])
    arms = [_arm(name, unnamed, group)
            for (name, unnamed), group in zip(names, groups.values(), strict=True)]
    with_test = [arm for arm in arms if arm.runs]
    compared = None if baseline is None else _find(baseline, with_test)
    fused = [fuse_arms([_find(name, with_test) for name in names], reader.folds,
                       len(reader.first.class_names)) for names in fuse]
    with_test.sort(key=lambda arm: arm is not compared)
    protocols = sorted(reader.folds, key=natural_order)
    return Study(
        dataset=runs[0].dataset, part=part, class_names=reader.first.class_names,
        folds={protocol: reader.folds[protocol] for protocol in protocols},
        arms=(*with_test, *fused), baseline=compared,
        untested=tuple(arm for arm in arms if not arm.runs),
        unrecorded=tuple(line for path in paths for line in unrecorded_cells(path)))


def _find(name: str, arms: Sequence[Arm]) -> Arm:
    """The tested arm with a name, or with a name that begins with these words.

    Raises:
        UserError: No arm has it, or several do.
    """
    found = [arm for arm in arms if arm.name == name] or [
        arm for arm in arms if arm.name.startswith(f"{name} ")]
    if len(found) != 1:
        raise UserError(f"{'more than one' if found else 'no'} tested arm is called {name!r}; "
                        "there are: " + ", ".join(repr(arm.name) for arm in arms))
    return found[0]


class _Reader:
    """Reads runs, and keeps the common data of a protocol."""

    def __init__(self, part: Part, folds: bool) -> None:
        self.part = part
        self.several = folds
        self.folds: dict[str, Fold] = {}
        self._data: tuple[Path, str, str] | None = None
        self._firsts: dict[str, tuple[Path, Predictions]] = {}
        self._files: dict[tuple[str, str], tuple[Path, Mapping[str, Any]]] = {}

    @property
    def first(self) -> Predictions:
        return next(iter(self._firsts.values()))[1]

    def read(self, folder: Path, result: Mapping[str, Any]) -> Run:
        config = _config(folder)
        try:
            settings = settings_of(_without_derived(config, result))
            run = _run(folder, settings, result, self.part)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UserError(f"{folder / 'result.json'} is damaged: {error!r}") from error
        self._check_data(folder, run.dataset, run.protocol)
        if run.status != "tested":
            return run
        self._check_keypoints(run, result["data"])
        return self._with_predictions(run)

    def _with_predictions(self, run: Run) -> Run:
        """The run, with data from its predictions and its learning curve."""
        label, predicted, classes = self._predictions(run.folder, run.protocol)
        found = {"top1": float((predicted == label).mean()),
                 "mean_class": float(np.nanmean(recalls(label, predicted, classes)))}
        for name, value in found.items():
            if abs(value - getattr(run, name)) > 1e-4:
                raise UserError(
                    f"{run.folder}: predictions.npz has {name} {value:.4f}, result.json "
                    f"{getattr(run, name):.4f}; they are not from the same test")
        return replace(run, predicted=predicted, curve=_curve(run.folder),
                       corrupted={place: accuracy for place, (_, accuracy) in (
                           read_corrupted(run.folder) if self.part == "test" else {}).items()},
                       top1=found["top1"], mean_class=found["mean_class"])

    def _check_data(self, folder: Path, dataset: str, protocol: str) -> None:
        """Rejects a run on other data than the first."""
        self._data = self._data or (folder, dataset, protocol)
        first_folder, first_dataset, first_protocol = self._data
        if dataset == first_dataset and (protocol == first_protocol or self.several):
            return
        raise UserError(
            f"{folder} is a run on {dataset} ({protocol}), but {first_folder} is one on "
            f"{first_dataset} ({first_protocol}); compare runs on the same data"
            + (", or average over folds with --folds" if dataset == first_dataset else
               ", or pool the data sets with --pool"))

    def _check_keypoints(self, run: Run, data: Mapping[str, Any]) -> None:
        """Rejects a run on other keypoints than an earlier one whose file has the same name.

        As `data.file` is compared by its name, both would be seeds of one arm. Earlier records
        lack the fingerprint.
        """
        if "fingerprint" not in data:
            return
        file = str(run.settings.get("data.file")), run.protocol
        folder, first = self._files.setdefault(file, (run.folder, data))
        if data["fingerprint"] != first["fingerprint"]:
            raise UserError(
                f"{run.folder} used other keypoints than {folder}, although their files have the "
                f"same name: {data['file']} and {first['file']}; report on the runs of one of "
                "them, or give the files different names and run again to compare them")

    def _predictions(self, folder: Path, protocol: str,
                     ) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        """Labels and predicted classes of the clips, in the order of the protocol's first run."""
        file = read_predictions(folder)
        if (file.label < 0).any() or not len(file.label):
            raise UserError(f"{folder} has predictions of clips without a label, or of none")
        if protocol not in self._firsts:
            self._check_classes(folder, file)
            self._firsts[protocol] = folder, file
            self.folds[protocol] = Fold(file.clip, file.label)
        first_folder, first = self._firsts[protocol]
        file = in_the_order_of(first, file, (first_folder, folder))
        return file.label, file.probabilities.argmax(1), len(file.class_names)

    def _check_classes(self, folder: Path, file: Predictions) -> None:
        for other_folder, first in self._firsts.values():
            if file.class_names != first.class_names:
                raise UserError(f"{folder} has other classes than {other_folder}")


def _run(folder: Path, settings: Settings, result: Mapping[str, Any], part: Part) -> Run:
    """The run of a record, without its predictions."""
    data, status = result["data"], _status(folder, result, part)
    model = result["model"] or UNMEASURED
    top1, mean_class = (float(result["metrics"][f"{part}/{name}"] if status == "tested" else "nan")
                        for name in ("top1", "mean_class"))
    protocol = str(data["protocol"])
    if part == "val":  # each choice of the held-out clips is a split of its own
        protocol += " validation"
        if "held" in data["validation"]:
            protocol += f" {settings.pop('data.val_seed'):g}"
    return Run(
        folder=folder, settings=settings, backbone_file=result.get("backbone_file"),
        seed=int(result["seed"]), dataset=str(data["dataset"]), protocol=protocol,
        status=status, command=str(result.get("command", "")),
        commit=str(result.get("git_commit") or ""), params=int(model["params"]),
        gmacs=float(model["gmacs"]), latency_ms=float(model["latency_ms"]),
        machine=f"{result['machine']['cpu']} ({model['device']})",
        training_seconds=float(result["training_seconds"]),
        train_clips=int(data.get("clips", {}).get("train", 0)),
        chosen_on_test=data["validation"] == "test part", diverged=result.get("diverged"),
        top1=top1, mean_class=mean_class,
        live={name: float(result["metrics"][f"{part}/{name}"]) for name in LIVE
              if f"{part}/{name}" in result["metrics"]})


def _is_prediction(result: Mapping[str, Any]) -> bool:
    """Whether a record is from ``ptl-skel predict``: it has no protocol."""
    data = result.get("data")
    return isinstance(data, dict) and data.get("protocol", "") is None


def _part_of(results: Iterable[Mapping[str, Any]]) -> Part:
    """The part that is compared: the validation part if there is one, and no run was tested."""
    metrics = {name for result in results if isinstance(result.get("metrics"), dict)
               for name in result["metrics"]}
    return "val" if "val/top1" in metrics and "test/top1" not in metrics else "test"


def _status(folder: Path, result: Mapping[str, Any], part: Part) -> str:
    if result["status"] == "failed":
        return f"failed, {result.get('error') or 'unknown reason'}"
    if result["status"] == "running":
        return "running, or was killed"
    if result["status"] == "finished":
        if part == "val" and not (folder / "predictions.npz").exists():
            return "finished without predictions"
        return "tested" if f"{part}/top1" in result["metrics"] else "finished without a test"
    return str(result["status"])


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.yaml"
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; it belongs to the record of a run") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged: {str(error).splitlines()[0]}") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} is damaged: it holds no settings")
    return config


def _without_derived(config: dict[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without the number of epochs if it was computed from that of training clips.

    It differs between folds, which would then count as different arms.
    """
    trainer, length = config.get("trainer"), config.get("length")
    clips = result["data"].get("clips", {}).get("train")
    if not (clips and trainer and length
            and trainer.get("max_epochs") == Length(**length).epochs(clips)):
        return config
    return {**config, "trainer": {**trainer, "max_epochs": None}}


def _curve(folder: Path) -> list[dict[str, float]]:
    try:
        return read_metrics(folder)
    except (ValueError, TypeError) as error:
        raise UserError(f"{folder / 'metrics.csv'} is damaged: {error}") from error


def _arm(name: str, unnamed: str, group: Sequence[Run]) -> Arm:
    cells: dict[tuple[str, int], Run] = {}
    for run in group:
        if run.status != "tested":
            continue
        if run.cell in cells:
            raise UserError(f"{cells[run.cell].folder} and {run.folder} are the same cell: {name}, "
                            f"{run.protocol}, seed {run.seed}; name the runs without one of them")
        cells[run.cell] = run
    runs = sorted(cells.values(), key=lambda run: natural_order(run.cell))
    return Arm(name, unnamed, tuple(runs),
               tuple(run for run in group if run.status != "tested"))
