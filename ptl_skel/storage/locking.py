"""Opens HDF5 files, and reports locked files as such."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import h5py

from ptl_skel.storage.schema import KeypointFileError


def open_hdf5(path: Path, mode: Literal["r", "r+", "w"] = "r", **options: Any) -> h5py.File:
    """An open HDF5 file, which HDF5 locks until it is closed.

    Args:
        path: The file.
        mode: ``r`` to read it, ``r+`` to change it, ``w`` to write a new file.
        **options: Options of `h5py.File`.

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
