"""Weights of others: which file gives which tensors, and that nothing in a file is run."""

import collections
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from ptl_skel.__main__ import main
from ptl_skel.backbones import C3DLight, SlowOnly, STGCNpp, VideoResNet18, X3DShallow
from ptl_skel.cli import outcome
from ptl_skel.cost.complexity import Complexity
from ptl_skel.errors import UserError
from ptl_skel.runs.predictions import read_predictions
from ptl_skel.runs.record import read_result
from ptl_skel.training.module import classifier
from ptl_skel.training.weights import load_weights, read_tensors

BACKBONES = {
    "slowonly": lambda channels: SlowOnly(channels, 4, 3, 1, [4, 8], [1, 2], [[1, 2], [2, 2]],
                                          [1, 3]),
    "c3d": lambda channels: C3DLight(channels, 4),
    "x3d": lambda channels: X3DShallow(channels, 4, 2, [4, 8], [1, 1], [2, 2], 2.25),
    "stgcnpp": lambda channels: STGCNpp(channels, [12, 24], [1, 2]),
}


def network(name="c3d", channels=13, classes=3):
    return classifier(BACKBONES[name](channels), classes)


def resnet(channels=13, classes=3):
    return classifier(VideoResNet18(channels, 4, 6, [4, 8], [1, 1], [1, 2], [3, 3], True), classes)


def pyskl(model, head="cls_head.fc_cls."):
    """The state dict under the names of PYSKL."""
    return collections.OrderedDict(
        (name.replace("head.3.", head), value) for name, value in model.state_dict().items())


def torchvision(model):
    return {name.replace("head.3.", "fc.").removeprefix("backbone."): value
            for name, value in model.state_dict().items()}


def same(one, other):
    one, other = one.state_dict(), other.state_dict()
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "published.pth"


class TestNames:
    @pytest.mark.parametrize("head", ["cls_head.fc_cls.", "cls_head.fc."])
    @pytest.mark.parametrize("name", BACKBONES)
    def test_pyskl_and_mmaction(self, file, name, head):
        published, model = network(name), network(name)
        torch.save({"meta": {"mmcv_version": "1.5.0", "time": "now"},
                    "state_dict": pyskl(published, head)}, file)
        assert not same(model, published)
        assert load_weights(model, file, adapt=False) == []
        assert same(model, published)

    @pytest.mark.parametrize("prefix", ["", "module."])
    def test_torchvision(self, file, prefix):
        published, model = resnet(), resnet()
        torch.save({prefix + name: value for name, value in torchvision(published).items()}, file)
        assert load_weights(model, file, adapt=False) == []
        assert same(model, published)

    def test_ours(self, file):
        published, model = resnet(), resnet()
        torch.save({"state_dict": {f"classifier.{name}": value
                                   for name, value in published.state_dict().items()}}, file)
        assert load_weights(model, file, adapt=False) == []
        assert same(model, published)


class TestRefusals:
    @pytest.mark.parametrize("adapt", [False, True])
    def test_missing_and_unexpected_tensors_are_listed(self, file, adapt):
        tensors = pyskl(network())
        del tensors["backbone.conv3b.bn.weight"]
        tensors["backbone.conv5.weight"] = tensors["neck.weight"] = torch.zeros(1)
        torch.save(tensors, file)
        model = network()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        with pytest.raises(ValueError, match=r"published.pth does not hold .* it lacks "
                           r"backbone.conv3b.bn.weight; it has beyond them backbone.conv5.weight, "
                           r"neck.weight$"):
            load_weights(model, file, adapt=adapt)
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())

    def test_of_many_the_first_are_listed(self, file):
        torch.save(pyskl(network("x3d")), file)
        with pytest.raises(ValueError, match=r"it lacks backbone.conv1a.bn.bias, .* and \d+ more"):
            load_weights(network(), file, adapt=True)

    def test_other_shapes_are_listed(self, file):
        torch.save(pyskl(network(channels=17)), file)
        with pytest.raises(ValueError, match=r"in another shape backbone.conv1a.conv.weight "
                           "4x17x3x3x3 instead of 4x13x3x3x3$"):
            load_weights(network(), file, adapt=True)

    def test_another_head_is_refused_unless_it_is_trained(self, file):
        published, model = network(classes=5), network()
        torch.save(pyskl(published), file)
        with pytest.raises(ValueError, match=r"head.3.weight 5x32 instead of 3x32"):
            load_weights(model, file, adapt=False)
        fresh = model.head[3].weight.clone()
        said, = load_weights(model, file, adapt=True)
        assert said == "the head, for 5 classes, is left out: 3 are trained"
        assert torch.equal(model.head[3].weight, fresh)
        assert same(model.backbone, published.backbone)

    @pytest.mark.parametrize("content", [[1, 2], {"state_dict": {"a": 1}}, {}, torch.zeros(3)])
    def test_files_without_weights(self, file, content):
        torch.save(content, file)
        with pytest.raises(ValueError, match="holds no state dict"):
            read_tensors(file)

    def test_files_that_are_none(self, file):
        with pytest.raises(FileNotFoundError, match="do not exist"):
            read_tensors(file)
        torch.save(pyskl(network()), file)
        whole = file.read_bytes()
        for broken in (b"", b"no weights", whole[:2000], whole[:-30]):
            file.write_bytes(broken)
            with pytest.raises(ValueError, match="holds no weights that can be read"):
                read_tensors(file)


