import numpy as np
import pytest

from benchmarks.comparisons import GRID, MIXTURES, how_often, rejections, zoo_returns
from benchmarks.coverage import FINAL_RETURNS, LIMIT
from pgzoo.compare.pairs import least_runs
from pgzoo.compare.permutation import rank_test
from pgzoo.compare.power import power_of_rank_test, seeds_in_all, seeds_needed, smoothed

NORMAL = FINAL_RETURNS["normal"]


@pytest.mark.parametrize("runs", [5, 10, 20])
def test_power_is_that_of_the_exact_test(runs):
    def shifted(u):
        return NORMAL(u) - 50

    exact = rejections(rank_test, NORMAL, shifted, runs, 2_000, np.random.default_rng(1)) <= 0.05
    found = power_of_rank_test(NORMAL(GRID), shifted(GRID), runs)
    assert found == pytest.approx(how_often(exact), abs=0.06)


def test_eighteen_seeds_for_a_spread():
    """Two normal distributions a spread apart: 17 each by Student's test, by ranks 5% more."""
    needed = seeds_in_all(NORMAL(GRID), NORMAL(GRID) - 50)
    assert needed == pytest.approx(18, abs=1)
    x = NORMAL((np.arange(10) + 0.5) / 10)
    assert seeds_needed(x, x, 50) == pytest.approx(8, abs=2)
    assert seeds_needed(x, x, -50) == seeds_needed(x, x, 50)
    assert seeds_needed(x, [*x, np.nan], 50) == seeds_needed(x, x, 50)
    assert seeds_needed(x, x, 50, level=0.05 / 45) > 15
    assert seeds_needed(x, x, 50, power=0.95) > seeds_needed(x, x, 50)


def test_smoothing_adds_little_and_keeps_what_is_alike():
    x = np.random.default_rng(0).normal(size=20)
    assert smoothed(x).mean() == pytest.approx(x.mean())
    assert smoothed(x).std() == pytest.approx(x.std())
    assert len(set(smoothed(x))) > 1_000
    assert smoothed([3.0, 3.0]).tolist() == [3, 3]
    assert set(smoothed([0.0] * 9 + [-9.0]).tolist()) == {0.0, -9.0}


def test_enough_too_many_and_unknown():
    x = np.arange(8.0)
    assert seeds_needed(x, x, 100) == 0
    assert seeds_needed(x, x, 0.01) is None
    assert seeds_needed(x, x[:4], 1) is None
    assert seeds_needed(x, [*x[:4], np.nan], 1) is None
    assert seeds_needed([500] * 5, [500] * 5, 20, level=0.05 / 45) == least_runs(45) - 5


def test_how_many_seeds_tell_500_from_480():
    """All 20 lower, with the spread of the zoo; and at the limit, where some fall short."""
    together = smoothed(np.concatenate([r - r.mean() for r in zoo_returns().values()]))
    assert 6 <= seeds_in_all(together, together - 20) <= 12
    found = {name: seeds_in_all([LIMIT], q(GRID)) for name, q in MIXTURES.items()}
    assert found["half end with 460"] < 15
    assert 40 < found["one in ten ends with 300"] < 70
