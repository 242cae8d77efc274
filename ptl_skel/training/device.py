"""Settings that are made once for the device of a run."""

from __future__ import annotations

import torch


def use_tf32(device: torch.device) -> None:
    """Lets matrix products in single precision on a GPU use TF32; does nothing on other devices.

    PyTorch's convolutions do so by default; NVIDIA_TF32_OVERRIDE=0 in the environment disables
    both.
    """
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
