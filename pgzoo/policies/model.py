"""A policy, a critic, and what they say of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pgzoo.policies.networks import Network
from pgzoo.policies.score_functions import ScoreFunctions
from pgzoo.sampling.batch import of_actions
from pgzoo.sampling.pieces import ROWS_OF_A_PIECE, whole_pieces
from pgzoo.sampling.trajectories import Trajectories


@dataclass(frozen=True)
class Model:
    """S policies, and what an agent may ask for beside them.

    Attributes:
        policy: the policy's network.
        theta: its parameters, ``[S, P]``.
        critic_network: the critic's, whose outputs are V(s), or q(s, a) for every action.
        phi: its parameters, ``[S, Q]``.
        reference: parameters of the reference policy, ``[S, P]``.
    """

    policy: Network
    theta: Tensor
    critic_network: Network | None = None
    phi: Tensor | None = None
    reference: Tensor | None = None

    def on(self, trajectories: Trajectories) -> Outputs:
        """What the networks say of a batch."""
        return Outputs(self, trajectories)


class Outputs:
    """What a model's networks say of one batch: computed when first asked for, and only once.

    Ψ, targets and diagnostics, and in the laboratory many estimators, ask for the same figures.

    Args:
        model: networks and parameters.
        trajectories: the batch ``[S, N, T]``.
        like: outputs of the same policies on the same batch, whose answers are used.
    """

    def __init__(
        self, model: Model, trajectories: Trajectories, like: Outputs | None = None
    ) -> None:
        self.model, self.trajectories = model, trajectories
        self._policy: _PolicyOutputs = (
            _PolicyOutputs(model, trajectories) if like is None else like._policy
        )

    def with_critic(self, network: Network, phi: Tensor) -> Outputs:
        """The same policies beside another critic."""
        m = self.model
        model = Model(m.policy, m.theta, network, phi, m.reference)
        return Outputs(model, self.trajectories, self)

    @property
    def log_probs(self) -> Tensor:
        """log π(·|s_t) ``[S, N, T, A]``; anything where the mask is false."""
        return self._policy.log_probs

    @property
    def scores(self) -> ScoreFunctions:
        """∇log π of all steps."""
        return self._policy.scores

    @cached_property
    def critic(self) -> Tensor:
        """What the critic says of s_t ``[S, N, T, out]``; anything where the mask is false."""
        return self._critic[:, :, :-1]

    @cached_property
    def values(self) -> Tensor:
        """V(s_t) ``[S, N, T]``; of a critic for every action, its expectation under the policy."""
        return self._values[:, :, :-1]

    @cached_property
    def next_values(self) -> Tensor:
        """V(s_{t+1}) ``[S, N, T]``, of the true final state where an episode ends."""
        return self._values[:, :, 1:]

    @cached_property
    @torch.no_grad()
    def reference_log_prob(self) -> Tensor:
        """log π_ref(a|s) of the actions taken, ``[S, N, T]``."""
        if self.model.reference is None:
            raise ValueError("There is no reference policy.")
        t = self.trajectories
        logits = apply_where(self.model.policy, self.model.reference, t.obs, t.mask)
        return of_actions(logits.log_softmax(-1), t.action)

    @cached_property
    def _values(self) -> Tensor:
        if self._critic.shape[-1] == 1:
            return self._critic.squeeze(-1)
        return (self._policy.all_log_probs.exp() * self._critic).sum(-1)

    @cached_property
    def _critic(self) -> Tensor:
        if self.model.critic_network is None or self.model.phi is None:
            raise ValueError("This agent has no critic, so there are no values to ask for.")
        return _outputs(self.model.critic_network, self.model.phi, self.trajectories)


class _PolicyOutputs:
    """What a policy says of a batch, whatever critic is beside it."""

    def __init__(self, model: Model, trajectories: Trajectories) -> None:
        self._model, self._trajectories = model, trajectories

    @cached_property
    def all_log_probs(self) -> Tensor:
        """log π(·|s) of s_0 … s_T, ``[S, N, T + 1, A]``."""
        logits = _outputs(self._model.policy, self._model.theta, self._trajectories)
        return logits.log_softmax(-1)

    @cached_property
    def scores(self) -> ScoreFunctions:
        return ScoreFunctions(self._model.policy, self._model.theta, self._trajectories)

    @property
    def log_probs(self) -> Tensor:
        if "scores" in vars(self):  # they come with them
            return self.scores.log_probs
        return self.all_log_probs[:, :, :-1]


@torch.no_grad()
def _outputs(network: Network, parameters: Tensor, trajectories: Trajectories) -> Tensor:
    """Outputs for s_0 … s_T, ``[S, N, T + 1, out]``.

    Nearly every state is before one step and after another; one pass serves both.
    """
    return apply_where(network, parameters, *trajectories.observations())


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
    if bool(mask.all()) and mask[0].numel() % ROWS_OF_A_PIECE == 0:
        return network.apply(theta, obs)
    num_replicas = mask.shape[0]
    flat_mask = mask.flatten(1)
    per_replica = flat_mask.sum(1)
    replica, column = flat_mask.nonzero(as_tuple=True)
    first = per_replica.cumsum(0) - per_replica
    slot = torch.arange(len(replica), device=mask.device) - first[replica]
    flat_obs = obs.flatten(1, 2)
    width = whole_pieces(int(per_replica.max()))
    packed = flat_obs.new_zeros((num_replicas, width, *flat_obs.shape[2:]))
    packed[replica, slot] = flat_obs[replica, column]
    out = network.apply(theta, packed)
    result = out.new_zeros((*flat_mask.shape, out.shape[-1]))
    result[replica, column] = out[replica, slot]
    return result.view(*mask.shape, -1)
