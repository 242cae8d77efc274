"""Scores segments against the ground truth: the usual metrics of action segmentation.

Reference:
    Lea et al., "Temporal Convolutional Networks for Action Segmentation and Detection", arXiv
    1611.05267: F1 at an overlap. Farha and Gall, "MS-TCN", arXiv 1903.01945: all three metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Classes = NDArray[np.integer[Any]]

UNKNOWN = -1
"""Class of frames without a label, which do not form segments."""


def to_runs(classes: Classes) -> list[tuple[int, int, int]]:
    """Segments from classes of frames ``(T,)``: class, first frame, the one after the last."""
    edges = np.flatnonzero(np.diff(classes)) + 1
    starts, ends = np.r_[0, edges], np.r_[edges, len(classes)]
    return [(int(classes[start]), int(start), int(end))
            for start, end in zip(starts, ends, strict=True)
            if end > start and classes[start] != UNKNOWN]


def frame_accuracy(predicted: Classes, true: Classes) -> float:
    """Share of frames ``(T,)`` with the right class."""
    return float((predicted == true).mean())


def edit_score(predicted: Classes, true: Classes) -> float:
    """Similarity of the orders of the segments, in 0..1, independent of their lengths.

    One minus the Levenshtein distance of the sequences of classes, divided by the longer length.
    """
    one, other = ([run[0] for run in to_runs(each)] for each in (predicted, true))
    row = list(range(len(other) + 1))
    for i, label in enumerate(one, 1):
        above = row
        row = [i]
        for j, wanted in enumerate(other, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (label != wanted)))
    return 1 - row[-1] / max(len(one), len(other), 1)


def count_hits(predicted: Classes, true: Classes, overlap: float) -> tuple[int, int, int]:
    """Numbers of hits, false segments and missed segments in a video.

    In order, each predicted segment is compared with the true one of its class that it overlaps
    most (intersection over union). It is a hit if the overlap is at least `overlap` and the true
    segment has not been matched before.

    Args:
        predicted: Classes of the frames, ``(T,)``.
        true: ``(T,)``.
        overlap: In 0..1.
    """
    wanted = to_runs(true)
    taken = [False] * len(wanted)
    hits = wrong = 0
    for label, start, end in to_runs(predicted):
        shares = [_overlap((start, end), run[1:]) if run[0] == label else 0.0 for run in wanted]
        best = int(np.argmax(shares)) if shares else -1
        if best >= 0 and shares[best] >= overlap and shares[best] > 0 and not taken[best]:
            taken[best] = True
            hits += 1
        else:
            wrong += 1
    return hits, wrong, len(wanted) - hits


def f1_score(pairs: Sequence[tuple[Classes, Classes]], overlap: float) -> float:
    """F1 of segments for several videos: predicted and true classes of the frames of each."""
    hits, wrong, missed = np.sum([count_hits(*pair, overlap) for pair in pairs], 0)
    return float(2 * hits / max(2 * hits + wrong + missed, 1))


def score_segments(pairs: Sequence[tuple[Classes, Classes]]) -> dict[str, float]:
    """All metrics for several videos: predicted and true classes of the frames of each."""
    predicted, true = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    return {**{f"f1_{percent}": f1_score(pairs, percent / 100) for percent in (10, 25, 50)},
            "edit": float(np.mean([edit_score(*pair) for pair in pairs])),
            "frame_accuracy": frame_accuracy(predicted, true)}


def _overlap(one: tuple[int, int], other: tuple[int, ...]) -> float:
    """Intersection over union of two spans of frames."""
    common = min(one[1], other[1]) - max(one[0], other[0])
    return max(0.0, common / (max(one[1], other[1]) - min(one[0], other[0])))
