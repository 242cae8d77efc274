"""Looks at every frame of a keypoint file and tells what is in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table

from ptl_skel.storage import PARTS, Clip, KeypointFile, KeypointFileError

# A clip is still when no joint leaves a square or cube of this side: a pixel, a millimetre.
_STILL = {2: 1.0, 3: 0.001}
_NAMED = 5  # how many suspicious clips are named


@dataclass
class Findings:
    """What the frames of a file show.

    Attributes:
        joints: Number of joints of all persons in all frames.
        missing: How many of them have score 0.
        outside: How many are present but beyond the edge of the frame (2D only).
        single: Ids of clips of one frame.
        still: Ids of clips of several frames in which no joint moves.
    """

    joints: int = 0
    missing: int = 0
    outside: int = 0
    single: list[str] = field(default_factory=list)
    still: list[str] = field(default_factory=list)

    def add(self, clip: Clip) -> None:
        """Counts a clip in."""
        present = clip.scores > 0
        self.joints += present.size
        self.missing += int((~present).sum())
        if clip.keypoints.shape[-1] == 2:
            height, width = clip.frame_size
            beyond = (clip.keypoints < 0) | (clip.keypoints > (width - 1, height - 1))
            self.outside += int((beyond.any(-1) & present).sum())
        if clip.keypoints.shape[1] == 1:
            self.single.append(clip.id)
        elif _extent(clip) <= _STILL[clip.keypoints.shape[-1]]:
            self.still.append(clip.id)


def _extent(clip: Clip) -> float:
    """The longest way between two places of one joint along an axis, over all present joints."""
    present = (clip.scores > 0)[..., None]
    keypoints = clip.keypoints.astype(np.float32)
    highest = np.where(present, keypoints, -np.inf).max(1)
    lowest = np.where(present, keypoints, np.inf).min(1)
    return float((highest - lowest).max())


def examine(file: KeypointFile) -> Findings:
    """Reads all frames.

    Raises:
        KeypointFileError: Frames that cannot be read, numbers that are not finite, scores beyond
            0 to 1, or a clip twice in a protocol.
    """
    again = "make it again with `python -m preprocessing`"
    for protocol, parts in file.splits.items():
        clips = np.concatenate([np.empty(0, np.int64), *parts.values()])
        twice = np.flatnonzero(np.bincount(clips) > 1)
        if twice.size:
            raise KeypointFileError(f"{file.path} has {file.ids[twice[0]]!r} twice in the split "
                                    f"{protocol}; {again}")
    findings = Findings()
    for position in track(range(len(file)), "check", console=Console(stderr=True), transient=True):
        try:
            clip = file.clip(position)
        except OSError as error:
            raise KeypointFileError(f"{file.path} cannot be read at clip {file.ids[position]!r} "
                                    f"({error}); {again}") from error
        in_range = (clip.scores >= 0) & (clip.scores <= 1)  # false for NaN
        if not (in_range.all() and np.isfinite(clip.keypoints).all()):
            raise KeypointFileError(f"{file.path} has coordinates that are not finite or scores "
                                    f"beyond 0 to 1 in clip {clip.id!r}; {again}")
        findings.add(clip)
    return findings


def overview(file: KeypointFile) -> Table:
    """What the index of a file says: one row per fact, with its name and itself."""
    header, lengths, persons = file.header, file.num_frames, file.num_persons
    table = Table("fact", Column("value", overflow="fold"), show_header=False,
                  title=str(file.path), title_justify="left")
    table.add_row("data set", f"{header.dataset}, from {header.source}")
    table.add_row("joints", f"{header.layout.num_joints} of layout {header.layout.name}, "
                            f"{header.num_coordinates}D, {header.dtype}")
    table.add_row("clips", f"{len(file):,}")
    table.add_row("frames", f"{lengths.sum():,}; {lengths.min():,} to {lengths.max():,} a clip, "
                            f"median {np.median(lengths):,.0f}")
    table.add_row("persons", f"{persons.min()} to {persons.max()} a clip, "
                             f"mean {persons.mean():.2f}")
    table.add_row("classes", str(len(header.class_names)))
    for protocol in file.splits:
        counts = [f"{part} {positions.size:,}" for part, positions in _parts(file, protocol)]
        table.add_row(f"split {protocol}", ", ".join(counts))
    table.add_row("size", f"{file.path.stat().st_size / 1e6:.1f} MB")
    return table


def _parts(file: KeypointFile, protocol: str) -> list[tuple[str, NDArray[np.int64]]]:
    return [(part, file.splits[protocol][part]) for part in PARTS if part in file.splits[protocol]]


def check(path: Path) -> None:
    """Prints what is in a keypoint file, after a look at all of it.

    Raises:
        FileNotFoundError: There is no such file.
        KeypointFileError: The file is damaged, unfinished, of another program or version.
    """
    file = KeypointFile(path)
    findings = examine(file)
    table = overview(file)
    table.add_row("missing joints", f"{findings.missing / findings.joints:.2%}")
    if file.header.num_coordinates == 2:
        table.add_row("joints out of frame", f"{findings.outside / findings.joints:.2%}")
    table.add_row("clips of one frame", _some(findings.single))
    table.add_row("clips without motion", _some(findings.still))
    console = Console()
    console.print(table)
    console.print(_classes(file))


def _some(clips: Sequence[str]) -> str:
    named = ", ".join(clips[:_NAMED]) + ", ..." * (len(clips) > _NAMED)
    return f"{len(clips):,}: {named}" if clips else "0"


def _classes(file: KeypointFile) -> Table:
    """How many clips of each class there are in all, and in the parts of each protocol."""
    table = Table("class", "clips", title="clips per class", title_justify="left")
    columns = [[file.label]]
    for protocol in file.splits:
        parts = _parts(file, protocol)
        table.add_column(f"{protocol}: {'/'.join(part for part, _ in parts)}")
        columns.append([file.label[positions] for _, positions in parts])
    names = list(enumerate(file.header.class_names))
    if (file.label == -1).any():
        names.append((-1, "(not known)"))
    for label, name in names:
        table.add_row(name, *("/".join(f"{(labels == label).sum():,}" for labels in column)
                              for column in columns))
    return table
