"""Selects the persons of a clip among the bodies that a Kinect reports.

A sensor reports furniture as bodies, and gives a person a new ID after losing sight of them. The
rule here is PYSKL's, so that results on the 3D skeletons are comparable:

1. A single body is the person. Of several, those seen in at most 11 frames are dropped.
2. If several are left, a body is noise if it is wider than 0.8 of its height in at least
   69.754 % of its frames. A body's motion is the sum of the variances of x, y and z over the
   frames in which it is not that wide.
3. Bodies are taken by decreasing motion. The first is person 0. Each further one continues
   person 0 if the times at which they are seen do not overlap, else person 1 likewise, else it is
   dropped.

Three properties of PYSKL's script are not part of the rule and are not reproduced: it removes
frames without bodies, starts the time of person 1 at the first frame whenever it is seen (a body
that could precede it is lost), and renumbers the persons if only person 1 is in the first frame.

Reference:
    PYSKL, arXiv 2205.09443; thresholds after the MATLAB code of NTU RGB+D, arXiv 1604.02808.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.source import Unusable

_FEW_FRAMES = 11
_MAX_WIDTH = 0.8  # of the height
_MAX_WIDE_FRAMES = 0.69754  # of all frames

Rows = NDArray[np.int64]


@dataclass
class _Body:
    rows: Rows
    motion: float
    is_noise: bool


@dataclass
class _Person:
    rows: list[Rows]
    first: int
    last: int


def split_by_id(ids: NDArray[np.int64]) -> list[Rows]:
    """Rows of each body, in the order in which the bodies appear.

    Args:
        ids: The body that each observation shows, ``(B,)``.
    """
    rows: dict[int, list[int]] = {}
    for row, body_id in enumerate(ids.tolist()):
        rows.setdefault(body_id, []).append(row)
    return [np.array(of_one) for of_one in rows.values()]


def choose_persons(bodies: list[Rows], frame: NDArray[np.int64],
                   xyz: NDArray[np.floating[Any]]) -> list[Rows]:
    """Rows of person 0, and of person 1 if there is one, by the rule above.

    Args:
        bodies: Rows of each body, from `split_by_id`.
        frame: Frame of each observation, ``(B,)``.
        xyz: Joints in camera coordinates, ``(B, V, 3)``, y upwards.

    Raises:
        Unusable: All bodies are dropped.
    """
    if len(bodies) == 1:
        return bodies
    bodies = [rows for rows in bodies if rows.size > _FEW_FRAMES]
    if not bodies:
        raise Unusable(f"there are several bodies, each seen in at most {_FEW_FRAMES} frames")
    if len(bodies) == 1:
        return bodies
    judged = [_judge(rows, xyz[rows]) for rows in bodies]
    judged = [body for body in judged if not body.is_noise]
    if not judged:
        raise Unusable("all bodies are wider than people")
    judged.sort(key=lambda body: -body.motion)
    persons: list[_Person] = []
    for body in judged:
        first, last = int(frame[body.rows].min()), int(frame[body.rows].max())
        for person in persons:
            if last < person.first or first > person.last:
                person.rows.append(body.rows)
                person.first, person.last = min(first, person.first), max(last, person.last)
                break
        else:
            if len(persons) < 2:
                persons.append(_Person([body.rows], first, last))
    return [np.concatenate(person.rows) for person in persons]


def _judge(rows: Rows, xyz: NDArray[np.floating[Any]]) -> _Body:
    """The motion of a body and whether it is noise, from its joints ``(frames, V, 3)``."""
    known = np.isfinite(xyz).all(-1)
    highest = np.where(known[..., None], xyz, -np.inf).max(1)
    lowest = np.where(known[..., None], xyz, np.inf).min(1)
    width, height, _ = (highest - lowest).T
    fits = width <= _MAX_WIDTH * height
    points = xyz[fits][known[fits]]
    motion = float(points.var(0).sum()) if len(points) else 0.0
    return _Body(rows, motion, 1 - fits.mean() >= _MAX_WIDE_FRAMES)
