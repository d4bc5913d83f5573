"""One iteration of learning: from trajectories to new parameters, for all replicas at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pgzoo.agents.base import Agent, CriticOptions
from pgzoo.learning.adam import AdamState, adam_descent, adam_init, clip_rows
from pgzoo.learning.diagnostics import Metrics, explained_variance
from pgzoo.learning.gradients import policy_gradient, weigh
from pgzoo.policies.model import Model, value_of_action
from pgzoo.sampling.batch import Batch, deal
from pgzoo.sampling.collect import Trajectories


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
    keep = keep.unsqueeze(1)
    if isinstance(agent, CriticOptions):
        trajectories = trajectories.scale_rewards(agent.reward_scale)
    batch, rms = weigh(agent, model, trajectories)
    rate = agent.learning_rate * keep
    policy, metrics = _improve_policy(agent, model, policy, batch, rate, minibatch_generators)
    metrics |= {"psi_rms": rms, "learning_rate": rate.flatten()}
    if critic is not None:
        assert isinstance(agent, CriticOptions)
        rate = agent.critic_learning_rate * keep
        critic, fit = fit_critic(agent, model, critic, trajectories, rate, minibatch_generators)
        metrics |= fit
    return policy, critic, metrics


def _improve_policy(
    agent: Agent,
    model: Model,
    policy: Parameters,
    batch: Batch,
    rate: Tensor,
    generators: Sequence[np.random.Generator],
) -> tuple[Parameters, Metrics]:
    """One step of Adam for every minibatch; figures are means over them."""
    history: list[Metrics] = []
    for minibatch in _minibatches(agent, batch, generators):
        gradient, metrics = policy_gradient(
            agent, dataclasses.replace(model, theta=policy.values), minibatch
        )
        clipped, norm = clip_rows(gradient, agent.max_grad_norm)
        policy = Parameters(*adam_descent(policy.values, -clipped, policy.adam, rate))
        history.append({"gradient_norm": norm} | metrics)
    return policy, {k: torch.stack([m[k] for m in history]).mean(0) for k in history[0]}


def _minibatches(
    agent: Agent, batch: Batch, generators: Sequence[np.random.Generator]
) -> Iterator[Batch]:
    """The batch as often, and in as many parts, as the agent wants it.

    Segments are dealt out step by step, episodes as a whole.
    """
    epochs, parts = agent.passes
    if parts == 1:
        for _ in range(epochs):
            yield batch
        return
    rows = batch.steps_as_rows() if agent.plan == "segments" else batch
    for index, real in deal(rows.mask.any(-1), epochs, parts, generators):
        yield rows.take(index, real)


def fit_critic(
    agent: Agent,
    model: Model,
    critic: Parameters,
    trajectories: Trajectories,
    rate: Tensor,
    generators: Sequence[np.random.Generator],
) -> tuple[Parameters, Metrics]:
    """Regress the critic on the agent's targets, step by step in minibatches."""
    assert isinstance(agent, CriticOptions)
    assert model.critic is not None
    mask = trajectories.mask
    target = agent.critic_target(trajectories, model)
    before = value_of_action(model.critic_outputs(trajectories), trajectories.action)
    flat = [x.flatten(1, 2) for x in (trajectories.obs, trajectories.action, before, target)]
    replica = torch.arange(len(mask), device=mask.device).unsqueeze(1)
    losses: list[Tensor] = []
    for index, real in deal(
        mask.flatten(1), agent.critic_epochs, agent.critic_minibatches, generators
    ):
        obs, action, old_value, wanted = (x[replica, index] for x in flat)
        phi = critic.values.detach().requires_grad_()
        value = value_of_action(model.critic.apply(phi, obs), action)
        terms = torch.where(real, agent.critic_loss(value, old_value, wanted), 0)
        loss = terms.sum(1) / real.sum(1).clamp(min=1)
        (gradient,) = torch.autograd.grad(loss.sum(), phi)
        critic = Parameters(*adam_descent(critic.values, gradient, critic.adam, rate))
        losses.append(loss.detach())
    last_epoch = torch.stack(losses[-agent.critic_minibatches :]).mean(0)
    explained = explained_variance(before, target, mask)
    return critic, {"critic_loss": last_epoch, "explained_variance": explained}
