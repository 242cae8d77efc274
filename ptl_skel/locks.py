"""Keeps two processes from doing the same work at the same time."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import IO, Any

from ptl_skel.errors import UserError

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


def lock_folder(folder: Path, flag: str) -> IO[str]:
    """Makes a folder, and keeps other processes from working in it until the result is closed.

    Args:
        folder: The folder.
        flag: The option that names it, for the message.

    Returns:
        The locked file, which holds the number of this process.

    Raises:
        UserError: Another process is working there, or the folder is not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{flag} {folder} cannot be written: {error.strerror}") from error
    try:
        lock_file(lock)
    except BlockingIOError as error:
        with lock:
            lock.seek(0)
            raise UserError(f"another process ({lock.read() or 'unknown'}) is working in {folder}; "
                            f"wait for it, or give another {flag}") from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock
