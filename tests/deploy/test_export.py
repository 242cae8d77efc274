"""``ptl-skel export``, and what its files compute."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from commandline import refusal
from tiny import CLASSES, tiny_clips, write_clips
from torch import nn

from ptl_skel.backbones import C3DLight, Conv1D, STGCNpp
from ptl_skel.cli import deployable
from ptl_skel.cli import export as command
from ptl_skel.cli.deployable import batches_of, describe, feed_of, make_graph, predict
from ptl_skel.cli.lightning import load_trained
from ptl_skel.cli.profile import load_backbone
from ptl_skel.cli.verbs import main
from ptl_skel.cost.folding import fold_batch_norm
from ptl_skel.data.cameras import Camera
from ptl_skel.data.datamodule import KeypointDataModule
from ptl_skel.data.dataset import ClipDataset
from ptl_skel.data.transforms import (
    compact_box,
    constant,
    crop_resize,
    flip,
    flip_scores,
    frame_box,
)
from ptl_skel.deploy.export import (
    largest_difference,
    list_operators,
    open_session,
    update_metadata,
    write_onnx,
)
from ptl_skel.deploy.graph import Ensemble, Recognition, Views
from ptl_skel.errors import UserError
from ptl_skel.representations import (
    Coordinates,
    JointHeatmaps,
    LimbHeatmaps,
    NormalizedCoordinates,
)
from ptl_skel.skeletons import get_layout
from ptl_skel.training.module import classifier


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def kernels(path):
    """Kernel shapes of all convolutions of a file."""
    return {tuple(attribute.ints) for node in onnx.load(path).graph.node if node.op_type == "Conv"
            for attribute in node.attribute if attribute.name == "kernel_shape"}


def example(graph, joints, clips=2, persons=3, seed=0):
    """Random keypoints that move, of which some are missing, as inputs of a graph."""
    random = np.random.default_rng(seed)
    frames = graph.views.clip_len * graph.views.num_clips
    place = random.uniform(20, 300, (clips, persons, 1, joints, graph.views.coordinates))
    keypoints = place + random.normal(0, 5, (clips, persons, frames, 1, 1)).cumsum(2)
    found = random.random(keypoints.shape[:-1]) < 0.9
    inputs = {"keypoints": keypoints, "scores": random.uniform(0.2, 1, found.shape) * found}
    if graph.views.camera is None:
        inputs["frame_size"] = np.array([[480, 640]] * clips)
    return {name: torch.from_numpy(values).float() for name, values in inputs.items()}


def write_and_compare(graph, joints, path, expected=None):
    """Exports a graph; the largest difference from it on several batches, and persons."""
    dynamic = {"keypoints": [0, 1], "scores": [0, 1], "frame_size": [0]}
    write_onnx(graph, example(graph, joints), ["probabilities"], dynamic, {}, path)
    expected = expected or graph

    def batches():
        for clips, persons in ((1, 1), (3, 2), (2, 5)):
            inputs = example(graph, joints, clips, persons, seed=clips)
            with torch.inference_mode():
                made = expected(*inputs.values())
            found.append(made)
            yield {name: values.numpy() for name, values in inputs.items()}, [made.numpy()]

    found: list[torch.Tensor] = []
    difference = largest_difference(path, batches())
    assert np.ptp(torch.cat(found).numpy(), 0).max() > 0.2  # else anything would be close
    return difference


def sharpen_graph(sharpen, graph, joints):
    """See `sharpen`; for the batches of `write_and_compare`, of a graph with one view."""
    with torch.no_grad():
        probabilities = [graph(*example(graph, joints, clips, persons, seed=clips).values())
                         for clips, persons in ((1, 1), (3, 2), (2, 5))]
    sharpen(graph.classifier.head[-1], torch.cat(probabilities).log())


def test_the_file_computes_what_the_test_computes(exported, checkpoint, tiny_file):
    """The prediction of `ptl-skel test`, from pixels, for batches of any size."""
    model, data = load_trained(["--ckpt_path", str(checkpoint)])
    session = open_session(exported)
    clips = np.arange(len(data.file))
    sizes = set()
    for batch in batches_of(data, clips):
        feed = feed_of(batch, data)
        probabilities, = session.run(None, feed)
        np.testing.assert_allclose(probabilities, predict(model, data, batch), atol=1e-5)
        sizes.add(feed["scores"].shape[:2])
    assert {size[0] for size in sizes} == {1, 2, 5, 16}
    assert {size[1] for size in sizes} >= {1, 2, 4}


def test_scores_that_only_say_which_joints_are_missing(checkpoint, tiny_file):
    """For a network trained on annotations; in PyTorch as in the file."""
    option = ("--data.use_scores", "false")
    main(["export", "--ckpt_path", str(checkpoint), "--out", "found.onnx", *option])
    session = open_session(Path("found.onnx"))
    _, data = load_trained(["--ckpt_path", str(checkpoint), *option])
    feed = feed_of(ClipDataset(data.file, np.array([3, 8]), data.clip_len)[0], data)
    feed["scores"][:, :, 2] = 0
    [expected] = session.run(None, feed)
    for scores in (0.3 * feed["scores"], np.sqrt(feed["scores"])):
        np.testing.assert_allclose(session.run(None, {**feed, "scores": scores})[0], expected,
                                   atol=1e-6)
    fewer = np.where(np.arange(feed["scores"].shape[-1]) < 6, feed["scores"], 0)
    assert np.abs(session.run(None, {**feed, "scores": fewer})[0] - expected).max() > 1e-4


def test_the_arms_need_only_2d_convolutions(exported):
    assert kernels(exported) == {(1, 1), (3, 1), (3, 3)}
    assert not [name for name in list_operators(exported) if name in {"Scatter", "Loop", "NonZero"}]


def test_the_file_describes_itself(exported, checkpoint, monkeypatch):
    """Readable with onnxruntime or onnx only."""
    properties = {each.key: each.value for each in onnx.load(exported).metadata_props}
    metadata = json.loads(properties["ptl_skel"])
    assert metadata["class_names"] == list(CLASSES)
    assert metadata["layout"]["joints"][0] == "head"
    assert {name: metadata[name] for name in (
        "format", "clip_len", "num_clips", "flip", "sampling", "size", "representation",
        "coordinates", "precision")} == {
        "format": 1, "clip_len": 8, "num_clips": 1, "flip": False, "sampling": "uniform",
        "size": [16, 16], "representation": "JointHeatmaps", "coordinates": 2,
        "precision": "float32"}
    assert metadata["training"]["checkpoint"] == str(checkpoint)
    assert re.fullmatch("[0-9a-f]{64}", metadata["training"]["sha256"])
    assert {"git_commit", "seed", "command"} <= metadata["training"].keys()
    monkeypatch.chdir(checkpoint.parent)
    _, data = load_trained(["--ckpt_path", checkpoint.name])
    inside = describe(Path(checkpoint.name), data, Views(8))["training"]
    assert inside == metadata["training"] | {"checkpoint": checkpoint.name}
    assert inside["command"]
    text = exported.read_bytes()
    assert b"site-packages" not in text  # nothing of where it was made
    assert b"deploy/rendering.py" not in text


def test_views_of_limbs_through_the_reduced_network(tmp_path, sharpen):
    """Three clips and their flips; the mean of what the training form gives for each."""
    layout = get_layout("penn13")
    limbs = LimbHeatmaps(layout)
    torch.manual_seed(0)
    network = classifier(load_backbone("backbone/reduced.yaml", limbs.num_channels), 5).eval()
    sharpen_graph(sharpen, Recognition(network, limbs, (16, 16), Views(8)), 13)
    shape = 1, limbs.num_channels, 8, 16, 16
    graph = Recognition(fold_batch_norm(network, torch.rand(shape)), limbs, (16, 16),
                        Views(8, 3, flip=True)).eval()

    def separately(keypoints, scores, frame_size):
        """Each clip in the box of all frames, then its flip."""
        points = crop_resize(keypoints, compact_box(keypoints, scores, frame_size), (16, 16))
        views = []
        for first in (0, 8, 16):
            part = slice(first, first + 8)
            inputs = limbs(points[:, :, part], scores[:, :, part], (16, 16))
            views += [network(inputs).softmax(1), network(limbs.flip(inputs)).softmax(1)]
        return torch.stack(views).mean(0)

    assert write_and_compare(graph, 13, tmp_path / "limbs.onnx", separately) < 1e-5
    assert {len(kernel) for kernel in kernels(tmp_path / "limbs.onnx")} == {2}


def test_a_network_on_coordinates(tmp_path, sharpen):
    layout = get_layout("coco17")
    coordinates = Coordinates(layout, "bone_motion")
    torch.manual_seed(0)
    network = classifier(STGCNpp(3, [12, 12], [1, 2], layout.tree), 5)
    network = fold_batch_norm(network, torch.rand(1, 3, 8, 2, 17))
    graph = Recognition(network, coordinates, (16, 16), Views(8)).eval()
    sharpen_graph(sharpen, graph, 17)
    assert write_and_compare(graph, 17, tmp_path / "coordinates.onnx") < 1e-5


@pytest.mark.parametrize("name", ["coordinates", "normalized"])
def test_missing_joints_on_coordinates(name, tmp_path, sharpen):
    """Of clips and their flips: keypoints are flipped, so missing joints are where they were."""
    layout = get_layout("coco17")
    torch.manual_seed(0)
    if name == "coordinates":
        representation, box = Coordinates(layout), frame_box
        network = classifier(STGCNpp(3, [12, 12], [1, 2], layout.tree), 5)
    else:
        representation, box = NormalizedCoordinates(layout), compact_box
        network = classifier(Conv1D(3, [16, 16], [1, 2], 3, layout.tree), 5)
    network = network.eval()
    sharpen_graph(sharpen, Recognition(network, representation, (16, 16), Views(8)), 17)
    graph = Recognition(fold_batch_norm(network, torch.rand(1, 3, 8, 2, 17)), representation,
                        (16, 16), Views(8, flip=True)).eval()

    def separately(keypoints, scores, frame_size):
        points = crop_resize(keypoints, box(keypoints, scores, frame_size), (16, 16))
        every = torch.ones(len(points), dtype=torch.bool)
        views = [(points, scores),
                 (flip(points, 16, layout, every), flip_scores(scores, layout, every))]
        return torch.stack([network(representation(*view, (16, 16))).softmax(1)
                            for view in views]).mean(0)

    assert write_and_compare(graph, 17, tmp_path / "missing.onnx", separately) < 1e-5


def test_distances_of_joints_that_are_close(tmp_path):
    """The exporter must not simplify what keeps the gradient of their square root finite."""
    class Measure(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = Conv1D(3, [4], [1], 3, get_layout("coco17").tree)

        def forward(self, frames):
            return self.network.measure(frames)

    frames = torch.ones(4, 3, 17, 8)
    frames[:, :2] = 0.001 * torch.rand(4, 2, 17, 8, generator=torch.Generator().manual_seed(0))
    module, path = Measure().eval(), tmp_path / "measure.onnx"
    write_onnx(module, {"frames": frames}, ["measured"], {"frames": [0]}, {}, path)
    expected = module(frames)
    assert expected[:, -1].max() < 0.002  # a distance
    assert largest_difference(path, [({"frames": frames.numpy()}, [expected.numpy()])]) < 1e-8


def test_networks_fused_into_one_file(tmp_path, sharpen):
    """Joints, limbs and coordinates in one graph: the weighted mean of their probabilities."""
    layout = get_layout("coco17")
    torch.manual_seed(0)
    graphs = []
    for representation in (JointHeatmaps(layout), LimbHeatmaps(layout),
                           NormalizedCoordinates(layout)):
        channels = representation.num_channels
        backbone = (Conv1D(3, [16, 16], [1, 2], 3, layout.tree) if channels == 3
                    else C3DLight(channels, 2))
        graphs.append(Recognition(classifier(backbone, 5), representation, (16, 16), Views(8)))
        sharpen_graph(sharpen, graphs[-1].eval(), 17)
    shares = [0.5, 0.2, 0.3]
    fused = Ensemble(graphs, shares).eval()

    def mean(*inputs):
        return sum(share * graph(*inputs) for share, graph in zip(shares, graphs, strict=True))

    assert write_and_compare(fused, 17, tmp_path / "fused.onnx", mean) < 1e-5


def test_a_published_network_of_3d_convolutions(tmp_path, sharpen):
    layout = get_layout("coco17")
    torch.manual_seed(0)
    network = fold_batch_norm(classifier(C3DLight(17, 4), 5), torch.rand(1, 17, 8, 16, 16))
    graph = Recognition(network, JointHeatmaps(layout), (16, 16), Views(8)).eval()
    sharpen_graph(sharpen, graph, 17)
    assert write_and_compare(graph, 17, tmp_path / "c3d.onnx") < 1e-5
    assert kernels(tmp_path / "c3d.onnx") == {(3, 3, 3)}


def test_3d_coordinates_that_two_cameras_project(spatial_file, tmp_path, sharpen):
    constant.cache_clear()  # an exporter must not leave its own kind of tensors there
    camera = Camera(frame_size=(240, 320), test_yaws=(0.0, 30.0))
    data = KeypointDataModule(spatial_file, JointHeatmaps, "cross", clip_len=8, eval_size=16,
                              camera=camera)
    torch.manual_seed(0)
    network = classifier(C3DLight(13, 2), 3).eval()
    every = np.arange(len(data.file))
    batch = ClipDataset(data.file, every, 8).__getitems__(every)
    with torch.no_grad():
        sharpen(network.head[-1],
                network(data.maker.evaluate(batch, torch.float32, several=True)))

    class Model(nn.Module):
        classifier = network

        def forward(self, inputs):
            return network(inputs)

    assert np.ptp(predict(Model(), data, batch).numpy(), 0).max() > 0.2
    graph = make_graph(Model(), data)
    inputs, outputs, dynamic = command.example(graph, data)
    assert list(inputs) == ["keypoints", "scores"]
    write_onnx(graph, inputs, outputs, dynamic, {}, tmp_path / "camera.onnx")
    assert command.difference_from_torch(
        tmp_path / "camera.onnx", [(Model(), data)], [1], every) < 1e-5


def test_networks_on_3d_coordinates_are_refused(spatial_file):
    data = KeypointDataModule(spatial_file, Coordinates, "cross", clip_len=8)
    with pytest.raises(UserError, match="3D coordinates without a camera"):
        make_graph(nn.Module(), data)
    data = KeypointDataModule(spatial_file, Coordinates, "cross", clip_len=8,
                              camera=Camera(projection="none"))
    with pytest.raises(UserError, match="networks on 3D coordinates cannot be exported"):
        Recognition(nn.Identity(), data.maker.representation, (8, 8),
                    Views(8, camera=data.maker.camera))


@pytest.fixture(scope="module")
def on_coordinates(tiny_config, checkpoint, tmp_path_factory):
    """Checkpoint of `conv1d` on the same data as `checkpoint`."""
    run_dir = tmp_path_factory.mktemp("coordinates") / "run"
    main(["fit", "--config", str(tiny_config), "--data.file",
          str(load_trained(["--ckpt_path", str(checkpoint)])[1].file.path),
          "--model.backbone", "backbone/conv1d.yaml", "--run_dir", str(run_dir)])
    return run_dir / "checkpoints/last.ckpt"


def test_a_fused_file(checkpoint, on_coordinates, capsys):
    """One file for `conv1d` and a network on heatmaps, also in 8 bits; described, measured."""
    calibrated = torch.load(checkpoint)
    calibrated["ptl_skel"]["calibration"] = {"min_probability": 0.9}
    torch.save(calibrated, "calibrated.ckpt")
    checkpoints = "--ckpt_path", "calibrated.ckpt", str(on_coordinates)
    main(["export", *checkpoints, "--weights", "3", "1", "--out", "fused.onnx"])
    assert "dropped: it does not hold for the mean" in capsys.readouterr().out
    networks = [load_trained(["--ckpt_path", name]) for name in checkpoints[1:]]
    data = networks[0][1]
    session = open_session(Path("fused.onnx"))
    for batch in batches_of(data, np.arange(len(data.file))):
        heatmaps, coordinates = (predict(model, own, batch) for model, own in networks)
        np.testing.assert_allclose(session.run(None, feed_of(batch, data))[0],
                                   0.75 * heatmaps + 0.25 * coordinates, atol=1e-5)
    metadata = json.loads(onnx.load("fused.onnx").metadata_props[0].value)
    assert not {"training", "representation", "size", "flip"} & metadata.keys()
    assert metadata["clip_len"] == 8
    assert metadata["calibration"] is None
    assert [(each["weight"], each["representation"], Path(each["training"]["checkpoint"]))
            for each in metadata["networks"]] == [
        (0.75, "JointHeatmaps", Path("calibrated.ckpt")),
        (0.25, "NormalizedCoordinates", on_coordinates)]
    main(["export", *checkpoints, "--out", "int8.onnx", "--int8", "--max_loss", "100"])
    assert Path("int8.onnx").stat().st_size < 0.6 * Path("fused.onnx").stat().st_size
    main(["profile", "--exported", "fused.onnx", "--seconds", "0", "--threads", "1", "--out",
          "cost.md"])
    assert "| fused.onnx (13x8x16x16 + 13x8x16x16) |" in Path("cost.md").read_text()


def test_networks_that_cannot_be_fused(checkpoint, on_coordinates, tiny_file, capsys):
    def said(*arguments):
        return refusal(capsys, "export", "--ckpt_path", checkpoint, on_coordinates, "--out",
                       "a.onnx", *arguments)

    assert "--weights must be 2 numbers >= 0" in said("--weights", "1")
    assert "--stream takes one checkpoint" in said("--stream")
    assert "--weights has no effect on one checkpoint" in refusal(
        capsys, "export", "--ckpt_path", checkpoint, "--weights", "1", "--out", "a.onnx")
    for name, value, hint in (("protocol", "own", "; --data.protocol sets it for both"),
                              ("clip_len", 16, "")):
        other = torch.load(on_coordinates)
        other["ptl_skel"]["config"]["data"][name] = value
        torch.save(other, "other.ckpt")
        message = refusal(capsys, "export", "--ckpt_path", checkpoint, "other.ckpt", "--out",
                          "a.onnx")
        assert f"other.ckpt cannot be fused into one file: they differ in data.{name}{hint}" in (
            message)
    assert not Path("a.onnx").exists()


def test_int8(checkpoint, exported, capsys):
    """Smaller, almost as right, and the renderer stays in single precision."""
    main(["export", "--ckpt_path", str(checkpoint), "--out", "int8.onnx", "--int8",
          "--max_loss", "100"])
    said = capsys.readouterr().out
    right = {name: float(re.search(rf"top-1, {name} +│ ([\d.]+) %", said)[1])
             for name in ("float32", "int8")}
    same = float(re.search(r"same class +│ ([\d.]+) %", said)[1])
    assert abs(right["float32"] - right["int8"]) <= 100 - same + 0.01
    assert same > 80
    model = onnx.load("int8.onnx")
    described = json.loads(model.metadata_props[0].value)
    assert described["precision"] == "int8"
    accuracy = described["accuracy"]
    assert accuracy["clips"] == 6
    for key, printed in (("top1", right["int8"]), ("top1_float32", right["float32"]),
                         ("same_class", same)):
        assert 100 * accuracy[key] == pytest.approx(printed, abs=0.01)
    made_by = {output: node.op_type for node in model.graph.node for output in node.output}
    for node in model.graph.node:
        if node.op_type == "Conv":
            assert {made_by[name] for name in node.input[:2]} == {"DequantizeLinear"}
        if node.op_type in {"Exp", "Div", "ReduceMax", "Where"}:
            assert "DequantizeLinear" not in {made_by.get(name) for name in node.input}
    feed = {name: np.ones(shape, np.float32) for name, shape in {
        "keypoints": (3, 2, 8, 13, 2), "scores": (3, 2, 8, 13), "frame_size": (3, 2)}.items()}
    assert open_session(Path("int8.onnx")).run(None, feed)[0].shape == (3, 3)


def pretend(monkeypatch, source):
    """Lets the command write a copy of a file instead of an export, which takes seconds."""
    monkeypatch.setattr(command, "write_onnx", lambda *args: shutil.copy(source, args[-1]))


def test_int8_that_loses_more_than_it_may(checkpoint, exported, monkeypatch, capsys):
    pretend(monkeypatch, exported)
    monkeypatch.setattr(command, "quantize", lambda single, out, feeds: shutil.copy(single, out))
    found = np.array([0, 1, 2]), np.array([0, 1, 2]), np.array([0, 1, 0])
    monkeypatch.setattr(command, "_predict_classes", lambda data, *paths: found)
    said = refusal(capsys, "export", "--ckpt_path", checkpoint, "--out", "a.onnx", "--int8")
    assert "right in 66.67 % of 3 test clips, in single precision in 100.00 %" in said
    assert not list(Path().iterdir())


def test_a_file_that_computes_something_else_is_not_left_behind(checkpoint, exported, monkeypatch,
                                                                capsys):
    pretend(monkeypatch, exported)
    monkeypatch.setattr(deployable, "TOLERANCE", 1e-30)
    said = refusal(capsys, "export", "--ckpt_path", checkpoint, "--out", "a.onnx")
    assert "differs from PyTorch by up to" in said
    assert not list(Path().iterdir())


class Doubled(nn.Module):
    def forward(self, values):
        return 2 * values


def test_a_dimension_that_the_exporter_fixes_is_found(tmp_path):
    path = tmp_path / "fixed.onnx"
    write_onnx(Doubled(), {"values": torch.ones(2, 3)}, ["doubled"], {"values": [0]}, {}, path)

    def batches(*shape):
        values = np.ones(shape, np.float32)
        yield {"values": values}, [2 * values]

    assert largest_difference(path, batches(7, 3)) == 0
    with pytest.raises(UserError, match=r"does not take values \(7, 4\)"):
        largest_difference(path, batches(7, 4))
    with pytest.raises(UserError, match=r"outputs \(7, 3\) instead of \(2, 3\)"):
        largest_difference(path, [({"values": np.ones((7, 3), np.float32)}, [np.ones((2, 3))])])
    assert largest_difference(path, [(
        {"values": np.full((1, 3), np.nan, np.float32)}, [np.ones((1, 3))])]) == np.inf


def test_a_network_that_cannot_be_exported(tmp_path):
    class Own(nn.Module):
        def forward(self, values):
            return values if values.sum() > 0 else 2 * values

    with pytest.raises(UserError, match="the network cannot be exported"):
        write_onnx(Own(), {"values": torch.ones(2, 3)}, ["out"], {}, {}, tmp_path / "own.onnx")
    assert not list(tmp_path.iterdir())


def test_mistakes(checkpoint, exported, tiny_file, capsys, monkeypatch):
    def said(*arguments, out="a.onnx"):
        return refusal(capsys, "export", "--ckpt_path", checkpoint, "--out", out, *arguments)

    assert "--out must end in .onnx" in said(out="a.pt")
    Path("there.onnx").touch()
    assert "there.onnx exists; --overwrite replaces it" in said(out="there.onnx")
    assert "unknown option --int4" in said("--int4")
    assert "unknown option --model.dropout" in said("--model.dropout", "0.5")
    assert "--max_loss must be >= 0" in said("--max_loss", "-1")
    assert "--max_loss has no effect without --int8" in said("--max_loss", "2")
    for option in ("live_score", "sampling", "corrupt", "batch_size"):
        assert f"--data.{option} has no effect on a file for whole clips" in said(
            f"--data.{option}", "1")
    assert "keypoint file gone.h5 does not exist" in said("--data.file", "gone.h5")
    other = write_clips(Path("other.h5"), tiny_clips(get_layout("coco17")),
                        layout=get_layout("coco17"))
    assert "trained on the skeleton layout penn13, but other.h5 has coco17" in said(
        "--int8", "--data.file", other)
    pretend(monkeypatch, exported)
    Path("file").touch()
    assert "--out file/a.onnx cannot be written" in said(out="file/a.onnx")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert "need the package onnxscript: pip install 'ptl_skel[export]'" in said()
    assert not Path("a.onnx").exists()


def test_a_checkpoint_that_cannot_be_used(checkpoint, capsys):
    Path("text.ckpt").write_text("no weights")
    assert "is not a checkpoint" in refusal(
        capsys, "export", "--ckpt_path", "text.ckpt", "--out", "a.onnx")
    old = torch.load(checkpoint)
    old["ptl_skel"]["config"]["data"]["removed_option"] = 3
    torch.save(old, "old.ckpt")
    assert "removed_option" in refusal(
        capsys, "export", "--ckpt_path", "old.ckpt", "--out", "a.onnx")
    diverged = torch.load(checkpoint)
    next(iter(diverged["state_dict"].values())).fill_(np.nan)
    torch.save(diverged, "diverged.ckpt")
    said = refusal(capsys, "export", "--ckpt_path", "diverged.ckpt", "--out", "a.onnx")
    assert "diverged.ckpt: classifier" in said
    assert "the training diverged" in said
    del old["ptl_skel"]
    torch.save(old, "older.ckpt")
    assert "was not written by `ptl-skel fit`" in refusal(
        capsys, "export", "--ckpt_path", "older.ckpt", "--out", "a.onnx")


def test_openvino_reads_the_file(exported, checkpoint):
    openvino = pytest.importorskip(
        "openvino", reason="openvino is not installed (pip install openvino)")
    model, data = load_trained(["--ckpt_path", str(checkpoint)])
    batch = ClipDataset(data.file, np.arange(6), data.clip_len).__getitems__(range(6))
    feed = feed_of(batch, data)
    precise = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(exported), "CPU", precise)
    probabilities = compiled(dict(feed))["probabilities"]
    np.testing.assert_allclose(probabilities, predict(model, data, batch), atol=1e-4)


def test_profile(exported, capsys):
    main(["profile", "backbone/narrow.yaml", "--input", "13", "8", "16", "16", "--exported",
          str(exported), "--seconds", "0", "--threads", "1", "--out", "tables/cost.md"])
    said = capsys.readouterr().out
    lines = Path("tables/cost.md").read_text().splitlines()
    assert lines[0].startswith("input 13x8x16x16, 60 classes, cpu, 1 threads of ")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert cells[0] == ["network", "params", "GMACs", "size", "p50 ms", "p95 ms", "CPU ms"]
    names = [row[0] for row in cells[2:]]
    assert names == ["narrow", "narrow, folded", "model.onnx (13x8x16x16)"]
    assert cells[-1][3] == f"{exported.stat().st_size / 1e6:.2f} MB"
    for row in cells[2:]:
        p50, p95 = float(row[4]), float(row[5])
        assert 0 < p50 <= p95
        assert float(row[6]) > 0
        assert row[4] in said


def test_reports_show_what_exported_files_of_a_run_cost(exported, finished_run, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    for name in ("model.onnx", "other.onnx"):
        shutil.copy(exported, run / name)
    metadata = json.loads(onnx.load(exported).metadata_props[0].value)
    update_metadata(run / "other.onnx", metadata | {"accuracy": {
        "clips": 6, "top1": 0.5, "top1_float32": 0.625, "same_class": 0.75}})
    shutil.copy(exported, tmp_path / "elsewhere.onnx")
    main(["profile", "backbone/narrow.yaml", "--input", "13", "8", "16", "16", "--exported",
          str(run / "model.onnx"), str(run / "other.onnx"), str(tmp_path / "elsewhere.onnx"),
          "--seconds", "0", "--threads", "1"])
    assert f"recorded for reports: {run / 'exported.json'}" in capsys.readouterr().out
    record = json.loads((run / "exported.json").read_text())
    assert record["threads"] == 1
    assert [each["name"] for each in record["networks"]] == [
        "narrow", "narrow, folded", "model.onnx (13x8x16x16)", "other.onnx (13x8x16x16)"]
    assert not (tmp_path / "exported.json").exists()

    main(["report", str(run), "--out", str(tmp_path / "report")])
    assert "exported models:" in capsys.readouterr().out
    written = (tmp_path / "report/report.md").read_text().split("## Exported models")[1]
    files = [[cell.strip() for cell in line.split("|")] for line in written.splitlines()
             if "model.onnx" in line]
    cost = record["networks"][2]
    assert files[0][3:-2] == ["model.onnx (13x8x16x16)", "", "", cost["size"],
                              *(f"{cost[name]:.2f} ms" for name in ("p50_ms", "p95_ms", "cpu_ms")),
                              "", "", ""]
    other = next(line for line in written.splitlines() if "other.onnx" in line)
    assert "| 50.00 % | 62.50 % | 75.00 % |" in other
    assert files[0][-2].endswith(", 1 thread")
    page = (tmp_path / "report/report.html").read_text()
    assert "<h2>Exported models</h2>" in page
    assert f"<td>{cost['p50_ms']:.2f} ms</td>" in page

    (run / "exported.json").write_text('{"threads": 1}')
    assert "exported.json is damaged" in refusal(capsys, "report", run)


def test_profile_of_what_is_no_export(capsys, monkeypatch):
    Path("text.onnx").write_text("no network")
    assert "is not an ONNX file" in refusal(capsys, "profile", "--exported", "text.onnx")
    assert "gone.onnx does not exist" in refusal(capsys, "profile", "--exported", "gone.onnx")
    assert "name backbones, or files of `ptl-skel export`" in refusal(capsys, "profile")
    assert "--classes has no effect on exported files" in refusal(
        capsys, "profile", "--exported", "text.onnx", "--classes", "9")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "need the package onnxruntime" in refusal(capsys, "profile", "--exported", "text.onnx")
