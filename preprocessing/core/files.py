"""Files that other tools left: found in a folder, read within limits, turned into numbers."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_BYTES = 200_000_000
"""Largest file that is read as one clip. As JSON, 100,000 frames of a person take less."""


def walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each folder below `root`, itself included, with its file names; both in a fixed order."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        yield Path(folder), sorted(names)


def find_clips(root: Path, suffix: str) -> dict[str, Path]:
    """Files of a clip each: clip name, which is the path below `root` without `suffix` -> path.

    Args:
        root: A folder, or the file of a single clip.
        suffix: Ending of the names, e.g. ``.json``.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ValueError: There is no file with that ending.
    """
    if not root.exists():
        raise FileNotFoundError(f"{root} does not exist; give a {suffix} file, or a folder of them")
    if not root.is_dir():
        return {root.stem: root}
    found = [folder / name for folder, names in walk(root) for name in names
             if name.lower().endswith(suffix)]
    if not found:
        raise ValueError(f"{root} holds no {suffix} file; give the folder that holds one per clip")
    return {path.relative_to(root).with_suffix("").as_posix(): path for path in found}


def fingerprint(paths: Iterable[Path]) -> str:
    """A text that changes when one of the files does, by its size and the time it was written."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            status = path.stat()
        except OSError:  # told when it is read
            continue
        digest.update(f"{status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """The content of a file.

    Raises:
        ValueError: The file is gone, may not be read, is no regular file, or is too large.
        OSError: The disk or the network fails.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():  # a pipe would be waited for
            raise ValueError(f"{path.name} is no regular file")
        if size > limit:
            raise ValueError(f"{path.name} has {size:,} bytes, more than the {limit:,} that a "
                             "clip can take")
        return path.read_bytes()
    except (FileNotFoundError, PermissionError) as error:  # others concern more than this file
        raise ValueError(f"{path.name} cannot be read: {error.strerror}") from error


def read_json(path: Path, limit: int = MAX_BYTES) -> Any:
    """The content of a JSON file.

    Raises:
        ValueError: The file cannot be read or is no JSON.
        OSError: The disk or the network fails.
    """
    data = read_bytes(path, limit)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} is no JSON: {error}") from error


def numbers(value: Any, what: str) -> NDArray[np.float64]:
    """An array of what should be numbers in lists of equal length.

    Raises:
        ValueError: It is anything else; the message calls it by `what`.
    """
    try:
        return np.asarray(value, np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{what} is no list of numbers") from error
