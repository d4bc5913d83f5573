"""One iteration of learning: minibatches, the optimiser's steps, the critic's fit."""

import dataclasses

import numpy as np
import pytest
import torch

from pgzoo.agents.reinforce_baseline import ReinforceBaseline
from pgzoo.learning.gradients import policy_gradient, weigh
from pgzoo.learning.update import Learners, Networks, Parameters, _minibatches, learn
from pgzoo.policies.networks import MLP
from tests.helpers import (
    CLIPPED,
    POLICY,
    make_model,
    make_segments,
    make_trajectories,
    of_replica,
    on_policy,
    random_parameters,
    small,
)

STILL = {"learning_rate": 1e-9, "lr_schedule": "constant"}
"""So small that parameters stay where they are."""


def start(agent, num_replicas, dtype=torch.float64):
    """Networks, and what is learned, before the first update."""
    model = make_model(agent, num_replicas)
    critic = None if model.phi is None else Parameters.start(model.phi.to(dtype))
    learners = Learners(Parameters.start(model.theta.to(dtype)), critic)
    return Networks(model.policy, model.critic_network), learners


def one_step(agent, batch, networks, learners, seeds=None, progress=0.0):
    outputs = networks.model(learners).on(batch)
    count = len(batch.mask)
    rngs = [np.random.default_rng(s) for s in seeds or range(count)]
    return learn(agent, learners, outputs, torch.full((count,), progress), rngs)


@pytest.mark.parametrize("baseline", ["batch-mean", "time-step-mean", "value", "optimal"])
def test_replicas_learn_as_if_alone(baseline):
    """Parameters, after Adam; of every agent's gradients see the tests of company."""
    agent = ReinforceBaseline.for_env("CartPole-v1", baseline=baseline, entropy_coef=0.1)
    batch = make_trajectories([[3, 1, 5], [7, 2, 4]], dtype=torch.float32)
    networks, learners = start(agent, 2, torch.float32)
    together, metrics = one_step(agent, batch, networks, learners)
    for s in range(2):
        own = learners.rows(torch.tensor([s]))
        alone, figures = one_step(agent, of_replica(batch, s), networks, own, [s])
        close = {"rtol": 1e-4, "atol": 1e-5}
        row = together.rows(torch.tensor([s]))
        torch.testing.assert_close(row.policy.values, alone.policy.values, **close)
        if baseline == "value":
            torch.testing.assert_close(row.critic.values, alone.critic.values, **close)
        for name, value in figures.items():
            torch.testing.assert_close(metrics[name][s], value[0], **close)


def test_linear_schedule_scales_the_steps_of_policy_and_critic():
    batch = make_trajectories([[3, 4]])
    steps = {}
    for schedule, progress in (("constant", 0.75), ("linear", 0.0), ("linear", 0.75)):
        agent = ReinforceBaseline.with_options(
            baseline="value", lr_schedule=schedule, critic_epochs=1, critic_minibatches=1
        )
        networks, learners = start(agent, 1)
        after, metrics = one_step(agent, batch, networks, learners, progress=progress)
        steps[schedule, progress] = (
            metrics["learning_rate"].item(),
            (after.policy.values - learners.policy.values).abs().max().item(),
            (after.critic.values - learners.critic.values).abs().max().item(),
        )
    assert steps["constant", 0.75] == pytest.approx((5e-3, 5e-3, 1e-2), rel=1e-3)
    assert steps["linear", 0.0] == steps["constant", 0.75]
    assert steps["linear", 0.75] == pytest.approx((1.25e-3, 1.25e-3, 2.5e-3), rel=1e-3)


def test_the_gradient_is_clipped_and_its_norm_is_told_as_it_was():
    batch = make_trajectories([[3, 4]])
    found = {}
    for limit in (0.0, 1e-3):
        agent = ReinforceBaseline.with_options(max_grad_norm=limit)
        networks, learners = start(agent, 1)
        after, metrics = one_step(agent, batch, networks, learners)
        found[limit] = metrics["gradient_norm"].item(), after.policy.adam.mean.norm().item()
    norm = found[0.0][0]
    assert norm > 0.01
    assert found[0.0] == pytest.approx((norm, 0.1 * norm))
    assert found[1e-3] == pytest.approx((norm, 0.1 * 1e-3))


