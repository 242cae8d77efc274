"""A run resumed from a checkpoint inside an epoch ends like one that was never interrupted."""

import functools
from pathlib import Path

import pytest
import torch

from ptl_skel.__main__ import main
from ptl_skel.cli import outcome
from ptl_skel.runs.record import read_metrics, read_result

STEPS = 3  # in an epoch: 12 clips in batches of 4
SAVE = ("--trainer.callbacks+=lightning.pytorch.callbacks.ModelCheckpoint",
        "--trainer.callbacks.dirpath", "saved", "--trainer.callbacks.filename", "{step}",
        "--trainer.callbacks.save_top_k", "-1", "--trainer.callbacks.every_n_train_steps", "1")


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(outcome, "measure", functools.partial(outcome.measure, seconds=0))


def fit(file, tiny_config, run_dir, *arguments):
    """Four epochs with all sources of randomness."""
    main(["fit", "--config", str(tiny_config), "--data.file", str(file), "--run_dir", run_dir,
          "--trainer.max_epochs", "4", "--model.dropout", "0.5", "--model.warmup", "0.2",
          "--data.augment.rotation", "20", "--data.augment.scale", "0.2", "--data.augment.shift",
          "0.1", *arguments])


def state(run_dir):
    """Everything that training changes."""
    last = torch.load(f"{run_dir}/checkpoints/last.ckpt")
    momentum = {f"momentum {number}": state["momentum_buffer"]
                for number, state in last["optimizer_states"][0]["state"].items()}
    return {**last["state_dict"], **momentum}


def later(run_dir, epoch):
    """The learning curve after that epoch; the test is of the best checkpoint in the folder."""
    return [row for row in read_metrics(Path(run_dir))
            if row["epoch"] > epoch and "test/top1" not in row]


@pytest.mark.parametrize("arguments", [
    [], ["--data.num_workers", "1"], ["--data.on_device", "true"],
    ["--data.balanced", "true"], ["--model.class_weights", "balanced"],
    ["--data.camera", "camera/moving.yaml"],
    ["--trainer.accumulate_grad_batches", "2"], ["--trainer.val_check_interval", "1"],
    ["--model.average", "0.5"]],
    ids=["plain", "workers", "on_device", "balanced", "weighted", "camera", "accumulated",
         "validated at each step", "averaged"])
def test_every_step_can_be_resumed_from(tiny_file, spatial_file, tiny_config, arguments):
    file = spatial_file if "--data.camera" in arguments else tiny_file
    fit(file, tiny_config, "whole", *arguments, *SAVE)
    expected = state("whole")
    saved = sorted(Path("saved").glob("*.ckpt"), key=lambda path: int(path.stem.split("=")[1]))
    steps = [int(path.stem.split("=")[1]) for path in saved]
    per_epoch = 2 if "--trainer.accumulate_grad_batches" in arguments else STEPS
    assert steps == list(range(1, 4 * per_epoch + 1))
    tried = list(zip(steps, saved, strict=True))[:-1]
    for step, path in tried[1::3] if arguments else tried:
        fit(file, tiny_config, f"from{step}", *arguments, "--ckpt_path", str(path))
        found = state(f"from{step}")
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in found), step
        result = read_result(Path(f"from{step}"))
        assert result["status"] == "finished"
        assert 0 < result["training_seconds"] < 60
        # Later epochs have the same learning curve; this one has the mean of the steps left to it.
        assert later(f"from{step}", step // per_epoch) == later("whole", step // per_epoch)
