"""Keypoints as a worse pose estimator would give them, to test robustness; stateless, seeded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ptl_skel.data.dataset import KeypointBatch
from ptl_skel.data.transforms import displace
from ptl_skel.errors import UserError

Kind = Literal["drop", "displace", "low_scores"]
KINDS: tuple[Kind, ...] = ("drop", "displace", "low_scores")


@dataclass(frozen=True)
class Corruption:
    """Degrades the joints of every clip of a test.

    The corruption of a clip depends only on its index in the file and on the seed, so all networks
    that see the same number of frames are tested on the same keypoints.

    Args:
        kind: ``drop``: joints are missing in some frames; ``displace``: they are moved,
            independently in each frame; ``low_scores``: their scores are lowered.
        level: The share of joints that are missing; the standard deviation of the displacement
            along each axis, relative to the larger side of the box around the person; or the
            largest fraction by which scores are lowered.
        seed: Seed of the corruption.
    """

    kind: Kind
    level: float
    seed: int = 0

    def check(self) -> None:
        """Checks the arguments; the command-line parser would hide errors of a constructor.

        Raises:
            UserError: One of them is out of range.
        """
        if self.kind not in KINDS:
            raise UserError(f"`data.corrupt.kind` must be one of {', '.join(KINDS)}, got "
                            f"{self.kind!r}")
        if not 0 <= self.level <= 1:
            raise UserError(f"`data.corrupt.level` must lie in 0..1, got {self.level}")
        if self.seed < 0:
            raise UserError(f"`data.corrupt.seed` must be >= 0, got {self.seed}")

    def __call__(self, batch: KeypointBatch) -> KeypointBatch:
        """The batch with degraded keypoints ``(N, M, T, V, C)`` or scores ``(N, M, T, V)``."""
        keypoints, scores = batch["keypoints"], batch["scores"]
        if self.kind == "displace":
            noise = self._sample(batch["clip"], keypoints, normal=True)
            keypoints = displace(keypoints, scores, self.level, noise)
        else:
            chance = self._sample(batch["clip"], scores, normal=False)
            scores = scores * (chance >= self.level if self.kind == "drop"
                               else 1 - self.level * chance)
        return KeypointBatch(**{**batch.tensors, "keypoints": keypoints, "scores": scores})

    def _sample(self, clip: Tensor, like: Tensor, *, normal: bool) -> Tensor:
        """Random numbers for each clip, independent of the other clips in the batch."""
        sampled = []
        for number in clip.tolist():
            random = np.random.default_rng((self.seed, number))
            # Persons come first, so a clip gets the same numbers whatever the M of its batch.
            sampled.append(random.standard_normal(like.shape[1:], np.float32) if normal
                           else random.random(like.shape[1:], np.float32))
        return torch.from_numpy(np.stack(sampled)).to(like.device)
