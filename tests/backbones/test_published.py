"""The published networks: names, shapes, cost and outputs of the reference implementations."""

import json
import math
import re
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from ptl_skel import backbones
from ptl_skel.backbones.stgcnpp import COCO17, adjacency
from ptl_skel.cli import lightning as cli
from ptl_skel.cli import outcome
from ptl_skel.cli.profile import load_backbone
from ptl_skel.configs import CONFIGS
from ptl_skel.cost.complexity import measure
from ptl_skel.runs.record import read_result
from ptl_skel.skeletons import LAYOUTS
from ptl_skel.training.module import classifier

TOLERANCE = 1e-4  # of the largest logit, from the golden cases
PYSKL = ("slowonly_r50", "c3d_light", "x3d_shallow", "stgcnpp")
TORCHVISION = ("r3d_18", "mc3_18", "r2plus1d_18")
FILES = {"slowonly_r50": "slowonly"}  # where the config is not called as the case


def golden(shared, name):
    folder = shared / "golden"
    case = json.loads((folder / f"model_{name}.json").read_text())
    arrays = dict(np.load(folder / f"model_{name}.npz"))
    if "x" not in arrays:
        inputs = "model_input_rgb.npz" if name in TORCHVISION else "model_input.npz"
        arrays["x"] = np.load(folder / inputs)["x"]
    return case, arrays


def network(name):
    channels, classes = {"stgcnpp": (3, 60)}.get(
        name, (3, 400) if name in TORCHVISION else (17, 60))
    with torch.device("meta"):  # costs nothing: no weights are drawn, none are kept
        backbone = load_backbone(f"backbone/{FILES.get(name, name)}.yaml", channels)
        return classifier(backbone, classes).eval()


def declared(name):
    return yaml.safe_load((CONFIGS / f"backbone/{FILES.get(name, name)}.yaml").read_text())


def published_names(name, ours):
    """The names of the reference, for a network of ours."""
    heads = ("", "fc.") if name in TORCHVISION else ("backbone.", "cls_head.fc_cls.")
    return {key: key.replace("backbone.", heads[0], 1).replace("head.3.", heads[1], 1)
            for key in ours}


