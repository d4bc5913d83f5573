import tracemalloc
from itertools import product

import numpy as np
import pytest
from scipy import stats

from benchmarks.coverage import (
    EPISODES,
    FINAL_RETURNS,
    RUNS,
    coverage,
    crossings,
    share_coverage,
    true_interquartile_mean,
    verdicts,
    within_range,
)
from pgzoo.errors import UsageError
from pgzoo.records import intervals
from pgzoo.records.intervals import (
    COLUMNS_AT_ONCE,
    Interval,
    common_curve,
    confirms,
    decimals,
    interquartile_mean,
    interquartile_mean_band,
    interquartile_mean_interval,
    is_candidate,
    reaches_threshold,
    share_interval,
    steps_to_threshold,
)

NAN = np.nan
FEW_FAILURES = ("30% of runs fail", "26% fail with 100, others 500")


def same(interval):
    return interval.point, interval.low, interval.high


# Interquartile mean


def test_interquartile_mean_by_hand():
    assert interquartile_mean([0, 1, 2, 100]) == 1.5
    assert interquartile_mean([9, 1, 2, 3, 4, 5, 6, 7, 8, 100]) == 5.5  # without 1, 2, 9 and 100
    np.testing.assert_equal(
        interquartile_mean([[0, 9], [1, 8], [2, 7], [9, 0]], axis=0), [1.5, 7.5]
    )


def test_four_runs_have_no_interval():
    interval = interquartile_mean_interval([1, 2, 3, 40])
    assert interval.point == 2.5
    assert np.isnan([interval.low, interval.high]).all()
    assert str(interval) == "2.5"


def test_no_runs_have_no_point():
    assert np.isnan(same(interquartile_mean_interval([]))).all()


def test_how_intervals_are_shown():
    assert str(Interval(2.25, 1, 30.06)) == "2.2 [1.0, 30.1]"
    assert str(Interval(-0.5, -1, 2)) == "-0.500 [-1.000, 2.000]"
    assert (decimals(1), decimals(1.5)) == (3, 1)


@pytest.mark.parametrize("runs", [5, 7, 10, 150])
def test_equal_runs_have_an_interval_of_length_zero(runs):
    assert same(interquartile_mean_interval([0.1] * runs)) == (0.1, 0.1, 0.1)


def test_of_five_runs_the_interval_is_their_range():
    assert same(interquartile_mean_interval([7, 1, 2, 90, 3])) == (4, 1, 90)


def test_interval_is_in_the_range_of_the_runs_and_around_the_point():
    x = np.random.default_rng(0).standard_cauchy((10, 300))
    band = interquartile_mean_band(x)
    for lower, upper in zip(
        (x.min(0), *band), (band.low, band.high, x.max(0), np.inf), strict=True
    ):
        assert (lower <= upper).all()
    assert ((band.low < band.point) & (band.point < band.high)).all()


def test_interval_goes_with_the_scale():
    x = np.random.default_rng(0).normal(size=12)
    point, low, high = same(interquartile_mean_interval(x))
    assert same(interquartile_mean_interval(3 - 2 * x)) == pytest.approx(
        (3 - 2 * point, 3 - 2 * high, 3 - 2 * low)
    )


def test_ends_are_at_the_expanded_levels_of_all_resamples():
    """All 46,656 resamples of six runs, enumerated."""
    x = np.array([-3.0, -1.0, 0.2, 1.0, 5.0, 5.5])
    every = interquartile_mean(x[np.array(list(product(range(6), repeat=6)))])
    level = stats.norm.cdf(-np.sqrt(6 / 5) * stats.t.ppf(0.975, 5))
    assert level == pytest.approx(0.0024, abs=5e-5)
    low, high = interquartile_mean_interval(x).low, interquartile_mean_interval(x).high
    for beyond, up_to in (
        (every < low - 1e-9, every <= low + 1e-9),
        (every > high + 1e-9, every >= high - 1e-9),
    ):
        assert beyond.mean() < 1.3 * level
        assert up_to.mean() > 0.7 * level


def test_band_is_the_interval_of_every_column():
    x = np.random.default_rng(0).normal(size=(8, 2 * COLUMNS_AT_ONCE + 3))
    band = np.array(interquartile_mean_band(x))
    for column in (0, COLUMNS_AT_ONCE, -1):
        assert tuple(band[:, column]) == pytest.approx(
            same(interquartile_mean_interval(x[:, column])), rel=1e-12
        )


def test_a_run_without_a_value_does_not_count():
    x = np.random.default_rng(0).normal(size=(6, 3))
    x[2, 0], x[:2, 1], x[:, 2] = NAN, NAN, NAN
    band = np.array(interquartile_mean_band(x))
    assert tuple(band[:, 0]) == same(interquartile_mean_interval(np.delete(x[:, 0], 2)))
    np.testing.assert_equal(band[:, 1], [interquartile_mean(x[2:, 1]), NAN, NAN])
    assert np.isnan(band[:, 2]).all()


