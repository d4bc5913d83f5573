from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from benchmarks.comparisons import (
    STEPS,
    as_runs,
    draw,
    ratio_coverage,
    restricted_mean_coverage,
    saving_coverage,
    survival_coverage,
)
from pgzoo.compare.efficiency import (
    area_under_curve,
    common_budget,
    compare_restricted_means,
    kaplan_meier,
    restricted_mean,
    share_reached,
    trained_steps,
)
from pgzoo.compare.permutation import mean_test
from pgzoo.errors import UsageError
from pgzoo.records.intervals import share_interval
from pgzoo.records.significance import holm

NAN = np.nan
HARD = (
    ("the same, 10% never", "65% of the budget, spread 10%"),
    ("10%, spread 20%, 20% never", "90%, 90% never"),
    ("30%, spread 40%, 10% never", "80%, half never"),
    ("90%, spread 30%", "the same, 30% never"),
)


# Area under a learning curve


def test_area_by_hand():
    """10 up to step 10, then up to 30 at step 30: 100 + 400 over 30 steps."""
    assert area_under_curve([10, 30], [10, 30], 30) == pytest.approx(500 / 30)
    assert area_under_curve([10, 30], [10, 30], 20) == pytest.approx((100 + 150) / 20)
    assert area_under_curve([10, 20, 30], [10, NAN, 30], 30) == pytest.approx(500 / 30)
    assert area_under_curve([10, 30], [7, 30], 5) == 7


def test_area_beyond_the_last_step():
    assert np.isnan(area_under_curve([10, 30], [10, 30], 40))
    assert area_under_curve([10, 30], [10, 30], 40, ended=True) == pytest.approx(800 / 40)
    assert np.isnan(area_under_curve([1, 2], [NAN, NAN], 2, ended=True))


@pytest.mark.parametrize(
    ("steps", "budget", "message"), [([2, 1], 1, "increasing"), ([1, 2], 0, "above 0")]
)
def test_bad_areas(steps, budget, message):
    with pytest.raises(UsageError, match=message):
        area_under_curve(steps, [1, 1], budget)


# Survival


def test_curve_by_hand():
    """The run that stopped at 200 is at risk at 100 and no longer at 300."""
    curve = kaplan_meier([100, None, 300, 900], [1000, 200, 300, 1000], 800)
    np.testing.assert_allclose(curve.times, [0, 100, 300, 800])
    np.testing.assert_allclose(curve.share, [1, 3 / 4, 3 / 8, 3 / 8])
    assert np.isnan(curve.low).all()
    five = kaplan_meier([100, None, 300, 900, 800], [1000, 200, 300, 1000, 800], 800)
    np.testing.assert_allclose(five.share, [1, 4 / 5, 8 / 15, 4 / 15])
    assert not np.isnan(five.low).any()


def test_without_censoring_it_is_the_share_and_its_interval():
    curve = kaplan_meier([100, None, 300], [800] * 3, 800)
    for i, k in enumerate((3, 2, 1, 1)):
        exact = share_interval(k, 3)
        assert (curve.share[i], curve.low[i], curve.high[i]) == pytest.approx(
            (exact.point, exact.low, exact.high)
        )


def test_ends_of_a_curve():
    none = kaplan_meier([None] * 4, [900] * 4, 800)
    assert (none.times.tolist(), none.share.tolist()) == ([0, 800], [1, 1])
    every = kaplan_meier([10, 10, 20], [10, 10, 20], 800)
    assert (every.times.tolist(), every.share[-1]) == ([0, 10, 20], 0)
    with pytest.raises(UsageError, match="at least one run"):
        kaplan_meier([], [], 1)


@pytest.mark.parametrize(
    ("runs", "censored"), [*product((3, 5, 10, 20), [False]), *product((5, 10, 20), [True])]
)
def test_coverage_of_the_curve(runs, censored):
    assert min(survival_coverage(runs, censored, 300, np.random.default_rng(0))) > 0.92


def test_share_reached():
    assert share_reached([100, None, 300, 900], [100, 800, 300, 900], 800) == share_interval(2, 4)
    with pytest.raises(UsageError, match="1 that did neither"):
        share_reached([None, 1], [700, 1], 800)


def outcome(budget, trained, reached, failed=None):
    return SimpleNamespace(
        budget=budget,
        trained=np.array(trained),
        steps_to_threshold=tuple(reached),
        failed=tuple(failed or [None] * len(trained)),
    )