class TestClasses:
    """A head belongs to classes, by name and order."""

    def test_another_order_permutes_the_head(self, file):
        published, model = network(), network()
        torch.save(pyskl(published), file)
        inputs = torch.rand(2, 13, 4, 16, 16)
        for adapt in (False, True):
            said, = load_weights(model, file, adapt=adapt, trained_on=["a", "b", "c"],
                                 class_names=("c", "a", "b"))
            assert said == "the head is reordered: the same classes come in another order"
            with torch.inference_mode():
                expected = published.eval()(inputs)[:, [2, 0, 1]]
                torch.testing.assert_close(model.eval()(inputs), expected)
        assert load_weights(model, file, adapt=True, trained_on=["a", "b", "c"],
                            class_names=("a", "b", "c")) == []
        assert same(model, published)

    def test_as_many_others_are_trained_anew_or_refused(self, file):
        published, model = network(), network()
        torch.save(pyskl(published), file)
        fresh = model.head[3].weight.clone()
        classes = {"trained_on": ["a", "b", "c"], "class_names": ("a", "b", "d")}
        with pytest.raises(UserError, match=r"was trained on other classes: a, b, c$"):
            load_weights(model, file, adapt=False, **classes)
        said, = load_weights(model, file, adapt=True, **classes)
        assert said == "the head, for 3 other classes, is left out: 3 are trained"
        assert torch.equal(model.head[3].weight, fresh)
        assert same(model.backbone, published.backbone)


class TestStem:
    def test_rgb_is_spread_over_the_channels(self, file):
        published, model = resnet(channels=3), resnet(channels=13)
        torch.save(torchvision(published), file)
        said, = load_weights(model, file, adapt=True)
        assert said == "backbone.stem.0.weight, trained on RGB, is spread over 13 channels"
        weight = model.backbone.stem[0].weight
        mean = published.backbone.stem[0].weight.mean(1) * 3 / 13
        for channel in range(13):
            torch.testing.assert_close(weight[:, channel], mean)
        # The prediction for a grey image does not change.
        image = torch.rand(2, 1, 4, 12, 12)
        with torch.inference_mode():
            grey = published.eval()(image.expand(-1, 3, -1, -1, -1))
            torch.testing.assert_close(model.eval()(image.expand(-1, 13, -1, -1, -1)), grey)

    @pytest.mark.parametrize("shape", [(8, 3, 1, 3, 3), (4, 3, 3, 7, 7), (4, 3, 1, 3, 3)])
    def test_a_convolution_of_another_shape_is_not_adapted(self, file, shape):
        model = network()
        weights = dict(model.state_dict())
        name = next(name for name, value in weights.items() if value.ndim == 5)
        assert weights[name].shape == (4, 13, 3, 3, 3)
        torch.save({**weights, name: torch.rand(shape)}, file)
        with pytest.raises(UserError, match=f"in another shape {name} .* instead of 4x13x3x3x3"):
            load_weights(model, file, adapt=True)

    def test_but_not_for_a_test(self, file):
        torch.save(torchvision(resnet(channels=3)), file)
        with pytest.raises(ValueError, match=r"6x3x1x7x7 instead of 6x13x1x7x7"):
            load_weights(resnet(), file, adapt=False)


class Harmful:
    """Runs when it is unpickled by pickle."""

    ran = Path("harm")

    def __reduce__(self):
        return Path.touch, (self.ran,)


