"""Reads every frame of a keypoint file, and reports its contents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table

from ptl_skel.storage import PARTS, Clip, KeypointFile, KeypointFileError

from .copies import copies_of
from .doubts import doubts_of

# A clip is still if no joint leaves a square or cube of this side: a pixel, a millimetre.
_STILL = {2: 1.0, 3: 0.001}
_NAMED = 5  # suspicious clips whose names are printed


@dataclass
class Findings:
    """Statistics of the frames of a file.

    Attributes:
        joints: Number of joints of all persons in all frames.
        missing_of_joint: Number of missing joints (score 0) for each joint, ``(V,)``.
        outside_of_joint: Number of joints present but outside the frame, ``(V,)``; 2D only.
        missing_shares: Share of missing joints of each clip.
        single: Ids of clips of one frame.
        still: Ids of clips of several frames in which no joint moves.
        zero: Ids of clips in which all coordinates are 0.
    """

    joints: int = 0
    missing_of_joint: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    outside_of_joint: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    missing_shares: list[float] = field(default_factory=list)
    single: list[str] = field(default_factory=list)
    still: list[str] = field(default_factory=list)
    zero: list[str] = field(default_factory=list)

    @property
    def missing(self) -> int:
        """Number of joints with score 0."""
        return int(self.missing_of_joint.sum())

    @property
    def outside(self) -> int:
        """Number of joints that are present but outside the frame."""
        return int(self.outside_of_joint.sum())

    @property
    def suspicious(self) -> dict[str, list[str]]:
        """Suspicious clips, by the reason."""
        return {"clips of one frame": self.single, "clips without motion": self.still,
                "clips at the origin": self.zero}

    def add(self, clip: Clip) -> None:
        """Adds a clip to the counts."""
        present = clip.scores > 0
        self.joints += present.size
        self.missing_of_joint = self.missing_of_joint + (~present).sum((0, 1))
        self.missing_shares.append(float((~present).mean()))
        if clip.keypoints.shape[-1] == 2:
            height, width = clip.frame_size
            beyond = (clip.keypoints < 0) | (clip.keypoints > (width - 1, height - 1))
            beyond_edge = beyond.any(-1) & present
            self.outside_of_joint = self.outside_of_joint + beyond_edge.sum((0, 1))
        if not clip.keypoints[present].any():
            self.zero.append(clip.id)
        elif clip.keypoints.shape[1] == 1:
            self.single.append(clip.id)
        elif _extent(clip) <= _STILL[clip.keypoints.shape[-1]]:
            self.still.append(clip.id)


def _extent(clip: Clip) -> float:
    """The largest movement along an axis, over all present joints."""
    present = (clip.scores > 0)[..., None]
    keypoints = clip.keypoints.astype(np.float32)
    highest = np.where(present, keypoints, -np.inf).max(1)
    lowest = np.where(present, keypoints, np.inf).min(1)
    return float((highest - lowest).max())


def examine(file: KeypointFile) -> Findings:
    """Reads all frames.

    Raises:
        KeypointFileError: Frames cannot be read, numbers are not finite, scores are outside 0 to 1,
            or a clip is twice in a protocol.
    """
    again = "make it again with `ptl-skel preprocess`"
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
                                    f"outside 0 to 1 in clip {clip.id!r}; {again}")
        findings.add(clip)
    return findings


def print_table(table: Table) -> None:
    """Prints a table; text that looks like markup, e.g. a class ``[up]``, is not interpreted."""
    Console(markup=False, emoji=False).print(table)


def tabulate(file: KeypointFile, facts: Mapping[str, str]) -> Table:
    """A table with one row per fact, under the path of the file."""
    table = Table("fact", Column("value", overflow="fold"), show_header=False,
                  title=str(file.path), title_justify="left")
    for name, fact in facts.items():
        table.add_row(name, fact)
    return table


def facts_of(file: KeypointFile) -> dict[str, str]:
    """Facts from the index of a file, by name."""
    header, lengths, persons = file.header, file.num_frames, file.num_persons
    facts = {
        "data set": f"{header.dataset}, from {header.source}",
        "joints": f"{header.layout.num_joints} of layout {header.layout.name}, "
                  f"{header.num_coordinates}D, {header.dtype}",
        "clips": f"{len(file):,}",
        "frames": f"{lengths.sum():,}; {lengths.min():,} to {lengths.max():,} a clip, "
                  f"median {np.median(lengths):,.0f}" if lengths.min() < lengths.max() else
                  f"{lengths.sum():,}; {lengths[0]:,} a clip",
        "persons": f"{persons.min()} to {persons.max()} a clip, mean {persons.mean():.2f}"
                   if persons.min() < persons.max() else f"{persons.min()} a clip",
        "classes": str(len(header.class_names)),
    }
    if lengths.max() == 1:
        facts["clips of one frame"] = (f"{len(file):,}; does each file hold a frame instead of a "
                                       "clip?")
    if file.fps.any():
        known = file.fps[file.fps > 0]
        facts["frames per second"] = f"{known.min():g} to {known.max():g}" \
            if known.min() < known.max() else f"{known[0]:g}"
        if len(known) < len(file):
            facts["frames per second"] += f", unknown for {len(file) - len(known):,} clips"
    for protocol in file.splits:
        counts = [f"{part} {positions.size:,}" for part, positions in parts_of(file, protocol)]
        how = file.how_split[protocol]
        facts[f"split {protocol}"] = ", ".join(counts) + (f" ({how})" if how else "")
    unlabelled = int((file.label == -1).sum())
    if unlabelled == len(file):
        facts["labels"] = "none: for `ptl-skel predict` only; --labels names the classes of clips"
    elif unlabelled:
        facts["clips without a label"] = f"{unlabelled:,}"
    if not file.splits and unlabelled < len(file):
        facts["splits"] = ("none, and training needs one: --labels with a column split, or "
                           "`ptl-skel split`")
    for protocol, parts in file.splits.items():
        used = np.concatenate([np.empty(0, np.int64), *parts.values()])
        if len(used) < len(file):
            facts[f"clips in no part of {protocol}"] = f"{len(file) - len(used):,}"
        if "train" not in parts:
            facts[f"training clips in {protocol}"] = "none"
        trained = set(file.label[parts.get("train", used[:0])].tolist())
        untrained = [name for label, name in enumerate(header.class_names) if label not in trained]
        if untrained and "train" in parts:
            facts[f"classes without training clips, {protocol}"] = _list_some(untrained)
    alike = Counter(name.strip().casefold() for name in header.class_names)
    twins = [name for name in header.class_names if alike[name.strip().casefold()] > 1]
    if twins:
        facts["classes that differ only in case"] = _list_some(twins)
    empty = sorted({*range(len(header.class_names))} - {*file.label.tolist()})
    if empty and unlabelled < len(file):
        facts["classes without clips"] = _list_some([header.class_names[label] for label in empty])
        if empty == [0] and header.class_names[0] == "0":
            facts["classes without clips"] += "; do the labels count from 1?"
    facts["size"] = f"{file.path.stat().st_size / 1e6:.1f} MB"
    return facts


def parts_of(file: KeypointFile, protocol: str) -> list[tuple[str, NDArray[np.int64]]]:
    """The parts of a protocol, and their numbers of clips."""
    return [(part, file.splits[protocol][part]) for part in PARTS if part in file.splits[protocol]]


def check_file(path: Path) -> tuple[KeypointFile, Findings, dict[str, str]]:
    """Reads all of a keypoint file, and prints its contents.

    Returns:
        The file, statistics of its frames, and facts about both, by name.

    Raises:
        MissingFileError: There is no such file.
        KeypointFileError: The file is damaged, unfinished, from another program or version.
    """
    file = KeypointFile(path)
    findings = examine(file)
    facts = facts_of(file)
    facts["missing joints"] = f"{findings.missing / findings.joints:.2%}"
    if file.header.num_coordinates == 2:
        facts["joints out of frame"] = f"{findings.outside / findings.joints:.2%}"
    facts |= {what: _list_some(clips) for what, clips in findings.suspicious.items()}
    facts |= doubts_of(file) | copies_of(file)
    print_table(tabulate(file, facts))
    print_table(_classes(file))
    return file, findings, facts


def _list_some(clips: Sequence[str]) -> str:
    named = ", ".join(clips[:_NAMED]) + ", ..." * (len(clips) > _NAMED)
    return f"{len(clips):,}: {named}" if clips else "0"


def class_counts(file: KeypointFile, labels: NDArray[np.int32]
                 ) -> tuple[list[str], NDArray[np.int64]]:
    """Names of the classes, and the number of labels of each.

    The last one is for clips without a known class, if the file has any.
    """
    names = list(file.header.class_names)
    counts = np.bincount(labels[labels >= 0], minlength=len(names))
    if (file.label == -1).any():
        names.append("(unknown)")
        counts = np.append(counts, (labels == -1).sum())
    return names, counts


def _classes(file: KeypointFile) -> Table:
    """Number of clips of each class in total, and in the parts of each protocol."""
    table = Table("class", "clips", title="clips per class", title_justify="left")
    names, counts = class_counts(file, file.label)
    columns = [[f"{count:,}" for count in counts]]
    for protocol in file.splits:
        parts = parts_of(file, protocol)
        table.add_column(f"{protocol}: {'/'.join(part for part, _ in parts)}")
        of_parts = [class_counts(file, file.label[positions])[1] for _, positions in parts]
        columns.append(["/".join(f"{count:,}" for count in of_class)
                        for of_class in zip(*of_parts, strict=True)])
    for row in zip(names, *columns, strict=True):
        table.add_row(*row)
    return table