def test_the_common_budget_is_the_least_that_anyone_was_to_train():
    one = outcome(1000, [1010, 600, 30], [None, 600, None], [None, None, "NaN"])
    assert trained_steps(one) == [1010, 600, 1000]
    assert common_budget([one, outcome(3000, [3000], [None])]) == 1000
    assert common_budget([one, outcome(3000, [900, 800], [None, 800])]) == 900, "stopped early"
    with pytest.raises(UsageError, match="at least one contender"):
        common_budget([])


# Restricted means


def test_restricted_mean_by_hand():
    found = restricted_mean([100, None, 300], [100, 900, 300], 800)
    assert found.point == 400
    assert np.isnan(found.low)
    # All alike, so that there is nothing to resample; one more run of no steps or of 800.
    found = restricted_mean([200] * 7, [200] * 7, 800)
    assert (found.point, found.low, found.high) == (200, 7 * 200 / 8, (7 * 200 + 800) / 8)


def test_restricted_mean_is_the_area_under_the_curve():
    reached, trained = as_runs(draw(STEPS["80%, half never"], 12, 1, np.random.default_rng(0))[0])
    curve = kaplan_meier(reached, trained, 1)
    area = (np.diff(curve.times) * curve.share[:-1]).sum()
    assert restricted_mean(reached, trained, 1).point == pytest.approx(area)


@pytest.mark.parametrize("name", STEPS)
def test_coverage_of_the_restricted_mean(name):
    rng = np.random.default_rng(0)
    few = 0.7 if name.startswith("10%") else 0.88
    for runs, least in ((5, few), (10, 0.86), (20, 0.9)):
        assert restricted_mean_coverage(STEPS[name], runs, 150, rng) > least


@pytest.mark.parametrize("runs", [5, 10, 20])
def test_coverage_of_ratio_and_difference(runs):
    rng = np.random.default_rng(0)
    for coverage in (ratio_coverage, saving_coverage):
        found = coverage(runs, 200, rng, HARD)
        assert found[0][0] > 0.83
        assert np.mean([c for c, _, _ in found]) > 0.93


def test_savings():
    rng = np.random.default_rng(0)
    fast, slow = (rng.integers(*ends, size=8) for ends in ((100, 200), (400, 800)))
    samples = {
        "fast": (fast.tolist(), [1000] * 8),
        "slow": ([*slow[:6].tolist(), None, None], [1000] * 8),
        "never": ([None] * 8, [1000] * 8),
    }
    found = compare_restricted_means(samples, 900)
    assert [(s.first, s.second) for s in found] == [
        ("fast", "slow"),
        ("fast", "never"),
        ("slow", "never"),
    ]
    mean = (slow[:6].sum() + 1800) / 8
    assert found[0].ratio.point == pytest.approx(fast.mean() / mean)
    assert found[0].difference.point == pytest.approx(fast.mean() - mean)
    assert found[0].ratio.low < found[0].ratio.point < found[0].ratio.high < 1
    assert found[0].p == mean_test(fast, [*slow[:6], 900, 900])
    assert [s.corrected for s in found] == holm([s.p for s in found]).tolist()
    assert [s.reached for s in found] == [(8, 6), (8, 0), (6, 0)]
    assert (found[0].runs, found[0].budget, found[0].decidable) == ((8, 8), 900, True)
    assert (found[0].faster, found[1].faster) == ("fast", "fast")


def test_neither_reached_it():
    found = compare_restricted_means({k: ([None] * 5, [10] * 5) for k in "ab"}, 10)[0]
    assert (found.p, found.faster, found.ratio.point) == (1, None, 1)
    assert found.ratio.low < 1 < found.ratio.high


def test_three_runs_decide_nothing():
    found = compare_restricted_means({"a": ([1, 1, 2], [9] * 3), "b": ([8, 8, 9], [9] * 3)}, 9)[0]
    assert not found.decidable
    assert found.faster is None
    assert np.isnan(found.ratio.low)


def test_ecdf_of_scipy_is_what_the_curve_is():
    rng = np.random.default_rng(3)
    first, trained = rng.lognormal(size=9), rng.uniform(0.5, 2, size=9)
    reached = [a if a <= b else None for a, b in zip(first, trained, strict=True)]
    data = stats.CensoredData.right_censored(np.minimum(first, trained), first > trained)
    curve = kaplan_meier(reached, trained.tolist(), 99)
    np.testing.assert_allclose(curve.share, stats.ecdf(data).sf.evaluate(curve.times))
