"""The cache of downloaded models."""

from __future__ import annotations

import os
import sys
from pathlib import Path

MOVENET = "movenet_multipose.onnx"


def cache_folder() -> Path:
    """The folder of ptl_skel in the user's cache directory."""
    named = os.environ.get("XDG_CACHE_HOME")
    if named:
        base = Path(named)
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path.home() / ".cache"
    return base / "ptl_skel"
