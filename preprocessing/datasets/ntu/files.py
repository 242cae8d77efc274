"""Finds ``.skeleton`` files in folders and in zip archives, which are read in place.

An archive is treated like a folder: the keys of its files begin with its path. It is not trusted:
the declared unpacked size of a file is checked before memory is allocated.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ptl_skel.errors import MissingFileError, UserError

from ...core.files import read_bytes, walk
from ...core.source import Unusable
from .text import MAX_BYTES

SUFFIX = ".skeleton"
_ARCHIVE = ".zip"
# Skeletons compress to a quarter. A file with a higher ratio that is not small is malicious.
_MAX_RATIO, _SMALL = 100, 16 * 2**20
_ADVICE = f"give a folder of {SUFFIX} files, or the zip archives of NTU RGB+D as they come"


class SkeletonFiles:
    """The ``.skeleton`` files in folders, their subfolders, and zip archives; given or found.

    Args:
        inputs: Folders and archives.

    Attributes:
        keys: Names of the files: their paths, relative to the folder if only one is given, else
            including the input.
        paths: The files and archives on the disk.

    Raises:
        MissingFileError: An input does not exist.
        UserError: An input is neither a folder nor an archive, an archive cannot be read, or there
            are no files.
    """

    def __init__(self, inputs: Sequence[Path]) -> None:
        self.keys: list[str] = []
        self.paths: list[Path] = []
        self._folders: dict[str, Path] = {}  # by the prefix of the keys of its files
        self._archives: dict[str, Path] = {}
        self._opened: dict[Path, zipfile.ZipFile] = {}
        for path in inputs:
            if not path.exists():
                raise MissingFileError(f"{path} does not exist; {_ADVICE}")
            where = path.as_posix() if len(inputs) > 1 else path.name
            if not path.is_dir():
                self._add_archive(f"{where}/", path)
            else:
                self._add_folder(f"{where}/" if len(inputs) > 1 else "", path)
        if not self.keys:
            named = ", ".join(map(str, inputs)) or "nothing"
            raise UserError(f"{named} holds no {SUFFIX} file; {_ADVICE}")

    def __getstate__(self) -> dict[str, Any]:
        # Workers get the keys to read: they do not need a list of 114,480 files.
        return {**self.__dict__, "keys": [], "paths": [], "_opened": {}}

    def _add_folder(self, prefix: str, root: Path) -> None:
        self._folders[prefix] = root
        for folder, names in walk(root):
            below = prefix + "".join(f"{part}/" for part in folder.relative_to(root).parts)
            for name in names:
                if name.lower().endswith(SUFFIX):
                    self.keys.append(below + name)
                    self.paths.append(folder / name)
                elif name.lower().endswith(_ARCHIVE):
                    self._add_archive(f"{below}{name}/", folder / name)

    def _add_archive(self, prefix: str, path: Path) -> None:
        self._archives[prefix] = path
        self.paths.append(path)
        seen = Counter[str]()
        for member in self._open(path).infolist():
            if member.filename.lower().endswith(SUFFIX):
                seen[member.filename] += 1
                again = seen[member.filename]
                number = f" ({again})" if again > 1 else ""  # a unique key, to be reported
                self.keys.append(f"{prefix}{member.filename}{number}")

    def _open(self, path: Path) -> zipfile.ZipFile:
        if path not in self._opened:
            try:
                self._opened[path] = zipfile.ZipFile(path)
            # zipfile raises the second for unsupported features of zip, the others for a directory
            # of the archive that is truncated or points outside of it.
            except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError) as error:
                raise UserError(f"{path} cannot be read as a zip archive ({error}); if it is part "
                                "of NTU RGB+D fetch it again, else move it away") from error
            except OSError as error:
                raise UserError(f"{path} cannot be read: {error.strerror}") from error
        return self._opened[path]

    def read(self, key: str) -> bytes:
        """The content of a file.

        Raises:
            Unusable: It cannot be read, or is absurdly large; the message says why.
            UserError: The disk or the network fails.
        """
        for prefix, path in self._archives.items():
            if key.startswith(prefix):
                return _read_member(self._open(path), key.removeprefix(prefix))
        prefix = next(prefix for prefix in self._folders if key.startswith(prefix))
        return read_bytes(self._folders[prefix] / key.removeprefix(prefix), MAX_BYTES)


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        member = archive.getinfo(name)
        if member.file_size > MAX_BYTES:
            raise Unusable(f"it has {member.file_size:,} bytes, more than the {MAX_BYTES:,} that a "
                           "file can have")
        if member.header_offset < 0:  # reading there would be reported as a disk failure
            raise zipfile.BadZipFile("it would begin before the archive does")
        if member.file_size > max(_SMALL, _MAX_RATIO * member.compress_size):
            raise Unusable(f"it would unpack to {member.file_size >> 20} MB, more than "
                           f"{_MAX_RATIO} times what it takes in the archive")
        if member.flag_bits & 1:
            raise Unusable("it is encrypted in the archive")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Unusable("it is compressed in an unusual way; unpack the archive")
        with archive.open(member) as file:
            return file.read(member.file_size)  # without a size all would be unpacked at once
    # As above; KeyError for a missing name, RuntimeError for an encrypted file.
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError, RuntimeError,
            NotImplementedError) as error:
        raise Unusable(f"it is damaged in the archive: {error}") from error
