"""The keypoint file: the one definition of how 2D or 3D keypoints are cached in HDF5.

Frames of all clips lie in flat contiguous arrays, an index tells which rows belong to which clip::

    attrs: format  schema_version  dataset  layout  class_names  source  created_by  complete
           job  num_inputs  num_lost                                    only of files from a job
    /frames/keypoints (R, V, 2|3) float16|float32     /frames/scores (R, V) float16
    /clips/{id, label, start, num_frames, num_persons, height, width,
            subject, camera, setup, replication}                          one entry per clip
    /splits/<protocol>/<train|val|test>                                   indices into /clips

Rows ``start : start + num_persons * num_frames`` of a clip, viewed as ``(M, T, V, C)``, are its
persons, frames, joints and coordinates (pixels of the frame, or metres for 3D). A joint that is
missing has score 0, and its coordinates carry no meaning. A number that is not known is -1.

`ClipWriter` writes such files, `KeypointFile` reads them.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import importlib.metadata
import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from ptl_skel.skeletons import SkeletonLayout

if sys.platform != "win32":
    import fcntl

FORMAT = "ptl_skel.keypoints"
SCHEMA_VERSION = 1
PARTS = ("train", "val", "test")
_NUMBERS = ("label", "start", "num_frames", "num_persons", "height", "width",
            "subject", "camera", "setup", "replication")
_COPY_BYTES = 16 * 2**20

Floats = NDArray[np.floating[Any]]
Splits = dict[str, dict[str, NDArray[np.int64]]]


@dataclass(frozen=True)
class Clip:
    """One sample: what a preprocessing source yields and a keypoint file stores.

    Args:
        id: Unique name of the clip in its file.
        keypoints: ``(M, T, V, 2)`` pixels of the frame, or ``(M, T, V, 3)`` metres.
        scores: Confidence of each joint in 0..1, ``(M, T, V)``; 0 for a missing joint.
        frame_size: Height and width of the frame in pixels.
        label: Index of the class, -1 if it is not known.
        subject: Who performs, -1 if not known; so are camera, setup and replication.
        repairs: What was wrong with the input and repaired; for the report, not for the file.
    """

    id: str
    keypoints: Floats
    scores: Floats
    frame_size: tuple[int, int]
    label: int = -1
    subject: int = -1
    camera: int = -1
    setup: int = -1
    replication: int = -1
    repairs: str = ""


@dataclass(frozen=True)
class Header:
    """What a keypoint file says about all of its clips.

    Args:
        dataset: Name of the data set.
        layout: The joints.
        class_names: Names of the classes; labels are indices into them.
        source: Where the keypoints come from: the reader and its options.
        num_coordinates: 2 (pixels) or 3 (metres).
        dtype: ``float16`` or ``float32``: as precise as the source.
    """

    dataset: str
    layout: SkeletonLayout
    class_names: tuple[str, ...]
    source: str
    num_coordinates: int = 2
    dtype: Literal["float16", "float32"] = "float32"


class KeypointFileError(ValueError):
    """A keypoint file cannot be used; the message says why and what to do about it."""


class UpToDate(FileExistsError):  # noqa: N818  # no error: there is nothing to do
    """The keypoint file that a `ClipWriter` would write is there and complete."""


def valid_clip(clip: Clip, header: Header) -> Clip:
    """The clip in the precision of the file, each joint that is not finite with score 0.

    Raises:
        ValueError: The clip has no person, no frame or no visible joint, or its shapes, label,
            id or frame size do not fit the header.
    """
    joints, coordinates = header.layout.num_joints, header.num_coordinates
    if clip.keypoints.ndim != 4 or clip.keypoints.shape[2:] != (joints, coordinates):
        raise ValueError(f"keypoints have the shape {clip.keypoints.shape}, expected (persons, "
                         f"frames, {joints}, {coordinates}) for layout {header.layout.name}")
    if clip.scores.shape != clip.keypoints.shape[:3]:
        raise ValueError(f"scores have the shape {clip.scores.shape}, expected "
                         f"{clip.keypoints.shape[:3]}")
    if clip.keypoints.shape[0] == 0:
        raise ValueError("the clip has no person")
    if clip.keypoints.shape[1] == 0:
        raise ValueError("the clip has no frame")
    if not -1 <= clip.label < len(header.class_names):
        raise ValueError(f"label {clip.label} is out of range: the classes are 0 to "
                         f"{len(header.class_names) - 1}")
    if not clip.id or "\0" in clip.id or clip.id.encode(errors="replace").decode() != clip.id:
        raise ValueError(f"{clip.id!r} is no name for a clip")
    if min(clip.frame_size) < 1:
        raise ValueError(f"the frame size {clip.frame_size} is not positive")
    with np.errstate(over="ignore"):
        keypoints = clip.keypoints.astype(header.dtype)
        scores = np.clip(clip.scores, 0, 1).astype(np.float16)
    present = np.isfinite(keypoints).all(-1) & np.isfinite(scores)
    scores = np.where(present, scores, np.float16(0))
    if not scores.any():
        raise ValueError("no joint is visible in any frame")
    keypoints = np.where(present[..., None], keypoints, keypoints.dtype.type(0))
    return Clip(clip.id, keypoints, scores, clip.frame_size, clip.label, clip.subject,
                clip.camera, clip.setup, clip.replication, clip.repairs)


class ClipWriter:
    """Streams clips into a keypoint file; memory does not grow with their number.

    The clips of one input (say, one ``.skeleton`` file) are added under its key. Until `finish`,
    everything lies in the folder ``<path>.partial``; a writer with the same header and job goes on
    from there after an interruption, and `done` tells which inputs it may pass over. The finished
    file appears under its name at once and complete, and is the same as without interruption.

    Args:
        path: The HDF5 file to write.
        header: What holds for all clips.
        job: What else decides the content (input, options); another job is not continued. The
            finished file remembers it.
        overwrite: Replace an existing file or an unfinished one of another job.

    Raises:
        UpToDate: The file exists, and the same job made it.
        FileExistsError: The file exists, or an unfinished one of another job does, or another
            process is writing it.
        KeypointFileError: The unfinished work is damaged.
    """

    def __init__(self, path: Path | str, header: Header, job: Mapping[str, Any] | None = None,
                 *, overwrite: bool = False) -> None:
        self.path = Path(path)
        self.header = header
        self.done: set[str] = set()
        self.skipped: dict[str, str] = {}
        self.repaired: dict[str, str] = {}
        self.num_inputs = self.num_lost = 0
        self.index: list[dict[str, Any]] = []
        self._ids: set[str] = set()
        self._rows = 0
        self._partial = self.path.with_name(self.path.name + ".partial")
        if self.path.is_dir():
            raise FileExistsError(f"{self.path} is a folder; give the name of a file")
        fingerprint = json.dumps({"schema_version": SCHEMA_VERSION, "version": _version(),
                                  "header": asdict(header), "job": dict(job or {})},
                                 sort_keys=True, default=str)
        self._job = hashlib.sha256(fingerprint.encode()).hexdigest() if job is not None else ""
        if self.path.exists() and not overwrite:
            if self._job and _job_of(self.path) == self._job:
                self._discard()  # what is left if the process was killed while it tidied up
                raise UpToDate(f"{self.path} is complete, and made from the same input with the "
                               "same options: nothing to do; --overwrite makes it again")
            raise FileExistsError(f"{self.path} exists; give another --out, or --overwrite")
        started = self._partial / "job.json"
        if started.exists() and started.read_text(encoding="utf-8") != fingerprint:
            if not overwrite:
                raise FileExistsError(f"{self._partial} holds the unfinished work of another job; "
                                      "remove it, give another --out, or --overwrite")
            self._discard()
        self._partial.mkdir(parents=True, exist_ok=True)
        if not started.exists():
            for name in ("keypoints", "scores", "journal"):
                (self._partial / name).write_bytes(b"")
            draft = started.with_suffix(".tmp")
            draft.write_text(fingerprint, encoding="utf-8")
            draft.replace(started)
        self._keypoints = (self._partial / "keypoints").open("r+b")
        self._scores = (self._partial / "scores").open("r+b")
        self._journal = (self._partial / "journal").open("r+b")
        self._lock()
        self._resume()

    def _lock(self) -> None:
        """Keeps a second process from going on with the same work at the same time."""
        if sys.platform != "win32":
            try:
                fcntl.flock(self._journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise FileExistsError(f"another process is writing {self.path}; wait for it, or "
                                      "give another --out") from error

    def _discard(self) -> None:
        """Removes the unfinished work; killed in between, what is left is not taken for work."""
        (self._partial / "job.json").unlink(missing_ok=True)
        shutil.rmtree(self._partial, ignore_errors=True)

    def _resume(self) -> None:
        """Takes over what the journal confirms and cuts off what it does not."""
        confirmed = 0
        for line in self._journal:
            if not line.endswith(b"\n"):
                break
            self._record(json.loads(line))
            confirmed += len(line)
        joints = self._rows * self.header.layout.num_joints
        itemsize = np.dtype(self.header.dtype).itemsize
        for file, size in (
            (self._keypoints, joints * self.header.num_coordinates * itemsize),
            (self._scores, joints * 2), (self._journal, confirmed),
        ):
            if file.seek(0, os.SEEK_END) < size:
                raise KeypointFileError(f"{self._partial} lost frames, say, when the machine went "
                                        "down; remove it and start again")
            file.truncate(size)
            file.seek(size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        for file in (self._keypoints, self._scores, self._journal):
            try:
                file.close()
            except OSError:  # a full disk refuses the last bytes; they are given up below
                continue
        full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
        if full or isinstance(error, ValueError):  # going on would lead to the same refusal
            self._discard()

    def add(self, key: str, clips: Sequence[Clip]) -> None:
        """Adds the clips of one input, valid as `valid_clip` returns them.

        Raises:
            ValueError: A clip does not fit the header, or its id is taken.
            OSError: The disk is full.
        """
        clips = [valid_clip(clip, self.header) for clip in clips]
        ids = [clip.id for clip in clips]
        taken = sorted(self._ids.intersection(ids)) or [i for i in ids if ids.count(i) > 1]
        if taken:
            raise ValueError(f"a clip named {taken[0]} is already in the file")
        entry: dict[str, Any] = {"key": key, "clips": []}
        repairs = "; ".join(clip.repairs for clip in clips if clip.repairs)
        if repairs:
            entry["repaired"] = repairs
        start = self._rows
        for clip in clips:
            persons, frames = clip.keypoints.shape[:2]
            self._keypoints.write(np.ascontiguousarray(clip.keypoints).data)
            self._scores.write(np.ascontiguousarray(clip.scores).data)
            entry["clips"].append({
                "id": clip.id, "label": clip.label, "start": start, "num_frames": frames,
                "num_persons": persons, "height": clip.frame_size[0], "width": clip.frame_size[1],
                "subject": clip.subject, "camera": clip.camera, "setup": clip.setup,
                "replication": clip.replication})
            start += persons * frames
        self._keypoints.flush()
        self._scores.flush()
        self._write_journal(entry)

    def skip(self, key: str, reason: str, *, is_loss: bool = True) -> None:
        """Notes that an input gave no clip, and why; `finish` lists these beside the file.

        Args:
            key: The input.
            reason: Why.
            is_loss: It should have given one.
        """
        self._write_journal({"key": key, "skipped": reason, "loss": is_loss})

    def _write_journal(self, entry: dict[str, Any]) -> None:
        self._journal.write(json.dumps(entry).encode() + b"\n")
        self._journal.flush()
        self._record(entry)

    def _record(self, entry: Mapping[str, Any]) -> None:
        self.done.add(entry["key"])
        if "skipped" in entry:
            self.skipped[entry["key"]] = entry["skipped"]
            self.num_lost += entry["loss"]
        self.num_inputs += entry.get("loss", True)
        if "repaired" in entry:
            self.repaired[entry["key"]] = entry["repaired"]
        for clip in entry.get("clips", ()):
            self.index.append(clip)
            self._ids.add(clip["id"])
            self._rows += clip["num_persons"] * clip["num_frames"]

    def finish(self, splits: Mapping[str, Mapping[str, Iterable[str]]]) -> None:
        """Writes the keypoint file under its name and removes the unfinished work.

        Args:
            splits: Clip ids of each part of each protocol; ids of skipped inputs are passed over.

        Raises:
            ValueError: There is no clip, or a split names a clip that was neither added nor
                skipped, or names it in two parts.
            OSError: The disk is full.
        """
        if not self.index:
            reasons = sorted(set(self.skipped.values()))[:3]
            raise ValueError(f"{self.path} is not written, no usable clip was found: "
                             + ("; ".join(reasons) or "no input"))
        resolved = self._resolve(splits)
        temporary = self.path.with_name(self.path.name + ".tmp")
        try:
            # v110: HDF5 checks sums of its metadata, where a wrong byte would crash the reader.
            with h5py.File(temporary, "w", libver="v110") as file:
                self._write_header(file)
                self._write_index(file, resolved)
                self._copy_frames(file)
                file.attrs["complete"] = True
            self._write_report("skipped", self.skipped)
            self._write_report("repaired", self.repaired)
            temporary.replace(self.path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self._discard()

    def _resolve(self, splits: Mapping[str, Mapping[str, Iterable[str]]]) -> Splits:
        position = {clip["id"]: i for i, clip in enumerate(self.index)}
        resolved: Splits = {}
        for protocol, parts in splits.items():
            resolved[protocol], seen = {}, set[str]()
            if not protocol or protocol == "." or set(protocol) & {"/", "\0"}:
                raise ValueError(f"{protocol!r} is no name for a split")
            for part, ids in parts.items():
                if part not in PARTS:
                    raise ValueError(f"split {protocol}: the part must be one of {PARTS}, "
                                     f"got {part!r}")
                named = list(ids)
                unknown = [i for i in named if i not in position and i not in self.skipped]
                if unknown:
                    raise ValueError(f"{self.path} is not written, the split {protocol}/{part} "
                                     f"names {len(unknown)} unknown clips, among them "
                                     f"{unknown[0]!r}")
                if len(seen.intersection(named)) or len(set(named)) != len(named):
                    raise ValueError(f"{self.path} is not written, the split {protocol}/{part} "
                                     "names a clip twice, or one of another part")
                seen.update(named)
                resolved[protocol][part] = np.array(
                    sorted(position[i] for i in named if i in position), np.int64)
        return resolved

    def _write_header(self, file: h5py.File) -> None:
        file.attrs.update({"schema_version": SCHEMA_VERSION, "complete": False})
        for name, text in (
            ("format", FORMAT), ("dataset", self.header.dataset), ("source", self.header.source),
            ("layout", self.header.layout.to_json()),
            ("class_names", json.dumps(self.header.class_names)),
            ("created_by", f"ptl_skel {_version()}"), ("job", self._job),
        ):
            # Of fixed length: texts of any length lie in a heap, which has no sums to check.
            raw = text.encode()
            file.attrs.create(name, raw, dtype=h5py.string_dtype("utf-8", max(1, len(raw))))
        file.attrs.update({"num_inputs": self.num_inputs, "num_lost": self.num_lost})

    def _write_index(self, file: h5py.File, splits: Splits) -> None:
        clips = file.create_group("clips")
        clips["id"] = np.array([clip["id"].encode() for clip in self.index])
        for name in _NUMBERS:
            clips[name] = np.array([clip[name] for clip in self.index],
                                   np.int64 if name == "start" else np.int32)
        # Groups are made one by one: those that HDF5 makes on the way to a path carry the time.
        stored = file.create_group("splits")
        for protocol, parts in splits.items():
            stored.create_group(protocol)
            for part, positions in parts.items():
                stored[protocol][part] = positions

    def _copy_frames(self, file: h5py.File) -> None:
        joints = self.header.layout.num_joints
        group = file.create_group("frames")
        for name, shape, dtype in (
            ("keypoints", (joints, self.header.num_coordinates), np.dtype(self.header.dtype)),
            ("scores", (joints,), np.dtype(np.float16)),
        ):
            frames = group.create_dataset(name, (self._rows, *shape), dtype)
            rows = max(1, _COPY_BYTES // (int(np.prod(shape)) * dtype.itemsize))
            with (self._partial / name).open("rb") as spool:
                for start in range(0, self._rows, rows):
                    size = min(rows, self._rows - start) * int(np.prod(shape))
                    block = np.fromfile(spool, dtype, size).reshape(-1, *shape)
                    frames[start : start + rows] = block

    def _write_report(self, what: str, reasons: Mapping[str, str]) -> None:
        report = self.path.with_suffix(f".{what}.csv")
        report.unlink(missing_ok=True)
        if not reasons:
            return
        draft = self._partial / report.name
        with draft.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            rows = csv.writer(file)
            rows.writerow(("input", "reason"))
            rows.writerows(reasons.items())
        draft.replace(report)


def _version() -> str:
    return importlib.metadata.version("ptl_skel")


def _job_of(path: Path) -> str:
    """What job made a file; empty where it is no usable keypoint file or knows of none."""
    try:
        return KeypointFile(path).job
    except KeypointFileError:
        return ""


class KeypointFile:
    """Reads a keypoint file; safe to pickle, and to use in the workers of a loader.

    The index is read and checked at once, the frames when they are asked for: through a handle
    that each process opens for itself, or from memory.

    Args:
        path: The HDF5 file.
        in_memory: Keep all frames in RAM (NTU-60: about 0.6 GB).

    Attributes:
        header: What the file says about all of its clips.
        splits: Clip indices by protocol and part.
        job: Tells the job that made the file from all others; empty where none is known.
        num_inputs, num_lost: How many inputs should have given clips, and how many gave none.
        ids: Names of the clips.
        label, num_frames, num_persons, height, width, subject, camera, setup, replication:
            Arrays with an entry per clip.
        start: First row of each clip; the frames of its persons follow each other.

    Raises:
        FileNotFoundError: There is no such file.
        KeypointFileError: The file is damaged, unfinished, of another program or version.
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

    def __init__(self, path: Path | str, *, in_memory: bool = False) -> None:
        self.path = Path(path)
        self._handle: tuple[int, h5py.Dataset, h5py.Dataset] | None = None
        self._memory: tuple[Floats, Floats] | None = None
        if not self.path.is_file():
            raise FileNotFoundError(f"keypoint file {self.path} does not exist; "
                                    "`python -m preprocessing` makes one")
        try:
            with h5py.File(self.path) as file:
                self._read_header(file)
                self._read_index(file)
                self._check_frames(file)
                self._read_splits(file)
                if in_memory:
                    self._memory = file["frames/keypoints"][()], file["frames/scores"][()]
        except KeypointFileError:
            raise
        except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
            raise self._refusal(f"is damaged or no keypoint file ({error})") from error

    def _refusal(self, why: str) -> KeypointFileError:
        return KeypointFileError(f"{self.path} {why}; make it again with `python -m preprocessing`")

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
            raise self._refusal("has an index of clip names that is no list of texts")
        self._check_stored(raw)
        self.ids: list[str] = [name.decode() for name in raw[()].tolist()]
        for name in _NUMBERS:
            self._check_stored(clips[name])
            if clips[name].shape != raw.shape or clips[name].dtype.kind != "i":
                raise self._refusal(f"has an index that does not fit: clips/{name}")
            setattr(self, name, clips[name][()])
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
        """Refuses an array that does not lie whole in this file, before memory is taken for it."""
        offset = stored.id.get_offset()
        if offset is None or offset + stored.nbytes > self.path.stat().st_size:
            raise self._refusal(f"does not hold all of {stored.name}")

    def _read_splits(self, file: h5py.File) -> None:
        self.splits: Splits = {}
        for protocol, parts in file["splits"].items():
            self.splits[protocol] = {}
            for part, stored in parts.items():
                where = f"has a split {protocol}/{part} that"
                if part not in PARTS or stored.dtype.kind != "i" or stored.ndim != 1:
                    raise self._refusal(f"{where} is none")
                if stored.size:  # nothing is stored for an empty array
                    self._check_stored(stored)
                positions = stored[()].astype(np.int64)
                if positions.size and not 0 <= positions.min() <= positions.max() < len(self):
                    raise self._refusal(f"{where} names an unknown clip")
                self.splits[protocol][part] = positions

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.ids)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None}

    def _frames(self) -> tuple[Any, Any]:
        if self._memory is not None:
            return self._memory
        if self._handle is None or self._handle[0] != os.getpid():
            file = h5py.File(self.path)
            self._handle = os.getpid(), file["frames/keypoints"], file["frames/scores"]
        return self._handle[1:]

    def frames(self, clip: int) -> tuple[Floats, Floats]:
        """Keypoints ``(M, T, V, C)`` and scores ``(M, T, V)`` of a clip, as stored."""
        keypoints, scores = self._frames()
        persons, frames = int(self.num_persons[clip]), int(self.num_frames[clip])
        start = int(self.start[clip])
        rows = slice(start, start + persons * frames)
        shape = persons, frames, self.header.layout.num_joints
        return keypoints[rows].reshape(*shape, -1), scores[rows].reshape(shape)

    def all_frames(self) -> tuple[Floats, Floats]:
        """Keypoints ``(R, V, C)`` and scores ``(R, V)`` of all clips, as stored; see `start`."""
        keypoints, scores = self._frames()
        return keypoints[()], scores[()]

    def clip(self, clip: int) -> Clip:
        """A clip with all that is known of it."""
        keypoints, scores = self.frames(clip)
        return Clip(self.ids[clip], keypoints, scores,
                    (int(self.height[clip]), int(self.width[clip])), int(self.label[clip]),
                    int(self.subject[clip]), int(self.camera[clip]), int(self.setup[clip]),
                    int(self.replication[clip]))

    def position(self, clip_id: str) -> int:
        """Index of the clip of that name.

        Raises:
            KeypointFileError: There is no such clip.
        """
        if clip_id not in self.ids:
            raise KeypointFileError(f"{self.path} has no clip {clip_id!r}; the first of its "
                                    f"{len(self)} clips is {self.ids[0]!r}")
        return self.ids.index(clip_id)

    def split(self, protocol: str, part: str) -> NDArray[np.int64]:
        """Clip indices of a part of a protocol; empty where the protocol has no such part.

        Raises:
            KeypointFileError: There is no such protocol.
        """
        if protocol not in self.splits:
            known = ", ".join(sorted(self.splits)) or "none"
            raise KeypointFileError(f"{self.path} has no protocol {protocol!r}; it has: {known}")
        return self.splits[protocol].get(part, np.empty(0, np.int64))
