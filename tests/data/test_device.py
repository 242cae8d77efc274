"""The way from numbers of clips to new weights, on a device that nothing may wait for.

Tensors are fake: without contents, on the device "meta". What needs contents (`.item()`, shapes
that depend on values) or meets a tensor on another device raises; sending one does so in `strict`.
"""

from contextlib import contextmanager
from functools import partial

import pytest
import torch
from test_datamodule import trainer
from tiny import CONFIG
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ptl_skel.backbones import Conv2Plus1D, STGCNpp, VideoResNet
from ptl_skel.data import transforms
from ptl_skel.data.cameras import Camera
from ptl_skel.data.datamodule import KeypointDataModule
from ptl_skel.data.transforms import Augmentation
from ptl_skel.representations import Coordinates, JointHeatmaps, LimbHeatmaps
from ptl_skel.training.module import ActionRecognizer

DEVICE = torch.device("meta")
LOADERS = {"training": "train_dataloader", "testing": "test_dataloader"}
ALL = Augmentation(rotation=10, scale=0.1, shift=0.1)


class OneDevice(TorchDispatchMode):
    """Refuses tensors of the CPU, except single numbers, which travel with a command."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, result)):
            if isinstance(tensor, torch.Tensor) and tensor.device != DEVICE and tensor.ndim:
                raise RuntimeError(f"{func} has a tensor on {tensor.device}")
        return result


class NothingSent(TorchFunctionMode):
    """Refuses to make tensors of lists, which a real device would be sent."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        index = args[1] if func in {Tensor.__getitem__, Tensor.__setitem__} else None
        parts = index if isinstance(index, tuple) else (index,)
        if func in {torch.tensor, torch.as_tensor} or list in map(type, parts):
            raise RuntimeError("a list is sent to the device")
        return func(*args, **(kwargs or {}))


@contextmanager
def strict():
    """Where nothing may wait for the device, or be sent to it."""
    with OneDevice(), NothingSent():
        yield


@pytest.fixture(autouse=True)
def forget():
    """Leaves no fake tensor behind."""
    transforms.constant.cache_clear()
    yield
    transforms.constant.cache_clear()


def fake():
    return FakeTensorMode(allow_non_fake_inputs=True)


def data_and_batch(file, representation, stage, **changes):
    """A data module, and a batch of its loader on the device."""
    data = KeypointDataModule(file, representation, **{
        **CONFIG["data"], "augment": ALL, **changes})
    data.trainer = trainer(stage)
    batch = next(iter(getattr(data, LOADERS[stage])()))
    return data, batch.to(DEVICE)


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("stage", LOADERS)
@pytest.mark.parametrize("representation", [JointHeatmaps, LimbHeatmaps, Coordinates])
def test_inputs_are_made_without_waiting(tiny_file, representation, stage, on_device):
    data, batch = data_and_batch(tiny_file, representation, stage, on_device=on_device,
                                 test_clips=2, test_flip=True, batch_size=8)
    with fake():
        data.on_after_batch_transfer(batch, 0)  # sends what is sent once
        with strict():
            inputs = data.on_after_batch_transfer(batch, 0)["inputs"]
    assert inputs.device == DEVICE
    if representation is not Coordinates:
        assert inputs.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("stage", LOADERS)
@pytest.mark.parametrize("sampling", ["first_part", "camera_rate"])
def test_training_for_live_does_not_wait_either(tiny_file, sampling, stage):
    data, batch = data_and_batch(tiny_file, JointHeatmaps, stage, on_device=True,
                                 sampling=sampling, box="follow", test_clips=2)
    with fake():
        data.on_after_batch_transfer(batch, 0)  # sends what is sent once
        with strict():
            inputs = data.on_after_batch_transfer(batch, 0)["inputs"]
    assert inputs.device == DEVICE


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("stage", LOADERS)
@pytest.mark.parametrize(("representation", "camera"), [
    (JointHeatmaps, Camera(random_yaw=50, test_yaws=(-30, 30))),
    (JointHeatmaps, Camera("orthographic", distance=None)), (Coordinates, Camera()),
    (Coordinates, Camera("none", random_yaw=50)), (Coordinates, None)])
def test_cameras_do_not_wait_either(spatial_file, representation, camera, stage, on_device):
    augment = ALL if camera is not None and camera.projection != "none" else Augmentation()
    data, batch = data_and_batch(spatial_file, representation, stage, on_device=on_device,
                                 camera=camera, augment=augment, test_clips=2, test_flip=True,
                                 batch_size=8)
    with fake():
        data.on_after_batch_transfer(batch, 0)  # sends what is sent once
        with strict():
            inputs = data.on_after_batch_transfer(batch, 0)["inputs"]
    assert inputs.device == DEVICE


@pytest.mark.parametrize(("representation", "loss_at"), [
    (JointHeatmaps, "end"), (LimbHeatmaps, "end"), (Coordinates, "end"),
    (JointHeatmaps, "every_output")])
def test_a_training_step_waits_for_nothing(tiny_file, representation, loss_at):
    data, batch = data_and_batch(tiny_file, representation, "training", on_device=True)
    conv = partial(Conv2Plus1D, causal=loss_at == "every_output")

    def step():
        made = data.on_after_batch_transfer(batch, 0)
        model.training_step(made, 0).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 40)
        optimizer.step()
        optimizer.zero_grad()

    with fake():
        with DEVICE:
            network = (STGCNpp(3, [12], [1], data.links) if representation is Coordinates else
                       VideoResNet(data.num_channels, conv, 4, (1, 3), (1, 2), [4, 8],
                                   [1, 1], [(2, 1), (2, 2)], (3, 3)))
            model = ActionRecognizer(network, 3, torch.optim.SGD, label_smoothing=0.1,
                                     loss_at=loss_at)
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        step()  # makes what is made once
        with strict():
            step()


@pytest.mark.parametrize("waits", [
    lambda values: values.sum().item(), lambda values: values[values > 0],
    lambda values: values[[2, 1, 0]], lambda values: torch.tensor([1.0, 2, 3], device=DEVICE),
    lambda values: values + torch.arange(3), lambda values: values.cpu()])
def test_what_waits_is_noticed(waits):
    with fake():
        values = torch.zeros(3, device=DEVICE)
        noticed = (RuntimeError, DataDependentOutputException, DynamicOutputShapeException)
        with strict(), pytest.raises(noticed):
            waits(values)
