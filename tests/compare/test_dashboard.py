import numpy as np
import pandas as pd
import pytest

from pgzoo.compare.dashboard import write_comparison
from pgzoo.compare.outcome import Outcome
from pgzoo.errors import UsageError
from pgzoo.records.tensorboard import HIGH, LOW, RETURN, SOON, SUCCESS, TRAINED
from tests.helpers import make_config
from tests.records.test_tensorboard import png_of, scalars, tensors


def outcome(label, agent="reinforce-baseline", returns=(480.0, 490.0, 500.0, 20.0, np.nan)):
    seeds = tuple(range(5))
    lines = [
        {
            "iteration": i,
            "seed": seed,
            "env_steps": 100 * (i + 1),
            "return_last_100": 10.0 * (i + 1) + seed,
            "entropy": np.nan,
            "seconds": 1.0,
        }
        for seed in seeds
        for i in range(3)
    ]
    failed = [None] * 4 + ["numbers became non-finite in iteration 3"]
    return Outcome(
        label=label,
        agent=agent,
        options={},
        config=make_config(agent, seeds=(0, 1)),
        seeds=seeds,
        returns=np.array(returns),
        standard_errors=np.zeros(5),
        failed=tuple(failed),
        threshold=475.0,
        budget=300,
        trained=np.full(5, 300),
        steps_to_threshold=(100, 200, 300, None, None),
        seconds_to_threshold=(None,) * 5,
        metrics=pd.DataFrame(lines),
        runs=(),
    )


LABEL = "reinforce-baseline:baseline=value"


def test_every_contender_is_a_run_named_by_its_label(tmp_path):
    outcomes = [outcome(LABEL), outcome("examples/mine.py:f", "reinforce")]
    figures = {"performance profile": png_of(4, 3)}
    place = write_comparison(tmp_path, outcomes, verdicts=["undecided"], figures=figures)
    assert place == tmp_path / "tensorboard"
    assert {p.name for p in place.iterdir()} == {LABEL, "examples_mine.py:f", "comparison"}
    assert [p.name for p in tmp_path.iterdir()] == ["tensorboard"]
    found = scalars(place / LABEL)
    assert found[RETURN] == [(100, 12.0), (200, 22.0), (300, 32.0)]
    assert {LOW, HIGH, SUCCESS} <= found.keys()
    assert found[TRAINED] == [(300, 485.0)]  # without the seed that failed
    assert found[SOON] == [(300, 300.0)]
    assert "why/entropy" not in found
    said = tensors(place / LABEL, "text")["results"][0].tensor_proto.string_val[0].decode()
    assert "solved (mean ≥ 475): 3 of 5 seeds" in said
    assert "seed 4 failed: numbers became non-finite" in said
    said = tensors(place / LABEL, "text")["settings"][0].tensor_proto.string_val[0].decode()
    assert "5 seeds (0-4)" in said
    assert set(tensors(place / "comparison", "images")) == {"with figures/performance profile"}
    (text,) = tensors(place / "comparison", "text")["comparison"]
    assert text.tensor_proto.string_val[0].decode() == "undecided"


def test_a_comparison_is_replaced_whole(tmp_path):
    for label in ("ppo", "rloo"):
        write_comparison(tmp_path, [outcome(label)], verdicts=[], figures={})
    assert {p.name for p in (tmp_path / "tensorboard").iterdir()} == {"rloo", "comparison"}


def test_links_are_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "tensorboard").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="got a symbolic link"):
        write_comparison(tmp_path, [outcome("ppo")], verdicts=[], figures={})
