import functools
import inspect
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml
from stopping import LastEpochs
from tiny import CLASSES, CONFIG, tiny_clips, write_clips

from ptl_skel.cli import lightning as cli
from ptl_skel.cli import outcome
from ptl_skel.cli.verbs import VERBS, main
from ptl_skel.configs import CONFIGS
from ptl_skel.runs.predictions import read_predictions
from ptl_skel.runs.record import read_metrics, read_result
from ptl_skel.skeletons import LAYOUTS
from ptl_skel.storage import KeypointFile

BACKBONES = sorted(path.stem for path in (CONFIGS / "backbone").glob("*.yaml"))
EXPERIMENTS = sorted(path.stem for path in (CONFIGS / "experiment").glob("*.yaml"))
QUIET = ("--trainer.enable_progress_bar", "false")
ALL_VARIED = (  # everything that draws random numbers, and everything that depends on the step
    "--trainer.max_epochs", "4", "--model.dropout", "0.5", "--model.warmup", "0.2",
    "--data.augment.rotation", "20", "--data.augment.scale", "0.2", "--data.augment.shift", "0.1")


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """A folder of its own, no time for latency, and a Ctrl-C that still works after Lightning."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(outcome, "measure", functools.partial(outcome.measure, seconds=0))
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture
def fit(tiny_file, tiny_config):
    """Fits on the tiny file; returns nothing, the run leaves its folder."""
    def fit(*arguments, file=tiny_file):
        main(["fit", "--config", str(tiny_config), "--data.file", str(file), *arguments])
    return fit


def weights(run_dir, name="last"):
    return torch.load(Path(run_dir) / f"checkpoints/{name}.ckpt")["state_dict"]


def same_weights(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


def curve(run_dir):
    """The learning curve, without the test at its end."""
    return [row for row in read_metrics(Path(run_dir)) if "test/top1" not in row]


def leaves(config, name=""):
    """All settings of a config that hold no other settings, by dotted name."""
    if isinstance(config, dict):
        return {key: value for inner, part in config.items()
                for key, value in leaves(part, f"{name}.{inner}").items()}
    if isinstance(config, list) and any(isinstance(part, dict) for part in config):
        return leaves(dict(enumerate(config)), name)
    return {name.removeprefix("."): config}


def refusal(capsys, *arguments):
    """What a command says that ends with exit code 2: a sentence, and no traceback."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    said = capsys.readouterr().err
    assert stopped.value.code == 2, said
    assert said.startswith("ptl-skel: ")
    assert "Traceback" not in said
    return said.removeprefix("ptl-skel: ").strip()


