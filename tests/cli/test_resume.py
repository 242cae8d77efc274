"""A resumed run ends like one that was never interrupted."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from commandline import ALL_VARIED, curve, same_weights, weights

from ptl_skel.cli.verbs import main
from ptl_skel.runs.record import read_metrics, read_result


class TestResume:
    @pytest.fixture
    def interrupted(self, fit):
        """A run that ended in its third epoch, and what it had written by then."""
        with pytest.raises(SystemExit) as stopped:
            fit(*ALL_VARIED, "--run_dir", "run", "--trainer.callbacks+=stopping.StopInThirdEpoch")
        assert stopped.value.code != 0
        result = read_result(Path("run"))
        assert result["status"] == "interrupted"
        assert result["epochs"] == 2
        return read_metrics(Path("run"))

    @pytest.mark.parametrize("how", ["last", "path"])
    def test_it_ends_like_an_uninterrupted_run(self, fit, interrupted, how, capsys):
        assert [row["epoch"] for row in interrupted if "val/top1" in row] == [0, 1]
        fit(*ALL_VARIED, "--run_dir", "whole")
        if how == "last":
            fit(*ALL_VARIED, "--run_dir", "run", "--ckpt_path", "last")
        else:
            main(["fit", "--ckpt_path", "run/checkpoints/last.ckpt", "--trainer.callbacks", "null"])
        for name in ("last", "best"):
            assert same_weights(weights("run", name), weights("whole", name))
        rows = read_metrics(Path("run"))
        assert rows[: len(interrupted)] == interrupted
        assert rows == read_metrics(Path("whole"))
        results = read_result(Path("run")), read_result(Path("whole"))
        assert results[0]["status"] == "finished"
        assert results[0]["metrics"] == results[1]["metrics"]
        assert not Path("run-2").exists()

    def test_averaged_weights_too(self, fit):
        averaged = [*ALL_VARIED, "--model.average", "0.5"]
        fit(*averaged, "--run_dir", "whole")
        with pytest.raises(SystemExit):
            fit(*averaged, "--run_dir", "run", "--trainer.callbacks+=stopping.StopInThirdEpoch")
        fit(*averaged, "--run_dir", "run", "--ckpt_path", "last")
        assert same_weights(weights("run"), weights("whole"))

    def test_with_workers_too(self, fit):
        workers = "--data.num_workers", "2"
        fit(*ALL_VARIED, "--run_dir", "whole")
        with pytest.raises(SystemExit):
            fit(*ALL_VARIED, *workers, "--run_dir", "run",
                "--trainer.callbacks+=stopping.StopInThirdEpoch")
        fit(*ALL_VARIED, *workers, "--run_dir", "run", "--ckpt_path", "last")
        assert same_weights(weights("run"), weights("whole"))

    def test_with_the_keypoints_on_the_device_too(self, fit):
        fit(*ALL_VARIED, "--run_dir", "whole")
        with pytest.raises(SystemExit):
            fit(*ALL_VARIED, "--data.on_device", "true", "--run_dir", "run",
                "--trainer.callbacks+=stopping.StopInThirdEpoch")
        fit(*ALL_VARIED, "--data.on_device", "true", "--run_dir", "run", "--ckpt_path", "last")
        assert same_weights(weights("run"), weights("whole"))

    def test_resumed_from_an_earlier_checkpoint_it_drops_what_it_repeats(self, fit):
        fit("--run_dir", "run", "--trainer.max_epochs", "3")
        shutil.copy("run/checkpoints/last.ckpt", "third.ckpt")
        rows = read_metrics(Path("run"))
        first = torch.load("run/checkpoints/best.ckpt")["epoch"]
        assert first < 2
        main(["fit", "--ckpt_path", "run/checkpoints/best.ckpt"])
        assert read_metrics(Path("run")) == rows
        assert same_weights(torch.load("third.ckpt")["state_dict"], weights("run"))

    def test_resumed_in_another_folder_it_overwrites_nothing(self, fit):
        fit("--run_dir", "run")
        fit("--run_dir", "other", "--seed_everything", "1")
        before = weights("other")
        main(["fit", "--ckpt_path", "run/checkpoints/last.ckpt", "--run_dir", "other"])
        assert same_weights(weights("other"), before)
        assert Path("other-2").is_dir()

    def test_ckpt_path_last_without_a_run_starts_one(self, fit, finished_run):
        fit("--run_dir", "run", "--ckpt_path", "last")
        assert same_weights(weights("run"), weights(finished_run))

    def test_ctrl_c_while_fitting(self, tiny_file, tiny_config):
        command = [sys.executable, "-m", "ptl_skel", "fit", "--config", str(tiny_config),
                   "--data.file", str(tiny_file), "--run_dir", "run",
                   "--trainer.max_epochs", "100000"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as process:
            deadline = time.monotonic() + 120
            while len(curve("run")) < 4 and time.monotonic() < deadline:
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            said, errors = process.communicate(timeout=120)
        assert process.returncode not in (0, None)
        assert "Traceback" not in errors
        assert "`ptl-skel fit --ckpt_path run/checkpoints/last.ckpt` continues" in said
        assert read_result(Path("run"))["status"] == "interrupted"
        epoch = torch.load("run/checkpoints/last.ckpt")["epoch"]
        rows = [row for row in curve("run") if row["epoch"] <= epoch]
        assert [row["epoch"] for row in rows if "train/loss" in row] == list(range(epoch + 1))
        main(["fit", "--ckpt_path", "run/checkpoints/last.ckpt",
              "--trainer.max_epochs", str(epoch + 2)])
        assert read_result(Path("run"))["status"] == "finished"
        assert curve("run")[: len(rows)] == rows
        assert torch.load("run/checkpoints/last.ckpt")["epoch"] == epoch + 1
