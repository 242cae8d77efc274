"""Files from untrusted sources: found in a folder, read within limits, converted to numbers.

These functions guard against harmful input: absurd sizes, pipes, damaged text.
"""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptl_skel.errors import MissingFileError, UserError

from .source import Unusable

MAX_BYTES = 200_000_000
"""Largest file that is read as one clip. As JSON, 100,000 frames of a person take less."""

LABEL_COLUMNS = ("clip", "label", "split", "subject")
"""Columns of the tables of `core.labels`. Such a table may lie beside the clips."""

_MAX_LINE = 100_000


def walk(root: Path, _above: tuple[Path, ...] = ()) -> Iterator[tuple[Path, list[str]]]:
    """Each folder in `root`, itself included, with the names of its files; both sorted.

    Links are followed, except those that lead back to a folder that contains them. Hidden files and
    folders are ignored: leftovers of programs, such as ``.ipynb_checkpoints`` with copies or ``._``
    files of macOS, are not inputs.

    Raises:
        UserError: A folder cannot be listed.
    """
    here = root.resolve()
    if here in _above:
        return
    folders: list[str] = []
    names: list[str] = []
    try:
        with os.scandir(root) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                (folders if entry.is_dir() else names).append(entry.name)
    except OSError as error:
        raise UserError(f"{root} cannot be listed: {error.strerror}") from error
    yield root, sorted(names)
    for name in sorted(folders):
        yield from walk(root / name, (*_above, here))


def check_links(paths: Iterable[Path]) -> None:
    """Checks that no file is included twice, e.g. because its folder is linked in two places.

    Links whose names differ from those of their files are not checked: programs that store equal
    content only once name the file by its checksum.

    Raises:
        UserError: A file is included twice.
    """
    folders: dict[Path, Path] = {}
    found: dict[Path, Path] = {}
    for path in paths:
        if path.parent not in folders:
            folders[path.parent] = path.parent.resolve()
        real = path.resolve() if path.is_symlink() else folders[path.parent] / path.name
        if real.name == path.name and found.setdefault(real, path) != path:
            raise UserError(f"{found[real]} and {path} are the same file, since one of them or its "
                            "folder is a link: each clip would be there twice; give the input "
                            "without one of the two")


def compose(text: str) -> str:
    """The text with composed letters: macOS may store "ü" in the names of files as "u" and dots."""
    return unicodedata.normalize("NFC", text)


def find_clips(root: Path, suffix: str) -> dict[str, Path]:
    """Files with one clip each: clip name (the path in `root` without `suffix`) -> path.

    Args:
        root: A folder, or the file of a single clip.
        suffix: Ending of the names, e.g. ``.json``. Tables of labels are not clips.

    Raises:
        MissingFileError: There is no such file or folder.
        UserError: No file has that ending, or one is included twice through links.
    """
    if not root.exists():
        raise MissingFileError(f"{root} does not exist; give a {suffix} file, or a folder of them")
    if not root.is_dir():
        return {root.stem: root}
    found = [folder / name for folder, names in walk(root) for name in names
             if name.lower().endswith(suffix) and not is_label_table(folder / name)]
    if not found:
        raise UserError(f"{root} holds no {suffix} file; give the folder that holds one per clip")
    check_links(found)
    return {path.relative_to(root).with_suffix("").as_posix(): path for path in found}


def find_kind(root: Path, suffixes: Sequence[str], *, may_repeat: bool = False) -> str:
    """The ending of the files with clips: the first of `suffixes` that there is, or the first.

    Args:
        root: A folder, or the file of a single clip.
        suffixes: Possible endings. Tables of labels are not clips.
        may_repeat: Whether the same clips may also be there as files of another ending.

    Raises:
        UserError: There are also files of another ending.
    """
    if not root.is_dir():
        return root.suffix.lower()
    clips: dict[str, set[Path]] = {suffix: set() for suffix in suffixes}
    for folder, names in walk(root):
        for name in names:
            path = folder / name
            if path.suffix.lower() in clips and not is_label_table(path):
                clips[path.suffix.lower()].add(path.with_suffix(""))
    kinds = [suffix for suffix, found in clips.items() if found] or [suffixes[0]]
    for kind in kinds[1:]:
        others = clips[kind] - (clips[kinds[0]] if may_repeat else set())
        if others:
            raise UserError(f"{root} holds both {kinds[0]} and {kind} files, among them "
                            f"{min(others).name}{kind}; keep one kind")
    return kinds[0]


