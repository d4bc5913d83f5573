"""Critics for the laboratory: fitted to the returns of a frozen policy, then frozen too."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import Literal

import torch
from torch import Tensor

from pgzoo.agents.critics import Critic
from pgzoo.estimators import explained_variance, returns_to_go, root_mean_square
from pgzoo.lab.problem import Problem
from pgzoo.learning.update import Parameters, fit_critic
from pgzoo.policies.model import Model, value_of_action
from pgzoo.policies.networks import Network, make_critic
from pgzoo.sampling.seeding import Purpose, Seed, generators
from pgzoo.sampling.trajectories import Trajectories

Kind = Literal["state", "action"]
LEARNING_RATES = {"mlp": 3e-3, "linear": 1e-2, "tabular": 3e-2}
EPOCHS, TRAJECTORIES_PER_MINIBATCH, LEAST_MINIBATCHES = 10, 8, 8


def fit(
    problem: Problem, of: Kind, trajectories: Trajectories, seeds: Sequence[Seed]
) -> tuple[Network, Tensor]:
    """Regress V(s), or q(s, a), on the returns of complete episodes.

    Args:
        problem: whose γ, kind of policy and widths the critic takes.
        of: state for V(s), action for q(s, a) of all actions.
        trajectories: ``[S, N, T]``.
        seeds: one per replica, for initialisation and shuffling.

    Returns:
        the network, and its parameters ``[S, Q]``.
    """
    network = make_critic(problem.policy_kind, problem.info, problem.hidden, of)
    returns = returns_to_go(trajectories.reward, trajectories.mask, problem.gamma)
    scale = 1 / root_mean_square(returns, trajectories.mask)  # of each replica, [S, 1, 1]
    rows = trajectories.mask.shape[1]
    critic = Critic(
        of=of,
        critic_epochs=EPOCHS,
        critic_minibatches=max(LEAST_MINIBATCHES, rows // TRAJECTORIES_PER_MINIBATCH),
    )
    phi = network.init(generators(seeds, Purpose.CRITIC_INIT))
    outputs = Model(problem.network, problem.theta.expand(len(phi), -1), network, phi).on(
        trajectories
    )
    rate = torch.full((len(phi), 1), LEARNING_RATES[problem.policy_kind])
    shuffling = generators(seeds, Purpose.MINIBATCHES)
    start = Parameters.start(phi)
    fitted, _ = fit_critic(critic, start, outputs, scale * returns, rate, shuffling)
    return network, network.scale_output(fitted.values, 1 / scale.squeeze(-1))


def quality(problem: Problem, network: Network, phi: Tensor, trajectories: Trajectories) -> float:
    """Explained variance of the returns of other trajectories ``[1, N, T]``.

    NaN where all returns are equal.
    """
    model = Model(problem.network, problem.theta.unsqueeze(0), network, phi)
    value = value_of_action(model.on(trajectories).critic, trajectories.action)
    target = returns_to_go(trajectories.reward, trajectories.mask, problem.gamma)
    if len(target[trajectories.mask].unique()) == 1:
        return nan
    return explained_variance(value, target, trajectories.mask).item()
