"""Where the tests of a GPU run: on one, or on the CPU to try out their code."""

from __future__ import annotations

import os
from collections.abc import Iterator

# cuBLAS reads it when it starts; without it, its products are not deterministic.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import pytest
import torch

DRY_RUN = os.environ.get("PTL_SKEL_CUDA_DRY_RUN") == "cpu"


@pytest.fixture(scope="session")
def device() -> torch.device:
    """The GPU; the CPU in a dry run."""
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    if DRY_RUN:
        return torch.device("cpu")
    pytest.skip("there is no GPU; PTL_SKEL_CUDA_DRY_RUN=cpu runs the tests on the CPU")


@pytest.fixture(scope="session")
def gpu(device: torch.device) -> torch.device:
    """The GPU, for what cannot exist on a CPU."""
    if device.type != "cuda":
        pytest.skip("only on a GPU")
    return device


@pytest.fixture(autouse=True)
def full_precision() -> Iterator[None]:
    """Single precision means single precision: no TF32."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]
