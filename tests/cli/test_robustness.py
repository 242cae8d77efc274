"""Tests of trained runs on corrupted keypoints, and their curves in a report."""

import functools
import shutil
from pathlib import Path

import pytest
from commandline import refusal

from ptl_skel.__main__ import main
from ptl_skel.cli import outcome
from ptl_skel.runs.predictions import read_predictions
from ptl_skel.runs.record import read_result

LEVELS = ("--drop", "0.3", "1", "--displace", "0.2", "--low_scores")


@pytest.fixture
def runs(finished_run, tmp_path, monkeypatch):
    """A folder with a trained run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(outcome, "measure", functools.partial(outcome.measure, seconds=0))
    shutil.copytree(finished_run, "runs/one")
    return Path("runs")


def test_validation_and_predictions_are_of_degraded_keypoints_too(runs):
    checkpoint = ["--ckpt_path", str(runs / "one/checkpoints/last.ckpt")]
    blind = ["--data.corrupt", "{kind: drop, level: 1}"]
    main(["predict", *checkpoint, *blind, "--run_dir", "predicted"])
    probabilities = read_predictions(Path("predicted")).probabilities
    assert abs(probabilities - probabilities[0]).max() < 1e-6
    losses = []
    for name, corruption in (("whole", []), ("blind", blind)):
        main(["validate", *checkpoint, "--data.val_on_test", "true", *corruption,
              "--run_dir", name])
        losses.append(read_result(Path(name))["metrics"]["val/loss"])
    assert losses[0] != losses[1]


def test_each_level_is_tested_once_and_reported(runs, capsys, monkeypatch):
    main(["robustness", str(runs), "--accelerator", "cpu", *LEVELS])
    tests = {path.name: path for path in (runs / "one/robustness").iterdir()}
    assert set(tests) == {"drop-0.3", "drop-1", "displace-0.2"}
    result = read_result(tests["drop-0.3"])
    assert result["data"]["corruption"] == {"kind": "drop", "level": 0.3, "seed": 0}
    assert read_result(runs / "one")["data"]["corruption"] is None
    # Without any joint, every clip looks the same.
    blind = read_predictions(tests["drop-1"]).probabilities
    assert abs(blind - blind[0]).max() < 1e-6
    assert abs(read_predictions(tests["drop-0.3"]).probabilities
               - read_predictions(runs / "one").probabilities).max() > 1e-4

    capsys.readouterr()
    main(["robustness", str(runs), "--accelerator", "cpu", *LEVELS[:2], "0.6",
          "--displace", "--low_scores"])
    printed = capsys.readouterr().out
    assert "drop-0.6" in printed
    assert "drop-0.3" not in printed

    monkeypatch.setattr("sweeps.report.write_pictures", lambda *_: True)
    main(["report", str(runs), "--out", "page.md"])
    text = Path("page.md").read_text()
    accuracy = 100 * result["metrics"]["test/top1"]
    header, _, row = text.split("## Accuracy on corrupted keypoints, %\n\n")[1].splitlines()[:3]
    cells = dict(zip(header.strip("| ").split(" | "), row.strip("| ").split(" | "), strict=True))
    assert cells["drop 0.3"] == f"{accuracy:.2f}"
    assert set(cells) == {"arm", "displace 0.2", "drop 0.3", "drop 0.6", "drop 1"}
    assert "![drop](page/robustness_drop.png)" in text


def test_a_run_that_is_trained_further_loses_the_tests_of_its_earlier_weights(runs, capsys):
    main(["robustness", str(runs), "--accelerator", "cpu", "--drop", "1", "--displace",
          "--low_scores"])
    resume = ["fit", "--ckpt_path", str(runs / "one/checkpoints/last.ckpt")]
    main(resume)  # there is nothing left to train
    assert (runs / "one/robustness/drop-1/result.json").is_file()
    (runs / "one/exported.json").write_text("{}")
    main([*resume, "--trainer.max_epochs", "3"])
    assert not (runs / "one/robustness").exists()
    assert not (runs / "one/exported.json").exists()
    assert "removed runs/one/robustness: " in capsys.readouterr().out


def test_mistakes(runs, capsys):
    assert "there is no trained run in elsewhere" in refusal(capsys, "robustness", "elsewhere")
    assert "`data.corrupt.level` must lie in 0..1, got 2" in refusal(
        capsys, "robustness", runs, "--drop", "2")
    assert "`data.corrupt.level` must lie in 0..1" in refusal(
        capsys, "test", "--ckpt_path", runs / "one/checkpoints/last.ckpt",
        "--data.corrupt", "{kind: drop, level: 3}")
