"""What every run can be told, whatever its agent, does something."""

import numpy as np
import pytest

import pgzoo
from pgzoo.errors import UsageError
from pgzoo.learning.arguments import configure, seeds_of
from pgzoo.learning.trainer import Trainer
from pgzoo.sampling import memory
from tests.helpers import COMMON

RUN = COMMON | {"env": "CartPole-v1", "seeds": [0], "steps": 100}


def trainer(agent="reinforce", **options):
    config, made = configure(agent, **RUN | options)
    return Trainer(config, made, "cpu")


def test_a_longer_limit_than_the_environments_own_makes_longer_episodes():
    def steps(limit):
        state, _ = (
            t := trainer(env="MountainCar-v0", max_episode_steps=limit, episodes=1)
        ).iterate(t.initial_state())
        return state.replicas[0].env_steps

    assert [steps(150), steps(None), steps(250)] == [150, 200, 250]


def test_seeds_stop_only_where_there_is_a_threshold():
    with pytest.raises(UsageError, match="a threshold with `stop_when_solved`, but CliffWalking"):
        trainer(env="CliffWalking-v1", max_episode_steps=9, stop_when_solved=True)


def test_more_diagnoses_than_steps_are_refused():
    with pytest.raises(UsageError, match="`diagnostics` of at most 100, the run's `steps`, got 1"):
        trainer(diagnostics=101)
    assert trainer(diagnostics=100).config.diagnostics == 100


def test_what_surely_does_not_fit_is_refused_and_nothing_else(monkeypatch):
    fitting = trainer("ppo", hidden=(8,), envs=4, segment_steps=10)
    parameters = (5 * 8 + 9 * 2) + (5 * 8 + 9 * 1)
    needed = 36 * parameters + 40 * (2 * 16 + 19)
    monkeypatch.setattr(memory, "free", lambda device: needed)
    fitting.initial_state()
    monkeypatch.setattr(memory, "free", lambda device: needed - 1)
    with pytest.raises(UsageError, match=r"would need at least 0\.0 GB, and cpu has 0\.0 GB free"):
        fitting.initial_state()


@pytest.mark.parametrize(
    "seeds",
    [0, -1, True, 10**12, 10**5000, 2.5, "3", "0-9", None, [], [0.5], [True], [2**63], [-1],
     range(10**12), ["1"], float("nan"), [float("nan")], object()],
    ids=lambda seeds: str(type(seeds).__name__),
)  # fmt: skip
def test_what_are_no_seeds_is_refused_before_a_list_is_made_of_it(seeds):
    with pytest.raises(UsageError, match="`seeds`"):
        seeds_of(seeds)


def test_seeds_may_come_in_any_collection():
    assert seeds_of(np.int64(3)) == (0, 1, 2)
    assert seeds_of(np.array([4, 2])) == (4, 2)
    assert seeds_of(s for s in (1, 5)) == (1, 5)
    assert seeds_of([2**63 - 1]) == (2**63 - 1,)


@pytest.mark.parametrize(
    "options",
    [
        {"env": ""},
        {"env": None},
        {"policy": None},
        {"device": ["cpu"]},
        {"out": ""},
        {"max_episode_steps": 2**31},
        {"max_episode_steps": "9"},
        {"diagnostics": 10**12},
        {"stop_when_solved": 1},
        {"compare_estimators": "no"},
        {"tensorboard_seeds": np.array([1, 2])},
        {"progress": np.array([1, 2])},
    ],
    ids=str,
)
def test_arguments_of_other_kinds_are_explained(options):
    (name,) = options
    with pytest.raises(UsageError, match=f"Expected `{name}`"):
        pgzoo.train("reinforce", **{"env": "CartPole-v1", "steps": 9, "progress": False} | options)
