"""The way from numbers of clips to inputs on a GPU: the numbers of the CPU, without waiting."""

from contextlib import contextmanager

import pytest
import torch
from test_datamodule import trainer
from tiny import CONFIG
from torch.overrides import TorchFunctionMode

from ptl_skel.data.datamodule import KeypointDataModule
from ptl_skel.data.sampling import sample_train
from ptl_skel.data.transforms import Augmentation, compact_box
from ptl_skel.representations import Coordinates, JointHeatmaps, LimbHeatmaps
from ptl_skel.skeletons import LAYOUTS

pytestmark = pytest.mark.cuda
ALL = Augmentation(rotation=10, scale=0.1, shift=0.1)
LOADERS = {"training": "train_dataloader", "validating": "val_dataloader",
           "testing": "test_dataloader"}


class SameNumbers(TorchFunctionMode):
    """Random numbers of the CPU, whatever device they are asked for on."""

    def __init__(self, seed):
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.rand_like:
            shape, device, dtype = args[0].shape, args[0].device, args[0].dtype
        elif func is torch.rand:
            shape = args[0] if isinstance(args[0], tuple | torch.Size) else args
            device, dtype = kwargs.get("device", "cpu"), kwargs.get("dtype")
        else:
            return func(*args, **kwargs)
        with torch._C.DisableTorchFunction():
            return torch.rand(shape, generator=self.generator, dtype=dtype).to(device)


def batches(file, device, representation, stage, on_device, **changes):
    """All inputs of a loader, made on a device from the random numbers of the CPU."""
    data = KeypointDataModule(file, representation, **{
        **CONFIG["data"], "augment": ALL, "on_device": on_device, **changes})
    data.trainer = trainer(stage)
    with SameNumbers(0):
        return [data.on_after_batch_transfer(
                    data.transfer_batch_to_device(batch, device, 0), 0)
                for batch in getattr(data, LOADERS[stage])()]


@pytest.mark.parametrize("augment", [Augmentation(), ALL, Augmentation((1, 1), flip=1)])
def test_augmentation_equals_that_of_the_cpu(device, augment):
    torch.manual_seed(0)
    keypoints, scores = torch.rand(6, 2, 5, 17, 2) * 500, torch.rand(6, 2, 5, 17)
    scores[scores < 0.2] = 0
    frame_size = torch.tensor([[1080.0, 1920.0]]).expand(6, -1)

    def augmented(place):
        values = [tensor.to(place) for tensor in (keypoints, scores, frame_size)]
        box = compact_box(*values)
        with SameNumbers(3):
            made = augment(*values[:2], box, (56, 48), LAYOUTS["coco17"])
        return box.cpu(), *(tensor.cpu() for tensor in made)

    for found, expected in zip(augmented(device), augmented("cpu"), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-5)  # pixels of 56


def test_the_sampler_gives_the_frames_of_the_cpu(device):
    num_frames, draws = torch.arange(1, 400), torch.arange(399) * 7919
    found = sample_train(num_frames.to(device), 32, 2**40 + 1, draws.to(device))
    assert torch.equal(found.cpu(), sample_train(num_frames, 32, 2**40 + 1, draws))


@pytest.mark.parametrize("stage", LOADERS)
@pytest.mark.parametrize("representation", [JointHeatmaps, LimbHeatmaps, Coordinates])
@pytest.mark.parametrize("on_device", [False, True])
def test_inputs_equal_those_of_the_cpu_loader(tiny_file, device, representation, stage, on_device):
    changes = {"test_clips": 2, "test_flip": True, "val_fraction": 0.3, "batch_size": 4}
    found = batches(tiny_file, device, representation, stage, on_device, **changes)
    expected = batches(tiny_file, torch.device("cpu"), representation, stage, False, **changes)
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert one["inputs"].device.type == device.type
        torch.testing.assert_close(one["inputs"].cpu(), other["inputs"], atol=1e-3, rtol=0)
        assert torch.equal(one["label"].cpu(), other["label"])
        assert torch.equal(one["clip"].cpu(), other["clip"])


@contextmanager
def never_waiting():
    """Where waiting for the GPU raises."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("stage", ["training", "testing"])
@pytest.mark.parametrize("representation", [JointHeatmaps, LimbHeatmaps, Coordinates])
def test_inputs_are_made_without_waiting(tiny_file, gpu, representation, stage, on_device):
    data = KeypointDataModule(tiny_file, representation, **{
        **CONFIG["data"], "augment": ALL, "on_device": on_device, "test_clips": 2,
        "test_flip": True})
    data.trainer = trainer(stage)
    pinned = next(iter(getattr(data, LOADERS[stage])()))
    data.on_after_batch_transfer(data.transfer_batch_to_device(pinned, gpu, 0), 0)  # sent once
    with never_waiting():
        data.on_after_batch_transfer(data.transfer_batch_to_device(pinned, gpu, 0), 0)


def test_waiting_is_noticed(gpu):
    with never_waiting(), pytest.raises(RuntimeError):
        torch.zeros(1, device=gpu).item()
