"""The environment of a run: versions, machine, commit of the code."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    packages = ("ptl_skel", "torch", "lightning", "torchmetrics", "numpy", "h5py")
    return {"python": platform.python_version(), **{name: _version(name) for name in packages}}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"  # run from a checkout, which the commit identifies


def machine() -> dict[str, Any]:
    """Processors and graphics cards."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"system": platform.platform(), "cpu": _cpu_name(), "cores": os.cpu_count(),
            "threads": torch.get_num_threads(), "gpus": gpus}


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def git_commit() -> str | None:
    """Commit of the source tree, with ``+`` if it has changes.

    None if this file is not under version control: an installed package may be inside the
    repository of another project.
    """
    here = Path(__file__)
    if _git(here, "ls-files", "--error-unmatch", here.name) is None:
        return None
    return _git(here, "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*")


def _git(file: Path, *arguments: str) -> str | None:
    """The output of a git command in the folder of a file; None if it fails."""
    try:
        done = subprocess.run(["git", *arguments], cwd=file.parent, capture_output=True, text=True,
                              check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def keep_freed_memory() -> None:
    """Lets glibc reuse the large blocks of a training step instead of returning them.

    Otherwise the kernel maps and clears new pages in every step, which on a CPU takes longer than
    rendering heatmaps into them. Does nothing on other systems.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        m_trim_threshold, m_mmap_max = -1, -4
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, 2**31 - 1)
