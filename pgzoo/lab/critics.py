"""Critics for the laboratory: fitted to the returns of a frozen policy, then frozen too."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan

import torch
from torch import Tensor

from pgzoo.agents.reinforce_baseline import ReinforceBaseline
from pgzoo.estimators import returns_to_go, root_mean_square
from pgzoo.lab.problem import Problem
from pgzoo.learning.diagnostics import explained_variance
from pgzoo.learning.loop import critic_network
from pgzoo.learning.update import Parameters, fit_critic
from pgzoo.policies.model import Model, value_of_action
from pgzoo.policies.networks import Network
from pgzoo.sampling.collect import Trajectories
from pgzoo.sampling.seeding import Purpose, Seed, generators

LEARNING_RATES = {"mlp": 3e-3, "linear": 1e-2, "tabular": 3e-2}
EPOCHS, TRAJECTORIES_PER_MINIBATCH, LEAST_MINIBATCHES = 10, 8, 8


def fit(
    problem: Problem, kind: str, trajectories: Trajectories, seeds: Sequence[Seed]
) -> tuple[Network, Tensor]:
    """Regress V(s), or q(s, a), on the returns of complete episodes.

    Args:
        problem: whose γ, policy and widths the critic takes.
        kind: state for V(s), action for q(s, a) of all actions.
        trajectories: ``[S, N, T]``.
        seeds: one per replica, for initialisation and shuffling.

    Returns:
        the network, and its parameters ``[S, Q]``.
    """
    network = critic_network(problem.policy, problem.info, kind, problem.hidden)
    returns = returns_to_go(trajectories.reward, trajectories.mask, problem.gamma)
    scale = 1 / root_mean_square(returns, trajectories.mask)  # of each replica, [S, 1, 1]
    rows = trajectories.mask.shape[1]
    agent = ReinforceBaseline(
        baseline="value",
        gamma=problem.gamma,
        critic_epochs=EPOCHS,
        critic_minibatches=max(LEAST_MINIBATCHES, rows // TRAJECTORIES_PER_MINIBATCH),
    )
    scaled = trajectories.scale_rewards(scale)
    phi = network.init(generators(seeds, Purpose.CRITIC_INIT))
    model = Model(problem.network, problem.theta.expand(len(phi), -1), network, phi)
    rate = torch.full((len(phi), 1), LEARNING_RATES[problem.policy])
    shuffling = generators(seeds, Purpose.MINIBATCHES)
    critic, _ = fit_critic(agent, model, Parameters.start(phi), scaled, rate, shuffling)
    return network, network.scale_output(critic.values, 1 / scale.squeeze(-1))


def quality(problem: Problem, network: Network, phi: Tensor, trajectories: Trajectories) -> float:
    """Explained variance of the returns of other trajectories ``[1, N, T]``.

    NaN where all returns are equal.
    """
    model = Model(problem.network, problem.theta.unsqueeze(0), network, phi)
    outputs = model.critic_outputs(trajectories)
    value = value_of_action(outputs, trajectories.action)
    target = returns_to_go(trajectories.reward, trajectories.mask, problem.gamma)
    if len(target[trajectories.mask].unique()) == 1:
        return nan
    return explained_variance(value, target, trajectories.mask).item()
