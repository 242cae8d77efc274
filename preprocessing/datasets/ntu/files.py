"""Where ``.skeleton`` files lie: in folders, and in zip archives, which are read in place.

An archive is a folder to what reads it: the keys of its files begin with its path. It is not
trusted: what a file in it claims to unpack to is checked before any memory is taken for it.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from preprocessing.datasets.ntu.text import MAX_BYTES

SUFFIX = ".skeleton"
_ARCHIVE = ".zip"
# Skeletons shrink to a quarter. What shrinks more than this and is not small was made to do harm.
_MAX_RATIO, _SMALL = 100, 16 * 2**20
_ADVICE = f"give a folder of {SUFFIX} files, or the zip archives of NTU RGB+D as they come"


class SkeletonFiles:
    """The ``.skeleton`` files in folders, the folders in them, and zip archives; given or found.

    Args:
        inputs: Folders and archives.

    Attributes:
        sizes: Bytes of each file by its key, which is its path: below the folder where only one
            folder is given, else from the input on.

    Raises:
        FileNotFoundError: An input does not exist.
        ValueError: An input is neither a folder nor an archive, an archive cannot be read, or
            there is no file.
    """

    def __init__(self, inputs: Sequence[Path]) -> None:
        self.sizes: dict[str, int] = {}
        self._folders: dict[str, Path] = {}  # by what the keys of its files begin with
        self._archives: dict[str, Path] = {}
        self._opened: dict[Path, zipfile.ZipFile] = {}
        for path in inputs:
            if not path.exists():
                raise FileNotFoundError(f"{path} does not exist; {_ADVICE}")
            where = path.as_posix() if len(inputs) > 1 else path.name
            if not path.is_dir():
                self._add_archive(f"{where}/", path)
            else:
                self._add_folder(f"{where}/" if len(inputs) > 1 else "", path)
        if not self.sizes:
            named = ", ".join(map(str, inputs)) or "nothing"
            raise ValueError(f"{named} holds no {SUFFIX} file; {_ADVICE}")

    def __getstate__(self) -> dict[str, Any]:
        # Workers are told what to read: they need no list of 114,480 files.
        return {**self.__dict__, "sizes": {}, "_opened": {}}

    def _add_folder(self, prefix: str, root: Path) -> None:
        self._folders[prefix] = root
        for folder, _, names in os.walk(root):
            for name in names:
                path = Path(folder) / name
                key = prefix + path.relative_to(root).as_posix()
                if name.lower().endswith(SUFFIX):
                    self.sizes[key] = path.stat().st_size if path.exists() else -1
                elif name.lower().endswith(_ARCHIVE):
                    self._add_archive(f"{key}/", path)

    def _add_archive(self, prefix: str, path: Path) -> None:
        self._archives[prefix] = path
        seen = Counter[str]()
        for member in self._open(path).infolist():
            if member.filename.lower().endswith(SUFFIX):
                seen[member.filename] += 1
                again = seen[member.filename]
                number = f" ({again})" if again > 1 else ""  # a key of its own, to be told of
                self.sizes[f"{prefix}{member.filename}{number}"] = member.file_size

    def _open(self, path: Path) -> zipfile.ZipFile:
        if path not in self._opened:
            try:
                self._opened[path] = zipfile.ZipFile(path)
            # zipfile raises the second for features of zip that it does not read, the others for
            # a directory of the archive that is cut off or points outside of it.
            except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError) as error:
                raise ValueError(f"{path} is no readable zip archive ({error}); if it is part of "
                                 f"NTU RGB+D fetch it again, else move it away") from error
        return self._opened[path]

    def digest(self, keys: Sequence[str]) -> str:
        """Changes with the names and the sizes of these files."""
        lines = "".join(f"{key}\0{self.sizes.get(key, -1)}\n" for key in keys)
        # Names of files can be any bytes.
        return hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()

    def read(self, key: str) -> bytes:
        """The content of a file.

        Raises:
            ValueError: It cannot be read, or is absurdly large; the message says why.
            OSError: The disk or the network fails.
        """
        for prefix, path in self._archives.items():
            if key.startswith(prefix):
                return _read_member(self._open(path), key.removeprefix(prefix))
        prefix = next(prefix for prefix in self._folders if key.startswith(prefix))
        return _read_file(self._folders[prefix] / key.removeprefix(prefix))


def _read_file(path: Path) -> bytes:
    try:
        if not path.is_file() and path.exists():  # a pipe would be waited for
            raise ValueError("it is no regular file")
        _check_size(path.stat().st_size)
        return path.read_bytes()
    except (FileNotFoundError, PermissionError) as error:  # others concern more than this file
        raise ValueError(f"it cannot be read: {error.strerror}") from error


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        member = archive.getinfo(name)
        _check_size(member.file_size)
        if member.header_offset < 0:  # the disk would be asked for it, and called faulty
            raise zipfile.BadZipFile("it would begin before the archive does")
        if member.file_size > max(_SMALL, _MAX_RATIO * member.compress_size):
            raise ValueError(f"it would unpack to {member.file_size >> 20} MB, more than "
                             f"{_MAX_RATIO} times what it takes in the archive")
        if member.flag_bits & 1:
            raise ValueError("it is encrypted in the archive")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError("it is compressed in an unusual way; unpack the archive")
        with archive.open(member) as file:
            return file.read(member.file_size)  # without a number all would be unpacked at once
    # As above; KeyError for a name that is not there, RuntimeError for what is encrypted.
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError, RuntimeError,
            NotImplementedError) as error:
        raise ValueError(f"it is damaged in the archive: {error}") from error


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise ValueError(f"it has {size >> 20} MB, more than the {MAX_BYTES >> 20} MB that a "
                         "file can have")
