"""The contents of a keypoint file, and the checks of a clip."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ptl_skel.errors import UserError
from ptl_skel.skeletons import SkeletonLayout

FORMAT = "ptl_skel.keypoints"
SCHEMA_VERSION = 1
PARTS = ("train", "val", "test")
MAX_SIDE = 100_000  # pixels of a frame; more is a mistake
NUMBERS = ("label", "start", "num_frames", "num_persons", "height", "width",
           "subject", "camera", "setup", "replication")
MOMENTS = {"fps": np.float32, "first_frame": np.int32}
"""Numbers that may be absent from a file, e.g. of an older version; they are 0 then."""

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
        label: Index of the class, -1 if not known.
        subject: Number of the performer, -1 if not known; likewise camera, setup and replication.
        fps: Frames per second, 0 if not known.
        first_frame: Index in the video of the first frame of the clip, from 0.
        repairs: What was repaired in the input; for the report, not stored in the file.
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
    fps: float = 0.0
    first_frame: int = 0


@dataclass(frozen=True)
class Header:
    """What applies to all clips of a keypoint file.

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


class KeypointFileError(UserError):
    """A keypoint file cannot be used; the message says why and how to fix it."""


class FileTakenError(KeypointFileError, FileExistsError):
    """The keypoint file, or unfinished work on it, exists, or another process is writing it."""


class UpToDate(UserError):  # noqa: N818  # not an error: there is nothing to do
    """The keypoint file that a `ClipWriter` would write exists and is complete."""


def check_split_name(name: str) -> None:
    """Checks the name of a protocol, which becomes that of an HDF5 group.

    Raises:
        UserError: It cannot be one.
    """
    if not name or name == "." or set(name) & {"/", "\0"}:
        raise UserError(f"{name!r} cannot be the name of a split")


def valid_clip(clip: Clip, header: Header) -> Clip:
    """The clip in the precision of the file; joints that are not finite get score 0.

    Raises:
        UserError: The clip has no person, no frame or no visible joint, or its shapes, label,
            id or frame size do not fit the header.
    """
    joints, coordinates = header.layout.num_joints, header.num_coordinates
    if clip.keypoints.ndim != 4 or clip.keypoints.shape[2:] != (joints, coordinates):
        raise UserError(f"keypoints have the shape {clip.keypoints.shape}, expected (persons, "
                        f"frames, {joints}, {coordinates}) for layout {header.layout.name}")
    if clip.scores.shape != clip.keypoints.shape[:3]:
        raise UserError(f"scores have the shape {clip.scores.shape}, expected "
                        f"{clip.keypoints.shape[:3]}")
    if clip.keypoints.shape[0] == 0:
        raise UserError("the clip has no person")
    if clip.keypoints.shape[1] == 0:
        raise UserError("the clip has no frame")
    if not -1 <= clip.label < len(header.class_names):
        raise UserError(f"label {clip.label} is out of range: the classes are 0 to "
                        f"{len(header.class_names) - 1}")
    if not clip.id or "\0" in clip.id or clip.id.encode(errors="replace").decode() != clip.id:
        raise UserError(f"{clip.id!r} cannot be the name of a clip")
    if not 1 <= min(clip.frame_size) <= max(clip.frame_size) <= MAX_SIDE:
        raise UserError(f"the frame size {clip.frame_size} is not in 1 to {MAX_SIDE}")
    if not 0 <= clip.fps < np.inf or not 0 <= clip.first_frame < 2**31:
        raise UserError(f"the frame rate {clip.fps} and the first frame {clip.first_frame} must be "
                        ">= 0")
    with np.errstate(over="ignore"):
        keypoints = clip.keypoints.astype(header.dtype)
        scores = np.clip(clip.scores, 0, 1).astype(np.float16)
    present = np.isfinite(keypoints).all(-1) & np.isfinite(scores)
    scores = np.where(present, scores, np.float16(0))
    if not scores.any():
        raise UserError("no joint is visible in any frame")
    keypoints = np.where(present[..., None], keypoints, keypoints.dtype.type(0))
    return replace(clip, keypoints=keypoints, scores=scores)
