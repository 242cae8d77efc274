"""The joint layout of an input that shows how many joints there are, or names them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ptl_skel.errors import UserError
from ptl_skel.skeletons import LAYOUTS, SkeletonLayout, get_layout

_COUNTS = Counter(layout.num_joints for layout in LAYOUTS.values())

UNIQUE_LAYOUTS: Mapping[int, str] = {
    layout.num_joints: name for name, layout in LAYOUTS.items() if _COUNTS[layout.num_joints] == 1}
"""Number of joints -> layout, where only one of the built-in layouts has that many."""


def choose_layout(path: Path, name: str | None, joints: int, usual: Mapping[int, str],
                  joint_names: Sequence[str] = ()) -> SkeletonLayout:
    """The layout of that name, that of the joint names, or the usual one with that many joints.

    Args:
        path: The input, for the message.
        name: Name or YAML file of a layout; None to infer it.
        joints: How many joints the input has.
        usual: Number of joints -> name of the usual layout, e.g. `UNIQUE_LAYOUTS`.
        joint_names: What the input calls its joints, in their order; empty if it does not.

    Raises:
        MissingFileError: There is no such YAML file.
        UserError: The layout is not clear, or the named one has another number of joints.
    """
    if name is None and joint_names:
        for layout in LAYOUTS.values():
            if [joint.lower().replace(" ", "_") for joint in joint_names] == [*layout.joints]:
                return layout
        raise UserError(f"{path} names its joints {', '.join(joint_names)}, in an order that no "
                        "built-in layout has; describe them in a YAML file and name it with "
                        "--layout")
    if name is None and joints not in usual:
        raise UserError(f"{path} has {joints} joints, which is the number of no layout or of "
                        "several; name the layout with --layout")
    chosen = get_layout(name or usual[joints])
    if chosen.num_joints != joints:
        raise UserError(f"{path} has {joints} joints, but --layout {name} has {chosen.num_joints}")
    return chosen
