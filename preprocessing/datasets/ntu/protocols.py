"""The numbers in the name of an NTU RGB+D sample, and the official splits derived from them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from ...core.source import Unusable
from .facts import (
    CLASS_NAMES,
    LAST_SETUP_60,
    LAST_SETUP_120,
    NUM_ACTIONS,
    NUM_CAMERAS,
    NUM_CLASSES_60,
    NUM_REPLICATIONS,
    TEST_CAMERA,
    TRAIN_SUBJECTS_60,
    TRAIN_SUBJECTS_120,
)

Edition = Literal[60, 120]

ABSENT = "it is not in the input"
"""Why a sample is skipped although it should be there."""

_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})", re.ASCII)


class Sample(NamedTuple):
    """The numbers in a name such as ``S001C002P003R001A050``; all of them start at 1."""

    setup: int
    camera: int
    subject: int
    replication: int
    action: int

    def __str__(self) -> str:
        return "S{:03}C{:03}P{:03}R{:03}A{:03}".format(*self)


def parse_name(name: str) -> Sample:
    """The numbers in the name of a sample, without a suffix.

    Raises:
        Unusable: It is not the name of a sample.
    """
    match = _NAME.fullmatch(name)
    sample = Sample(*map(int, match.groups())) if match else None
    if sample is None or min(sample) < 1:
        raise Unusable("it is not named like an NTU sample, e.g. S001C002P003R001A050")
    return sample


def find_edition(samples: Iterable[Sample]) -> Edition:
    """60 or 120: the edition of NTU RGB+D that these samples are from."""
    return 60 if all(map(is_of_60, samples)) else 120


def is_of_60(sample: Sample) -> bool:
    """Whether a sample can be from NTU RGB+D 60."""
    return sample.setup <= LAST_SETUP_60 and sample.action <= NUM_CLASSES_60


def is_of_120(sample: Sample) -> bool:
    """Whether a sample can be from NTU RGB+D 120, which includes 60."""
    return sample.setup <= LAST_SETUP_120 and sample.action <= len(CLASS_NAMES)


def complete(samples: Iterable[Sample]) -> Iterator[Sample]:
    """All existing samples of the performers and setups of the given ones.

    Any sample of a performer in a setup implies the others.
    """
    for setup, subject in sorted({(sample.setup, sample.subject) for sample in samples}):
        first = 1 if setup <= LAST_SETUP_60 else 1 + NUM_CLASSES_60
        for camera, replication, action in itertools.product(
                range(1, NUM_CAMERAS + 1), range(1, NUM_REPLICATIONS + 1),
                range(first, first + NUM_ACTIONS)):
            yield Sample(setup, camera, subject, replication, action)


def official_splits(names: Sequence[str], edition: Edition) -> dict[str, dict[str, list[str]]]:
    """Names of the samples in each part of ``xsub`` and ``xview`` (60) or ``xset`` (120).

    Reference:
        NTU RGB+D, arXiv 1604.02808; NTU RGB+D 120, arXiv 1905.04757.
    """
    trains: dict[str, Callable[[Sample], bool]] = {
        "xsub": lambda sample: sample.subject in TRAIN_SUBJECTS_60,
        "xview": lambda sample: sample.camera != TEST_CAMERA,
    } if edition == 60 else {
        "xsub": lambda sample: sample.subject in TRAIN_SUBJECTS_120,
        "xset": lambda sample: sample.setup % 2 == 0,
    }
    samples = [(name, parse_name(name)) for name in names]
    return {protocol: {"train": [name for name, sample in samples if is_train(sample)],
                       "test": [name for name, sample in samples if not is_train(sample)]}
            for protocol, is_train in trains.items()}
