"""A policy, a critic, and what estimators ask of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pgzoo.networks import Network
from pgzoo.rollout import Trajectories
from pgzoo.scores import ScoreFunctions


@dataclass(frozen=True)
class Model:
    """S policies, and what an agent may ask for beside them.

    Attributes:
        policy: the policy's network.
        theta: its parameters, ``[S, P]``.
        critic: the critic's network, whose outputs are V(s), or q(s, a) for every action.
        phi: its parameters, ``[S, Q]``.
        reference: parameters of the reference policy, ``[S, P]``.
        known: answers already given, for Ψ, targets and other estimators ask for the same.
            Models may share them.
    """

    policy: Network
    theta: Tensor
    critic: Network | None = None
    phi: Tensor | None = None
    reference: Tensor | None = None
    known: dict[tuple[int, int], Any] = field(default_factory=dict, repr=False, compare=False)

    def log_probs(self, obs: Tensor, mask: Tensor) -> Tensor:
        """log π(·|s) ``[S, N, T, A]`` of observations ``[S, N, T, *obs]``."""
        return self._ask(self.policy, self.theta, obs, mask).log_softmax(-1)

    def critic_outputs(self, obs: Tensor, mask: Tensor) -> Tensor:
        """What the critic says ``[S, N, T, out]``, zero where the mask is false."""
        if self.critic is None or self.phi is None:
            raise ValueError("This agent has no critic, so there are no values to ask for.")
        return self._ask(self.critic, self.phi, obs, mask)

    @torch.no_grad()
    def _ask(self, network: Network, parameters: Tensor, obs: Tensor, mask: Tensor) -> Tensor:
        """Outputs, zero where the mask is false."""
        key = id(parameters), id(obs)
        answer = self.known.get(key)
        if answer is None or answer[2] is not mask:
            outputs = apply_where(network, parameters, obs, mask)
            # What the ids belong to is kept alive with the answer.
            answer = self.known[key] = parameters, obs, mask, outputs
        return answer[3]

    def scores(self, trajectories: Trajectories) -> ScoreFunctions:
        """∇log π of all steps."""
        key = id(self.theta), id(trajectories)
        answer = self.known.get(key)
        if answer is None:
            scores = ScoreFunctions(self.policy, self.theta, trajectories)
            answer = self.known[key] = self.theta, trajectories, scores
            # The policy need not be asked again: log-probabilities are preferences, too.
            steps = trajectories.obs, trajectories.mask
            self.known[id(self.theta), id(trajectories.obs)] = self.theta, *steps, scores.log_probs
        return answer[2]

    def values(self, obs: Tensor, mask: Tensor) -> Tensor:
        """V(s) ``[S, N, T]``; of a critic for every action, its expectation under the policy."""
        outputs = self.critic_outputs(obs, mask)
        if outputs.shape[-1] == 1:
            return outputs.squeeze(-1)
        return (self.log_probs(obs, mask).exp() * outputs).sum(-1)

    def action_values(self, obs: Tensor, mask: Tensor) -> Tensor:
        """q(s, a) for every action, ``[S, N, T, A]``."""
        return self.critic_outputs(obs, mask)

    @torch.no_grad()
    def reference_log_prob(self, trajectories: Trajectories) -> Tensor:
        """log π_ref(a|s) of the actions taken, ``[S, N, T]``."""
        if self.reference is None:
            raise ValueError("There is no reference policy.")
        mask = trajectories.mask
        logits = apply_where(self.policy, self.reference, trajectories.obs, mask)
        return of_actions(logits.log_softmax(-1), trajectories.action)


def of_actions(figures: Tensor, action: Tensor) -> Tensor:
    """Of figures for every action ``[..., A]``, those of the actions ``[...]``."""
    return figures.gather(-1, action.unsqueeze(-1)).squeeze(-1)


def value_of_action(outputs: Tensor, action: Tensor) -> Tensor:
    """Of a critic's outputs V(s), or q(s, a) of the action taken: ``[..., out]`` → ``[...]``."""
    return outputs.squeeze(-1) if outputs.shape[-1] == 1 else of_actions(outputs, action)


def entropy(log_probs: Tensor) -> Tensor:
    """Entropy in nats, ``[...]``, of log-probabilities ``[..., A]``."""
    return -(log_probs.exp() * log_probs).sum(-1)


def apply_where(network: Network, theta: Tensor, obs: Tensor, mask: Tensor) -> Tensor:
    """``network.apply`` on real transitions only.

    Ragged batches are mostly padding; here it costs nothing.

    Args:
        network: description.
        theta: ``[S, P]``.
        obs: ``[S, N, T, *obs]``.
        mask: ``[S, N, T]``.

    Returns:
        ``[S, N, T, out]``, zero where the mask is false.
    """
    if bool(mask.all()):
        return network.apply(theta, obs)
    num_replicas = mask.shape[0]
    flat_mask = mask.flatten(1)
    per_replica = flat_mask.sum(1)
    replica, column = flat_mask.nonzero(as_tuple=True)
    first = per_replica.cumsum(0) - per_replica
    slot = torch.arange(len(replica), device=mask.device) - first[replica]
    flat_obs = obs.flatten(1, 2)
    width = int(per_replica.max())
    packed = flat_obs.new_zeros((num_replicas, width, *flat_obs.shape[2:]))
    packed[replica, slot] = flat_obs[replica, column]
    out = network.apply(theta, packed)
    result = out.new_zeros((*flat_mask.shape, out.shape[-1]))
    result[replica, column] = out[replica, slot]
    return result.view(*mask.shape, -1)
