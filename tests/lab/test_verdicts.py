"""Which of four: the sizes of the tests, their power, and the error rate of what is said."""

import numpy as np
import pytest

from pgzoo.lab import statistics
from pgzoo.lab.statistics import (
    MIN_BLOCKS,
    RESCALED,
    TURNED,
    UNBIASED,
    UNCLEAR,
    WORTH,
    BlockSums,
    Reference,
    direction_p_value,
    nested_holm,
    properties,
    tangent,
    verdict,
    zero_mean_p_value,
)

DIMENSION = 12
GRADIENT = np.eye(DIMENSION)[0]
BESIDE = np.eye(DIMENSION)[1]
EVEN = np.full(DIMENSION, 1 / np.sqrt(DIMENSION))
UNEVEN = np.exp(-np.arange(DIMENSION) / 2) / np.sqrt(np.exp(-np.arange(DIMENSION)).sum())
"""Spread of single estimates in every direction; its squares sum to one."""


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch):
    monkeypatch.setattr(statistics, "SIGN_FLIPS", 199)
    monkeypatch.setattr(statistics, "SIMULATIONS", 1_000)


def blocks_of(estimates, count):
    sums = BlockSums(len(estimates) // count)
    sums.add(estimates)
    return sums.blocks()


def draw(rng, mean, noise, estimates=100, count=25):
    return blocks_of(mean + noise * rng.standard_normal((estimates, DIMENSION)), count)


def reference(rng, noise, exact):
    """g* itself, or the mean of 400 estimates of it."""
    if exact:
        return Reference(GRADIENT)
    blocks = draw(rng, GRADIENT, noise, estimates=400)
    return Reference(blocks.mean.mean(0), blocks)


def shares_rejected(mean, noise, exact, scale=1.0, repetitions=600):
    """How often E ĝ ∥ g* is rejected at 5%."""
    rng = np.random.default_rng(0)
    p = [
        direction_p_value(
            draw(rng, scale * mean, scale * noise), reference(rng, noise, exact), seed
        )
        for seed in range(repetitions)
    ]
    return np.mean(np.array(p) <= 0.05)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("scale", [1.0, 0.001])
@pytest.mark.parametrize("noise", [EVEN, 5 * EVEN, 5 * UNEVEN])
def test_the_test_of_direction_has_its_size_for_unbiased_and_rescaled(noise, scale, exact):
    share = shares_rejected(GRADIENT, noise, exact, scale)
    assert share == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / 600))


@pytest.mark.parametrize("exact", [True, False])
def test_another_direction_is_found_whatever_the_length(exact):
    turned = GRADIENT + np.tan(np.radians(20)) * BESIDE
    for scale in (1.0, 0.001):
        assert shares_rejected(turned, EVEN, exact, scale, 100) > 0.95


@pytest.mark.parametrize("exact", [True, False])
def test_backwards_is_another_direction(exact):
    assert shares_rejected(-GRADIENT, EVEN, exact, repetitions=100) > 0.95


def test_a_reference_lost_in_noise_says_nothing_of_direction():
    rng = np.random.default_rng(0)
    lost = draw(rng, 0 * GRADIENT, EVEN)
    centred = blocks_of(lost.mean - lost.mean.mean(0), 25)
    found = direction_p_value(draw(rng, GRADIENT, EVEN), Reference(centred.mean.mean(0), centred))
    assert np.isnan(found)


def test_too_few_blocks_have_no_test_of_direction():
    rng = np.random.default_rng(0)
    few = draw(rng, GRADIENT, EVEN, count=MIN_BLOCKS - 1, estimates=90)
    assert np.isnan(direction_p_value(few, Reference(GRADIENT)))


def verdicts(means, noise, exact, repetitions):
    """Of ``repetitions`` tables of estimators with these expectations."""
    rng = np.random.default_rng(1)
    tables = []
    for _ in range(repetitions):
        target = reference(rng, noise, exact)
        found = [properties(draw(rng, m, noise), target, 7) for m in means]
        corrected = nested_holm([f.p_unbiased for f in found], [f.p_direction for f in found])
        tables.append([verdict(*row) for row in zip(found, *corrected, strict=True)])
    return np.array(tables)


@pytest.mark.parametrize("exact", [True, False])
def test_four_estimators_and_four_verdicts(exact):
    turned = GRADIENT + np.tan(np.radians(30)) * BESIDE
    found = verdicts([GRADIENT, 0.5 * GRADIENT, turned], 0.5 * EVEN, exact, 40)
    right = (found == [UNBIASED, RESCALED, TURNED]).mean(0)
    assert (right > 0.9).all(), right
    lost = verdicts([GRADIENT, 0.5 * GRADIENT, turned], 10 * EVEN, exact, 40)
    assert (lost == UNCLEAR).mean() > 0.9


