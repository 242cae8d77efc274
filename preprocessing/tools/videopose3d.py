"""The archives of VideoPose3D, which MotionBERT, PoseFormer and others also use.

``positions_2d`` is ``{subject: {action: [(T, V, 2) of each camera]}}`` in pixels, as in
``data_2d_h36m_cpn_ft_h36m_dbb.npz`` or the output of ``prepare_data_2d_custom.py``;
``positions_3d`` is ``{subject: {action: (T, V, 3)}}`` in metres, as in ``data_3d_h36m.npz``. A clip
is named subject/action/camera. Actions name the classes, without the number of the repetition.

Reference:
    Pavllo et al.: 3D human pose estimation in video with temporal convolutions and semi-supervised
    training, arXiv 1811.11742.
"""

from __future__ import annotations

import functools
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy

from ptl_skel.errors import MissingFileError, UserError
from ptl_skel.skeletons import LAYOUTS

from ..core.files import stamp, to_whole
from ..core.labels import Row
from ..core.pickles import load_objects
from ..core.source import Unusable
from .poses import Poses
from .source import PoseSource

KEYS = ("positions_2d", "positions_3d")
_LAYOUTS = {"h36m": "h36m17", "coco": "coco17"}
_CUSTOM = "custom"  # the action in archives of custom videos
_REPETITION = re.compile(r" \d+$")


class Place(NamedTuple):
    """The place of a clip in the archive."""

    subject: str
    action: str
    camera: int


class VideoPose3DSource(PoseSource[Place]):
    """Reads such an archive. It stays in memory, so worker processes would not make it faster."""

    tool = "videopose3d"

    def find(self) -> Mapping[str, Place | Unusable]:
        """The clips in the archive."""
        archive = _read(self.root)
        return {f"{subject}/{action}" + (f"/{camera}" if len(cameras) > 1 else ""):
                Place(subject, action, camera)
                for subject, actions in archive.positions.items()
                for action, cameras in actions.items() for camera in range(len(cameras))}

    def paths(self, place: Place) -> Iterable[Path]:
        """The archive."""
        return (self.root,)

    def read_poses(self, place: Place) -> Poses:
        """The person of a clip."""
        archive = _read(self.root)
        keypoints = archive.positions[place.subject][place.action][place.camera]
        if not isinstance(keypoints, np.ndarray) or keypoints.dtype.kind not in "iuf" or (
                keypoints.ndim != 3 or keypoints.shape[2] not in {2, 3} or not keypoints.size):
            raise Unusable(f"it is not an array (frames, joints, {archive.coordinates})")
        frames = np.arange(len(keypoints))
        name = _LAYOUTS.get(archive.layout, archive.layout)
        if name and self.layout is None and name not in LAYOUTS:
            raise Unusable(f"its `layout_name` {name!r} is not a built-in layout; name one with "
                           "--layout")
        is_known = name in LAYOUTS and LAYOUTS[name].num_joints == keypoints.shape[1]
        if name in LAYOUTS and not is_known and self.layout is None:
            raise Unusable(f"its `layout_name` {archive.layout!r} has "
                           f"{LAYOUTS[name].num_joints} joints, but it has {keypoints.shape[1]}; "
                           "name the layout with --layout")
        return Poses(keypoints, np.ones(keypoints.shape[:2]), frames, np.zeros_like(frames), frames,
                     archive.sizes.get(place.subject), LAYOUTS[name].joints if is_known else ())

    @property
    def files(self) -> Iterable[Path]:
        """The archive, and the file of labels."""
        return (self.root, *([] if self._label_file is None else [self._label_file]))

    def find_labels(self) -> Mapping[str, Row]:
        """The actions, and the number of each subject."""
        labels = {}
        for clip, place in self._clips.items():
            if isinstance(place, Place) and place.action != _CUSTOM:
                number = re.fullmatch(r"[A-Za-z]*(\d{1,9})", place.subject)
                labels[clip] = Row(_REPETITION.sub("", place.action),
                                   subject=int(number[1]) if number else -1)
        return labels


class Archive(NamedTuple):
    """The contents of an archive: positions by subject and action, the layout, frame sizes."""

    positions: Mapping[str, Mapping[str, list[Any]]]
    coordinates: int
    layout: str
    sizes: Mapping[str, tuple[int, int]]


def _read(path: Path) -> Archive:
    return _read_once(path, stamp(path))


@functools.lru_cache(maxsize=1)
def _read_once(path: Path, _: tuple[int, int]) -> Archive:
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist, or is not a file; give an .npz file")
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
            key = next((key for key in KEYS if key in names), None)
            if key is None:
                raise UserError(f"{path} has no array {' or '.join(KEYS)}; it has "
                                f"{', '.join(sorted(names)[:8])}")
            with archive.open(f"{key}.npy") as stream:
                positions = _load(stream)
            metadata: Any = {}
            if "metadata" in names:
                with archive.open("metadata.npy") as stream:
                    metadata = _load(stream)
    except UserError:
        raise
    except Exception as error:  # a damaged archive or pickle can raise anything
        raise UserError(f"{path} cannot be read as an archive of VideoPose3D: "
                        f"{error or type(error).__name__}") from error
    if not isinstance(positions, dict) or not all(
            isinstance(actions, dict) for actions in positions.values()):
        raise UserError(f"{path} has `{key}` that are not of the form {{subject: {{action: ...}}}}")
    metadata = metadata if isinstance(metadata, dict) else {}
    found = {str(subject): {str(action): list(cameras) if isinstance(cameras, list | tuple) else
                            [cameras] for action, cameras in actions.items()}
             for subject, actions in positions.items()}
    if not any(cameras for actions in found.values() for cameras in actions.values()):
        raise UserError(f"{path} has `{key}` of no clip")
    sizes = metadata.get("video_metadata")
    return Archive(found, int(key[-2]), str(metadata.get("layout_name", "")), {
        str(video): (int(size["h"]), int(size["w"])) for video, size in
        (sizes.items() if isinstance(sizes, dict) else ()) if isinstance(size, dict)
        and all(isinstance(to_whole(size.get(side)), int | np.integer) for side in "hw")})


def _load(stream: IO[bytes]) -> Any:
    """The object in an ``.npy`` file; only arrays and plain containers are unpickled."""
    version = npy.read_magic(stream)
    (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(stream)
    return load_objects(stream)
