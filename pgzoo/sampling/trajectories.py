"""Trajectories: the transitions that estimators see, and the episodes that finished in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pgzoo.estimators.order import sum_in_order
from pgzoo.sampling.seeding import Streams


@dataclass(frozen=True)
class Trajectories:
    """Transitions ``[S, N, T, ...]`` of S replicas, N rows each, T steps, padded.

    A row is one complete episode (Monte Carlo methods) or a fixed-length segment that may hold
    several episodes (temporal-difference methods). Where ``mask`` is false there is no transition
    (padding, or the step on which a sub-environment was reset) and nothing may be read. Of two real
    steps in succession, the first one's next observation is the second one's observation.

    Attributes:
        obs: observation before the action, ``[S, N, T, *obs]``.
        next_obs: observation after it; at an episode's end the true final one.
        action: integers ``[S, N, T]``.
        reward: ``[S, N, T]``, float32.
        terminated: the episode ended in a terminal state, ``[S, N, T]``, bool.
        truncated: the episode was cut off by a time limit, ``[S, N, T]``, bool.
        mask: entries that are real transitions, ``[S, N, T]``, bool.
        log_prob: log π(a|s) of the policy that acted, ``[S, N, T]``.
        group_size: K; rows k·K … k·K + K − 1 started from the same state.
        streams: whose random numbers it was sampled with, if that is known.
    """

    obs: Tensor
    next_obs: Tensor
    action: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    mask: Tensor
    log_prob: Tensor
    group_size: int = 1
    streams: Streams | None = field(default=None, repr=False, compare=False)

    @property
    def num_steps(self) -> Tensor:
        """Real transitions of each replica, ``[S]``."""
        return self.mask.sum((1, 2))

    def observations(self) -> tuple[Tensor, Tensor]:
        """Observations s_0 … s_T, before and after all steps, and where there are any.

        Returns:
            ``[S, N, T + 1, *obs]``, and bool ``[S, N, T + 1]``.
        """
        before, after = (torch.nn.functional.pad(self.mask, p) for p in ((0, 1), (1, 0)))
        is_before = before.view(*before.shape, *[1] * (self.obs.ndim - before.ndim))
        obs = torch.where(
            is_before,
            torch.cat([self.obs, self.next_obs[:, :, -1:]], dim=2),
            torch.cat([self.obs[:, :, :1], self.next_obs], dim=2),
        )
        return obs, before | after

    def scale_rewards(self, factor: float | Tensor) -> Trajectories:
        """The same with other units of reward; a tensor has one for each replica, ``[S, 1, 1]``."""
        return dataclasses.replace(self, reward=self.reward * factor)

    def map(self, function: Callable[[Tensor], Tensor], group_size: int = 1) -> Trajectories:
        """Every tensor through a function of its first axes, which keeps all replicas."""
        columns: dict[str, Any] = {
            k: function(v) for k, v in vars(self).items() if isinstance(v, Tensor)
        }
        return Trajectories(**columns, group_size=group_size, streams=self.streams)

    def replicas(self, index: Tensor) -> Trajectories:
        """Some of the replicas, ``[R]`` → trajectories ``[R, N, T]``."""
        streams = None if self.streams is None else self.streams.of(index.tolist())
        chosen = self.map(lambda x: x[index], self.group_size)
        return dataclasses.replace(chosen, streams=streams)

    def rows(self, index: Tensor) -> Trajectories:
        """Some rows of each replica, ``[S, M]`` → trajectories ``[S, M, T]``."""
        replica = torch.arange(len(index), device=index.device).unsqueeze(1)
        return self.map(lambda x: x[replica, index], self.group_size)


def joined_rows(parts: Sequence[Trajectories]) -> Trajectories:
    """All rows of all replicas as those of one, ``[1, N, T]``, padded to the longest."""
    longest = max(p.mask.shape[2] for p in parts)

    def pad(x: Tensor) -> Tensor:
        filler = x.new_zeros((*x.shape[:2], longest - x.shape[2], *x.shape[3:]))
        return torch.cat([x, filler], dim=2).flatten(0, 1)

    padded = [p.map(pad) for p in parts]
    columns: dict[str, Any] = {
        k: torch.cat([getattr(p, k) for p in padded]).unsqueeze(0)
        for k, v in vars(padded[0]).items()
        if isinstance(v, Tensor)
    }
    return Trajectories(**columns)


@dataclass(frozen=True)
class FinishedEpisodes:
    """Undiscounted returns and lengths of one replica's finished episodes, in order of finish."""

    returns: list[float]
    lengths: list[int]


def finished_episodes(trajectories: Trajectories) -> list[FinishedEpisodes]:
    """Per replica, the episodes of a batch of complete episodes."""
    returns = sum_in_order(torch.where(trajectories.mask, trajectories.reward, 0).double())
    lengths = trajectories.mask.sum(2)
    return [FinishedEpisodes(r.tolist(), n.tolist()) for r, n in zip(returns, lengths, strict=True)]
