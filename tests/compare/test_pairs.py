import numpy as np
import pytest
from scipy import stats

from benchmarks.comparisons import difference_coverage, probability_coverage
from pgzoo.compare.pairs import (
    compare_pairs,
    difference_interval,
    least_runs,
    probability_of_improvement,
)
from pgzoo.compare.permutation import rank_test
from pgzoo.errors import UsageError
from pgzoo.records.intervals import interquartile_mean, share_interval
from pgzoo.records.significance import holm

NAN = np.nan
HARD = (
    ("half 100, half 500", "300 to 301"),
    ("26% fail with 100, others 500", "LunarLander-like (280 − gamma)"),
    ("10% of runs fail", "steady, 494 to 496"),
    ("CartPole-like, half at the limit", "all at the limit"),
    ("normal", "half of the runs fail"),
    ("uniform", "normal"),
)


def test_probability_by_hand():
    assert probability_of_improvement([1, 3], [2, 3]).point == (1 + 0.5) / 4
    assert probability_of_improvement([NAN, 3], [NAN, -1e9]).point == (0.5 + 2) / 4


def test_separate_runs_are_as_many_heads_of_as_many_tosses():
    assert probability_of_improvement([5, 6, 7, 8], [1, 2, 3]) == share_interval(3, 3)
    assert probability_of_improvement([1], [2]) == share_interval(0, 1)


def test_one_s_runs_all_alike_make_the_other_s_a_coin():
    x = [100] * 3 + [500] * 7
    assert probability_of_improvement(x, [300] * 10) == share_interval(7, 10)


def test_probability_of_the_reverse():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=8), rng.normal(size=5).round()
    one, other = probability_of_improvement(x, y), probability_of_improvement(y, x)
    assert (one.point, one.low, one.high) == pytest.approx(
        (1 - other.point, 1 - other.high, 1 - other.low)
    )


@pytest.mark.parametrize("runs", [3, 5, 10, 20])
def test_coverage_of_the_probability(runs):
    """Of 400 samples each; four standard errors are 0.044 at 95%."""
    found = probability_coverage(runs, 400, np.random.default_rng(0), HARD)
    assert found[0][0] > 0.93


@pytest.mark.parametrize(("runs", "least"), [(5, 0.74), (10, 0.88), (20, 0.88)])
def test_coverage_of_the_difference(runs, least):
    """The least where little more than a quarter of runs fail, as for the interquartile mean."""
    found = difference_coverage(runs, 250, np.random.default_rng(0), HARD)
    assert found[0][0] > least
    assert np.mean([c for c, _, _ in found]) > 0.9


def test_difference():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=10) + 1, rng.normal(size=10)
    found = difference_interval(x, y)
    assert found.point == pytest.approx(float(interquartile_mean(x) - interquartile_mean(y)))
    assert found.low < found.point < found.high
    few = difference_interval(x, y[:4])
    assert not np.isnan(few.point)
    assert np.isnan(few.low)
    assert np.isnan(difference_interval([*x, NAN], y).point)


def test_difference_of_runs_that_are_all_alike():
    found = difference_interval([0.3] * 6, [0.1] * 6)
    assert (found.low, found.high) == pytest.approx((0.2, 0.2))


def test_pairs():
    rng = np.random.default_rng(0)
    samples = {"a": rng.normal(size=8) + 3, "b": rng.normal(size=8), "c": [NAN, *range(7)]}
    pairs = compare_pairs(samples)
    assert [(p.first, p.second) for p in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert pairs[0].p == rank_test(samples["a"], samples["b"])
    assert pairs[1].p == rank_test(samples["a"], [-np.inf, *range(7)])
    assert [p.corrected for p in pairs] == holm([p.p for p in pairs]).tolist()
    assert all(p.decidable for p in pairs)
    assert [p.failed for p in pairs] == [(0, 0), (0, 1), (0, 1)]
    assert (pairs[0].better, pairs[1].better) == ("a", None)
    assert np.isnan(pairs[0].rank_correlation)
    reverse = compare_pairs({k: samples[k] for k in "ba"})[0]
    assert reverse.better == "a"


def test_too_few_runs_are_not_decidable():
    ten = {str(k): np.arange(3) + 10 * k for k in range(10)}
    pairs = compare_pairs(ten)
    assert not any(p.decidable or p.better for p in pairs)
    assert compare_pairs({str(k): np.arange(7) + 10 * k for k in range(10)})[0].better == "1"


def test_rank_correlation_of_common_seeds():
    one, other = {0: 1.0, 1: 2.0, 2: NAN, 3: 9.0, 7: 0.0}, {3: 4.0, 2: 3.0, 1: 5.0, 0: 7.0}
    samples = {"a": list(one.values()), "b": list(other.values())}
    found = compare_pairs(samples, {"a": one, "b": other})[0].rank_correlation
    assert found == pytest.approx(stats.spearmanr([1, 2, -9, 9], [7, 5, 3, 4]).statistic)
    for unknown in ({}, {0: 1.0, 1: 2.0}, {0: 5.0, 1: 5.0, 2: 5.0}):
        found = compare_pairs(samples, {"a": one, "b": unknown})[0]
        assert np.isnan(found.rank_correlation)


def test_least_runs():
    assert [least_runs(n) for n in (1, 3, 10, 45)] == [4, 5, 6, 7]


def test_a_contender_without_runs():
    with pytest.raises(UsageError, match="none of b"):
        compare_pairs({"a": [1.0], "b": []})
