"""Classes are matched by name: files may list them in another order, or only some of them."""

import csv
import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import CLASSES, CONFIG, tiny_clips, write_clips

from ptl_skel.__main__ import main
from ptl_skel.cli import outcome
from ptl_skel.runs.predictions import read_predictions
from ptl_skel.runs.record import read_result
from ptl_skel.skeletons import LAYOUTS, SkeletonLayout
from ptl_skel.storage import Clip

QUIET = ("--trainer.enable_progress_bar", "false")
MODEL = ("--model.backbone", "backbone.yaml", "--trainer.accelerator", "cpu", "--data.clip_len",
         "8", "--data.eval_size", "16", "--data.protocol", "cross")
"""Options that a test of weights needs; a checkpoint contains these settings."""


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(outcome, "measure", functools.partial(outcome.measure, seconds=0))
    Path("backbone.yaml").write_text(json.dumps(CONFIG["model"]["backbone"]))


@pytest.fixture
def best(finished_run):
    return str(finished_run / "checkpoints/best.ckpt")


def reordered(path, names, splits=None):
    """The tiny clips in a file that lists its classes in another order, perhaps fewer of them."""
    clips = [Clip(clip.id, clip.keypoints, clip.scores, clip.frame_size,
                  names.index(CLASSES[clip.label]), clip.subject)
             for clip in tiny_clips() if CLASSES[clip.label] in names]
    return str(write_clips(path, clips, class_names=tuple(names), splits=splits))


class TestCheckpoint:
    @pytest.mark.parametrize("verb", ["test", "validate"])
    def test_another_order_scores_the_same(self, best, tmp_path, finished_run, verb):
        main([verb, "--ckpt_path", best, "--run_dir", "same", *QUIET])
        file = reordered(tmp_path / "other.h5", CLASSES[::-1])
        main([verb, "--ckpt_path", best, "--data.file", file, "--run_dir", "other", *QUIET])
        one, other = read_predictions(Path("same")), read_predictions(Path("other"))
        assert other.class_names == one.class_names == CLASSES
        rows = [other.clip.index(clip) for clip in one.clip]
        assert other.label[rows].tolist() == one.label.tolist()
        np.testing.assert_allclose(other.probabilities[rows], one.probabilities, atol=1e-5)
        metrics = read_result(Path("same"))["metrics"]
        assert read_result(Path("other"))["metrics"] == pytest.approx(metrics, abs=1e-5)

    def test_predictions_carry_the_names_of_the_model(self, best, tmp_path):
        file = reordered(tmp_path / "subset.h5", ["around", "sideways"])
        main(["predict", "--ckpt_path", best, "--data.file", file, "--run_dir", "run", *QUIET])
        found = read_predictions(Path("run"))
        assert found.class_names == CLASSES
        assert [CLASSES[label] for label in found.label] == [
            clip.rsplit(" ", 2)[0] for clip in found.clip]

    def test_predictions_are_a_table_as_well(self, best, tiny_file, capsys):
        main(["predict", "--ckpt_path", best, "--data.file", str(tiny_file), "--run_dir", "run",
              *QUIET])
        found = read_predictions(Path("run"))
        with Path("run/predictions.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        assert rows == [["clip", "class", "probability"]] + [
            [clip, CLASSES[one.argmax()], f"{one.max():.4f}"]
            for clip, one in zip(found.clip, found.probabilities, strict=True)]
        printed = capsys.readouterr().out
        assert all(word in printed for word in (*rows[0], *rows[1], *rows[10], "and 14 more"))
        assert rows[11][0] not in printed

    def test_resumed_training_keeps_the_classes_of_the_checkpoint(self, finished_run, tmp_path):
        file = reordered(tmp_path / "other.h5", CLASSES[::-1])
        last = str(finished_run / "checkpoints/last.ckpt")
        main(["fit", "--ckpt_path", last, "--data.file", file, "--run_dir", "run",
              "--trainer.max_epochs", "3"])
        main(["fit", "--ckpt_path", last, "--run_dir", "same", "--trainer.max_epochs", "3"])
        names = [torch.load(f"{run}/checkpoints/last.ckpt")["ptl_skel"]["class_names"]
                 for run in ("run", "same")]
        assert names == [list(CLASSES)] * 2
        assert read_predictions(Path("run")).label.tolist() == read_predictions(
            Path("same")).label.tolist()

    def test_last_of_other_classes_is_refused(self, tiny_config, tiny_file, tmp_path, capsys):
        fit = ["fit", "--config", str(tiny_config), "--run_dir", "run"]
        main([*fit, "--data.file", str(tiny_file)])
        file = reordered(tmp_path / "other.h5", CLASSES[::-1])
        with pytest.raises(SystemExit):
            main([*fit, "--data.file", file, "--ckpt_path", "last"])
        assert "was trained on the classes sideways, up and down, around; " in (
            capsys.readouterr().err)


class TestWeightsOfARun:
    @pytest.mark.parametrize("verb", ["test", "predict"])
    def test_they_keep_their_classes(self, best, finished_run, tmp_path, verb):
        file = reordered(tmp_path / "other.h5", CLASSES[::-1])
        main([verb, "--init_from", best, "--data.file", file, "--run_dir", "run", *MODEL, *QUIET])
        found = read_predictions(Path("run"))
        assert found.class_names == CLASSES
        assert [CLASSES[label] for label in found.label] == [
            clip.rsplit(" ", 2)[0] for clip in found.clip]
        if verb == "test":
            main(["test", "--ckpt_path", best, "--data.file", file, "--run_dir", "same", *QUIET])
            metrics = read_result(Path("same"))["metrics"]
            assert read_result(Path("run"))["metrics"] == metrics

    def test_training_begins_with_the_head_in_the_order_of_the_file(self, best, tiny_config,
                                                                    tmp_path, capsys):
        file = reordered(tmp_path / "other.h5", CLASSES[::-1])
        main(["fit", "--config", str(tiny_config), "--data.file", file, "--init_from", best,
              "--model.optimizer.init_args.lr", "0", "--run_dir", "run"])
        assert "the head is reordered" in capsys.readouterr().out
        begun, trained = (torch.load(path)["state_dict"]["classifier.head.3.weight"]
                          for path in (best, "run/checkpoints/last.ckpt"))
        assert torch.equal(trained, begun.flip(0))

    @pytest.mark.parametrize("verb", ["fit", "test"])
    def test_another_layout_with_as_many_joints_is_refused(self, best, tiny_config, tmp_path,
                                                           capsys, verb):
        penn = LAYOUTS["penn13"]
        layout = SkeletonLayout("renamed", penn.joints[::-1], penn.limbs, penn.pairs)
        file = write_clips(tmp_path / "renamed.h5", tiny_clips(), layout=layout)
        arguments = ["--config", str(tiny_config)] if verb == "fit" else [*MODEL, *QUIET]
        with pytest.raises(SystemExit) as stopped:
            main([verb, *arguments, "--data.file", str(file), "--init_from", best, "--run_dir",
                  "run"])
        assert stopped.value.code == 2
        assert "was trained on the skeleton layout penn13" in capsys.readouterr().err
        assert not Path("run").exists()


def test_one_class_is_refused_before_training(tiny_config, tmp_path, capsys):
    file = write_clips(tmp_path / "one.h5", tiny_clips()[:8], class_names=CLASSES[:1])
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--config", str(tiny_config), "--data.file", str(file), "--run_dir", "run"])
    assert stopped.value.code == 2
    assert "one.h5 has only one class, 'sideways'; at least two are needed" in (
        capsys.readouterr().err)
    assert not Path("run").exists()
