import dataclasses

import pytest

from pgzoo.agents import AGENTS, agent_class
from pgzoo.agents.base import Agent, hyperparameters
from pgzoo.errors import UsageError


@pytest.mark.parametrize("name", AGENTS)
def test_registered_agents_have_documented_options_and_valid_defaults(name):
    agent = agent_class(name)
    assert issubclass(agent, Agent)
    assert AGENTS[name].source
    assert all(field.metadata["description"] for field in hyperparameters(agent))
    for env in ("CartPole-v1", "LunarLander-v3", "SomeOther-v0"):
        for policy in ("mlp", "tabular"):
            agent.for_env(env, policy)


def test_defaults_per_environment_give_way_to_what_is_chosen():
    agent = agent_class("reinforce-baseline")
    special = agent.defaults["LunarLander-v3"]
    assert agent.for_env("LunarLander-v3").steps == special["steps"]
    assert agent.for_env("LunarLander-v3", steps=7).steps == 7
    assert agent.for_env("LunarLander-v3", steps=7).baseline == special["baseline"]


def test_defaults_of_a_policy_come_after_those_of_the_environment():
    agent = agent_class("all-actions")
    assert agent.for_env("CartPole-v1").steps == agent.defaults["CartPole-v1"]["steps"]
    tabular = agent.for_env("CartPole-v1", "tabular")
    assert tabular.learning_rate == agent.defaults["tabular"]["learning_rate"]
    assert tabular.steps == agent.defaults["CartPole-v1 tabular"]["steps"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"steps": 0}, "--steps of at least 1, got 0"),
        ({"learning_rate": 0.0}, "--learning-rate above 0, got 0"),
        ({"learning_rate": float("nan")}, "--learning-rate"),
        ({"gamma": 1.5}, "--gamma between 0 and 1, got 1.5"),
        ({"gamma": -0.1}, "--gamma between 0 and 1"),
        ({"max_grad_norm": float("inf")}, "--max-grad-norm"),
        ({"hidden": (64, 0)}, "positive whole numbers"),
    ],
)
def test_values_out_of_range_are_explained(option, message):
    with pytest.raises(UsageError, match=message):
        agent_class("reinforce")(**option)


def test_unknown_agent_suggests_near_names():
    with pytest.raises(UsageError, match="Did you mean reinforce"):
        agent_class("reinforc")


def test_agents_are_values():
    agent = agent_class("reinforce")()
    assert agent == dataclasses.replace(agent)
    with pytest.raises(dataclasses.FrozenInstanceError):
        agent.gamma = 0.5
