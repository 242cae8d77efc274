"""Joint layouts: the joints of a skeleton, its limbs, its left/right pairs.

Adding a layout: 1. add a ``SkeletonLayout`` to ``_BUILT_IN``; or, without touching the code,
write the same four keys (``name``, ``joints``, ``limbs``, ``pairs``) to a YAML file and give
its path wherever a layout is asked for. Joints are named in YAML, so nobody counts indices.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ptl_skel.errors import MissingFileError, UserError


@dataclass(frozen=True)
class SkeletonLayout:
    """The joints of one kind of skeleton, in the order in which files store them.

    Args:
        name: What users call the layout, e.g. ``coco17``.
        joints: One name per joint.
        limbs: Pairs of joint indices that are linked by a limb.
        pairs: Pairs (left, right) of joint indices that a horizontal flip exchanges.

    Raises:
        UserError: A joint is named twice, an index is out of range, or a joint is in two pairs.
    """

    name: str
    joints: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    pairs: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        where = f"layout `{self.name}`"
        if not self.joints:
            raise UserError(f"{where}: `joints` must name at least one joint")
        twice = sorted({joint for joint in self.joints if self.joints.count(joint) > 1})
        if twice:
            raise UserError(f"{where}: `joints` names {', '.join(twice)} more than once")
        for kind, links in (("limbs", self.limbs), ("pairs", self.pairs)):
            for link in links:
                if len(link) != 2 or link[0] == link[1]:
                    raise UserError(f"{where}: `{kind}` must link two different joints: {link}")
                if not all(0 <= joint < self.num_joints for joint in link):
                    raise UserError(f"{where}: `{kind}` has {link}, but joints are 0 to "
                                    f"{self.num_joints - 1}")
        paired = [joint for pair in self.pairs for joint in pair]
        if len(set(paired)) != len(paired):
            raise UserError(f"{where}: `pairs` has a joint in two pairs")
        if len({frozenset(limb) for limb in self.limbs}) != len(self.limbs):
            raise UserError(f"{where}: `limbs` has the same limb twice")

    @property
    def num_joints(self) -> int:
        """Number of joints V."""
        return len(self.joints)

    @property
    def mirrored_joints(self) -> tuple[int, ...]:
        """For each joint the one that takes its place in a horizontal flip, ``(V,)``."""
        mirrored = list(range(self.num_joints))
        for left, right in self.pairs:
            mirrored[left], mirrored[right] = right, left
        return tuple(mirrored)

    @property
    def tree(self) -> tuple[tuple[int, int], ...]:
        """(joint, the next joint towards the first one) for all joints but the first.

        Along limbs by the shortest way; a part without a limb to the rest is linked to the first.
        """
        parents: dict[int, int] = {}
        reached = [0]
        for joint in reached:  # grows during the loop
            for limb in self.limbs:
                if joint in limb:
                    other = limb[1] if limb[0] == joint else limb[0]
                    if other not in reached:
                        parents[other] = joint
                        reached.append(other)
            if joint == reached[-1] and len(reached) < self.num_joints:
                loose = min(set(range(self.num_joints)) - set(reached))
                parents[loose] = 0
                reached.append(loose)
        return tuple(sorted(parents.items()))

    @property
    def sides(self) -> tuple[str, ...]:
        """``left``, ``right`` or ``middle`` for each joint, ``(V,)``; colours of pictures."""
        sides = ["middle"] * self.num_joints
        for left, right in self.pairs:
            sides[left], sides[right] = "left", "right"
        return tuple(sides)

    def to_json(self) -> str:
        """The layout as a JSON text, as it is stored in keypoint files and checkpoints."""
        return json.dumps({"name": self.name, "joints": self.joints,
                           "limbs": self.limbs, "pairs": self.pairs})

    @classmethod
    def from_json(cls, text: str) -> SkeletonLayout:
        """The layout that `to_json` wrote.

        Raises:
            UserError: The text is not a layout.
        """
        return cls.from_mapping(json.loads(text))

    @classmethod
    def from_mapping(cls, declared: Any) -> SkeletonLayout:
        """A layout from its declaration; limbs and pairs by joint name or by index.

        Raises:
            UserError: A key is missing or unknown, or a joint is not one of `joints`.
        """
        keys = {"name", "joints", "limbs", "pairs"}
        if not isinstance(declared, Mapping) or set(declared) != keys:
            found = sorted(declared) if isinstance(declared, Mapping) else type(declared).__name__
            raise UserError(f"a layout has the keys {sorted(keys)}, got {found}")
        if not isinstance(declared["joints"], Sequence) or isinstance(declared["joints"], str):
            raise UserError(f"`joints` must be a list of names, got {declared['joints']!r}")
        joints = tuple(str(joint) for joint in declared["joints"])

        def links(kind: str) -> tuple[tuple[int, int], ...]:
            if not isinstance(declared[kind], Sequence | None):
                raise UserError(f"`{kind}` must be a list of pairs of joints, "
                                f"got {declared[kind]!r}")
            return tuple(_link(joints, kind, link) for link in declared[kind] or ())

        return cls(str(declared["name"]), joints, links("limbs"), links("pairs"))


def _link(joints: tuple[str, ...], kind: str, link: Any) -> tuple[int, int]:
    if not isinstance(link, Sequence) or isinstance(link, str) or len(link) != 2:
        raise UserError(f"`{kind}` must be a list of pairs of joints, got {link!r}")
    ends = []
    for joint in link:
        if isinstance(joint, str):
            if joint not in joints:
                raise UserError(f"`{kind}` names {joint!r}, which is not one of `joints`: "
                                f"{', '.join(joints)}")
            ends.append(joints.index(joint))
        elif isinstance(joint, int) and not isinstance(joint, bool):
            ends.append(joint)
        else:
            raise UserError(f"`{kind}` must hold joint names or indices, got {joint!r}")
    return ends[0], ends[1]


def get_layout(name: str | Path) -> SkeletonLayout:
    """The built-in layout of that name, or the one declared in a YAML file.

    Args:
        name: One of `LAYOUTS`, or the path of a ``.yaml`` file.

    Raises:
        MissingFileError: A YAML path that does not exist.
        UserError: No layout of that name, or a declaration that is not consistent.
    """
    if str(name) in LAYOUTS:
        return LAYOUTS[str(name)]
    path = Path(name)
    if path.suffix in {".yaml", ".yml"}:
        if not path.is_file():
            raise MissingFileError(f"layout file {path} does not exist")
        try:
            return SkeletonLayout.from_mapping(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (UserError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UserError(f"{path}: {error}") from error
    raise UserError(f"`layout` must be one of {', '.join(LAYOUTS)} or a .yaml file, got {name!r}")


def _layout(name: str, joints: str, limbs: str) -> SkeletonLayout:
    """A layout from compact text; the left/right pairs follow from the names."""
    names = tuple(joints.split())
    pairs = [(joint, joint.replace("left", "right")) for joint in names if "left" in joint]
    return SkeletonLayout.from_mapping({
        "name": name, "joints": names, "pairs": pairs,
        "limbs": [[int(joint) for joint in limb.split("-")] for limb in limbs.split()],
    })


_BUILT_IN = (
    # Kinect v2: NTU RGB+D 60 and 120 (arXiv 1604.02808, 1905.04757).
    _layout(
        "ntu25",
        "spine_base spine_middle neck head left_shoulder left_elbow left_wrist left_hand "
        "right_shoulder right_elbow right_wrist right_hand left_hip left_knee left_ankle left_foot "
        "right_hip right_knee right_ankle right_foot spine_shoulders left_hand_tip left_thumb "
        "right_hand_tip right_thumb",
        "0-1 1-20 20-2 2-3 20-4 4-5 5-6 6-7 7-21 6-22 20-8 8-9 9-10 10-11 11-23 10-24 "
        "0-12 12-13 13-14 14-15 0-16 16-17 17-18 18-19",
    ),
    # COCO keypoints: HRNet, RTMPose, YOLO-pose (arXiv 1405.0312). Limbs in the order of the
    # limb heatmaps of PoseConv3D (arXiv 2104.13586).
    _layout(
        "coco17",
        "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow "
        "right_elbow left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle "
        "right_ankle",
        "0-5 0-6 5-7 7-9 6-8 8-10 5-11 11-13 13-15 6-12 12-14 14-16 0-1 0-2 1-3 2-4 11-12",
    ),
    # OpenPose's COCO model (arXiv 1812.08008); Kinetics-Skeleton.
    _layout(
        "openpose18",
        "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist "
        "right_hip right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye "
        "right_ear left_ear",
        "1-2 2-3 3-4 1-5 5-6 6-7 1-8 8-9 9-10 1-11 11-12 12-13 1-0 0-14 14-16 0-15 15-17",
    ),
    # OpenPose's BODY_25 (arXiv 1812.08008).
    _layout(
        "body25",
        "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist "
        "middle_hip right_hip right_knee right_ankle left_hip left_knee left_ankle right_eye "
        "left_eye right_ear left_ear left_big_toe left_small_toe left_heel right_big_toe "
        "right_small_toe right_heel",
        "1-8 1-2 2-3 3-4 1-5 5-6 6-7 8-9 9-10 10-11 8-12 12-13 13-14 1-0 0-15 15-17 0-16 16-18 "
        "14-19 19-20 14-21 11-22 22-23 11-24",
    ),
    # Penn Action (Zhang, Zhu and Derpanis, ICCV 2013).
    _layout(
        "penn13",
        "head left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_hip "
        "right_hip left_knee right_knee left_ankle right_ankle",
        "0-1 0-2 1-2 1-3 3-5 2-4 4-6 1-7 2-8 7-8 7-9 9-11 8-10 10-12",
    ),
    # SBU Kinect Interaction (Yun et al., CVPRW 2012).
    _layout(
        "sbu15",
        "head neck torso left_shoulder left_elbow left_hand right_shoulder right_elbow right_hand "
        "left_hip left_knee left_foot right_hip right_knee right_foot",
        "0-1 1-2 1-3 3-4 4-5 1-6 6-7 7-8 2-9 9-10 10-11 2-12 12-13 13-14",
    ),
    # JHMDB (Jhuang et al., ICCV 2013).
    _layout(
        "jhmdb15",
        "neck belly head right_shoulder left_shoulder right_hip left_hip right_elbow left_elbow "
        "right_knee left_knee right_wrist left_wrist right_ankle left_ankle",
        "0-1 0-2 0-3 0-4 3-7 7-11 4-8 8-12 1-5 1-6 5-9 9-13 6-10 10-14",
    ),
    # BlazePose / MediaPipe (arXiv 2006.10204).
    _layout(
        "blazepose33",
        "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer "
        "left_ear right_ear left_mouth right_mouth left_shoulder right_shoulder left_elbow "
        "right_elbow left_wrist right_wrist left_pinky right_pinky left_index right_index "
        "left_thumb right_thumb left_hip right_hip left_knee right_knee left_ankle right_ankle "
        "left_heel right_heel left_toes right_toes",
        "0-1 1-2 2-3 3-7 0-4 4-5 5-6 6-8 9-10 11-12 11-13 13-15 15-17 15-19 15-21 17-19 12-14 "
        "14-16 16-18 16-20 16-22 18-20 11-23 12-24 23-24 23-25 25-27 27-29 27-31 29-31 24-26 "
        "26-28 28-30 28-32 30-32",
    ),
)

LAYOUTS: dict[str, SkeletonLayout] = {layout.name: layout for layout in _BUILT_IN}
