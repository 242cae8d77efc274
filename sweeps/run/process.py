"""The process of a training; light to import, since every job of a cluster does."""

from __future__ import annotations

import ctypes
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

LOG = "log.txt"
"""What a training printed, in its run folder."""


def die_with_parent() -> Callable[[], None] | None:
    """What a child does before it becomes the training: it asks to be killed with its parent."""
    if sys.platform != "linux":
        return None
    pr_set_pdeathsig, parent, libc = 1, os.getpid(), ctypes.CDLL(None)

    def ask() -> None:
        libc.prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != parent:  # it died before it was asked
            os._exit(1)

    return ask


def train(command: list[str], run_dir: Path) -> int:
    """Runs a training on the node of a job; its exit code."""
    with (run_dir / LOG).open("ab") as log:
        log.write(f"$ {shlex.join(command)}\n".encode())
        log.flush()
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                              preexec_fn=die_with_parent(), check=False).returncode
