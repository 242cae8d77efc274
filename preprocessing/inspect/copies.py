"""Finds clips of the test or validation part that are in the training part as well."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence

from ptl_skel.storage import KeypointFile

_TRAINING, _TESTED = "train", ("val", "test")


def copies_of(file: KeypointFile, protocols: Sequence[str] | None = None) -> dict[str, str]:
    """Facts about copies of training clips in other parts, by name; reads the frames of all clips.

    A network has already seen such a clip in training, so accuracies may be too high. Only clips
    with exactly equal keypoints are found.

    Args:
        file: The keypoint file.
        protocols: The splits to look at; all by default.
    """
    content = functools.cache(functools.partial(_content, file))  # a clip is in many splits
    facts = {}
    for protocol in file.splits if protocols is None else protocols:
        parts = file.splits[protocol]
        if not any(part in parts for part in _TESTED):
            continue
        trained = {content(position): file.ids[position] for position in parts.get(_TRAINING, ())}
        for part in _TESTED:
            tested = parts.get(part, ())
            pairs = [(file.ids[position], trained[content(position)]) for position in tested
                     if content(position) in trained]
            if pairs:
                facts[f"training clips in {protocol}/{part}"] = _describe(pairs, len(tested))
    return facts


def _content(file: KeypointFile, position: int) -> bytes:
    """A digest of the keypoints of a clip and their shape."""
    keypoints = file.clip(position).keypoints
    digest = hashlib.blake2b(str(keypoints.shape).encode(), digest_size=16)
    digest.update(keypoints.tobytes())
    return digest.digest()


def _describe(pairs: Sequence[tuple[str, str]], tested: int) -> str:
    one, other = pairs[0]
    return (f"{len(pairs):,} of {tested:,} have exactly the keypoints of a training clip, e.g. "
            f"{one} those of {other}; accuracies may be too high")
