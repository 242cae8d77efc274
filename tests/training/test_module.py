import math
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from processes import in_two_processes
from torch.testing import assert_close

from ptl_skel.backbones import Backbone, Conv2Plus1D, Conv3D, VideoResNet
from ptl_skel.backbones.layers import EveryFrame, temporal_stride
from ptl_skel.cli.profile import load_backbone
from ptl_skel.configs import CONFIGS
from ptl_skel.data.datamodule import KeypointDataModule
from ptl_skel.errors import UserError
from ptl_skel.metrics import AT_THE_END, COST, EVERY_EPOCH
from ptl_skel.representations import JointHeatmaps
from ptl_skel.runs.record import read_metrics, read_result
from ptl_skel.training.module import (
    ActionRecognizer,
    balance_weights,
    begun_outputs,
    classifier,
    cosine,
    means_so_far,
)

BACKBONES = sorted(path.stem for path in (CONFIGS / "backbone").glob("*.yaml"))


def backbone(in_channels=13):
    return VideoResNet(in_channels, Conv3D, 4, (1, 3), (2, 2), (4,), (1,), ((2, 2),), (3, 3))


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.4)


def recognizer(**changes):
    torch.manual_seed(0)
    return ActionRecognizer(**{"backbone": backbone(), "num_classes": 3, "optimizer": sgd,
                               "batch_size": 4, **changes})


def tiny_data(file, **changes):
    return KeypointDataModule(file, JointHeatmaps, **{
        "protocol": "cross", "clip_len": 8, "size": 16, "eval_size": 16, "batch_size": 4,
        **changes})


def fit(model, data, *callbacks, **options):
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False,
                      enable_progress_bar=False, enable_model_summary=False,
                      num_sanity_val_steps=0, callbacks=list(callbacks), **options)
    seed_everything(0)
    trainer.fit(model, data)
    return trainer


class LearningRates(Callback):
    """The learning rate with which each step of the optimiser was taken."""

    def __init__(self):
        self.of_each_step = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.of_each_step.append(optimizer.param_groups[0]["lr"])


def train_share(rank, folder):
    """Two steps of one of two processes; leaves the warnings that it met."""
    torch.distributed.init_process_group("gloo", f"file://{folder}/rendezvous", rank=rank,
                                         world_size=2)
    network = classifier(load_backbone("backbone/reduced.yaml", 3), 2)
    parallel = torch.nn.parallel.DistributedDataParallel(network)
    inputs = torch.rand(2, 3, 4, 16, 16).contiguous(memory_format=torch.channels_last_3d)
    with warnings.catch_warnings(record=True) as met:
        warnings.simplefilter("always")
        for _ in range(2):
            parallel(inputs).sum().backward()
    torch.save([str(warning.message) for warning in met], folder / str(rank))
    torch.distributed.destroy_process_group()


class TestClasses:
    def test_weights_by_hand(self):
        weights = balance_weights([6, 0, 2])
        torch.testing.assert_close(weights, torch.tensor([2 / 3, 0, 2]))
        assert float((weights * torch.tensor([6, 0, 2])).sum()) == 8  # 1 for each clip in mean
        assert balance_weights([4, 4]).tolist() == [1, 1]

    def test_weights_are_those_of_the_training_part(self, tiny_file):
        data = tiny_data(tiny_file)
        clips = data.file.label[data.part("train")]
        data.parts["train"] = data.parts["train"][(clips != 2) | (np.arange(len(clips)) % 2 == 0)]
        counts = data.class_counts
        assert sum(counts) == len(data.part("train"))
        assert len(set(counts)) > 1
        model = recognizer(class_weights="balanced", label_smoothing=0.1, dropout=0.0)
        before = set(model.state_dict())
        fit(model, data, max_epochs=1)
        assert set(model.state_dict()) == before  # nothing of it is in a checkpoint
        batch = {"inputs": torch.rand(6, 13, 8, 16, 16), "label": torch.tensor([0, 1, 2, 0, 1, 2])}
        model.log_dict = lambda *args, **kwargs: None
        model.eval()
        loss = model.training_step(batch, 0)
        each = torch.nn.CrossEntropyLoss(label_smoothing=0.1, reduction="none")(
            model(batch["inputs"]), batch["label"])
        expected = (each * balance_weights(counts)[batch["label"]]).mean()
        torch.testing.assert_close(loss, expected)

    def test_smoothing_does_not_make_rare_classes_the_best_prediction(self):
        """The loss of a frequent clip is least where its probability is that of the smoothing."""
        model = recognizer(class_weights="balanced", label_smoothing=0.1)
        model._weight = balance_weights([990, 9, 1])
        rare = torch.linspace(0.001, 0.9, 900)
        probabilities = torch.stack([1 - rare, rare / 2, rare / 2], 1)
        losses = model.losses(probabilities.log(), torch.zeros(len(rare), dtype=torch.long))
        assert float(rare[losses.argmin()]) == pytest.approx(0.1 * 2 / 3, abs=1e-3)

    def test_weights_need_someone_who_counts(self, tiny_file):
        loader = tiny_data(tiny_file).train_dataloader()
        with pytest.raises(UserError, match="`class_weights` needs a data module"):
            Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, max_epochs=1,
                    enable_progress_bar=False, enable_model_summary=False).fit(
                        recognizer(class_weights="balanced"), loader)


