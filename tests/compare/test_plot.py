"""From run folders to outcomes, figures and tables."""

import dataclasses

import numpy as np
import pytest
from click.testing import CliRunner

import pgzoo
from pgzoo.cli import main
from pgzoo.compare.from_runs import labels_of, outcomes_of
from pgzoo.learning.run import load
from pgzoo.records.run_folder import RunFolder

SMALL = {"steps": 600, "episodes": 4, "hidden": (4,), "progress": False}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")

    def trained(name, agent, **changes):
        options = {"env": "CartPole-v1", "seeds": range(2)} | SMALL | changes
        return pgzoo.train(agent, out=place / name, **options)

    return {
        "plain": trained("plain", "reinforce"),
        "more": trained("more", "reinforce", seeds=[5, 2]),
        "togo": trained("discounted", "reinforce", gamma=0.9),
        "rloo": trained("rloo", "rloo", group_size=2, max_episode_steps=None),
        "lake": trained(
            "lake", "reinforce", env="FrozenLake-v1", policy="tabular", hidden=(64, 64)
        ),
        "short": trained("short", "reinforce", max_episode_steps=20),
    }


def plotted(*arguments, status=0):
    done = CliRunner().invoke(main, ["plot", *map(str, arguments)])
    assert done.exit_code == status, done.output
    return " ".join(done.output.split())


def test_an_outcome_is_what_the_run_says(runs):
    run = runs["plain"]
    (outcome,) = outcomes_of([run])
    assert outcome.label == "reinforce"
    assert outcome.seeds == (0, 1)
    assert outcome.returns.tolist() == run.summary["eval_mean"]
    assert outcome.trained.tolist() == run.summary["env_steps_per_seed"]
    assert (outcome.threshold, outcome.budget) == (475, 600)
    assert len(outcome.metrics) == len(run.metrics)
    assert outcome.options["steps"] == 600
    times = run.times.set_index("iteration").seconds
    last = outcome.metrics.groupby("seed").tail(1)
    assert last.seconds.tolist() == [times[i] for i in last.iteration]


def test_runs_of_one_setting_are_one_contender_with_all_seeds_in_order(runs):
    (outcome,) = outcomes_of([runs["more"], runs["plain"]])
    assert outcome.seeds == (0, 1, 2, 5)
    assert outcome.returns[2] == runs["more"].summary["eval_mean"][1]
    assert len(outcome.runs) == 2


def test_runs_of_one_agent_are_labelled_by_what_differs(runs):
    labels = [o.label for o in outcomes_of([runs["plain"], runs["togo"], runs["rloo"]])]
    assert labels == ["reinforce", "reinforce:gamma=0.9", "rloo"]


def test_users_estimators_are_labelled_by_function_or_file_if_need_be(runs):
    config = runs["plain"].config

    def of(*agents):
        return labels_of([dataclasses.replace(config, agent=agent) for agent in agents])

    assert of("a/mine.py:psi", "ppo") == ["psi", "ppo"]
    assert of("a.py:psi", "b.py:psi") == ["a.py:psi", "b.py:psi"]
    assert of("a.py:ppo") == ["a.py:ppo"]


def test_policies_are_told_apart(runs):
    config = runs["plain"].config
    linear = dataclasses.replace(config, policy_kind="linear")
    assert labels_of([config, linear]) == ["reinforce:policy=mlp", "reinforce:policy=linear"]


def test_a_failed_seed_has_no_return(runs, tmp_path):
    run = runs["plain"]
    for file in run.path.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    summary = run.summary | {"eval_mean": [None, 9.0], "eval_standard_error": [None, 1.0]}
    summary |= {"eval_std": [None, 1.0], "failed": ["lost", None]}
    RunFolder.open(tmp_path).write_summary(summary)
    (outcome,) = outcomes_of([load(tmp_path)])
    assert np.isnan(outcome.returns[0])
    assert outcome.failed == ("lost", None)


def test_the_command_writes_figures_and_tables(runs, tmp_path):
    out = tmp_path / "new" / "figures"
    said = plotted(runs["plain"].path, runs["rloo"].path, "--out", out, "--format", "png, svg")
    assert "overview (png, svg)" in said
    names = {f.name for f in out.iterdir()}
    assert {"overview.png", "learning_curves.svg", "contenders.csv", "pairs.tex"} <= names
    assert not [n for n in names if n.endswith(".pdf") or n.startswith(".")]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["plain", "lake"], "Expected runs of one environment, got CartPole-v1"),
        (["plain", "short"], "Expected runs of one time limit, got none"),
        (["plain", "plain"], "twice. Leave one out"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(runs, tmp_path, names, message):
    folders = [runs[name].path for name in names]
    assert message in plotted(*folders, "--out", tmp_path / "x", status=2)
    assert not (tmp_path / "x").exists()


def test_other_mistakes_are_named(runs, tmp_path):
    here = runs["plain"].path
    said = plotted(here, "--format", "gif", "--out", tmp_path / "x", status=2)
    assert "Expected --format among png, pdf, svg; got 'gif'" in said
    assert "has no config.json" in plotted(tmp_path, status=2)
    assert "Missing argument" in plotted(status=2)
    (tmp_path / "file").write_text("")
    assert "Cannot write to" in plotted(here, "--out", tmp_path / "file", status=2)


def test_a_seed_of_two_runs_of_one_setting_is_refused(runs, tmp_path):
    again = pgzoo.train("reinforce", env="CartPole-v1", seeds=[1], out=tmp_path / "again", **SMALL)
    said = plotted(runs["plain"].path, again.path, "--out", tmp_path / "x", status=2)
    assert "Expected every seed of reinforce once, got seed 1 from several" in said


def test_a_run_that_was_interrupted_is_refused(tmp_path):
    run = pgzoo.train(
        "reinforce",
        env="CartPole-v1",
        seeds=1,
        out=tmp_path / "half",
        callback=lambda report: True,
        **SMALL,
    )
    assert run.summary is None
    assert "was interrupted" in plotted(run.path, "--out", tmp_path / "x", status=2)