def is_label_table(path: Path) -> bool:
    """Whether a file is a CSV file with labels instead of keypoints, by its first line."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            line = file.readline(_MAX_LINE).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):  # reported when it is read
        return False
    names = {name.strip() for name in line.split(find_separator(line))}
    return {"clip"} < names <= {*LABEL_COLUMNS}


def fingerprint(paths: Iterable[Path]) -> str:
    """A text that changes if the name, size or modification time of one of the files changes.

    The folder of the files does not matter, so moved files, and copies that keep the times, count
    as the same.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            status = path.stat()
        except OSError:  # reported when it is read
            continue
        line = f"{path.name}\0{status.st_size} {status.st_mtime_ns}\n"
        digest.update(line.encode(errors="surrogateescape"))  # names of files can be any bytes
    return digest.hexdigest()


def stamp(path: Path) -> tuple[int, int]:
    """Size and modification time of a file, both 0 if there is none, to recognise it."""
    try:
        status = path.stat()
    except OSError:  # reported when it is read
        return 0, 0
    return status.st_size, status.st_mtime_ns


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """The content of a file.

    Raises:
        Unusable: The file is missing, not readable, not a regular file, or too large.
        UserError: The disk or the network fails, which affects more than this file.
    """
    try:
        if not path.is_file() and path.exists():  # reading a pipe would block forever
            raise Unusable(f"{path.name} is not a regular file")
        size = path.stat().st_size
        if size > limit:
            raise Unusable(f"{path.name} has {size:,} bytes, more than the {limit:,} that a "
                           "clip can take")
        return path.read_bytes()
    except (FileNotFoundError, PermissionError) as error:
        raise Unusable(f"{path.name} cannot be read: {error.strerror}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; the same command resumes "
                        "from there") from error


def read_json(path: Path, limit: int = MAX_BYTES) -> Any:
    """The content of a JSON file.

    It may be a text with JSON, as ``json.dump(result.to_json(), file)`` writes it.

    Raises:
        Unusable: The file cannot be read, or is not JSON.
    """
    data = read_bytes(path, limit)
    try:
        content = json.loads(data)
        return json.loads(content) if isinstance(content, str) else content
    except (ValueError, RecursionError) as error:
        raise Unusable(f"{path.name} is not JSON: {error}") from error


def find_separator(line: str) -> str:
    """The separator of a table, from its first line; a semicolon in much of Europe."""
    return max(",;\t", key=line.count)


def write_point(cell: str, separator: str) -> str:
    """A value with a decimal point; tables separated by semicolons have decimal commas."""
    return cell.replace(",", ".") if separator == ";" else cell


def to_numbers(value: Any, what: str) -> NDArray[np.float64]:
    """An array from lists of equal length that should contain numbers.

    Raises:
        Unusable: They do not; the message calls the input `what`.
    """
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # in damaged files
            return np.asarray(value, np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise Unusable(f"{what} is not a list of numbers") from error


def to_whole(value: Any) -> Any:
    """The value, or an integer if it is one written as a float, as pandas does."""
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return int(value) if is_whole else value


def read_class_names(path: Path) -> tuple[str, ...]:
    """The names in a text file with one class name per line.

    Raises:
        MissingFileError: There is no such file.
        UserError: It is not such a file, has an empty line, or the same name twice.
    """
    if not path.is_file():
        raise MissingFileError(f"the file of class names {path} does not exist; it has one name "
                               "per line")
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"the file of class names {path} is not UTF-8 text") from error
    names = tuple(compose(line.strip()) for line in lines)
    if not names or not all(names) or len(set(names)) < len(names):
        raise UserError(f"the file of class names {path} must have one name per line; none of them "
                        "may be empty, or there twice")
    return names
