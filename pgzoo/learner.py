"""One iteration of learning: from trajectories to new parameters, for all replicas at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pgzoo.adam import AdamState, adam_descent, adam_init, clip_rows
from pgzoo.agents.base import Agent, CriticOptions
from pgzoo.estimators import returns_to_go, root_mean_square
from pgzoo.model import Model, action_log_prob, apply_where, entropy
from pgzoo.rollout import Trajectories

Metrics = dict[str, Tensor]
"""Figures of one iteration, ``[S]`` each."""


@dataclass(frozen=True)
class Parameters:
    """A parameter matrix and its optimiser's state."""

    values: Tensor
    adam: AdamState

    @classmethod
    def start(cls, values: Tensor) -> Parameters:
        """Parameters ``[S, P]`` before the first update."""
        return cls(values, adam_init(values))

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name."""
        adam = self.adam
        return {
            "values": self.values,
            "mean": adam.mean,
            "square": adam.square,
            "count": adam.count,
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> Parameters:
        """The inverse of ``tensors``."""
        state = AdamState(tensors["mean"], tensors["square"], tensors["count"])
        return cls(tensors["values"], state)

    def rows(self, index: Tensor) -> Parameters:
        """The given replicas."""
        return self.from_tensors({k: v[index] for k, v in self.tensors().items()})

    def with_rows(self, index: Tensor, new: Parameters) -> Parameters:
        """A copy in which the given replicas have new rows."""
        updates = new.tensors()
        return self.from_tensors(
            {k: v.index_copy(0, index, updates[k]) for k, v in self.tensors().items()}
        )


def learn(
    agent: Agent,
    model: Model,
    policy: Parameters,
    critic: Parameters | None,
    trajectories: Trajectories,
    progress: Tensor,
    minibatch_generators: Sequence[np.random.Generator],
) -> tuple[Parameters, Parameters | None, Metrics]:
    """Improve policy and critic on one batch.

    Args:
        agent: the algorithm.
        model: networks with the parameters that collected the batch.
        policy: the policy's parameters.
        critic: the critic's parameters, if the agent has one.
        trajectories: the batch ``[S, N, T]``.
        progress: share of each replica's step budget already used, ``[S]``.
        minibatch_generators: one per replica, for shuffling.
    """
    keep = 1 - progress if agent.lr_schedule == "linear" else torch.ones_like(progress)
    trajectories = _scale_rewards(agent, trajectories)
    psi = agent.psi(trajectories, model)
    rms = root_mean_square(psi, trajectories.mask)
    if agent.psi_scale == "rms":
        psi = psi / rms
    rate = agent.learning_rate * keep.unsqueeze(1)
    policy, metrics = _improve_policy(agent, model, policy, trajectories, psi, rate)
    metrics |= {"psi_rms": rms.flatten(), "learning_rate": rate.flatten()}
    if critic is not None:
        assert isinstance(agent, CriticOptions)
        target = returns_to_go(trajectories.reward, trajectories.mask, agent.gamma)
        rate = agent.critic_learning_rate * keep.unsqueeze(1)
        critic, fit = _fit_critic(
            agent, model, critic, trajectories, target, rate, minibatch_generators
        )
        metrics |= fit
    return policy, critic, metrics


def _scale_rewards(agent: Agent, trajectories: Trajectories) -> Trajectories:
    if not isinstance(agent, CriticOptions) or agent.reward_scale == 1:
        return trajectories
    return dataclasses.replace(trajectories, reward=trajectories.reward * agent.reward_scale)


def policy_gradient(
    agent: Agent, model: Model, trajectories: Trajectories, psi: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradient estimate of each replica and the policy's mean entropy.

    Returns:
        ascent direction ``[S, P]`` and entropy ``[S]`` in nats per step.
    """
    theta = model.theta.detach().requires_grad_()
    mask = trajectories.mask
    log_probs = apply_where(model.policy, theta, trajectories.obs, mask).log_softmax(-1)
    log_prob = action_log_prob(log_probs, trajectories.action)
    weight = agent.step_weights(trajectories)
    objective = (weight * agent.surrogate(log_prob, trajectories, psi)).sum((1, 2))
    mean_entropy = (entropy(log_probs) * mask).sum((1, 2)) / mask.sum((1, 2)).clamp(min=1)
    total = objective + agent.entropy_coef * mean_entropy
    (gradient,) = torch.autograd.grad(total.sum(), theta)
    return gradient, mean_entropy.detach()


