import json
import math
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ptl_skel.atomic import write_text
from ptl_skel.errors import UserError
from ptl_skel.runs import environment
from ptl_skel.runs.callbacks import RunRecord
from ptl_skel.runs.environment import git_commit, machine, versions
from ptl_skel.runs.loggers import MetricsLogger
from ptl_skel.runs.predictions import Predictions, read_predictions, write_predictions
from ptl_skel.runs.record import read_metrics, read_result
from ptl_skel.storage import KeypointFile

TRAINER = SimpleNamespace(is_global_zero=True, current_epoch=0, sanity_checking=False,
                          callback_metrics={"val/top1": torch.tensor(0.5)})


def numbers(value):
    """All numbers in nested containers."""
    if isinstance(value, dict):
        return [number for item in value.values() for number in numbers(item)]
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, int | float) else []


class TestOfARun:
    def test_its_files(self, finished_run):
        assert {str(path.relative_to(finished_run)) for path in finished_run.rglob("*.*")} == {
            "config.yaml", "metrics.csv", "result.json", "predictions.npz",
            "checkpoints/last.ckpt", "checkpoints/best.ckpt"}

    def test_its_result(self, finished_run, tiny_file):
        result = read_result(finished_run)
        assert set(result) >= {
            "schema_version", "status", "command", "seed", "backbone", "init_from", "data", "model",
            "versions", "git_commit", "machine", "metrics", "training_seconds", "epochs", "tested"}
        assert result["status"] == "finished"
        assert result["command"].startswith("ptl-skel fit --config ")
        assert result["seed"] == 0
        assert result["epochs"] == 2
        assert result["tested"] == "best.ckpt"
        assert result["backbone"] == "ptl_skel.backbones.VideoResNet"
        assert result["data"] == {
            "file": str(tiny_file), "fingerprint": KeypointFile(tiny_file).fingerprint(),
            "dataset": "tiny", "source": "tests", "protocol": "cross",
            "layout": "penn13", "num_classes": 3, "clips": {"train": 12, "val": 6, "test": 6},
            "validation": "held-out subjects 8", "corruption": None}
        assert result["model"]["input_shape"] == [13, 8, 16, 16]
        weights = torch.load(finished_run / "checkpoints/last.ckpt")["state_dict"]
        learned = sum(value.numel() for name, value in weights.items()
                      if "running" not in name and "num_batches" not in name)
        assert result["model"]["params"] == learned
        assert set(result["metrics"]) == {
            *(f"{part}/{metric}" for part in ("val", "test")
              for metric in ("top1", "top5", "mean_class", "f1", "loss")),
            "train/loss", "train/top1"}
        found = numbers(result)
        assert len(found) > 20
        assert all(math.isfinite(number) for number in found)
        assert min(result["training_seconds"], *result["metrics"].values()) >= 0

    def test_its_learning_curve(self, finished_run):
        rows = read_metrics(finished_run)
        for name in ("train/loss", "train/top1", "val/top1", "val/loss"):
            assert [row["epoch"] for row in rows if name in row] == [0, 1]
        last = {name: value for row in rows for name, value in row.items()}
        metrics = read_result(finished_run)["metrics"]
        assert {name: last[name] for name in metrics} == pytest.approx(metrics)

    def test_its_predictions(self, finished_run, tiny_file):
        predictions = read_predictions(finished_run)
        file = KeypointFile(tiny_file)
        test = file.split("cross", "test")
        assert predictions.clip == tuple(file.ids[clip] for clip in test)
        assert predictions.label.tolist() == file.label[test].tolist()
        assert predictions.class_names == file.header.class_names
        np.testing.assert_allclose(predictions.probabilities.sum(1), 1, rtol=1e-5)
        top1 = (predictions.probabilities.argmax(1) == predictions.label).mean()
        assert top1 == pytest.approx(read_result(finished_run)["metrics"]["test/top1"])


