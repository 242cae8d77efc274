"""Where a run takes place."""

from __future__ import annotations

import ctypes
import sys


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
