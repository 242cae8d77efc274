"""Every precision that Lightning offers on a CPU: it trains, and coordinates stay exact."""

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback

from ptl_skel.__main__ import main
from ptl_skel.cli import outcome
from ptl_skel.runs.predictions import read_predictions
from ptl_skel.runs.record import read_result

WEIGHTS = {"32-true": torch.float32, "bf16-mixed": torch.float32, "bf16-true": torch.bfloat16,
           "16-true": torch.float16, "64-true": torch.float64}
INPUTS = {**WEIGHTS, "bf16-mixed": torch.bfloat16}


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(outcome, "measure", functools.partial(outcome.measure, seconds=0))
    monkeypatch.setattr(outcome, "bfloat16_slowdown", lambda: 1.0)


class Batches(Callback):
    """Records the inputs of the network."""

    seen: list[torch.Tensor] = []  # noqa: RUF012  # of the one run that uses it

    def on_test_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        self.seen.append(batch["inputs"])

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        assert batch["inputs"].dtype == INPUTS[trainer.precision]


def fit(tiny_file, tiny_config, precision, *arguments):
    Batches.seen = []
    main(["fit", "--config", str(tiny_config), "--data.file", str(tiny_file),
          "--run_dir", precision, "--trainer.precision", precision,
          f"--trainer.callbacks+={__name__}.Batches", *arguments])
    return Batches.seen


@pytest.mark.parametrize("precision", WEIGHTS)
def test_it_trains_and_tests(tiny_file, tiny_config, precision):
    seen = fit(tiny_file, tiny_config, precision)
    exact = fit(tiny_file, tiny_config, "32-true", "--run_dir", "exact",
                "--trainer.max_epochs", "1")
    assert len(seen) == len(exact) > 0
    for inputs, expected in zip(seen, exact, strict=True):
        # As if every pixel had been computed in single precision and rounded once.
        assert torch.equal(inputs, expected.to(INPUTS[precision]))
    checkpoint = torch.load(f"{precision}/checkpoints/last.ckpt")["state_dict"]
    assert {weight.dtype for weight in checkpoint.values() if weight.is_floating_point()} == {
        WEIGHTS[precision]}
    result = read_result(Path(precision))
    assert result["status"] == "finished"
    assert np.isfinite(list(result["metrics"].values())).all()
    main(["test", "--ckpt_path", f"{precision}/checkpoints/best.ckpt", "--run_dir", "again",
          "--trainer.precision", precision, "--trainer.accelerator", "cpu",
          "--trainer.enable_progress_bar", "false"])
    np.testing.assert_array_equal(read_predictions(Path("again")).probabilities,
                                  read_predictions(Path(precision)).probabilities)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_graph_networks_train_on_coordinates(tiny_file, precision):
    main(["fit", "--data.file", str(tiny_file), "--data.protocol", "cross", "--run_dir", "run",
          "--model.backbone", "ptl_skel.backbones.STGCNpp", "--wandb", "off",
          "--model.backbone.init_args.widths", "[12]", "--model.backbone.init_args.strides", "[1]",
          "--data.representation", "representation/coordinates.yaml", "--data.clip_len", "8",
          "--data.batch_size", "4", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu",
          "--trainer.enable_progress_bar", "false", "--trainer.precision", precision])
    result = read_result(Path("run"))
    assert np.isfinite(list(result["metrics"].values())).all()