class TestRunRecord:
    def record(self, tmp_path, rank=0):
        record = RunRecord({"seed": 1})
        (tmp_path / "run").mkdir(exist_ok=True)
        record.start(tmp_path / "run", "seed: 1\n", rank)
        return record

    def test_it_is_true_from_the_start(self, tmp_path):
        self.record(tmp_path)
        result = read_result(tmp_path / "run")
        assert result["status"] == "running"
        assert result["seed"] == 1
        assert (tmp_path / "run/config.yaml").read_text() == "seed: 1\n"

    @pytest.mark.parametrize(("error", "status", "why"), [
        (KeyboardInterrupt(), "interrupted", None),
        (RuntimeError("out of memory"), "failed", "RuntimeError: out of memory"),
        (UserError("no such thing"), "failed", "no such thing")])
    def test_it_records_that_a_run_ended_before_its_time(self, tmp_path, error, status, why):
        record = self.record(tmp_path)
        record.on_train_epoch_end(TRAINER, None)
        with pytest.raises(type(error)), record.watch():
            raise error
        result = read_result(tmp_path / "run")
        assert (result["status"], result["error"]) == (status, why)
        assert result["metrics"] == {"val/top1": 0.5}
        assert result["epochs"] == 1

    def test_time_continues_to_count_and_leaves_validation_out(self, tmp_path, monkeypatch):
        clock = iter([0.0, 2.0, 5.0, 100.0, 101.0])
        monkeypatch.setattr("time.perf_counter", lambda: next(clock))
        earlier = self.record(tmp_path)
        earlier.training_seconds = 40.0
        record = self.record(tmp_path)
        record.load_state_dict(earlier.state_dict())
        record.on_train_epoch_start(TRAINER, None)  # 0 s
        record.on_train_batch_end(TRAINER)  # 2 s
        record.on_train_batch_end(TRAINER)  # 5 s
        record.on_validation_end(TRAINER, None)  # until 100 s
        record.on_train_batch_end(TRAINER)  # 101 s
        record.update(status="finished")
        assert read_result(tmp_path / "run")["training_seconds"] == 46.0

    def test_other_processes_write_nothing(self, tmp_path):
        record = self.record(tmp_path, rank=1)
        record.on_train_epoch_end(TRAINER, None)
        record.update(status="finished")
        assert not list((tmp_path / "run").iterdir())

    def test_a_failure_of_another_process_is_recorded(self, tmp_path):
        first, second = self.record(tmp_path), self.record(tmp_path, rank=1)
        with pytest.raises(ZeroDivisionError), second.watch():
            raise ZeroDivisionError("here")
        with pytest.raises(RuntimeError), first.watch():
            raise RuntimeError("connection closed by peer")
        result = read_result(tmp_path / "run")
        assert (result["status"], result["error"]) == ("failed", "rank 1: ZeroDivisionError: here")


