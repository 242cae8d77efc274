"""The experiment on NTU RGB+D holds the published recipe, for each arm and baseline."""

import pytest
import yaml

from ptl_skel.cli import lightning as cli
from ptl_skel.configs import CONFIGS

ARMS = ("full3d", "r2plus1d", "reduced", "slowonly", "c3d_light", "x3d_shallow")


@pytest.fixture
def parse(monkeypatch):
    """Parses flags as the command line does, without running anything."""
    def parse(*arguments):
        return yaml.safe_load(cli.SkeletonCLI("fit", list(arguments)).parser_text())

    monkeypatch.setattr(cli.SkeletonCLI, "instantiate_classes", lambda self: None)
    monkeypatch.setattr(cli.SkeletonCLI, "_run_subcommand", lambda self, name: None)
    return parse


@pytest.mark.parametrize("arm", ARMS)
def test_an_experiment_is_the_published_recipe_with_its_backbone(parse, arm):
    config = parse("--config", "experiment/ntu60_xsub.yaml",
                   "--model.backbone", f"backbone/{arm}.yaml")
    model, data, trainer = config["model"], config["data"], config["trainer"]
    backbone = yaml.safe_load((CONFIGS / f"backbone/{arm}.yaml").read_text())
    assert model["backbone"]["class_path"] == backbone["class_path"]
    assert model["backbone"]["init_args"] == backbone["init_args"]
    optimizer = model["optimizer"]
    assert optimizer["class_path"] == "torch.optim.SGD"
    assert optimizer["init_args"].items() >= {
        "lr": 0.4, "momentum": 0.9, "weight_decay": 0.0003, "nesterov": False}.items()
    assert (model["lr_batch_size"], model["warmup"], model["dropout"]) == (256, 0, 0.5)
    assert model["label_smoothing"] == 0
    assert (trainer["max_epochs"], trainer["gradient_clip_val"]) == (24 * 10, 40)
    assert (data["clip_len"], data["size"], data["eval_size"]) == (32, 56, 64)
    assert (data["test_clips"], data["test_flip"], data["val_fraction"]) == (10, True, 0)
    assert data["augment"].items() >= {
        "crop_area": [0.56, 1.0], "crop_aspect": [0.75, 1.3333], "flip": 0.5, "rotation": 0.0,
        "scale": 0.0, "shift": 0.0}.items()
    assert (data["protocol"], config["run_dir"]) == ("xsub", "runs/ntu60_xsub")


def test_48_frames_can_be_set_by_a_flag(parse):
    config = parse("--config", "experiment/ntu60_xsub.yaml", "--data.clip_len", "48",
                   "--model.backbone", "backbone/slowonly.yaml")
    assert config["data"]["clip_len"] == 48
