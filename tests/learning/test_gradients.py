"""One pass for many estimators gives each what autograd gives it alone."""

import dataclasses

import pytest
import torch

from pgzoo.agents import AGENTS, agent_class
from pgzoo.learning.gradients import (
    effective_weights,
    gradient_estimates,
    policy_gradient,
    weigh,
)
from pgzoo.policies.model import Model, of_actions
from pgzoo.policies.networks import MLP
from tests.helpers import make_trajectories

LENGTHS = [[3, 7, 1, 5], [6, 2, 4, 4]]


def make_models(seed=0):
    """A policy and critics of both kinds, in float64."""
    g = torch.Generator().manual_seed(seed)
    policy, state, action = MLP((3, 5, 2)), MLP((3, 5, 1)), MLP((3, 5, 2))
    theta, phi, chi = (
        torch.randn(2, n.num_params, generator=g, dtype=torch.float64)
        for n in (policy, state, action)
    )
    return {
        "none": Model(policy, theta),
        "state": Model(policy, theta, state, phi),
        "action": Model(policy, theta, action, chi),
    }


def make_agents():
    agents = [agent_class(name)() for name in AGENTS]
    return [
        dataclasses.replace(a, group_size=2, episodes=4) if hasattr(a, "group_size") else a
        for a in agents
    ]


@pytest.mark.parametrize("behind", [False, True])
def test_many_estimators_at_once_equal_each_alone(behind):
    """On policy, and with a behaviour policy that is somewhere else."""
    models = make_models()
    trajectories = dataclasses.replace(make_trajectories(LENGTHS), group_size=2)
    log_probs = models["none"].log_probs(trajectories)
    log_prob = of_actions(log_probs, trajectories.action)
    if behind:
        log_prob = log_prob + 0.3 * torch.randn_like(log_prob)
    trajectories = dataclasses.replace(trajectories, log_prob=log_prob)
    pairs = [(a, models[a.critic]) for a in make_agents()]
    together = gradient_estimates(pairs, trajectories)
    assert together.shape == (2, len(AGENTS), models["none"].policy.num_params)
    for i, (agent, model) in enumerate(pairs):
        batch, _ = weigh(agent, model, trajectories)
        alone, _ = policy_gradient(agent, model, batch)
        torch.testing.assert_close(together[:, i], alone)


def test_effective_weight_of_the_score_function_is_psi_times_aggregation():
    agent = agent_class("reinforce")()
    model = make_models()["none"]
    trajectories = make_trajectories(LENGTHS)
    batch, _ = weigh(agent, model, trajectories)
    log_probs = model.log_probs(trajectories)
    weights = effective_weights(agent, log_probs, batch)
    expected = batch.psi * agent.step_weights(trajectories)
    torch.testing.assert_close(of_actions(weights, trajectories.action), expected)
    others = of_actions(weights, 1 - trajectories.action)
    assert not others.any()
