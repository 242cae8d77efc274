"""What is set once for the device of a run."""

from __future__ import annotations

import torch


def use_fast_kernels(device: torch.device) -> None:
    """Lets a GPU choose its fastest kernels; changes nothing for other devices.

    Shapes are fixed, so cuDNN tries out its algorithms once for each and keeps the fastest, except
    where deterministic ones are asked for. Matrix products of single precision round their factors
    to TF32, as PyTorch's convolutions do by default; NVIDIA_TF32_OVERRIDE=0 in the environment
    forbids both.
    """
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = not torch.are_deterministic_algorithms_enabled()
        torch.set_float32_matmul_precision("high")
