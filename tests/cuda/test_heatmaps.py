"""Heatmaps on a GPU, by tensor operations and by the kernel, against the reference and the CPU.

On a CPU the kernel runs in Triton's interpreter, where Triton is installed and TRITON_INTERPRET=1.
"""

import os

import numpy as np
import pytest
import torch
from test_representations import COCO, GOLDEN_LIMBS, TOLERANCE, batch_of_one, golden

from ptl_skel.representations import Coordinates, JointHeatmaps, LimbHeatmaps
from ptl_skel.representations.base import has_kernel

pytestmark = pytest.mark.cuda
HALF = 4e-3
"""Of heatmaps in 0..1 in bfloat16: its steps below 1 are 2**-8, rounding errs by half of one."""
TOLERANCES = [(torch.float32, TOLERANCE), (torch.bfloat16, HALF), (torch.float16, 5e-4)]


@pytest.fixture(params=["tensors", "kernel"])
def render(request, device):
    """Renders one way: ``render(representation, keypoints, scores, size, dtype)``, on the CPU."""
    if request.param == "kernel":
        if device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
            pytest.skip("the kernel needs a GPU, or TRITON_INTERPRET=1")
        kernel = pytest.importorskip("ptl_skel.representations.kernel")

    def on_device(make, keypoints, scores, size, dtype=torch.float32):
        there = keypoints.to(device), scores.to(device)
        if request.param == "tensors":
            return make.scatter(*there, size, dtype)
        limbs = make.limbs if isinstance(make, LimbHeatmaps) else [
            (joint, joint) for joint in range(make.num_channels)]
        return kernel.render(*there, limbs, make.sigma, size, dtype)

    return on_device


def scene(seed, persons, size, frames=3):
    """Keypoints in and around the maps, some missing, some not finite, some on top of others."""
    random = np.random.default_rng(seed)
    shape = 2, persons, frames, COCO.num_joints
    keypoints = random.uniform(-6, max(size) + 6, (*shape, 2)).astype(np.float32)
    scores = random.uniform(0, 1, shape).astype(np.float32)
    whole = random.random(shape) < 0.2
    keypoints[whole] = keypoints[whole].round()  # at the cut of a window
    keypoints[random.random(shape) < 0.02] = np.nan
    keypoints[random.random(shape) < 0.02, 0] = np.inf
    keypoints[0, 0, :, 5] = keypoints[0, 0, :, 7]  # a limb without length
    scores[random.random(shape) < 0.1] = 0
    scores[random.random(shape) < 0.05] = 5e-4
    scores[random.random(shape) < 0.02] = np.nan
    return torch.from_numpy(keypoints), torch.from_numpy(scores)


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
class TestGolden:
    def test_golden_joints(self, shared, render, dtype, tolerance):
        for case in golden(shared, "heatmap_joint_*.npz"):
            volume = render(JointHeatmaps(COCO, float(case["sigma"])),
                            batch_of_one(case["keypoints"]), batch_of_one(case["scores"]),
                            tuple(case["size"].tolist()), dtype)
            assert_close(volume[0].transpose(0, 1), case["heatmaps"], dtype, tolerance)

    def test_golden_limbs(self, shared, render, dtype, tolerance):
        for case in golden(shared, "heatmap_limb_*.npz"):
            volume = render(LimbHeatmaps(COCO, float(case["sigma"]), GOLDEN_LIMBS),
                            batch_of_one(case["keypoints"]), batch_of_one(case["scores"]),
                            tuple(case["size"].tolist()), dtype)
            assert_close(volume[0].transpose(0, 1), case["heatmaps"], dtype, tolerance)


