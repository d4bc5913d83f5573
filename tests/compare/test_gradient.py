import math

import numpy as np
import pandas as pd
import pytest

from benchmarks.comparisons import cosine_coverage
from pgzoo.compare.gradient import COSINE_LINES, direction_along, relative_variance_along
from pgzoo.records.pooling import relative_variance


def metrics(lines, seeds=10, variance=2.0, signal=1.0, blocks=8, cosine=0.5):
    """Every second iteration is diagnosed, of the seeds in turn."""
    table = pd.DataFrame(
        {
            "iteration": np.repeat(np.arange(2 * lines), seeds),
            "seed": np.tile(np.arange(seeds), 2 * lines),
        }
    )
    table["env_steps"] = 100 * (1 + table["iteration"])
    turn = (table["iteration"] % 2 == 0) & (table["iteration"] // 2 % seeds == table["seed"])
    figures = {
        "gradient_variance": variance,
        "gradient_signal": signal,
        "gradient_blocks": blocks,
        "split_half_cosine": cosine,
        "gradient_variance_of_rloo": 6.0,
        "gradient_signal_of_rloo": 2.0,
    }
    for name, value in figures.items():
        table[name] = np.where(turn, value, np.nan)
    return table


def test_ten_points_of_ten_diagnoses_each():
    found = relative_variance_along(metrics(100))
    assert len(found) == 10
    assert found["relative_variance"].tolist() == [2.0] * 10
    assert found["blocks"].tolist() == [80] * 10
    np.testing.assert_allclose(found["env_steps"], 1000 + 2000 * np.arange(10))
    assert list(found.columns) == ["env_steps", "relative_variance", "blocks"]


def test_sums_are_pooled_not_ratios():
    table = metrics(20)
    known = table.index[table["gradient_variance"].notna()]
    table.loc[known, "gradient_variance"] = np.arange(20) + 1.0
    table.loc[known, "gradient_signal"] = np.where(np.arange(20) % 2, 3.0, -1.0)
    found = relative_variance_along(table, points=2)["relative_variance"]
    assert found.tolist() == [55 / 10, 155 / 10]
    assert found[0] == relative_variance(np.arange(10) + 1.0, [-1, 3] * 5, [8] * 10)


def test_windows_overlap_where_diagnoses_are_few():
    table = metrics(20)
    steps = np.sort(table["env_steps"][table["gradient_variance"].notna()])
    found = relative_variance_along(table)
    assert len(found) == 10
    assert found["blocks"].tolist() == [80] * 10
    np.testing.assert_allclose(
        found["env_steps"].iloc[[0, -1]], [steps[:10].mean(), steps[10:].mean()]
    )


def test_few_diagnoses_make_few_points_and_few_blocks_none():
    assert len(relative_variance_along(metrics(12))) == 3
    assert len(relative_variance_along(metrics(3))) == 1
    assert relative_variance_along(metrics(3, blocks=1))["relative_variance"].isna().all()
    assert len(relative_variance_along(metrics(100), points=4)) == 4


def test_noise_that_hides_the_signal_is_kept():
    assert math.isinf(relative_variance_along(metrics(10, signal=-1.0))["relative_variance"][0])


def test_another_estimator_on_the_same_batches():
    found = relative_variance_along(metrics(10), estimator="rloo")
    assert found["relative_variance"].tolist() == [3.0]


def test_without_diagnoses_there_are_no_points():
    table = metrics(10)
    bare = table[["iteration", "seed", "env_steps"]]
    empty = table[table["gradient_variance"].isna()]
    for nothing in (bare, empty):
        assert relative_variance_along(nothing).empty
        assert direction_along(nothing).empty


def test_direction():
    table = metrics(20)
    known = table.index[table["split_half_cosine"].notna()]
    table.loc[known, "split_half_cosine"] = [0.1, 0.3] * 5 + [0.6] * 10
    found = direction_along(table, points=2)
    np.testing.assert_allclose(found["cosine"], [0.2, 0.6])
    assert found["lines"].tolist() == [10, 10]
    assert 0.1 <= found["low"][0] < 0.2 < found["high"][0] <= 0.3
    assert (found["low"][1], found["high"][1]) == (0.6, 0.6)
    few = direction_along(metrics(COSINE_LINES - 1))
    assert few["cosine"].tolist() == [0.5]
    assert few["low"].isna().all()


@pytest.mark.parametrize("length", [0.0, 1.0, 10.0])
def test_coverage_of_the_cosine(length):
    rng = np.random.default_rng(0)
    for lines in (COSINE_LINES, 10, 20):
        assert cosine_coverage(length, lines, 300, rng) > 0.9
