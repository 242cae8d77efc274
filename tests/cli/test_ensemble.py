"""Fusing predictions: matching clips, searching weights, and mistakes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ptl_skel.__main__ import main
from ptl_skel.cli.ensemble import fuse, search
from ptl_skel.runs.predictions import Predictions, read_predictions, write_predictions

NAMES = ("a", "b", "c")
LABEL = [0, 1, 2, 0]
# Each model is certain where the other is uncertain.
ONE = [[0.9, 0.1, 0], [0.2, 0.7, 0.1], [0.4, 0.35, 0.25], [0.3, 0.4, 0.3]]
OTHER = [[0.3, 0.4, 0.3], [0.3, 0.4, 0.3], [0, 0.2, 0.8], [0.8, 0.1, 0.1]]


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name, probabilities, label=LABEL, ids=None, class_names=NAMES):
    path = Path(name)
    if path.suffix != ".npz":
        path.mkdir()
        path = path / "predictions.npz"
    ids = [f"clip{i}" for i in range(len(label))] if ids is None else ids
    write_predictions(path, Predictions(tuple(ids), np.array(label),
                                        np.array(probabilities, np.float32), class_names))
    return name


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main(["ensemble", *arguments])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


class TestFusion:
    def test_each_and_the_mean_are_reported_and_written(self, capsys):
        write("joint", ONE)
        write("limb.npz", OTHER)
        main(["ensemble", "joint", "limb.npz", "--out", "both/fused.npz"])
        said = capsys.readouterr().out
        for row, top1 in (("joint", "50.00 %"), ("limb.npz", "75.00 %"), ("fused", "100.00 %")):
            line, = (line for line in said.splitlines() if row in line)
            assert next(cell.strip() for cell in line.split("│") if "%" in cell) == top1
        fused = read_predictions(Path("both/fused.npz"))
        np.testing.assert_allclose(fused.probabilities, (np.array(ONE) + OTHER) / 2, atol=1e-6)
        assert fused.label.tolist() == LABEL
        assert fused.class_names == NAMES
        record = json.loads(Path("both/fused.json").read_text())
        assert record == {"predictions": ["joint", "limb.npz"], "weights": [0.5, 0.5],
                          "metrics": dict.fromkeys(("top1", "top5", "mean_class", "f1"), 1.0)}

    def test_mean_class_accuracy_and_f1_by_hand(self, capsys):
        write("joint", ONE)
        main(["ensemble", "joint", "--out", "fused.npz"])
        metrics = json.loads(Path("fused.json").read_text())["metrics"]
        # Predicted are a b a b, right are a b c a.
        assert metrics["mean_class"] == pytest.approx((1 / 2 + 1 + 0) / 3)
        assert metrics["f1"] == pytest.approx((1 / 2 + 2 / 3 + 0) / 3)
        line, = (line for line in capsys.readouterr().out.splitlines() if "joint" in line)
        shown = [cell.strip() for cell in line.split("│") if "%" in cell]
        assert shown == [f"{100 * metrics[name]:.2f} %"
                         for name in ("top1", "top5", "mean_class", "f1")]

    def test_clips_are_matched_by_their_ids(self):
        write("joint", ONE)
        write("limb", OTHER[::-1], LABEL[::-1], [f"clip{i}" for i in (3, 2, 1, 0)])
        main(["ensemble", "joint", "limb", "--weights", "1", "3", "--out", "fused.npz"])
        fused = read_predictions(Path("fused.npz"))
        assert fused.clip == ("clip0", "clip1", "clip2", "clip3")
        expected = (np.array(ONE) + 3 * np.array(OTHER)) / 4
        np.testing.assert_allclose(fused.probabilities, expected, atol=1e-6)

    def test_three_models_and_one_model(self):
        probabilities = torch.rand(3, 5, 4).softmax(2)
        torch.testing.assert_close(fuse(probabilities, [1, 1, 1]), probabilities.mean(0))
        torch.testing.assert_close(fuse(probabilities, [0, 2, 0]), probabilities[1])
        torch.testing.assert_close(fuse(probabilities, [1, 2, 5]).sum(1), torch.ones(5))

    def test_clips_without_labels_do_not_count(self, capsys):
        write("joint", ONE, [0, 1, -1, -1])
        main(["ensemble", "joint"])
        assert capsys.readouterr().out.count("100.00 %") == 8
        write("blind", ONE, [-1] * 4)
        main(["ensemble", "blind"])
        assert "%" not in capsys.readouterr().out


class TestSearch:
    def test_the_better_model_gets_a_larger_weight(self):
        random = np.random.default_rng(0)
        label = torch.from_numpy(random.integers(0, 5, 200))
        right = torch.nn.functional.one_hot(label, 5).float()
        good, bad = ((strength * right + torch.from_numpy(random.normal(size=(200, 5))))
                     .softmax(1).float() for strength in (2.5, 0.3))
        stack = torch.stack([bad, good])
        weights = search(stack, label)
        assert weights[1] > weights[0]
        hits = [(fuse(stack, w).argmax(1) == label).sum() for w in (weights, [1, 1])]
        assert hits[0] >= hits[1]

    def test_equal_weights_are_kept_if_no_others_are_better(self):
        probabilities = torch.eye(3).expand(2, 3, 3)
        assert search(probabilities, torch.arange(3)) == [1, 1]

    def test_weights_are_searched_on_validation_clips(self, capsys):
        for name in ("joint", "limb"):
            write(name, ONE if name == "joint" else OTHER)
            # In validation the joints are always wrong.
            correct = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
            write(f"{name}-val", (correct if name == "limb" else correct[:, [1, 2, 0]]).tolist(),
                  ids=["v0", "v1", "v2", "v3"])
        main(["ensemble", "joint", "limb", "--search", "joint-val", "limb-val", "--out", "f.npz"])
        np.testing.assert_allclose(read_predictions(Path("f.npz")).probabilities, OTHER, atol=1e-6)
        assert "0.00" in capsys.readouterr().out


class TestMistakes:
    def test_each_is_reported_in_a_sentence(self, capsys):
        write("joint", ONE)
        write("limb", OTHER)
        write("fewer", OTHER[:3], LABEL[:3])
        write("relabelled", OTHER, [0, 1, 2, 1])
        write("renamed", OTHER, class_names=("a", "b", "x"))
        write("diverged", np.full((4, 3), np.nan))
        write("logits", np.log(np.array(ONE) + 0.1))
        write("twice", OTHER, ids=["clip0", "clip1", "clip2", "clip2"])
        Path("taken.npz").touch()
        Path("noted.json").touch()
        for arguments, message in [
                (["joint", "absent"], "absent does not exist; give the folder of a run"),
                (["joint", "taken.npz"], "taken.npz is damaged"),
                (["joint", "fewer"], "1 are in only one of them, e.g. clip3"),
                (["joint", "relabelled"], "relabelled has other labels than joint"),
                (["joint", "renamed"], "renamed has other classes than joint"),
                (["twice", "joint"], "twice holds a clip twice"),
                (["joint", "limb", "--weights", "1"], "must be 2 numbers >= 0"),
                (["joint", "limb", "--weights", "0", "0"], "not all 0"),
                (["--weights", "1", "2", "joint", "limb"], "--weights takes numbers, got 'joint'; "
                 "arguments that are not for --weights come before it"),
                (["--search", "joint", "limb", "joint", "limb"], "RUN_OR_NPZ is missing; give it "
                 "before options that take several values (--weights, --search)"),
                (["joint", "limb", "--weights", "1", "nan"], "must be 2 numbers >= 0"),
                (["joint", "limb", "--weights", "1e308", "1e308"], "must be 2 numbers >= 0"),
                (["joint", "diverged"], "diverged has probabilities that are not finite"),
                (["joint", "logits"], "damaged: its probabilities must lie in 0..1"),
                (["joint", "limb", "--search", "joint"], "of the same 2 models, got 1"),
                (["joint", "limb", "--search", "joint", "limb"], "4 clips of --search are among "),
                (["joint", "limb", "--out", "both"], "must end in .npz, got both"),
                (["joint", "limb", "--out", "taken.npz"], "taken.npz exists"),
                (["joint", "limb", "--out", "noted.npz"], "noted.json exists")]:
            assert message in refusal(capsys, *arguments)

    @pytest.mark.parametrize("change", [
        {"clip": np.arange(4)}, {"clip": np.full((4, 2), "a"), "label": np.zeros((4, 2), int)},
        {"label": np.array(LABEL) + 0.5}, {"probabilities": np.array(ONE).astype(str)},
        {"probabilities": np.ones((4, 3), int)}, {"probabilities": np.array(ONE) + 0j}])
    def test_arrays_of_another_program(self, capsys, change):
        write("joint.npz", ONE)
        with np.load("joint.npz") as file:
            np.savez("changed.npz", **{**file, **change})
        assert "changed.npz is damaged" in refusal(capsys, "joint.npz", "changed.npz")

    def test_arrays_in_another_precision_or_byte_order(self):
        write("joint.npz", ONE)
        with np.load("joint.npz") as file:
            np.savez("same.npz", **{**file, "probabilities": np.array(ONE, ">f8"),
                                    "label": np.array(LABEL, ">i2")})
        main(["ensemble", "joint.npz", "same.npz", "--out", "fused.npz"])
        np.testing.assert_allclose(read_predictions(Path("fused.npz")).probabilities, ONE,
                                   atol=1e-6)

    def test_weights_are_given_or_searched(self, capsys):
        assert "not allowed with" in refusal(capsys, "a", "--weights", "1", "--search", "b")