def assert_close(volume, expected, dtype, tolerance):
    assert volume.dtype == dtype
    np.testing.assert_allclose(volume.float().cpu().numpy(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("representation", [JointHeatmaps, LimbHeatmaps])
class TestAgainstTheCpu:
    @pytest.mark.parametrize(("persons", "size", "sigma"), [
        (1, (12, 10), 0.6), (2, (9, 14), 0.6), (3, (16, 16), 1.3), (2, (1, 1), 0.6),
        (2, (20, 17), 0.25), (7, (8, 8), 0.6), (1, (5, 31), 3.0)])
    def test_any_scene(self, render, representation, persons, size, sigma):
        make = representation(COCO, sigma)
        keypoints, scores = scene(persons, persons, size)
        volume = render(make, keypoints, scores, size)
        torch.testing.assert_close(volume.cpu(), make.scatter(keypoints, scores, size),
                                   atol=TOLERANCE, rtol=0)

    def test_every_number_is_written_in_channels_last_memory(self, render, representation,
                                                             monkeypatch):
        keypoints, scores = scene(0, 1, (6, 7))
        expected = representation(COCO).scatter(keypoints, scores, (6, 7))

        def poisoned(*shape, **options):
            return torch.full(shape, torch.nan, **options)

        monkeypatch.setattr(torch, "empty", poisoned)
        volume = render(representation(COCO), keypoints, scores, (6, 7))
        monkeypatch.undo()
        assert volume.is_contiguous(memory_format=torch.channels_last_3d)
        torch.testing.assert_close(volume.cpu(), expected, atol=TOLERANCE, rtol=0)

    def test_the_size_of_a_training(self, device, representation):
        make = representation(COCO)
        torch.manual_seed(0)
        keypoints, scores = torch.rand(4, 2, 32, 17, 2) * 56, torch.rand(4, 2, 32, 17)
        for dtype, tolerance in TOLERANCES:
            volume = make(keypoints.to(device), scores.to(device), (56, 56), dtype)
            expected = make.scatter(keypoints, scores, (56, 56))
            torch.testing.assert_close(volume.float().cpu(), expected, atol=tolerance, rtol=0)

    def test_more_numbers_than_fit_32_bits(self, gpu, representation):
        make = representation(COCO)
        clips = 2**31 // (make.num_channels * 8 * 112 * 112) + 2
        keypoints = torch.rand(1, 1, 8, 17, 2, device=gpu) * 112
        scores = torch.rand(1, 1, 8, 17, device=gpu)
        one = make(keypoints, scores, (112, 112), torch.bfloat16)
        many = make(keypoints.expand(clips, -1, -1, -1, -1), scores.expand(clips, -1, -1, -1),
                    (112, 112), torch.bfloat16)
        assert torch.equal(many[-1], one[0])
        assert torch.equal(many[0], one[0])

    def test_the_kernel_is_what_runs_on_a_gpu(self, gpu, representation, monkeypatch):
        if not has_kernel(gpu):
            pytest.skip("Triton, or what it needs, is not there")
        monkeypatch.delattr(representation, "scatter")
        representation(COCO)(torch.rand(1, 1, 2, 17, 2, device=gpu) * 8,
                             torch.rand(1, 1, 2, 17, device=gpu), (8, 8))


def test_the_kernel_is_tried_before_it_is_used(device, monkeypatch):
    if device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("the kernel needs a GPU, or TRITON_INTERPRET=1")
    kernel = pytest.importorskip("ptl_skel.representations.kernel")
    assert kernel.find_fault(device) is None
    right = kernel.render
    monkeypatch.setattr(kernel, "render", lambda *given: right(*given) / 2)
    assert kernel.find_fault(device).startswith("values differ by ")

    def fail(*given):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(kernel, "render", fail)
    assert kernel.find_fault(device) == "RuntimeError: no compiler"


@pytest.mark.parametrize("stream", ["joint", "bone", "joint_motion", "bone_motion"])
def test_coordinates_equal_those_of_the_cpu(device, stream):
    keypoints, scores = torch.rand(2, 3, 5, 17, 2) * 90, torch.rand(2, 3, 5, 17)
    scores[0, 1] = 0
    make = Coordinates(COCO, stream)
    found = make(keypoints.to(device), scores.to(device), (60, 90))
    torch.testing.assert_close(found.cpu(), make(keypoints, scores, (60, 90)), atol=1e-6, rtol=0)
