"""Comparisons of two estimators: the sizes of the tests, their power, their intervals."""

import json

import numpy as np
import pytest

from pgzoo.errors import UsageError
from pgzoo.lab import Problem, Settings, measure, parse_estimators
from pgzoo.lab.report import comparisons, write_tables
from pgzoo.lab.statistics import (
    DIFFERENCES,
    RATIOS,
    BlockSums,
    Reference,
    compare,
    properties,
    quantities,
)

DIMENSION = 20
GRADIENT = np.full(DIMENSION, 1 / np.sqrt(DIMENSION))
BESIDE = np.where(np.arange(DIMENSION) % 2, 1.0, -1.0) / np.sqrt(DIMENSION)
BLOCKS = 25
REPETITIONS = 400
SLACK = 3 * np.sqrt(0.05 * 0.95 / REPETITIONS)


def blocks_of(estimates):
    sums = BlockSums(len(estimates) // BLOCKS)
    sums.add(estimates)
    return sums.blocks()


def noise(rng, shared=None, share=0.0, estimates=200):
    """Of uneven lengths, as the estimates of a policy gradient are; some of it another one's."""
    own = rng.standard_normal((estimates, DIMENSION)) * rng.lognormal(0, 0.5, (estimates, 1))
    if shared is None:
        return own
    taken = rng.random((estimates, 1)) < share
    return np.where(taken, shared, own)


def pair(rng, share, *, signal=3.0, ratio=1.0, scale=1.0, means=(GRADIENT, GRADIENT)):
    """Two estimators; the second's relative variance is ``ratio`` of the first's."""
    first = noise(rng)
    second = noise(rng, first, share)
    a = blocks_of(signal * means[0] + first)
    b = blocks_of(scale * (signal * means[1] + np.sqrt(ratio) * second))
    return a, b


def reference(rng, exact, signal=3.0):
    if exact:
        return Reference(signal * GRADIENT)
    blocks = blocks_of(signal * GRADIENT + noise(rng, estimates=800))
    return Reference(blocks.mean.mean(0), blocks)


def p_values(quantity, share, exact=True, **world):
    rng = np.random.default_rng(0)
    found = []
    for _ in range(REPETITIONS):
        g = reference(rng, exact, world.get("signal", 3.0))
        a, b = (quantities(x, g) for x in pair(rng, share, **world))
        found.append(compare(a, b, quantity).p_value)
    return np.array(found)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.9])
@pytest.mark.parametrize("quantity", RATIOS + DIFFERENCES)
def test_estimators_that_do_not_differ_are_told_apart_in_five_percent(quantity, share, exact):
    turned = GRADIENT + 0.5 * BESIDE
    means = (turned, turned) if quantity == "direction" else (GRADIENT, GRADIENT)
    rejected = np.mean(p_values(quantity, share, exact, means=means) <= 0.05)
    assert 0.01 < rejected < 0.05 + SLACK


def test_a_shorter_estimator_has_the_same_relative_variance_and_another_variance():
    assert np.mean(p_values("relative_variance", 0.5, scale=0.01) <= 0.05) < 0.05 + SLACK
    assert np.mean(p_values("variance", 0.5, scale=0.01) <= 0.05) == 1.0


@pytest.mark.parametrize("signal", [0.1, 0.5])
def test_noise_that_hides_the_signal_decides_nothing(signal):
    found = p_values("relative_variance", 0.0, signal=signal)
    assert np.isfinite(found).all()
    assert np.mean(found <= 0.05) < 0.05 + SLACK


def test_two_right_directions_do_not_differ():
    """The figure is at its bound, where no test is exact; this one errs on the safe side."""
    assert np.mean(p_values("direction", 0.0) <= 0.05) < 0.05 + SLACK


def test_a_difference_is_found_where_intervals_overlap():
    rng = np.random.default_rng(0)
    apart = decided = right = 0
    for _ in range(100):
        g = Reference(3.0 * GRADIENT)
        a, b = pair(rng, 0.8, ratio=1.5)
        x, y = (properties(s, g).relative_variance for s in (a, b))
        apart += x.high < y.low
        found = compare(quantities(a, g), quantities(b, g), "relative_variance")
        decided += found.p_value < 0.05
        right += found.interval.high < 1
    assert decided == right > 90 > 2 * apart