class TestSchedule:
    @pytest.mark.parametrize(("progress", "warmup", "factor"), [
        (0, 0, 1), (1 / 2, 0, 1 / 2), (1 / 3, 0, 3 / 4), (1, 0, 0), (1.1, 0, 0),
        (0, 0.2, 0), (0.1, 0.2, 1 / 2), (0.2, 0.2, 1), (0.6, 0.2, 1 / 2), (1, 0.2, 0)])
    def test_cosine_by_hand(self, progress, warmup, factor):
        assert cosine(progress, warmup) == pytest.approx(factor, abs=1e-12)

    @pytest.mark.parametrize(("lr_batch_size", "lr"), [(None, 0.4), (256, 0.4 * 4 / 256),
                                                       (4, 0.4), (2, 0.8)])
    def test_the_rate_of_each_step(self, tiny_file, lr_batch_size, lr):
        rates = LearningRates()
        fit(recognizer(lr_batch_size=lr_batch_size), tiny_data(tiny_file), rates, max_epochs=2)
        steps = 2 * (12 // 4)
        assert rates.of_each_step == pytest.approx(
            [lr * (1 + math.cos(math.pi * step / steps)) / 2 for step in range(steps)])

    def test_warm_up_rises_from_0(self, tiny_file):
        rates = LearningRates()
        fit(recognizer(warmup=0.5), tiny_data(tiny_file), rates, max_epochs=2)
        assert rates.of_each_step == pytest.approx(
            [0.4 * factor for factor in (0, 1 / 3, 2 / 3, 1, 3 / 4, 1 / 4)])

    def test_accumulated_batches_count(self, tiny_file):
        rates = LearningRates()
        fit(recognizer(lr_batch_size=16), tiny_data(tiny_file), rates, max_epochs=1,
            accumulate_grad_batches=3)
        assert rates.of_each_step == pytest.approx([0.4 * 12 / 16])


class TestTraining:
    def test_averaged_weights(self, tiny_file):
        class Weights(Callback):
            """The weights after each step, as the optimiser leaves them."""

            def __init__(self):
                self.after_each_step = []

            def on_train_batch_end(self, trainer, pl_module, *args):
                weight = pl_module.classifier.head[-1].weight
                self.after_each_step.append(weight.detach().clone())

        model, weights = recognizer(average=0.5), Weights()
        fit(model, tiny_data(tiny_file), weights, max_epochs=4)
        steps = len(weights.after_each_step)
        assert steps == 12
        expected = weights.after_each_step[0]
        for number, weight in enumerate(weights.after_each_step[1:], 1):
            newest = max(2 / steps, 9 / (10 + number))  # half of the steps; less at the start
            expected = (1 - newest) * expected + newest * weight
        torch.testing.assert_close(model.classifier.head[-1].weight.detach(), expected)
        assert not torch.equal(expected, weights.after_each_step[-1])

    def test_label_smoothing_and_dropout_are_in_the_loss(self, tiny_file):
        data = tiny_data(tiny_file)
        inputs = torch.rand(6, 13, 8, 16, 16)
        batch = {"inputs": inputs, "label": torch.tensor([0, 1, 2, 0, 1, 2]),
                 "clip": torch.arange(6)}
        assert data.num_channels == 13
        model = recognizer(label_smoothing=0.3, dropout=0.0)
        model.log = lambda *args, **kwargs: None
        loss = float(model.training_step(batch, 0).detach())
        log = model(inputs).log_softmax(1).detach()
        exact = -log[torch.arange(6), batch["label"]]
        assert loss == pytest.approx(float((0.7 * exact - 0.3 * log.mean(1)).mean()))
        dropped = recognizer(dropout=0.5).train()
        assert not torch.equal(dropped(inputs), dropped(inputs))

    def test_test_metrics_and_confusion_matrix(self, tiny_file):
        data, model = tiny_data(tiny_file), recognizer()
        predicted = {}

        def predict(batch, *index):
            """Class 0, but 1 where 2 would be right."""
            logits = torch.zeros(len(batch["clip"]), 3)
            logits[:, 0] = 1
            logits[batch["label"] == 2, 1] = 3
            predicted.update(zip(batch["clip"].tolist(), logits.argmax(1).tolist(), strict=True))
            model.predictions.update(batch["clip"], batch["label"], logits)

        model.test_step = predict
        trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False,
                          enable_progress_bar=False, enable_model_summary=False)
        trainer.test(model, data, verbose=False)
        assert sorted(predicted) == data.parts["test"].tolist()
        expected = {"test/top1": 1 / 3, "test/top5": 1.0, "test/mean_class": 1 / 3,
                    "test/f1": (2 * 2 / (2 + 4) + 0 + 0) / 3}
        found = {name: float(value) for name, value in trainer.callback_metrics.items()}
        log = torch.tensor([[1.0, 0, 0], [1, 0, 0], [1, 3, 0]]).log_softmax(1).diag()
        assert found == pytest.approx({**expected, "test/loss": -float(log.mean())})
        assert model.confusion_matrix().tolist() == [[2, 0, 0], [2, 0, 0], [0, 2, 0]]


