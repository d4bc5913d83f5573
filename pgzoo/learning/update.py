"""One iteration of learning: from trajectories to new parameters, for all replicas at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pgzoo.agents.base import Agent
from pgzoo.agents.critics import Critic
from pgzoo.estimators import explained_variance
from pgzoo.estimators.order import sum_in_order
from pgzoo.learning.adam import AdamState, adam_descent, adam_init, clip_rows
from pgzoo.learning.gradients import policy_gradient, weigh
from pgzoo.policies.model import Model, Outputs, value_of_action
from pgzoo.policies.networks import Network
from pgzoo.sampling.batch import Batch, deal

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
        return {"values": self.values, **vars(self.adam)}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> Parameters:
        """The inverse of ``tensors``."""
        adam = AdamState(tensors["mean"], tensors["square"], tensors["count"])
        return cls(tensors["values"], adam)

    def finite(self) -> Tensor:
        """Which rows are all finite, ``[S]``."""
        finite = [tensor.isfinite().all(1) for tensor in self.tensors().values()]
        return torch.stack(finite).all(0)

    def rows(self, index: Tensor) -> Parameters:
        """The given replicas."""
        return self.from_tensors({k: v[index] for k, v in self.tensors().items()})

    def with_rows(self, index: Tensor, new: Parameters) -> Parameters:
        """A copy in which the given replicas have new rows."""
        changed = self.copy()
        changed.put(index, new)
        return changed

    def copy(self) -> Parameters:
        """The same, for whoever ``put``s something there."""
        return self.from_tensors({k: v.clone() for k, v in self.tensors().items()})

    def put(self, index: Tensor, new: Parameters) -> None:
        """Give the given replicas new rows in place."""
        updates = new.tensors()
        for name, tensor in self.tensors().items():
            tensor.index_copy_(0, index, updates[name])


@dataclass(frozen=True)
class Learners:
    """All that replicas learn, and what they are kept near.

    Attributes:
        policy: ``[S, P]``.
        critic: ``[S, Q]``, if there is one.
        reference: parameters of the reference policies, ``[S, P]``.
    """

    policy: Parameters
    critic: Parameters | None = None
    reference: Tensor | None = None

    def rows(self, index: Tensor) -> Learners:
        """The given replicas."""
        return Learners(
            self.policy.rows(index),
            None if self.critic is None else self.critic.rows(index),
            None if self.reference is None else self.reference[index],
        )

    def copy(self) -> Learners:
        """The same, for whoever ``put``s something there; reference policies never change."""
        critic = None if self.critic is None else self.critic.copy()
        return Learners(self.policy.copy(), critic, self.reference)

    def put(self, index: Tensor, new: Learners) -> None:
        """Have the given replicas learn, in place: of a copy that nobody else has seen."""
        self.policy.put(index, new.policy)
        if self.critic is not None and new.critic is not None:
            self.critic.put(index, new.critic)

    def finite(self) -> Tensor:
        """Whose parameters, and what Adam knows of them, are all finite, ``[S]``."""
        finite = self.policy.finite()
        return finite if self.critic is None else finite & self.critic.finite()


@dataclass(frozen=True)
class Networks:
    """The networks that learners' parameters belong to."""

    policy: Network
    critic: Network | None = None

    def check(self, learners: Learners) -> None:
        """Raise a ``ValueError`` unless the parameters are these networks'."""
        pairs = [("policy", self.policy, learners.policy)]
        if self.critic is not None and learners.critic is not None:
            pairs.append(("critic", self.critic, learners.critic))
        for name, network, parameters in pairs:
            width = parameters.values.shape[1:]
            if width != (network.num_params,):
                raise ValueError(
                    f"its {name} has {list(width)} parameters, the network {network.num_params}"
                )

    def model(self, learners: Learners) -> Model:
        """The networks with their parameters."""
        phi = None if learners.critic is None else learners.critic.values
        theta = learners.policy.values
        return Model(self.policy, theta, self.critic, phi, learners.reference)


def learn(
    agent: Agent,
    learners: Learners,
    outputs: Outputs,
    progress: Tensor,
    minibatch_generators: Sequence[np.random.Generator],
) -> tuple[Learners, Metrics]:
    """Improve policy and critic on one batch.

    Args:
        agent: the algorithm.
        learners: what collected the batch.
        outputs: what their networks say of it.
        progress: share of each replica's step budget already used, ``[S]``.
        minibatch_generators: one per replica, for shuffling.
    """
    keep = 1 - progress if agent.lr_schedule == "linear" else torch.ones_like(progress)
    keep = keep.unsqueeze(1)
    batch, rms = weigh(agent, outputs)
    rate = agent.learning_rate * keep
    policy, metrics = _improve_policy(
        agent, outputs.model, learners.policy, batch, rate, minibatch_generators
    )
    metrics |= {"psi_rms": rms, "learning_rate": rate.flatten()}
    critic = learners.critic
    if agent.critic is not None and critic is not None:
        target = agent.critic.target(outputs.trajectories, outputs, agent.gamma)
        rate = agent.critic.critic_learning_rate * keep
        critic, fit = fit_critic(agent.critic, critic, outputs, target, rate, minibatch_generators)
        metrics |= fit
    return Learners(policy, critic, learners.reference), metrics


