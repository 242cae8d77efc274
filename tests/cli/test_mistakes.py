"""Mistakes are reported in a sentence; help lists verbs and options."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from commandline import BACKBONES, refusal
from tiny import tiny_clips, write_clips

from ptl_skel.cli.options import LEADING
from ptl_skel.cli.verbs import VERBS, main
from ptl_skel.configs import CONFIGS
from ptl_skel.runs.record import read_result


class TestMistakes:
    @pytest.mark.parametrize(("arguments", "said"), [
        (["--config", "absent.yaml"], "--config absent.yaml does not exist; check the path"),
        (["--config", "experiment/penn.yaml"],
         "experiment/penn.yaml does not exist; did you mean experiment/penn_action.yaml or "),
        (["--config", "experiment/own.yaml"], "shipped are experiment/msr_action3d.yaml, "),
        (["--model.backbone", "own.yaml"], "own.yaml: Problem with given class_path 'absent.Net': "
         "No module named 'absent'; install it, or add its folder to PYTHONPATH"),
        (["--model.backbone", "narrow.yaml"], "narrow.yaml: Option 'dept' is not accepted"),
        (["--config", "typo.yaml"], "trainer.max_epoch"),
        (["--config", "broken.yaml"], "broken.yaml: Problems parsing config"),
        (["--config", "list.yaml"], "list.yaml: Unexpected config"),
        (["--config", "binary.yaml"], "binary.yaml is not a text file"),
        (["--data.num_workers", "-1"], "`data.num_workers` must be >= 0, got -1"),
        (["--trainer.accumulate_grad_batches", "0"],
         "--trainer.accumulate_grad_batches must be >= 1, got 0"),
        (["--trainer.check_val_every_n_epoch", "0"],
         "--trainer.check_val_every_n_epoch must be >= 1, got 0"),
        (["--trainer.val_check_interval", "0"],
         "--trainer.val_check_interval must be >= 1, got 0"),
        (["--trainer.callbacks+=lightning.pytorch.callbacks.EMAWeightAveraging",
          "--model.average", "0.1"], "`model.average` averages the weights as well"),
        (["--trainer.val_check_interval", "4"],
         "--trainer.val_check_interval 4 is more than the 3 batches of an epoch"),
        (["--model.backbone.init_args.in_channels", "5"],
         "`model.backbone.init_args.in_channels` is 5, but the inputs made of "),
        (["--data.file", "folder"], "folder is a folder; name the keypoint file in it"),
        (["--run_dir", "typo.yaml"], "--run_dir typo.yaml is a file; give the name of a folder"),
        (["--data.clip_length", "3"], "--data.clip_length"),
        (["--data.clip_len", "many"], "data.clip_len"),
        (["--data.clip_len", "0"], "`data.clip_len` must be >= 1, got 0"),
        (["--data.file", "absent.h5"], "keypoint file absent.h5 does not exist; "
         "`ptl-skel preprocess` makes one; if it has moved, --data.file gives its path"),
        (["--data.protocol", "xsub"], "no protocol 'xsub'; it has: cross, own"),
        (["--data.protocol", "null"], "`data.protocol` is missing; "),
        (["--model.backbone", "backbone/absent.yaml"],
         "--model.backbone backbone/absent.yaml does not exist; shipped are backbone/c3d_light"),
        (["--model.backbone=backbone/redcued.yaml"], "did you mean backbone/reduced.yaml"),
        (["--model.backbone", "reduced"],
         "--model.backbone reduced is not a YAML file; did you mean backbone/reduced.yaml?"),
        (["--model.backbone=backbone/redcued"], "did you mean backbone/reduced.yaml or "),
        (["--model.backbone", "own"], "did you mean own.yaml?"),
        (["--model.backbone", "unheard"], "shipped are backbone/c3d_light"),
        (["--config", "penn_action"], "did you mean experiment/penn_action.yaml or "),
        (["--data.camera", "sid"], "did you mean camera/side.yaml?"),
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
        (["--optimizer", "SGD"], "; the optimizer is --model.optimizer, and the learning rate"),
        (["--lr_scheduler", "torch.optim.lr_scheduler.StepLR"], "--model.warmup, then half a cos"),
        (["--model.backbone", "coordinates.yaml"], "OnCoordinates.reads is 'normalized', which is "
         "not a file; give e.g. 'representation/normalized.yaml'"),
        (["--model.warmup", "2"], "`model.warmup` must lie in 0..1, got 2"),
        (["--data.augment.flip", "2"], "`flip` must be a probability, got 2"),
        (["--data.representation.init_args.sigma", "0"], "`sigma` must be positive"),
        (["--model.backbone", "backbone/conv1d.yaml", "--data.representation",
          "representation/limbs.yaml"], "does not read heatmaps; leave --data.representation out"),
        (["--model.backbone", "backbone/conv1d.yaml", "--data.representation.init_args.sigma",
          "1"], "does not read heatmaps; leave --data.representation out"),
        (["--data.corrupt", "{kind: drop}"], "`data.corrupt`: level is missing"),
        (["--data.representation.init_args.stream", "bone"], "the representation has no option "
         "'stream'; name the one that has it"),
        (["--trainer.max_epochs", "0"], "max_steps 0 trains nothing"),
        (["--length.clips", "9"], "--length.clips has no effect, since `trainer.max_epochs` is 2"),
        (["--trainer.max_epochs", "null", "--trainer.max_steps", "5", "--length", "{passes: 3}"],
         "--length has no effect, since `trainer.max_steps` is 5"),
        (["--trainer.max_steps", "0"], "max_steps 0 trains nothing"),
        (["--trainer.devices", "0"], "devices='0'"),
        (["--run_dir", "typo.yaml/run"], "--run_dir typo.yaml/run cannot be made: "),
    ])
    def test_each_is_reported_in_a_sentence(self, capsys, tiny_file, tiny_config, arguments, said,
                                            monkeypatch):
        monkeypatch.syspath_prepend(Path.cwd())
        Path("on_coordinates.py").write_text(
            "from ptl_skel.backbones import Backbone\n"
            "class OnCoordinates(Backbone):\n"
            "    reads = 'normalized'\n"
            "    def __init__(self, in_channels: int) -> None: ...\n")
        Path("coordinates.yaml").write_text("class_path: on_coordinates.OnCoordinates\n")
        Path("typo.yaml").write_text("trainer: {max_epoch: 3}\n")
        Path("broken.yaml").write_text("trainer: [1,\n")
        Path("list.yaml").write_text("- 1\n")
        Path("own.yaml").write_text("class_path: absent.Net\n")
        Path("narrow.yaml").write_text((CONFIGS / "backbone/narrow.yaml").read_text()
                                       + "  dept: 3\n")
        Path("binary.yaml").write_bytes(b"\xff\xfe\x00")
        Path("folder").mkdir()
        message = refusal(capsys, "fit", "--config", tiny_config, "--data.file", tiny_file,
                          *arguments)
        assert said in message
        assert len(message.splitlines()) <= 4  # two reasons take a line each
        assert not Path("runs").exists()

    @pytest.mark.parametrize("monitor", ["val/loss", "val_top1"])
    def test_early_stopping_by_a_metric_that_the_run_does_not_log(
            self, capsys, tiny_file, tiny_config, monitor):
        said = refusal(capsys, "fit", "--config", tiny_config, "--data.file", tiny_file,
                       "--data.val_fraction", "0", "--trainer.callbacks",
                       "lightning.pytorch.callbacks.EarlyStopping", "--trainer.callbacks.monitor",
                       monitor, "--run_dir", "run")
        assert said.startswith("--trainer.callbacks: ")
        assert monitor in said
        assert "train/top1" in said
        assert "--data.val_fraction 0.2" in said
        assert read_result(Path("run"))["status"] == "failed"

    def test_weights_and_biases_online_without_a_key(self, tiny_file, tiny_config, tmp_path):
        """In processes of their own: W&B keeps a session as long as a process lives."""
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith("WANDB_")}
        environment |= {"HOME": str(tmp_path), "NETRC": str(tmp_path / "none"),
                        "WANDB_ERROR_REPORTING": "false",
                        "PYTHONPATH": str(Path(__file__).parents[2])}
        command = [sys.executable, "-m", "ptl_skel", "fit", "--config", str(tiny_config),
                   "--data.file", str(tiny_file), "--wandb"]
        started = [subprocess.Popen(  # the second as an agent of a sweep starts it
            [*command, mode], env={**environment, **variables}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            for mode, variables in (("online", {}), ("offline", {"WANDB_SWEEP_ID": "abc"}))]
        for process in started:
            said = process.communicate(timeout=120)[0]
            assert process.returncode == 2, said
            assert "Traceback" not in said
            assert "ptl-skel: --wandb online needs the key of an account: " in said
        assert not Path("runs").exists()

    @pytest.mark.parametrize(("arguments", "said"), [
        (["--model.optimizer", "torch.optim.AdamW"], "the checkpoint holds the state of "
         "torch.optim.SGD, which --model.optimizer torch.optim.AdamW cannot continue"),
        (["--model.optimizer.init_args.lr", "0.01"],
         "--model.optimizer.init_args.lr 0.01 has no effect on a run that continues"),
    ])
    def test_a_run_continues_with_its_own_optimizer(self, fit, capsys, arguments, said):
        fit("--run_dir", "run", "--trainer.max_epochs", "1")
        before = Path("run/result.json").read_bytes()
        last = "run/checkpoints/last.ckpt"
        message = refusal(capsys, "fit", "--ckpt_path", last, "--trainer.max_epochs", "2",
                          *arguments)
        assert said in message
        assert "--init_from" in message
        assert Path("run/result.json").read_bytes() == before
        main(["fit", "--ckpt_path", last, "--trainer.max_epochs", "2", "--model.optimizer",
              "torch.optim.SGD", "--model.optimizer.init_args.lr", "0.4"])  # its own, named
        assert read_result(Path("run"))["epochs"] == 2

    def test_pairs_of_an_optimizer_are_the_same_when_a_run_continues(self, fit):
        fit("--run_dir", "run", "--trainer.max_epochs", "1", "--model.optimizer",
            "torch.optim.AdamW", "--model.optimizer.init_args.betas", "[0.8, 0.99]")
        main(["fit", "--ckpt_path", "run/checkpoints/last.ckpt", "--trainer.max_epochs", "2"])
        assert read_result(Path("run"))["epochs"] == 2

    @pytest.mark.parametrize(("arguments", "said"), [
        (["check", "folder"], "folder is a folder; name the keypoint file in it"),
        (["show", "folder", "--clip", "1"], "folder is a folder; name the keypoint file in it"),
        (["report", "nowhere"], "nowhere does not exist"),
        (["report", "text"], "text is a file; give the folder of a run"),
        (["report", "folder"], "folder holds no run: "),
        (["ensemble", "nowhere", "folder"], "nowhere does not exist; give the folder of a run"),
        (["ensemble", "text", "folder"], "text is neither the folder of a run nor an .npz file"),
        (["ensemble", "folder", "folder"], "predictions.npz does not exist; `ptl-skel test`"),
        (["ensemble", "text.npz", "folder"], "text.npz is damaged, or was not written by"),
        (["profile", "backbone/reduce.yaml"], "did you mean backbone/reduced.yaml"),
        (["profile", "backbone/reduced.yaml", "--seconds", "-1"], "--seconds must lie in 0..3600"),
        (["profile", "backbone/reduced.yaml", "--seconds", "nan"], "--seconds must lie in 0..3600"),
        (["profile", "backbone/reduced.yaml", "--threads", "0"], "--threads must be 1 to "),
        (["profile", "backbone/reduced.yaml", "--threads", "999999"], "--threads must be 1 to "),
    ])
    def test_of_other_verbs(self, capsys, arguments, said):
        for name in ("text", "text.npz"):
            Path(name).write_text("hello")
        Path("folder").mkdir()
        assert said in refusal(capsys, *arguments)

    def test_predictions_fused_into_a_file_that_cannot_be_written(self, capsys, finished_run):
        Path("text").write_text("hello")
        said = refusal(capsys, "ensemble", finished_run, finished_run, "--out", "text/fused.npz")
        assert said.startswith("--out text/fused.npz cannot be written: ")

    def test_what_is_missing_is_named(self, capsys, tiny_file):
        said = refusal(capsys, "fit", "--model.backbone", "backbone/reduced.yaml")
        assert said.startswith("--data.file is missing: a keypoint file, made by `ptl-skel prep")
        said = refusal(capsys, "fit", "--data.file", tiny_file)
        assert said.startswith("--model.backbone is missing: e.g. --model.backbone backbone/red")
        assert all(f"backbone/{name}.yaml" in said for name in BACKBONES)

    @pytest.mark.parametrize(("verb", "said"), [
        ("unheard", "unknown verb 'unheard'; `ptl-skel --help` lists them"),
        ("trian", "unknown verb 'trian'; `ptl-skel fit` trains"),
        ("fitt", "unknown verb 'fitt'; did you mean `ptl-skel fit`?"),
        ("train", "`ptl-skel fit` trains"),
        ("preproces", "did you mean `ptl-skel preprocess`?"),
    ])
    def test_a_verb_that_does_not_exist(self, capsys, verb, said):
        assert said in refusal(capsys, verb)

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
        with pytest.raises(RuntimeError) as raised:
            main(["fit", "--model.backbone", "stubborn.Stubborn", "--data.file", str(tiny_file),
                  "--data.protocol", "cross"])
        assert raised.value.__notes__ == ["The network was given inputs of (13, 32, 32, 32)."]
        assert read_result(Path("runs/tiny-cross"))["status"] == "failed"
        assert "stubborn.py" in Path("runs/tiny-cross/error.txt").read_text()

    def test_a_backbone_that_declares_another_number_of_features(self, capsys, tiny_file, tmp_path,
                                                                 monkeypatch):
        (tmp_path / "boastful.py").write_text(
            "from torch import nn\n"
            "from ptl_skel.backbones import Backbone\n"
            "class Boastful(Backbone):\n"
            "    def __init__(self, in_channels: int) -> None:\n"
            "        super().__init__()\n"
            "        self.in_channels, self.num_features = in_channels, 8\n"
            "        self.conv = nn.Conv3d(in_channels, 4, 1)\n"
            "    def forward(self, inputs):\n"
            "        return self.conv(inputs)\n")
        monkeypatch.syspath_prepend(tmp_path)
        said = refusal(capsys, "fit", "--model.backbone", "boastful.Boastful", "--data.file",
                       tiny_file, "--data.protocol", "cross")
        assert "the backbone Boastful declares 8 `num_features`" in said
        assert "have 4 channels, in the shape (1, 4, 32, 32, 32)" in said

    def test_a_file_without_labels(self, capsys, tmp_path):
        unlabelled = [replace(clip, label=-1) for clip in tiny_clips()]
        write_clips(tmp_path / "bare.h5", unlabelled, class_names=())
        said = refusal(capsys, "fit", "--model.backbone", "backbone/narrow.yaml", "--data.file",
                       tmp_path / "bare.h5", "--data.protocol", "own")
        assert "bare.h5 has no labels" in said
        assert "`ptl-skel preprocess ... --labels FILE.csv`" in said

    def test_files_that_are_not_keypoint_files(self, capsys, tiny_file, tiny_config):
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

    @pytest.mark.parametrize("verb", LEADING)
    def test_the_most_common_options_exist(self, capsys, verb):
        with pytest.raises(SystemExit):
            main([verb, "--help"])
        leading, everything = capsys.readouterr().out.split("all of them:")
        for option in LEADING[verb]:
            flag = option.split()[0]
            assert f"\n  {flag} " in leading
            assert re.search(rf"{re.escape(flag)}[ ,\]]", everything), flag

    @pytest.mark.parametrize("verb", VERBS)
    def test_an_unknown_option_is_refused(self, capsys, verb):
        assert len(refusal(capsys, verb, "--no_such_option", "1").splitlines()) == 1

    def test_as_a_module(self):
        shown = subprocess.run([sys.executable, "-m", "ptl_skel", "--help"], text=True,
                               capture_output=True, check=True, timeout=120)
        assert "usage: ptl-skel VERB" in shown.stdout
