"""Joint layouts: the joints of a skeleton, its limbs, its left/right pairs.

A layout is a YAML file with the four keys ``name``, ``joints``, ``limbs`` and ``pairs``, like those
in ``ptl_skel/configs/layout``. Give the path of your own wherever a layout is expected, or add it
to that folder. Limbs and pairs refer to joints by name, so there is no need to count indices;
``ptl-skel show --layout NAME`` plots them.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ptl_skel.configs import CONFIGS
from ptl_skel.errors import MissingFileError, UserError

_FOLDER = CONFIGS / "layout"


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
        """For each joint, the one that replaces it in a horizontal flip, ``(V,)``."""
        mirrored = list(range(self.num_joints))
        for left, right in self.pairs:
            mirrored[left], mirrored[right] = right, left
        return tuple(mirrored)

    @property
    def tree(self) -> tuple[tuple[int, int], ...]:
        """(joint, the next joint towards the first one) for all joints except the first.

        Follows limbs along the shortest path; a disconnected part is linked to the first joint.
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
        """``left``, ``right`` or ``middle`` for each joint, ``(V,)``; its colour in pictures."""
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


_STAND_INS = {"penn13": {"head": "nose"}}
"""Layout -> joint -> the joint that replaces it if another layout has one."""


def map_joints(source: SkeletonLayout, target: SkeletonLayout) -> tuple[int, ...]:
    """For each joint of `target`, the index of the joint of `source` to read, ``(V,)``.

    Joints are matched by name; the head of ``penn13`` is the nose if `source` has one.

    Raises:
        UserError: `source` lacks a joint; the message lists the layouts that it can be mapped to.
    """
    absent = set(name_joints(target, source.joints)).difference(source.joints)
    if absent:
        possible = [layout.name for layout in LAYOUTS.values()
                    if set(name_joints(layout, source.joints)) <= set(source.joints)]
        raise UserError(f"the joints of layout {source.name} cannot become those of {target.name}, "
                        f"which has {', '.join(sorted(absent))} as well; they can become those of "
                        f"{', '.join(possible) or 'no built-in layout'}")
    return tuple(map(source.joints.index, name_joints(target, source.joints)))


def name_joints(layout: SkeletonLayout, names: Sequence[str]) -> list[str]:
    """The joints of a layout, or the stand-ins for them that are among `names`."""
    stand_ins = _STAND_INS.get(layout.name, {})
    return [stand_ins[joint] if stand_ins.get(joint) in names else joint
            for joint in layout.joints]


def get_layout(name: str | Path) -> SkeletonLayout:
    """The built-in layout of that name, or the one declared in a YAML file.

    Args:
        name: One of `LAYOUTS`, or the path of a ``.yaml`` file.

    Raises:
        MissingFileError: A YAML path that does not exist.
        UserError: There is no layout of that name, or the declaration is inconsistent.
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


class _BuiltIn(Mapping[str, SkeletonLayout]):
    """The layouts that ship with the package, each read on first access."""

    def __init__(self) -> None:
        self._names = sorted(path.stem for path in _FOLDER.glob("*.yaml"))

    def __getitem__(self, name: str) -> SkeletonLayout:
        if name not in self._names:
            raise KeyError(name)
        return _read(_FOLDER / f"{name}.yaml")

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@functools.cache
def _read(path: Path) -> SkeletonLayout:
    return SkeletonLayout.from_mapping(yaml.safe_load(path.read_text(encoding="utf-8")))


LAYOUTS: Mapping[str, SkeletonLayout] = _BuiltIn()
"""All built-in layouts by name."""