def test_the_critic_learns_its_targets():
    agent = ReinforceBaseline.with_options(
        baseline="value", gamma=1.0, critic_epochs=300, critic_minibatches=1
    )
    batch = make_trajectories([[4, 4, 4]])
    _, learners = start(agent, 1)
    networks = Networks(POLICY, MLP((3, 16, 1)))
    phi = Parameters.start(random_parameters(networks.critic, 1))
    learners, first = one_step(agent, batch, networks, dataclasses.replace(learners, critic=phi))
    _, second = one_step(agent, batch, networks, learners)
    assert first["explained_variance"] < 0.5
    assert second["critic_loss"] < 0.05
    assert second["explained_variance"] > 0.9


def test_the_critics_loss_is_that_of_the_last_epoch_by_hand():
    """With a critic that stays where it is, the mean of (V − y)² over minibatches of one size."""
    agent = small("actor-critic", critic_learning_rate=1e-9, critic_minibatches=2)
    batch = make_segments([[[], []], [[], []]])
    networks, learners = start(agent, 2)
    outputs = networks.model(learners).on(batch)
    error = outputs.values - agent.critic.target(batch, outputs, agent.gamma)
    _, metrics = one_step(agent, batch, networks, learners)
    torch.testing.assert_close(metrics["critic_loss"], error.square().mean((1, 2)))
    assert "psi_rms" in metrics
    assert metrics["explained_variance"].shape == (2,)


def test_the_critics_loss_leaves_earlier_epochs_out():
    """Two epochs at once tell what the second of two single ones does."""
    once, twice = (
        small("reinforce-baseline", baseline="value", critic_epochs=n, critic_minibatches=1)
        for n in (1, 2)
    )
    batch = make_trajectories([[3, 4], [2, 1]])
    networks, learners = start(once, 2)
    middle, first = one_step(once, batch, networks, learners)
    _, second = one_step(once, batch, networks, middle)
    _, both = one_step(twice, batch, networks, learners)
    torch.testing.assert_close(both["critic_loss"], second["critic_loss"])
    assert (both["critic_loss"] < first["critic_loss"]).all()


def test_replicas_come_and_go():
    agent = ReinforceBaseline.with_options(baseline="value")
    _, learners = start(agent, 3)
    learners = dataclasses.replace(learners, reference=torch.arange(3.0)[:, None])
    index = torch.tensor([2, 0])
    some = learners.rows(index)
    assert torch.equal(some.policy.values, learners.policy.values[index])
    assert some.reference.flatten().tolist() == [2, 0]
    moved = Learners(
        Parameters.start(some.policy.values + 1), Parameters.start(some.critic.values + 2)
    )
    back = learners.copy()
    back.put(index, moved)
    assert torch.equal(back.policy.values[1], learners.policy.values[1])
    assert torch.equal(back.critic.values[[0, 2]], learners.critic.values[[0, 2]] + 2)
    assert torch.equal(back.reference, learners.reference)
    assert back.finite().all()
    some.critic.values[1, 3] = torch.inf
    back = learners.copy()
    back.put(index, some)
    assert back.finite().tolist() == [False, True, True]
    assert learners.finite().all(), "a copy is its own"


def minibatch_gradients(agent, model, trajectories, seed=5):
    """Of every minibatch at the same θ, ``[parts, S, P]``."""
    batch, _ = weigh(agent, model.on(trajectories))
    rngs = [np.random.default_rng(seed + s) for s in range(len(batch.mask))]
    return torch.stack(
        [policy_gradient(agent, model, part)[0] for part in _minibatches(agent, batch, rngs)]
    ), policy_gradient(agent, model, batch)[0]


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("aggregation", ["sum", "step-mean", "trajectory-mean"])
@pytest.mark.parametrize(
    ("name", "ratio"),
    [(n, r) for r in ("step", "trajectory") for n in CLIPPED if n != "ppo" or r == "step"],
)
def test_minibatches_of_one_size_average_to_the_batch(name, ratio, aggregation, behind):
    """At ρ = 1, and elsewhere: the objective is a sum over steps, or over trajectories."""
    options = {"standardize": False, "epochs": 2, "ratio": ratio, "aggregation": aggregation}
    agent = small(name, **options, minibatches=2)
    model = make_model(agent)
    if agent.plan.complete:
        trajectories = make_trajectories([[3, 1, 5, 2], [2, 6, 4, 1]])
    else:  # 20 and 22 real steps
        trajectories = make_segments([[[1], [0, 3], [], [2]], [[], [4], [], [0]]])
    trajectories = dataclasses.replace(
        on_policy(model, trajectories), group_size=agent.plan.group_size
    )
    if behind:
        away = 0.3 * torch.randn_like(trajectories.reward)
        trajectories = dataclasses.replace(trajectories, log_prob=trajectories.log_prob + away)
    parts, whole = minibatch_gradients(agent, model, trajectories)
    assert len(parts) == 4
    for epoch in (parts[:2], parts[2:]):
        torch.testing.assert_close(epoch.mean(0), whole, rtol=1e-5, atol=1e-8)
    assert (parts[0] - whole).abs().max() > 1e-3 * whole.abs().max()
    assert not torch.equal(parts[0], parts[2]), "dealt anew"


