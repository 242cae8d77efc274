"""Labels, splits and subjects of your own clips: a CSV file for the keypoints.

``clip[,label][,split][,subject]``, one line per clip: the label is the name of a class or its
index, the split train, val or test, the subject a number. Only `clip` and one more column are
required, and all values except the clip may be empty if they are not known.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ptl_skel.errors import MissingFileError, UserError
from ptl_skel.storage import PARTS

from .files import LABEL_COLUMNS, compose, find_separator
from .plausibility import check_counting

PROTOCOL = "own"
"""Name of the protocol in the keypoint file that holds the splits of such a CSV file."""

_MAX_CLASSES = 100_000
_UNKNOWN = {"-1", "nan"}  # as PYSKL and pandas write unknown labels


@dataclass(frozen=True)
class Row:
    """The facts about a clip: the label as text; an empty text or -1 for unknown values."""

    label: str
    split: str = ""
    subject: int = -1


@dataclass(frozen=True)
class Labels:
    """The facts about all clips.

    Args:
        rows: By clip.
        class_names: Names of the classes.

    """

    rows: Mapping[str, Row]
    class_names: tuple[str, ...]

    def label(self, clip: str) -> int:
        """Index of the class of a clip, -1 if not known."""
        row = self.rows.get(clip)
        return -1 if row is None or not row.label else _index(row.label, self.class_names)

    def subject(self, clip: str) -> int:
        """Number of the performer, -1 if not known."""
        return self.rows[clip].subject if clip in self.rows else -1

    def splits(self, clips: Iterable[str]) -> dict[str, dict[str, list[str]]]:
        """The protocol `PROTOCOL`, if any clip has a split."""
        parts: dict[str, list[str]] = {}
        for clip in clips:
            split = self.rows[clip].split if clip in self.rows else ""
            if split:
                parts.setdefault(split, []).append(clip)
        return {PROTOCOL: parts} if parts else {}


def name_classes(rows: Mapping[str, Row], class_names: Sequence[str] | None, where: str) -> Labels:
    """The labels with their classes.

    Args:
        rows: By clip.
        class_names: Names of the classes; None derives them from the labels: sorted if they are
            names, and 0 to the largest if they are numbers.
        where: Where the rows come from, for the message.

    Names that differ only in how Unicode composes their letters, as between file systems, are the
    same.

    Raises:
        UserError: A label is not one of the classes, or stands for an unknown label elsewhere.
    """
    for clip, row in rows.items():
        if row.label in _UNKNOWN:
            raise UserError(f"{where} gives {clip!r} the label {row.label!r}; leave the label out, "
                            "or empty, where it is not known")
    rows = {clip: replace(row, label=compose(row.label)) for clip, row in rows.items()}
    texts = {row.label for row in rows.values() if row.label}
    if class_names is not None:
        class_names = list(map(compose, class_names))
        _check_numbers(texts, class_names, where)
    else:
        class_names = sorted(texts)
        if texts and all(map(_is_index, texts)):
            last = max(map(int, texts))
            if last >= _MAX_CLASSES:
                raise UserError(f"{where} has the label {last}, which looks wrong; if there are "
                                "that many classes, name them with --classes")
            class_names = [str(label) for label in range(last + 1)]
    names = tuple(class_names)
    for clip, row in rows.items():
        if row.label and _index(row.label, names) < 0:
            raise UserError(f"{where} gives {clip!r} the label {row.label!r}, which is neither "
                            f"the name nor the index of one of the {len(names)} classes in "
                            "--classes")
    return Labels(rows, names)


def match_clips(rows: Mapping[str, Row], clips: Collection[str]) -> dict[str, Row]:
    """The rows under the names of the clips, also if these compose letters in another way."""
    composed = {compose(clip): clip for clip in clips}
    return {name if name in clips else composed.get(compose(name), name): row
            for name, row in rows.items()}


def _check_numbers(texts: Collection[str], names: Sequence[str], where: str) -> None:
    """Checks that labels that are numbers can only be indices of classes."""
    numbers = {int(text) for text in texts if _is_number(text)}
    if numbers and any(_is_number(name) and name != str(i) for i, name in enumerate(names)):
        raise UserError(f"{where} has labels like {min(numbers)}, which may be the name of a class "
                        "or its index; write the names of classes as words")
    if len(numbers) == len(texts):
        check_counting(numbers, len(names), where)


def _index(label: str, names: Sequence[str]) -> int:
    if label in names:
        return names.index(label)
    return int(label) if _is_number(label) and int(label) < len(names) else -1


def _is_index(text: str) -> bool:
    """Whether a label can only be an index; ``01`` is a name."""
    return _is_number(text) and text == str(int(text))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


def read_labels(path: Path) -> dict[str, Row]:
    """The lines of a CSV file of labels, by clip.

    Raises:
        MissingFileError: There is no such file.
        UserError: It is not such a file, lists a clip twice, has an unknown split, or a subject
            that is not a number.
    """
    if path.is_dir():
        raise UserError(f"--labels {path} is a folder; give a CSV file with the columns "
                        f"{', '.join(LABEL_COLUMNS)}")
    if not path.is_file():
        raise MissingFileError(f"--labels {path} does not exist; it is a CSV file with the "
                               f"columns {', '.join(LABEL_COLUMNS)}")
    found: dict[str, Row] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            separator = find_separator(file.readline())
            file.seek(0)
            lines = csv.reader(file, strict=True, delimiter=separator)
            columns = [name.strip() for name in next(lines, [])]
            if not {"clip"} < set(columns) <= set(LABEL_COLUMNS):
                raise UserError(f"--labels {path} must have the column clip, and label, split or "
                                f"subject, but has: {', '.join(columns) or 'nothing'}")
            for cells in lines:
                where = f"--labels {path}, line {lines.line_num}"
                if len(cells) != len(columns):
                    if cells:
                        raise UserError(f"{where} has {len(cells)} values for {len(columns)} "
                                        f"columns: {','.join(cells)[:80]}")
                    continue
                clip, row = _row(where, dict(zip(columns, map(str.strip, cells), strict=True)))
                if clip in found:
                    raise UserError(f"{where} names the clip {clip!r} again")
                found[clip] = row
    except UnicodeDecodeError as error:
        raise UserError(f"--labels {path} is not a CSV file in UTF-8; save it as UTF-8, which "
                        "Excel calls `CSV UTF-8`") from error
    except csv.Error as error:
        raise UserError(f"--labels {path} is not a CSV file: {error}") from error
    if not found:
        raise UserError(f"--labels {path} names no clip")
    return found


def _whole(text: str) -> str:
    """An integer without the .0 that pandas adds if a value of the column is missing."""
    digits = text.removesuffix(".0")
    return digits if _is_number(digits) else text


def _row(where: str, values: Mapping[str, str]) -> tuple[str, Row]:
    split, subject = values.get("split", ""), _whole(values.get("subject", ""))
    if not values["clip"]:
        raise UserError(f"{where} names no clip")
    if split not in {"", *PARTS}:
        raise UserError(f"{where} has the split {split!r}, but it must be one of "
                        f"{', '.join(PARTS)}, or empty")
    if subject and not _is_number(subject):
        raise UserError(f"{where} has the subject {subject!r}, but it must be a number from 0 "
                        "to 999999999, or empty")
    label = _whole(values.get("label", ""))
    return values["clip"], Row(label, split, int(subject) if subject else -1)
