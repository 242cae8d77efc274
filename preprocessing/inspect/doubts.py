"""Doubts about the coordinates of a whole file, from a sample of its clips.

A few clips may leave the frame, and in a few a person may lie down. If nearly all do, the size of
the frame, the unit of the coordinates or their axes are wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ptl_skel.storage import Clip, KeypointFile

_MAX_CLIPS = 200  # that are examined
_MOSTLY, _MANY = 0.5, 0.2  # joints of a clip outside the frame, and clips of a file
_THOUSAND, _NEARLY, _SOME_OUT = 1000, 0.9, 0.05  # some models return thousandths of the frame
_BODY = (("head",), ("nose",), ("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"),
         ("left_knee", "right_knee"), ("left_ankle", "right_ankle"))  # from head to feet
_FEW_PARTS, _FEW_FRAMES = 3, 5  # of the body, and frames; with fewer, nothing is reported
_NEARLY_ALL = 0.8  # of the frames; in Penn Action, persons lie in 0.05 of them


def doubts_of(file: KeypointFile) -> dict[str, str]:
    """What is doubtful about the coordinates of most clips, by name."""
    clips = [file.clip(position) for position in range(0, len(file), -(-len(file) // _MAX_CLIPS))]
    frame = _doubt_frame(clips) if file.header.num_coordinates == 2 else ""
    posture = _doubt_posture(clips, file.header.layout.joints)
    return {name: doubt for name, doubt in (("doubtful", frame), ("doubtful posture", posture))
            if doubt}


def _doubt_frame(clips: Sequence[Clip]) -> str:
    """A doubt if many joints of many 2D clips lie outside the frame."""
    places = [clip.keypoints[clip.scores > 0].astype(np.float64) for clip in clips]
    sizes = [np.array(clip.frame_size[::-1]) for clip in clips]
    outside = np.array([((of_clip < 0) | (of_clip > size)).any(1).mean()
                        for of_clip, size in zip(places, sizes, strict=True)])
    together, size = np.concatenate(places), np.max(sizes, 0)
    highest = together.max(0)
    are_thousandths = bool((together >= 0).all() and (highest <= _THOUSAND).all()
                           and (highest > np.minimum(size, _NEARLY * _THOUSAND)).all())
    if (outside > _MOSTLY).mean() < _MANY and not (are_thousandths and outside.mean() > _SOME_OUT):
        return ""
    unit = ("; if they are thousandths, multiply x by width / 1000 and y by height / 1000"
            if are_thousandths else ", and are the coordinates pixels of the frame?")
    return (f"{outside.mean():.0%} of the joints lie outside the frame; is its size "
            f"(height, width) right{unit}")


def _doubt_posture(clips: Sequence[Clip], joints: Sequence[str]) -> str:
    """A doubt if nearly all persons lie or are upside down, or if in 3D y does not point up."""
    parts = [[joints.index(name) for name in names] for names in _BODY if set(names) <= set(joints)]
    if len(parts) < _FEW_PARTS:
        return ""
    down = np.concatenate([_directions(clip, parts) for clip in clips])
    if len(down) < _FEW_FRAMES:
        return ""
    if clips[0].keypoints.shape[-1] == 3:
        for axis, name in enumerate("xyz"):
            for sign, up in ((1, f"-{name}"), (-1, name)):
                share = (down == sign * (axis + 1)).mean()
                if share >= _NEARLY_ALL and up != "y":
                    return (f"{up} points up in {share:.0%} of the frames, but cameras expect y: "
                            "give them --data.camera.axes, see docs/three_d.md")
        return ""
    lying, upside_down = (np.abs(down) == 1).mean(), (down == -2).mean()
    if lying >= _NEARLY_ALL:
        return (f"persons lie in {lying:.0%} of the frames; are x and y exchanged, or is the video "
                "rotated?")
    if upside_down >= _NEARLY_ALL:
        return (f"persons are upside down in {upside_down:.0%} of the frames; does y point up? In "
                "an image it points down: give height - y")
    return ""


def _directions(clip: Clip, parts: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """The axis from head to feet, for all persons and frames that show enough of them, ``(N,)``.

    1, 2 or 3 for x, y or z, negative in the opposite direction; 0 if the body is bent.
    """
    present = (clip.scores > 0)[..., None]
    places = np.where(present, clip.keypoints, np.nan).astype(np.float64)
    chain = np.stack([places[:, :, part].mean(2) for part in parts], 2)  # (M, T, parts, axes)
    chain = chain.reshape(-1, *chain.shape[2:])
    steps = np.diff(chain, axis=1)
    chain, steps = (values[np.isfinite(steps).all(2).sum(1) >= _FEW_PARTS - 1]
                    for values in (chain, steps))
    if not len(chain):
        return np.empty(0, np.int64)
    axis = (np.nanmax(chain, 1) - np.nanmin(chain, 1)).argmax(1)
    along = np.take_along_axis(steps, axis[:, None, None], 2)[..., 0]
    straight = ~(along <= 0).any(1), ~(along >= 0).any(1)  # comparisons with NaN are false
    return np.where(straight[0], axis + 1, np.where(straight[1], -axis - 1, 0))
