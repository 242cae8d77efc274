"""Trainings on a GPU through the command line: they learn, resume, share cards, never wait."""

import subprocess
import sys

import pytest
import torch
from lightning.pytorch import Callback

from ptl_skel.__main__ import main
from ptl_skel.data.datamodule import KeypointDataModule
from ptl_skel.runs.record import read_metrics, read_result
from ptl_skel.training.module import ActionRecognizer

pytestmark = pytest.mark.cuda
LEARNING = (  # enough of a network, and no augmentation, to learn 16 clips by heart
    "--model.backbone.init_args.stem_width", "8", "--model.backbone.init_args.widths", "[16, 32]",
    "--model.backbone.init_args.stem_kernel", "[3, 3]", "--model.optimizer", "torch.optim.AdamW",
    "--model.optimizer.init_args.lr", "0.03", "--model.lr_batch_size", "null", "--model.dropout",
    "0", "--data.batch_size", "8", "--data.augment.crop_area", "[1, 1]", "--data.augment.flip",
    "0", "--trainer.max_epochs", "20")
VARIED = ("--model.dropout", "0.3", "--data.augment.rotation", "10")


class NeverWaits(Callback):
    """Lets no step except the first two wait for the GPU."""

    def __init__(self):
        self.steps = 0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx >= 2 and pl_module.device.type == "cuda":
            torch.cuda.set_sync_debug_mode("error")

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if pl_module.device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")
        self.steps += batch_idx >= 2


@pytest.fixture
def fit(tiny_file, tiny_config, device, tmp_path, monkeypatch):
    """Fits on the tiny file; returns the folder of the run."""
    monkeypatch.chdir(tmp_path)

    def fit(name, *arguments):
        code = main(["fit", "--config", str(tiny_config), "--data.file", str(tiny_file),
                     "--trainer.accelerator", device.type, "--data.on_device", "true",
                     "--data.val_fraction", "0", "--run_dir", name, *arguments])
        assert not code
        return tmp_path / name

    yield fit
    torch.use_deterministic_algorithms(False)


def losses(run_dir):
    return [row["train/loss"] for row in read_metrics(run_dir) if "train/loss" in row]


def weights(run_dir):
    return torch.load(run_dir / "checkpoints/last.ckpt", map_location="cpu")["state_dict"]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_the_loss_falls(fit, device, precision):
    if precision == "16-mixed" and device.type == "cpu":
        pytest.skip("float16 is for GPUs")
    run_dir = fit("run", "--trainer.precision", precision, *LEARNING)
    found = losses(run_dir)
    assert len(found) == 20
    assert found[-1] < 0.3 * found[0]
    assert read_result(run_dir)["status"] == "finished"
    assert all(value.isfinite().all() for value in weights(run_dir).values())


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("deterministic", [True, False])
def test_a_resumed_run_ends_where_the_whole_one_does(fit, precision, deterministic):
    """With deterministic algorithms exactly; else with the same clips, frames and random numbers.

    Then only the order of sums may differ, by rounding.
    """
    options = ["--trainer.precision", precision, "--trainer.deterministic",
               str(deterministic).lower(), *VARIED]
    whole = fit("whole", "--trainer.max_epochs", "4", *options)

    class StoppedError(Exception):
        """What ends a run inside its third epoch."""

    with pytest.MonkeyPatch.context() as patch:
        made = KeypointDataModule.on_after_batch_transfer
        seen = []

        def interrupted(data, batch, index):
            seen.append(0)
            if len(seen) > 2 * len(data.train_dataloader()):
                raise StoppedError
            return made(data, batch, index)

        patch.setattr(KeypointDataModule, "on_after_batch_transfer", interrupted)
        with pytest.raises(StoppedError):
            fit("resumed", "--trainer.max_epochs", "4", *options)
    assert len(losses(whole)) == 4
    resumed = whole.with_name("resumed")
    assert not main(["fit", "--ckpt_path", str(resumed / "checkpoints/last.ckpt")])
    one, other = weights(whole), weights(resumed)
    tolerance = {"atol": 0.0, "rtol": 0.0} if deterministic else {"atol": 1e-2, "rtol": 1e-2}
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, **tolerance)
    if deterministic:
        assert losses(resumed) == losses(whole)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_step_waits_for_nothing(fit, monkeypatch, precision):
    watch = NeverWaits()
    monkeypatch.setattr(ActionRecognizer, "configure_callbacks", lambda module: [watch])
    fit("run", "--trainer.precision", precision, *VARIED)
    assert watch.steps > 0


def test_two_cards_share_a_run(gpu, tiny_file, tiny_config, tmp_path):
    if torch.cuda.device_count() < 2:
        pytest.skip("there are not two GPUs")
    done = subprocess.run(
        [sys.executable, "-m", "ptl_skel", "fit", "--config", str(tiny_config), "--data.file",
         str(tiny_file), "--trainer.accelerator", "cuda", "--trainer.devices", "2",
         "--trainer.strategy", "ddp", "--data.on_device", "true", "--run_dir", "both"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    result = read_result(tmp_path / "both")
    assert result["status"] == "finished"
    assert "test/top1" in result["metrics"]