class TestFit:
    def test_its_config_repeats_it(self, finished_run):
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

    def test_no_test_where_none_is_asked_for_or_there_is_nothing_to_test_on(self, fit, tmp_path):
        clips = tiny_clips()
        file = write_clips(tmp_path / "train.h5", clips,
                           splits={"cross": {"train": [clip.id for clip in clips]}})
        fit("--run_dir", "unasked", "--test_after_fit", "false")
        fit("--run_dir", "nothing", file=file)
        for run_dir in (Path("unasked"), Path("nothing")):
            result = read_result(run_dir)
            assert result["status"] == "finished"
            assert "tested" not in result
            assert not (run_dir / "predictions.npz").exists()

    def test_averaged_weights_are_those_that_are_tested(self, fit):
        fit("--trainer.callbacks+=lightning.pytorch.callbacks.EMAWeightAveraging",
            "--trainer.callbacks.decay", "0.5", "--run_dir", "run")
        main(["test", "--ckpt_path", "run/checkpoints/best.ckpt", *QUIET])
        at_the_end, afterwards = read_result(Path("run")), read_result(Path("run/test"))
        for name, value in afterwards["metrics"].items():
            assert at_the_end["metrics"][name] == value
        checkpoint = torch.load("run/checkpoints/best.ckpt")
        assert not same_weights(checkpoint["state_dict"], checkpoint["current_model_state"])

    @pytest.mark.parametrize(("precision", "slowdown", "warned"), [
        ("bf16-mixed", 11.2, True), ("bf16-mixed", 0.5, False), ("32-true", 11.2, False)])
    def test_slow_bfloat16_is_warned_of(self, fit, monkeypatch, capsys, precision, slowdown,
                                        warned):
        monkeypatch.setattr(outcome, "bfloat16_slowdown", lambda: slowdown)
        fit("--trainer.max_epochs", "1", "--trainer.precision", precision)
        said = capsys.readouterr().out
        assert ("in bfloat16" in said) == warned
        assert ("takes 11 times as long in bfloat16; --trainer.precision 32-true" in said) == warned

    def test_weights_and_biases_offline_by_default(self, tiny_file, tiny_config, monkeypatch,
                                                   tmp_path):
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
        wandb.teardown()  # its service may write on for a moment
        for folder in folders:
            mirrored, = (folder / "run/wandb").glob("offline-run-*")
            stored = next(mirrored.glob("run-*.wandb")).read_bytes()
            for logged in (b"val/top1", b"test/top1", b"gmacs", b"ptl_skel.backbones.VideoResNet"):
                assert logged in stored
            assert read_result(folder / "run")["status"] == "finished"


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
        averaged = [*ALL_VARIED, "--trainer.callbacks.decay=0.5"]
        averaged.insert(-1, "--trainer.callbacks+=lightning.pytorch.callbacks.EMAWeightAveraging")
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

    def test_taken_up_earlier_it_drops_what_it_repeats(self, fit):
        fit("--run_dir", "run", "--trainer.max_epochs", "3")
        shutil.copy("run/checkpoints/last.ckpt", "third.ckpt")
        rows = read_metrics(Path("run"))
        first = torch.load("run/checkpoints/best.ckpt")["epoch"]
        assert first < 2
        main(["fit", "--ckpt_path", "run/checkpoints/best.ckpt"])
        assert read_metrics(Path("run")) == rows
        assert same_weights(torch.load("third.ckpt")["state_dict"], weights("run"))

    def test_into_another_folder_it_overwrites_nothing(self, fit):
        fit("--run_dir", "run")
        fit("--run_dir", "other", "--seed_everything", "1")
        before = weights("other")
        main(["fit", "--ckpt_path", "run/checkpoints/last.ckpt", "--run_dir", "other"])
        assert same_weights(weights("other"), before)
        assert Path("other-2").is_dir()

    def test_last_of_a_run_that_never_began_begins_it(self, fit, finished_run):
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

    def test_on_another_file_and_into_another_folder(self, run, tiny_file):
        shutil.copy(tiny_file, "copy.h5")
        main(["test", "--ckpt_path", "run/checkpoints/best.ckpt", "--data.file", "copy.h5",
              "--run_dir", "elsewhere", *QUIET])
        result = read_result(Path("elsewhere"))
        assert result["data"]["file"] == "copy.h5"
        assert result["metrics"]["test/loss"] == read_result(run)["metrics"]["test/loss"]
        assert not (run / "test").exists()

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


