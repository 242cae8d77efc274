"""The sentences that follow from a comparison: whether an arm is as accurate as the baseline."""

from __future__ import annotations

from collections.abc import Iterable

from .statistics import Difference
from .tables import p_text

ALPHA = 0.025
"""Level at which inferiority by the margin or more is rejected: one side of a 95 % interval."""

METHOD = (
    "Not inferior within a margin: a one-sided test rejects, at 2.5 %, that the arm is worse than "
    "the baseline by the margin or more; p with Holm's correction over the arms. Without the "
    "correction, that is a 95 % interval that ends above minus the margin")
"""Explanation of the sentences."""


def conclude(arms: Iterable[tuple[str, Difference, float]], baseline: str, margin: float
             ) -> list[str]:
    """A sentence for each arm.

    Args:
        arms: Name, difference to the baseline, and corrected p-value of the test of inferiority.
        baseline: Name of the baseline.
        margin: In 0..1.
    """
    points = f"{100 * margin:g} point{'s' * (margin != 0.01)}"
    sentences = []
    for name, difference, p in arms:
        statement = f"{name} is not inferior to {baseline} within {points}"
        numbers = (f"Δ {100 * difference.value:+.2f}, 95 % interval {100 * difference.low:+.2f} to "
                   f"{100 * difference.high:+.2f}, p {p_text(p)}")
        sentences.append(f"{statement} ({numbers})" if p < ALPHA else
                         f"it is not shown that {statement} ({numbers})")
    return sentences
