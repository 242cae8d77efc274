"""Calibrated checkpoints: their probabilities, and the threshold of labels."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from commandline import refusal

from ptl_skel.cli import calibrate
from ptl_skel.cli.calibrate import predict_validation
from ptl_skel.cli.lightning import load_trained
from ptl_skel.cli.verbs import main
from ptl_skel.data.datamodule import KeypointDataModule
from ptl_skel.runs.checkpoints import CALIBRATION, read_record
from ptl_skel.training.calibration import (
    calibration_error,
    choose_threshold,
    error_on_other_half,
    fit_temperature,
)

HELD_OUT = ["--data.val_fraction", "0.5"]


@pytest.fixture(scope="module")
def run(tiny_file, tiny_config, tmp_path_factory):
    """A run of the tiny network with validation clips, of which it gets some wrong."""
    folder = tmp_path_factory.mktemp("calibrate") / "run"
    main(["fit", "--config", str(tiny_config), "--data.file", str(tiny_file), "--run_dir",
          str(folder), "--trainer.max_epochs", "1", *HELD_OUT])
    return folder / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="module")
def calibrated(run):
    """The calibrated checkpoint of that run."""
    main(["calibrate", "--ckpt_path", str(run), "--precision", "0.01"])
    return run.with_name("calibrated.ckpt")


class TestCheckpoint:
    def test_its_probabilities_are_the_best_that_a_temperature_gives(self, run, calibrated):
        logits, label, _ = predict_validation(*load_trained(["--ckpt_path", str(run)]))
        after, _, _ = predict_validation(*load_trained(["--ckpt_path", str(calibrated)]))
        facts = read_record(calibrated)[CALIBRATION]
        expected = (logits / facts["temperature"]).log_softmax(1)
        torch.testing.assert_close(after, expected, atol=1e-4, rtol=1e-4)
        assert torch.equal(after.argmax(1), logits.argmax(1))
        fitted = F.nll_loss(after, label)
        for factor in (0.9, 1.1):
            assert F.cross_entropy(after * factor, label) >= fitted - 1e-6
        assert facts["clips"] == len(label)

    def test_the_exported_file_and_live_use_its_threshold(self, calibrated, tmp_path):
        onnx = pytest.importorskip("onnx")
        pytest.importorskip("onnxscript")
        from ptl_skel.cli.recognition import make_threshold
        from ptl_skel.live.labels import MIN_PROBABILITY
        from ptl_skel.live.people import People, Settings
        from ptl_skel.skeletons import SkeletonLayout

        main(["export", "--ckpt_path", str(calibrated), "--out", str(tmp_path / "model.onnx")])
        loaded = onnx.load(tmp_path / "model.onnx")
        texts = [json.loads(each.value) for each in loaded.metadata_props
                 if each.value.startswith("{")]
        facts = read_record(calibrated)[CALIBRATION]
        assert any(text.get("calibration") == facts for text in texts)
        layout = SkeletonLayout.from_mapping(
            next(text for text in texts if "layout" in text)["layout"])
        people = People(tmp_path / "model.onnx", layout, Settings())
        assert people.min_probability == facts["min_probability"] != MIN_PROBABILITY
        for given, expected in ((None, facts["min_probability"]), (0.9, 0.9)):
            options = SimpleNamespace(min_probability=given)
            assert make_threshold(options, people).probability == expected

    def test_few_clips_are_reported(self, run, tmp_path, capsys, monkeypatch):
        assert self.summary(run, tmp_path / "few.ckpt", capsys).count("uncertain") == 1
        monkeypatch.setattr(calibrate, "FEW", 2)
        assert "uncertain" not in self.summary(run, tmp_path / "many.ckpt", capsys)

    @staticmethod
    def summary(run, out, capsys):
        capsys.readouterr()
        main(["calibrate", "--ckpt_path", str(run), "--out", str(out)])
        return capsys.readouterr().out

    def test_one_clip_is_not_enough(self, run, tmp_path, capsys, monkeypatch):
        part = KeypointDataModule.part
        monkeypatch.setattr(KeypointDataModule, "part", lambda *where: part(*where)[:1])
        assert "only one validation clip" in refusal(
            capsys, "calibrate", "--ckpt_path", run, "--out", tmp_path / "one.ckpt")

    @pytest.mark.parametrize(("wrong", "message"), [
        (0, "all 6 predictions are right"),
        (1, "only 1 of 6 predictions are wrong, none of them for one half of the clips")])
    def test_too_few_wrong_predictions(self, run, tmp_path, capsys, monkeypatch, wrong, message):
        label = torch.arange(6) % 2
        logits = F.one_hot(label).float()
        logits[:wrong] = logits[:wrong].flip(1)
        monkeypatch.setattr(calibrate, "predict_validation",
                            lambda *_: (logits, label, torch.arange(6).numpy()))
        assert message in refusal(capsys, "calibrate", "--ckpt_path", run, "--out",
                                  tmp_path / "few.ckpt")

    def test_training_does_not_continue_from_it(self, calibrated, capsys):
        assert "is calibrated" in refusal(capsys, "fit", "--ckpt_path", calibrated)

    def test_it_is_not_calibrated_twice_nor_overwritten(self, run, calibrated, capsys):
        other = run.with_name("other.ckpt")
        assert "already calibrated" in refusal(
            capsys, "calibrate", "--ckpt_path", calibrated, "--out", other)
        assert "--overwrite" in refusal(capsys, "calibrate", "--ckpt_path", run)
        assert not other.exists()

    def test_a_network_that_diverged_is_refused(self, run, tmp_path, capsys):
        checkpoint = torch.load(run)
        next(iter(checkpoint["state_dict"].values())).fill_(torch.nan)
        torch.save(checkpoint, tmp_path / "diverged.ckpt")
        assert "the training diverged" in refusal(
            capsys, "calibrate", "--ckpt_path", tmp_path / "diverged.ckpt")

    @pytest.mark.parametrize(("trained", "way_out"), [
        (["--data.val_fraction", "0"], "--data.val_fraction 0.2"),
        (["--data.val_on_test", "true"], "--data.val_on_test false")])
    def test_it_needs_clips_held_out_of_training_and_test(self, trained, way_out, tiny_file,
                                                          tiny_config, tmp_path, capsys):
        main(["fit", "--config", str(tiny_config), "--data.file", str(tiny_file), "--run_dir",
              str(tmp_path / "run"), "--trainer.max_epochs", "1", *trained])
        checkpoint = tmp_path / "run/checkpoints/last.ckpt"
        assert way_out in refusal(capsys, "calibrate", "--ckpt_path", checkpoint)
        assert not checkpoint.with_name("calibrated.ckpt").exists()

    @pytest.mark.parametrize("option", ["val_fraction", "val_seed", "val_on_test", "protocol"])
    def test_which_clips_were_held_out_cannot_be_changed(self, option, run, tmp_path, capsys):
        assert f"--data.{option}" in refusal(capsys, "calibrate", "--ckpt_path", run, "--out",
                                             tmp_path / "out.ckpt", f"--data.{option}", "1")

    def test_the_keypoint_file_may_have_moved(self, run, calibrated, tiny_file, tmp_path):
        moved = tmp_path / "moved.h5"
        shutil.copy(tiny_file, moved)
        main(["calibrate", "--ckpt_path", str(run), "--out", str(tmp_path / "out.ckpt"),
              "--data.file", str(moved), "--precision", "0.01"])
        assert (read_record(tmp_path / "out.ckpt")[CALIBRATION]
                == read_record(calibrated)[CALIBRATION])


class TestTemperature:
    def test_it_is_found_again(self):
        """Labels that are sampled from probabilities show by how much logits are too large."""
        generator = torch.Generator().manual_seed(0)
        logits = torch.randn(20_000, 6, generator=generator) * 2
        label = torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)
        assert fit_temperature(logits * 3, label) == pytest.approx(3, rel=0.05)
        too_sure = calibration_error((logits * 3).softmax(1), label)
        half = torch.arange(len(label)) % 2 == 0
        assert error_on_other_half(logits * 3, label, half) < 0.02 < too_sure

    def test_the_threshold_has_the_precision(self):
        probability = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5])
        right = torch.tensor([True, True, False, True, False])
        assert choose_threshold(probability, right, 0.75) == pytest.approx((0.6, 0.8))
        assert choose_threshold(probability, right, 1.0) == pytest.approx((0.8, 0.4))
        assert choose_threshold(probability, ~right, 1.0) is None

    def test_predictions_of_equal_probability_are_on_the_same_side_of_the_threshold(self):
        probability = torch.tensor([0.9, 0.8, 0.8, 0.8])
        right = torch.tensor([True, True, False, False])
        assert choose_threshold(probability, right, 1.0) == pytest.approx((0.9, 0.25))
