from itertools import combinations
from math import comb

import numpy as np
import pytest
from scipy import stats

from benchmarks.comparisons import (
    AGENTS,
    ALTERNATIVES,
    SHAPES,
    STEPS,
    TWO_HUMPED,
    family_wise,
    how_often,
    rejections,
    sizes,
    welch,
)
from benchmarks.coverage import FINAL_RETURNS
from pgzoo.compare.permutation import decidable, least_p, mean_test, rank_test


def test_by_hand():
    """Of the 20 ways to deal out, two are as extreme; with a tie across, two of 20, too."""
    assert rank_test([1, 2, 3], [4, 5, 6]) == pytest.approx(2 / 20)
    assert mean_test([1, 2, 3], [4, 5, 6]) == pytest.approx(2 / 20)
    # Sums of two of the midranks 1, 2.5, 2.5, 4, of expectation 5: 3.5 twice, 6.5 twice, 5 twice.
    assert rank_test([1, 2], [2, 3]) == pytest.approx(4 / 6)


def test_against_scipy_without_ties():
    rng = np.random.default_rng(0)
    for m, n in ((3, 3), (5, 8), (10, 10), (20, 20)):
        x, y = rng.normal(size=m), rng.normal(size=n) + 0.7
        expected = stats.mannwhitneyu(x, y, method="exact").pvalue
        assert rank_test(x, y) == pytest.approx(expected, rel=1e-9)
        assert rank_test(y, x) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("m", [3, 5])
def test_against_all_ways_with_ties_and_failures(m):
    rng = np.random.default_rng(1)
    for _ in range(20):
        pooled = rng.integers(4, size=9).astype(float)
        pooled[pooled == 0] = -np.inf
        ranks = stats.rankdata(pooled)
        away = [abs(ranks[list(chosen)].sum() - m * 10 / 2) for chosen in combinations(range(9), m)]
        expected = np.mean(np.array(away) >= abs(ranks[:m].sum() - m * 10 / 2) - 1e-9)
        assert rank_test(pooled[:m], pooled[m:]) == pytest.approx(expected)


def test_means_against_scipy():
    rng = np.random.default_rng(0)
    for _ in range(5):
        x, y = rng.integers(9, size=6), rng.integers(9, size=6) + 2

        def difference(a, b, axis):
            return np.mean(a, axis=axis) - np.mean(b, axis=axis)

        expected = stats.permutation_test((x, y), difference, n_resamples=np.inf, vectorized=True)
        assert mean_test(x, y) == pytest.approx(expected.pvalue)


def test_means_of_many_runs_are_drawn_always_alike():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 20))
    assert comb(40, 20) > 200_000
    assert mean_test(x, y) == mean_test(x, y) == pytest.approx(welch(x, y), abs=0.02)
    assert mean_test(x, y + 9) == 1 / 20_000


def test_equal_runs_are_not_told_apart():
    assert rank_test([500] * 10, [500] * 10) == 1
    assert mean_test([500] * 10, [500] * 10) == 1


def test_of_very_many_runs_it_is_the_normal_approximation():
    rng = np.random.default_rng(0)
    x, y = rng.integers(9, size=60), rng.integers(9, size=60) + 1
    exact = rank_test(x, y)
    approximate = stats.mannwhitneyu(x, y, method="asymptotic").pvalue
    assert approximate == pytest.approx(exact, rel=0.05)
    many = rank_test([*x, -np.inf], [*y, np.inf])
    assert many < exact
    assert rank_test([0] * 600, [0] * 600) == 1


def test_least_p_values():
    assert least_p(3, 3) == pytest.approx(0.1)
    assert rank_test(np.arange(7), 10 + np.arange(7)) == pytest.approx(least_p(7, 7))
    assert decidable([(4, 4)]) == [True]
    assert decidable([(3, 3)]) == [False]
    assert not any(decidable([(6, 6)] * 45))
    assert all(decidable([(7, 7)] * 45))
    # Once the others are decided, Holm asks this pair for less.
    assert decidable([(10, 10), (10, 10), (4, 4)]) == [True, True, True]


@pytest.mark.parametrize("runs", [3, 5, 10, 20])
def test_size(runs):
    """Of 300 samples each of thirteen distributions; four standard errors are 0.05."""
    assert max(sizes(rank_test, FINAL_RETURNS, runs, 300)) < 0.1
    assert np.mean(sizes(rank_test, FINAL_RETURNS, runs, 300)) < 0.056


@pytest.mark.parametrize("runs", [3, 5, 10])
def test_size_of_the_test_of_means(runs):
    some = {name: STEPS[name] for name in list(STEPS)[::3]}
    assert np.mean(sizes(mean_test, some, runs, 100)) < 0.1


@pytest.mark.parametrize("runs", [5, 7, 10])
def test_family_wise_error_of_ten_agents(runs):
    agents = [FINAL_RETURNS["10% of runs fail"]] * AGENTS
    false, _ = family_wise(rank_test, agents, runs, 150, np.random.default_rng(0))
    assert false < 0.1
    assert runs > 5 or false == 0


def test_power_against_welch_where_some_runs_fail():
    rng = np.random.default_rng(0)
    x, y = ALTERNATIVES["10% fail against the same, 10 lower"]
    ours, theirs = (
        how_often(rejections(test, x, y, 10, 500, rng) <= 0.05) for test in (rank_test, welch)
    )
    assert ours > 0.55
    assert theirs < 0.3


def test_other_shapes_are_told_apart_though_neither_is_better():
    """What the test is not: its docstring says so."""
    rng = np.random.default_rng(0)
    p = rejections(rank_test, SHAPES[TWO_HUMPED], SHAPES["300 to 301"], 20, 1_000, rng)
    assert 0.08 < how_often(p <= 0.05) < 0.16
