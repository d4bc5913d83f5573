"""Every agent's Ψ and surrogate against its formula, and what all of them must satisfy."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pgzoo.agents import AGENTS
from pgzoo.agents.critics import Critic
from pgzoo.agents.ppo import PPO
from pgzoo.estimators import (
    clipped_weight,
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
from pgzoo.learning.gradients import effective_weights, policy_gradient, weigh
from pgzoo.learning.update import Learners, Networks, Parameters, learn
from pgzoo.sampling.batch import Batch, of_actions
from tests.helpers import CLIPPED, POLICY, make_model, make_trajectories, on_policy, small

BATCH = make_trajectories([[3, 1, 5, 2], [2, 2, 4, 1]])
MASK = BATCH.mask
PENALISED = ["rloo", "grpo", "dr-grpo", "reinforce++", "reinforce++-baseline"]


def psi_of(agent, trajectories=BATCH, **model):
    return agent.psi(trajectories, make_model(agent, **model).on(trajectories))


def with_psi(agent, psi, trajectories=BATCH):
    return Batch(trajectories, psi, agent.step_weights(trajectories))


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
    torch.testing.assert_close(psi_of(small(name)), want)


def test_psi_of_reward_to_go_rloo():
    to_go = returns_to_go(BATCH.reward, MASK, 0.99)
    want = leave_one_out_per_step(to_go, MASK, 2)
    torch.testing.assert_close(psi_of(small("rloo", reward_to_go=True)), want)


@pytest.mark.parametrize("name", ["actor-critic", "ppo"])
def test_psi_and_target_of_agents_with_a_critic(name):
    agent = small(name, lam=0.7, gamma=0.9)
    model = make_model(agent)
    outputs = model.on(BATCH)
    value, following = (
        model.critic_network.apply(model.phi, x)[..., 0] for x in (BATCH.obs, BATCH.next_obs)
    )
    want = gae(BATCH.reward, value, following, BATCH.terminated, BATCH.truncated, MASK, 0.9, 0.7)
    torch.testing.assert_close(agent.psi(BATCH, outputs), want)
    target = agent.critic.target(BATCH, outputs, 0.9)
    torch.testing.assert_close(target[MASK], (want + value)[MASK])


def test_a_baseline_is_fitted_to_returns():
    agent = small("reinforce-baseline", baseline="value", gamma=0.9)
    target = agent.critic.target(BATCH, make_model(agent).on(BATCH), 0.9)
    torch.testing.assert_close(target, returns_to_go(BATCH.reward, MASK, 0.9))


def test_psi_of_all_actions_is_q_less_its_expectation():
    agent = small("all-actions")
    model = make_model(agent)
    q = model.critic_network.apply(model.phi, BATCH.obs)
    pi = POLICY.apply(model.theta, BATCH.obs).softmax(-1)
    want = q - (pi * q).sum(-1, keepdim=True)
    psi = agent.psi(BATCH, model.on(BATCH))
    torch.testing.assert_close(psi[MASK], want[MASK])
    expectation = (pi * psi).sum(-1)[MASK]
    torch.testing.assert_close(expectation, torch.zeros_like(expectation))


@pytest.mark.parametrize("name", CLIPPED)
@pytest.mark.parametrize("aggregation", ["sum", "step-mean", "trajectory-mean"])
def test_at_ratio_1_clipped_agents_have_the_plain_gradient(name, aggregation):
    extra = {"standardize": False} if name == "ppo" else {}
    agent = small(name, aggregation=aggregation, **extra)
    plain = small("reinforce", aggregation=aggregation)
    model = make_model()
    batch = with_psi(agent, torch.randn(MASK.shape).double(), on_policy(model, BATCH))
    got, figures = policy_gradient(agent, model, batch)
    want, _ = policy_gradient(plain, model, batch)
    torch.testing.assert_close(got, want)
    assert not figures["clip_fraction"].any()
    assert figures["kl_old_policy"].abs().max() < 1e-9


@pytest.mark.parametrize("ratio", ["step", "trajectory"])
def test_effective_weights_of_the_clipped_ratio(ratio):
    """w ρ Ψ of the step itself, and nothing where clipping bites."""
    agent = small("reinforce++", ratio=ratio, clip=0.3)
    model = make_model()
    near = on_policy(model, BATCH)
    near = dataclasses.replace(near, log_prob=near.log_prob + 0.4 * torch.randn_like(near.reward))
    outputs = model.on(near)
    batch, _ = weigh(agent, outputs)
    rho = agent.surrogate.of(outputs.log_probs, batch)
    weight = torch.where(MASK, clipped_weight(rho, batch.psi, 0.3) * batch.weight, 0)
    assert 0 < (weight[MASK] == 0).sum() < MASK.sum() / 2
    got = effective_weights(agent, outputs.log_probs, batch)
    torch.testing.assert_close(of_actions(got, near.action), weight)
    assert not of_actions(got, 1 - near.action).any()


def test_a_ratio_of_the_trajectory_leaves_each_step_its_own_psi():
    """REINFORCE++: the weight of step t is s Ψ_t w_t with one s for the row, Ψ not pooled."""
    agent = small("reinforce++", ratio="trajectory", clip=0.99)
    outputs = make_model().on(BATCH)
    batch, _ = weigh(agent, outputs)
    got = of_actions(effective_weights(agent, outputs.log_probs, batch), BATCH.action)
    log_ratio = of_actions(outputs.log_probs, BATCH.action) - BATCH.log_prob
    for s, n in np.ndindex(2, 4):
        real = MASK[s, n]
        ratio = log_ratio[s, n][real].mean().exp()
        bites = (batch.psi[s, n][real] > 0) & (ratio > 1.99)
        want = torch.where(bites, 0, ratio * (batch.psi * batch.weight)[s, n][real])
        torch.testing.assert_close(got[s, n][real], want)
    assert (got != 0).any(-1).sum() > 4, "most rows are not clipped"


def test_ppo_standardises_each_minibatch():
    agent, raw = PPO(), PPO.with_options(standardize=False)
    model = make_model()
    psi = torch.randn(MASK.shape).double()
    got, _ = policy_gradient(agent, model, with_psi(agent, psi))
    want, _ = policy_gradient(raw, model, with_psi(raw, whiten(psi, MASK)))
    torch.testing.assert_close(got, want)


def test_ppo_counts_clipping_by_the_standardised_sign():
    """All raw advantages are positive; half of the standardised ones are not."""
    log_probs = make_model().on(BATCH).log_probs
    far = dataclasses.replace(BATCH, log_prob=of_actions(log_probs, BATCH.action) - 1)  # ρ = e
    psi = 10 + BATCH.reward

    def clipped(agent):
        return agent.surrogate.figures(log_probs, with_psi(agent, psi, far))["clip_fraction"]

    positive = (whiten(psi, MASK) > 0).sum((1, 2)) / MASK.sum((1, 2))
    torch.testing.assert_close(clipped(PPO()), positive)
    torch.testing.assert_close(clipped(PPO.with_options(standardize=False)), torch.ones(2))


def test_value_clipping_by_hand():
    value, old, target = torch.tensor([2.0, 2.0, 1.2]), torch.ones(3), torch.tensor([3.0, 0.0, 0.0])
    # prediction clipped to 1.5, 1.5 and 1.2; the larger error counts
    got = Critic(value_clip=0.5).loss(value, old, target)
    torch.testing.assert_close(got, torch.tensor([1.5**2, 2.0**2, 1.2**2]))
    assert Critic().loss(value, old, target).tolist() == pytest.approx([1.0, 4.0, 1.44])


@pytest.mark.parametrize("name", PENALISED)
def test_kl_in_the_reward_changes_psi(name):
    options = {"reference": "somewhere", "kl_coef": 0.3, "kl_placement": "reward"}
    agent, plain = small(name, **options), small(name)
    model = make_model(reference=True)
    log_ref = of_actions(POLICY.apply(model.reference, BATCH.obs).log_softmax(-1), BATCH.action)
    changed = dataclasses.replace(BATCH, reward=BATCH.reward - 0.3 * (BATCH.log_prob - log_ref))
    torch.testing.assert_close(agent.psi(BATCH, model.on(BATCH)), psi_of(plain, changed))
    batch, _ = weigh(agent, model.on(BATCH))
    torch.testing.assert_close(
        policy_gradient(agent, model, batch)[0], policy_gradient(plain, model, batch)[0]
    )


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
@pytest.mark.parametrize("name", PENALISED)
def test_kl_in_the_loss_adds_its_gradient(name, estimator):
    options = {"reference": "somewhere", "kl_coef": 0.3, "kl_placement": "loss"}
    agent, plain = small(name, **options, kl_estimator=estimator), small(name)
    model = make_model(reference=True)
    outputs = model.on(BATCH)
    torch.testing.assert_close(agent.psi(BATCH, outputs), plain.psi(BATCH, outputs))
    batch, _ = weigh(agent, outputs)
    theta = model.theta.clone().requires_grad_()
    log_prob = of_actions(POLICY.apply(theta, BATCH.obs).log_softmax(-1), BATCH.action)
    penalty = kl_estimate(log_prob, outputs.reference_log_prob, estimator)
    (0.3 * plain.step_weights(BATCH) * torch.where(MASK, penalty, 0)).sum().backward()
    want = policy_gradient(plain, model, batch)[0] - theta.grad
    torch.testing.assert_close(policy_gradient(agent, model, batch)[0], want)


def variants():
    """Every agent as it is in the laboratory; the all-actions gradient of episodes, too."""
    found = [(name, o) for name, entry in AGENTS.items() for o in entry.agent.in_zoo]
    return [*found, ("all-actions", {"sampling": "episodes"})]


@pytest.mark.parametrize(("name", "options"), variants(), ids=str)
@settings(max_examples=8)
@given(seed=st.integers(0, 10**6))
def test_padding_never_leaks(name, options, seed):
    """Whatever padding holds, NaN included: same Ψ where it counts, same updates, same figures."""
    agent = small(name, **options)
    few = {"critic_epochs": 1, "critic_minibatches": 2} if agent.critic else {}
    few |= {"epochs": 1, "minibatches": 2} if name in CLIPPED else {}
    penalty = {"reference": "somewhere", "kl_coef": 0.3} if agent.penalty else {}
    agent = small(name, **options, **few, **penalty)
    model = make_model(agent, reference=bool(penalty))
    lengths = np.random.default_rng(seed).integers(1, 6, (2, 4)).tolist()
    clean = make_trajectories(lengths, seed=seed)
    mask = clean.mask

    def spoil(x, value):
        return torch.where(mask.view(*mask.shape, *[1] * (x.ndim - 3)), x, value)

    floats = {
        k: spoil(getattr(clean, k), torch.nan) for k in ("obs", "next_obs", "reward", "log_prob")
    }
    dirty = dataclasses.replace(
        clean,
        **floats,
        action=spoil(clean.action, 1),
        terminated=clean.terminated | ~mask,
        truncated=clean.truncated | ~mask,
    )

    def update(batch):
        critic = None if model.phi is None else Parameters.start(model.phi)
        learners = Learners(Parameters.start(model.theta), critic, model.reference)
        networks = Networks(model.policy, model.critic_network)
        rngs = [np.random.default_rng(s) for s in range(2)]
        outputs = networks.model(learners).on(batch)
        return learn(agent, learners, outputs, torch.zeros(2), rngs)

    (learned, metrics), (learned_d, metrics_d) = update(clean), update(dirty)
    torch.testing.assert_close(learned.policy.values, learned_d.policy.values)
    if learned.critic is not None:
        torch.testing.assert_close(learned.critic.values, learned_d.critic.values)
    assert metrics.keys() == metrics_d.keys()
    for key, value in metrics.items():
        torch.testing.assert_close(value, metrics_d[key], msg=key)


@pytest.mark.parametrize("name", ["grpo", "dr-grpo"])
def test_a_group_of_one_where_the_source_says_baseline_0_and_std_1(name):
    torch.testing.assert_close(psi_of(small(name, group_size=1)), at_every_step(returns()))


def test_trajectory_ratio_is_one_number_for_each_trajectory():
    agent = small("grpo", ratio="trajectory")
    log_probs = make_model().on(BATCH).log_probs
    ratio = agent.surrogate.of(log_probs, with_psi(agent, BATCH.reward))
    log_ratio = of_actions(log_probs, BATCH.action) - BATCH.log_prob
    for s, n in np.ndindex(2, 4):
        want = log_ratio[s, n][MASK[s, n]].mean().exp()
        torch.testing.assert_close(ratio[s, n], want.expand(ratio.shape[-1]))
