"""Your own arrays and tables: NPZ or NPY files, one per clip, or CSV files of `tools.tables`.

An NPY file holds `keypoints`; all other arrays of an NPZ file are optional.

===============  ================================  ============================================
``keypoints``    ``(M, T, V, 2)``, ``(T, V, 2)``   x, y in pixels of the frame; or 3: metres
``scores``       ``(M, T, V)``, ``(T, V)``         0..1; without it 1, or 0 if all else is 0
``label``        one text or integer               used if ``--labels`` is not given
``height``       one integer                       of the frame, pixels; without both of them
``width``        one integer                       ``--frame_size``
``joint_names``  ``(V,)`` texts                    the layout follows from them
===============  ================================  ============================================

Persons keep their index if there are at most ``--max_persons`` of them.
"""

from __future__ import annotations

import contextlib
import io
import math
import zipfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ..core.files import MAX_BYTES, find_clips, find_kind, read_bytes, to_whole
from ..core.labels import Row
from ..core.plausibility import check_axes, check_channels, doubt_unread
from ..core.source import Unusable
from .poses import Poses
from .source import PoseSource
from .tables import Part, find_parts, read_part

_LAST_LETTER = 0x10FFFF  # of Unicode
_ARRAYS = ("keypoints", "scores", "label", "height", "width", "joint_names")
# Arrays in the archives of other tools, and how to read these.
OTHERS = {
    "x_train": "the archive of CTR-GCN, which `ptl-skel preprocess ctrgcn` reads",
    "positions_2d": "the archive of VideoPose3D, which `ptl-skel preprocess videopose3d` reads",
    "positions_3d": "the archive of VideoPose3D, which `ptl-skel preprocess videopose3d` reads",
}


class ArraysSource(PoseSource[Path | Part]):
    """Reads NPZ, NPY or CSV files: one, or a folder of them, of one kind.

    The clip in an array file is named after the path of the file in the folder.
    """

    tool = "arrays"

    def find(self) -> Mapping[str, Path | Part | Unusable]:
        """The NPZ or NPY files, or the clips in the CSV files."""
        kind = find_kind(self.root, (".npz", ".npy", ".csv"))
        return (find_parts(self.root, self.layout) if kind == ".csv"
                else find_clips(self.root, kind))

    def paths(self, place: Path | Part) -> Iterable[Path]:
        """The file that contains the clip."""
        return (place if isinstance(place, Path) else place.path,)

    def read_poses(self, place: Path | Part) -> Poses:
        """The persons in an NPZ file or in the lines of a table."""
        return read_npz(place) if isinstance(place, Path) else read_part(place)

    def find_labels(self) -> Mapping[str, Row]:
        """The ``label`` of each NPZ file that has one."""
        labels = {clip: read_label(place) for clip, place in self._clips.items()
                  if isinstance(place, Path) and place.suffix.lower() != ".npy"}
        return {clip: Row(label) for clip, label in labels.items() if label}


def read_label(path: Path) -> str:
    """The label in an NPZ file; empty if there is none, or the file is damaged."""
    try:
        with path.open("rb") if path.is_file() else io.BytesIO() as file:
            return _label(_open(file, ("label",)))
    except (Unusable, OSError):  # reported when the clip is read
        return ""


def read_npz(path: Path) -> Poses:
    """The persons in an NPZ file.

    Raises:
        Unusable: The file is damaged, or has no arrays with the right shapes.
    """
    file = io.BytesIO(read_bytes(path))
    arrays = ({"keypoints": read_npy(file, path.name)} if path.suffix.lower() == ".npy" else
              _open(file, _ARRAYS))
    if "keypoints" not in arrays:
        raise Unusable("it has no array `keypoints`" + _suggest_source(path))
    keypoints = arrays["keypoints"]
    if keypoints.ndim == 5:
        raise Unusable(f"`keypoints` have the shape {keypoints.shape}: many clips in one array, as "
                       "in the train_data.npy of ST-GCN; save a file per clip, (M, T, V, C) each")
    if keypoints.ndim not in {3, 4} or keypoints.shape[-1] not in {2, 3}:
        raise Unusable(f"`keypoints` have the shape {keypoints.shape}, expected "
                       "(M, T, V, 2), (T, V, 2), or 3 at the end")
    scores = arrays.get("scores", (keypoints != 0).any(-1))
    if scores.shape != keypoints.shape[:-1]:
        raise Unusable(f"`scores` have the shape {scores.shape}, expected {keypoints.shape[:-1]}")
    for name, array in (("keypoints", keypoints), ("scores", scores)):
        if array.dtype.kind not in "biuf":
            raise Unusable(f"`{name}` are not numbers")
    persons, frames = (1, *keypoints.shape[:-2])[-2:]
    check_axes(persons, frames)
    check_channels(keypoints)
    rows = keypoints.reshape(persons * frames, *keypoints.shape[-2:])
    note = doubt_unread(_find_unread(path, scores.shape), "scores, or joint_names")
    return Poses(rows, scores.reshape(rows.shape[:2]), np.tile(np.arange(frames), persons),
                 np.repeat(np.arange(persons), frames), np.arange(frames), _frame_size(arrays),
                 _joint_names(arrays, rows.shape[1]), note)


