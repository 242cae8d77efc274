"""Opens HDF5 files, and reports their locks for what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import h5py

from ptl_skel.storage.schema import KeypointFileError


def open_hdf5(path: Path, mode: Literal["r", "r+", "w"] = "r", **options: Any) -> h5py.File:
    """An HDF5 file; HDF5 locks it as long as it is open.

    Args:
        path: The file.
        mode: ``r`` to read it, ``r+`` to change it, ``w`` to write it anew.
        **options: Of `h5py.File`.

    Raises:
        KeypointFileError: The file cannot be locked.
        OSError: It cannot be opened for another reason, or is not an HDF5 file.
    """
    try:
        return h5py.File(path, mode, **options)
    except OSError as error:
        if "unable to lock file" not in str(error):
            raise
        raise KeypointFileError(
            f"{path} cannot be locked: another program has it open for writing, or its file system "
            "has no locks (often NFS). Close that program; if there is none, set "
            "HDF5_USE_FILE_LOCKING=FALSE in the environment") from error
