"""Every agent's Ψ and surrogate against its formula, and what all of them must satisfy."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pgzoo.agents import AGENTS, agent_class
from pgzoo.agents.ppo import PPO
from pgzoo.errors import UsageError
from pgzoo.estimators import (
    episode_return,
    gae,
    group_center,
    group_standardize,
    kl_estimate,
    leave_one_out,
    leave_one_out_per_step,
    returns_to_go,
    whiten,
)
from pgzoo.learning.gradients import policy_gradient, weigh
from pgzoo.learning.update import Parameters, learn
from pgzoo.policies.model import Model, of_actions
from pgzoo.policies.networks import MLP
from pgzoo.sampling.batch import Batch
from tests.helpers import make_trajectories

POLICY = MLP((3, 5, 2))
LENGTHS = [[3, 1, 5, 2], [2, 2, 4, 1]]
OPTIONS = {
    name: {"group_size": 2, "episodes": 4}
    for name in ("rloo", "grpo", "dr-grpo", "reinforce++-baseline")
}


def make_agent(name, **options):
    return agent_class(name)(**OPTIONS.get(name, {}) | options)


def make_model(agent, reference=False, num_replicas=2):
    g = torch.Generator().manual_seed(1)

    def random(network):
        return torch.randn(num_replicas, network.num_params, generator=g, dtype=torch.float64)

    critic = MLP((3, 4, 2 if agent.critic == "action" else 1))
    has_critic = agent.critic != "none"
    return Model(
        POLICY,
        random(POLICY),
        critic if has_critic else None,
        random(critic) if has_critic else None,
        random(POLICY) if reference else None,
    )


def on_policy(model, batch):
    """The batch as if the model's own policy had acted."""
    log_prob = of_actions(model.log_probs(batch), batch.action)
    return dataclasses.replace(batch, log_prob=log_prob)


BATCH = make_trajectories(LENGTHS)
MASK = BATCH.mask


def returns(gamma=0.99, reward=BATCH.reward):
    return episode_return(reward, MASK, gamma)


def at_every_step(x):
    return x[..., None] * MASK


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("rloo", at_every_step(leave_one_out(returns(), 2))),
        ("grpo", at_every_step(group_standardize(returns(), 2))),
        ("dr-grpo", at_every_step(group_center(returns(), 2))),
        ("reinforce++", whiten(returns_to_go(BATCH.reward, MASK, 0.99), MASK)),
        ("reinforce++-baseline", whiten(at_every_step(group_center(returns(), 2)), MASK)),
    ],
)
def test_psi_of_critic_free_agents(name, want):
    agent = make_agent(name)
    torch.testing.assert_close(agent.psi(BATCH, make_model(agent)), want)


def test_psi_of_reward_to_go_rloo():
    agent = make_agent("rloo", reward_to_go=True)
    to_go = returns_to_go(BATCH.reward, MASK, 0.99)
    want = leave_one_out_per_step(to_go, MASK, 2)
    torch.testing.assert_close(agent.psi(BATCH, make_model(agent)), want)


@pytest.mark.parametrize("name", ["actor-critic", "ppo"])
def test_psi_and_target_of_agents_with_a_critic(name):
    agent = make_agent(name, lam=0.7)
    model = make_model(agent)
    value, following = (
        model.critic.apply(model.phi, x)[..., 0] for x in (BATCH.obs, BATCH.next_obs)
    )
    want = gae(BATCH.reward, value, following, BATCH.terminated, BATCH.truncated, MASK, 0.99, 0.7)
    torch.testing.assert_close(agent.psi(BATCH, model), want)
    torch.testing.assert_close(agent.critic_target(BATCH, model)[MASK], (want + value)[MASK])


def test_psi_of_all_actions_is_q_less_its_expectation():
    agent = make_agent("all-actions")
    model = make_model(agent)
    q = model.critic.apply(model.phi, BATCH.obs) * MASK[..., None]
    pi = POLICY.apply(model.theta, BATCH.obs).softmax(-1)
    want = q - (pi * q).sum(-1, keepdim=True)
    psi = agent.psi(BATCH, model)
    torch.testing.assert_close(psi[MASK], want[MASK])
    expectation = (pi * psi).sum(-1)[MASK]
    torch.testing.assert_close(expectation, torch.zeros_like(expectation))