def weights(name, shape):
    """What the golden cases fill a tensor with, from its name."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.long)
    if name.endswith("running_var"):
        values = random.uniform(0.5, 1.5, shape)
    elif name.endswith("running_mean"):
        values = random.normal(0, 0.1, shape)
    elif len(shape) > 1:
        values = random.normal(0, 1, shape) * math.sqrt(2 / math.prod(shape[1:]))
    elif name.endswith("weight"):
        values = random.uniform(0.5, 1.5, shape)
    else:
        values = random.normal(0, 0.1, shape)
    return torch.from_numpy(np.asarray(values, np.float32))


def filled(name):
    model = network(name)
    ours = model.state_dict()
    names = published_names(name, ours)
    filling = {key: weights(names[key], value.shape) for key, value in ours.items()}
    if name == "stgcnpp":
        graph = adjacency(COCO17)
        filling |= {key: graph for key in ours if key.endswith(".A")}
    model.load_state_dict(filling, assign=True)
    return model


@pytest.mark.parametrize("name", PYSKL + TORCHVISION)
class TestGolden:
    def test_golden_names_and_shapes_of_the_checkpoint(self, shared, name):
        case, _ = golden(shared, name)
        ours = network(name).state_dict()
        names = published_names(name, ours)
        assert {names[key]: list(value.shape) for key, value in ours.items()} == case["state_dict"]

    def test_golden_logits(self, shared, name):
        case, arrays = golden(shared, name)
        model = filled(name)
        inputs = torch.from_numpy(arrays["x"])
        if name == "stgcnpp":
            inputs = inputs.permute(0, 4, 2, 1, 3)  # (N, M, T, V, C) there, (N, C, T, M, V) here
        with torch.inference_mode():
            features = model.backbone(inputs)
            logits = model(inputs)
        assert features.shape[1] == model.backbone.num_features
        if "feature_mean" in arrays:
            assert list(features.shape) == case["feature_shape"]
            assert_close(features.mean((2, 3, 4)), arrays["feature_mean"])
        assert_close(logits, arrays["logits"])

    def test_golden_cost(self, shared, name):
        case, _ = golden(shared, name)
        model = network(name)
        found = {key: value for key, value in case.items() if key.startswith("gmacs_")}
        (key, gmacs), = found.items()
        shape = tuple(int(size) for size in key.removeprefix("gmacs_1x").split("x"))
        if name == "stgcnpp":
            persons, frames, joints, channels = shape
            shape = channels, frames, persons, joints
        # What the reference counts: PYSKL's own tables leave out the head, torchvision's do not.
        counted = model if name in TORCHVISION else model.backbone
        assert measure(counted, shape, seconds=0).gmacs == pytest.approx(gmacs, rel=1e-6)
        counted = model.backbone if name in PYSKL[:3] else model
        assert sum(parameter.numel() for parameter in counted.parameters()) == case["params"]


def assert_close(found, expected):
    np.testing.assert_allclose(found.numpy(), expected, rtol=0,
                               atol=TOLERANCE * np.abs(expected).max())


def test_the_graph_of_a_run_on_coco_is_the_published_one():
    assert LAYOUTS["coco17"].tree == COCO17


def test_golden_graph_of_coco(shared):
    _, arrays = golden(shared, "stgcnpp")
    graph = adjacency(COCO17)
    np.testing.assert_allclose(graph.numpy(), arrays["graph_A"], atol=1e-7)


@pytest.mark.parametrize(("name", "params", "gmacs_48", "gmacs_32"), [
    ("slowonly_r50", 2.025, 15.63, 10.4), ("c3d_light", 3.405, 16.78, 11.2),
    ("x3d_shallow", 0.255, 0.569, 0.38)])
def test_cost_of_a_view_as_published(name, params, gmacs_48, gmacs_32):
    """With a head for 60 classes, 17 joints, maps of 56x56; all digits that are published."""
    model = network(name)
    for frames, gmacs in ((48, gmacs_48), (32, gmacs_32)):
        cost = measure(model, (17, frames, 56, 56), seconds=0)
        assert rounded_like(cost.gmacs, gmacs) == gmacs
        assert rounded_like(cost.params / 1e6, params) == params


def test_cost_as_the_docs_have_it():
    text = (Path(__file__).parents[2] / "docs/networks.md").read_text(encoding="utf-8")
    text = text.split("## Ensembles")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) \| ([\d.]+) \| ", text, re.MULTILINE)
    assert {row[0] for row in rows} == {path.stem for path in (CONFIGS / "backbone").iterdir()}
    for name, params, gmacs in rows:
        shape = (3, 32, 2, 17) if name in {"conv1d", "stgcnpp"} else (17, 32, 56, 56)
        with torch.device("meta"):
            model = classifier(load_backbone(f"backbone/{name}.yaml", shape[0]), 60)
        cost = measure(model, shape, seconds=0)
        assert (f"{cost.params / 1e6:.3f}", f"{cost.gmacs:.2f}") == (params, gmacs), name


def rounded_like(value, published):
    return round(value, len(str(published).partition(".")[2]))


class TestArguments:
    @pytest.mark.parametrize(("name", "change", "message"), [
        ("slowonly_r50", {"depths": [1]}, "an entry for each stage, got 3, 1, 3 and 3"),
        ("slowonly_r50", {"widths": [8, 0, 8]}, "must be >= 1"),
        ("slowonly_r50", {"temporal_kernels": [1, 2, 3]}, "kernel sizes must be odd"),
        ("c3d_light", {"width": 0}, "`width` must be >= 1, got 0"),
        ("x3d_shallow", {"strides": [2]}, "an entry for each stage, got 3, 3 and 1"),
        ("x3d_shallow", {"expansion": 0.5}, "must be >= 1"),
        ("r3d_18", {"widths": [64]}, "an entry for each stage, got 1, 4, 4 and 4"),
        ("r3d_18", {"stem_middle": -1}, "must be >= 1"),
        ("r3d_18", {"temporal_kernels": [3, 3, 3, 5]}, "`temporal_kernels` must be 1 or 3"),
        ("conv1d", {"strides": [1]}, "an entry >= 1 for each block"),
        ("conv1d", {"kernel": 4}, "`kernel` must be odd, got 4"),
        ("stgcnpp", {"strides": [1]}, "an entry >= 1 for each block"),
        ("stgcnpp", {"widths": [12, 5], "strides": [1, 1]}, "must be >= 6, the parallel branches"),
        ("stgcnpp", {"links": [[1, 0], [1, 0]]}, "for every joint but the root"),
        ("stgcnpp", {"links": [[1, 0], [3, 1]]}, "for every joint but the root"),
        ("stgcnpp", {"links": [[1, 2], [2, 1]]}, "for every joint but the root"),
    ])
    def test_bad_ones_are_refused(self, name, change, message):
        config = declared(name)
        backbone = getattr(backbones, config["class_path"].rpartition(".")[2])
        with pytest.raises(ValueError, match=message):
            backbone(17, **config["init_args"] | change)

    def test_a_graph_of_other_joints_is_refused(self):
        with pytest.raises(ValueError, match="`links` describe 17 joints, got 13"):
            measure(network("stgcnpp"), (3, 4, 2, 13), seconds=0)


class TestRuns:
    """From the keypoint file to a checkpoint that is enough, as the command line puts it together.

    The graph is that of the data, whatever skeleton it has.
    """

    @pytest.mark.parametrize(("backbone", "representation", "channels"), [
        ("stgcnpp", "coordinates", 3), ("x3d_shallow", "limbs", 14)])
    def test_a_run(self, tiny_file, tmp_path, monkeypatch, backbone, representation, channels):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(outcome, "measure", partial(measure, seconds=0))
        widths = {"stgcnpp": "[12, 12]", "x3d_shallow": "[4, 4]"}[backbone]
        depths = ["--model.backbone.init_args.depths", "[1, 1]"]
        arguments = depths if backbone == "x3d_shallow" else []
        cli.run("fit", [
            "--model.backbone", f"backbone/{backbone}.yaml", "--data.representation",
            f"representation/{representation}.yaml", "--model.backbone.init_args.widths", widths,
            "--model.backbone.init_args.strides", "[1, 2]", *arguments, "--data.file",
            str(tiny_file), "--data.protocol", "cross", "--data.clip_len", "8", "--data.size", "16",
            "--data.eval_size", "16", "--trainer.max_epochs", "1", "--wandb", "off",
            "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false",
            "--data.augment.crop_area", "[1, 1]", "--run_dir", "run"])
        assert read_result(Path("run"))["model"]["input_shape"][:2] == [channels, 8]
        cli.run("test", ["--ckpt_path", "run/checkpoints/last.ckpt", "--data.test_clips", "2",
                         "--data.test_flip", "true", "--trainer.enable_progress_bar", "false"])
        assert read_result(Path("run/test"))["status"] == "finished"
