from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW, ttest_ind

from sweeps.report.statistics import (
    average_protocols,
    compare,
    compare_splits,
    confusion,
    holm,
    noninferiority,
    pareto_front,
    pool,
    recalls,
    swap_test,
)

runs = st.integers(1, 3).flatmap(lambda seeds: arrays(bool, (seeds, 6)))


def test_the_interval_of_one_seed_is_that_of_bonett_and_price():
    arm = np.array([[1] * 30 + [0] * 20], bool)
    baseline = np.array([[1] * 24 + [0] * 6 + [1] * 2 + [0] * 18], bool)
    found = compare([arm], [baseline])
    # 6 clips are won, 2 are lost, of 50: with one more of each of 52.
    won, lost = 7 / 52, 3 / 52
    error = math.sqrt((won + lost - (won - lost) ** 2) / 52)
    reach = stats.t.ppf(0.975, 51) * error
    assert found.value == pytest.approx(4 / 50)
    assert (found.low, found.high) == pytest.approx((won - lost - reach, won - lost + reach))
    assert found.p == pytest.approx(stats.binomtest(2, 8).pvalue)
    assert not found.covers_seeds


def test_where_only_seeds_differ_the_test_is_welchs():
    """Runs that are right about a share of so many equal clips leave nothing to the clips."""
    clips = 200_000

    def arm(*shares):
        # The clips that are right are sampled again for each seed, so that no clip stands out.
        random = np.random.default_rng(0)
        return np.stack([random.permutation(clips) < share * clips for share in shares])
    one, other = (0.62, 0.70, 0.66, 0.71), (0.50, 0.61, 0.57)
    found = compare([arm(*one)], [arm(*other)])
    welch = stats.ttest_ind(one, other, equal_var=False)
    interval = welch.confidence_interval(0.95)
    assert found.covers_seeds
    assert found.value == pytest.approx(np.mean(one) - np.mean(other), abs=1e-4)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-3)
    assert found.p == pytest.approx(welch.pvalue, rel=0.02)


def test_folds_count_alike_whatever_their_size():
    big, small = np.ones((2, 90), bool), np.ones((2, 10), bool)
    found = compare([big, ~small], [~big, ~small])
    assert found.value == pytest.approx(0.5)
    assert found.low < found.value


def test_variances_of_folds_add_up():
    """Two folds that are equal halve the variance of one."""
    random = np.random.default_rng(1)
    arm, baseline = random.random((2, 1, 4000)) < [[[0.7]], [[0.6]]]
    one = compare([arm], [baseline])
    two = compare([arm, arm], [baseline, baseline])
    assert two.value == pytest.approx(one.value)
    assert (one.high - one.low) / (two.high - two.low) == pytest.approx(math.sqrt(2), rel=1e-3)


@pytest.mark.parametrize(("seeds", "spread"), [(2, 0.2), (3, 0.0), (3, 0.5), (5, 0.2)])
def test_the_interval_covers_the_truth(seeds, spread):
    """Two arms that are equally good, on clips of all degrees of difficulty: 0 is the truth."""
    random = np.random.default_rng(0)
    trials, clips, hits = 400, 300, 0
    for _ in range(trials):
        ease = random.normal(2, 2, clips)
        arms = [random.random((seeds, clips)) < 1 / (1 + np.exp(
            -ease - random.normal(0, 0.5, clips) - random.normal(0, spread, (seeds, 1))))
            for _ in range(2)]
        found = compare(arms[:1], arms[1:])
        hits += found.low <= 0 <= found.high
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high)
    assert 0.94 < hits / trials <= 1


@given(runs, runs)
def test_the_swap_test_counts_all_swaps(arm, baseline):
    differences = arm.mean(0) - baseline.mean(0)
    seen = abs(differences.sum()) - 1e-9
    swaps = [abs(np.dot(signs, differences)) >= seen
             for signs in itertools.product((-1, 1), repeat=6)]
    assert swap_test([arm], [baseline]) == pytest.approx(np.mean(swaps))
    halves = [arm[:, :2], arm[:, 2:]], [baseline[:, :2], baseline[:, 2:]]
    assert swap_test(*halves) == pytest.approx(np.mean(swaps))


