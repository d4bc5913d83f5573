"""What all agents share: defaults by environment, the paper's definition, clear refusals."""

import dataclasses
import re

import pytest

from pgzoo.agents import AGENTS, agent_class, options_in_order, training_default
from pgzoo.agents.base import Agent
from pgzoo.errors import UsageError
from pgzoo.options import flat, own_options


@pytest.mark.parametrize("name", AGENTS)
def test_agents_are_introduced(name):
    entry = AGENTS[name]
    assert issubclass(entry.agent, Agent)
    assert entry.agent.name == entry.name == name
    assert all((entry.summary, entry.formula, entry.source))
    assert str(entry.year) in entry.source
    assert all(o.description for o in options_in_order(entry.agent))


def test_an_agents_own_options_come_before_those_that_all_have():
    names = [o.name for o in options_in_order(agent_class("grpo"))]
    common = [n for n in names if n in own_options(Agent)]
    assert names[-len(common) :] == common
    assert names.index("group_size") < names.index("clip") < names.index("steps")


def test_defaults_per_environment_give_way_to_what_is_chosen():
    agent = agent_class("reinforce-baseline")
    special = agent.defaults["LunarLander-v3"]
    assert agent.for_env("LunarLander-v3").steps == special["steps"]
    assert agent.for_env("LunarLander-v3", steps=7).steps == 7
    assert agent.for_env("LunarLander-v3", steps=7).baseline == special["baseline"]
    assert agent.with_options().steps != special["steps"]


def test_defaults_of_a_policy_come_after_those_of_the_environment():
    agent = agent_class("all-actions")
    assert agent.for_env("CartPole-v1").steps == agent.defaults["CartPole-v1"]["steps"]
    tabular = agent.for_env("CartPole-v1", "tabular")
    assert tabular.learning_rate == agent.defaults["tabular"]["learning_rate"]
    assert tabular.steps == agent.defaults["CartPole-v1 tabular"]["steps"]


def test_what_a_help_text_says_of_defaults_is_what_training_takes():
    agent = agent_class("reinforce-baseline")
    known = {o.name: o for o in options_in_order(agent)}
    for case in ("", "CartPole-v1", "LunarLander-v3", "tabular"):
        env, policy = ("SomeOther-v0", case) if case == "tabular" else (case, "mlp")
        made = flat(agent.for_env(env, policy))
        said = {k: training_default(agent, o, case) for k, o in known.items()}
        assert made.items() <= said.items(), case


@pytest.mark.parametrize("name", AGENTS)
def test_training_adds_its_conveniences_and_as_defined_takes_them_away(name):
    agent = agent_class(name)
    trained = agent.for_env("SomeOther-v0")
    assert {k: flat(trained)[k] for k in agent.training} == agent.training
    assert trained.as_defined() == agent.with_options()
    chosen = agent.for_env("CartPole-v1", gamma=0.5)
    kept = {k: v for k, v in flat(chosen).items() if k not in agent.training}
    assert flat(chosen.as_defined()).items() >= kept.items()


@pytest.mark.parametrize("name", ["reinforce", "reinforce-baseline", "actor-critic", "rloo"])
def test_the_classic_estimators_are_plain_by_definition_and_rescaled_in_training(name):
    plain, trained = agent_class(name).with_options(), agent_class(name).for_env("CartPole-v1")
    assert (plain.aggregation, plain.psi_scale) == ("sum", "none")
    assert (trained.aggregation, trained.psi_scale) == ("step-mean", "rms")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"steps": 0}, "Expected `steps` between 1 and 1,000,000,000,000, got 0."),
        ({"learning_rate": 0.0}, "Expected `learning_rate` above 0 and at most 100, got 0."),
        ({"gamma": 1.5}, "Expected `gamma` between 0 and 1, got 1.5."),
        ({"hidden": (64, 0)}, "Expected `hidden` to be positive whole numbers"),
    ],
)
def test_values_out_of_range_are_explained_however_an_agent_is_made(option, message):
    agent = agent_class("reinforce")
    for make in (agent, agent.with_options, lambda **o: agent.for_env("CartPole-v1", **o)):
        with pytest.raises(UsageError, match=re.escape(message)):
            make(**option)


def test_unknown_agent_suggests_near_names():
    with pytest.raises(UsageError, match=r"Unknown agent 'reinforc'\. Did you mean reinforce"):
        agent_class("reinforc")
    with pytest.raises(UsageError, match=r"Agents: reinforce, reinforce-baseline, .*FILE\.py"):
        agent_class("zzz")


def test_agents_are_values():
    agent = agent_class("reinforce").with_options()
    assert agent == dataclasses.replace(agent)
    with pytest.raises(dataclasses.FrozenInstanceError):
        agent.gamma = 0.5


def test_a_part_follows_the_option_that_chooses_it():
    """However the value is made; a part of one's own is kept where it is of the chosen kind."""
    agent = agent_class("reinforce-baseline")
    learned = agent(baseline="value")
    assert learned.critic.of == "state"
    assert dataclasses.replace(learned, baseline="optimal").critic is None
    own = dataclasses.replace(learned.critic, critic_epochs=9)
    assert agent(baseline="value", critic=own).critic is own
    assert agent(baseline="optimal", critic=own).critic is None
    assert not agent_class("all-actions")(sampling="episodes").plan.group_size > 1
    assert agent_class("all-actions")(sampling="episodes").plan.complete


@pytest.mark.parametrize("name", ["ppo"])
def test_one_ratio_for_a_whole_trajectory_needs_whole_trajectories(name):
    with pytest.raises(UsageError, match="`ratio=step` with segments, got trajectory"):
        agent_class(name).with_options(ratio="trajectory")
    for other in ("grpo", "dr-grpo", "reinforce++", "reinforce++-baseline"):
        assert agent_class(other).with_options(ratio="trajectory").surrogate.ratio == "trajectory"


@pytest.mark.parametrize(
    ("name", "options", "most"),
    [
        ("grpo", {"episodes": 4, "group_size": 2}, 4),
        ("ppo", {"envs": 2, "segment_steps": 3}, 6),
    ],
)
def test_more_minibatches_than_there_are_parts_are_refused(name, options, most):
    agent = agent_class(name)
    agent.with_options(**options, minibatches=most)
    with pytest.raises(UsageError, match=rf"many `minibatches` .* {most}; got {most + 1}\."):
        agent.with_options(**options, minibatches=most + 1)