@pytest.mark.parametrize("name", ["ppo", "grpo", "dr-grpo", "reinforce++"])
@pytest.mark.parametrize("aggregation", ["sum", "step-mean", "trajectory-mean"])
def test_at_ratio_1_clipped_agents_have_the_plain_gradient(name, aggregation):
    extra = {"standardize": False} if name == "ppo" else {}
    agent = make_agent(name, aggregation=aggregation, **extra)
    plain = make_agent("reinforce", aggregation=aggregation)
    model = make_model(agent)
    batch = Batch(on_policy(model, BATCH), torch.randn(BATCH.reward.shape).double())
    got, metrics = policy_gradient(agent, model, batch)
    want, _ = policy_gradient(plain, model, batch)
    torch.testing.assert_close(got, want)
    assert not metrics["clip_fraction"].any()
    assert metrics["kl_old_policy"].abs().max() < 1e-9


def test_ppo_standardises_each_minibatch():
    agent, raw = PPO(), PPO(standardize=False)
    model = make_model(agent)
    psi = torch.randn(BATCH.reward.shape).double()
    got, _ = policy_gradient(agent, model, Batch(BATCH, psi))
    want, _ = policy_gradient(raw, model, Batch(BATCH, whiten(psi, MASK)))
    torch.testing.assert_close(got, want)


def test_ppo_counts_clipping_by_the_standardised_sign():
    """All raw advantages are positive; half of the standardised ones are not."""
    agent = PPO()
    model = make_model(agent)
    psi = 10 + BATCH.reward
    log_probs = model.log_probs(BATCH)
    far = dataclasses.replace(BATCH, log_prob=of_actions(log_probs, BATCH.action) - 1)  # ρ = e

    def clipped(agent):
        return agent.update_metrics(log_probs, Batch(far, psi))["clip_fraction"]

    positive = (whiten(psi, MASK) > 0).sum((1, 2)) / MASK.sum((1, 2))
    torch.testing.assert_close(clipped(agent), positive)
    torch.testing.assert_close(clipped(PPO(standardize=False)), torch.ones(2))


def test_value_clipping_by_hand():
    agent = PPO(value_clip=0.5)
    value, old, target = torch.tensor([2.0, 2.0, 1.2]), torch.ones(3), torch.tensor([3.0, 0.0, 0.0])
    # prediction clipped to 1.5, 1.5 and 1.2; the larger error counts
    got = agent.critic_loss(value, old, target)
    torch.testing.assert_close(got, torch.tensor([1.5**2, 2.0**2, 1.2**2]))
    assert PPO().critic_loss(value, old, target).tolist() == pytest.approx([1.0, 4.0, 1.44])


