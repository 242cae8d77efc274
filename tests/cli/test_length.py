"""The default length of training, and settings that change it."""

from pathlib import Path

import pytest
import yaml
from commandline import refusal

from ptl_skel.cli.verbs import main
from ptl_skel.runs.length import Length
from ptl_skel.runs.record import read_metrics


@pytest.mark.parametrize(("clips", "epochs"), [(100, 600), (2000, 30), (2001, 30), (50_000, 30)])
def test_small_data_sets_are_trained_on_for_more_epochs(clips, epochs):
    assert Length(passes=30, clips=60_000).epochs(clips) == epochs


@pytest.mark.parametrize(("limit", "epochs"), [
    (["--length.passes", "2", "--length.clips", "30"], 3),  # 12 clips are trained on
    (["--length.passes", "4", "--length.clips", "30"], 4),
    (["--trainer.max_epochs", "1"], 1), (["--trainer.max_steps", "7"], 3),
    (["--length.passes", "2", "--length.clips", "30", "--trainer.max_time", "00:00:02:00"], 3)])
def test_a_limit_of_the_trainer_overrides_the_default_length(
        tiny_file, tiny_config, tmp_path, monkeypatch, capsys, limit, epochs):
    monkeypatch.chdir(tmp_path)
    config = yaml.safe_load(Path(tiny_config).read_text())
    config["trainer"]["max_epochs"] = None
    Path("config.yaml").write_text(yaml.safe_dump(config))
    main(["fit", "--config", "config.yaml", "--data.file", str(tiny_file), "--run_dir", "run",
          "--test_after_fit", "false", *limit])
    said = f"{epochs} epochs of 12 clips; shorten it with --trainer.max_epochs or --length.clips"
    assert (said in capsys.readouterr().out) == ("--trainer" not in limit[0])
    assert max(row["epoch"] for row in read_metrics(Path("run"))) == epochs - 1
    trained = yaml.safe_load(Path("run/config.yaml").read_text())["trainer"]
    assert trained["max_epochs"] == (None if "--trainer.max_steps" in limit else epochs)


def test_a_training_that_ends_early_gives_a_warning(tiny_file, tiny_config, tmp_path, monkeypatch,
                                                    capsys):
    """Its learning rate has not fallen to 0, and its weights are not averaged."""
    monkeypatch.chdir(tmp_path)
    main(["fit", "--config", str(tiny_config), "--data.file", str(tiny_file), "--run_dir", "run"])
    assert "ended after" not in capsys.readouterr().out
    main(["fit", "--config", str(tiny_config), "--data.file", str(tiny_file), "--run_dir", "timed",
          "--trainer.max_epochs", "3000", "--trainer.max_time", "00:00:00:01"])
    assert " of 9,000 steps" in capsys.readouterr().out


def test_endless_training_is_rejected(tiny_file, tiny_config, capsys):
    """Its learning rate would stay at the beginning of the schedule: 0, with a warm-up."""
    said = refusal(capsys, "fit", "--config", tiny_config, "--data.file", tiny_file,
                   "--trainer.max_epochs", "-1", "--trainer.max_time", "00:00:00:05")
    assert "--trainer.max_epochs -1 would train forever" in said


@pytest.mark.parametrize("option", ["--length.passes", "--length.clips"])
def test_lengths_must_be_positive(tiny_file, tiny_config, capsys, option):
    said = refusal(capsys, "fit", "--config", tiny_config, "--data.file", tiny_file, option, "0",
                   "--trainer.max_epochs", "null")
    assert said.startswith("--length.passes and --length.clips must be >= 1")
