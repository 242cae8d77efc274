"""A run that fails or is refused reports it, in its record and to whoever started it."""

import json
import os
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from ptl_skel.cli import outcome
from ptl_skel.cli.verbs import main
from ptl_skel.runs.record import read_metrics, read_result

LAST = "run/checkpoints/last.ckpt"


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(outcome, "measure", partial(outcome.measure, seconds=0))
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture
def fit(tiny_file, tiny_config):
    def fit(*arguments):
        main(["fit", "--config", str(tiny_config), "--data.file", str(tiny_file), "--run_dir",
              "run", "--trainer.max_epochs", "1", *arguments])
    return fit


def refusal(capsys, command, *arguments):
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        command(*arguments)
    said = capsys.readouterr().err
    assert stopped.value.code == 2, said
    return said


class TestBugsKeepTheirTraceback:
    def test_in_a_backbone_of_the_users_own(self, fit):
        with pytest.raises(FileNotFoundError, match="a bug in forward"):
            fit("--model.backbone", "stopping.Faulty")
        result = read_result(Path("run"))
        assert result["status"] == "failed"
        assert result["error"] == "FileNotFoundError: a bug in forward"
        assert "stopping.py" in Path("run/error.txt").read_text()

    def test_in_a_constructor(self, fit):
        with pytest.raises(ValueError, match="a bug in a constructor"):
            fit("--model.backbone", "stopping.Faulty", "--model.backbone.init_args.where", "init")
        assert not Path("run").exists()

    def test_before_anything_is_trained(self, fit):
        with pytest.raises(RuntimeError, match="out of memory"):
            fit("--trainer.callbacks+=stopping.FailInSetup")
        assert read_result(Path("run"))["error"] == "RuntimeError: CUDA out of memory"
        assert "stopping.py" in Path("run/error.txt").read_text()

    def test_the_next_run_clears_the_error(self, fit):
        with pytest.raises(RuntimeError):
            fit("--trainer.callbacks+=stopping.FailInSetup")
        fit("--ckpt_path", "last")
        assert read_result(Path("run"))["status"] == "finished"
        assert not Path("run/error.txt").exists()

    def test_mistakes_show_it_with_debug(self, fit, capsys):
        wrong = "--model.backbone.init_args.stem_width", "wide"
        assert "Traceback" not in refusal(capsys, fit, *wrong)
        assert "Traceback" in refusal(capsys, fit, *wrong, "--debug")


class TestSettingsThatHadNoEffect:
    @pytest.mark.parametrize(("arguments", "said"), [
        (["--trainer.default_root_dir", "x"], "--run_dir"),
        (["--trainer.enable_checkpointing", "false"], "always keeps its last checkpoint"),
        (["--trainer.logger", "false"], "--wandb off"),
    ])
    def test_are_refused(self, fit, capsys, arguments, said):
        message = refusal(capsys, fit, *arguments)
        assert arguments[0] in message
        assert said in message

    def test_a_further_logger_is_used(self, fit):
        fit("--trainer.logger", "lightning.pytorch.loggers.CSVLogger",
            "--trainer.logger.save_dir", "mine")
        assert list(Path("mine").rglob("metrics.csv"))
        assert read_metrics(Path("run"))

    def test_a_model_summary_is_shown(self, fit, capsys, caplog):
        with caplog.at_level("INFO"):
            fit("--trainer.enable_model_summary", "true")
        assert "Trainable params" in capsys.readouterr().out + caplog.text

    def test_a_checkpoint_in_a_config_file_is_refused(self, fit, capsys):
        fit()
        Path("resume.yaml").write_text(json.dumps({"ckpt_path": LAST}))
        assert "`ckpt_path` in a config file" in refusal(capsys, fit, "--config", "resume.yaml")


class TestSeeds:
    @pytest.mark.parametrize("value", ["true", "false"])
    def test_any_seed_is_one_that_is_recorded(self, fit, tiny_file, tiny_config, value):
        fit("--seed_everything", value)
        seed = read_result(Path("run"))["seed"]
        config = yaml.safe_load(Path("run/config.yaml").read_text())
        assert type(seed) is int
        assert config["seed_everything"] == seed
        main(["fit", "--config", "run/config.yaml", "--run_dir", "again"])
        first, second = (torch.load(Path(run, "checkpoints/last.ckpt"))["state_dict"]
                         for run in ("run", "again"))
        assert all(torch.equal(first[name], second[name]) for name in first)


