"""NTU RGB+D 60 and 120: raw ``.skeleton`` files, or your own files in that format.

The joints have a 2D position in the 1920x1080 colour image, and a 3D one in front of the camera.
How well the sensor sees a joint becomes its score: tracked 1, inferred 0.5, not tracked 0. A joint
whose position is not finite has score 0. Frames without the person keep their position in time,
with score 0; frames before anybody is seen, and after everybody has left, are dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from ptl_skel.errors import UserError
from ptl_skel.skeletons import LAYOUTS
from ptl_skel.storage import Clip, Header

from ...core.files import read_class_names
from ...core.source import LeftOut, Unusable
from .bodies import choose_persons, split_by_id
from .facts import (
    CLASS_NAMES,
    LAST_SETUP_120,
    MISSING_SAMPLES,
    NUM_CLASSES_60,
)
from .files import SkeletonFiles
from .protocols import (
    ABSENT,
    Edition,
    Sample,
    complete,
    find_edition,
    is_of_60,
    is_of_120,
    official_splits,
    parse_name,
)
from .text import NUM_JOINTS, PIXELS, XYZ, read_recording

CLASS_FILE = "class_names.txt"
_FRAME_SIZE = (1080, 1920)
_RATE = 30.0  # frames per second (Shahroudy et al., arXiv 1604.02808)
# Tracking state -> score. An inferred joint is guessed by the sensor, and counts half.
_SCORES = np.array([0.0, 0.5, 1.0], np.float32)

Bodies = Literal["pyskl", "all"]


class NtuSource:
    """Reads the ``.skeleton`` files in folders, their subfolders, and zip archives.

    Args:
        inputs: A folder or archive, or several.
        dimensions: 2 for pixels of the colour image, 3 for metres in camera coordinates.
        bodies: ``pyskl`` for at most two persons by the rule of `choose_persons`; ``all`` for
            everything that the sensor reports as a body, in order of appearance.
        classes: File with one class name per line, action 1 first. If not given,
            ``class_names.txt`` in a folder; without that, the data set is NTU RGB+D itself, with
            its class names, without the samples whose skeletons are known to be incomplete, and
            compared with the official samples.
        edition: 60 or 120; 60 ignores samples that are only in NTU RGB+D 120. None: as the files.

    Attributes:
        edition: 60 or 120.
        is_official: Whether the data set is NTU RGB+D itself.

    Raises:
        MissingFileError: There is no such folder or archive, or no such file of classes.
        UserError: There is no ``.skeleton`` file, no name in the file of classes, or an invalid
            option.
    """

    def __init__(self, inputs: Path | Sequence[Path], *, dimensions: Literal[2, 3] = 2,
                 bodies: Bodies = "pyskl", classes: Path | None = None,
                 edition: Edition | None = None) -> None:
        options: tuple[tuple[str, Any, tuple[Any, ...]], ...] = (
            ("dimensions", dimensions, (2, 3)), ("bodies", bodies, get_args(Bodies)),
            ("edition", edition, (None, 60, 120)))
        for name, value, known in options:
            if value not in known:
                raise UserError(f"`{name}` must be one of {', '.join(map(str, known))}, "
                                f"got {value!r}")
        self.dimensions, self.bodies = dimensions, bodies
        inputs = [inputs] if isinstance(inputs, Path) else list(inputs)
        self._files = SkeletonFiles(inputs)
        own = classes or _find_class_file(inputs)
        self.is_official = own is None
        samples = {key: self._sample(key) for key in self._files.keys}
        self.edition: Edition = edition or find_edition(s for s in samples.values() if s)
        if self.edition == 60:  # files with wrong names are kept, to be reported
            samples = {key: sample for key, sample in samples.items()
                       if sample is None or is_of_60(sample)}
        if not samples:
            raise UserError(f"{', '.join(map(str, inputs))} holds no sample of NTU RGB+D 60; "
                            "leave --edition 60 out")
        self._keys = sorted(samples, key=lambda key: (_name(key), key))
        first_key = {_name(key): key for key in reversed(self._keys)}
        self._duplicates = {key: first_key[_name(key)] for key in self._keys
                            if first_key[_name(key)] != key}
        if own is None:
            self._name = f"NTU RGB+D {self.edition}"
            self._class_names = CLASS_NAMES[:NUM_CLASSES_60 if self.edition == 60 else None]
            due = {str(sample) for sample in complete(s for s in samples.values() if s)}
            # Keys without a suffix: samples that are not in the input, to be reported.
            self._keys = sorted([*self._keys, *due.difference(first_key, MISSING_SAMPLES)],
                                key=lambda key: (_name(key), key))
        else:
            self._name = inputs[0].resolve().stem
            self._class_names = read_class_names(own)

    def _sample(self, key: str) -> Sample | None:
        """The sample of a file by its name, if there is such a sample in the data set."""
        try:
            sample = parse_name(_name(key))
        except Unusable:
            return None
        return sample if not self.is_official or is_of_120(sample) else None

    def __getstate__(self) -> dict[str, Any]:
        # Workers get the keys to read.
        return {**self.__dict__, "_keys": []}

    @property
    def header(self) -> Header:
        """What applies to all clips."""
        source = f"ntu, {self.dimensions}D, bodies: {self.bodies}"
        return Header(self._name, LAYOUTS["ntu25"], self._class_names, source, self.dimensions)

    @property
    def files(self) -> Sequence[Path]:
        """The files and archives on the disk."""
        return self._files.paths

    @property
    def options(self) -> Mapping[str, Any]:
        """What determines the content and is not in the header."""
        return {"edition": self.edition, "is_official": self.is_official}

    def keys(self) -> Sequence[str]:
        """Files in the order of their names, and names of missing samples."""
        return self._keys

    def read(self, key: str) -> list[Clip]:
        """The clip of one file.

        Raises:
            LeftOut: The sample must not be used, or is in another file as well.
            Unusable: The file gives no clip; the message says why.
        """
        sample = self._check(key)
        recording = read_recording(self._files.read(key))
        bodies = split_by_id(recording.body)
        if not bodies:
            raise Unusable("no body is seen in any frame")
        if any((np.diff(recording.frame[rows]) == 0).any() for rows in bodies):
            raise Unusable("a body is there twice in a frame")
        if self.bodies == "pyskl" and len(bodies) > 1:
            bodies = choose_persons(bodies, recording.frame, recording.values(XYZ))
        with np.errstate(over="ignore"):  # numbers beyond float32 become infinite
            values = recording.values(PIXELS if self.dimensions == 2 else XYZ).astype(np.float32)
        scores = _SCORES[recording.states]
        is_finite = np.logical_and.reduce(np.isfinite(values), -1)
        observed = np.concatenate(bodies)
        lost = int((scores[observed].astype(bool) & ~is_finite[observed]).sum())
        first, last = int(recording.frame[observed].min()), int(recording.frame[observed].max())
        shape = len(bodies), last - first + 1, NUM_JOINTS
        clip = Clip(_name(key), np.zeros((*shape, self.dimensions), np.float32),
                    np.zeros(shape, np.float32), _FRAME_SIZE, sample.action - 1, sample.subject,
                    sample.camera, sample.setup, sample.replication,
                    _repairs(recording.num_blank_lines, lost), _RATE, first)
        for person, rows in enumerate(bodies):
            at = recording.frame[rows] - first
            clip.keypoints[person, at] = values[rows]
            clip.scores[person, at] = np.where(is_finite[rows], scores[rows], np.float32(0))
        return [clip]

    def _check(self, key: str) -> Sample:
        """The sample of a file by its name, if it is to be read."""
        name = _name(key)
        if not Path(key).suffix:
            raise LeftOut(ABSENT)
        if name.startswith("._"):
            raise LeftOut("it holds what macOS notes about another file")
        sample = parse_name(name)
        if self._sample(key) is None:
            raise Unusable(f"there is no such sample: NTU RGB+D has {LAST_SETUP_120} setups and "
                           f"{len(CLASS_NAMES)} actions")
        if key in self._duplicates:
            raise LeftOut(f"it is the same sample as {self._duplicates[key]}")
        if self.is_official and name in MISSING_SAMPLES:
            raise LeftOut("it is on the official list of samples with missing skeletons")
        if sample.action > len(self._class_names):
            raise Unusable(f"it is of action {sample.action}, but only "
                           f"{len(self._class_names)} classes have a name")
        return sample

    def splits(self, ids: Sequence[str]) -> Mapping[str, Mapping[str, Sequence[str]]]:
        """The official protocols: ``xsub``, and ``xview`` of NTU-60 or ``xset`` of NTU-120."""
        return official_splits(ids, self.edition)


def _repairs(blank_lines: int, lost: int) -> str:
    """What was wrong with a file and was repaired."""
    repairs = []
    if blank_lines:
        repairs.append(f"blank lines are ignored: {blank_lines}")
    if lost:
        repairs.append(f"joints without a finite position count as missing: {lost}")
    return "; ".join(repairs)


def _name(key: str) -> str:
    return Path(key).stem


def _find_class_file(inputs: Sequence[Path]) -> Path | None:
    found = [path / CLASS_FILE for path in inputs if (path / CLASS_FILE).exists()]
    return found[0] if found else None
