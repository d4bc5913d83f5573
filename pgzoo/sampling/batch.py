"""What an update of the policy sees: trajectories with their effective weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pgzoo.sampling.collect import Trajectories


@dataclass(frozen=True)
class Batch:
    """Trajectories, Ψ, and the reference policy's log-probabilities if there is one.

    Attributes:
        trajectories: ``[S, N, T]``.
        psi: ``[S, N, T]``, or ``[S, N, T, A]`` for the all-actions surrogate.
        reference_log_prob: log π_ref(a|s), ``[S, N, T]``.
    """

    trajectories: Trajectories
    psi: Tensor
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

    def steps_as_rows(self) -> Batch:
        """The same steps, each a row of its own: ``[S, N·T, 1]``."""
        return self._map(lambda x: x.flatten(1, 2).unsqueeze(2))

    def take(self, index: Tensor, real: Tensor) -> Batch:
        """Rows ``index [S, n]``; where ``real [S, n]`` is false, padding."""
        replica = torch.arange(len(index), device=index.device).unsqueeze(1)
        taken = self._map(lambda x: x[replica, index])
        mask = taken.mask & real.unsqueeze(-1)
        return dataclasses.replace(
            taken, trajectories=dataclasses.replace(taken.trajectories, mask=mask)
        )

    def _map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        reference = self.reference_log_prob
        return Batch(
            self.trajectories.map(function),
            function(self.psi),
            None if reference is None else function(reference),
        )


def deal(
    mask: Tensor, epochs: int, parts: int, generators: Sequence[np.random.Generator]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffle each replica's candidates and deal them out in equal parts, epoch by epoch.

    A replica's shuffling depends on its own candidates and generator alone; where another replica
    has more, its parts are padded.

    Args:
        mask: which entries are candidates, ``[S, M]``.
        epochs: how often each candidate is dealt.
        parts: minibatches of an epoch.
        generators: one per replica.

    Yields:
        positions ``[S, B]``, and which of them are no padding.
    """
    candidates = [np.flatnonzero(row) for row in mask.cpu().numpy()]
    for _ in range(epochs):
        shuffled = [g.permutation(c) for g, c in zip(generators, candidates, strict=True)]
        dealt = [np.array_split(c, parts) for c in shuffled]
        for hand in zip(*dealt, strict=True):
            index, real = _pad(hand)
            yield torch.from_numpy(index).to(mask.device), torch.from_numpy(real).to(mask.device)


def _pad(parts: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    lengths = np.array([len(p) for p in parts])
    real = np.arange(lengths.max())[None] < lengths[:, None]
    index = np.zeros(real.shape, np.int64)
    index[real] = np.concatenate(parts)
    return index, real