class TestReadingBack:
    def test_a_result_that_is_not_there(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="`ptl-skel fit` leaves one"):
            read_result(tmp_path)

    @pytest.mark.parametrize(("text", "message"), [
        ('{"schema_version": 1,', "is damaged"), ("", "is damaged"),
        ('{"schema_version": 99}', "is not a run record of schema version 1"),
        ("[1]", "is not a run record"), ("{}", "is not a run record")])
    def test_a_result_that_is_none(self, tmp_path, text, message):
        (tmp_path / "result.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            read_result(tmp_path)

    def test_predictions_come_back(self, tmp_path):
        probabilities = np.array([[0.25, 0.75], [1.0, 0.0]], np.float32)
        write_predictions(tmp_path / "predictions.npz", Predictions(
            ("a", "ü"), np.array([1, -1]), probabilities, ("no", "yes")))
        read = read_predictions(tmp_path)
        assert read.clip == ("a", "ü")
        assert read.label.tolist() == [1, -1]
        assert read.class_names == ("no", "yes")
        assert np.array_equal(read.probabilities, probabilities)
        assert [path.name for path in tmp_path.iterdir()] == ["predictions.npz"]

    def test_predictions_that_are_not_there(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="`ptl-skel test`"):
            read_predictions(tmp_path)

    @pytest.mark.parametrize("change", [
        {"clip": np.array(["a"])}, {"label": np.array([0, 2])}, {"label": np.array([0])},
        {"class_names": np.array(["no"])}, {"clip": np.array([{}, {}])}, {"label": None}])
    def test_predictions_that_are_none(self, tmp_path, change):
        arrays = {"clip": np.array(["a", "b"]), "label": np.array([0, 1]),
                  "probabilities": np.full((2, 2), 0.5), "class_names": np.array(["no", "yes"])}
        path = tmp_path / "predictions.npz"
        np.savez(path, **arrays)
        assert read_predictions(tmp_path).clip == ("a", "b")
        np.savez(path, **{name: value for name, value in {**arrays, **change}.items()
                          if value is not None})
        with pytest.raises(ValueError, match="is damaged"):
            read_predictions(tmp_path)

    @pytest.mark.parametrize("keep", [0, 10, 300])
    def test_predictions_cut_off(self, tmp_path, keep):
        path = tmp_path / "predictions.npz"
        write_predictions(path, Predictions(
            ("a",), np.array([0]), np.ones((1, 1), np.float32), ("only",)))
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(ValueError, match="is damaged"):
            read_predictions(tmp_path)

    def test_a_learning_curve_goes_on_after_the_epoch_it_is_taken_up_at(self, tmp_path):
        assert read_metrics(tmp_path) == []
        first = MetricsLogger(tmp_path, 0)
        for epoch in range(3):
            first.log_metrics({"epoch": epoch, "loss": 3.0 - epoch}, step=10 * epoch)
            first.save()
        second = MetricsLogger(tmp_path, 20)
        second.log_metrics({"epoch": 2, "top1": 0.5}, step=20)
        second.save()
        assert read_metrics(tmp_path) == [
            {"epoch": 0, "step": 0, "loss": 3}, {"epoch": 1, "step": 10, "loss": 2},
            {"epoch": 2, "step": 20, "top1": 0.5}]
        assert (tmp_path / "metrics.csv").read_text().splitlines()[1].startswith("0,")

    def test_a_run_anew_does_not_take_up_old_rows(self, tmp_path):
        first = MetricsLogger(tmp_path, 0)
        first.log_metrics({"epoch": 0, "loss": 1.0}, step=0)
        first.save()
        second = MetricsLogger(tmp_path, 0)
        second.log_metrics({"epoch": 0, "loss": 2.0}, step=0)
        second.save()
        assert read_metrics(tmp_path) == [{"epoch": 0, "step": 0, "loss": 2.0}]


class TestSurroundings:
    def test_a_text_is_written_whole(self, tmp_path):
        write_text(tmp_path / "a.txt", "one")
        write_text(tmp_path / "a.txt", "two")
        assert [path.read_text() for path in tmp_path.iterdir()] == ["two"]

    def test_versions_and_machine_can_be_stored(self):
        assert set(versions()) == {"python", "ptl_skel", "torch", "lightning", "torchmetrics",
                                   "numpy", "h5py"}
        assert versions()["torch"] == torch.__version__
        described = json.loads(json.dumps(machine()))
        assert described["cores"] >= 1
        assert described["threads"] == torch.get_num_threads()

    def test_the_commit_and_whether_there_are_changes(self, tmp_path, monkeypatch):
        def git(*arguments):
            subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
                           cwd=tmp_path, check=True, capture_output=True)

        code = tmp_path / "environment.py"
        code.write_text("code")
        monkeypatch.setattr(environment, "__file__", str(code))
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
        assert git_commit() is None
        (tmp_path / "a").write_text("1")
        git("init")
        git("add", "a")
        git("commit", "-m", "of another project, in whose folder the package is installed")
        assert git_commit() is None
        git("add", "environment.py")
        git("commit", "-m", "first")
        commit = git_commit()
        assert len(commit) == 40
        assert (tmp_path / "a").read_text() == "1"
        (tmp_path / "a").write_text("2")
        assert git_commit() == commit + "+"
