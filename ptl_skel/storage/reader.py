"""Reads keypoint files; rejects damaged files and files of another format."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ptl_skel.errors import MissingFileError
from ptl_skel.skeletons import SkeletonLayout
from ptl_skel.storage.locking import open_hdf5
from ptl_skel.storage.schema import (
    FORMAT,
    MOMENTS,
    NUMBERS,
    PARTS,
    SCHEMA_VERSION,
    Clip,
    Floats,
    Header,
    KeypointFileError,
    Splits,
)

SAMPLED = 1000
"""Number of clips, evenly spaced, whose frames make up the fingerprint of a file: a tenth of a
second for any number of clips."""


class KeypointFile:
    """Reads a keypoint file; can be pickled, and used in the workers of a loader.

    The index is read and checked at once, the frames on demand: through a handle that each process
    opens itself, or from memory. Unpickling reopens the file; frames that were in memory are then
    memory-mapped, so that processes share them.

    Args:
        path: The HDF5 file.
        in_memory: Keep all frames in RAM (NTU-60: about 0.6 GB).

    Attributes:
        header: What applies to all clips.
        splits: Clip indices by protocol and part.
        how_split: How each protocol was made; empty for those that came with the data.
        job: Fingerprint of the job that made the file; empty if it is not known.
        num_inputs: Number of inputs that should have resulted in clips.
        num_lost: How many of them did not.
        ids: Names of the clips.
        label: Class of each clip. `num_frames`, `num_persons`, `height`, `width`, `subject`,
            `camera`, `setup`, `replication`, `fps` and `first_frame` are such arrays, too.
        start: First row of each clip; the frames of its persons follow each other.

    Raises:
        MissingFileError: There is no such file.
        KeypointFileError: The file is damaged, unfinished, locked, of another program or version.
    """

    label: NDArray[np.int32]
    start: NDArray[np.int64]
    num_frames: NDArray[np.int32]
    num_persons: NDArray[np.int32]
    height: NDArray[np.int32]
    width: NDArray[np.int32]
    subject: NDArray[np.int32]
    camera: NDArray[np.int32]
    setup: NDArray[np.int32]
    replication: NDArray[np.int32]
    fps: NDArray[np.float32]
    first_frame: NDArray[np.int32]

    def __init__(self, path: Path | str, *, in_memory: bool = False) -> None:
        self.path = Path(path)
        self._handle: tuple[int, h5py.Dataset, h5py.Dataset] | None = None
        self._memory: tuple[Floats, Floats] | None = None
        if self.path.is_dir():
            raise KeypointFileError(f"{self.path} is a folder; name the keypoint file in it")
        if not self.path.is_file():
            raise MissingFileError(f"keypoint file {self.path} does not exist; "
                                   "`ptl-skel preprocess` makes one")
        try:
            with open_hdf5(self.path) as file:
                self._read_header(file)
                self._read_index(file)
                self._check_frames(file)
                self._read_splits(file)
                if in_memory:
                    self._memory = file["frames/keypoints"][()], file["frames/scores"][()]
        except KeypointFileError:
            raise
        except (OSError, LookupError, ValueError, TypeError, RuntimeError, AttributeError) as error:
            raise self._refusal(f"is damaged or not a keypoint file ({error})") from error

    def _refusal(self, why: str) -> KeypointFileError:
        return KeypointFileError(f"{self.path} {why}; make it again with `ptl-skel preprocess`")

    def _read_header(self, file: h5py.File) -> None:
        attrs = file.attrs
        if attrs.get("format") != FORMAT.encode():
            raise self._refusal("was not written by ptl_skel")
        if attrs["schema_version"] != SCHEMA_VERSION:
            raise self._refusal(f"has schema version {attrs['schema_version']}, this version of "
                                f"ptl_skel reads {SCHEMA_VERSION}")
        if not attrs["complete"]:
            raise self._refusal("is not complete")
        keypoints = file["frames/keypoints"]
        self.created_by = attrs["created_by"].decode()
        self.job: str = attrs.get("job", b"").decode()
        self.num_inputs, self.num_lost = (int(attrs.get(name, 0))
                                          for name in ("num_inputs", "num_lost"))
        self.header = Header(
            attrs["dataset"].decode(), SkeletonLayout.from_json(attrs["layout"].decode()),
            tuple(str(name) for name in json.loads(attrs["class_names"])),
            attrs["source"].decode(), keypoints.shape[-1], keypoints.dtype.name)

    def _read_index(self, file: h5py.File) -> None:
        clips = file["clips"]
        raw = clips["id"]
        if raw.ndim != 1 or raw.dtype.kind != "S":
            raise self._refusal("has an index of clip names that is not a list of texts")
        self._check_stored(raw)
        self.ids: list[str] = [name.decode() for name in raw[()].tolist()]
        for name in NUMBERS:
            self._check_stored(clips[name])
            if clips[name].shape != raw.shape or clips[name].dtype.kind != "i":
                raise self._refusal(f"has an index that does not fit: clips/{name}")
            setattr(self, name, clips[name][()])
        for name, dtype in MOMENTS.items():
            if name in clips:
                self._check_stored(clips[name])
            values = clips[name][()] if name in clips else np.zeros(len(self.ids), dtype)
            if values.shape != raw.shape or values.dtype != dtype or not (values >= 0).all():
                raise self._refusal(f"has an index that does not fit: clips/{name}")
            setattr(self, name, values)
        if len(self.ids) == 0 or len(set(self.ids)) != len(self.ids):
            raise self._refusal("has no clips, or two of the same name")
        for name in ("num_frames", "num_persons", "height", "width"):
            if getattr(self, name).min() < 1:
                raise self._refusal(f"has a clip with {name} < 1")
        if self.label.min() < -1 or self.label.max() >= len(self.header.class_names):
            raise self._refusal(f"has labels out of range, its classes are 0 to "
                                f"{len(self.header.class_names) - 1}")

    def _check_frames(self, file: h5py.File) -> None:
        keypoints, scores = file["frames/keypoints"], file["frames/scores"]
        rows = self.num_persons.astype(np.int64) * self.num_frames
        ends = np.cumsum(rows)
        joints = self.header.layout.num_joints
        if (keypoints.dtype.name not in {"float16", "float32"} or scores.dtype != np.float16
                or keypoints.shape not in {(ends[-1], joints, 2), (ends[-1], joints, 3)}
                or scores.shape != (ends[-1], joints) or (self.start != ends - rows).any()):
            raise self._refusal("has frames that do not fit its index")
        self._check_stored(keypoints)
        self._check_stored(scores)

    def _check_stored(self, stored: h5py.Dataset) -> None:
        """Rejects an array that is not completely in the file, before memory is allocated."""
        offset = stored.id.get_offset()
        if offset is None or offset + stored.nbytes > self.path.stat().st_size:
            raise self._refusal(f"does not hold all of {stored.name}")

    def _read_splits(self, file: h5py.File) -> None:
        self.splits: Splits = {}
        self.how_split: dict[str, str] = {}
        for protocol, parts in file["splits"].items():
            self.splits[protocol] = {}
            self.how_split[protocol] = parts.attrs.get("how", b"").decode()
            for part, stored in parts.items():
                where = f"has a split {protocol}/{part} that"
                if part not in PARTS or stored.dtype.kind != "i" or stored.ndim != 1:
                    raise self._refusal(f"{where} is not a list of clips")
                if stored.size:  # nothing is stored for an empty array
                    self._check_stored(stored)
                positions = stored[()].astype(np.int64)
                if positions.size and not 0 <= positions.min() <= positions.max() < len(self):
                    raise self._refusal(f"{where} names an unknown clip")
                self.splits[protocol][part] = positions

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.ids)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles only the path: otherwise a spawned worker would be sent hundreds of MB."""
        return _reopen, (self.path.absolute(), self._memory is not None)

    def _frames(self) -> tuple[Any, Any]:
        if self._memory is not None:
            return self._memory
        if self._handle is None or self._handle[0] != os.getpid():
            file = open_hdf5(self.path)
            self._handle = os.getpid(), file["frames/keypoints"], file["frames/scores"]
        return self._handle[1:]

    def map_frames(self) -> None:
        """Memory-maps all frames; all processes share what is read."""
        keypoints, scores = (
            np.memmap(self.path, stored.dtype, "r", stored.id.get_offset(), stored.shape)
            for stored in self._frames())
        self._memory = np.asarray(keypoints), np.asarray(scores)

    def frames(self, clip: int) -> tuple[Floats, Floats]:
        """Keypoints ``(M, T, V, C)`` and scores ``(M, T, V)`` of a clip, as stored."""
        keypoints, scores = self._frames()
        persons, frames = int(self.num_persons[clip]), int(self.num_frames[clip])
        start = int(self.start[clip])
        rows = slice(start, start + persons * frames)
        shape = persons, frames, self.header.layout.num_joints
        return keypoints[rows].reshape(*shape, -1), scores[rows].reshape(shape)

    def fingerprint(self) -> str:
        """A digest, 32 hex digits, that differs between files with different keypoints.

        It is computed from labels, frame sizes and the frames of up to `SAMPLED` clips; a change in
        other clips of a larger file does not show.
        """
        digest = hashlib.blake2b(digest_size=16)
        for index in (self.label, self.num_persons, self.num_frames, self.height, self.width):
            digest.update(index.tobytes())
        for clip in np.linspace(0, len(self) - 1, min(len(self), SAMPLED)).astype(int).tolist():
            for stored in self.frames(clip):
                digest.update(stored.tobytes())
        return digest.hexdigest()

    @property
    def num_rows(self) -> int:
        """Frames of all persons of all clips; see `start`."""
        return int((self.num_persons.astype(np.int64) * self.num_frames).sum())

    def rows(self, first: int, last: int) -> tuple[Floats, Floats]:
        """Keypoints ``(R, V, C)`` and scores ``(R, V)`` of some rows, as stored; see `start`."""
        keypoints, scores = self._frames()
        return keypoints[first:last], scores[first:last]

    def clip(self, clip: int) -> Clip:
        """A clip with all of its data in the file."""
        keypoints, scores = self.frames(clip)
        return Clip(self.ids[clip], keypoints, scores,
                    (int(self.height[clip]), int(self.width[clip])), int(self.label[clip]),
                    int(self.subject[clip]), int(self.camera[clip]), int(self.setup[clip]),
                    int(self.replication[clip]), fps=float(self.fps[clip]),
                    first_frame=int(self.first_frame[clip]))

    def position(self, clip_id: str) -> int:
        """Index of the clip with that name.

        Raises:
            KeypointFileError: There is no such clip.
        """
        if clip_id not in self.ids:
            raise KeypointFileError(f"{self.path} has no clip {clip_id!r}; the first of its "
                                    f"{len(self)} clips is {self.ids[0]!r}")
        return self.ids.index(clip_id)

    def split(self, protocol: str, part: str) -> NDArray[np.int64]:
        """Clip indices of a part of a protocol; empty if the protocol has no such part.

        Raises:
            KeypointFileError: There is no such protocol.
        """
        if protocol not in self.splits:
            known = f"it has: {', '.join(sorted(self.splits))}" if self.splits else (
                f"it has no split at all, `ptl-skel split {self.path} --by class` makes one")
            raise KeypointFileError(f"{self.path} has no protocol {protocol!r}; {known}")
        return self.splits[protocol].get(part, np.empty(0, np.int64))


def _reopen(path: Path, in_memory: bool) -> KeypointFile:
    """The file in another process; frames that were in memory are memory-mapped."""
    file = KeypointFile(path)
    if in_memory:
        file.map_frames()
    return file
