import numpy as np
import pytest

from pgzoo.records import intervals as statistics
from pgzoo.records.intervals import interquartile_mean, interquartile_mean_interval, mean_interval


def test_by_hand():
    assert mean_interval([1, 2, 3]).point == 2
    half = 4.302653 * 1 / np.sqrt(3)  # t quantile with two degrees of freedom
    assert mean_interval([1, 2, 3]).high == pytest.approx(2 + half)
    assert interquartile_mean([0, 1, 2, 100]).item() == 1.5


def test_two_runs_have_no_interval():
    for interval in (mean_interval([1, 2]), interquartile_mean_interval([1, 2])):
        assert interval.point == 1.5
        assert np.isnan(interval.low)
        assert str(interval) == "1.5"


def test_equal_runs_have_an_interval_of_length_zero():
    for interval in (mean_interval([5.0] * 10), interquartile_mean_interval([5.0] * 10)):
        assert (interval.point, interval.low, interval.high) == (5, 5, 5)


@pytest.mark.parametrize("runs", [3, 10])
def test_coverage_of_the_t_interval(runs):
    rng = np.random.default_rng(0)
    hits = [i.low <= 0 <= i.high for i in map(mean_interval, rng.normal(size=(4000, runs)))]
    assert 0.93 < np.mean(hits) < 0.97


def test_coverage_of_the_bootstrap_interval(monkeypatch):
    """Symmetric returns of 30 runs: the true interquartile mean is 0."""
    monkeypatch.setattr(statistics, "RESAMPLES", 400)
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(1000, 30))
    hits = [i.low <= 0 <= i.high for i in map(interquartile_mean_interval, samples)]
    assert 0.92 < np.mean(hits) < 0.97
