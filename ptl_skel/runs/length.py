"""How long a training takes where nobody said it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ptl_skel.errors import UserError


@dataclass
class Length:
    """A training without ``trainer.max_epochs``: as long as both of these ask for.

    A network learns in steps, so a small data set needs more epochs than a large one.

    Args:
        passes: At least so many passes over the training clips.
        clips: At least so many clips, repeated ones counted.

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
        """Passes over so many training clips."""
        return max(self.passes, math.ceil(self.clips / max(1, training_clips)))
