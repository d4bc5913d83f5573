"""A policy, a critic, and what estimators ask of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pgzoo.policies.networks import Network
from pgzoo.policies.score_functions import ScoreFunctions
from pgzoo.sampling.collect import Trajectories


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
    known: dict[tuple[str, int, int], Any] = field(default_factory=dict, repr=False, compare=False)

    def log_probs(self, trajectories: Trajectories) -> Tensor:
        """log π(·|s_t) ``[S, N, T, A]``; anything where the mask is false."""
        scores = self.known.get(("scores", id(self.theta), id(trajectories)))
        if scores is not None:
            return scores[2].log_probs
        return self._ask(self.policy, self.theta, trajectories)[:, :, :-1].log_softmax(-1)

    def critic_outputs(self, trajectories: Trajectories) -> Tensor:
        """What the critic says of s_t ``[S, N, T, out]``; anything where the mask is false."""
        return self._ask_critic(trajectories)[:, :, :-1]

    def values(self, trajectories: Trajectories) -> Tensor:
        """V(s_t) ``[S, N, T]``; of a critic for every action, its expectation under the policy."""
        return self._values(trajectories)[:, :, :-1]

    def next_values(self, trajectories: Trajectories) -> Tensor:
        """V(s_{t+1}) ``[S, N, T]``, of the true final state where an episode ends."""
        return self._values(trajectories)[:, :, 1:]

    def _values(self, trajectories: Trajectories) -> Tensor:
        outputs = self._ask_critic(trajectories)
        if outputs.shape[-1] == 1:
            return outputs.squeeze(-1)
        log_probs = self._ask(self.policy, self.theta, trajectories).log_softmax(-1)
        return (log_probs.exp() * outputs).sum(-1)

    def _ask_critic(self, trajectories: Trajectories) -> Tensor:
        if self.critic is None or self.phi is None:
            raise ValueError("This agent has no critic, so there are no values to ask for.")
        return self._ask(self.critic, self.phi, trajectories)

    def scores(self, trajectories: Trajectories) -> ScoreFunctions:
        """∇log π of all steps."""
        return self._once(
            "scores",
            self.theta,
            trajectories,
            lambda: ScoreFunctions(self.policy, self.theta, trajectories),
        )

    @torch.no_grad()
    def _ask(self, network: Network, parameters: Tensor, trajectories: Trajectories) -> Tensor:
        """Outputs for s_0 … s_T, ``[S, N, T + 1, out]``.

        Nearly every state is before one step and after another; one pass serves both.
        """
        return self._once(
            "outputs",
            parameters,
            trajectories,
            lambda: apply_where(network, parameters, *trajectories.observations()),
        )

    def _once(
        self, what: str, parameters: Tensor, trajectories: Trajectories, answer: Callable[[], Any]
    ) -> Any:
        key = what, id(parameters), id(trajectories)
        if key not in self.known:
            # What the ids belong to is kept alive with the answer.
            self.known[key] = parameters, trajectories, answer()
        return self.known[key][2]

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
