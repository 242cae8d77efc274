"""Child processes that end with their parent; quick to import."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable


def die_with(parent: int) -> Callable[[], None] | None:
    """A function that makes a child process die when its parent ends, however that happens.

    Args:
        parent: Id of the parent process.

    Returns:
        The function, safe between fork and exec; None if the system is not Linux.
    """
    if sys.platform != "linux":
        return None  # a valid value of Popen(preexec_fn=...); Windows does not support others
    pr_set_pdeathsig, libc = 1, ctypes.CDLL(None)

    def ask() -> None:
        libc.prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before the call above
            os._exit(1)

    return ask
