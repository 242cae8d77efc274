"""Arrays of one's own, an NPZ file per clip, of which all but `keypoints` may be left out.

=============  ==================================  ============================================
``keypoints``  ``(M, T, V, 2)`` or ``(T, V, 2)``   x, y in pixels of the frame; or 3: metres
``scores``     ``(M, T, V)`` or ``(T, V)``         0..1; without it 1, or 0 where all else is 0
``label``      one text or integer                 what ``--labels`` would say; may be left out
``height``     one integer                         of the frame, pixels; may be left out for
``width``      one integer                         ``--frame_size``
=============  ==================================  ============================================

Persons keep their index where there are no more of them than ``--max_persons``.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from preprocessing.core.files import MAX_BYTES, find_clips, read_bytes
from preprocessing.core.layouts import UNIQUE_LAYOUTS
from preprocessing.tools.labels import Row
from preprocessing.tools.poses import Poses

_ROOM = 50  # metres; further than that nobody is measured, but pixels are


class NpzReader:
    """Reads NPZ files.

    Args:
        root: A file, or a folder with a file per clip; a clip is named by its path in there.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ValueError: There is no NPZ file in it.
    """

    tool = "arrays"
    usual_layouts: Mapping[int, str] = UNIQUE_LAYOUTS
    flawed: Mapping[str, ValueError] = {}

    def __init__(self, root: Path) -> None:
        self.root = root
        self._files = find_clips(root, ".npz")

    @property
    def clips(self) -> list[str]:
        """Names of the clips."""
        return list(self._files)

    @property
    def files(self) -> Iterable[Path]:
        """All files that are read."""
        return self._files.values()

    def labels(self) -> Mapping[str, Row]:
        """The ``label`` of each file that has one."""
        labels = {}
        for clip, path in self._files.items():
            try:
                text = _label(_open(path.open("rb"), ("label",))) if path.is_file() else ""
            except (ValueError, OSError):  # found again, and told, when the clip is read
                continue
            if text:
                labels[clip] = Row(text)
        return labels

    def read(self, clip: str) -> Poses:
        """What the arrays of a clip hold.

        Raises:
            ValueError: The file is damaged, or has no arrays of the right shapes.
        """
        arrays = _open(io.BytesIO(read_bytes(self._files[clip])),
                       ("keypoints", "scores", "height", "width"))
        if "keypoints" not in arrays:
            raise ValueError("it has no array `keypoints`")
        keypoints = arrays["keypoints"]
        if keypoints.ndim not in {3, 4} or keypoints.shape[-1] not in {2, 3}:
            raise ValueError(f"`keypoints` have the shape {keypoints.shape}, expected "
                             "(M, T, V, 2), (T, V, 2), or 3 at the end")
        scores = arrays.get("scores", (keypoints != 0).any(-1))
        if scores.shape != keypoints.shape[:-1]:
            raise ValueError(f"`scores` have the shape {scores.shape}, expected "
                             f"{keypoints.shape[:-1]}")
        for name, array in (("keypoints", keypoints), ("scores", scores)):
            if array.dtype.kind not in "biuf":
                raise ValueError(f"`{name}` are no numbers")
        if keypoints.shape[-1] == 3 and "scores" not in arrays and _ends_in_scores(keypoints):
            raise ValueError("`keypoints` look like x, y and score; give the scores as `scores`, "
                             "since a third coordinate is one in metres")
        persons, frames = (1, *keypoints.shape[:-2])[-2:]
        rows = keypoints.reshape(-1, *keypoints.shape[-2:])
        return Poses(rows, scores.reshape(rows.shape[:2]), np.tile(np.arange(frames), persons),
                     np.repeat(np.arange(persons), frames), np.arange(frames), _frame_size(arrays))


def _ends_in_scores(keypoints: NDArray[Any]) -> bool:
    """Whether x and y can be no metres, and what follows lies in 0 to 1."""
    known = keypoints[np.isfinite(keypoints).all(-1)]
    return bool(known.size and np.abs(known[:, :2]).max() > _ROOM
                and ((known[:, 2] >= 0) & (known[:, 2] <= 1)).all())


def _frame_size(arrays: Mapping[str, NDArray[Any]]) -> tuple[int, int] | None:
    if "height" not in arrays and "width" not in arrays:
        return None
    sides = [arrays.get(name, np.empty(0)) for name in ("height", "width")]
    if any(side.size != 1 or side.dtype.kind not in "iu" for side in sides):
        raise ValueError("`height` and `width` are not an integer each")
    return int(sides[0].item()), int(sides[1].item())


def _label(arrays: Mapping[str, NDArray[Any]]) -> str:
    label = arrays.get("label", np.empty(0))
    if label.size != 1 or label.dtype.kind not in "iuUS":
        return ""
    value = label.item()
    return (value.decode(errors="replace") if isinstance(value, bytes) else str(value)).strip()


def _open(file: IO[bytes], names: Collection[str]) -> dict[str, NDArray[Any]]:
    """Those arrays of an NPZ file that it has; nothing is unpickled.

    Raises:
        ValueError: The file is damaged.
    """
    try:
        with file, zipfile.ZipFile(file) as archive:
            found = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            return {name: _array(archive, found[name]) for name in names if name in found}
    except Exception as error:  # a damaged archive can raise anything
        raise ValueError(f"it is no readable NPZ file ({error or type(error).__name__})") from error


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    """An array whose size is checked before memory is taken for it."""
    if info.file_size > MAX_BYTES:
        raise ValueError(f"{info.filename} has {info.file_size:,} bytes, more than the "
                         f"{MAX_BYTES:,} that a clip can take")
    stream = io.BytesIO(archive.read(info))
    reads_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    shape, in_fortran_order, dtype = reads_header[npy.read_magic(stream)](stream)
    values = stream.read()
    if dtype.hasobject or len(values) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{info.filename} does not hold what it says")
    array: NDArray[Any] = np.frombuffer(values, dtype)
    return array.reshape(shape, order="F" if in_fortran_order else "C")
