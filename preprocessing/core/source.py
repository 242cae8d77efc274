"""The interface of a source of keypoints.

Adding a source, say of a data set called toy:

1. write a class with the members of `Source` in ``preprocessing/datasets/toy.py``; its constructor
   takes the path of the input, and its options as keywords;
2. add a row to `SOURCES` in ``preprocessing/commands.py``, with the names of these options; an
   option of its own needs an entry in `OPTIONS` there as well;
3. test it on a small input in its real format, and add that input to `INPUTS` in
   ``tests/preprocessing/test_inputs.py``, which checks that changed inputs are noticed.

For the format of a pose estimator there is less to do: see `preprocessing.tools.source`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ptl_skel.errors import UserError
from ptl_skel.storage import Clip, Header


class Unusable(UserError):  # noqa: N818  # the run continues without the input
    """An input should give a clip, but cannot; the message says why."""


class LeftOut(Unusable):
    """An input gives no clip, and is not meant to give one; the message says why."""


class Source(Protocol):
    """A reader of one kind of input, e.g. a folder of NTU ``.skeleton`` files.

    Instances are pickled to worker processes, so they stay small or are read in one process.
    """

    @property
    def header(self) -> Header:
        """What applies to all clips."""

    @property
    def files(self) -> Iterable[Path]:
        """All files that are read: if one of them changes, nothing is resumed."""

    @property
    def options(self) -> Mapping[str, Any]:
        """What else determines the content of the clips and is not in the header."""

    def keys(self) -> Sequence[str]:
        """Names of the inputs (say, files) in the order in which they are to be stored."""

    def read(self, key: str) -> list[Clip]:
        """The clips of one input.

        Raises:
            LeftOut: The input is not meant to give a clip; it is listed as skipped.
            Unusable: The input should give a clip, but cannot; it is listed as skipped and counted
                as unusable. Only this error skips an input: any other one stops the run.
        """

    def splits(self, ids: Sequence[str]) -> Mapping[str, Mapping[str, Sequence[str]]]:
        """Protocol -> train, val or test -> ids of clips, given the ids that were stored.

        Splits may name clips that do not exist: they are reported and ignored.
        """


class WrappedSource:
    """A source that passes on what another one gives; subclasses change some of it.

    Args:
        source: The other one.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def header(self) -> Header:
        """See `Source`."""
        return self._source.header

    @property
    def files(self) -> Iterable[Path]:
        """See `Source`."""
        return self._source.files

    @property
    def options(self) -> Mapping[str, Any]:
        """See `Source`."""
        return self._source.options

    def keys(self) -> Sequence[str]:
        """See `Source`."""
        return self._source.keys()

    def read(self, key: str) -> list[Clip]:
        """See `Source`."""
        return self._source.read(key)

    def splits(self, ids: Sequence[str]) -> Mapping[str, Mapping[str, Sequence[str]]]:
        """See `Source`."""
        return self._source.splits(ids)
