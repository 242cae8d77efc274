"""The NTU RGB+D archives of CTR-GCN: ``NTU60_CS.npz``, ``NTU120_CSet.npz`` and so on.

``x_train`` and ``x_test`` are ``(N, 300, 150)``: frames of two persons with 25 joints in metres,
zeros if there is nobody; ``y_train`` and ``y_test`` have a 1 in the column of the class. Most later
graph networks use them. The arrays are large, so they are read row by row, in order.

Reference:
    Chen et al.: Channel-wise Topology Refinement Graph Convolution for Skeleton-Based Action
    Recognition, arXiv 2107.12213.
"""

from __future__ import annotations

import contextlib
import math
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ptl_skel.errors import MissingFileError, UserError
from ptl_skel.skeletons import get_layout
from ptl_skel.storage import Clip, Floats, Header

from ..core.files import MAX_BYTES, read_class_names
from ..core.plausibility import check_counting
from ..core.source import Unusable

_PARTS = ("train", "test")
_JOINTS, _PERSONS = 25, 2
_MAX_CLASSES = 100_000
_PROTOCOLS = {"cs": "xsub", "csub": "xsub", "cv": "xview", "cset": "xset"}


class CtrGcnSource:
    """Reads such an archive.

    It is read in one process: rows of a compressed array can only be read one after the other.

    Args:
        path: The archive.
        classes: Text file with one class name per line; by default labels are their own names.

    Raises:
        MissingFileError: There is no such file.
        UserError: It is not such an archive.
    """

    def __init__(self, path: Path, *, classes: Path | None = None) -> None:
        if not path.is_file():
            raise MissingFileError(f"{path} does not exist, or is not a file; give an .npz file")
        self.path = path
        self._streams: dict[str, _Rows] = {}
        with _damage_reported(path):
            archive = zipfile.ZipFile(path)
        with archive:
            found = {name.removesuffix(".npy") for name in archive.namelist()}
            missing = [f"{axis}_{part}" for part in _PARTS for axis in "xy"
                       if f"{axis}_{part}" not in found]
            if missing:
                raise UserError(f"{path} has no array {missing[0]}; it is not an archive of "
                                f"CTR-GCN, it has {', '.join(sorted(found)[:8])}")
            labels = {part: _read_labels(path, archive, part) for part in _PARTS}
        self._labels = {f"{part}_{row:06d}": (part, row, int(label))
                        for part, of_part in labels.items() for row, label in enumerate(of_part)}
        count = max((label for _, _, label in self._labels.values()), default=-1) + 1
        names = tuple(map(str, range(count))) if classes is None else read_class_names(classes)
        if classes is not None:
            check_counting({label for _, _, label in self._labels.values()}, len(names), str(path))
        self.header = Header(
            dataset=path.stem, layout=get_layout("ntu25"),
            class_names=names,
            source=f"ctrgcn {path.name}", num_coordinates=3)
        self.files = (path,)
        self.options: Mapping[str, Any] = {}

    def keys(self) -> Sequence[str]:
        """``train_000000`` and so on: part and row."""
        return list(self._labels)

    def read(self, key: str) -> list[Clip]:
        """The clip in a row.

        Raises:
            Unusable: It shows nobody.
            UserError: The archive is damaged.
        """
        part, row, label = self._labels[key]
        if part not in self._streams:
            self._streams = {part: _Rows(self.path, part)}
        frames = self._streams[part].read(row).reshape(-1, _PERSONS, _JOINTS, 3)
        present = (frames != 0).any((2, 3))  # (T, M)
        if not present.any():
            raise Unusable("it shows nobody")
        length = int(np.flatnonzero(present.any(1)).max()) + 1
        persons = np.flatnonzero(present.any(0))
        keypoints = frames[:length, persons].swapaxes(0, 1)
        scores = np.broadcast_to(present[:length, persons].T[..., None], keypoints.shape[:3])
        return [Clip(key, keypoints, scores.astype(np.float16), (1, 1), label)]

    def splits(self, ids: Sequence[str]) -> Mapping[str, Mapping[str, Sequence[str]]]:
        """The protocol in the name of the file, else ``default``."""
        words = re.split(r"[^a-z]+", self.path.stem.lower())
        protocol = next((_PROTOCOLS[word] for word in words if word in _PROTOCOLS), "default")
        return {protocol: {part: [clip for clip in ids if clip.startswith(part)]
                           for part in _PARTS}}


class _Rows:
    """Reads the rows of ``x_train`` or ``x_test``, in increasing order.

    Raises:
        UserError: The archive is damaged, or the array has another shape.
    """

    def __init__(self, path: Path, part: str) -> None:
        self._name = f"x_{part} in {path}"
        self._path = path
        with _damage_reported(path):
            self._stream: IO[bytes] = zipfile.ZipFile(path).open(f"x_{part}.npy")  # noqa: SIM115
            shape, is_fortran, self._dtype = _read_header(self._stream)
        if (len(shape) != 3 or shape[2] != 3 * _JOINTS * _PERSONS or is_fortran
                or self._dtype.kind != "f" or shape[1] * shape[2] * 8 > MAX_BYTES):
            raise UserError(f"{self._name} has the shape {shape}, expected (N, 300, 150)")
        self._shape, self._next = shape[1:], 0

    def read(self, row: int) -> Floats:
        """A row ``(T, 150)``; earlier rows can no longer be read."""
        size = math.prod(self._shape) * self._dtype.itemsize
        while self._next <= row:
            with _damage_reported(self._path):
                data = self._stream.read(size)
            self._next += 1
        if len(data) != size:
            raise UserError(f"{self._name} ends at row {row}")
        rows: NDArray[Any] = np.frombuffer(data, self._dtype)
        return rows.reshape(self._shape)


@contextlib.contextmanager
def _damage_reported(path: Path) -> Iterator[None]:
    """For calls that only read: a damaged archive can raise anything."""
    try:
        yield
    except Exception as error:
        raise UserError(f"{path} cannot be read as an archive of CTR-GCN: "
                        f"{error or type(error).__name__}") from error


def _read_labels(path: Path, archive: zipfile.ZipFile, part: str) -> NDArray[np.int64]:
    with _damage_reported(path):
        stream = archive.open(f"y_{part}.npy")
    with stream:
        with _damage_reported(path):
            shape, is_fortran, dtype = _read_header(stream)
        size = math.prod(shape) * dtype.itemsize
        if len(shape) not in {1, 2} or dtype.kind not in "biuf" or not 0 < size <= MAX_BYTES:
            raise UserError(f"y_{part} in {path} has the shape {shape}, expected (N, classes)")
        with _damage_reported(path):
            data = stream.read(size)
    if len(data) != size:
        raise UserError(f"y_{part} in {path} does not hold what its header says")
    labels = np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C")
    if labels.ndim == 2:
        return np.asarray(labels.argmax(1))
    if not ((labels >= 0) & (labels < _MAX_CLASSES) & (labels == np.floor(labels))).all():
        raise UserError(f"y_{part} in {path} must hold indices of classes")
    return labels.astype(np.int64)


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(stream)
    shape, is_fortran, dtype = (npy.read_array_header_1_0 if version == (1, 0)
                                else npy.read_array_header_2_0)(stream)
    return shape, is_fortran, dtype
