"""Processes that end with the one that started them; light to import."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable


def die_with(parent: int) -> Callable[[], None] | None:
    """What a child process calls to be killed as soon as its parent ends, however that ends.

    Args:
        parent: Id of the parent process.

    Returns:
        The call, safe between fork and exec; None where the system is not Linux.
    """
    if sys.platform != "linux":
        return None  # as Popen(preexec_fn=...) takes it; Windows has no such argument
    pr_set_pdeathsig, libc = 1, ctypes.CDLL(None)

    def ask() -> None:
        libc.prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != parent:  # it died before it was asked
            os._exit(1)

    return ask
