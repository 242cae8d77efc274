"""Classes are matched by name between the labels of a file and the classes of a model."""

from __future__ import annotations

from collections.abc import Sequence

from ptl_skel.errors import UserError

SHOWN = 5
"""Number of names that a message lists."""


def match_names(names: Sequence[str], known: Sequence[str]) -> tuple[int, ...]:
    """For each name, its index among the known names, or -1.

    Raises:
        UserError: A name occurs twice, so that it does not identify a class.
    """
    if tuple(names) == tuple(known):
        return tuple(range(len(names)))
    for given in (names, known):
        if twice := [name for name in given if given.count(name) > 1]:
            raise UserError(f"classes are matched by name, but two of them are named {twice[0]!r}")
    return tuple(known.index(name) if name in known else -1 for name in names)


def listed(names: Sequence[str]) -> str:
    """The first of some names, for a message."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more
