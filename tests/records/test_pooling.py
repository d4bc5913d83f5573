import math

import numpy as np
import pytest

from pgzoo.records.pooling import relative_variance


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
