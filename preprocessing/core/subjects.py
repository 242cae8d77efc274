"""A source whose clips are named after their subjects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ptl_skel.errors import UserError
from ptl_skel.storage import Clip

from .source import Source, WrappedSource


class SubjectsFromNames(WrappedSource):
    """Any source together with a pattern that finds the subject in the name of a clip.

    Args:
        source: The source.
        pattern: A regular expression with one group, the number of the subject; it may match
            anywhere in the name.

    Raises:
        UserError: It is not such a pattern.
    """

    def __init__(self, source: Source, pattern: str) -> None:
        super().__init__(source)
        try:
            self._pattern = re.compile(pattern)
        except re.error as error:
            raise UserError(f"--subjects '{pattern}' is not a regular expression: {error}"
                            ) from error
        if self._pattern.groups != 1:
            raise UserError(f"--subjects '{pattern}' needs one group in parentheses, the number of "
                            r"the subject, for example '_s(\d+)_' for a clip named a01_s07_e02")

    @property
    def options(self) -> Mapping[str, Any]:
        """Those of the source, and the pattern."""
        return {**self._source.options, "subjects": self._pattern.pattern}

    def read(self, key: str) -> list[Clip]:
        """The clips of one input.

        Raises:
            Unusable: As the source does.
            UserError: The pattern finds no number, or the source already has a subject.
        """
        return list(self._with_subjects(self._source.read(key)))

    def _with_subjects(self, clips: Iterable[Clip]) -> Iterator[Clip]:
        for clip in clips:
            if clip.subject >= 0:
                raise UserError(f"the subject of {clip.id!r} is {clip.subject} in the input or in "
                                "--labels; leave out --subjects")
            found = self._pattern.search(clip.id)
            number = found[1] if found else None
            if number is None or not re.fullmatch(r"[0-9]{1,9}", number):
                raise UserError(
                    f"--subjects '{self._pattern.pattern}' finds "
                    + ("nothing" if number is None else f"{number!r}, which is not a number,")
                    + f" in the name {clip.id!r}; list the subjects in a CSV file, see --labels")
            yield replace(clip, subject=int(number))
