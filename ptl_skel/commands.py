"""What the commands share: shipped configs by name, users' mistakes, the console."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

from rich.console import Console

CONFIGS = Path(__file__).parent / "configs"
"""The YAML files that ship with the package."""

console = Console()


class UserError(Exception):
    """A mistake of the user; the message says what is wrong and what to do, in a sentence."""


def shipped(name: str) -> str:
    """The path of a shipped config given as ``experiment/x.yaml``; anything else as it is."""
    if name.endswith(".yaml") and not Path(name).exists() and (CONFIGS / name).is_file():
        return str(CONFIGS / name)
    return name


def keep_freed_memory() -> None:
    """Lets glibc reuse the large blocks of a training step instead of returning them.

    Otherwise the kernel maps and clears fresh pages in every step, which on CPU takes longer than
    to draw heatmaps into them. Does nothing on other systems.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        m_trim_threshold, m_mmap_max = -1, -4
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, 2**31 - 1)
