"""What the name of an NTU RGB+D sample says, and which samples train and test by it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from preprocessing.ntu_facts import (
    LAST_SETUP_60,
    NUM_CLASSES_60,
    TEST_CAMERA,
    TRAIN_SUBJECTS_60,
    TRAIN_SUBJECTS_120,
)

_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})", re.ASCII)


class Sample(NamedTuple):
    """The numbers in a name such as ``S001C002P003R001A050``; all of them begin at 1."""

    setup: int
    camera: int
    subject: int
    replication: int
    action: int


def parse_name(name: str) -> Sample:
    """The numbers in the name of a sample, without a suffix.

    Raises:
        ValueError: It is no name of a sample.
    """
    match = _NAME.fullmatch(name)
    sample = Sample(*map(int, match.groups())) if match else None
    if sample is None or min(sample) < 1:
        raise ValueError("it is not named like an NTU sample, e.g. S001C002P003R001A050")
    return sample


def find_edition(samples: Iterable[Sample]) -> int:
    """60 or 120: the edition of NTU RGB+D that these samples are from."""
    extended = any(sample.setup > LAST_SETUP_60 or sample.action > NUM_CLASSES_60
                   for sample in samples)
    return 120 if extended else 60


def official_splits(names: Sequence[str], edition: int) -> dict[str, dict[str, list[str]]]:
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
