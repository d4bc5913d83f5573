import numpy as np
import pytest

from benchmarks.comparisons import (
    coverage_of_next_run,
    coverage_of_weighted_mean,
    draw,
    true_mean,
    worst_tenth,
)
from benchmarks.coverage import FINAL_RETURNS
from pgzoo.compare.final_return import (
    MEAN_RUNS,
    WORST_RUNS,
    final_return,
    worst_tenth_weights,
)
from pgzoo.errors import UsageError
from pgzoo.records.intervals import equal_weights, interquartile_mean_interval, share_interval

NAN = np.nan


def ends(interval):
    return interval.low, interval.high


def test_ten_runs_by_hand():
    returns = [500, 500, 344, 500, 480, 490, 495, 499, 500, 470]
    found = final_return(returns, 475)
    assert found.iqm == interquartile_mean_interval(returns)
    assert found.mean.point == 477.8
    assert found.failure_rate == share_interval(2, 10)
    assert found.worst_tenth.point == 344
    assert (found.next_run.point, *ends(found.next_run)) == (497, 344, 500)
    assert found.next_run_coverage == pytest.approx(9 / 11)
    assert (found.runs, found.failed) == (10, 0)


def test_a_failed_run_is_counted_and_the_worst():
    found = final_return([500, NAN, *range(490, 498)], 475)
    assert (found.runs, found.failed) == (10, 1)
    assert found.failure_rate == share_interval(1, 10)
    assert found.mean.point == pytest.approx((500 + sum(range(490, 498))) / 9)
    assert found.worst_tenth.point == -np.inf
    assert (found.next_run.point, *ends(found.next_run)) == (493.5, -np.inf, 500)


def test_all_failed():
    found = final_return([NAN] * 12, 475)
    assert found.failure_rate.point == 1
    assert np.isnan([found.iqm.point, found.mean.point]).all()
    assert found.next_run.high == -np.inf


def test_without_a_threshold_nothing_is_said_of_failures():
    assert np.isnan(final_return([1, 2, 3], None).failure_rate.point)


def test_few_runs_have_points_alone():
    found = final_return([1, 2, 3, 4], 2)
    for interval in (found.iqm, found.mean, found.next_run):
        assert interval.point == 2.5
        assert np.isnan(ends(interval)).all()
    assert np.isnan([found.worst_tenth.point, found.next_run_coverage]).all()
    assert found.failure_rate == share_interval(1, 4)


def test_no_runs():
    with pytest.raises(UsageError, match="at least one run"):
        final_return([], 1)


def test_the_last_run_of_the_worst_tenth_counts_in_part():
    np.testing.assert_allclose(worst_tenth_weights(25), [1, 1, 0.5, *[0] * 22])
    found = final_return(np.arange(25), None).worst_tenth
    assert found.point == pytest.approx((0 + 1 + 2 / 2) / 2.5)


@pytest.mark.parametrize(
    ("runs", "rank", "coverage"), [(5, 1, 4 / 6), (19, 1, 0.9), (38, 1, 37 / 39), (39, 2, 0.9)]
)
def test_rank_and_coverage_of_the_next_run(runs, rank, coverage):
    found = final_return(np.arange(runs), None)
    assert ends(found.next_run) == (rank - 1, runs - rank)
    assert found.next_run_coverage == pytest.approx(coverage)


@pytest.mark.parametrize("runs", [5, 10, 20])
@pytest.mark.parametrize("name", ["normal", "right-skewed (lognormal)", "10% of runs fail"])
def test_the_next_run_falls_in_the_band_as_often_as_is_said(name, runs):
    rng, quantiles = np.random.default_rng(0), FINAL_RETURNS[name]
    found = coverage_of_next_run(draw(quantiles, runs, 1_000, rng), quantiles(rng.random(1_000)))
    said = final_return(np.arange(runs), None).next_run_coverage
    assert found > said - 0.045
    if name != "10% of runs fail":
        assert found < said + 0.045


HARD = ("right-skewed (lognormal)", "CartPole-like, 80% at the limit", "10% of runs fail")


@pytest.mark.parametrize("name", HARD)
def test_the_mean_has_an_interval_where_it_covers(name):
    rng, quantiles = np.random.default_rng(0), FINAL_RETURNS[name]
    few, enough = (draw(quantiles, n, 500, rng) for n in (10, MEAN_RUNS))
    truth = true_mean(quantiles)
    assert coverage_of_weighted_mean(few, equal_weights, truth) < 0.89
    assert coverage_of_weighted_mean(enough, equal_weights, truth) > 0.86
    assert np.isnan(final_return(few[0], None).mean.low)
    assert not np.isnan(final_return(enough[0], None).mean.low)


@pytest.mark.parametrize("name", ["normal", "LunarLander-like (280 − gamma)", "10% of runs fail"])
def test_the_worst_tenth_has_an_interval_where_it_covers(name):
    rng, quantiles = np.random.default_rng(0), FINAL_RETURNS[name]
    few, enough = (draw(quantiles, n, 300, rng) for n in (20, WORST_RUNS))
    truth = worst_tenth(quantiles)
    assert coverage_of_weighted_mean(few, worst_tenth_weights, truth) < 0.75
    assert coverage_of_weighted_mean(enough, worst_tenth_weights, truth) > 0.83
    assert np.isnan(final_return(few[0], None).worst_tenth.low)
    assert not np.isnan(final_return(enough[0], None).worst_tenth.low)