def _improve_policy(
    agent: Agent,
    model: Model,
    policy: Parameters,
    trajectories: Trajectories,
    psi: Tensor,
    rate: Tensor,
) -> tuple[Parameters, Metrics]:
    gradient, mean_entropy = policy_gradient(agent, model, trajectories, psi)
    clipped, norm = clip_rows(gradient, agent.max_grad_norm)
    values, adam = adam_descent(policy.values, -clipped, policy.adam, rate)
    return Parameters(values, adam), {"entropy": mean_entropy, "gradient_norm": norm}


def _fit_critic(
    agent: CriticOptions,
    model: Model,
    critic: Parameters,
    trajectories: Trajectories,
    target: Tensor,
    rate: Tensor,
    generators: Sequence[np.random.Generator],
) -> tuple[Parameters, Metrics]:
    """Least squares of V(s) on its targets ``[S, N, T]``, by minibatches."""
    network, mask = model.critic, trajectories.mask
    assert network is not None
    before = model.values(trajectories.obs, mask)
    obs, flat_target = trajectories.obs.flatten(1, 2), target.flatten(1)
    replica = torch.arange(len(flat_target), device=target.device).unsqueeze(1)
    squared_error = torch.zeros_like(flat_target[:, 0])
    for index, real in minibatches(mask, agent.critic_epochs, agent.critic_minibatches, generators):
        phi = critic.values.detach().requires_grad_()
        value = network.apply(phi, obs[replica, index]).squeeze(-1)
        error = torch.where(real, value - flat_target[replica, index], 0)
        loss = error.square().sum(1) / real.sum(1).clamp(min=1)
        (gradient,) = torch.autograd.grad(loss.sum(), phi)
        critic = Parameters(*adam_descent(critic.values, gradient, critic.adam, rate))
        squared_error = loss.detach()
    explained = explained_variance(before, target, mask)
    return critic, {"critic_loss": squared_error, "explained_variance": explained}


def minibatches(
    mask: Tensor, epochs: int, num_minibatches: int, generators: Sequence[np.random.Generator]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffle each replica's real transitions and deal them out.

    A replica's shuffling depends on its own transitions and generator alone; where another replica
    has more transitions, its minibatches are padded.

    Args:
        mask: ``[S, N, T]``.
        epochs: passes over the data.
        num_minibatches: minibatches of a pass.
        generators: one per replica.

    Yields:
        positions in the flattened ``N·T`` axis ``[S, B]``, and which of them are no padding.
    """
    columns = [np.flatnonzero(row) for row in mask.flatten(1).cpu().numpy()]
    for _ in range(epochs):
        shuffled = [g.permutation(c) for g, c in zip(generators, columns, strict=True)]
        dealt = [np.array_split(c, num_minibatches) for c in shuffled]
        for parts in zip(*dealt, strict=True):
            index, real = _pad(parts)
            yield torch.from_numpy(index).to(mask.device), torch.from_numpy(real).to(mask.device)


def _pad(parts: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    lengths = np.array([len(p) for p in parts])
    real = np.arange(lengths.max())[None] < lengths[:, None]
    index = np.zeros(real.shape, np.int64)
    index[real] = np.concatenate(parts)
    return index, real


def explained_variance(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """1 − Var(target − prediction) / Var(target) over the real steps ``[S, N, T]``, → ``[S]``."""

    def variance(x: Tensor) -> Tensor:
        n = mask.sum((1, 2)).clamp(min=1)
        mean = torch.where(mask, x, 0).sum((1, 2)) / n
        return torch.where(mask, x - mean[:, None, None], 0).square().sum((1, 2)) / n

    return 1 - variance(target - prediction) / variance(target).clamp(min=1e-12)