@pytest.mark.parametrize("noise", [0.5, 0.9, 1.5])
def test_a_bias_worth_mentioning_is_hardly_ever_called_unbiased(noise):
    for bias in (WORTH * BESIDE, -WORTH * GRADIENT):
        found = verdicts([GRADIENT + bias], noise * EVEN, False, 200)
        assert (found == UNBIASED).mean() < 0.025 + 3 * np.sqrt(0.025 * 0.975 / 200)


def test_a_turn_worth_mentioning_is_hardly_ever_called_rescaled():
    for noise in (0.5, 0.9, 1.5):
        found = verdicts([0.5 * (GRADIENT + WORTH * BESIDE)], noise * EVEN, False, 200)
        assert (found == RESCALED).mean() < 0.025 + 3 * np.sqrt(0.025 * 0.975 / 200)


def test_any_false_rejection_in_a_table_has_a_chance_of_five_percent():
    """Three estimators of which both hypotheses hold, three of which the second does, and two."""
    rng = np.random.default_rng(0)
    errors = 0
    for _ in range(4_000):
        first, second = rng.random(8), rng.random(8)
        first[3:] *= 1e-4
        second[6:] *= 1e-4
        a, b = nested_holm(first, second)
        errors += (a[:3] <= 0.05).any() or (b[:6] <= 0.05).any()
    assert 0.03 < errors / 4_000 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 4_000)


def test_nested_holm_by_hand():
    first, second = nested_holm([0.01, 0.04, 0.001], [0.02, 0.5, 0.002])
    # 3 · 0.001, 3 · 0.002; of the two that remain 2 · 0.01, 2 · 0.02; of the last one 0.04, 0.5
    np.testing.assert_allclose(first, [0.02, 0.04, 0.003])
    np.testing.assert_allclose(second, [0.04, 0.5, 0.006])
    first, second = nested_holm([np.nan, 0.01], [0.001, np.nan])
    np.testing.assert_allclose(first, [np.nan, 0.02])
    assert np.isnan(second).all()


def test_the_weaker_hypothesis_falls_only_after_the_stronger():
    rng = np.random.default_rng(0)
    for _ in range(100):
        first, second = nested_holm(rng.random(5), rng.random(5))
        assert (first <= second).all()


def test_relative_bias_by_hand():
    """Exact: the square root of bias² over ‖g*‖², and nothing where there is no g*."""
    rng = np.random.default_rng(0)
    found = properties(draw(rng, 3 * GRADIENT, EVEN), Reference(2 * GRADIENT))
    low, point, high = (getattr(found.bias_squared, x) for x in ("low", "point", "high"))
    assert found.relative_bias.point == pytest.approx(np.sqrt(point / 4))
    assert found.relative_bias.low == pytest.approx(np.sqrt(low / 4))
    assert found.relative_bias.high == pytest.approx(np.sqrt(high / 4))
    nothing = properties(draw(rng, GRADIENT, EVEN), Reference(0 * GRADIENT)).relative_bias
    assert np.isnan(nothing.point)
    assert nothing.high == np.inf


@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_interval_of_the_relative_bias_covers_with_a_sampled_reference(noise):
    rng = np.random.default_rng(0)
    above, below = 0, 0
    for _ in range(400):
        target = reference(rng, noise * EVEN, False)
        found = properties(draw(rng, GRADIENT + 0.4 * BESIDE, noise * EVEN), target)
        above += found.relative_bias.low > 0.4
        below += found.relative_bias.high < 0.4
    slack = 3 * np.sqrt(0.025 * 0.975 / 400)
    assert above / 400 < 0.025 + slack
    assert below / 400 < 0.025 + slack


def test_tangent_of_an_angle():
    assert tangent(np.cos(np.pi / 4)) == pytest.approx(1.0)
    assert tangent(1.0) == 0.0
    assert tangent(0.0) == tangent(-0.5) == np.inf


def test_the_test_of_unbiasedness_rejects_what_only_turns():
    """Otherwise the verdict would wait for a test that has no power."""
    rng = np.random.default_rng(0)
    turned = draw(rng, np.cos(0.5) * GRADIENT + np.sin(0.5) * BESIDE, EVEN)
    assert zero_mean_p_value(turned.mean - GRADIENT) < 0.01
