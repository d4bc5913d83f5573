"""No option is without effect: another value trains other parameters, or is refused."""

from functools import cache

import pytest
import torch

import pgzoo
from pgzoo.agents import AGENTS, agent_class
from pgzoo.errors import UsageError
from pgzoo.learning.arguments import configure
from pgzoo.learning.trainer import Trainer
from pgzoo.options import flat, options_of

SMALL = {
    "steps": 240,
    "hidden": (4,),
    "episodes": 4,
    "group_size": 2,
    "envs": 2,
    "segment_steps": 24,
    "critic_minibatches": 2,
    "minibatches": 2,
    "learning_rate": 0.02,  # ratios move far enough for clipping, and episodes' lengths differ
    "critic_learning_rate": 0.02,
    "max_grad_norm": 0.0,  # clipped gradients hide by how much an estimate was scaled
}
WITH = {
    "gamma_t": {"gamma": 0.9},
    "clip": {"epochs": 4, "learning_rate": 0.1},  # the ratio leaves 1 after the first update
    "value_clip": {"critic_epochs": 4, "critic_learning_rate": 0.1},  # and V its old prediction
    "psi_scale": {"standardize": False},
    "entropy_coef": {"learning_rate": 0.1},  # a uniform policy has no entropy to gain
}
"""What an option shows its effect with."""
OTHER = {
    "steps": [480],
    "hidden": [(5,), (4, 4), ()],
    "group_size": [4],
    "kl_coef": [1.0],
}
"""Other values than those that a kind of option has anyway."""
REFUSED = {
    ("actor-critic", "ratio"),
    ("ppo", "ratio"),  # a segment is no trajectory
}
KL = ("reference", "kl_coef", "kl_placement", "kl_estimator")
CASES = [(name, option) for name, entry in AGENTS.items() for option in options_of(entry.agent)]


def settings(name, option, policy, references):
    """Small options of an agent with which one of them shows what it does."""
    known = options_of(agent_class(name))
    wanted = SMALL | WITH.get(option, {})
    if option in KL:
        wanted |= {"reference": references[0], "kl_coef": 0.5}
        wanted |= {"kl_placement": "loss"} if option == "kl_estimator" else {}
    if known[option].part_of is not None:
        wanted |= dict([known[option].part_of])
    wanted = {k: v for k, v in wanted.items() if k in known}
    values = {k: o.default for k, o in known.items()} | wanted | {"policy": policy}
    return {
        k: v
        for k, v in wanted.items()
        if (part := known[k].part_of) is None or (values[part[0]] == part[1] and part[0] != option)
        if all(need.holds(*map(values.get, need.names)) for need in known[k].needs)
    }


def others(known, value, references):
    """Further values of an option."""
    if known.name == "reference":
        return references[1:]
    if known.name in OTHER:
        return OTHER[known.name]
    if known.choices:
        return [choice for choice in known.choices if choice != value]
    if known.kind is bool:
        return [not value]
    if known.kind is int:
        return [2 * value]
    assert known.kind is float
    return [value / 2 if value else 0.05]


def trained(name, env, policy, options):
    return _trained(name, env, policy, tuple(options.items()))


@cache
def _trained(name, env, policy, options):
    """All parameters that one seed learned, ``[1, P]``."""
    config, agent = configure(
        name,
        env=env,
        seeds=[0],
        policy=policy,
        device="cpu",
        max_episode_steps=40,
        stop_when_solved=False,
        diagnostics=0,
        compare_estimators=False,
        **dict(options),
    )
    trainer = Trainer(config, agent, "cpu")
    state = trainer.initial_state()
    while state.running:
        state, _ = trainer.iterate(state)
    trainer.close()
    assert state.replicas[0].failed is None
    learners = state.learners
    critic = [] if learners.critic is None else [learners.critic.values]
    return torch.cat([learners.policy.values, *critic], dim=1)


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    """Runs whose policies are far from those that training starts with, and from each other."""
    place = tmp_path_factory.mktemp("references")
    for steps in (240, 480):
        pgzoo.train(
            "reinforce",
            env="CartPole-v1",
            seeds=1,
            steps=steps,
            hidden=(4,),
            episodes=4,
            learning_rate=0.1,
            max_episode_steps=40,
            progress=False,
            diagnostics=0,
            out=place / str(steps),
        )
    return [str(place / "240"), str(place / "480")]


def check_that_it_matters(name, option, env, policy, references):
    known = options_of(agent_class(name))[option]
    options = settings(name, option, policy, references)
    value = flat(agent_class(name).for_env(env, policy, **options))[option]
    before = trained(name, env, policy, options)
    for other in others(known, value, references):
        after = trained(name, env, policy, options | {option: other})
        same = before.shape == after.shape and torch.allclose(before, after, rtol=1e-4, atol=1e-5)
        assert not same, f"{option}={other} trains what {option}={value} does"


