"""What an update of the policy sees: trajectories with their effective weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pgzoo.sampling.pieces import whole_pieces
from pgzoo.sampling.trajectories import Trajectories


@dataclass(frozen=True)
class Batch:
    """Trajectories, Ψ, every step's weight, and a reference policy's log-probabilities if any.

    Attributes:
        trajectories: ``[S, N, T]``.
        psi: ``[S, N, T]``, or ``[S, N, T, A]`` for the all-actions surrogate.
        weight: factor of each step's term in the objective, ``[S, N, T]``.
        reference_log_prob: log π_ref(a|s), ``[S, N, T]``.
    """

    trajectories: Trajectories
    psi: Tensor
    weight: Tensor
    reference_log_prob: Tensor | None = None

    @property
    def action(self) -> Tensor:
        """Actions taken, ``[S, N, T]``."""
        return self.trajectories.action

    @property
    def mask(self) -> Tensor:
        """Real transitions, ``[S, N, T]``."""
        return self.trajectories.mask

    @property
    def old_log_prob(self) -> Tensor:
        """log π_old(a|s) of the policy that acted, ``[S, N, T]``."""
        return self.trajectories.log_prob

    def of_actions(self, log_probs: Tensor) -> Tensor:
        """Of log-probabilities of all actions ``[S, N, T, A]``, those of the actions taken."""
        return of_actions(log_probs, self.action)

    def steps_as_rows(self) -> Batch:
        """The same steps, each a row of its own: ``[S, N·T, 1]``."""
        return self._map(lambda x: x.flatten(1, 2).unsqueeze(2))

    def take(self, index: Tensor, real: Tensor) -> Batch:
        """A minibatch: rows ``index [S, n]``; where ``real [S, n]`` is false, padding.

        Weights are scaled up by the share of the rows that is taken, so that the gradients of the
        minibatches that a batch is dealt into average to the batch's own.
        """
        replica = torch.arange(len(index), device=index.device).unsqueeze(1)
        taken = self._map(lambda x: x[replica, index])
        mask = taken.mask & real.unsqueeze(-1)
        share = self.mask.any(-1).sum(1) / real.sum(1).clamp(min=1)
        return dataclasses.replace(
            taken,
            trajectories=dataclasses.replace(taken.trajectories, mask=mask),
            weight=torch.where(mask, taken.weight * share[:, None, None], 0),
        )

    def _map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        reference = self.reference_log_prob
        return Batch(
            self.trajectories.map(function),
            function(self.psi),
            function(self.weight),
            None if reference is None else function(reference),
        )


def of_actions(figures: Tensor, action: Tensor) -> Tensor:
    """Of figures for every action ``[..., A]``, those of the actions ``[...]``."""
    return figures.gather(-1, action.unsqueeze(-1)).squeeze(-1)


def deal(
    mask: Tensor,
    epochs: int,
    parts: int,
    generators: Sequence[np.random.Generator],
    piece: int = 1,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffle each replica's candidates and deal them out in equal parts, epoch by epoch.

    A replica's shuffling depends on its own candidates and generator alone; where another replica
    has more, its parts are padded.

    Args:
        mask: which entries are candidates, ``[S, M]``.
        epochs: how often each candidate is dealt.
        parts: minibatches of an epoch.
        generators: one per replica.
        piece: minibatches are padded to multiples of it.

    Yields:
        positions ``[S, B]``, and which of them are no padding: ``parts`` times in an epoch. A
        replica with fewer candidates than parts has empty ones.
    """
    candidates = [np.flatnonzero(row) for row in mask.cpu().numpy()]
    for _ in range(epochs):
        shuffled = [g.permutation(c) for g, c in zip(generators, candidates, strict=True)]
        dealt = [np.array_split(c, parts) for c in shuffled]
        for hand in zip(*dealt, strict=True):
            index, real = _pad(hand, piece)
            yield torch.from_numpy(index).to(mask.device), torch.from_numpy(real).to(mask.device)


def _pad(
    parts: Sequence[NDArray[np.int64]], piece: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    lengths = np.array([len(p) for p in parts])
    real = np.arange(whole_pieces(int(lengths.max()), piece))[None] < lengths[:, None]
    index = np.zeros(real.shape, np.int64)
    index[real] = np.concatenate(parts)
    return index, real
