"""A policy, a critic, and what estimators ask of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pgzoo.networks import Network
from pgzoo.rollout import Trajectories


@dataclass(frozen=True)
class Model:
    """S policies, and what an agent may ask for beside them.

    Attributes:
        policy: the policy's network.
        theta: its parameters, ``[S, P]``.
        critic: the critic's network, whose outputs are V(s), or q(s, a) for every action.
        phi: its parameters, ``[S, Q]``.
        reference: parameters of the reference policy, ``[S, P]``.
    """

    policy: Network
    theta: Tensor
    critic: Network | None = None
    phi: Tensor | None = None
    reference: Tensor | None = None

    @torch.no_grad()
    def log_probs(self, obs: Tensor, mask: Tensor) -> Tensor:
        """log π(·|s) ``[S, N, T, A]`` of observations ``[S, N, T, *obs]``."""
        return apply_where(self.policy, self.theta, obs, mask).log_softmax(-1)

    @torch.no_grad()
    def critic_outputs(self, obs: Tensor, mask: Tensor) -> Tensor:
        """What the critic says ``[S, N, T, out]``, zero where the mask is false."""
        if self.critic is None or self.phi is None:
            raise ValueError("This agent has no critic, so there are no values to ask for.")
        return apply_where(self.critic, self.phi, obs, mask)

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

    def trajectory_gradients(self, trajectories: Trajectories, weight: Tensor) -> Tensor:
        """Σ_t w_t ∇log π(a_t|s_t) of every trajectory.

        Every trajectory gets a copy of its replica's θ, so that one backward pass keeps them apart.

        Args:
            trajectories: ``[S, N, T]``.
            weight: w, ``[S, N, T]``, zero where the mask is false.

        Returns:
            ``[S, N, P]``.
        """
        num_replicas, num_rows, _ = trajectories.mask.shape
        rows = (trajectories.obs, trajectories.mask, trajectories.action, weight)
        obs, mask, action, w = (x.flatten(0, 1).unsqueeze(1) for x in rows)
        copies = self.theta.detach().repeat_interleave(num_rows, dim=0).requires_grad_()
        log_probs = apply_where(self.policy, copies, obs, mask).log_softmax(-1)
        objective = (w * of_actions(log_probs, action)).sum()
        (gradient,) = torch.autograd.grad(objective, copies)
        return gradient.view(num_replicas, num_rows, -1)


def of_actions(figures: Tensor, action: Tensor) -> Tensor:
    """Of figures for every action ``[..., A]``, those of the actions ``[...]``."""
    return figures.gather(-1, action.unsqueeze(-1)).squeeze(-1)


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
