"""A source whose clips get their labels, subjects and splits from a CSV file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path

from ptl_skel.errors import UserError
from ptl_skel.storage import Clip, Header

from .files import compose
from .labels import Row, match_clips, name_classes, read_labels
from .source import Source, WrappedSource


class LabelledSource(WrappedSource):
    """Any source together with a CSV file of `preprocessing.core.labels`.

    If the file contains any label, only its labels count, else those of the source. The same
    applies to the subjects. Its split is added to those of the source.

    Args:
        source: The source.
        path: The CSV file.
        has_classes: Whether the user specified the classes of the source, so that labels must be
            among them; otherwise the labels in the file define the classes.

    Raises:
        MissingFileError: There is no such file.
        UserError: It is not such a file, or none of its clips are in the source.
    """

    def __init__(self, source: Source, path: Path, *, has_classes: bool = False) -> None:
        super().__init__(source)
        self._path = path
        keys = source.keys()
        # Keys with an extension are files whose clips are named by their stems.
        names = {*keys, *(Path(key).stem for key in keys if Path(key).suffix)}
        rows = match_clips(_without_extensions(read_labels(path), set(map(compose, keys))), names)
        if keys and names.isdisjoint(rows):
            raise UserError(f"--labels {path} names none of the clips: it names "
                            f"{next(iter(rows))!r}, the input has {keys[0]!r}")
        self._labels = name_classes(rows, source.header.class_names if has_classes else None,
                                    f"--labels {path}")
        self._has_labels = any(row.label for row in rows.values())
        self._has_subjects = any(row.subject >= 0 for row in rows.values())

    @property
    def header(self) -> Header:
        """That of the source, with the classes of the labels."""
        header = self._source.header
        return replace(header, class_names=self._labels.class_names) if self._has_labels else header

    @property
    def files(self) -> Iterable[Path]:
        """Those of the source, and the CSV file."""
        yield from self._source.files
        yield self._path

    def read(self, key: str) -> list[Clip]:
        """The clips of one input.

        Raises:
            Unusable: As the source does.
        """
        return list(self._relabel(self._source.read(key)))

    def splits(self, ids: Sequence[str]) -> Mapping[str, Mapping[str, Sequence[str]]]:
        """Those of the source, and the one in the CSV file."""
        return {**self._source.splits(ids), **self._labels.splits(self._labels.rows)}

    def _relabel(self, clips: Iterable[Clip]) -> Iterator[Clip]:
        for clip in clips:
            yield replace(
                clip, label=self._labels.label(clip.id) if self._has_labels else clip.label,
                subject=self._labels.subject(clip.id) if self._has_subjects else clip.subject)


def _without_extensions(rows: Mapping[str, Row], keys: Set[str]) -> dict[str, Row]:
    """The rows by clip, also if they name the file of a clip with its extension.

    Args:
        rows: By name.
        keys: Names of the inputs, composed.
    """
    found: dict[str, Row] = {}
    for name, row in rows.items():
        stem = str(Path(name).with_suffix(""))
        is_file = compose(name) not in keys and compose(stem) in keys and stem not in rows
        found[stem if is_file else name] = row
    return found
