"""NTU RGB+D 60 and 120: a folder of raw ``.skeleton`` files, or files of one's own in that format.

The joints have a 2D position in the 1920x1080 colour image, and a 3D one in front of the camera.
How well the sensor sees a joint becomes its score: tracked 1, inferred 0.5, not tracked 0. A joint
whose position is not finite has score 0, too. Frames without the person in them keep their place
in time, with score 0; those before the first and after the last sight of anybody are cut off.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from preprocessing.ntu_bodies import choose_persons, split_by_id
from preprocessing.ntu_facts import CLASS_NAMES, MISSING_SAMPLES, NUM_CLASSES_60
from preprocessing.ntu_protocols import Sample, find_edition, official_splits, parse_name
from preprocessing.ntu_text import NUM_JOINTS, PIXELS, XYZ, read_recording
from ptl_skel.skeletons import LAYOUTS
from ptl_skel.storage import Clip, Header

CLASS_FILE = "class_names.txt"
SUFFIX = ".skeleton"
_FRAME_SIZE = (1080, 1920)
# Tracking state -> score. An inferred joint is a guess of the sensor: it counts half.
_SCORES = np.array([0.0, 0.5, 1.0], np.float32)

Bodies = Literal["pyskl", "all"]


class NtuSource:
    """Reads the ``.skeleton`` files in a folder and the folders in it.

    Args:
        root: The folder.
        dimensions: 2 for pixels of the colour image, 3 for metres in camera coordinates.
        bodies: ``pyskl`` for at most two persons by the rule of `preprocessing.ntu_bodies`;
            ``all`` for everything that the sensor took for a body, in order of appearance.
        classes: File with the name of a class per line, that of action 1 first. Without it
            ``class_names.txt`` in the folder; without that the data set is NTU RGB+D itself, with
            its class names, and without the samples whose skeletons are known to be incomplete.

    Raises:
        FileNotFoundError: There is no such folder, or no such file of classes.
        ValueError: There is no ``.skeleton`` file in the folder, no name in the file of classes,
            or an option that does not exist.
    """

    def __init__(self, root: Path | str, *, dimensions: Literal[2, 3] = 2,
                 bodies: Bodies = "pyskl", classes: Path | str | None = None) -> None:
        if dimensions not in (2, 3):
            raise ValueError(f"`dimensions` must be 2 or 3, got {dimensions}")
        if bodies not in get_args(Bodies):
            raise ValueError(f"`bodies` must be one of {', '.join(get_args(Bodies))}, "
                             f"got {bodies!r}")
        self.root, self.dimensions, self.bodies = Path(root), dimensions, bodies
        self._keys = _find_files(self.root)
        samples, first_key = [], dict[str, str]()
        self._duplicates: dict[str, str] = {}
        for key in self._keys:
            name = _name(key)
            if name in first_key:
                self._duplicates[key] = first_key[name]
            first_key.setdefault(name, key)
            sample = _sample(name)
            if sample is not None:
                samples.append(sample)
        self._edition = find_edition(samples)
        own = Path(classes) if classes else self.root / CLASS_FILE
        self._is_official = not classes and not own.exists()
        if self._is_official:
            self._class_names = CLASS_NAMES[:NUM_CLASSES_60 if self._edition == 60 else None]
        else:
            self._class_names = _read_class_names(own)

    def __getstate__(self) -> dict[str, Any]:
        # Workers are told what to read: they need no list of 114,480 files.
        return {**self.__dict__, "_keys": []}

    @property
    def header(self) -> Header:
        """What holds for all clips."""
        name = f"NTU RGB+D {self._edition}" if self._is_official else self.root.resolve().name
        source = f"ntu, {self.dimensions}D, bodies: {self.bodies}"
        return Header(name, LAYOUTS["ntu25"], self._class_names, source, self.dimensions)

    @property
    def job(self) -> Mapping[str, Any]:
        """Input and options that decide the content."""
        return {"source": "ntu", "root": str(self.root.resolve()), "dimensions": self.dimensions,
                "bodies": self.bodies, "skip_missing": self._is_official}

    def keys(self) -> Sequence[str]:
        """Paths of the files inside the folder, in the order of their names."""
        return self._keys

    def read(self, key: str) -> list[Clip]:
        """The clip of one file.

        Raises:
            ValueError: The file gives no clip; the message says why.
            OSError: The disk or the network fails.
        """
        name = _name(key)
        sample = parse_name(name)
        if key in self._duplicates:
            raise ValueError(f"it is the same sample as {self._duplicates[key]}")
        if self._is_official and name in MISSING_SAMPLES:
            raise ValueError("it is on the official list of samples with missing skeletons")
        if sample.action > len(self._class_names):
            raise ValueError(f"it is of action {sample.action}, but only "
                             f"{len(self._class_names)} classes have a name")
        recording = read_recording(_read_bytes(self.root / key))
        bodies = split_by_id(recording.body)
        if not bodies:
            raise ValueError("no body is seen in any frame")
        if any((np.diff(recording.frame[rows]) == 0).any() for rows in bodies):
            raise ValueError("a body is there twice in a frame")
        if self.bodies == "pyskl" and len(bodies) > 1:
            bodies = choose_persons(bodies, recording.frame, recording.values(XYZ))
        values = recording.values(PIXELS if self.dimensions == 2 else XYZ)
        scores = np.where(np.isfinite(values).all(-1), _SCORES[recording.states], np.float32(0))
        frames = recording.frame[np.concatenate(bodies)]
        first, last = int(frames.min()), int(frames.max())
        shape = len(bodies), last - first + 1, NUM_JOINTS
        clip = Clip(name, np.zeros((*shape, self.dimensions), np.float32),
                    np.zeros(shape, np.float32), _FRAME_SIZE, sample.action - 1, sample.subject,
                    sample.camera, sample.setup, sample.replication)
        for person, rows in enumerate(bodies):
            at = recording.frame[rows] - first
            with np.errstate(over="ignore"):  # beyond float32 is infinite: score 0 in the file
                clip.keypoints[person, at] = values[rows]
            clip.scores[person, at] = scores[rows]
        return [clip]

    def splits(self, ids: Sequence[str]) -> Mapping[str, Mapping[str, Sequence[str]]]:
        """The official protocols: ``xsub``, and ``xview`` of NTU-60 or ``xset`` of NTU-120."""
        return official_splits(ids, self._edition)


def _find_files(root: Path) -> list[str]:
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is no folder; give the one that holds the unpacked "
                                f"{SUFFIX} files of NTU RGB+D")
    found = [(Path(folder) / name).relative_to(root).as_posix()
             for folder, _, names in os.walk(root) for name in names
             if name.lower().endswith(SUFFIX)]
    if not found:
        raise ValueError(f"{root} holds no {SUFFIX} file; give the folder that holds the "
                         "unpacked files of NTU RGB+D")
    return sorted(found, key=lambda key: (_name(key), key))


def _name(key: str) -> str:
    return Path(key).stem


def _sample(name: str) -> Sample | None:
    try:
        return parse_name(name)
    except ValueError:
        return None


def _read_class_names(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        raise FileNotFoundError(f"file of class names {path} does not exist; it has one name "
                                "per line, that of action 1 first")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text; it should hold one class name per "
                         "line") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise ValueError(f"{path} holds no class name; it should hold one per line")
    return names


def _read_bytes(path: Path) -> bytes:
    if not path.is_file() and path.exists():  # a pipe would be waited for
        raise ValueError("it is no regular file")
    try:
        return path.read_bytes()
    except (FileNotFoundError, PermissionError) as error:  # others concern more than this file
        raise ValueError(f"it cannot be read: {error.strerror}") from error