def test_what_is_logged_is_what_is_announced(finished_run):
    logged = {name for row in read_metrics(finished_run) for name in row}
    assert logged - {"epoch", "step"} == {*EVERY_EPOCH, *AT_THE_END} - {*COST}
    assert {*COST} < read_result(finished_run)["model"].keys()


class TestLossAtEveryOutput:
    def causal(self, **changes):
        network = VideoResNet(13, partial(Conv2Plus1D, causal=True), 4, (3, 3), (1, 2), (4, 8),
                              (1, 1), ((2, 1), (2, 2)), (3, 3))
        return recognizer(**{"backbone": network, "loss_at": "every_output", "dropout": 0.0,
                             **changes})

    def test_it_is_the_weighted_mean_of_the_losses_of_first_parts(self, monkeypatch):
        model = self.causal(label_smoothing=0.1).eval()
        logged = {}
        monkeypatch.setattr(model, "log_dict", lambda metrics, **_: logged.update(metrics))
        inputs, label = torch.rand(2, 13, 16, 16, 16), torch.tensor([0, 2])
        inputs[1, :, :10] = 0  # the clip begins within its third of four outputs
        loss = model.training_step({"inputs": inputs, "label": label}, 0)
        features = model.classifier[0](inputs).mean((3, 4))
        first, linear = (0, 2), model.classifier[1][-1]
        total = torch.tensor(0.0)
        for clip in range(2):
            for output in range(first[clip], 4):
                mean = features[clip, :, first[clip] : output + 1].mean(1)
                total += (output + 1) * torch.nn.functional.cross_entropy(
                    linear(mean), label[clip], label_smoothing=0.1)
        assert_close(loss, total / (1 + 2 + 3 + 4 + 3 + 4))
        predicted = torch.stack([
            linear(each.mean(1)).argmax() for each in (features[0], features[1, :, 2:])])
        assert logged["train/top1"] == (predicted == label).float().mean()

    def test_the_last_mean_is_that_of_the_head(self):
        features = torch.randn(2, 5, 4, 3, 3)
        means = means_so_far(features, torch.ones(2, 4))
        assert_close(means[:, -1], features.mean((2, 3, 4)))
        assert_close(means[:, 1], features[:, :, :2].mean((2, 3, 4)))

    def test_a_frame_without_anyone_within_a_clip_changes_nothing(self):
        inputs = torch.zeros(3, 2, 8, 4, 4)
        inputs[0, 1, 3, 2, 2] = 1
        inputs[1, 0, 0, 0, 0] = 1
        assert begun_outputs(inputs, 2).tolist() == [[0, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 1]]

    def test_a_clip_length_that_is_no_multiple_of_the_stride(self):
        model = self.causal()
        inputs = torch.zeros(1, 13, 15, 16, 16)  # outputs after 4, 8 and 12 frames
        inputs[:, :, 4:] = 1
        begun = begun_outputs(inputs, temporal_stride(model.classifier[0]))
        assert begun.tolist() == [[0, 1, 1]]
        inputs[:, :, 3] = 1
        assert begun_outputs(inputs, temporal_stride(model.classifier[0])).all()
        model.log_dict = lambda *args, **kwargs: None
        model.training_step({"inputs": inputs, "label": torch.tensor([0])}, 0)

    def test_strides_of_other_layers_are_rejected(self):
        model = self.causal()
        model.classifier[0].stem.append(EveryFrame(2, causal=True))
        with pytest.raises(UserError, match="16 frames gave 2 outputs, not 4"):
            model.training_step({"inputs": torch.rand(1, 13, 16, 16, 16),
                                 "label": torch.tensor([0])}, 0)

    def test_it_needs_a_causal_network(self):
        with pytest.raises(UserError, match="every_output needs a causal network"):
            recognizer(loss_at="every_output")


