"""Interprets the columns of a table with one line per frame: joints, axes, and other values.

The columns of a joint may be named ``nose_x``, ``nose.x``, ``nose x``, ``x_nose``, ``x0``, ``0_x``,
``joint0_x``, ``HeadX``. The score may be called v, c, s, p, score, likelihood and so on. Three
lines above the numbers are the header of DeepLabCut (scorer, bodyparts, coords), four are that for
several animals or persons (individuals).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..core.source import Unusable

_AXES = {"x": "x", "y": "y", "z": "z", **dict.fromkeys(
    ("v", "c", "s", "p", "vis", "visibility", "score", "conf", "confidence", "likelihood", "prob",
     "probability"), "score")}
_UNUSED = {"presence", "prob_presence"}  # of MediaPipe, beside the visibility
_AXIS = "|".join(sorted(_AXES, key=len, reverse=True))
_NAMES = (
    re.compile(rf"(?P<joint>.+?)[ ._:/-]+(?P<axis>{_AXIS})", re.IGNORECASE),
    re.compile(rf"(?P<axis>{_AXIS})[ ._:/-]*(?P<joint>\d+)", re.IGNORECASE),
    re.compile(rf"(?P<joint>[a-z]*\d+)(?P<axis>{_AXIS})", re.IGNORECASE),
    re.compile(rf"(?P<axis>{_AXIS})[ ._:/-]+(?P<joint>.+)", re.IGNORECASE),
    re.compile(r"(?P<joint>.*[a-z0-9])(?P<axis>[XYZ])"),  # HeadX
)
_ROLES = {role: names.split() for role, names in {
    "frame": "frame frames frame_idx frame_index frame_id frame_number frame_no frame_num frameno "
             "frameid frameidx",
    "clip": "clip video video_name video_id video_path file filename file_name sequence "
            "sequence_id",
    "person": "person person_id track track_id tracker_id tracking_id trackingid id individual "
              "individuals body body_id bodyid body_index bodyindex player pid user user_id userid "
              "skeleton skeleton_id skeletonid",
    "time": "time timestamp time_stamp timestamp_ms time_ms time_s seconds",
    "label": "label class action activity target class_name"}.items()}
_HEADER = ("scorer", "individuals", "bodyparts", "coords")  # of DeepLabCut
_MAX_JOINTS = 1000


@dataclass(frozen=True)
class Columns:
    """The meaning of the columns.

    Args:
        joints: Names of the joints; empty if they are numbered.
        places: For each person with separate columns, for each joint, the columns of x, y, z and
            score; -1 for none.
        roles: Columns of ``frame``, ``time``, ``clip``, ``person`` and ``label``, if they exist.
        header: Lines above the first frame.
        unused: Names of other columns that every joint has, e.g. ``accuracy``, if there are no
            scores; else empty.
    """

    joints: tuple[str, ...]
    places: tuple[tuple[tuple[int, int, int, int], ...], ...]
    roles: dict[str, int]
    header: int = 1
    unused: str = ""


def read_header(lines: Sequence[Sequence[str]]) -> Columns:
    """The columns of a table, from its first lines.

    Args:
        lines: The first four lines, or fewer if there are not as many.

    Raises:
        Unusable: They do not name joints with x and y.
    """
    rows = {row[0].strip().lower(): i for i, row in enumerate(lines) if row}
    if "bodyparts" in rows and "coords" in rows:
        parts, axes = (lines[rows[name]] for name in ("bodyparts", "coords"))
        owners = lines[rows["individuals"]] if "individuals" in rows else [""] * len(parts)
        if not len(parts) == len(axes) == len(owners):
            raise Unusable("the lines of its header have different numbers of values")
        found = {(owner.strip(), part.strip(), _AXES.get(axis.strip().lower(), "")): i
                 for i, (owner, part, axis) in enumerate(zip(owners, parts, axes, strict=True))
                 if i and owner.strip() != "single"}  # DeepLabCut's joints without an individual
        return _columns(found, {"frame": 0}, sum(name in rows for name in _HEADER))
    names = [name.strip() for name in lines[0]] if lines else []
    roles: dict[str, int] = {}
    found = {}
    others: list[str] = []
    for i, name in enumerate(names):
        role = next((role for role, known in _ROLES.items()
                     if re.sub(r"[ .-]+", "_", name.lower()) in known), None)
        if role is not None:
            roles.setdefault(role, i)
            continue
        parts_of = next((match for pattern in _NAMES if (match := pattern.fullmatch(name))), None)
        if parts_of is None:
            others.append(name)
        else:
            key = "", parts_of["joint"], _AXES[parts_of["axis"].lower()]
            if key in found:
                raise Unusable(f"it has the column {name!r} twice, or another one of the same "
                               "meaning; name the columns of each person differently, or use "
                               "one line per person")
            found[key] = i
    columns = _columns({key: i for key, i in found.items()
                        if key[1].lower() not in {"instance", "track", "bbox", "box"}}, roles, 1)
    return replace(columns, unused=_find_unused(columns, others))


def _find_unused(columns: Columns, others: Sequence[str]) -> str:
    """Names of columns that every joint has besides its axes, if it has no score; or empty."""
    if any(joint[3] >= 0 for of_person in columns.places for joint in of_person):
        return ""
    endings = [{other[len(joint) :].lstrip(" ._:/-") for other in others
                if other.startswith(joint)} for joint in columns.joints]
    common = set.intersection(*endings) - {"", *_UNUSED} if endings else set[str]()
    return ", ".join(sorted(common))


def _columns(found: dict[tuple[str, str, str], int], roles: dict[str, int],
             header: int) -> Columns:
    persons = list(dict.fromkeys(owner for owner, _, _ in found))
    joints = list(dict.fromkeys(joint for _, joint, axis in found if axis == "x"))
    numbers = [re.fullmatch(r"(\D*)(\d+)", joint) for joint in joints]
    if not joints or len(joints) > _MAX_JOINTS:
        raise Unusable("it has no columns x and y of joints, such as nose_x and nose_y")
    def place(person: str, joint: str) -> tuple[int, int, int, int]:
        x, y, z, score = (found.get((person, joint, axis), -1) for axis in ("x", "y", "z", "score"))
        return x, y, z, score

    places = tuple(tuple(place(person, joint) for joint in joints) for person in persons)
    for person, of_person in zip(persons, places, strict=True):
        for joint, (x, y, *_) in zip(joints, of_person, strict=True):
            if min(x, y) < 0:
                raise Unusable(f"it has no columns for x and y of the joint {joint!r}"
                               + (f" of {person!r}" if person else ""))
    for axis, at in (("z", 2), ("score", 3)):
        _check_alike(axis, joints, [place[at] >= 0 for of_person in places for place in of_person],
                     [joint for _, joint, of_other in found
                      if of_other == axis and joint not in joints])
    names = tuple(joints)
    if all(numbers) and len({match[1] for match in numbers if match}) == 1:
        places_of = [int(match[2]) for match in numbers if match]
        order = sorted(range(len(joints)), key=places_of.__getitem__)
        if max(places_of) - min(places_of) >= len(joints):  # a choice of joints
            return Columns(names, places, roles, header)
        places = tuple(tuple(of_person[i] for i in order) for of_person in places)
        names = ()
    return Columns(names, places, roles, header)


def _check_alike(axis: str, joints: Sequence[str], has_axis: Sequence[bool], others: Sequence[str]
                 ) -> None:
    """Checks that no joint lacks a column that the others have, because of another spelling.

    Raises:
        Unusable: One does, and a column of that axis belongs to a joint without x and y.
    """
    if others and any(has_axis) and not all(has_axis):
        joint = joints[has_axis.index(False) % len(joints)]
        raise Unusable(f"it has a column {axis} of {others[0]!r}, which has no x and y, but none "
                       f"of {joint!r}; are they the same joint?")
