import math

import numpy as np
import pytest

from pgzoo.records.pooling import latest, relative_variance
from pgzoo.records.tensorboard import TOP


def test_by_hand():
    assert relative_variance([1, 3], [-0.5, 2.5], [2, 2]) == 2
    assert relative_variance([1, 3, math.nan], [-0.5, 2.5, math.nan], [2, 2, 2]) == 2
    assert relative_variance([1, 3], [-0.5, 0.25], [2, 2]) == math.inf
    assert math.isnan(relative_variance([1], [1], [3])), "three blocks are too few"
    assert math.isnan(relative_variance([], [], []))


@pytest.mark.parametrize("truth", [0.5, 4.0, 8.0])
def test_pooled_figures_come_near_the_truth_where_means_of_ratios_do_not(truth):
    """Two groups a diagnosis, ten seeds, ten diagnoses, gradients of twenty entries."""
    rng = np.random.default_rng(0)
    mean = np.ones(20) / np.sqrt(20)
    found, naive = [], []
    for _ in range(200):
        groups = mean + rng.normal(size=(100, 2, 20)) * np.sqrt(2 * truth / 20)
        variance = ((groups[:, 0] - groups[:, 1]) ** 2).sum(-1) / 4
        signal = (groups.mean(1) ** 2).sum(-1) - variance
        found.append(relative_variance(variance, signal, np.full(100, 2)))
        naive.append(1 / np.mean(np.clip(signal / variance, 0, None)))
    assert np.median(found) == pytest.approx(truth, rel=0.1)
    assert np.median(naive) < 0.9 * truth


@pytest.mark.parametrize(("size", "share"), [(5, 0.34), (20, 0.2), (100, 0.03)])
def test_how_often_noise_hides_a_relative_variance_at_the_top_edge(size, share):
    """Ten diagnoses of eight blocks, gradients of some entries."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(1000, 10, 8, size)) * np.sqrt(8 * TOP / size)
    blocks = 1 / np.sqrt(size) + noise
    variance = blocks.var(2, ddof=1).sum(-1) / 8
    signal = (blocks.mean(2) ** 2).sum(-1) - variance
    found = [relative_variance(v, s, [8] * 10) for v, s in zip(variance, signal, strict=True)]
    assert np.mean(np.isinf(found)) == pytest.approx(share, abs=0.05)
    assert 0.4 < np.mean(np.array(found) >= TOP) < 0.6


def lines(*blocks):
    return [{"number": i, "gradient_blocks": float(n)} for i, n in enumerate(blocks)]


@pytest.mark.parametrize(
    ("blocks", "taken"),
    [((8,) * 30, 10), ((2,) * 30, 20), ((8,) * 3, 3), ((2,) * 25 + (8,) * 9, 10), ((), 0)],
)
def test_the_latest_diagnoses_are_ten_and_forty_blocks(blocks, taken):
    given = lines(*blocks)
    assert latest(given) == given[len(given) - taken :]
