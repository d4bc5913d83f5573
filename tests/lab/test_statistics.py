"""Every interval that the laboratory prints covers what it should; figures by hand."""

import tracemalloc

import numpy as np
import pytest

from pgzoo.lab import statistics
from pgzoo.lab.statistics import (
    MIN_BLOCKS,
    BlockSums,
    Reference,
    properties,
    squared_norm_interval,
    zero_mean_p_value,
)

BLOCKS = 50
REPETITIONS = 1_000
INTERVALS = (
    "variance",
    "relative_variance",
    "snr",
    "bias_squared",
    "scale",
    "direction",
    "cosine",
    "mse",
)


def blocks_of(estimates, count=BLOCKS):
    sums = BlockSums(len(estimates) // count)
    sums.add(estimates)
    return sums.blocks()


class World:
    """Normal estimates of a known gradient, with a bias beside and along it."""

    def __init__(self, signal, beside, dimension=20, even=True):
        index = np.arange(dimension)
        self.spread = np.ones(dimension) if even else np.exp(-index / 4)
        self.gradient = np.full(dimension, signal / np.sqrt(dimension))
        across = np.where(index % 2, 1.0, -1.0) / np.sqrt(dimension)
        self.mean = 1.2 * self.gradient + beside * across
        trace, length = (self.spread**2).sum(), (self.mean**2).sum()
        dot, target = self.mean @ self.gradient, (self.gradient**2).sum()
        bias = ((self.mean - self.gradient) ** 2).sum()
        rng = np.random.default_rng(99)
        single = self.draw(rng, 200_000, self.mean)
        cosines = single @ self.gradient / np.linalg.norm(single, axis=1) / np.sqrt(target)
        self.truth = {
            "variance": trace,
            "relative_variance": trace / length,
            "snr": length / trace,
            "bias_squared": bias,
            "scale": dot / target,
            "direction": min(dot / np.sqrt(length * target), 1.0),
            "cosine": cosines.mean(),
            "mse": trace + bias,
        }

    def draw(self, rng, count, mean):
        return mean + rng.standard_normal((count, len(mean))) * self.spread

    def properties(self, rng, exact, estimates=200):
        if exact:
            reference = Reference(self.gradient)
        else:
            sample = blocks_of(self.draw(rng, 2 * estimates, self.gradient))
            reference = Reference(sample.mean.mean(0), sample)
        sample = blocks_of(self.draw(rng, estimates, self.mean))
        return properties(sample, reference)


@pytest.mark.parametrize(
    ("world", "exact"),
    [
        (World(2.0, 0.7), True),
        (World(2.0, 0.7), False),
        (World(2.0, 0.7, even=False), True),
        (World(2.0, 0.7, even=False), False),
        (World(0.8, 0.4), False),  # the reference's own noise is a tenth of its squared length
    ],
)
def test_nominal_95_percent_intervals_cover_93_to_97_percent(world, exact, monkeypatch):
    monkeypatch.setattr(statistics, "SIGN_FLIPS", 19)
    monkeypatch.setattr(statistics, "SIMULATIONS", 2_000)
    rng = np.random.default_rng(1)
    hits = dict.fromkeys(INTERVALS, 0)
    for _ in range(REPETITIONS):
        found = world.properties(rng, exact)
        for name in INTERVALS:
            interval = getattr(found, name)
            hits[name] += interval.low <= world.truth[name] <= interval.high
    slack = 3 * np.sqrt(0.05 * 0.95 / REPETITIONS) - 0.02  # of the simulation itself
    for name, count in hits.items():
        assert 0.93 - slack < count / REPETITIONS < 0.97 + slack, (name, count)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("signal", [0.02, 0.1, 0.3])
def test_no_interval_pretends_to_know_what_noise_hides(signal, exact, monkeypatch):
    monkeypatch.setattr(statistics, "SIGN_FLIPS", 19)
    monkeypatch.setattr(statistics, "SIMULATIONS", 2_000)
    rng, world = np.random.default_rng(1), World(signal, 0.0)
    hits = dict.fromkeys(("relative_variance", "snr", "bias_squared", "direction"), 0)
    for _ in range(300):
        found = world.properties(rng, exact)
        for name in hits:
            interval = getattr(found, name)
            hits[name] += interval.low <= world.truth[name] <= interval.high
    for name, count in hits.items():
        assert count / 300 > 0.91, (name, count)


@pytest.mark.parametrize("dimension", [3, 300])
def test_interval_of_a_squared_norm_where_it_is_zero(dimension, monkeypatch):
    monkeypatch.setattr(statistics, "SIMULATIONS", 2_000)
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(REPETITIONS):
        interval = squared_norm_interval(rng.standard_normal((BLOCKS, dimension)))
        hits += interval.low <= 0
        assert interval.high > 0
    assert 0.96 < hits / REPETITIONS < 0.99


@pytest.mark.parametrize("dimension", [3, 300])
def test_p_values_are_uniform_where_the_mean_is_zero(dimension, monkeypatch):
    monkeypatch.setattr(statistics, "SIGN_FLIPS", 199)
    rng = np.random.default_rng(3)
    p = [zero_mean_p_value(rng.standard_normal((BLOCKS, dimension)), i) for i in range(1000)]
    for level in (0.05, 0.5):
        assert np.mean(np.array(p) <= level) == pytest.approx(level, abs=0.04)


def test_p_value_is_small_where_the_mean_is_not_zero():
    d = np.random.default_rng(0).standard_normal((BLOCKS, 20)) + 0.5
    assert zero_mean_p_value(d) < 1e-3


def test_figures_by_hand():
    """Four estimates, (1, 0) (3, 0) (2, 1) (2, −1); g* = (1, 0)."""
    estimates = np.array([[1.0, 0], [3, 0], [2, 1], [2, -1]])
    sample = blocks_of(estimates, count=4)
    found = properties(sample, Reference(np.array([1.0, 0])))
    trace = (1 + 1) / 3 + (1 + 1) / 3
    assert found.variance.point == pytest.approx(trace)
    assert found.snr.point == pytest.approx((4 - trace / 4) / trace)
    assert found.relative_variance.point == pytest.approx(trace / (4 - trace / 4))
    assert found.scale.point == pytest.approx(2.0)
    assert found.bias_squared.point == pytest.approx(1 - trace / 4)
    assert found.mse.point == pytest.approx(trace + 1 - trace / 4)
    assert found.cosine.point == pytest.approx((1 + 1 + 2 / np.sqrt(5) * 2) / 4)
    assert found.direction.point == pytest.approx(1.0)
    assert np.isnan(found.variance.low)  # four blocks are too few for an interval


def test_relative_variance_is_infinite_where_noise_hides_the_mean():
    estimates = np.array([[1.0], [-1.0]] * 10)
    found = properties(blocks_of(estimates, count=10), Reference(np.ones(1)))
    assert np.isinf(found.relative_variance.point)


def test_one_estimate_that_is_not_zero_leaves_no_signal():
    """‖mean‖² = x²/M² is exactly its noise; what rounding leaves of zero is not a signal."""
    rng = np.random.default_rng(0)
    for count in (20, 40, 100):
        for _ in range(10):
            estimates = np.zeros((count, 50))
            estimates[0] = rng.standard_normal(50)
            found = properties(blocks_of(estimates, count), Reference(np.ones(50)))
            assert found.relative_variance.point == np.inf


def test_blocks_do_not_depend_on_how_estimates_arrive():
    x = np.random.default_rng(0).standard_normal((12, 3))
    whole = BlockSums(3)
    whole.add(x)
    pieces = BlockSums(3)
    for part in np.split(x, [1, 5, 6]):
        pieces.add(part)
    np.testing.assert_allclose(whole.blocks().mean, pieces.blocks().mean)
    np.testing.assert_allclose(whole.blocks().unit, pieces.blocks().unit)
    assert whole.blocks().estimates == 12


def test_an_incomplete_block_is_left_out():
    sums = BlockSums(4)
    sums.add(np.ones((11, 2)))
    assert sums.blocks().estimates == 8
    assert BlockSums(4).blocks() is None


def test_a_reference_lost_in_its_noise_leaves_the_length_unknown():
    rng = np.random.default_rng(0)
    for seed in range(20):
        noise = rng.standard_normal((400, 30))
        lost = blocks_of(noise - noise.mean(0) * (seed % 2), count=40)
        sample = blocks_of(rng.standard_normal((400, 30)) + 0.1, count=40)
        found = properties(sample, Reference(lost.mean.mean(0), lost))
        assert np.isfinite([found.variance.point, found.mse.point, found.p_unbiased]).all()
        if (lost.mean.mean(0) ** 2).sum() < 30 / 400:
            assert np.isnan([found.scale.point, found.direction.point, found.cosine.point]).all()


def test_regrouped_blocks_say_the_same():
    x = np.random.default_rng(0).standard_normal((40, 3))
    fine = blocks_of(x, count=20)
    coarse = fine.regrouped(5)
    assert (len(coarse.mean), coarse.size, coarse.estimates) == (5, 8, 40)
    np.testing.assert_allclose(coarse.mean.mean(0), x.mean(0))
    assert fine.regrouped(3).estimates == 36


def test_too_few_blocks_have_no_test():
    few = np.ones((MIN_BLOCKS - 1, 3))
    assert np.isnan(zero_mean_p_value(few))
    assert zero_mean_p_value(np.ones((MIN_BLOCKS, 3))) < 0.01


def test_memory_of_an_open_block_does_not_grow():
    """Estimates of a block that is far from full are summed, not kept."""
    sums = BlockSums(10**6)
    tracemalloc.start()
    for _ in range(50):
        sums.add(np.ones((100, 1000)))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 10 * 1000 * 8