@given(arrays(bool, (1, 40)), arrays(bool, (1, 40)))
def test_the_swap_test_of_single_seeds_is_mcnemars(arm, baseline):
    table = [[(arm & baseline).sum(), (arm & ~baseline).sum()],
             [(~arm & baseline).sum(), (~arm & ~baseline).sum()]]
    assert swap_test([arm], [baseline]) == pytest.approx(mcnemar(table, exact=True).pvalue)


@given(runs, runs)
def test_a_comparison_turned_round_is_the_same_with_the_other_sign(arm, baseline):
    there, back = compare([arm], [baseline]), compare([baseline], [arm])
    assert (back.value, back.low, back.high, back.p) == pytest.approx(
        (-there.value, -there.high, -there.low, there.p))
    assert there.low < there.high


def test_holms_correction():
    p = np.random.default_rng(0).uniform(0, 0.2, 20).round(2)  # with ties
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])


def test_holms_correction_by_hand():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([]) == []


def test_pareto_front():
    costs, accuracies = [1, 2, 3, 2, 1, 4], [0.5, 0.7, 0.6, 0.6, 0.5, 0.8]
    assert pareto_front(costs, accuracies) == [True, True, False, False, True, True]


def test_confusion_is_the_share_of_each_true_class():
    label, predicted = np.array([0, 0, 2, -1]), np.array([0, 1, 2, 0])
    np.testing.assert_array_equal(confusion(label, predicted, 3),
                                  [[0.5, 0.5, 0], [np.nan] * 3, [0, 0, 1]])
    np.testing.assert_array_equal(recalls(label, predicted, 3), [0.5, np.nan, 1])


class TestSplitsThatOverlap:
    def test_the_interval_by_hand(self):
        """Three splits, 10 clips tested and 40 trained on; differences of 3, 1 and 2 clips."""
        baseline = [np.array([[1] * 5 + [0] * 5], bool)] * 3
        arm = [np.array([[1] * (5 + more) + [0] * (5 - more)], bool) for more in (3, 1, 2)]
        found = compare_splits(arm, baseline, [40, 40, 40])
        # Variance of 0.3, 0.1 and 0.2 is 0.01; times 1/3 + 10/40.
        error = math.sqrt(0.01 * (1 / 3 + 1 / 4))
        assert (found.value, found.error, found.freedom) == pytest.approx((0.2, error, 2))
        reach = 4.302653 * error  # of Student's t with 2 degrees of freedom
        assert (found.low, found.high) == pytest.approx((0.2 - reach, 0.2 + reach))
        assert found.p == pytest.approx(2 * stats.t.sf(0.2 / error, 2))

    def test_seeds_are_averaged_and_sizes_may_differ(self):
        arm = [np.array([[1, 1], [1, 0]], bool), np.array([[1, 1, 1, 1]], bool)]
        baseline = [np.array([[1, 0]], bool), np.array([[1, 1, 0, 0], [0, 0, 0, 0]], bool)]
        found = compare_splits(arm, baseline, [8, 8])  # differences 0.25 and 0.75
        assert found.value == pytest.approx(0.5)
        assert found.error == pytest.approx(math.sqrt(0.125 * (1 / 2 + (2 / 8 + 4 / 8) / 2)))

    def test_equal_differences_are_not_known_exactly(self):
        same = [np.ones((1, 10), bool)] * 3
        found = compare_splits(same, same, [20] * 3)
        assert found.low < 0 < found.high
        assert found.p == 1

    def test_the_interval_covers_the_truth_where_the_usual_one_does_not(self):
        """Ten random splits of 60 clips; arms that learn equally well from what they train on."""
        random = np.random.default_rng(0)
        hits = usual = 0
        for _ in range(300):
            x = random.normal(size=(60, 4))
            label = x[:, :2].sum(1) + random.normal(0, 1, 60) > 0
            arms = [], []
            for _ in range(10):
                test = random.permutation(60) < 15
                for correct, seen in zip(arms, (x[:, [0, 2]], x[:, [1, 3]]), strict=True):
                    features = np.column_stack([seen, np.ones(60)])
                    weights = np.linalg.lstsq(features[~test], label[~test] - 0.5, rcond=None)[0]
                    correct.append(((features[test] @ weights > 0) == label[test])[None])
            found = compare_splits(*arms, [45] * 10)
            hits += found.low <= 0 <= found.high
            differences = [one.mean() - other.mean() for one, other in zip(*arms, strict=True)]
            usual += stats.ttest_1samp(differences, 0).pvalue >= 0.05
        assert hits / 300 > 0.9
        assert usual / 300 < 0.8


