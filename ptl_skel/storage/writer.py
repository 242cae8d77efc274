"""Writes keypoint files: streaming, resumable, atomic."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import h5py
import numpy as np

from ptl_skel.atomic import write_text
from ptl_skel.errors import UserError
from ptl_skel.locks import lock_file
from ptl_skel.storage.locking import open_hdf5
from ptl_skel.storage.reader import KeypointFile
from ptl_skel.storage.schema import (
    FORMAT,
    MOMENTS,
    NUMBERS,
    PARTS,
    SCHEMA_VERSION,
    Clip,
    FileTakenError,
    Header,
    KeypointFileError,
    Splits,
    UpToDate,
    check_split_name,
    valid_clip,
)

_COPY_BYTES = 16 * 2**20


class ClipWriter:
    """Streams clips into a keypoint file; memory does not grow with their number.

    The clips of one input (e.g. one ``.skeleton`` file) are added under its key. Until `finish`,
    everything is in the folder ``<path>.partial``; after an interruption, a writer with the same
    header and job resumes from there, and `done` lists the inputs that it can skip. The finished
    file appears under its name atomically, and is the same as without interruption.

    Args:
        path: The HDF5 file to write.
        header: What applies to all clips.
        job: What else determines the content (input, options); unfinished work of another job is
            not resumed. Its fingerprint is stored in the finished file.
        overwrite: Replace an existing file or an unfinished one of another job.

    Raises:
        UpToDate: The file exists, and the same job made it.
        FileTakenError: The file exists, or an unfinished one of another job does, or another
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
            raise FileTakenError(f"{self.path} is a folder; give the name of a file")
        fingerprint = json.dumps({"schema_version": SCHEMA_VERSION, "version": _version(),
                                  "header": asdict(header), "job": dict(job or {})},
                                 sort_keys=True, default=str)
        self._job = hashlib.sha256(fingerprint.encode()).hexdigest() if job is not None else ""
        if self.path.exists() and not overwrite:
            if self._job and _job_of(self.path) == self._job:
                self._discard_unused()  # left over if the process was killed during cleanup
                raise UpToDate(f"{self.path} is complete, and made from the same input with the "
                               "same options: nothing to do; --overwrite makes it again")
            raise FileTakenError(f"{self.path} exists; give another --out, or --overwrite")
        started = self._partial / "job.json"
        if started.exists() and started.read_text(encoding="utf-8") != fingerprint:
            if not overwrite:
                raise FileTakenError(f"{self._partial} holds the unfinished work of another job; "
                                     "remove it, give another --out, or --overwrite")
            self._discard_unused()
        self._partial.mkdir(parents=True, exist_ok=True)
        if not started.exists():
            for name in ("keypoints", "scores", "journal"):
                (self._partial / name).write_bytes(b"")
            write_text(started, fingerprint)
        self._keypoints = (self._partial / "keypoints").open("r+b")
        self._scores = (self._partial / "scores").open("r+b")
        self._journal = (self._partial / "journal").open("r+b")
        self._lock(self._journal)
        self._resume()

    def _lock(self, journal: IO[bytes]) -> None:
        """Prevents a second process from doing the same work at the same time."""
        try:
            lock_file(journal)
        except BlockingIOError as error:
            raise FileTakenError(f"another process is writing {self.path}; wait for it, or give "
                                 "another --out") from error

    def discard(self) -> None:
        """Removes the unfinished work; the job first, so that leftovers are not taken for work."""
        (self._partial / "job.json").unlink(missing_ok=True)
        shutil.rmtree(self._partial, ignore_errors=True)

    def _discard_unused(self) -> None:
        """Removes unfinished work, unless another process is doing it."""
        with (contextlib.suppress(FileNotFoundError),
              (self._partial / "journal").open("r+b") as journal):
            self._lock(journal)
        self.discard()

    def _resume(self) -> None:
        """Keeps what the journal confirms and truncates the rest."""
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
                raise KeypointFileError(f"{self._partial} lost frames, perhaps in a crash of the "
                                        "machine; remove it and start again")
            file.truncate(size)
            file.seek(size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        for file in (self._keypoints, self._scores, self._journal):
            with contextlib.suppress(OSError):  # a full disk; the journal confirms what is there
                file.close()
        if kind is not None and not self.done:
            self.discard()  # there is nothing to keep

    def add(self, key: str, clips: Sequence[Clip]) -> None:
        """Adds the clips of one input, valid as `valid_clip` returns them.

        Raises:
            UserError: A clip does not fit the header, or its id is taken.
            OSError: The disk is full.
        """
        clips = [valid_clip(clip, self.header) for clip in clips]
        ids = [clip.id for clip in clips]
        taken = sorted(self._ids.intersection(ids)) or [i for i in ids if ids.count(i) > 1]
        if taken:
            raise UserError(f"a clip named {taken[0]} is already in the file")
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
                "replication": clip.replication, "fps": clip.fps,
                "first_frame": clip.first_frame})
            start += persons * frames
        self._keypoints.flush()
        self._scores.flush()
        self._write_journal(entry)

    def skip(self, key: str, reason: str, *, is_loss: bool = True) -> None:
        """Records that an input gave no clip, and why; `finish` lists these next to the file.

        Args:
            key: The input.
            reason: The reason.
            is_loss: Whether it should have given one.
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
            splits: Clip ids of each part of each protocol; ids of skipped inputs are ignored.

        Raises:
            UserError: There is no clip, or a split names a clip that was neither added nor
                skipped, or names it in two parts. What was added is kept.
            OSError: The disk is full. What was added is kept.
        """
        if not self.index:
            self.discard()  # there is nothing to keep
            reasons = sorted(set(self.skipped.values()))[:3]
            raise UserError(f"{self.path} is not written, no usable clip was found: "
                             + ("; ".join(reasons) or "no input"))
        resolved = self._resolve(splits)
        temporary = self.path.with_name(self.path.name + ".tmp")
        try:
            # v110: metadata has checksums; without them a corrupt byte could crash the reader.
            with open_hdf5(temporary, "w", libver="v110") as file:
                self._write_header(file)
                self._write_index(file, resolved)
                self._copy_frames(file)
                file.attrs["complete"] = True
            self._write_report("skipped", self.skipped)
            self._write_report("repaired", self.repaired)
            temporary.replace(self.path)
        except BaseException as error:
            temporary.unlink(missing_ok=True)
            number = re.search(r"errno = (\d+)", str(error))
            if isinstance(error, RuntimeError) and number:  # a full disk when h5py closes a file
                raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
            raise
        self.discard()

    def _resolve(self, splits: Mapping[str, Mapping[str, Iterable[str]]]) -> Splits:
        position = {clip["id"]: i for i, clip in enumerate(self.index)}
        resolved: Splits = {}
        for protocol, parts in splits.items():
            check_split_name(protocol)
            resolved[protocol], seen = {}, set[str]()
            for part, ids in parts.items():
                if part not in PARTS:
                    raise UserError(f"split {protocol}: the part must be one of {PARTS}, "
                                    f"got {part!r}")
                named = list(ids)
                unknown = [i for i in named if i not in position and i not in self.skipped]
                if unknown:
                    raise UserError(f"{self.path} is not written, the split {protocol}/{part} "
                                    f"names {len(unknown)} unknown clips, among them "
                                    f"{unknown[0]!r}")
                if len(seen.intersection(named)) or len(set(named)) != len(named):
                    raise UserError(f"{self.path} is not written, the split {protocol}/{part} "
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
            # Of fixed length: strings of variable length are in a heap, which has no checksums.
            raw = text.encode()
            file.attrs.create(name, raw, dtype=h5py.string_dtype("utf-8", max(1, len(raw))))
        file.attrs.update({"num_inputs": self.num_inputs, "num_lost": self.num_lost})

    def _write_index(self, file: h5py.File, splits: Splits) -> None:
        clips = file.create_group("clips")
        clips["id"] = np.array([clip["id"].encode() for clip in self.index])
        for name in NUMBERS:
            clips[name] = np.array([clip[name] for clip in self.index],
                                   np.int64 if name == "start" else np.int32)
        for name, dtype in MOMENTS.items():
            values = np.array([clip.get(name, 0) for clip in self.index], dtype)
            if values.any():
                clips[name] = values
        # Groups are created one by one: those that HDF5 creates implicitly store the time.
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
    try:
        return importlib.metadata.version("ptl_skel")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"  # run from a checkout


def _job_of(path: Path) -> str:
    """Fingerprint of the job that made a file; empty if it is unusable or has none."""
    try:
        return KeypointFile(path).job
    except KeypointFileError:
        return ""
