"""The interface of a representation.

Adding a representation: 1. subclass `Representation` in a file of its own, taking the layout first;
2. export it in ``representations/__init__.py``; 3. give its path as
``data.representation.class_path``, or a YAML under ``configs/representation``. It must not hold
tensors, because it is not moved between devices.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import sysconfig
import warnings
from abc import ABC, abstractmethod
from pathlib import Path

import torch
from torch import Tensor

MIN_SCORE = 1e-3
"""Joints with a lower score are not rendered (PYSKL)."""


class Representation(ABC):
    """Turns keypoints of one skeleton layout into the inputs of a network.

    Attributes:
        cropped: Whether it shows the box around the persons instead of the whole frame.
        mixed: Whether the inputs may be in half precision with mixed precision. A first convolution
            casts them to it anyway; other first layers do not.
        spatial: Whether it also takes 3D coordinates, in the unit of the file; it is then called
            with keypoints ``(N, M, T, V, 3)``, and `size` has no effect.
    """

    cropped = True
    mixed = True
    spatial = False

    @property
    @abstractmethod
    def num_channels(self) -> int:
        """Channels C of the inputs for 2D keypoints."""

    @abstractmethod
    def __call__(self, keypoints: Tensor, scores: Tensor, size: tuple[int, int],
                 dtype: torch.dtype = torch.float32) -> Tensor:
        """Inputs of a network.

        Args:
            keypoints: Pixels of an image of that size, ``(N, M, T, V, 2)``, in single precision.
                It shows the box around the persons, or the frame, depending on `cropped`.
            scores: ``(N, M, T, V)``.
            size: Height and width.
            dtype: Of the inputs. Values are computed in single precision and rounded to it.

        Returns:
            ``(N, C, T, H, W)``.
        """

    @abstractmethod
    def flip(self, inputs: Tensor) -> Tensor:
        """The inputs of the horizontal flip: a second view at test time."""


@functools.cache
def has_kernel(device: torch.device) -> bool:
    """Whether `ptl_skel.representations.kernel` runs on a device and renders correctly.

    This needs a GPU that Triton supports, and a C compiler and Python's headers, with which Triton
    builds its launcher. The kernel is tried once on each device. Elsewhere heatmaps are rendered
    with tensor operations.
    """
    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return False
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if (torch.cuda.get_device_capability(device) < (7, 0) or compiler is None
            or not headers.is_file()):
        return False
    from ptl_skel.representations.kernel import find_fault

    fault = find_fault(device)
    if fault is not None:
        warnings.warn(f"heatmaps are rendered without Triton, whose kernel fails here: {fault}",
                      stacklevel=2)
    return fault is None
