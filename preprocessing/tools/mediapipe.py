"""Landmarks of MediaPipe (Pose, Holistic, Hands), as commonly saved by scripts.

Their x and y are relative to the frame, so they are multiplied by ``--frame_size``; z, the depth
relative to the hips, is ignored. A joint at 0, 0 was not found.

- NPY files, one per clip, ``(T, ...)``, or one per frame in a folder per clip, ``0.npy`` and so on.
  A frame is ``(V, 2)``, ``(V, 3)``: x, y, z, or ``(V, 4)``: x, y, z, visibility; or one row of 1662
  values: pose (33 x 4), face (468 x 3), left hand (21 x 3), right hand (21 x 3); of 258: the same
      without the face; or of 132: the pose. The face is ignored.
- CSV files with one line per frame and columns as in `tools.columns`.

Reference:
    Lugaresi et al.: MediaPipe: A Framework for Building Perception Pipelines, arXiv 1906.08172.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.files import find_clips, find_kind, read_bytes, to_numbers
from ..core.labels import Row
from ..core.plausibility import check_shares
from ..core.source import Unusable
from .arrays import read_npy
from .frame_files import FrameFiles, find_videos, name_clips
from .poses import Floats, Poses
from .source import PoseSource
from .wide import Part, find_labels, find_tables, read_part

_POSE, _FACE, _HAND = 33, 468, 21
ROWS = (1662, 258, 132)
"""Values of a frame in one row: with and without the face, and the pose."""


class MediapipeSource(PoseSource[Path | FrameFiles | Part]):
    """Reads NPY or CSV files of landmarks: one, or a folder of them."""

    tool = "mediapipe"

    def find(self) -> Mapping[str, Path | FrameFiles | Part | Unusable]:
        """The clips in tables, the NPY files, or the folders with one per frame."""
        if self.frame_size is None:
            raise self._no_frame_size()
        if find_kind(self.root, (".npy", ".csv")) == ".csv":
            return find_tables(self.root)
        clips = find_clips(self.root, ".npy")
        if not self.root.is_dir():
            return clips
        videos = {place: files for place, files in find_videos(self.root, ".npy")[0].items()
                  if len(files.frames) > 1 and _is_frame(next(iter(files))[1])}
        frames = {path for files in videos.values() for _, path in files}
        return {**{clip: path for clip, path in clips.items() if path not in frames},
                **name_clips(self.root, videos)}

    def paths(self, place: Path | FrameFiles | Part) -> Iterable[Path]:
        """The file, or those of the frames."""
        if isinstance(place, Part):
            return (place.path,)
        return (place,) if isinstance(place, Path) else (path for _, path in place)

    def read_poses(self, place: Path | FrameFiles | Part) -> Poses:
        """The person in the frames of a clip, in pixels."""
        if isinstance(place, Part):
            poses = read_part(place)
        elif isinstance(place, FrameFiles):
            found = [_landmarks(_read(path)) for _, path in place]
            if len({keypoints.shape for keypoints, _ in found}) > 1:
                raise Unusable("its frames have different numbers of landmarks")
            poses = _poses(np.stack([keypoints for keypoints, _ in found]),
                           np.stack([scores for _, scores in found]), place.frames)
        else:
            array = _read(place)
            if array.ndim < 2:
                raise Unusable(f"it has the shape {array.shape}, which is that of a single frame")
            found = [_landmarks(frame) for frame in array]
            if not found:
                raise Unusable("it has no frame")
            third = array[..., 2] if array.shape[-1] == 3 else np.zeros(1)
            if third.any() and ((third >= 0) & (third <= 1)).all():
                raise Unusable("its third values look like scores (0 to 1), not like a depth; if "
                               "they are y, x, score, as MoveNet gives them, save x and y as "
                               "`keypoints` and the scores as `scores` in an NPZ file")
            poses = _poses(np.stack([keypoints for keypoints, _ in found]),
                           np.stack([scores for _, scores in found]), np.arange(len(found)))
        shares = poses.keypoints[..., :2]
        check_shares(shares[np.isfinite(shares).all(-1)])
        height, width = self.frame_size or (1, 1)
        with np.errstate(over="ignore"):  # infinite values count as missing
            return replace(poses, keypoints=shares * (width, height))

    def find_labels(self) -> Mapping[str, Row]:
        """The labels in tables."""
        return find_labels(self._clips)


def _read(path: Path) -> NDArray[np.float64]:
    return to_numbers(read_npy(io.BytesIO(read_bytes(path)), path.name), path.name)


def _is_frame(path: Path) -> bool:
    """Whether a file holds one frame, not a clip."""
    try:
        shape = _read(path).shape
    except Unusable:  # reported when it is read
        return False
    return len(shape) == 1 or (len(shape) == 2 and shape[-1] in {2, 3, 4}
                               and shape[0] in {_POSE, _HAND, _POSE + 2 * _HAND})


def _landmarks(frame: NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Keypoints ``(V, 2)`` and scores ``(V,)`` of a frame."""
    if frame.ndim == 1 and frame.size in ROWS:
        pose = frame[: 4 * _POSE].reshape(-1, 4)
        hands = frame[-6 * _HAND :].reshape(-1, 3) if frame.size > ROWS[-1] else np.empty((0, 3))
        return (np.concatenate([pose[:, :2], hands[:, :2]]),
                np.concatenate([pose[:, 3], np.ones(len(hands))]))
    if frame.ndim != 2 or frame.shape[1] not in {2, 3, 4}:
        raise Unusable(f"a frame has the shape {frame.shape}, expected (V, 2), (V, 3), (V, 4), or "
                       f"a row of {', '.join(map(str, ROWS))} values")
    if len(frame) == _POSE + _FACE + 2 * _HAND:
        raise Unusable("a frame has 543 landmarks, whose order differs from script to script; "
                       "save 33 of the pose, 21 of the left and 21 of the right hand, in this "
                       "order")
    return frame[:, :2], frame[:, 3] if frame.shape[1] == 4 else np.ones(len(frame))


def _poses(keypoints: Floats, scores: Floats, frames: NDArray[np.int64]) -> Poses:
    return Poses(keypoints, scores, frames, np.zeros(len(frames), np.int64), frames)
