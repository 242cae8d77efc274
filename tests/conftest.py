"""What tests in several folders share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data sets and golden cases, where a machine has it."""
    named = os.environ.get("PTL_SKEL_SHARED")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder} with real data; PTL_SKEL_SHARED can name another")
    return folder
