"""A checkpoint is enough to test and predict; unusable ones are rejected."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from commandline import QUIET, curve, refusal
from tiny import CLASSES, tiny_clips, write_clips

from ptl_skel.cli.verbs import main
from ptl_skel.runs.predictions import read_predictions
from ptl_skel.runs.record import read_result
from ptl_skel.skeletons import LAYOUTS
from ptl_skel.storage import KeypointFile


class TestCheckpointAlone:
    @pytest.fixture
    def run(self, finished_run):
        shutil.copytree(finished_run, "run")
        return Path("run")

    def test_it_is_enough_to_test(self, run):
        before = {path: path.read_bytes() for path in run.glob("*.*")}
        for number in ("", "-2"):
            main(["test", "--ckpt_path", "run/checkpoints/best.ckpt", *QUIET])
            tested = run / f"test{number}"
            result = read_result(tested)
            metrics = read_result(run)["metrics"]
            assert result["metrics"] == {name: value for name, value in metrics.items()
                                         if name.startswith("test/")}
            assert result["tested"] == "run/checkpoints/best.ckpt"
            one, other = read_predictions(tested), read_predictions(run)
            assert one.clip == other.clip
            np.testing.assert_array_equal(one.probabilities, other.probabilities)
        assert {path: path.read_bytes() for path in run.glob("*.*")} == before

    def test_if_the_flag_is_given_twice_the_last_one_counts(self, run):
        first, last = run / "checkpoints/best.ckpt", Path("other.ckpt")
        checkpoint = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
        checkpoint["ptl_skel"]["config"]["data"]["eval_size"] = 24
        torch.save(checkpoint, last)
        main(["test", "--ckpt_path", str(first), "--ckpt_path", str(last), "--run_dir", "tested",
              *QUIET])
        assert "eval_size: 24" in Path("tested/config.yaml").read_text()
        assert read_result(Path("tested"))["tested"] == "other.ckpt"

    def test_on_another_file_and_into_another_folder(self, run, tiny_file):
        shutil.copy(tiny_file, "copy.h5")
        main(["test", "--ckpt_path", "run/checkpoints/best.ckpt", "--data.file", "copy.h5",
              "--run_dir", "elsewhere", *QUIET])
        result = read_result(Path("elsewhere"))
        assert result["data"]["file"] == "copy.h5"
        assert result["metrics"]["test/loss"] == read_result(run)["metrics"]["test/loss"]
        assert not (run / "test").exists()

    def test_from_its_own_folder(self, run, monkeypatch):
        monkeypatch.chdir(run / "checkpoints")
        main(["test", "--ckpt_path", "best.ckpt", *QUIET])
        assert read_result(Path("..", "test"))["tested"] == "best.ckpt"
        main(["fit", "--ckpt_path", "last.ckpt", "--trainer.max_epochs", "3", *QUIET])
        assert {row["epoch"] for row in curve("..")} == {0, 1, 2}
        assert {path.name for path in Path().iterdir()} == {"best.ckpt", "last.ckpt"}

    def test_several_views(self, run):
        main(["test", "--ckpt_path", "run/checkpoints/best.ckpt", "--data.test_clips", "3",
              "--data.test_flip", "true", *QUIET])
        tested = read_predictions(run / "test")
        assert len(tested.clip) == 6
        assert not np.allclose(tested.probabilities, read_predictions(run).probabilities)

    def test_validate(self, run):
        main(["validate", "--ckpt_path", "run/checkpoints/best.ckpt", *QUIET])
        metrics = read_result(run / "validate")["metrics"]
        epoch = torch.load(run / "checkpoints/best.ckpt")["epoch"]
        then = next(row for row in curve(run) if row["epoch"] == epoch and "val/top1" in row)
        assert metrics == {name: then[name] for name in metrics}
        assert set(metrics) == {"val/top1", "val/top5", "val/mean_class", "val/f1",
                                "val/loss"}

    def test_predict_clips_without_labels_in_a_file_without_classes(self, run, tmp_path):
        file = write_clips(tmp_path / "unknown.h5", tiny_clips(labelled=False), class_names=(),
                           splits={})
        main(["predict", "--ckpt_path", "run/checkpoints/best.ckpt", "--data.file", str(file),
              "--data.protocol", "null", *QUIET])
        predicted, tested = read_predictions(run / "predict"), read_predictions(run)
        assert predicted.clip == tuple(KeypointFile(file).ids)
        assert predicted.label.tolist() == [-1] * 24
        assert predicted.class_names == CLASSES
        of_test = [predicted.clip.index(clip) for clip in tested.clip]
        np.testing.assert_allclose(predicted.probabilities[of_test], tested.probabilities,
                                   atol=1e-6)

    def test_predict_a_single_clip(self, run, tmp_path):
        file = write_clips(tmp_path / "one.h5", tiny_clips()[3:4], splits={})
        main(["predict", "--ckpt_path", "run/checkpoints/best.ckpt", "--data.file", str(file),
              "--data.protocol", "null", *QUIET])
        assert read_predictions(run / "predict").probabilities.shape == (1, 3)


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm",)


class TestBadCheckpoints:
    @pytest.fixture
    def last(self, finished_run):
        Path("run/checkpoints").mkdir(parents=True)
        return Path(shutil.copy(finished_run / "checkpoints/last.ckpt", "run/checkpoints"))

    @pytest.mark.parametrize("verb", ["fit", "test"])
    @pytest.mark.parametrize("keep", [0, 100, 0.5, 0.99])
    def test_truncated(self, capsys, last, verb, keep):
        content = last.read_bytes()
        last.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
        assert f"{last} is not a checkpoint: " in refusal(capsys, verb, "--ckpt_path", last)

    def test_truncated_last_of_a_run(self, capsys, last, tiny_file, tiny_config):
        last.write_bytes(last.read_bytes()[:1000])
        said = refusal(capsys, "fit", "--config", tiny_config, "--data.file", tiny_file,
                       "--run_dir", "run", "--ckpt_path", "last")
        assert f"{last} is not a checkpoint: " in said
        assert len(last.read_bytes()) == 1000

    @pytest.mark.parametrize("verb", ["fit", "test"])
    def test_code_in_a_checkpoint_is_not_run(self, capsys, last, verb):
        content = {**torch.load(last), "harm": Harmful()}
        torch.save(content, last)
        assert "is not a checkpoint" in refusal(capsys, verb, "--ckpt_path", last)
        last.write_bytes(pickle.dumps(content))
        assert "is not a checkpoint" in refusal(capsys, verb, "--ckpt_path", last)
        assert not Path("harm").exists()
        pickle.loads(last.read_bytes())
        assert Path("harm").exists()  # code that would have run without the check

    @pytest.mark.parametrize("content", [
        {"state_dict": {}}, {"state_dict": {}, "epoch": 1}, [1, 2], torch.zeros(2),
        {"ptl_skel": 3, "epoch": 0, "state_dict": {}}])
    def test_of_another_program(self, capsys, content):
        torch.save(content, "foreign.ckpt")
        for verb in ("fit", "test"):
            assert refusal(capsys, verb, "--ckpt_path", "foreign.ckpt") == (
                "foreign.ckpt was not written by `ptl-skel fit`")

    def test_absent(self, capsys):
        for verb in ("fit", "test"):
            assert "checkpoint absent.ckpt does not exist" in refusal(
                capsys, verb, "--ckpt_path", "absent.ckpt")

    @pytest.mark.parametrize("verb", ["fit", "test", "predict"])
    def test_of_another_layout(self, capsys, last, tmp_path, verb):
        layout = LAYOUTS["coco17"]
        file = write_clips(tmp_path / "coco.h5", tiny_clips(layout), layout=layout)
        said = refusal(capsys, verb, "--ckpt_path", last, "--data.file", file)
        assert "was trained on the skeleton layout penn13" in said
        assert "coco.h5 has coco17" in said

    def test_of_other_classes(self, capsys, last, tmp_path):
        clips = tiny_clips()[:8]
        file = write_clips(tmp_path / "two.h5", clips, class_names=("one", "other"), splits={
            "cross": {"test": [clip.id for clip in clips]}})
        said = refusal(capsys, "test", "--ckpt_path", last, "--data.file", file)
        assert "has clips of 'one', which the model does not know; its classes are " in said
        assert not Path("run/test").exists()
        main(["predict", "--ckpt_path", str(last), "--data.file", str(file), *QUIET])
        assert ("has clips of 'one', which the model does not know; these labels are ignored"
                in capsys.readouterr().out)
        assert (read_predictions(Path("run/predict")).label == -1).all()

    @pytest.mark.parametrize("verb", ["fit", "test"])
    def test_of_another_model(self, capsys, last, verb):
        said = refusal(capsys, verb, "--ckpt_path", last,
                       "--model.backbone.init_args.widths", "[4, 16]")
        assert "the weights of the checkpoint do not fit the model: classifier." in said
