"""Workers of environments die, and environments fail, while an agent trains."""

import dataclasses
import warnings

import pgzoo_envs
import pytest

import pgzoo
from pgzoo.errors import UsageError
from pgzoo.learning.loop import TrainingStoppedError
from pgzoo.learning.shards import split, train_shard
from tests.failing_env import ENV_ID, prepare
from tests.helpers import COMMON, make_config
from tests.killing import all_workers_killed, workers
from tests.learning.test_loop import results, run


@pytest.fixture(autouse=True)
def _two_processes(monkeypatch):
    monkeypatch.setattr(pgzoo_envs, "_most_processors", 2)


@pytest.fixture
def how(monkeypatch, tmp_path):
    yield prepare(monkeypatch, tmp_path)
    assert workers() == []


def lunar_lander(agent, **options):
    config = make_config(agent, env="LunarLander-v3", max_episode_steps=80, **options)
    return dataclasses.replace(config, seeds=(0, 3), diagnostics=2)


@pytest.mark.parametrize(
    "config",
    [
        lunar_lander("reinforce-baseline", episodes=8, steps=2_500),
        lunar_lander("ppo", envs=8, segment_steps=64, episodes=None, steps=2_500),
    ],
    ids=["episodes", "segments"],
)
def test_workers_killed_by_a_thread_change_no_file(tmp_path, config):
    run(tmp_path / "whole", config)
    with all_workers_killed(4, within=0.3, seed=0) as (killed, go_on):
        run(tmp_path / "killed", config, lambda _: go_on())
    assert killed
    assert results(tmp_path / "whole") == results(tmp_path / "killed")


def failing(**options):
    return {
        "env": ENV_ID,
        "policy": "tabular",
        "seeds": [2, 7],
        "episodes": 8,
        "steps": 800,
        "progress": False,
    } | options


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("raises", r"(?s)^Failing-v0, in step 1 of an episode .*in step\n.*ValueError: no such lu"),
        ("workers die", r"^A process that steps Failing-v0 ended unexpectedly \(status 9\) in ste"),
    ],
)
def test_what_cannot_go_on_is_saved_and_goes_on_when_it_is_mended(tmp_path, how, word, words):
    options = failing()
    whole = pgzoo.train("reinforce", out=tmp_path / "whole", **options)
    where = tmp_path / "parts"

    def fail(report):
        if report.iteration == 3:
            how.write_text(word)

    with (
        warnings.catch_warnings(action="ignore"),
        pytest.raises(TrainingStoppedError, match=words) as error,
    ):
        pgzoo.train("reinforce", out=where, callback=fail, **options)
    said = " ".join(str(error.value).split())
    assert f"in iteration 3, seeds 2, 7. Everything before it is saved in {where}" in said
    assert f"Go on with pgzoo.load({str(where)!r}).resume()." in said
    how.unlink()
    assert pgzoo.load(where).resume(progress=False).summary is not None
    assert results(where) == results(whole.path)


def test_a_failure_in_the_last_evaluation_loses_nothing(tmp_path, how):
    whole = pgzoo.train("reinforce", out=tmp_path / "whole", **failing())

    def fail(report):
        if report.share == 1:
            how.write_text("raises")

    with pytest.raises(TrainingStoppedError, match=r"the evaluation after training, seeds 2, 7\."):
        pgzoo.train("reinforce", out=tmp_path / "parts", callback=fail, **failing())
    how.unlink()
    pgzoo.load(tmp_path / "parts").resume(progress=False)
    assert results(tmp_path / "parts") == results(whole.path)


def test_a_failure_of_a_shard_says_how_it_goes_on(tmp_path, how):
    config, _ = pgzoo.learning.arguments.configure(
        "reinforce",
        **COMMON | {k: v for k, v in failing(steps=20_000).items() if k != "progress"},
    )
    (shard,) = split(config, "reinforce", tmp_path / "shards", 1)

    def fail(report):
        if report.iteration > 0:
            how.write_text("raises")

    with pytest.raises(UsageError, match=r"(?s)no such luck.*seeds 2, 7.*The same call goes on"):
        train_shard(shard, fail)
    assert shard.run_folder().load_checkpoint()[1]["iteration"] > 0