@pytest.mark.parametrize("name", ["rloo", "grpo", "dr-grpo", "reinforce++", "reinforce++-baseline"])
def test_kl_in_the_reward_changes_psi(name):
    options = {"reference": "somewhere", "kl_coef": 0.3, "kl_placement": "reward"}
    agent = make_agent(name, **options)
    model = make_model(agent, reference=True)
    log_ref = of_actions(POLICY.apply(model.reference, BATCH.obs).log_softmax(-1), BATCH.action)
    changed = dataclasses.replace(BATCH, reward=BATCH.reward - 0.3 * (BATCH.log_prob - log_ref))
    want = make_agent(name).psi(changed, model)
    torch.testing.assert_close(agent.psi(BATCH, model), want)
    batch, _ = weigh(agent, model, BATCH)
    plain = make_agent(name)
    torch.testing.assert_close(
        policy_gradient(agent, model, batch)[0], policy_gradient(plain, model, batch)[0]
    )


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
@pytest.mark.parametrize("name", ["rloo", "grpo", "dr-grpo", "reinforce++", "reinforce++-baseline"])
def test_kl_in_the_loss_adds_its_gradient(name, estimator):
    options = {"reference": "somewhere", "kl_coef": 0.3, "kl_placement": "loss"}
    agent = make_agent(name, **options, kl_estimator=estimator, aggregation="step-mean")
    plain = make_agent(name, aggregation="step-mean")
    model = make_model(agent, reference=True)
    torch.testing.assert_close(agent.psi(BATCH, model), plain.psi(BATCH, model))
    batch, _ = weigh(agent, model, BATCH)
    theta = model.theta.clone().requires_grad_()
    log_prob = of_actions(POLICY.apply(theta, BATCH.obs).log_softmax(-1), BATCH.action)
    penalty = kl_estimate(log_prob, model.reference_log_prob(BATCH), estimator)
    weight = MASK / MASK.sum((1, 2), keepdim=True)
    (0.3 * weight * torch.where(MASK, penalty, 0)).sum().backward()
    want = policy_gradient(plain, model, batch)[0] - theta.grad
    got = policy_gradient(agent, model, batch)[0]
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", AGENTS)
@given(seed=st.integers(0, 60))
def test_padding_never_leaks(name, seed):
    """Whatever padding holds, NaN included: same Ψ where it counts, same updates."""
    rng = np.random.default_rng(seed)
    extra = {"critic_epochs": 1, "critic_minibatches": 2}
    agent = make_agent(name, **extra if make_agent(name).critic != "none" else {})
    model = make_model(agent)
    clean = make_trajectories(rng.integers(1, 6, (2, 4)).tolist(), seed=seed)
    mask = clean.mask

    def spoil(x, value):
        return torch.where(mask.view(*mask.shape, *[1] * (x.ndim - 3)), x, value)

    floats = {k: spoil(getattr(clean, k), torch.nan) for k in ("obs", "next_obs", "reward")}
    dirty = dataclasses.replace(
        clean,
        **floats,
        log_prob=spoil(clean.log_prob, torch.nan),
        action=spoil(clean.action, 1),
        terminated=clean.terminated | ~mask,
        truncated=clean.truncated | ~mask,
    )

    def update(batch):
        critic = None if model.phi is None else Parameters.start(model.phi)
        rngs = [np.random.default_rng(s) for s in range(2)]
        share = torch.zeros(2)
        policy = Parameters.start(model.theta)
        return learn(agent, model, policy, critic, batch, share, rngs)

    (policy, critic, metrics), (policy_d, critic_d, metrics_d) = update(clean), update(dirty)
    torch.testing.assert_close(policy.values, policy_d.values)
    if critic is not None:
        torch.testing.assert_close(critic.values, critic_d.values)
    for key, value in metrics.items():
        torch.testing.assert_close(value, metrics_d[key], msg=key)


@pytest.mark.parametrize("name", ["rloo", "reinforce++-baseline"])
def test_a_group_of_one_where_the_formula_needs_two(name):
    with pytest.raises(UsageError, match="--group-size of at least 2"):
        make_agent(name, group_size=1)


@pytest.mark.parametrize("name", ["grpo", "dr-grpo"])
def test_a_group_of_one_where_the_source_says_baseline_0_and_std_1(name):
    agent = make_agent(name, group_size=1)
    torch.testing.assert_close(agent.psi(BATCH, make_model(agent)), at_every_step(returns()))


def test_trajectory_ratio_is_one_number_for_each_trajectory():
    agent = make_agent("grpo", ratio="trajectory")
    model = make_model(agent)
    log_probs = model.log_probs(BATCH)
    ratio = agent.importance_ratio(log_probs, Batch(BATCH, BATCH.reward))
    log_ratio = of_actions(log_probs, BATCH.action) - BATCH.log_prob
    for s in range(2):
        for n in range(4):
            want = log_ratio[s, n][MASK[s, n]].mean().exp()
            torch.testing.assert_close(ratio[s, n], want.expand(ratio.shape[-1]))