class TestNoninferiority:
    def test_of_one_seed_it_is_the_paired_test_of_statsmodels(self):
        random = np.random.default_rng(0)
        arm, baseline = random.random((2, 1, 50_000)) < [[[0.795]], [[0.8]]]
        found = noninferiority(compare([arm], [baseline]), 0.01)
        differences = arm[0].astype(float) - baseline[0]
        oracle = DescrStatsW(differences).ttest_mean(-0.01, alternative="larger")[1]
        assert found == pytest.approx(oracle, rel=1e-2)

    def test_of_seeds_it_is_the_unequal_variances_test_of_statsmodels(self):
        """Where clips add nothing: see `test_where_only_seeds_differ_the_test_is_welchs`."""
        clips, shares = 200_000, ((0.62, 0.70, 0.66, 0.71), (0.60, 0.69, 0.67))
        arms = [np.stack([np.random.default_rng(0).permutation(clips) < share * clips])
                for of_arm in shares for share in of_arm]
        arm, baseline = np.concatenate(arms[:4]), np.concatenate(arms[4:])
        found = noninferiority(compare([arm], [baseline]), 0.05)
        oracle = ttest_ind(*shares, alternative="larger", usevar="unequal", value=-0.05)[1]
        assert found == pytest.approx(oracle, rel=0.03)

    def test_it_agrees_with_the_interval(self):
        random = np.random.default_rng(3)
        seen = set()
        for _ in range(100):
            arm, baseline = random.random((2, 3, 200)) < 0.9
            found = compare([arm], [baseline])
            seen.add(noninferiority(found, 0.05) < 0.025)
            assert (noninferiority(found, 0.05) < 0.025) == (found.low > -0.05)
        assert seen == {True, False}

    @pytest.mark.parametrize("data_sets", [1, 3])
    def test_an_arm_worse_by_the_margin_rarely_passes(self, data_sets):
        """Simulated: the share of mistakes is at most 2.5 %, and equal arms do pass."""
        random = np.random.default_rng(1)

        def share(worse):
            passed = 0
            for _ in range(400):
                found = []
                for _ in range(data_sets):
                    ease = random.random(600)
                    arms = [random.random((3, 600)) < 0.7 - lost + 0.3 * ease
                            for lost in (worse, 0)]
                    found.append(compare(arms[:1], arms[1:]))
                passed += noninferiority(pool(found), 0.05) < 0.025
            return passed / 400
        assert share(0.05) < 0.04
        assert share(0.0) > 0.5


class TestPool:
    def test_one_data_set_is_itself(self):
        arm, baseline = np.random.default_rng(0).random((2, 3, 90)) < 0.8
        one = compare([arm], [baseline])
        pooled = pool([one])
        assert (pooled.value, pooled.low, pooled.high, pooled.p, pooled.freedom) == pytest.approx(
            (one.value, one.low, one.high, one.p, one.freedom))

    def test_data_sets_of_equal_size_are_like_folds(self):
        arm, baseline = np.random.default_rng(2).random((2, 2, 3, 500)) < [[[[0.8]]], [[[0.75]]]]
        folds = compare(list(arm), list(baseline))
        pooled = pool([compare([one], [other]) for one, other in zip(arm, baseline, strict=True)])
        assert pooled.value == pytest.approx(folds.value)
        assert (pooled.low, pooled.high) == pytest.approx((folds.low, folds.high), abs=1e-3)

    def test_protocols_of_a_data_set_do_not_count_as_independent(self):
        arm, baseline = np.random.default_rng(0).random((2, 3, 90)) < 0.8
        one = compare([arm], [baseline])
        twice = average_protocols([one, one])
        assert (twice.value, twice.low, twice.high, twice.p) == pytest.approx(
            (one.value, one.low, one.high, one.p))
        other = compare([baseline], [arm])
        assert average_protocols([one, other]).value == pytest.approx(0)

    def test_data_sets_count_alike_whatever_their_size(self):
        large, small = np.ones((2, 900), bool), np.ones((2, 10), bool)
        found = pool([compare([large], [~large]), compare([~small], [small])])
        assert found.value == 0
        assert found.low < 0 < found.high
