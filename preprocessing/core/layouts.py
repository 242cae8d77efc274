"""Chooses the joint layout of an input from its number of joints, or their names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ptl_skel.errors import UserError
from ptl_skel.skeletons import LAYOUTS, SkeletonLayout, get_layout, name_joints

USUAL_LAYOUTS: Mapping[int, str] = {
    17: "coco17", 18: "openpose18", 24: "smpl24", 26: "halpe26", 33: "blazepose33",
    59: "coco_hands59", 75: "holistic75", 133: "coco_wholebody133", 136: "halpe136"}
"""Number of joints -> layout, if only one with that many is common; 17 in 2D only.

There are several layouts with 15, 20, 21 and 25 joints, and 13 are often those of ``coco17``
without eyes and ears, or without legs.
"""


# Other names of joints, after `normalise_name` has put the side first.
_ALIASES = {"spine_mid": "spine_middle", "spine_shoulder": "spine_shoulders", "hip_center": "hip",
            "shoulder_center": "neck", "left_foot_index": "left_toes",
            "right_foot_index": "right_toes"}
_SIDES = {"left": "left", "l": "left", "right": "right", "r": "right"}


def normalise_name(joint: str) -> str:
    """The name of a joint as in built-in layouts, e.g. left_hand_tip for ``HandTipLeft``."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", joint)
    words = [word for word in re.split(r"[^a-z0-9]+", spaced.lower()) if word]
    sides = [_SIDES[word] for word in words if word in _SIDES]
    if len(sides) == 1 and len(words) > 1:
        words = [sides[0], *(word for word in words if word not in _SIDES)]
    name = "_".join(words)
    return _ALIASES.get(name, name)


class ChosenLayout(NamedTuple):
    """A layout, and the order of the input's joints.

    Args:
        layout: The layout.
        order: For each of its joints, the index in the input; None if the order is the same.
    """

    layout: SkeletonLayout
    order: tuple[int, ...] | None = None


def choose_layout(path: Path, name: str | None, joints: int, usual: Mapping[int, str],
                  joint_names: Sequence[str] = (), coordinates: int = 2) -> ChosenLayout:
    """The layout of that name, that of the joint names, or the common one with that many joints.

    Joint names have priority: if they are those of the layout in another order, or more, the joints
    are reordered, and the others are dropped. If the input does not name them, a layout with fewer
    joints can be chosen if the common one has joints with these names.

    Args:
        path: The input, for the message.
        name: Name or YAML file of a layout; None to infer it.
        joints: Number of joints in the input.
        usual: Number of joints -> name of the common layout, e.g. `USUAL_LAYOUTS`.
        joint_names: Names of the joints in the input, in their order; empty if it has none.
        coordinates: 2 or 3.

    Raises:
        MissingFileError: There is no such YAML file.
        UserError: The layout is ambiguous, or the named one has other joints.
    """
    named = [normalise_name(joint) for joint in joint_names]
    if name is not None:
        return _ordered(path, get_layout(name), joints, usual, named)
    if named:
        same = [layout for layout in LAYOUTS.values() if set(layout.joints) == set(named)]
        for layout in sorted(same, key=lambda layout: [*layout.joints] != named):
            return _ordered(path, layout, joints, usual, named)
        raise UserError(f"{path} names its joints {', '.join(joint_names)}, which are those of no "
                        "built-in layout; describe them in a YAML file and name it with --layout")
    if joints not in usual or (joints == 17 and coordinates == 3):
        known = [layout.name for layout in LAYOUTS.values() if layout.num_joints == joints]
        raise UserError(f"{path} has {joints} joints, which is the number of no layout or of "
                        "several; name the layout with --layout, e.g. "
                        + (" or ".join(known) or "a YAML file of your own"))
    return ChosenLayout(get_layout(usual[joints]))


def _ordered(path: Path, layout: SkeletonLayout, joints: int, usual: Mapping[int, str],
             named: Sequence[str]) -> ChosenLayout:
    """The layout with the order in which the input has its joints."""
    if not named and joints != layout.num_joints and joints in usual:
        named = [normalise_name(joint) for joint in get_layout(usual[joints]).joints]
    wanted = [normalise_name(joint) for joint in name_joints(layout, named)]
    if len(set(named)) == len(named) == joints and set(wanted) <= set(named):
        order = tuple(named.index(joint) for joint in wanted)
        return ChosenLayout(layout, None if order == tuple(range(joints)) else order)
    if layout.num_joints != joints:
        raise UserError(f"{path} has {joints} joints, but --layout {layout.name} has "
                        f"{layout.num_joints}")
    others = [other.name for other in LAYOUTS.values() if set(other.joints) == set(named)]
    if others and layout.name in LAYOUTS:
        raise UserError(f"{path} names its joints, and they are those of {others[0]}, not of "
                        f"--layout {layout.name}")
    return ChosenLayout(layout)
