"""The labels of Penn Action: 2,326 ``.mat`` files with 13 annotated joints.

Reference:
    Zhang, Zhu and Derpanis: From Actemes to Action: A Strongly-supervised Representation for
    Detailed Action Understanding, ICCV 2013.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from ptl_skel.errors import MissingFileError
from ptl_skel.skeletons import LAYOUTS
from ptl_skel.storage import Clip, Header

from ..core.files import MAX_BYTES, read_bytes
from ..core.source import Unusable

CLASS_NAMES = (
    "baseball_pitch", "baseball_swing", "bench_press", "bowl", "clean_and_jerk", "golf_swing",
    "jump_rope", "jumping_jacks", "pullup", "pushup", "situp", "squat", "strum_guitar",
    "tennis_forehand", "tennis_serve",
)
_NUM_JOINTS = LAYOUTS["penn13"].num_joints
_NAMES = ("action", "train", "dimensions", "visibility", "x", "y")
_COMPRESSED = 15  # the kind of a part of a .mat file
_OCCLUDED = 0.5
_CORNER = 2.0
"""Invisible joints closer to the corner than this many pixels were not annotated. The largest
such coordinate is 1.52; the next invisible joint is at (10, 7.33)."""


class PennActionSource:
    """Reads the folder ``labels`` of Penn Action.

    An annotated joint has score 1, even outside the frame, and 0.5 if it is occluded (visibility
    0), since annotators guessed its position. A joint that was not annotated has score 0. It was
    originally written as (1, 1); since many videos were later resized together with their labels,
    it is now at (0.75, 0.75), (1.5, 1.5) and similar positions: an invisible joint less than 2 px
    from the corner, 8.8 % of all joints. Coordinates count from 1 in the files and from 0 here.

    Args:
        root: The folder with the ``.mat`` files, or the one above it.

    Raises:
        MissingFileError: There are no ``.mat`` files.
    """

    header = Header("penn_action", LAYOUTS["penn13"], CLASS_NAMES, "penn_action labels")

    def __init__(self, root: Path) -> None:
        self.root = root / "labels" if (root / "labels").is_dir() else root
        if not any(self.root.glob("*.mat")):
            raise MissingFileError(f"no .mat files in {self.root}; give the folder `labels` of "
                                   "the unpacked Penn_Action.tar.gz")

    @property
    def files(self) -> Sequence[Path]:
        """The ``.mat`` files."""
        return sorted(self.root.glob("*.mat"))

    @property
    def options(self) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    def keys(self) -> Sequence[str]:
        """Names of the files, ``0001`` and so on."""
        return [path.stem for path in self.files]

    def read(self, key: str) -> list[Clip]:
        """The clip of one file.

        Raises:
            Unusable: The file is damaged or not from Penn Action.
        """
        content = self._load(key)
        x, y = _coordinate(content, "x"), _coordinate(content, "y")
        if x.shape != y.shape:
            raise Unusable("`x` and `y` differ in their number of frames")
        joints = np.stack([x, y], -1)  # (T, V, 2)
        action = str(content["action"].item())
        if action not in CLASS_NAMES:
            raise Unusable(f"the action {action!r} is not one of Penn Action's")
        height, width = (int(side) for side in content["dimensions"].ravel()[:2])
        at_corner = ((joints >= 0) & (joints < _CORNER)).all(-1)
        occluded = _visibility(content, x.shape) == 0
        scores = np.where(occluded, np.where(at_corner, 0.0, _OCCLUDED), 1.0)
        return [Clip(key, (joints - 1)[None].astype(np.float32), scores[None].astype(np.float16),
                     (height, width), CLASS_NAMES.index(action))]

    def splits(self, ids: Sequence[str]) -> Mapping[str, Mapping[str, Sequence[str]]]:
        """The official split, which is in the files: 1,258 train and 1,068 test."""
        is_train = [self._load(clip)["train"].item() == 1 for clip in ids]
        return {"official": {
            "train": [clip for clip, train in zip(ids, is_train, strict=True) if train],
            "test": [clip for clip, train in zip(ids, is_train, strict=True) if not train]}}

    def _load(self, key: str) -> dict[str, Any]:
        data = read_bytes(self.root / f"{key}.mat")
        _check_sums(data)
        try:
            # The stubs know only paths.
            content = loadmat(io.BytesIO(data), variable_names=_NAMES)  # type: ignore[arg-type]
        except Exception as error:  # a damaged file can raise anything
            raise Unusable(f"it cannot be read as a .mat file ({error or type(error).__name__})"
                           ) from error
        for name in ("action", "train"):
            if not isinstance(content.get(name), np.ndarray) or content[name].size != 1:
                raise Unusable(f"`{name}` is missing or not one value")
        dimensions = content.get("dimensions")
        if (not _are_numbers(dimensions) or dimensions.size < 2
                or not np.isfinite(dimensions.ravel()[:2]).all()):
            raise Unusable("`dimensions` does not give height and width")
        return content


def _check_sums(data: bytes) -> None:
    """Checks that a .mat file is compressed, and its checksums: damaged numbers can crash SciPy.

    Two parts of real files lack their ends, and thus their checksums; their content is complete.

    Raises:
        Unusable: It is not, or a part of it is damaged.
    """
    tag = {b"IM": "<II", b"MI": ">II"}.get(data[126:128])
    if tag is None:
        raise Unusable("it is not a .mat file of version 5")
    at = 128
    while at < len(data):
        try:
            kind, size = struct.unpack_from(tag, data, at)
            part = zlib.decompressobj()
            if kind == _COMPRESSED:
                part.decompress(data[at + 8 : at + 8 + size], MAX_BYTES)
        except (struct.error, zlib.error) as error:
            raise Unusable(f"it is damaged ({error})") from error
        if kind != _COMPRESSED:
            raise Unusable("it is not compressed, as the files of Penn Action are; with SciPy, "
                           "`savemat(..., do_compression=True)` writes such files")
        if part.unconsumed_tail:
            raise Unusable(f"it holds more than the {MAX_BYTES:,} bytes that a clip can take")
        at += 8 + size


def _are_numbers(values: Any) -> TypeGuard[NDArray[Any]]:
    return isinstance(values, np.ndarray) and values.dtype.kind in "iuf"


def _coordinate(content: Mapping[str, Any], name: str) -> NDArray[np.float64]:
    """One coordinate of all joints, ``(T, V)``, in pixels from 1."""
    values = content.get(name)
    if not _are_numbers(values) or values.ndim != 2 or values.shape[1] != _NUM_JOINTS:
        raise Unusable(f"`{name}` is missing or not numbers of shape (frames, {_NUM_JOINTS})")
    return np.asarray(values, np.float64)


def _visibility(content: Mapping[str, Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """1 for visible joints, ``(T, V)``."""
    values = content.get("visibility")
    if not _are_numbers(values) or values.shape != shape:
        raise Unusable(f"`visibility` is missing or does not have the shape {shape} of `x`")
    return np.asarray(values)