@pytest.mark.parametrize("signal", [3.0, 0.7])
def test_interval_of_the_ratio_covers(signal):
    rng = np.random.default_rng(0)
    hits = {"relative_variance": 0, "variance": 0}
    for _ in range(REPETITIONS):
        g = Reference(signal * GRADIENT)
        a, b = (quantities(x, g) for x in pair(rng, 0.5, ratio=2.0, signal=signal))
        for quantity in hits:
            interval = compare(a, b, quantity).interval
            hits[quantity] += interval.low <= 0.5 <= interval.high
    for count in hits.values():
        assert count / REPETITIONS > 0.95 - SLACK


def test_ratio_and_difference_by_hand():
    rng = np.random.default_rng(0)
    g = Reference(3.0 * GRADIENT)
    a, b = (quantities(x, g) for x in pair(rng, 0.0))
    for quantity in ("variance", "mse"):
        there, back = compare(a, b, quantity), compare(b, a, quantity)
        assert there.interval.point == pytest.approx(a.point[quantity] / b.point[quantity])
        assert there.interval.low == pytest.approx(1 / back.interval.high)
        assert there.p_value == pytest.approx(back.p_value)
    there, back = (compare(*x, "relative_variance") for x in ((a, b), (b, a)))
    assert there.interval.point == pytest.approx(b.point["snr"] / a.point["snr"])
    assert there.interval.low == pytest.approx(1 / back.interval.high)
    found = compare(a, b, "scale").interval
    assert found.point == pytest.approx(a.point["scale"] - b.point["scale"])


def test_p_value_and_interval_agree():
    rng = np.random.default_rng(0)
    for _ in range(50):
        g = Reference(GRADIENT)
        a, b = (quantities(x, g) for x in pair(rng, 0.5, ratio=1.4, signal=1.0))
        found = compare(a, b, "relative_variance")
        assert (found.p_value > 0.05) == (found.interval.low < 1 < found.interval.high)


def test_what_single_precision_leaves_of_no_difference_is_none():
    rng = np.random.default_rng(0)
    x = (3 * GRADIENT + noise(rng)).astype(np.float32)
    g = Reference(3.0 * GRADIENT)
    a, b = (quantities(blocks_of(s * x), g) for s in (np.float32(1), np.float32(8 / 7)))
    assert compare(a, b, "relative_variance").p_value == 1.0
    assert compare(a, b, "cosine").p_value == 1.0
    assert compare(a, b, "variance").p_value < 1e-6


def test_what_cannot_be_compared():
    rng = np.random.default_rng(0)
    g = Reference(GRADIENT)
    a, b = (quantities(x, g) for x in pair(rng, 0.0))
    with pytest.raises(ValueError, match="Expected a quantity among variance"):
        compare(a, b, "colour")
    fewer = quantities(blocks_of(noise(rng)).regrouped(12), g)
    with pytest.raises(ValueError, match="as many blocks, got 25 and 12"):
        compare(a, fewer, "variance")
    few = quantities(blocks_of(noise(rng)).regrouped(5), g)
    assert np.isnan(compare(few, few, "variance").p_value)


@pytest.fixture(scope="module")
def measured():
    problem = Problem.initial("CartPole-v1", hidden=(8,), max_episode_steps=30)
    names = ("reinforce", "rloo", "dr-grpo", "reinforce-baseline:baseline=value")
    parsed = parse_estimators(names, trajectories=8, group_size=4, gamma=1.0)
    return measure(problem, parsed, Settings(trajectories=8, estimates=200))


def test_estimators_of_a_measurement_are_compared_by_name(measured):
    found = measured.compare("reinforce-baseline value", "reinforce")
    assert found.interval.high < 1
    assert found.p_value < 0.001
    assert measured.compare("rloo", "dr-grpo").p_value == 1.0
    assert measured.compare("dr-grpo", "rloo", "scale").interval.high < 0
    with pytest.raises(UsageError, match=r"Expected one of the estimators measured .* got 'ppo'"):
        measured.compare("ppo", "rloo")


def test_all_pairs_are_kept_on_a_line_each(measured, tmp_path):
    table = comparisons(measured)
    assert sum(len(others) for others in table["variance"].values()) == 4 * 3 / 2
    write_tables(tmp_path, {"comparisons": table, "labels": ["a", "b"]}, [])
    text = (tmp_path / "lab.json").read_text()
    assert json.loads(text)["comparisons"] == table
    found = measured.compare("reinforce", "rloo")
    line = next(line for line in text.splitlines() if '"rloo": [' in line)
    point, low, high, p_value = json.loads("[" + line.partition("[")[2].rstrip(","))
    assert point == pytest.approx(found.interval.point, rel=1e-5)
    assert low < point < high
    assert p_value == pytest.approx(found.p_value, rel=1e-5)
