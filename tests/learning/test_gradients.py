"""One pass for many estimators gives each what autograd gives it alone."""

import dataclasses

import pytest
import torch

from pgzoo.agents import AGENTS
from pgzoo.learning.gradients import (
    effective_weights,
    gradient_estimates,
    objective,
    policy_gradient,
    weigh,
)
from pgzoo.policies.model import entropy
from pgzoo.sampling.batch import of_actions
from tests.helpers import CRITICS, make_model, make_trajectories, random_parameters, small

BATCH = make_trajectories([[3, 7, 1, 5], [6, 2, 4, 4]])
MASK = BATCH.mask


def zoo():
    """Every agent as it is in the laboratory, and some with a penalty in the loss."""
    agents = [small(name, **o) for name, e in AGENTS.items() for o in e.agent.in_zoo]
    penalty = {"reference": "somewhere", "kl_coef": 0.3, "kl_placement": "loss"}
    return [*agents, small("rloo", **penalty), small("grpo", ratio="trajectory", **penalty)]


@pytest.mark.parametrize("behind", [False, True])
def test_many_estimators_at_once_equal_each_alone(behind):
    """On policy, and with a behaviour policy that is somewhere else."""
    model = make_model(reference=True)
    log_prob = of_actions(model.on(BATCH).log_probs, BATCH.action)
    if behind:
        log_prob = log_prob + 0.3 * torch.randn_like(log_prob)
    trajectories = dataclasses.replace(BATCH, log_prob=log_prob, group_size=2)
    outputs = model.on(trajectories)
    critics = {k: (n, random_parameters(n, seed=2)) for k, n in CRITICS.items()}
    pairs = [
        (a, outputs.with_critic(*critics[a.critic.of]) if a.critic else outputs) for a in zoo()
    ]
    together = gradient_estimates(pairs)
    assert together.shape == (2, len(pairs), model.policy.num_params)
    for i, (agent, own) in enumerate(pairs):
        batch, _ = weigh(agent, own)
        alone, _ = policy_gradient(agent, own.model, batch)
        torch.testing.assert_close(together[:, i], alone, msg=agent.name)


def test_effective_weight_of_the_score_function_is_psi_times_aggregation():
    agent = small("reinforce", aggregation="trajectory-mean")
    outputs = make_model().on(BATCH)
    batch, _ = weigh(agent, outputs)
    weights = effective_weights(agent, outputs.log_probs, batch)
    expected = batch.psi * MASK / (4 * MASK.sum(2, keepdim=True))
    torch.testing.assert_close(of_actions(weights, BATCH.action), expected)
    assert not of_actions(weights, 1 - BATCH.action).any()


def test_effective_weight_of_all_actions_is_probability_times_psi():
    agent = small("all-actions")
    outputs = make_model(agent).on(BATCH)
    batch, _ = weigh(agent, outputs)
    weights = effective_weights(agent, outputs.log_probs, batch)
    expected = outputs.log_probs.exp() * batch.psi * MASK[..., None] / 4
    torch.testing.assert_close(weights[MASK], expected[MASK])
    assert not weights[~MASK].any()


def test_the_gradient_is_that_of_the_objective_and_the_entropy_bonus():
    agent = small("ppo", entropy_coef=0.7, aggregation="sum")
    model = make_model(agent)
    batch, _ = weigh(agent, model.on(BATCH))
    theta = model.theta.clone().requires_grad_()
    log_probs = model.policy.apply(theta, BATCH.obs).log_softmax(-1)
    bonus = torch.where(MASK, entropy(log_probs), 0).sum((1, 2)) / MASK.sum((1, 2))
    (objective(agent, log_probs, batch) + 0.7 * bonus).sum().backward()
    got, figures = policy_gradient(agent, model, batch)
    torch.testing.assert_close(got, theta.grad)
    torch.testing.assert_close(figures["entropy"], bonus.detach())


def test_the_root_mean_square_of_psi_for_all_actions_is_that_of_its_length():
    agent = small("all-actions", psi_scale="rms")
    outputs = make_model(agent).on(BATCH)
    raw = agent.psi(BATCH, outputs)
    batch, rms = weigh(agent, outputs)
    for s in range(2):
        want = raw[s][MASK[s]].square().sum(-1).mean().sqrt()
        torch.testing.assert_close(rms[s], want, rtol=1e-6, atol=0)
        torch.testing.assert_close(batch.psi[s], raw[s] / want, rtol=1e-6, atol=0)
