"""Intervals and tests for the difference between two arms; pure functions of numbers.

A comparison has two sources of variation: the clips of the test part, and the seeds of the runs.
The 95 % interval of a difference covers both if both arms have two seeds or more, else only the
clips; `Difference.covers_seeds` records which. `compare` defines it for one test and for folds,
`compare_splits` for overlapping splits, `average_protocols` over protocols of a data set, `pool`
over data sets.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import signal, stats

Correct = Sequence[NDArray[np.bool_]]
"""For each fold, whether the run of each seed (row) is right about each clip (column)."""


@dataclass(frozen=True)
class Difference:
    """The difference between two arms.

    Attributes:
        value: Difference of the accuracies, -1..1.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p: p-value of the test of no difference; two-sided, not corrected for the number of arms.
        covers_seeds: Whether the interval and the test cover seeds and clips, or only clips.
        error: Standard error.
        freedom: Degrees of freedom of Student's t for the interval.
    """

    value: float
    low: float
    high: float
    p: float
    covers_seeds: bool
    error: float
    freedom: float

    @property
    def centre(self) -> float:
        """The middle of the interval."""
        return (self.low + self.high) / 2


def compare(arm: Correct, baseline: Correct) -> Difference:
    """Accuracy of one arm minus that of another, on the same clips.

    Seeds of an arm are averaged for each clip, then clips of each fold, then folds. The squared
    standard error is the sum of the variances from

    - clips: that of the paired differences of the clips. As in Bonett and Price, two more clips are
      assumed in total, one won by each arm; otherwise the interval of arms that always agree would
      have no width;
    - seeds: that of the accuracies of the runs of each arm and fold, if all have two or more.

    Both include the variation of a single prediction, so their sum is on average a little too
    large. The interval uses Student's t with Welch-Satterthwaite degrees of freedom, and the test
    checks whether 0 is outside. If an arm has a single seed, the test is `swap_test`.

    Args:
        arm: Right or wrong, ``(S, N)`` for each fold.
        baseline: The same for the same folds and clips, ``(S', N)``; its seeds may differ.

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
    found = _difference(value, centre, [(part / folds**2, of_part) for part, of_part in variances],
                        covers_seeds)
    return found if covers_seeds else replace(found, p=swap_test(arm, baseline))


def compare_splits(arm: Correct, baseline: Correct, train_clips: Sequence[int]) -> Difference:
    """Accuracy of one arm minus that of another, over repeated splits of the same clips.

    Clips are used for test and training in several splits, so these are not independent: the
    variance of the mean is that between splits times ``1 / J + n_test / n_train``, with ``J - 1``
    degrees of freedom. The differences of splits, each the mean over seeds, include the variation
    of clips, training sets and seeds. Their spread is at least that of rounding to one prediction;
    otherwise the interval of equal differences would have no width.

    Args:
        arm: Right or wrong, ``(S, N)`` for each split.
        baseline: The same for the same splits and clips, ``(S', N)``.
        train_clips: Number of training clips in each split.

    Reference:
        Nadeau and Bengio, Inference for the generalization error, 2003, section 4, the corrected
        resampled t-test.
    """
    splits = len(arm)
    differences = [one.mean() - other.mean() for one, other in zip(arm, baseline, strict=True)]
    predictions = min(one.size for one in [*arm, *baseline])
    between = max(float(np.var(differences, ddof=1)), 1 / (12 * predictions**2))
    ratio = statistics.fmean(one.shape[1] / trained
                             for one, trained in zip(arm, train_clips, strict=True))
    value = float(np.mean(differences))
    return _difference(value, value, [((1 / splits + ratio) * between, splits - 1)], True)


def pool(differences: Sequence[Difference]) -> Difference:
    """The mean of differences on several data sets, with equal weights.

    Data sets are independent: the squared standard errors add up, with Welch-Satterthwaite degrees
    of freedom. The result holds for these data sets, not for others.
    """
    number = len(differences)
    return _difference(
        statistics.fmean(one.value for one in differences),
        statistics.fmean(one.centre for one in differences),
        [((one.error / number) ** 2, one.freedom) for one in differences],
        all(one.covers_seeds for one in differences))


def average_protocols(differences: Sequence[Difference]) -> Difference:
    """The mean of differences by several protocols of one data set, such as X-Sub and X-View.

    Their training and test clips overlap, so their errors are correlated to an unknown degree. The
    standard error is the largest possible one: the mean of theirs.
    """
    return _difference(
        statistics.fmean(one.value for one in differences),
        statistics.fmean(one.centre for one in differences),
        [(statistics.fmean(one.error for one in differences) ** 2,
          min(one.freedom for one in differences))],
        all(one.covers_seeds for one in differences))


def noninferiority(difference: Difference, margin: float) -> float:
    """One-sided p-value for an arm being worse than the baseline by `margin` or more.

    With p below 0.025 this is rejected: the 95 % interval of the difference ends above ``-margin``.

    Args:
        difference: Difference of the arm from the baseline.
        margin: In 0..1.

    Reference:
        Piaggio et al., Reporting of noninferiority and equivalence randomized trials, 2012.
    """
    return float(stats.t.sf((difference.centre + margin) / difference.error, difference.freedom))


def _difference(value: float, centre: float, variances: Sequence[tuple[float, float]],
                covers_seeds: bool) -> Difference:
    """A difference whose squared error is the sum of variances, each with degrees of freedom."""
    variance = sum(part for part, _ in variances)
    freedom = variance**2 / sum(part**2 / of_part for part, of_part in variances)
    error = math.sqrt(variance)
    reach = stats.t.ppf(0.975, freedom) * error
    return Difference(float(value), float(centre - reach), float(centre + reach),
                      float(2 * stats.t.sf(abs(centre) / error, freedom)), covers_seeds, error,
                      float(freedom))


def swap_test(arm: Correct, baseline: Correct) -> float:
    """Probability that equally good arms differ by at least as much as these, for given runs.

    If they are equally good, their predictions for a clip may be swapped. Over all such swaps the
    distribution of the summed difference is known exactly; clips of all folds have equal weights.
    With one seed each this is McNemar's exact test.

    Args:
        arm: Of each fold ``(S, N)``.
        baseline: Of the same folds and clips, ``(S', N)``.

    Returns:
        The two-sided p-value.
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
    """The p-values, corrected for their number.

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
    """Whether each point is on the front: no other is as cheap and accurate, and better in one."""
    points = list(zip(costs, accuracies, strict=True))
    return [not any(other_cost <= cost and other >= accuracy
                    and (other_cost, other) != (cost, accuracy) for other_cost, other in points)
            for cost, accuracy in points]


def recalls(label: NDArray[np.int64], predicted: NDArray[np.int64],
            classes: int) -> NDArray[np.float64]:
    """Share of correctly recognised clips of each class, ``(K,)``; NaN for classes without clips.

    Args:
        label: True classes, ``(N,)``; -1 if not known.
        predicted: ``(N,)``.
        classes: K.
    """
    shares: NDArray[np.float64] = confusion(label, predicted, classes).diagonal()
    return shares


def confusion(label: NDArray[np.int64], predicted: NDArray[np.int64],
              classes: int) -> NDArray[np.float64]:
    """Share of the clips of each true class (row) predicted as each class, ``(K, K)``.

    Rows of classes without clips are NaN. Arguments as in `recalls`.
    """
    known = label >= 0
    counts = np.zeros((classes, classes))
    np.add.at(counts, (label[known], predicted[known]), 1)
    clips = counts.sum(1, keepdims=True)
    shares: NDArray[np.float64] = np.where(clips > 0, counts / np.maximum(clips, 1), np.nan)
    return shares
