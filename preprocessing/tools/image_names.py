"""Numbers of frames from the names of images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

from ..core.source import Unusable

NUMBER = re.compile(r"(\d+)", re.ASCII)
"""A number in a name."""
_FRACTION = re.compile(r"(?<=\d\.)\d+(?=\D*$)", re.ASCII)  # of seconds


def numbers_in_names(names: Sequence[str]) -> list[int]:
    """The number of the frame in each image name, or its position in the sorted names.

    Raises:
        Unusable: The names are of images in several folders, or of several videos.
    """
    folders = sorted({str(PureWindowsPath(name).parent) for name in names})  # with / or \
    if len(folders) > 1:
        raise Unusable(f"its images lie in {len(folders)} folders, such as {folders[0]} and "
                       f"{folders[1]}; a file must hold one clip")
    groups = [[int(number) for number in NUMBER.findall(Path(name).stem) or NUMBER.findall(name)]
              for name in names]
    if len({NUMBER.sub("#", name) for name in names}) > 1:
        return [numbers[-1] for numbers in groups]
    columns = [column for column in zip(*groups, strict=True) if len(set(column)) > 1]
    if len(columns) < 2:
        return list(columns[0]) if columns else [numbers[-1] for numbers in groups]
    places = sorted(set(zip(*columns, strict=True)))
    if _count_again(places):
        raise Unusable(f"{names[0]!r} and {names[-1]!r} look like frames of several videos; a file "
                       "must hold one clip")
    if all(_FRACTION.search(Path(name).stem) for name in names):
        fractions = [_FRACTION.findall(Path(name).stem)[-1] for name in names]
        width = max(map(len, fractions))
        columns[-1] = tuple(int(fraction.ljust(width, "0")) for fraction in fractions)
        places = sorted(set(zip(*columns, strict=True)))
    order = {numbers: i for i, numbers in enumerate(places)}
    return [order[numbers] for numbers in zip(*columns, strict=True)]


def _count_again(places: Sequence[tuple[int, ...]]) -> bool:
    """Whether the last number counts in steps of 1 from the same start for each prefix.

    This is the case for frames of videos; fractions of a second in times have larger steps.
    """
    runs: dict[tuple[int, ...], list[int]] = {}
    for *head, last in places:
        runs.setdefault(tuple(head), []).append(last)
    first = min(run[0] for run in runs.values())
    return len(runs) > 1 and all(len(run) > 1 and run == list(range(first, first + len(run)))
                                 for run in runs.values())
