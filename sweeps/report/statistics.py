"""What the difference between two arms is worth; pure functions of numbers.

Two things are left to chance in a comparison: which clips are in the test part, and which seeds
the runs began with. The 95 % interval of a difference covers both where both arms have two seeds or
more, else only the clips; `Difference.covers_seeds` records which. `compare` defines it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal, stats

Correct = Sequence[NDArray[np.bool_]]
"""For each fold, whether the run of each seed (row) is right about each clip (column)."""


@dataclass(frozen=True)
class Difference:
    """How much better one arm is than another.

    Attributes:
        value: Difference of the accuracies, -1..1.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p: Of the test that there is no difference; two-sided, not corrected for the number of arms.
        covers_seeds: The interval and the test cover seeds and clips; else clips only.
    """

    value: float
    low: float
    high: float
    p: float
    covers_seeds: bool


def compare(arm: Correct, baseline: Correct) -> Difference:
    """Accuracy of one arm minus that of another, on the same clips.

    Seeds of an arm are averaged for each clip, clips of each fold, then folds. The squared standard
    error is the sum of the variances that come from

    - clips: that of the paired differences of the clips. As Bonett and Price do, two more clips
      are assumed in all, one won by each arm, else arms that agree everywhere would have an
      interval without width;
    - seeds: that of the accuracies of the runs of each arm and fold, where all have two or more.

    Both hold the chance of a single answer, so their sum is on average a little too large.
    The interval is that of Student's t, its degrees of freedom Welch and Satterthwaite's, and the
    test asks whether 0 lies outside. If an arm has a single seed, the test is `swap_test`.

    Args:
        arm: Of each fold ``(S, N)``.
        baseline: Of the same folds and clips, ``(S', N)``; its seeds may be others.

    Reference:
        Bonett and Price, Adjusted Wald confidence interval for a difference of binomial
        proportions based on paired data, 2012. Welch, The generalization of Student's problem,
        1947.
    """
    folds = len(arm)
    covers_seeds = all(len(runs) > 1 for runs in [*arm, *baseline])
    variances: list[tuple[float, float]] = []  # each with its degrees of freedom
    value = centre = 0.0
    for one, other in zip(arm, baseline, strict=True):
        differences = one.mean(0) - other.mean(0)
        clips = len(differences) + 2 / folds
        mean = differences.sum() / clips
        spread = (np.square(differences).sum() + 2 / folds) / clips - mean**2
        variances.append((spread / clips, clips - 1))
        value += differences.mean() / folds
        centre += mean / folds
        if covers_seeds:
            variances += [(runs.mean(1).var(ddof=1) / len(runs), len(runs) - 1)
                          for runs in (one, other)]
    variance = sum(part for part, _ in variances)
    freedom = variance**2 / sum(part**2 / of_part for part, of_part in variances)
    error = math.sqrt(variance) / folds
    reach = stats.t.ppf(0.975, freedom) * error
    p = (2 * stats.t.sf(abs(centre) / error, freedom) if covers_seeds
         else swap_test(arm, baseline))
    return Difference(float(value), float(centre - reach), float(centre + reach), float(p),
                      covers_seeds)


def swap_test(arm: Correct, baseline: Correct) -> float:
    """How often arms that are equally good differ as much as these, for given runs.

    If they are equally good, the answers of the two to a clip may change places. Over all such
    swaps the distribution of the summed difference is known exactly; clips of all folds count
    alike. With one seed each this is McNemar's exact test.

    Args:
        arm: Of each fold ``(S, N)``.
        baseline: Of the same folds and clips, ``(S', N)``.

    Returns:
        The two-sided p.
    """
    unit = math.lcm(*(len(runs) for runs in [*arm, *baseline]))
    differences = np.concatenate([
        one.sum(0) * (unit // len(one)) - other.sum(0) * (unit // len(other))
        for one, other in zip(arm, baseline, strict=True)])
    chances = np.ones(1)
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        steps = np.zeros(2 * size * count + 1)
        steps[:: 2 * size] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        chances = signal.fftconvolve(chances, steps) if len(chances) > 1 else steps
    sums = np.abs(np.arange(len(chances)) - len(chances) // 2)
    return float(min(1.0, max(0.0, chances[sums >= abs(differences.sum())].sum())))


def holm(p: Sequence[float]) -> list[float]:
    """Values of p, corrected for their number.

    Reference:
        Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    order = np.argsort(p, kind="stable")
    corrected = np.minimum(1.0, np.maximum.accumulate(
        np.asarray(p)[order] * np.arange(len(p), 0, -1)))
    result = np.empty(len(p))
    result[order] = corrected
    return [float(value) for value in result]


def pareto_front(costs: Sequence[float], accuracies: Sequence[float]) -> list[bool]:
    """Whether nothing else is at least as cheap and as accurate, and better in one of the two."""
    points = list(zip(costs, accuracies, strict=True))
    return [not any(other_cost <= cost and other >= accuracy
                    and (other_cost, other) != (cost, accuracy) for other_cost, other in points)
            for cost, accuracy in points]


def recalls(label: NDArray[np.int64], predicted: NDArray[np.int64],
            classes: int) -> NDArray[np.float64]:
    """Share of the clips of each class that are recognised, ``(K,)``; NaN where it has none.

    Args:
        label: True classes, ``(N,)``; -1 where they are not known.
        predicted: ``(N,)``.
        classes: K.
    """
    shares: NDArray[np.float64] = confusion(label, predicted, classes).diagonal()
    return shares


def confusion(label: NDArray[np.int64], predicted: NDArray[np.int64],
              classes: int) -> NDArray[np.float64]:
    """Share of the clips of each true class (row) that got each class, ``(K, K)``.

    Rows of classes without a clip are NaN. Arguments as those of `recalls`.
    """
    known = label >= 0
    counts = np.zeros((classes, classes))
    np.add.at(counts, (label[known], predicted[known]), 1)
    clips = counts.sum(1, keepdims=True)
    shares: NDArray[np.float64] = np.where(clips > 0, counts / np.maximum(clips, 1), np.nan)
    return shares
