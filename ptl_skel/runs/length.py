"""The length of a training without ``trainer.max_epochs``."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ptl_skel.errors import UserError


@dataclass
class Length:
    """The length of a training without ``trainer.max_epochs``: the longer of the two.

    What counts is the number of steps, so a small data set needs more epochs than a large one.

    Args:
        passes: Minimum number of passes over the training clips.
        clips: Minimum number of clips, including repetitions.

    Raises:
        UserError: One of them is not positive.
    """

    passes: int = 30
    clips: int = 60_000

    def __post_init__(self) -> None:
        if min(self.passes, self.clips) < 1:
            raise UserError(f"--length.passes and --length.clips must be >= 1, got {self.passes} "
                            f"and {self.clips}")

    def epochs(self, training_clips: int) -> int:
        """Number of passes over that many training clips."""
        return max(self.passes, math.ceil(self.clips / max(1, training_clips)))
