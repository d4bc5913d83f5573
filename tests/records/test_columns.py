import json
import math
import subprocess
import sys

import numpy as np
import pytest

from pgzoo.records import columns
from pgzoo.records.columns import (
    DIAGNOSED,
    check_summary,
    metrics_line,
    run_summary,
    signal_column,
    variance_column,
)
from tests.records.examples import config

LINE = {
    "iteration": 2,
    "seed": 3,
    "env_steps": 40,
    "episodes": 4,
    "returns": [9.0, 11.0],
    "lengths": [9, 12],
    "recent": [8.0, 9.0, 9.0, 11.0],
}


def test_a_line_by_hand():
    line = metrics_line(
        **LINE, figures={"entropy": 0.5, "psi_rms": math.nan, "gradient_norm": math.inf}
    )
    assert line == {
        "iteration": 2,
        "seed": 3,
        "env_steps": 40,
        "episodes": 4,
        "return_mean": 10.0,
        "return_last_100": 9.25,
        "length_mean": 10.5,
        "entropy": 0.5,
        "psi_rms": None,
        "gradient_norm": None,
    }


def test_without_episodes_there_is_no_mean():
    line = metrics_line(**LINE | {"returns": [], "lengths": [], "recent": []}, figures={})
    assert line["return_mean"] is line["length_mean"] is line["return_last_100"] is None


def test_lines_have_the_same_columns_whether_or_not_they_are_diagnosed():
    sparse = [*DIAGNOSED, variance_column("rloo"), signal_column("rloo")]
    figures = {"gradient_variance": 2.0, "entropy": 0.5}
    plain, diagnosed = (
        metrics_line(**LINE, figures=f, sparse=sparse)
        for f in ({"entropy": 0.5}, figures | {variance_column("rloo"): 4.0})
    )
    assert list(plain) == list(diagnosed)
    assert list(plain)[-len(sparse) :] == sparse
    assert all(plain[name] is None for name in sparse)
    assert diagnosed["gradient_variance"] == 2
    assert diagnosed["gradient_variance_of_rloo"] == 4
    assert diagnosed["gradient_signal_of_rloo"] is None


def test_every_column_is_described_once():
    with pytest.raises(ValueError, match="colour is no column"):
        metrics_line(**LINE, figures={"colour": 1.0})
    parts = (columns.PROGRESS, columns.LEARNING, columns.DIAGNOSED)
    assert len(columns.COLUMNS) == sum(map(len, parts))
    assert set(columns.PROGRESS) == metrics_line(**LINE, figures={}).keys()
    assert "psi_q05" in DIAGNOSED


def summarise(**changes):
    values = {
        "iterations": 7,
        "env_steps": [100, 300, 200],
        "seconds": 3.0,
        "threshold": 10.0,
        "episodes": 4,
        "returns": [[9.0, 11.0, 9.0, 13.0], None, np.array([1.0, 1.0, 1.0, 1.0])],
        "steps_to_threshold": [90, None, None],
        "failed": [None, "why", None],
    }
    return run_summary(config(seeds=(4, 7, 9)), **values | changes)


def test_a_summary_by_hand():
    summary = summarise(solved_interval=lambda k, n: (k / n / 2, np.float64(1)))
    assert summary["seeds"] == [4, 7, 9]
    assert summary["policy_kind"] == "mlp"
    assert summary["env_steps_per_seed"] == [100, 300, 200]
    assert (summary["wall_seconds"], summary["steps_per_second"]) == (3, 200)
    assert summary["eval_mean"] == [10.5, None, 1.0]
    deviation = math.sqrt((1.5**2 + 0.5**2 + 1.5**2 + 2.5**2) / 3)
    assert summary["eval_std"] == [pytest.approx(deviation), None, 0.0]
    assert summary["eval_standard_error"] == [pytest.approx(deviation / 2), None, 0.0]
    assert summary["solved"] == [True, False, False]
    assert summary["solved_interval"] == [pytest.approx(1 / 6), 1.0]


def test_without_a_threshold_nothing_is_solved_or_unsolved():
    summary = summarise(threshold=None, solved_interval=lambda k, n: (0.0, 1.0))
    assert summary["solved"] == [None] * 3
    assert summary["solved_interval"] is None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"threshold": None},
        {"returns": [None] * 3},
        {"returns": [[math.nan, 1.0], [math.inf, 1.0], [1.0, 2.0]], "episodes": 2},
        {"returns": np.ones((3, 4)), "failed": [None] * 3},
        {"returns": np.full((3, 4), 1.7e308), "failed": [None] * 3},
        {"solved_interval": lambda k, n: (0.0, 1.0)},
    ],
)
def test_every_summary_is_json_that_is_accepted_again(changes):
    summary = summarise(**changes)
    again = json.loads(json.dumps(summary, allow_nan=False))
    assert again == summary
    check_summary(again, config(seeds=(4, 7, 9)))


def test_a_summary_of_another_run_is_none_of_this():
    with pytest.raises(ValueError, match=r"\"seeds\" to be as in config\.json, \(4, 7\)"):
        check_summary(summarise(), config(seeds=(4, 7)))


@pytest.mark.parametrize("field", ["eval_mean", "eval_std", "threshold"])
def test_figures_that_cannot_be_subtracted_or_drawn_are_refused(field):
    summary = summarise()
    was = summary[field]
    summary[field] = [1.7e308] * len(was) if isinstance(was, list) else -1.7e308
    with pytest.raises(ValueError, match=rf"{field}.* -?1e.300; got"):
        check_summary(summary, config(seeds=(4, 7, 9)))


def test_columns_need_no_torch():
    program = "import sys, pgzoo.records.columns; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