@pytest.mark.parametrize(("name", "option"), CASES)
def test_another_value_trains_other_parameters(name, option, references):
    if (name, option) in REFUSED:
        with pytest.raises(UsageError, match="a segment is no trajectory"):
            agent_class(name).for_env("CartPole-v1", **{option: "trajectory"})
        return
    check_that_it_matters(name, option, "CartPole-v1", "mlp", references)


@pytest.mark.parametrize("policy", ["linear", "tabular"])
@pytest.mark.parametrize(
    ("name", "option"), [(n, o) for n, o in CASES if "critic" in o or "value" in o]
)
def test_so_it_does_with_critics_of_every_kind(name, option, policy, references):
    check_that_it_matters(name, option, "CartPole-v1", policy, references)


@pytest.mark.parametrize("policy", ["linear", "tabular"])
@pytest.mark.parametrize("name", AGENTS)
def test_widths_without_hidden_layers_are_refused(name, policy):
    message = f"Expected `policy=mlp` with `hidden`, got `policy={policy}`"
    with pytest.raises(UsageError, match=message):
        agent_class(name).for_env("CartPole-v1", policy, hidden=(64, 64))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kl_coef": 0.0}, "Expected `reference` with `kl_coef`, got `reference=none`"),
        ({"kl_placement": "loss"}, "Expected `reference` with `kl_placement`"),
        ({"kl_estimator": "k1"}, "Expected `reference` with `kl_estimator`"),
        (
            {"reference": "a", "kl_coef": 1, "kl_placement": "reward", "kl_estimator": "k1"},
            "Expected `kl_placement=loss` with `kl_estimator`, got `kl_placement=reward`",
        ),
        (
            {"clip": 0.1, "epochs": 1},
            "Expected `epochs` or `minibatches` above 1 with `clip`, got `epochs=1` and `minib",
        ),
    ],
)
@pytest.mark.parametrize("name", ["grpo", "reinforce++"])
def test_what_would_change_nothing_is_refused(name, given, message):
    with pytest.raises(UsageError, match=message):
        agent_class(name).for_env("CartPole-v1", **given)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("ppo", {"psi_scale": "rms"}, "Expected `standardize=no` with `psi_scale`"),
        ("reinforce", {"gamma_t": True, "gamma": 1}, "Expected `gamma` below 1 with `gamma_t`"),
        (lambda t: t.reward, {"starts": "shared"}, "`group_size` above 1 with `starts`"),
        (
            "ppo",
            {"value_clip": 0.1, "critic_epochs": 1, "critic_minibatches": 1},
            "Expected `critic_epochs` or `critic_minibatches` above 1 with `value_clip`",
        ),
    ],
)
def test_so_is_what_others_make_void(name, given, message):
    with pytest.raises(UsageError, match=message):
        agent_class(name).for_env("CartPole-v1", **given)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("reinforce", {"episodes": 8, "steps": 8}, "Expected `steps` above 8 with `lr_schedule`"),
        ("rloo", {"steps": 16}, "Expected `steps` above 16 with `lr_schedule`"),
        ("ppo", {"envs": 2, "segment_steps": 5, "minibatches": 1, "steps": 6}, "above 6 with"),
    ],
)
def test_a_schedule_of_one_iteration_is_refused(name, given, message):
    kind = agent_class(name)
    for schedule in ("linear", "constant"):
        with pytest.raises(UsageError, match=message):
            kind.for_env("CartPole-v1", **given, lr_schedule=schedule)
    assert kind.for_env("CartPole-v1", **given).steps == given["steps"]
    more = given | {"steps": given["steps"] + 1}
    assert kind.for_env("CartPole-v1", **more, lr_schedule="linear").lr_schedule == "linear"


def test_more_minibatches_of_a_critic_than_its_batch_has_steps_are_refused():
    given = {"envs": 2, "segment_steps": 5, "minibatches": 1}
    ppo = agent_class("ppo")
    assert ppo.for_env("CartPole-v1", **given, critic_minibatches=10)
    with pytest.raises(UsageError, match=r"many `critic_minibatches` as .* steps, 10; got 11"):
        ppo.for_env("CartPole-v1", **given, critic_minibatches=11)


def test_a_clipped_ratio_of_one_update_is_refused_only_where_it_is_one():
    agent = agent_class("ppo").for_env("CartPole-v1", clip=0.1, epochs=1)
    assert agent.surrogate.minibatches > 1
