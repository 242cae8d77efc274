"""Keeps two processes from doing the same work at the same time."""

from __future__ import annotations

import errno
import sys
from typing import IO, Any

if sys.platform != "win32":
    import fcntl


def lock_file(file: IO[Any]) -> None:
    """Locks an open file until it is closed, however this process ends.

    Does nothing where such locks do not exist: on Windows, and on some network disks. There,
    nothing prevents two processes from doing the same work.

    Raises:
        BlockingIOError: Another process has locked it.
    """
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in {errno.ENOLCK, errno.EOPNOTSUPP}:
            raise