def _find_unread(path: Path, shape: tuple[int, ...]) -> set[str]:
    """Unused arrays of an NPZ file that may be scores, by their shape, or names of joints."""
    found: dict[str, tuple[tuple[int, ...], str]] = {}
    if path.suffix.lower() == ".npy":
        return set()
    with contextlib.suppress(Exception), zipfile.ZipFile(path) as archive:  # damage does not matter
        for info in archive.infolist():
            with archive.open(info) as stream:
                of_array, _, dtype = _read_header(stream)
                found[info.filename.removesuffix(".npy")] = of_array, dtype.kind
    return {name for name, (of_array, kind) in found.items() if name not in _ARRAYS and (
        (of_array == shape and "scores" not in found) or
        (of_array == shape[-1:] and kind in "US" and "joint_names" not in found))}


def _suggest_source(path: Path) -> str:
    """Names the source that reads the archive, or lists the arrays in it, for an error message."""
    names = {Path(name).stem for name in zipfile.ZipFile(path).namelist()}
    return next((f"; it is {what}" for key, what in OTHERS.items() if key in names),
                f"; it has {', '.join(sorted(names)[:8]) or 'none'}")


def _frame_size(arrays: Mapping[str, NDArray[Any]]) -> tuple[int, int] | None:
    if "height" not in arrays and "width" not in arrays:
        return None
    sides = [arrays.get(name, np.empty(0)) for name in ("height", "width")]
    height, width = (to_whole(side.item()) if side.size == 1 else None for side in sides)
    if not (isinstance(height, int) and isinstance(width, int)):
        raise Unusable("`height` and `width` must be one integer each")
    return height, width


def _joint_names(arrays: Mapping[str, NDArray[Any]], joints: int) -> tuple[str, ...]:
    names = arrays.get("joint_names")
    if names is None:
        return ()
    if names.shape != (joints,) or names.dtype.kind not in "US":
        raise Unusable(f"`joint_names` must be {joints} strings")
    return tuple(name.decode(errors="replace") if isinstance(name, bytes) else name
                 for name in names.tolist())


def _label(arrays: Mapping[str, NDArray[Any]]) -> str:
    label = arrays.get("label", np.empty(0))
    value = to_whole(label.item()) if label.size == 1 else None
    if not isinstance(value, int | str | bytes) or isinstance(value, bool):
        return ""
    return (value.decode(errors="replace") if isinstance(value, bytes) else str(value)).strip()


def _open(file: IO[bytes], names: Collection[str]) -> dict[str, NDArray[Any]]:
    """The requested arrays that are in an NPZ file; nothing is unpickled.

    Raises:
        Unusable: The file is damaged.
    """
    try:
        with file, zipfile.ZipFile(file) as archive:
            found = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            return {name: _array(archive, found[name]) for name in names if name in found}
    except Exception as error:  # a damaged archive can raise anything
        raise Unusable(f"it cannot be read as an NPZ file ({error or type(error).__name__})"
                       ) from error


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    """An array, whose size is checked before memory is allocated."""
    if info.file_size > MAX_BYTES:
        raise Unusable(f"{info.filename} has {info.file_size:,} bytes, more than the "
                       f"{MAX_BYTES:,} that a clip can take")
    return _parse(io.BytesIO(archive.read(info)), info.filename)


def read_npy(stream: IO[bytes], name: str) -> NDArray[Any]:
    """The array in an NPY file; nothing is unpickled.

    Raises:
        Unusable: The file is damaged, or contains objects.
    """
    try:
        return _parse(stream, name)
    except Unusable:
        raise
    except Exception as error:  # a damaged header can raise anything
        raise Unusable(f"{name} cannot be read as an NPY file ({error or type(error).__name__})"
                       ) from error


def _parse(stream: IO[bytes], name: str) -> NDArray[Any]:
    shape, in_fortran_order, dtype = _read_header(stream)
    values = stream.read()
    if dtype.hasobject or len(values) != math.prod(shape) * dtype.itemsize:
        raise Unusable(f"{name} does not hold what its header says, or holds objects")
    if dtype.kind == "U" and (np.frombuffer(values, dtype.byteorder + "u4") > _LAST_LETTER).any():
        raise Unusable(f"{name} holds damaged strings")
    array: NDArray[Any] = np.frombuffer(values, dtype)
    return array.reshape(shape, order="F" if in_fortran_order else "C")


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    reads_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    return reads_header[npy.read_magic(stream)](stream)