def few_steps():
    """Segments whose second replica has one real step, and the third none."""
    t = make_segments([[[], []], [[], []], [[], []]])
    mask = t.mask.clone()
    mask[1:] = False
    mask[1, 1, 3] = True
    return dataclasses.replace(t, mask=mask)


def test_only_parts_that_hold_something_are_steps_of_adam():
    agent = small("ppo", envs=2, segment_steps=6, minibatches=4, epochs=3, critic_minibatches=5)
    networks, learners = start(agent, 3)
    after, metrics = one_step(agent, few_steps(), networks, learners)
    assert after.policy.adam.count.flatten().tolist() == [12, 3, 0]
    assert after.critic.adam.count.flatten().tolist() == [20, 4, 0]
    assert all(v[:2].isfinite().all() for v in metrics.values())


def test_figures_are_means_over_the_parts_that_hold_something():
    """As of one minibatch, where the policy stays where it is."""
    agent = small("ppo", envs=2, segment_steps=6, minibatches=4, standardize=False, **STILL)
    once = dataclasses.replace(
        agent, surrogate=dataclasses.replace(agent.surrogate, minibatches=1, epochs=1)
    )
    networks, learners = start(agent, 3)
    batch = few_steps()
    _, metrics = one_step(agent, batch, networks, learners)
    _, whole = one_step(once, batch, networks, learners)
    for name in ("entropy", "clip_fraction", "kl_old_policy"):  # of 12 steps in 4 parts, and of 1
        torch.testing.assert_close(metrics[name][:2], whole[name][:2], rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(metrics["gradient_norm"][1], whole["gradient_norm"][1])
    assert 0.2 < metrics["entropy"][1] < 0.7


@pytest.mark.parametrize("name", ["ppo", "actor-critic", "reinforce-baseline"])
def test_a_replica_without_a_step_stays_as_it_is_and_disturbs_nobody(name):
    extra = {"baseline": "value"} if name == "reinforce-baseline" else {}
    agent = small(name, entropy_coef=0.1, **extra)
    networks, learners = start(agent, 3)
    learners, _ = one_step(agent, make_segments([[[], []]] * 3), networks, learners)
    batch = few_steps()
    after, metrics = one_step(agent, batch, networks, learners)
    for part in ("policy", "critic"):
        before, now = (getattr(x, part).tensors() for x in (learners, after))
        for key in before:
            assert torch.equal(before[key][2], now[key][2]), f"{part} {key}"
            assert not torch.equal(before[key][1], now[key][1]), f"{part} {key}"
    others = torch.tensor([0, 1])
    batch = batch.map(lambda x: x[:2])
    without, figures = one_step(agent, batch, networks, learners.rows(others))
    torch.testing.assert_close(without.policy.values, after.policy.values[:2])
    torch.testing.assert_close(without.critic.values, after.critic.values[:2])
    for key, value in figures.items():
        torch.testing.assert_close(value, metrics[key][:2], msg=key)


@pytest.mark.parametrize("name", ["ppo", "actor-critic"])
def test_nobody_has_a_step(name):
    """As where each environment is at a reset in the one step of its segment."""
    agent = small(name, envs=2, segment_steps=1, **({"minibatches": 2} if name == "ppo" else {}))
    batch = make_segments([[[], []], [[], []]], num_steps=1)
    batch = dataclasses.replace(batch, mask=torch.zeros_like(batch.mask))
    networks, learners = start(agent, 2)
    after, _ = one_step(agent, batch, networks, learners)
    assert torch.equal(after.policy.values, learners.policy.values)
    assert torch.equal(after.critic.values, learners.critic.values)


def test_a_critic_has_no_more_minibatches_than_there_are_steps():
    """Further ones are empty, however many."""
    agents = [
        small("reinforce-baseline", baseline="value", critic_minibatches=n) for n in (16, 2**31 - 1)
    ]
    batch = make_trajectories([[3, 1, 1, 2], [4, 4, 4, 4]])
    found = []
    for agent in agents:
        networks, learners = start(agent, 2)
        found.append(one_step(agent, batch, networks, learners))
    (few, few_figures), (many, many_figures) = found
    assert torch.equal(few.critic.values, many.critic.values)
    assert torch.equal(few_figures["critic_loss"], many_figures["critic_loss"])