class TestCompile:
    @pytest.mark.parametrize("name", [
        "full3d", "r2plus1d", "c3d_reduced", "slowonly", "x3d_shallow", "r2plus1d_18", "stgcnpp"])
    def test_a_network_is_one_graph(self, name):
        network = classifier(load_backbone(f"backbone/{name}.yaml", 3), 2)
        compiled = torch.compile(network, backend="eager", fullgraph=True)
        size = (2, 17) if name == "stgcnpp" else (16, 16)
        inputs = torch.rand(2, 3, 4, *size).contiguous(memory_format=torch.channels_last_3d)
        torch.manual_seed(0)
        expected = network(inputs)
        torch.manual_seed(0)
        assert_close(compiled(inputs), expected)
        torch.compiler.reset()

    def test_it_trains_as_before(self, tiny_file, monkeypatch):
        seen = []

        def backend(graph, inputs):
            seen.append(graph)
            return graph.forward

        compiler = torch.compile
        monkeypatch.setattr(torch, "compile", lambda network: compiler(network, backend=backend))
        plain, compiled = recognizer(), recognizer(compile=True)
        fit(plain, tiny_data(tiny_file), max_epochs=1)
        assert not seen
        trainer = fit(compiled, tiny_data(tiny_file), max_epochs=1)
        assert seen
        assert_close(compiled.state_dict(), plain.state_dict())
        trainer.test(compiled, tiny_data(tiny_file), verbose=False)
        torch.compiler.reset()


class TestClassifier:
    def test_features_are_averaged_over_time_and_space(self):
        class Same(Backbone):
            in_channels = num_features = 3

            def forward(self, inputs):
                return inputs

        network = classifier(Same(), 2)
        inputs = torch.rand(4, 3, 2, 5, 6)
        linear = network.head[-1]
        torch.testing.assert_close(network(inputs), linear(inputs.mean((2, 3, 4))))
        assert linear.bias.tolist() == [0, 0]

    @pytest.mark.parametrize("name", BACKBONES)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_gradients_have_the_strides_of_their_weights(self, name, dtype):
        """Else DistributedDataParallel warns on every rank, and copies."""
        network = classifier(load_backbone(f"backbone/{name}.yaml", 3), 2)
        size = (2, 17) if name in {"stgcnpp", "conv1d"} else (16, 16)
        inputs = torch.rand(2, 3, 4, *size).contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            network(inputs).sum().backward()
        assert [parameter for parameter, weight in network.named_parameters()
                if weight.stride() != weight.grad.stride()] == []

    def test_processes_train_without_a_warning(self, tmp_path):
        in_two_processes(train_share, tmp_path)
        assert [torch.load(tmp_path / str(rank)) for rank in range(2)] == [[], []]

    @pytest.mark.parametrize(("arguments", "message"), [
        ({"warmup": 1.0}, "`model.warmup` must lie in 0..1, got 1.0"),
        ({"warmup": -0.1}, "`model.warmup`"),
        ({"label_smoothing": 1.5}, "`model.label_smoothing` must lie in 0..1, got 1.5"),
        ({"dropout": 1.5}, "`model.dropout` must lie in 0..1, got 1.5"),
        ({"dropout": -0.5}, "`model.dropout`"),
        ({"lr_batch_size": 0}, "`model.lr_batch_size` must be >= 1, got 0"),
    ])
    def test_bad_arguments_are_refused(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            recognizer(**arguments)
