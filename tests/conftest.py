"""What tests in several folders share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from tiny import tiny_clips, write_clips

torch.set_num_threads(1)  # the tensors of tests are too small to share


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data sets and golden cases, where a machine has it."""
    named = os.environ.get("PTL_SKEL_SHARED")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder} with real data; PTL_SKEL_SHARED can name another")
    return folder


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keypoint file of `tiny.tiny_clips`; to be read only."""
    return write_clips(tmp_path_factory.mktemp("tiny") / "tiny.h5", tiny_clips())
