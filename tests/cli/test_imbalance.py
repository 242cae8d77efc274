"""Rare classes: one class against background, by the command line."""

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from commandline import refusal
from tiny import tiny_clips, write_clips
from torchmetrics.functional.classification import multiclass_f1_score

from ptl_skel.__main__ import main
from ptl_skel.cli import outcome
from ptl_skel.runs.predictions import read_predictions
from ptl_skel.runs.record import read_result
from ptl_skel.storage import Clip


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(outcome, "measure", functools.partial(outcome.measure, seconds=0))


@pytest.fixture
def falls():
    """One fall in training, 15 clips of background; 2 and 4 in the test."""
    clips = [Clip(clip.id, clip.keypoints, clip.scores, clip.frame_size, int(clip.label == 2),
                  clip.subject) for clip in tiny_clips()]
    rare = [clip.id for clip in clips if clip.label and clip.subject != 13][1:]
    return write_clips(Path("falls.h5"), [clip for clip in clips if clip.id not in rare],
                       class_names=("background", "fall"))


@pytest.mark.parametrize("options", [
    [], ["--data.balanced", "true"], ["--model.class_weights", "balanced"],
    ["--data.balanced", "true", "--data.on_device", "true", "--data.num_workers", "1"]])
def test_one_class_against_background(falls, tiny_config, options, capsys):
    main(["fit", "--config", str(tiny_config), "--data.file", str(falls), "--run_dir", "run",
          "--data.val_fraction", "0", *options])
    result = read_result(Path("run"))
    assert result["status"] == "finished"
    assert result["data"]["clips"] == {"train": 13, "val": 0, "test": 6}
    predictions = read_predictions(Path("run"))
    predicted = predictions.probabilities.argmax(1)
    assert [each["name"] for each in result["classes"]] == ["background", "fall"]
    assert [each["clips"] for each in result["classes"]] == [4, 2]
    for k, each in enumerate(result["classes"]):
        recall = (predicted[predictions.label == k] == k).mean()
        assert each["recall"] == pytest.approx(recall, abs=1e-4)
    assert result["metrics"]["test/f1"] == pytest.approx(
        np.mean([each["f1"] for each in result["classes"]]), abs=1e-4)
    assert "test F1" in capsys.readouterr().out


def test_rare_classes_are_not_made_up_for_twice(falls, tiny_config, capsys):
    assert "--data.balanced and --model.class_weights both make up for rare classes" in refusal(
        capsys, "fit", "--config", tiny_config, "--data.file", falls, "--data.balanced", "true",
        "--model.class_weights", "balanced")
    assert not Path("runs").exists()


def test_a_record_has_the_scores_of_each_class(finished_run):
    result, predictions = read_result(finished_run), read_predictions(finished_run)
    assert [each["name"] for each in result["classes"]] == list(predictions.class_names)
    expected = multiclass_f1_score(torch.from_numpy(predictions.probabilities),
                                   torch.from_numpy(predictions.label), 3, average="none")
    assert [each["f1"] for each in result["classes"]] == pytest.approx(expected.tolist(), abs=1e-4)


def test_a_summary_names_the_worst_classes():
    result = {"model": None, "training_seconds": 0, "metrics": {"test/f1": 0.5}, "classes": [
        {"name": name, "clips": clips, "precision": 0, "recall": 0, "f1": f1}
        for name, clips, f1 in [("a", 3, 0.9), ("b", 2, 0.25), ("[c]", 2, 0.5), ("d", 0, 0.0),
                                ("e", 4, 0.75)]]}
    table = outcome.summarise_run(Path("run"), result)
    assert list(table.columns[0].cells) == ["test F1", "lowest F1"]
    assert list(table.columns[1].cells)[1] == "b 25 %, \\[c] 50 %, e 75 %"


@pytest.mark.parametrize("seed", range(4))
def test_a_class_whose_only_subject_is_held_out_is_reported(falls, tiny_config, capsys, seed):
    main(["fit", "--config", str(tiny_config), "--data.file", str(falls), "--run_dir", "run",
          "--data.val_fraction", "0.1", "--data.val_seed", str(seed), "--trainer.max_epochs", "1"])
    result = read_result(Path("run"))
    warned = ("warning: the network cannot learn 'fall': no training clip shows it (validation: "
              "held-out subjects 3)") in capsys.readouterr().out
    assert warned == (result["data"]["validation"] == "held-out subjects 3")


@pytest.mark.parametrize(("seconds", "shown"), [(12.4, "12 s"), (90, "1.5 min")])
def test_a_summary_has_the_time_of_the_training_with_the_other_costs(seconds, shown):
    cost = {"params": 1e6, "gmacs": 0.5, "latency_ms": 1.0, "device": "cpu"}
    result = {"model": cost, "training_seconds": seconds, "metrics": {}}
    table = outcome.summarise_run(Path("run"), result)
    assert list(table.columns[1].cells)[-1] == shown
    assert not outcome.summarise_run(Path("run"), result | {"model": None}).columns
