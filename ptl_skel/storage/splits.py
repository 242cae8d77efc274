"""Adds a protocol to a finished keypoint file."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from ptl_skel.atomic import replacing
from ptl_skel.errors import UserError
from ptl_skel.storage.locking import open_hdf5
from ptl_skel.storage.reader import KeypointFile
from ptl_skel.storage.schema import PARTS, check_split_name


def add_split(path: Path, name: str, parts: Mapping[str, NDArray[np.int64]], how: str) -> None:
    """Adds a protocol; the file is atomically replaced by a copy that has it.

    Args:
        path: The keypoint file.
        name: Name of the protocol.
        parts: Clip indices of its parts.
        how: How the split was made; stored with it.

    Raises:
        UserError: The file has a protocol of that name, the name or a part is not allowed, a clip
            is in two parts, or the file cannot be written.
    """
    file = KeypointFile(path)
    if name in file.splits:
        raise UserError(f"{path} already has a split {name}; give the new one another --name or "
                        "--seed")
    check_split_name(name)
    used = np.concatenate([np.empty(0, np.int64), *parts.values()])
    if not set(parts) <= set(PARTS) or len(np.unique(used)) < len(used):
        raise UserError(f"the parts of a split must be of {', '.join(PARTS)}, and must not share "
                        "a clip")
    path = path.resolve()  # keeps a symbolic link
    try:
        with replacing(path) as copy:
            shutil.copy(path, copy)
            with open_hdf5(copy, "r+", libver="v110") as stored:
                group = stored["splits"].create_group(name)
                raw = how.encode()
                group.attrs.create("how", raw, dtype=h5py.string_dtype("utf-8", max(1, len(raw))))
                for part, positions in parts.items():
                    group[part] = np.sort(positions)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS, errno.EDQUOT}:
            raise
        raise UserError(f"{path} cannot be replaced: {error.strerror}; it is as it was") from error