@pytest.mark.parametrize("name", FINAL_RETURNS)
def test_coverage_of_the_interquartile_mean(name):
    """Of 1,000 samples; four standard errors are 0.03 at 95% and 0.05 at 80%."""
    quantiles = FINAL_RETURNS[name]
    truth, rng = true_interquartile_mean(quantiles), np.random.default_rng(0)
    samples = {n: quantiles(rng.random((n, 1_000))) for n in (5, 10, 20)}
    found = {n: coverage(interquartile_mean_band(x), truth) for n, x in samples.items()}
    most = within_range(quantiles, truth, 5)
    assert found[5] == pytest.approx(most, abs=0.05)
    assert most > (0.77 if name in FEW_FAILURES else 0.89)
    assert found[10] > 0.92
    assert found[20] > (0.88 if name == FEW_FAILURES[1] else 0.92)


def test_three_runs_cannot_have_an_interval():
    quantiles = FINAL_RETURNS["normal"]
    assert within_range(quantiles, 250, 3) == pytest.approx(0.75)


def test_true_interquartile_mean_with_a_quartile_on_an_atom():
    """The middle half is a twentieth of failures, 400 below, in a half at the limit."""
    truth = true_interquartile_mean(lambda u: np.where(u < 0.3, 100.0, 500.0))
    assert truth == pytest.approx(500 - 400 * 0.05 / 0.5)


# Share of successes


def test_share_by_hand():
    assert same(share_interval(9, 10)) == pytest.approx((0.9, 0.55498, 0.99747), abs=1e-5)
    # Where all or none succeed, the end solves p ** n = 0.025.
    assert same(share_interval(5, 5)) == pytest.approx((1, 0.025 ** (1 / 5), 1))
    assert same(share_interval(0, 3)) == pytest.approx((0, 0, 1 - 0.025 ** (1 / 3)))


@pytest.mark.parametrize("runs", RUNS)
def test_coverage_of_the_share(runs):
    covered = [share_coverage(share, runs) for share in np.linspace(0.01, 0.99, 99)]
    assert min(covered) >= 0.95


@pytest.mark.parametrize("counts", [(-1, 3), (4, 3), (0, 0)])
def test_impossible_shares(counts):
    with pytest.raises(UsageError, match=f"got {counts[0]} of {counts[1]}"):
        share_interval(*counts)


# One evaluation


@pytest.mark.parametrize(
    ("mean", "std", "episodes", "verdict"),
    [
        (500, 0, 100, "yes"),  # all at the limit
        (474.9, 0, 100, "no"),
        (475, 0, 100, "yes"),
        (495.09, 49.1, 100, "yes"),  # one of a hundred falls at once: ± 9.74
        (484.7, 49.1, 100, "too close"),
        (470, 74, 100, "too close"),
        (470, 25.3, 100, "too close"),  # 470 + 1.9842 * 2.53 = 475.02
        (470, 25.1, 100, "no"),
        (500, 0, 49, "too close"),  # may have missed the bad episodes
        (500, NAN, 1, "too close"),
    ],
)
def test_an_evaluation_beside_a_threshold(mean, std, episodes, verdict):
    assert reaches_threshold(mean, std, episodes, 475) == verdict


@pytest.mark.parametrize("name", EPISODES)
def test_how_often_an_evaluation_errs_on_a_policy_at_the_threshold(name):
    yes, no = verdicts(EPISODES[name], 100, 2_000, np.random.default_rng(0))
    assert 0.02 < yes < 0.14
    assert no < 0.025


# Learning curves


def test_runs_are_interpolated_to_common_steps():
    """Two runs with the same line at different steps are that line."""
    curve = common_curve(
        [[0, 30, 90], [10, 40, 80, 100]], [[0, 3, 9], [1, 4, 8, 10]], points=9, ended=[True, True]
    )
    np.testing.assert_allclose(curve.steps, [10, 21.25, 32.5, 43.75, 55, 66.25, 77.5, 88.75, 100])
    np.testing.assert_allclose(curve.point[:-1], curve.steps[:-1] / 10)
    assert curve.point[-1] == 9.5  # the first keeps its 9
    assert np.isnan(curve.low).all()
    assert (curve.runs == 2).all()


def test_iterations_without_a_value_are_passed_over():
    curve = common_curve([[0, 10, 20, 30]], [[NAN, 4, NAN, 8]], [0, 10, 15, 20, 25, 30])
    np.testing.assert_allclose(curve.point, [NAN, 4, 5, 6, 7, 8])


def test_a_run_that_goes_on_is_unknown_beyond_its_last_step():
    steps, values = [[10, 20], [0, 40], [0, 20, 30]], [[1, 1], [4, 8], [NAN, 7, 7]]
    ended = [False, True, True]
    curve = common_curve(steps, values, [0, 10, 20, 25, 50], ended=ended)
    np.testing.assert_equal(curve.runs, [1, 2, 3, 2, 2])
    np.testing.assert_allclose(curve.point, [4, 3, 14 / 3, 6.75, 7.5])