class TestRecord:
    def test_a_diverged_run_leaves_json(self, fit, capsys):
        fit("--model.optimizer.init_args.lr", "1e30", "--trainer.gradient_clip_val", "null",
            "--trainer.max_epochs", "3")

        def refuse(constant):
            raise AssertionError(f"{constant} is not JSON")

        stored = json.loads(Path("run/result.json").read_text(), parse_constant=refuse)
        assert stored["metrics"]["train/loss"] is None
        assert np.isnan(read_result(Path("run"))["metrics"]["train/loss"])
        assert (stored["status"], stored["diverged"]) == ("finished", 1)
        assert "warning: the training diverged: since epoch 1" in capsys.readouterr().out

    def test_a_sound_run_has_not_diverged(self, fit, capsys):
        fit()
        assert "diverged" not in read_result(Path("run"))
        assert "warning" not in capsys.readouterr().out

    def test_predictions_are_probabilities(self, fit):
        fit()
        with np.load("run/predictions.npz") as stored:
            assert set(stored) == {"clip", "label", "probabilities", "class_names"}

    def test_a_name_with_brackets_is_printed_as_it_is(self, fit, capsys):
        fit("--run_dir", "runs/a[lr]")
        assert "runs/a[lr]" in capsys.readouterr().out

    @pytest.mark.parametrize("callback", ["lightning.pytorch.callbacks.LearningRateMonitor",
                                          "stopping.LogsEveryStep"])
    def test_it_continues_after_callbacks_that_log_rows_without_an_epoch(self, fit, callback):
        own = "--trainer.callbacks", callback
        fit(*own)
        assert any("epoch" not in row for row in read_metrics(Path("run")))
        fit(*own, "--trainer.max_epochs", "2", "--ckpt_path", "last")
        rows = [row for row in read_metrics(Path("run")) if "train/loss" in row]
        assert [row["epoch"] for row in rows] == [0, 1]
        assert read_result(Path("run"))["status"] == "finished"

    def test_the_latency_is_measured_once_and_only_where_it_is_recorded(self, fit, monkeypatch):
        measured = []
        original = outcome.measure
        monkeypatch.setattr(outcome, "measure",
                            lambda *given: measured.append(given) or original(*given))
        fit()
        assert len(measured) == 1
        main(["predict", "--ckpt_path", LAST, "--trainer.enable_progress_bar", "false"])
        assert len(measured) == 1
        assert read_result(Path("run/predict"))["model"] is None


def test_a_finished_run_that_is_continued_keeps_its_record(fit):
    fit()
    before = read_result(Path("run"))
    fit("--ckpt_path", "last")
    after = read_result(Path("run"))
    assert after["metrics"] == before["metrics"]
    assert "val/top1" in after["metrics"]
    assert after["epochs"] == before["epochs"] == 1


def test_without_a_validation_so_far_the_last_checkpoint_is_tested(fit):
    fit("--trainer.check_val_every_n_epoch", "5")
    assert read_result(Path("run"))["tested"] == "last.ckpt"


@pytest.mark.parametrize(("arguments", "said"), [
    (["--seed_everything", "-1"], "--seed_everything must be true, or a number"),
    (["--trainer.accelerator", "foo"], "foo"), (["--trainer.strategy", "foo"], "foo"),
    (["--ckpt_path", "."], "is a folder; a checkpoint is a file"),
])
def test_more_mistakes_that_end_in_a_sentence(fit, capsys, arguments, said):
    assert said in refusal(capsys, fit, *arguments)
    assert not Path("run").exists()


@pytest.mark.parametrize("checkpoint", ["last", LAST])
def test_fewer_epochs_than_were_trained(fit, capsys, checkpoint):
    fit("--trainer.max_epochs", "3")
    before = Path("run/result.json").read_bytes()
    said = refusal(capsys, fit, "--ckpt_path", checkpoint, "--trainer.max_epochs", "2")
    assert said == ("ptl-skel: the checkpoint is from epoch 3, later than --trainer.max_epochs 2\n")
    assert Path("run/result.json").read_bytes() == before
    fit("--ckpt_path", checkpoint, "--trainer.max_epochs", "3")  # there is nothing left to train
    assert read_result(Path("run"))["status"] == "finished"


def test_the_folder_of_another_process_is_not_touched(fit, capsys):
    from ptl_skel.locks import lock_folder

    fit()
    before = Path("run/result.json").read_bytes()
    with lock_folder(Path("run"), "--run_dir"):
        said = refusal(capsys, fit, "--ckpt_path", "last", "--trainer.max_epochs", "2")
    assert f"another process ({os.getpid()}) is working in run;" in said
    assert Path("run/result.json").read_bytes() == before
