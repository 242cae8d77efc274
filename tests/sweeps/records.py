"""Run records as real runs leave them, without the hours."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ptl_skel.configs import CONFIGS
from ptl_skel.cost.complexity import Complexity
from ptl_skel.runs.callbacks import RunRecord
from ptl_skel.runs.predictions import Predictions, write_predictions
from ptl_skel.runs.record import write_result

NAMES = ("wave", "kick", "sit down")
LABEL = (0, 0, 1, 1, 2)
PREDICTED = (0, 1, 1, 1, 2)


def config_of(backbone: str = "full3d", **changes: Any) -> dict[str, Any]:
    """A resolved config; `changes` are by dotted key, dots written as two underscores."""
    config: dict[str, Any] = {
        "seed_everything": 0, "run_dir": "runs/x", "wandb": "off",
        "trainer": {"max_epochs": 2, "enable_progress_bar": True, "callbacks": None},
        "model": {"backbone": read(f"backbone/{backbone}"), "dropout": 0.5,
                  "optimizer": {"class_path": "torch.optim.SGD",
                                "init_args": {"lr": 0.4, "momentum": 0.9}}},
        "data": {"file": "data/x.h5", "protocol": "xsub", "clip_len": 32, "size": 56,
                 "eval_size": 56, "representation": read("representation/joints"),
                 "augment": {"crop_area": [0.56, 1.0]}}}
    for key, value in changes.items():
        *path, last = key.split("__")
        place = config
        for part in path:
            place = place[part]
        place[last] = value
    return config


def read(name: str) -> Any:
    """A shipped config."""
    return yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())


def write_run(folder: Path, *, config: Mapping[str, Any] | None = None, seed: int = 0,
              dataset: str = "synthetic", protocol: str = "xsub", gmacs: float = 1.0,
              params: int = 1_234_000, latency: float = 12.34, cpu: str = "Some CPU",
              validation: str = "held-out subjects 1", status: str = "finished",
              error: str | None = None, names: Sequence[str] = NAMES,
              clips: Sequence[str] | None = None, label: Sequence[int] = LABEL,
              predicted: Sequence[int] = PREDICTED, commit: str = "0123456789abcdef",
              live: Mapping[str, float] | None = None, part: str = "test") -> Path:
    """Writes the record of a run with the functions that real runs write theirs with.

    Its metrics are those of its predictions; the learning curve rises. With another status than
    ``finished`` it has no metrics. With the `part` val it ended with a validation.
    """
    folder.mkdir(parents=True)
    config = {**(config or config_of()), "seed_everything": seed, "run_dir": str(folder)}
    config["data"] = {**config["data"], "protocol": protocol}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    facts = {"command": f"ptl-skel fit --run_dir {folder.name}", "seed": seed,
             "data": {"dataset": dataset, "protocol": protocol, "validation": validation}}
    cost = Complexity(params, gmacs, latency, (25, 32, 32, 32), "cpu, 2 threads")
    result = RunRecord(facts).result
    result |= {"model": asdict(cost), "status": status, "training_seconds": 90.0,
               "git_commit": commit, "error": error}
    result["machine"]["cpu"] = cpu
    if status == "finished":
        hits = [one == other for one, other in zip(label, predicted, strict=True)]
        of_class = [[hit for hit, one in zip(hits, label, strict=True) if one == number]
                    for number in sorted(set(label))]
        shares = [sum(one) / len(one) for one in of_class]
        result["metrics"] = {f"{part}/top1": sum(hits) / len(hits),
                             f"{part}/mean_class": sum(shares) / len(shares),
                             **{f"{part}/{name}": value for name, value in (live or {}).items()}}
        clips = clips or [f"clip{number}" for number in range(len(label))]
        write_predictions(folder / "predictions.npz", Predictions(
            tuple(clips), np.array(label), np.eye(len(names), dtype=np.float32)[list(predicted)],
            tuple(names)))
    (folder / "metrics.csv").write_text(
        "epoch,step,train/loss,train/top1,val/top1\n"
        + "".join(f"{epoch},{epoch},{2 / (epoch + 1)},{epoch / 10},{epoch / 12}\n"
                  for epoch in range(4)))
    write_result(folder, result)
    return folder


def edit_result(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes the ``result.json`` of a run."""
    result = json.loads((folder / "result.json").read_text())
    change(result)
    (folder / "result.json").write_text(json.dumps(result))