def test_default_steps_have_all_runs_everywhere():
    steps, values = [[10, 39], [20, 89], [5, 30], []], [[0, 1], [0, 1], [0, 1], []]
    for ended, last in (
        ([False] * 4, 30),
        ([False, False, True, False], 39),  # the third has ended and keeps its value
        ([True] * 4, 89),
        (None, 30),
    ):
        curve = common_curve(steps, values, ended=ended)
        assert (curve.steps[0], curve.steps[-1]) == (20, last)
        assert (curve.runs == 3).all()


def test_runs_without_common_steps_make_an_empty_curve():
    for steps in ([[0, 1], [2, 3]], [[], []]):
        assert len(common_curve(steps, steps, ended=[False, False]).steps) == 0
    assert np.isnan(common_curve([[]], [[]], [1, 2]).point).all()


def test_band_of_a_curve_begins_with_the_fifth_run():
    steps = [[n, 10] for n in range(6)]
    curve = common_curve(steps, [[n, n] for n in range(6)], grid=np.arange(11))
    np.testing.assert_equal(curve.runs, [1, 2, 3, 4, 5, *[6] * 6])
    np.testing.assert_equal(np.isnan(curve.low), curve.runs < 5)
    assert (curve.low[4], curve.point[4], curve.high[4]) == (0, 2, 4)


@pytest.mark.parametrize(("steps", "values"), [([1, 1], [2, 3]), ([2, 1], [2, 3]), ([1, 2], [3])])
def test_a_curve_needs_increasing_steps_and_as_many_values(steps, values):
    with pytest.raises(UsageError, match="Expected increasing steps"):
        common_curve([steps], [values])


# Steps to a threshold


def test_runs_that_did_not_reach_it_are_censored_at_the_common_budget():
    found = steps_to_threshold([100, None, 300, 900], [1000, 800, 300, 1000])
    assert (found.reached, found.runs, found.budget, found.median) == (2, 4, 800, 300)
    assert str(found) == "2 of 4 within 800 steps, median 300"


def test_a_smaller_budget_censors_more():
    found = steps_to_threshold([1100, None, 1300, 1900], [2000] * 4, budget=1200)
    assert (found.reached, found.budget) == (1, 1200)
    assert np.isnan(found.median)
    assert str(found) == "1 of 4 within 1,200 steps, not reached by half"
    assert steps_to_threshold([None], [20], budget=30).budget == 20


def test_runs_that_stopped_when_they_had_solved_it_do_not_shorten_the_budget():
    found = steps_to_threshold([100, 200, 150], [100, 200, 150])
    assert (found.reached, found.budget, found.median) == (3, 200, 150)


def test_steps_to_threshold_of_no_runs():
    with pytest.raises(UsageError, match="at least one run"):
        steps_to_threshold([], [])


# A crossing of the threshold


def test_candidates():
    good = [475.0] * 100
    assert is_candidate(good, 100, None, 475)
    assert not is_candidate(good[1:], 99, None, 475)  # too few
    assert not is_candidate([*good[1:], 474], 100, None, 475)
    assert not is_candidate(good, 399, 300, 475)  # shares an episode with the last one
    assert is_candidate(good, 400, 300, 475)


def test_confirmation():
    assert confirms([500, 450], 475)
    assert not confirms([500, 449], 475)


@pytest.mark.parametrize(("mean", "old", "at_most"), [(466, 0.5, 0.06), (470, 0.8, 0.3)])
def test_luck_in_thirty_looks(mean, old, at_most):
    """Of policies that stay below 475, the first look passes most, the rule few."""
    rng = np.random.default_rng(0)
    assert np.isfinite(crossings(mean, 16, 0, 200, rng)).mean() > old
    assert np.isfinite(crossings(mean, 16, 200, 200, rng)).mean() < at_most


def test_a_policy_that_is_above_is_confirmed_without_delay():
    rng = np.random.default_rng(0)
    assert np.mean(crossings(490, 16, 200, 200, rng)) < 5
    assert np.mean(crossings(480, 16, 200, 200, rng)) < 50


def test_intervals_of_many_runs_are_found_in_parts(monkeypatch):
    runs = np.random.default_rng(5).gamma(2.0, size=601)
    in_parts = same(interquartile_mean_interval(runs))
    monkeypatch.setattr(intervals, "RUNS_KEPT", 601)
    np.testing.assert_allclose(in_parts, same(interquartile_mean_interval(runs)), rtol=1e-13)


def test_an_interval_of_ten_thousand_runs_takes_little_memory():
    runs = np.random.default_rng(5).normal(size=10_000)
    tracemalloc.start()
    interquartile_mean_interval(runs)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 150e6, "their weights would take 800 MB"
