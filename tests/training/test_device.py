"""Flags of PyTorch that a run sets; setting them needs no GPU."""

import pytest
import torch

from ptl_skel.training.device import use_fast_kernels


@pytest.fixture(autouse=True)
def flags():
    before = torch.backends.cudnn.benchmark, torch.get_float32_matmul_precision()
    torch.backends.cudnn.benchmark = False
    torch.set_float32_matmul_precision("highest")
    yield
    torch.backends.cudnn.benchmark = before[0]
    torch.set_float32_matmul_precision(before[1])
    torch.use_deterministic_algorithms(False)


def test_a_gpu_chooses_its_fastest_kernels():
    use_fast_kernels(torch.device("cuda", 0))
    assert torch.backends.cudnn.benchmark
    assert torch.get_float32_matmul_precision() == "high"


def test_deterministic_algorithms_are_not_chosen_by_time():
    torch.use_deterministic_algorithms(True)
    use_fast_kernels(torch.device("cuda"))
    assert not torch.backends.cudnn.benchmark


def test_a_cpu_is_left_alone():
    use_fast_kernels(torch.device("cpu"))
    assert not torch.backends.cudnn.benchmark
    assert torch.get_float32_matmul_precision() == "highest"