def _improve_policy(
    agent: Agent,
    model: Model,
    policy: Parameters,
    batch: Batch,
    rate: Tensor,
    generators: Sequence[np.random.Generator],
) -> tuple[Parameters, Metrics]:
    """One step of Adam for every minibatch; figures are means over them."""
    history = _History()
    for minibatch in _minibatches(agent, batch, generators):
        gradient, metrics = policy_gradient(
            agent, dataclasses.replace(model, theta=policy.values), minibatch
        )
        clipped, norm = clip_rows(gradient, agent.max_grad_norm)
        real = minibatch.mask.any(2).any(1)
        policy = _descend(policy, -clipped, rate, real)
        history.add({"gradient_norm": norm} | metrics, real)
    return policy, history.means()


def _descend(policy: Parameters, gradient: Tensor, rate: Tensor, real: Tensor) -> Parameters:
    """A step of Adam, of the replicas that have something to learn from."""
    new = Parameters(*adam_descent(policy.values, gradient, policy.adam, rate))
    if bool(real.all()):
        return new
    index = real.nonzero().squeeze(1)
    return policy.with_rows(index, new.rows(index))


class _History:
    """Means of figures over minibatches, of each replica over those that are not empty."""

    def __init__(self) -> None:
        self._figures: list[Metrics] = []
        self._real: list[Tensor] = []

    def add(self, figures: Metrics, real: Tensor) -> None:
        self._figures.append(figures)
        self._real.append(real)

    def means(self) -> Metrics:
        real = torch.stack(self._real, dim=-1)

        def mean(name: str) -> Tensor:
            values = torch.stack([f[name] for f in self._figures], dim=-1)
            return sum_in_order(torch.where(real, values, 0)) / real.sum(-1)

        return {k: mean(k) for k in self._figures[0]}


def _minibatches(
    agent: Agent, batch: Batch, generators: Sequence[np.random.Generator]
) -> Iterator[Batch]:
    """The batch as often, and in as many parts, as the agent wants it.

    Segments are dealt out step by step, episodes as a whole.
    """
    epochs, parts = agent.surrogate.epochs, agent.surrogate.minibatches
    if parts == 1:
        for _ in range(epochs):
            yield batch
        return
    rows = batch if agent.plan.complete else batch.steps_as_rows()
    for index, real in deal(rows.mask.any(-1), epochs, parts, generators):
        yield rows.take(index, real)


def fit_critic(
    critic: Critic,
    parameters: Parameters,
    outputs: Outputs,
    target: Tensor,
    rate: Tensor,
    generators: Sequence[np.random.Generator],
) -> tuple[Parameters, Metrics]:
    """Regress a critic on targets ``[S, N, T]``, step by step in minibatches.

    Args:
        critic: how it is fitted.
        parameters: of the critic in the outputs' model.
        outputs: of a batch.
        target: of every step.
        rate: step size ``[S, 1]``.
        generators: one per replica, for shuffling.
    """
    network, t = outputs.model.critic_network, outputs.trajectories
    assert network is not None
    before = value_of_action(outputs.critic, t.action)
    flat = [x.flatten(1, 2) for x in (t.obs, t.action, before, target)]
    replica = torch.arange(len(t.mask), device=t.mask.device).unsqueeze(1)
    history = _History()
    most = max(1, int(t.mask.flatten(1).sum(1).max()))  # further ones would be empty
    epochs, parts = critic.critic_epochs, min(critic.critic_minibatches, most)
    for number, (index, real) in enumerate(deal(t.mask.flatten(1), epochs, parts, generators)):
        obs, action, old_value, wanted = (x[replica, index] for x in flat)
        phi = parameters.values.detach().requires_grad_()
        value = value_of_action(network.apply(phi, obs), action)
        terms = torch.where(real, critic.loss(value, old_value, wanted), 0)
        loss = sum_in_order(terms) / real.sum(1).clamp(min=1)
        (gradient,) = torch.autograd.grad(loss.sum(), phi)
        parameters = _descend(parameters, gradient, rate, real.any(1))
        if number >= (epochs - 1) * parts:
            history.add({"critic_loss": loss.detach()}, real.any(1))
    explained = explained_variance(before, target, t.mask)
    return parameters, history.means() | {"explained_variance": explained}
