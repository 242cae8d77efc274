"""Divides the clips of a keypoint file at random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ptl_skel.errors import UserError
from ptl_skel.storage import KeypointFile

_PARTS = {2: ("train", "test"), 3: ("train", "val", "test")}


def split_at_random(file: KeypointFile, by: Literal["subject", "class"],
                    fractions: Sequence[float], seed: int) -> dict[str, NDArray[np.int64]]:
    """Clip indices of the parts; clips without a known subject or class are in no part.

    Args:
        file: The keypoint file.
        by: ``subject`` puts all clips of a subject into the same part, ``class`` divides the clips
            of each class in the same proportions.
        fractions: Fractions of the parts train and test, or train, val and test.
        seed: The same seed gives the same split.

    Raises:
        UserError: The fractions are not two or three positive numbers that sum to 1, no subject or
            class is known, or a part would be empty.
    """
    if len(fractions) not in _PARTS or min(fractions) <= 0 or not abs(sum(fractions) - 1) < 1e-6:
        raise UserError("--fractions must be two numbers above 0 (train, test) or three (train, "
                        "val, test) that add up to 1, got "
                        + " ".join(f"{fraction:g}" for fraction in fractions))
    groups = file.subject if by == "subject" else file.label
    known = np.flatnonzero(groups >= 0)
    if not known.size:
        other = "class" if by == "subject" else "subject"
        raise UserError(f"no {by} of a clip in {file.path} is known; give a column "
                        f"{'label' if by == 'class' else by} with --labels to `ptl-skel "
                        f"preprocess`, or split by {other}")
    random = np.random.default_rng(seed)
    divide = _divide_groups if by == "subject" else _divide_each_group
    part = divide(groups[known], np.asarray(fractions), random)
    parts = {name: known[part == i] for i, name in enumerate(_PARTS[len(fractions)])}
    empty = [name for name, positions in parts.items() if not positions.size]
    if empty:
        raise UserError(f"{file.path} has {len(np.unique(groups[known]))} "
                        f"{'subjects' if by == 'subject' else 'classes'} in {len(known)} clips, "
                        f"too few for {len(fractions)} parts: {' and '.join(empty)} would be empty")
    return parts


def _divide_groups(groups: NDArray[np.int32], fractions: NDArray[np.float64],
                   random: np.random.Generator) -> NDArray[np.int64]:
    """The part of each entry: whole groups, each assigned to the part that lacks most entries."""
    part = np.zeros(len(groups), np.int64)
    missing = fractions * len(groups)
    for group in random.permutation(np.unique(groups)):
        chosen = int(missing.argmax())
        part[groups == group] = chosen
        missing[chosen] -= (groups == group).sum()
    return part


def _divide_each_group(groups: NDArray[np.int32], fractions: NDArray[np.float64],
                       random: np.random.Generator) -> NDArray[np.int64]:
    """The part of each entry: each group is divided, with the given sizes of parts in total."""
    order = random.permutation(len(groups))
    order = order[np.argsort(groups[order], kind="stable")]
    part = np.zeros(len(groups), np.int64)
    missing = np.zeros(len(fractions))
    for entry in order:  # entries of a group are consecutive
        missing += fractions
        part[entry] = missing.argmax()
        missing[part[entry]] -= 1
    return part