class TestSharedConfigs:
    @pytest.fixture
    def parse(self, monkeypatch, tiny_file):
        """What the command line makes of flags, without doing anything about it."""
        def parse(*arguments):
            shown = cli.SkeletonCLI("fit", [*arguments, "--data.file", str(tiny_file)])
            return yaml.safe_load(shown.parser_text())

        monkeypatch.setattr(cli.SkeletonCLI, "instantiate_classes", lambda self: None)
        monkeypatch.setattr(cli.SkeletonCLI, "_run_subcommand", lambda self, name: None)
        return parse

    def test_there_are_some(self):
        assert {"full3d", "r2plus1d", "reduced"} <= set(BACKBONES)
        assert EXPERIMENTS

    @pytest.mark.parametrize("name", BACKBONES)
    def test_every_backbone_spells_out_every_argument(self, name):
        def check(declared, given=()):
            module, _, kind = declared["class_path"].rpartition(".")
            signature = inspect.signature(getattr(import_module(module), kind))
            arguments = declared.get("init_args", {})
            assert set(arguments) == set(signature.parameters) - set(given)
            for value in arguments.values():
                if isinstance(value, dict) and "class_path" in value:
                    # The widths, kernels and strides of a unit are those of its place.
                    check(value, ("in_channels", "out_channels", "kernel", "stride"))

        check(yaml.safe_load((CONFIGS / f"backbone/{name}.yaml").read_text()),
              ("in_channels", "links"))  # the command line knows these from the data

    @pytest.mark.parametrize("name", BACKBONES)
    def test_every_backbone_parses_and_nothing_of_another_stays(self, parse, name):
        one = f"backbone/{name}.yaml"
        alone = parse("--model.backbone", one)
        declared = yaml.safe_load((CONFIGS / one).read_text())
        assert alone["model"]["backbone"]["class_path"] == declared["class_path"]
        assert alone["model"]["backbone"].get("init_args", {}) == declared.get("init_args", {})
        for other in ("full3d", "reduced"):
            assert parse("--model.backbone", f"backbone/{other}.yaml",
                         "--model.backbone", one) == alone

    @pytest.mark.parametrize(("name", "flags"), [
        ("reduced", {"conv.init_args.middle": "matched", "stem_width": 8, "stem_kernel": [5, 7],
                     "stem_stride": [2, 2], "widths": [8, 24], "depths": [2, 1],
                     "strides": [[1, 2], [4, 1]], "kernel": [7, 3]}),
        ("reduced", {"conv.init_args.middle": 0.5}), ("reduced", {"conv.init_args.middle": 32}),
        ("c3d_reduced", {"conv.init_args.middle": 32, "width": 8}),
        ("slowonly_r2plus1d", {"conv.init_args.middle": 1.0, "temporal_kernels": [1, 1, 5]}),
        ("slowonly", {"conv.class_path": "ptl_skel.backbones.Conv2Plus1D",
                      "conv.init_args.middle": 0.5})])
    def test_every_argument_of_a_design_is_a_flag(self, parse, name, flags):
        given = [part for key, value in flags.items()
                 for part in (f"--model.backbone.init_args.{key}", json.dumps(value).strip('"'))]
        config = parse("--model.backbone", f"backbone/{name}.yaml", *given)
        backbone = yaml.safe_load((CONFIGS / f"backbone/{name}.yaml").read_text())
        expected = leaves(backbone) | {f"init_args.{key}": value for key, value in flags.items()}
        if "conv.class_path" in flags:  # in place of null
            del expected["init_args.conv"]
        assert leaves(config["model"]["backbone"]) == expected

    @pytest.mark.parametrize("name", EXPERIMENTS)
    def test_every_experiment_parses(self, parse, name):
        declared = yaml.safe_load((CONFIGS / f"experiment/{name}.yaml").read_text())
        if "camera" in declared["data"]:  # a shipped file stands for what it holds
            camera = CONFIGS / declared["data"]["camera"]
            declared["data"]["camera"] = yaml.safe_load(camera.read_text())
        config = parse("--config", f"experiment/{name}.yaml",
                       "--model.backbone", "backbone/reduced.yaml")
        for key, value in leaves(declared).items():
            if key != "data.file":
                assert leaves(config)[key] == value

    def test_every_base_setting_is_the_one_of_the_file(self, parse):
        config = parse("--model.backbone", "backbone/reduced.yaml")
        declared = yaml.safe_load((CONFIGS / "base.yaml").read_text())
        found = leaves(config)
        assert {key: found[key] for key in leaves(declared)} == leaves(declared)

    @pytest.mark.parametrize(("name", "arguments"), [
        ("SGD", {"lr": 0.1}), ("AdamW", {"lr": 0.001}), ("Adam", {"lr": 0.001}),
        ("RMSprop", {"lr": 0.01})])
    def test_another_optimizer_has_its_own_defaults(self, parse, name, arguments):
        """Neither those of base.yaml nor those of an experiment go over to it."""
        Path("other.yaml").write_text(json.dumps({"model": {"optimizer": {
            "class_path": "torch.optim.Adagrad",
            "init_args": {"lr": 0.5, "weight_decay": 0.07, "eps": 0.3}}}}))
        Path("this.yaml").write_text(json.dumps({"model": {"optimizer": {
            "class_path": f"torch.optim.{name}", "init_args": arguments}}}))
        config = parse("--model.backbone", "backbone/reduced.yaml", "--config", "other.yaml",
                       "--config", "this.yaml")
        found = config["model"]["optimizer"]["init_args"]
        defaults = {key: value.default for key, value in inspect.signature(
            getattr(torch.optim, name)).parameters.items() if key != "params"}
        expected = {**defaults, **arguments}
        assert found == {key: list(value) if isinstance(value, tuple) else value
                         for key, value in expected.items()}


