"""Selects the clips of a file for training, validation and test."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptl_skel.storage import PARTS, KeypointFile


def choose_parts(file: KeypointFile, protocol: str, *, val_fraction: float, val_seed: int,
                 val_on_test: bool) -> tuple[dict[str, NDArray[np.int64]], str]:
    """Indices of the labelled clips of each part, and how the validation part was chosen.

    Args:
        file: The file.
        protocol: One of its protocols.
        val_fraction: Fraction of the training part to hold out if the protocol has no validation
            part.
        val_seed: Seed of that choice.
        val_on_test: Whether the validation part is the test part.

    Raises:
        KeypointFileError: The file has no such protocol.
    """
    parts = {part: file.split(protocol, part) for part in PARTS}
    parts = {part: clips[file.label[clips] >= 0] for part, clips in parts.items()}
    if val_on_test:
        parts["val"], how = parts["test"], "test part"
    elif len(parts["val"]) or not val_fraction:
        how = "val part"
    else:
        held_out, how = _hold_out(file, parts["train"], val_fraction, val_seed)
        parts["train"], parts["val"] = parts["train"][~held_out], parts["train"][held_out]
    return parts, how if len(parts["val"]) else "none"


def _hold_out(file: KeypointFile, clips: NDArray[np.int64], fraction: float, seed: int
              ) -> tuple[NDArray[np.bool_], str]:
    """Which training clips are held out for validation, and how they were chosen."""
    random = np.random.default_rng(seed)
    subjects = file.subject[clips]
    if len(clips) and subjects.min() >= 0 and len(np.unique(subjects)) > 1:
        chosen = random.permutation(np.unique(subjects))[:-1]
        counts = np.cumsum([(subjects == subject).sum() for subject in chosen])
        enough = int(np.searchsorted(counts, fraction * len(clips)))
        chosen = np.sort(chosen[: enough + 1])
        return np.isin(subjects, chosen), f"held-out subjects {', '.join(map(str, chosen))}"
    held_out = np.zeros(len(clips), bool)
    labels = file.label[clips]
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        held_out[members[: round(fraction * len(members))]] = True
    return held_out, "clips held out of each class"
