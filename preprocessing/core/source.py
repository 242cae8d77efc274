"""What a source of keypoints has to offer.

Adding a source: 1. write a class with the members of `Source` in a module of its own; 2. list it
in ``__main__.py`` with the arguments it takes; 3. test it on a small input in its real format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ptl_skel.storage import Clip, Header


class LeftOut(ValueError):  # noqa: N818  # no error: it is as it should be
    """An input gives no clip, and is not meant to give one; the message says why."""


class Source(Protocol):
    """A reader of one kind of input, e.g. a folder of NTU ``.skeleton`` files.

    Instances travel to worker processes: they pickle, and stay small or are read in one process.
    """

    @property
    def header(self) -> Header:
        """What holds for all clips."""

    @property
    def job(self) -> Mapping[str, Any]:
        """Input and options that decide the content; a run is resumed only for the same job."""

    def keys(self) -> Sequence[str]:
        """Names of the inputs (say, files) in the order in which they are to be stored."""

    def read(self, key: str) -> list[Clip]:
        """The clips of one input.

        Raises:
            LeftOut: The input is not meant to give a clip; it is listed as skipped.
            ValueError: The input gives no clip; the message says why, it is listed as skipped,
                and counts as a loss.
        """

    def splits(self, ids: Sequence[str]) -> Mapping[str, Mapping[str, Sequence[str]]]:
        """Protocol -> train, val or test -> ids of clips, given the ids that were stored."""
