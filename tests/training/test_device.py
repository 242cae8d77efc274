"""Flags of PyTorch that a run sets; setting them needs no GPU."""

import pytest
import torch

from ptl_skel.cli.setup import make_trainer
from ptl_skel.training.device import use_tf32


@pytest.fixture(autouse=True)
def flags():
    before = torch.backends.cudnn.benchmark, torch.get_float32_matmul_precision()
    torch.backends.cudnn.benchmark = False
    torch.set_float32_matmul_precision("highest")
    yield
    torch.backends.cudnn.benchmark = before[0]
    torch.set_float32_matmul_precision(before[1])
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(("settings", "expected"), [
    ({}, True), ({"benchmark": False}, False), ({"deterministic": True}, False)])
def test_cudnn_chooses_by_time_unless_settings_disable_it(settings, expected):
    torch.backends.cudnn.benchmark = not expected
    make_trainer({"accelerator": "cpu", "benchmark": None, "deterministic": None,
                  "enable_progress_bar": False, "enable_model_summary": False, **settings},
                 [], checkpointing=False)
    use_tf32(torch.device("cuda"))
    assert torch.backends.cudnn.benchmark == expected


def test_a_gpu_uses_tf32():
    use_tf32(torch.device("cuda", 0))
    assert torch.get_float32_matmul_precision() == "high"


def test_a_cpu_is_left_alone():
    use_tf32(torch.device("cpu"))
    assert torch.get_float32_matmul_precision() == "highest"
