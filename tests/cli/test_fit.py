"""`ptl-skel fit`: folders, checkpoints, validation and what is tested."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from commandline import QUIET, curve, same_weights, weights
from rich.progress import Progress
from stopping import LastEpochs
from tiny import CONFIG, tiny_clips, write_clips

from ptl_skel.cli import outcome
from ptl_skel.cli.verbs import main
from ptl_skel.runs.predictions import read_predictions
from ptl_skel.runs.record import read_metrics, read_result
from ptl_skel.storage import KeypointFile


class TestFit:
    def test_a_run_can_be_repeated_from_its_config(self, finished_run):
        main(["fit", "--config", str(finished_run / "config.yaml"), "--run_dir", "again"])
        assert same_weights(weights("again"), weights(finished_run))
        assert read_metrics(Path("again")) == read_metrics(finished_run)
        before, after = (yaml.safe_load((folder / "config.yaml").read_text())
                         for folder in (finished_run, Path("again")))
        assert before.pop("run_dir") != after.pop("run_dir")
        assert before == after

    def test_another_seed_gives_other_weights_of_the_same_split(self, fit, finished_run):
        fit("--seed_everything", "1", "--run_dir", "other")
        assert not same_weights(weights("other"), weights(finished_run))
        results = read_result(Path("other")), read_result(finished_run)
        assert [result["seed"] for result in results] == [1, 0]
        assert results[0]["data"] == results[1]["data"]

    def test_the_keypoints_are_recorded(self, finished_run, tiny_file):
        """A report distinguishes files of the same name by it."""
        recorded = read_result(finished_run)["data"]["fingerprint"]
        assert recorded == KeypointFile(tiny_file).fingerprint()

    def test_epochs_are_counted_from_1(self, tiny_file, tiny_config, monkeypatch):
        shown = []
        for name in ("add_task", "reset"):
            original = getattr(Progress, name)

            def note(self, *args, original=original, **kwargs):
                shown.extend(word for word in (*args, *kwargs.values()) if isinstance(word, str))
                return original(self, *args, **kwargs)
            monkeypatch.setattr(Progress, name, note)
        main(["fit", "--config", str(tiny_config), "--data.file", str(tiny_file), "--run_dir",
              "run", "--trainer.enable_progress_bar", "true"])
        epochs = [text.strip() for text in shown if text.startswith("Epoch")]
        assert epochs == ["Epoch 1/2", "Epoch 2/2"]

    def test_the_file_of_its_backbone_is_recorded(self, fit):
        """Unless flags change what is in it; also of a run that continues, and of its test."""
        fit("--run_dir", "given")
        Path("own.yaml").write_text(yaml.safe_dump(CONFIG["model"]["backbone"]))
        fit("--model.backbone", "own.yaml", "--run_dir", "run", "--trainer.max_epochs", "1")
        fit("--model.backbone", "backbone/conv1d.yaml", "--run_dir", "shipped",
            "--trainer.max_epochs", "1")
        fit("--model.backbone", "own.yaml", "--model.backbone.init_args.stem_width", "8",
            "--run_dir", "changed")
        Path("own.yaml").unlink()
        last = "run/checkpoints/last.ckpt"
        main(["fit", "--ckpt_path", last, "--trainer.max_epochs", "2"])
        main(["test", "--ckpt_path", last, *QUIET])
        assert {folder: read_result(Path(folder))["backbone_file"]
                for folder in ("given", "run", "run/test", "changed", "shipped")} == {
            "given": None, "run": "own.yaml", "run/test": "own.yaml", "changed": None,
            "shipped": "backbone/conv1d.yaml"}

    def test_a_folder_that_is_taken_gets_a_number(self, fit):
        for _ in range(3):
            fit("--trainer.max_epochs", "1", "--test_after_fit", "false")
        assert sorted(path.name for path in Path("runs").iterdir()) == [
            "tiny-cross", "tiny-cross-2", "tiny-cross-3"]
        assert read_result(Path("runs/tiny-cross"))["command"] == read_result(
            Path("runs/tiny-cross-3"))["command"]

    @pytest.mark.parametrize("val_fraction", ["0.1", "0"])
    def test_the_last_checkpoint_is_of_every_epoch(self, fit, val_fraction):
        LastEpochs.seen = []
        fit("--data.val_fraction", val_fraction, "--trainer.max_epochs", "5", "--run_dir", "run",
            "--trainer.callbacks+=stopping.LastEpochs")
        assert LastEpochs.seen == [-1, 0, 1, 2, 3]
        assert torch.load("run/checkpoints/last.ckpt")["epoch"] == 4

    def test_the_best_checkpoint_is_of_the_best_epoch(self, fit):
        fit("--trainer.max_epochs", "6", "--model.lr_batch_size", "4", "--seed_everything", "1",
            "--run_dir", "run")
        top1 = [row["val/top1"] for row in curve("run") if "val/top1" in row]
        assert len(set(top1)) > 1
        assert torch.load("run/checkpoints/best.ckpt")["epoch"] == top1.index(max(top1))
        assert read_result(Path("run"))["tested"] == "best.ckpt"

    def test_without_validation_the_last_checkpoint_is_tested(self, fit):
        fit("--data.val_fraction", "0", "--run_dir", "run")
        result = read_result(Path("run"))
        assert result["data"]["validation"] == "none"
        assert result["data"]["clips"] == {"train": 18, "val": 0, "test": 6}
        assert result["tested"] == "last.ckpt"
        assert not any(name.startswith("val/") for name in result["metrics"])
        assert [path.name for path in Path("run/checkpoints").iterdir()] == ["last.ckpt"]

    def test_validation_on_the_test_part_is_marked(self, fit):
        fit("--data.val_on_test", "true", "--run_dir", "run")
        result = read_result(Path("run"))
        assert result["data"]["validation"] == "test part"
        assert result["data"]["clips"] == {"train": 18, "val": 6, "test": 6}

    def test_there_is_no_test_if_it_is_turned_off_or_there_are_no_test_clips(self, fit, tmp_path):
        clips = tiny_clips()
        file = write_clips(tmp_path / "train.h5", clips,
                           splits={"cross": {"train": [clip.id for clip in clips]}})
        fit("--run_dir", "unasked", "--test_after_fit", "false")
        fit("--run_dir", "nothing", file=file)
        for run_dir in (Path("unasked"), Path("nothing")):
            result = read_result(run_dir)
            assert result["status"] == "finished"
            assert "tested" not in result
            predictions = read_predictions(run_dir)  # of the last validation
            assert len(predictions.clip) == result["data"]["clips"]["val"] > 0
            right = predictions.probabilities.argmax(1) == predictions.label
            assert right.mean() == pytest.approx(result["metrics"]["val/top1"])

    def test_without_a_test_and_validation_there_are_no_predictions(self, fit):
        fit("--run_dir", "run", "--test_after_fit", "false", "--data.val_fraction", "0")
        assert read_result(Path("run"))["status"] == "finished"
        assert not Path("run/predictions.npz").exists()

    def test_the_averaged_weights_are_tested(self, fit):
        fit("--model.average", "0.5", "--run_dir", "run")
        main(["test", "--ckpt_path", "run/checkpoints/best.ckpt", *QUIET])
        at_the_end, afterwards = read_result(Path("run")), read_result(Path("run/test"))
        for name, value in afterwards["metrics"].items():
            assert at_the_end["metrics"][name] == value
        checkpoint = torch.load("run/checkpoints/best.ckpt")
        assert not same_weights(checkpoint["state_dict"], checkpoint["current_model_state"])

    @pytest.mark.parametrize(("precision", "slowdown", "warned"), [
        ("bf16-mixed", 11.2, True), ("bf16-mixed", 0.5, False), ("32-true", 11.2, False)])
    def test_slow_bfloat16_gives_a_warning(self, fit, monkeypatch, capsys, precision, slowdown,
                                        warned):
        monkeypatch.setattr(outcome, "bfloat16_slowdown", lambda: slowdown)
        fit("--trainer.max_epochs", "1", "--trainer.precision", precision)
        said = capsys.readouterr().out
        assert ("in bfloat16" in said) == warned
        assert ("takes 11 times as long in bfloat16; --trainer.precision 32-true" in said) == warned

    def test_weights_and_biases_offline_by_default(self, tiny_file, tiny_config, monkeypatch,
                                                   tmp_path, capfd):
        import wandb

        for name in ("WANDB_MODE", "WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_DIR"):
            monkeypatch.delenv(name, raising=False)
        config = tmp_path / "default.yaml"
        config.write_text(json.dumps({name: value for name, value in CONFIG.items()
                                      if name != "wandb"}))
        folders = tmp_path / "first", tmp_path / "second"
        for folder in folders:  # one after the other in this process
            folder.mkdir()
            monkeypatch.chdir(folder)
            main(["fit", "--config", str(config), "--data.file", str(tiny_file), "--run_dir",
                  "run", "--trainer.max_epochs", "1"])
        said = capfd.readouterr()
        assert "wandb:" not in said.out + said.err
        wandb.teardown()  # its service may write on for a moment
        for folder in folders:
            mirrored, = (folder / "run/wandb").glob("offline-run-*")
            stored = next(mirrored.glob("run-*.wandb")).read_bytes()
            for logged in (b"val/top1", b"test/top1", b"gmacs", b"ptl_skel.backbones.VideoResNet"):
                assert logged in stored
            assert read_result(folder / "run")["status"] == "finished"
