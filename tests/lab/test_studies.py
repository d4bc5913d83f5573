import csv
import dataclasses
import json
import math

import pytest

from pgzoo.cli import main as pgzoo
from pgzoo.cli.lab import LAB_STUDIES
from pgzoo.errors import UsageError
from pgzoo.lab import Problem, Settings, studies
from pgzoo.lab.studies import STUDIES, Setup, run_study
from tests.lab.toy import LESSONS, LEVELS

SMALL = Settings(trajectories=8, estimates=20, critic_trajectories=16)
POLE = Problem.initial("CartPole-v1", hidden=(4,), max_episode_steps=15)


@pytest.fixture(autouse=True)
def _few_points(monkeypatch):
    monkeypatch.setattr(studies, "BATCH_SIZES", (8, 16))
    monkeypatch.setattr(studies, "GROUP_SIZES", (2, 4))
    monkeypatch.setattr(studies, "GAMMAS", (0.9, 1.0))
    monkeypatch.setattr(studies, "DIVERGENCES", (0.0, 0.01))


def run(name, tmp_path, **changes):
    setup = dataclasses.replace(Setup(POLE, SMALL, group_size=4), **changes)
    return run_study(name, setup, tmp_path / name, lambda share, what: None)


@pytest.mark.parametrize("name", [s for s in STUDIES if s != "training"])
def test_every_study_leaves_tables_and_a_figure(name, tmp_path):
    result = run(name, tmp_path)
    points = result.points
    assert not result.interrupted
    folder = tmp_path / name
    rows = list(csv.DictReader((folder / "lab.csv").open()))
    assert len(rows) == len(points) > 1
    assert {f"{q}_high" for q in STUDIES[name].panels} <= rows[0].keys()
    assert json.loads((folder / "lab.json").read_text())["study"] == name
    assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_the_command_line_names_exactly_these():
    assert set(LAB_STUDIES) == {"measure", *STUDIES}


def test_training_follows_the_snapshots_of_a_run(tmp_path):
    command = "run reinforce --env CartPole-v1 --seeds 3-4 --steps 600 --hidden 4 --episodes 4"
    out = tmp_path / "run"
    pgzoo([*command.split(), "--quiet", "--out", str(out)], standalone_mode=False)
    points = run("training", tmp_path, run=out, seed=4).points
    moments = sorted({p.x for p in points})
    assert (moments[0], moments[-1]) == (0, 100)
    with pytest.raises(UsageError, match="Expected `run`"):
        run("training", tmp_path)


def test_variance_falls_as_one_over_the_batch_size(tmp_path):
    settings = dataclasses.replace(SMALL, estimates=300)
    points = run("batch-size", tmp_path, settings=settings, estimators=("reinforce",)).points
    small, large = (p.row.properties.variance for p in points)
    assert small.low / large.high < 2 < small.high / large.low


def test_clipping_does_nothing_where_the_policy_is_the_one_that_acted(tmp_path):
    points = run("drift", tmp_path).points
    still = [p.row.properties for p in points if p.x == 0.0]
    assert math.isclose(still[1].variance.point, still[2].variance.point, rel_tol=1e-4)
    assert math.isclose(still[2].variance.point, still[3].variance.point, rel_tol=1e-4)


def test_an_interruption_keeps_the_parts_that_are_done(tmp_path, monkeypatch):
    original = studies.measure

    def interrupted_second(*arguments):
        result = original(*arguments)
        calls.append(1)
        return dataclasses.replace(result, interrupted=len(calls) == 2)

    calls = []
    monkeypatch.setattr(studies, "measure", interrupted_second)
    result = run("batch-size", tmp_path)
    assert result.interrupted
    assert {p.x for p in result.points} == {8, 16}
    assert (tmp_path / "batch-size" / "batch-size.png").exists()
    said = json.loads((tmp_path / "batch-size" / "lab.json").read_text())
    assert said["interrupted"]
    assert [part["x"] for part in said["parts"]] == [[8], [16]]


def test_an_interruption_between_parts_is_said_too(tmp_path, monkeypatch):
    original = studies.measure
    calls = []

    def raises_second(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(studies, "measure", raises_second)
    result = run("batch-size", tmp_path)
    assert result.interrupted
    assert {p.x for p in result.points} == {8}
    assert json.loads((tmp_path / "batch-size" / "lab.json").read_text())["interrupted"]


def test_an_estimator_that_fails_later_keeps_what_was_done(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def mine(t):\n    assert t.reward.shape[1] < 16\n    return t.reward\n")
    with pytest.raises(UsageError, match=r"mine\.py:2"):
        run("batch-size", tmp_path, estimators=(f"{file}:mine",))
    folder = tmp_path / "batch-size"
    assert (folder / "batch-size.png").exists()
    assert json.loads((folder / "lab.json").read_text())["interrupted"]


def test_starts_are_compared_pair_by_pair(tmp_path):
    own = tmp_path / "mine.py"
    own.write_text("def mine(t):\n    return t.reward * t.mask\n")
    names = ("rloo:group_size=2", "grpo", f"{own}:mine:group_size=4")
    result = run("starts", tmp_path, estimators=names)
    labels = [p.row.estimator for p in result.points]
    assert labels[:3] == [
        "rloo:group_size=2,starts=shared",
        "rloo:group_size=2,starts=independent",
        "grpo:starts=shared",
    ]
    assert [p.row.plan for p in result.points][2:4] == [
        "groups of 4",
        "groups of 4, independent starts",
    ]
    panels = STUDIES["starts"].panels
    assert [(c.a, c.b) for c in result.contrasts[:: len(panels)]] == list(
        zip(labels[::2], labels[1::2], strict=True)
    )
    variance = result.contrasts[panels.index("variance")]
    shared, apart = (p.row.properties.variance.point for p in result.points[:2])
    assert variance.found.interval.point == pytest.approx(shared / apart)
    said = json.loads((tmp_path / "starts" / "lab.json").read_text())["contrasts"]
    assert len(said) == len(result.contrasts) == 3 * len(panels)
    assert said[0]["kind"] == "ratio"
    with pytest.raises(UsageError, match="sample in groups, got reinforce"):
        run("starts", tmp_path / "other", estimators=("reinforce",))


@pytest.mark.parametrize(("env", "shared_is_better"), [(LEVELS, True), (LESSONS, False)])
def test_a_shared_start_helps_where_it_decides_the_level_and_costs_distinct_starts(
    env, shared_is_better, tmp_path
):
    problem = Problem.initial(env, policy_kind="tabular")
    settings = Settings(trajectories=8, estimates=200)
    result = run("starts", tmp_path, problem=problem, settings=settings, estimators=("rloo",))
    ratio = next(c.found for c in result.contrasts if c.quantity == "relative_variance")
    assert (ratio.interval.high < 1) if shared_is_better else (ratio.interval.low > 1)
    assert ratio.p_value < 0.01
