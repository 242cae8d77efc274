"""Class probabilities of clips: written by a run, read and matched for comparisons of runs."""

from __future__ import annotations

import csv
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ptl_skel.atomic import replacing
from ptl_skel.errors import MissingFileError, UserError

PREDICTIONS = "predictions.npz"
"""The file in the folder of a run."""

ROUNDING = 1e-2
"""By how much a probability may exceed 1, in half precision."""


@dataclass(frozen=True)
class Predictions:
    """The predictions of a run for each clip of its test.

    Attributes:
        clip: Ids of the clips, ``(N,)``.
        label: True classes, ``(N,)``; -1 if not known.
        probabilities: ``(N, K)``; the mean over several views.
        class_names: K names.
    """

    clip: tuple[str, ...]
    label: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    class_names: tuple[str, ...]


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Writes ``predictions.npz``."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file, clip=np.array(predictions.clip), label=predictions.label,
            probabilities=predictions.probabilities,
            class_names=np.array(predictions.class_names))


def write_table(path: Path, predictions: Predictions) -> None:
    """Writes ``predictions.csv``: one line per clip with its most probable class."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("clip", "class", "probability"))
        rows.writerows((clip, name, f"{probability:.4f}")
                       for clip, name, probability in top_predictions(predictions))


def top_predictions(predictions: Predictions) -> list[tuple[str, str, float]]:
    """The id of each clip, its most probable class, and the probability of that class."""
    best = predictions.probabilities.argmax(1)
    return [(clip, predictions.class_names[number], float(probabilities[number]))
            for clip, number, probabilities
            in zip(predictions.clip, best, predictions.probabilities, strict=True)]


def read_predictions(run: Path) -> Predictions:
    """The ``predictions.npz`` of a run, given by the folder of the run or by the file itself.

    Raises:
        MissingFileError: There is no such file.
        UserError: It is damaged.
    """
    path = run if run.suffix == ".npz" else run / PREDICTIONS
    if not run.exists():
        raise MissingFileError(f"{run} does not exist; give the folder of a run, or its "
                               "predictions.npz")
    if run.suffix != ".npz" and run.is_file():
        raise UserError(f"{run} is neither the folder of a run nor an .npz file of predictions")
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist; `ptl-skel test` on a checkpoint of the "
                               "run writes one")
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is damaged, or was not written by `ptl-skel test` or `predict`")
    try:
        with np.load(path, allow_pickle=False) as file:
            names = ("clip", "label", "probabilities", "class_names")
            clip, label, probabilities, class_names = (file[name] for name in names)
        if clip.dtype.kind != "U" or label.dtype.kind not in "iu" or (
                probabilities.dtype.kind != "f"):
            raise ValueError("clips must be text, labels integers, and probabilities floats")
        if clip.ndim != 1 or clip.shape != label.shape or (
                (len(clip), len(class_names)) != probabilities.shape):
            raise ValueError("its arrays do not fit each other")
        if ((probabilities < 0) | (probabilities > 1 + ROUNDING)).any():
            raise ValueError("its probabilities must lie in 0..1; are they logits?")
        if len(label) and not -1 <= label.min() <= label.max() < len(class_names):
            raise ValueError("it has labels out of range")
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile,
            zlib.error) as error:
        raise UserError(f"{path} is damaged: {error}") from error
    return Predictions(tuple(clip.tolist()), label.astype(np.int64),
                       probabilities.astype(np.float32), tuple(class_names.tolist()))


def in_the_order_of(first: Predictions, file: Predictions, names: tuple[object, object],
                    ) -> Predictions:
    """Predictions of the same clips as the first, in its order.

    Args:
        first: Gives the order.
        file: Predictions to reorder.
        names: Names of the two, for messages.

    Raises:
        UserError: They are not of the same clips, or do not agree on labels or classes.
    """
    first_name, name = names
    place = {clip: i for i, clip in enumerate(file.clip)}
    if len(place) < len(file.clip):
        raise UserError(f"{name} holds a clip twice")
    if file.class_names != first.class_names:
        raise UserError(f"{name} has other classes than {first_name}")
    if other := sorted(place.keys() ^ set(first.clip)):
        raise UserError(f"{name} and {first_name} are not of the same clips: {len(other)} are in "
                        f"only one of them, e.g. {other[0]}")
    order = [place[clip] for clip in first.clip]
    if (file.label[order] != first.label).any():
        raise UserError(f"{name} has other labels than {first_name}")
    return Predictions(first.clip, first.label, file.probabilities[order], first.class_names)