class TestMistakes:
    @pytest.mark.parametrize(("arguments", "said"), [
        (["--config", "absent.yaml"], "File does not exist"),
        (["--config", "typo.yaml"], "trainer.max_epoch"),
        (["--config", "broken.yaml"], "Problems parsing config"),
        (["--data.clip_length", "3"], "--data.clip_length"),
        (["--data.clip_len", "many"], "data.clip_len"),
        (["--data.clip_len", "0"], "`data.clip_len` must be >= 1, got 0"),
        (["--data.file", "absent.h5"], "keypoint file absent.h5 does not exist; "),
        (["--data.protocol", "xsub"], "no protocol 'xsub'; it has: cross, own"),
        (["--data.protocol", "null"], "`data.protocol` is missing; "),
        (["--model.backbone", "backbone/absent.yaml"], "absent.yaml"),
        (["--model.backbone.init_args.widths", "[4]"], "must have an entry for each stage"),
        (["--model.backbone.init_args.kernel", "[2, 3]"], "kernel sizes must be odd"),
        (["--model.backbone.init_args.stem_kernel", "[3]"], "stem_kernel"),
        (["--model.backbone.init_args.strides", "[[0, 1], [2, 2]]"], "strides must be >= 1"),
        (["--model.backbone.init_args.conv.init_args.middle", "8.5"],
         "a whole number of channels, got 8.5"),
        (["--model.backbone.init_args.conv.init_args.middle", "half"],
         "`middle` must be one of 'matched', float; got half"),
        (["--trainer.max_epochs", "all"], "`trainer.max_epochs` must be one of int, null; got all"),
        (["--trainer.precision", "bf17"], "'bf16-mixed'"),
        (["--model.optimizer.init_args.lr", "fast"], "`lr` must be one of float, Tensor; got fast"),
        (["--model.backbone", "backbone/slowonly.yaml", "--model.backbone.init_args.conv",
          "torch.nn.Conv3d"], "torch.nn.Conv3d"),
        (["--model.optimizer", "torch.optim.Absent"], "torch.optim.Absent"),
        (["--model.optimizer.init_args.lr", "-1"], "Invalid learning rate: -1"),
        (["--model.warmup", "2"], "`model.warmup` must lie in 0..1, got 2"),
        (["--data.augment.flip", "2"], "`flip` must be a probability, got 2"),
        (["--data.representation.init_args.sigma", "0"], "`sigma` must be positive"),
        (["--trainer.devices", "0"], "devices='0'"),
        (["--run_dir", "typo.yaml/run"], "--run_dir typo.yaml/run cannot be made: "),
    ])
    def test_each_ends_in_a_sentence(self, capsys, tiny_file, tiny_config, arguments, said):
        Path("typo.yaml").write_text("trainer: {max_epoch: 3}\n")
        Path("broken.yaml").write_text("trainer: [1,\n")
        message = refusal(capsys, "fit", "--config", tiny_config, "--data.file", tiny_file,
                          *arguments)
        assert said in message
        assert len(message.splitlines()) <= 4  # two reasons take a line each
        assert not Path("runs").exists()

    def test_what_is_missing_is_named(self, capsys, tiny_file):
        assert "data.file" in refusal(capsys, "fit", "--model.backbone", "backbone/reduced.yaml")
        assert "model.backbone" in refusal(capsys, "fit", "--data.file", tiny_file)
        assert "unknown verb 'fitt'" in refusal(capsys, "fitt")

    @pytest.mark.parametrize("verb", ["test", "validate", "predict"])
    def test_a_verb_without_a_checkpoint(self, capsys, verb):
        assert f"`ptl-skel {verb}` needs --ckpt_path" in refusal(capsys, verb)

    def test_a_backbone_whose_channels_do_not_match(self, capsys, tiny_file, tmp_path,
                                                    monkeypatch):
        (tmp_path / "stubborn.py").write_text(
            "from torch import nn\n"
            "from ptl_skel.backbones import Backbone\n"
            "class Stubborn(Backbone):\n"
            "    def __init__(self, in_channels: int) -> None:\n"
            "        super().__init__()\n"
            "        self.in_channels, self.num_features = 17, 4\n"
            "        self.conv = nn.Conv3d(17, 4, 1)\n"
            "    def forward(self, inputs):\n"
            "        return self.conv(inputs)\n")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(ValueError, match=r"does not take inputs of \(13, 32, 64, 64\)"):
            main(["fit", "--model.backbone", "stubborn.Stubborn", "--data.file", str(tiny_file),
                  "--data.protocol", "cross"])
        assert read_result(Path("runs/tiny-cross"))["status"] == "failed"
        assert "stubborn.py" in Path("runs/tiny-cross/error.txt").read_text()

    def test_keypoint_files_that_are_none(self, capsys, tiny_file, tiny_config):
        content = tiny_file.read_bytes()
        Path("truncated.h5").write_bytes(content[: len(content) // 2])
        Path("empty.h5").write_bytes(b"")
        Path("foreign.h5").write_text("hello")
        for name in ("truncated.h5", "empty.h5", "foreign.h5"):
            said = refusal(capsys, "fit", "--config", tiny_config, "--data.file", name)
            assert name in said
            assert "`ptl-skel preprocess`" in said

    def test_a_file_damaged_in_its_values_trains(self, fit, tiny_file):
        shutil.copy(tiny_file, "damaged.h5")
        with h5py.File("damaged.h5", "r+") as stored:
            keypoints = stored["frames/keypoints"][()]
            keypoints[::3, 2] = np.nan
            keypoints[1::3, 5] = np.inf
            stored["frames/keypoints"][()] = keypoints
        fit("--run_dir", "run", file="damaged.h5")
        assert np.isfinite(list(read_result(Path("run"))["metrics"].values())).all()


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
    def test_code_in_it_is_not_run(self, capsys, last, verb):
        content = {**torch.load(last), "harm": Harmful()}
        torch.save(content, last)
        assert "is not a checkpoint" in refusal(capsys, verb, "--ckpt_path", last)
        last.write_bytes(pickle.dumps(content))
        assert "is not a checkpoint" in refusal(capsys, verb, "--ckpt_path", last)
        assert not Path("harm").exists()
        pickle.loads(last.read_bytes())
        assert Path("harm").exists()  # it would have been

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
        for verb in ("test", "predict"):
            said = refusal(capsys, verb, "--ckpt_path", last, "--data.file", file)
            assert "has clips of 'one', which the model does not know; its classes are " in said
        assert not Path("run/test").exists()

    @pytest.mark.parametrize("verb", ["fit", "test"])
    def test_of_another_model(self, capsys, last, verb):
        said = refusal(capsys, verb, "--ckpt_path", last,
                       "--model.backbone.init_args.widths", "[4, 16]")
        assert "the weights of the checkpoint do not fit the model: classifier." in said


class TestHelp:
    def test_all_verbs_in_one_place(self, capsys):
        for arguments in ([], ["-h"], ["--help"]):
            main(arguments)
            said = capsys.readouterr().out
            assert all(f"\n  {verb} " in said for verb in VERBS)

    @pytest.mark.parametrize("verb", VERBS)
    def test_of_each_verb(self, capsys, verb):
        with pytest.raises(SystemExit) as stopped:
            main([verb, "--help"])
        assert stopped.value.code == 0
        said = capsys.readouterr().out
        assert "usage: ptl-skel" in said
        assert len(said) > 300

    def test_as_a_module(self):
        shown = subprocess.run([sys.executable, "-m", "ptl_skel", "--help"], text=True,
                               capture_output=True, check=True, timeout=120)
        assert "usage: ptl-skel VERB" in shown.stdout