@pytest.fixture
def foreign(monkeypatch):
    """Classes of a package that is gone when the file is read."""
    module = types.ModuleType("mmengine_gone")
    exec("class HistoryBuffer:\n"
         "    def __init__(self, *values): self.values = list(values)\n"
         "class Listed(list): pass\n"
         "class Mapped(dict): pass\n"
         "class Stated:\n"
         "    def __getstate__(self): return {'a': 1}\n"
         "    def __setstate__(self, state): raise RuntimeError\n", module.__dict__)
    monkeypatch.setitem(sys.modules, "mmengine_gone", module)
    yield module
    monkeypatch.delitem(sys.modules, "mmengine_gone")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
class TestOtherObjects:
    def test_tensors_are_read_from_among_them(self, file, tmp_path, foreign, zipped, monkeypatch):
        published, model = network(), network()
        mapped = foreign.Mapped(a=foreign.HistoryBuffer(1, np.float64(2)))
        content = {
            "message_hub": {"log": mapped, "listed": foreign.Listed([1, 2])},
            "meta": {"version": foreign.Stated(), "numpy": np.arange(3), "path": Path("x"),
                     "class": foreign.Stated, "set": {1, 2}, "default": collections.Counter("aab"),
                     "parameter": torch.nn.Parameter(torch.zeros(2))},
            "state_dict": pyskl(published)}
        torch.save(content, file, _use_new_zipfile_serialization=zipped)
        monkeypatch.delitem(sys.modules, "mmengine_gone")
        assert load_weights(model, file, adapt=False) == []
        assert same(model, published)
        monkeypatch.setitem(sys.modules, "mmengine_gone", foreign)

    def test_nothing_is_run(self, file, tmp_path, monkeypatch, zipped):
        monkeypatch.chdir(tmp_path)
        torch.save({"harm": Harmful(), "state_dict": pyskl(network())}, file,
                   _use_new_zipfile_serialization=zipped)
        with pytest.raises(pickle.UnpicklingError):
            torch.load(file)
        load_weights(network(), file, adapt=False)
        assert not Harmful.ran.exists()


class TestCommands:
    @pytest.fixture(autouse=True)
    def surroundings(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(outcome, "measure", lambda *args: Complexity(1, 1, 1, (1,), "test"))

    def run(self, verb, tiny_file, *arguments, classes=3):
        torch.save(pyskl(network(classes=classes)), "published.pth")
        main([verb, "--model.backbone.class_path", "ptl_skel.backbones.C3DLight",
              "--model.backbone.init_args.width", "4", "--data.file", str(tiny_file),
              "--data.protocol", "cross", "--data.clip_len", "4", "--data.eval_size", "16",
              "--data.size", "16", "--trainer.enable_progress_bar", "false",
              "--trainer.accelerator", "cpu", "--init_from", "published.pth", *arguments])

    def test_published_weights_are_tested_without_a_run(self, tiny_file):
        self.run("test", tiny_file, "--data.test_clips", "2", "--data.test_flip", "true")
        run_dir = Path("runs/published-test")
        result = read_result(run_dir)
        assert (result["status"], result["tested"]) == ("finished", "published.pth")
        assert result["init_from"] == "published.pth"
        assert read_predictions(run_dir).probabilities.shape == (6, 3)
        self.run("validate", tiny_file, "--data.protocol", "own")
        assert len(read_predictions(Path("runs/published-validate")).clip) == 2
        self.run("predict", tiny_file)
        assert len(read_predictions(Path("runs/published-predict")).clip) == 24

    def test_a_run_begins_with_them(self, tiny_file, capsys):
        self.run("fit", tiny_file, "--trainer.max_epochs", "1", "--run_dir", "run",
                 "--wandb", "off", "--model.optimizer.init_args.lr", "0", classes=7)
        assert "the head, for 7 classes, is left out: 3 are trained" in capsys.readouterr().out
        trained = torch.load("run/checkpoints/last.ckpt")["state_dict"]
        begun = torch.load("published.pth")
        name = "backbone.conv2a.conv.weight"
        assert torch.equal(trained[f"classifier.{name}"], begun[name])
        main(["test", "--ckpt_path", "run/checkpoints/last.ckpt"])  # and its checkpoint is enough

    def test_mistakes_end_in_a_sentence(self, tiny_file, capsys):
        for arguments, said in [
                (("--model.backbone.init_args.width", "8"), "in another shape"),
                (("--init_from", "absent.pth"), "weights absent.pth do not exist"),
                (("--ckpt_path", "last.ckpt"), "leave out --ckpt_path or --init_from")]:
            with pytest.raises(SystemExit) as stopped:
                self.run("test", tiny_file, *arguments)
            assert stopped.value.code == 2
            assert said in capsys.readouterr().err
        assert not Path("runs").exists()
