"""Settings that are made once for the device of a run."""

from __future__ import annotations

import torch


def use_fast_kernels(device: torch.device) -> None:
    """Lets a GPU choose its fastest kernels; does nothing on other devices.

    Shapes are fixed, so cuDNN benchmarks its algorithms once for each and keeps the fastest, unless
    deterministic ones are requested. Matrix products in single precision use TF32, as PyTorch's
    convolutions do by default; NVIDIA_TF32_OVERRIDE=0 in the environment disables both.
    """
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = not torch.are_deterministic_algorithms_enabled()
        torch.set_float32_matmul_precision("high")
