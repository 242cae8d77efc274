"""A moving human body: 25 Kinect joints from joint angles over time, by forward kinematics.

Coordinates of a body are metres: x to its left, y up, z ahead. All angles are radians, 0 for
standing upright with hanging arms; positive angles lift a limb, bend a joint or lean ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptl_skel.skeletons import LAYOUTS

Floats = NDArray[np.floating[Any]]
Motion = Mapping[str, Floats | float]

_JOINTS = LAYOUTS["ntu25"].joints
# Joint: its parent, and its position relative to it in a standing body (of 1.75 m). Only for the
# left side: the right side is symmetric.
_BONES: dict[str, tuple[str, tuple[float, float, float]]] = {
    "spine_middle": ("spine_base", (0, 0.26, 0)),
    "spine_shoulders": ("spine_middle", (0, 0.25, 0)),
    "neck": ("spine_shoulders", (0, 0.07, 0)),
    "head": ("neck", (0, 0.16, 0.02)),
    "left_shoulder": ("spine_shoulders", (0.18, -0.03, 0)),
    "left_elbow": ("left_shoulder", (0, -0.28, 0)),
    "left_wrist": ("left_elbow", (0, -0.25, 0)),
    "left_hand": ("left_wrist", (0, -0.08, 0)),
    "left_hand_tip": ("left_hand", (0, -0.08, 0)),
    "left_thumb": ("left_hand", (-0.01, -0.03, 0.05)),
    "left_hip": ("spine_base", (0.09, -0.04, 0)),
    "left_knee": ("left_hip", (0, -0.42, 0)),
    "left_ankle": ("left_knee", (0, -0.41, 0)),
    "left_foot": ("left_ankle", (0, -0.06, 0.14)),
}
_FEET = [_JOINTS.index("left_foot"), _JOINTS.index("right_foot")]


@dataclass(frozen=True)
class Build:
    """Proportions of a body, as factors relative to one of 1.75 m.

    Args:
        height: Factor of all lengths.
        width: Further factor of the widths of shoulders and hips.
        arms: Further factor of the lengths of the arms.
    """

    height: float = 1.0
    width: float = 1.0
    arms: float = 1.0


def move_body(motion: Motion, num_frames: int, build: Build) -> Floats:
    """Positions of the joints over time, ``(T, 25, 3)``, with the lower foot on the floor y = 0.

    Args:
        motion: Angles and positions over time, each ``(T,)`` or constant; others are 0.

            - ``lean`` (whole trunk from the hips), ``bend`` (spine), ``twist`` (spine), ``nod``;
            - of each side, ``left_`` or ``right_``: ``arm_ahead``, ``arm_out``, ``arm_turn``
              (about its own axis, outwards), ``elbow``, ``leg_ahead``, ``leg_out``, ``knee``;
            - ``ahead`` and ``lift``: metres of the whole body.
        num_frames: Number of frames T.
        build: Proportions.

    Raises:
        ValueError: `motion` has an unknown name.
    """
    unknown = set(motion) - _DEGREES
    if unknown:
        raise ValueError(f"`motion` has unknown names: {', '.join(sorted(unknown))}")

    def degree(name: str) -> Floats:
        return np.broadcast_to(np.asarray(motion.get(name, 0.0), float), num_frames)

    turns = {"spine_base": _turn(0, degree("lean")),
             "spine_middle": _turn(0, degree("bend")) @ _turn(1, degree("twist")),
             "neck": _turn(0, degree("nod"))}
    for side, sign in (("left", 1.0), ("right", -1.0)):
        turns[f"{side}_shoulder"] = (_turn(2, sign * degree(f"{side}_arm_out"))
                                     @ _turn(0, -degree(f"{side}_arm_ahead"))
                                     @ _turn(1, sign * degree(f"{side}_arm_turn")))
        turns[f"{side}_elbow"] = _turn(0, -degree(f"{side}_elbow"))
        # The legs do not move when the trunk leans.
        turns[f"{side}_hip"] = (_turn(0, -degree("lean"))
                                @ _turn(2, sign * degree(f"{side}_leg_out"))
                                @ _turn(0, -degree(f"{side}_leg_ahead")))
        turns[f"{side}_knee"] = _turn(0, degree(f"{side}_knee"))
    joints = _follow_bones(turns, num_frames, build)
    joints[..., 1] += (degree("lift") - joints[:, _FEET, 1].min(1))[:, None]
    joints[..., 2] += degree("ahead")[:, None]
    return joints


_DEGREES = {"lean", "bend", "twist", "nod", "ahead", "lift"} | {
    f"{side}_{degree}" for side in ("left", "right")
    for degree in ("arm_ahead", "arm_out", "arm_turn", "elbow", "leg_ahead", "leg_out", "knee")}


def _follow_bones(turns: Mapping[str, Floats], num_frames: int, build: Build) -> Floats:
    """Joints ``(T, 25, 3)``: each bone turned by all joints between it and the spine base."""
    joints = np.zeros((num_frames, len(_JOINTS), 3))
    frames = {"spine_base": turns["spine_base"]}
    for left, (left_parent, offset) in _BONES.items():
        for side in ("left", "right"):
            joint, parent = left.replace("left", side), left_parent.replace("left", side)
            if joint in frames:
                continue  # of the spine: it has no sides
            bone = np.array(offset) * build.height
            if joint.endswith(("shoulder", "hip")):
                bone[0] *= build.width
            elif joint.endswith(("elbow", "wrist", "hand")):
                bone *= build.arms
            if side == "right":
                bone[0] *= -1
            joints[:, _JOINTS.index(joint)] = (joints[:, _JOINTS.index(parent)]
                                               + frames[parent] @ bone)
            turn = turns.get(joint)
            frames[joint] = frames[parent] if turn is None else frames[parent] @ turn
    return joints


def _turn(axis: int, angle: Floats) -> Floats:
    """Rotation about an axis, ``(T, 3, 3)``."""
    turn = np.zeros((*angle.shape, 3, 3))
    one, two = (axis + 1) % 3, (axis + 2) % 3
    turn[..., axis, axis] = 1
    turn[..., one, one] = turn[..., two, two] = np.cos(angle)
    turn[..., two, one] = np.sin(angle)
    turn[..., one, two] = -turn[..., two, one]
    return turn
