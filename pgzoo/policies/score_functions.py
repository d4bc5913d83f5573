"""Score functions ∇log π(a|s), and their weighted sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg.lapack import dpstrf
from torch import Tensor

from pgzoo.policies.networks import ROWS_IN_CACHE, Network, Pullback
from pgzoo.sampling.trajectories import Trajectories

NEGLIGIBLE = 1e-10
"""Squared length, relative to a weighting's own, of what others leave unexplained of it."""


class ScoreFunctions:
    """∇log π of all steps of a batch, ready to be summed with any weights.

    Many estimates are different weighted sums of the same score functions. One pass forward and
    one backward serve them all.

    Args:
        policy: the policy's network.
        theta: parameters at which scores are taken, ``[S, P]``.
        trajectories: ``[S, N, T]``.

    Attributes:
        log_probs: of all actions, ``[S, N, T, A]``; zero where the mask is false.
    """

    def __init__(self, policy: Network, theta: Tensor, trajectories: Trajectories) -> None:
        mask = trajectories.mask
        self._lengths: list[list[int]] = trajectories.mask.sum(2).tolist()
        # Whole numbers index several times as fast as truth values.
        self._steps = [m.flatten().nonzero().squeeze(1) for m in mask]
        self._pullbacks: list[Pullback] = []
        self._probabilities: list[Tensor] = []
        self._scores: list[Tensor] = []
        padded = []
        for s, steps in enumerate(self._steps):
            obs = trajectories.obs[s].flatten(0, 1).index_select(0, steps)
            logits, pullback = policy.linearize(theta[s].detach(), obs)
            log_probs = logits.log_softmax(-1)
            action = trajectories.action[s].flatten().index_select(0, steps)
            probabilities = log_probs.exp()
            score = probabilities.neg()
            score.scatter_add_(1, action.unsqueeze(1), torch.ones_like(score[:, :1]))
            row = log_probs.new_zeros(mask[s].numel(), log_probs.shape[1])
            padded.append(row.index_copy_(0, steps, log_probs).view(*mask[s].shape, -1))
            self._pullbacks.append(pullback)
            self._probabilities.append(probabilities)
            self._scores.append(score)
        self.log_probs = torch.stack(padded)

    def weighted_sums(self, weights: Tensor) -> Tensor:
        """Σ w ∇log π(a|s) over the actions taken: ``[S, E, N, T]`` → ``[S, E, P]``."""
        sums = []
        for s, w in enumerate(self._of_steps(weights)):
            spanning, coefficients = _span(w)
            few = _over_all(self._pullbacks[s], self._scores[s], w[spanning])
            sums.append(coefficients @ few)
        return torch.stack(sums)

    def trajectory_sums(self, weights: Sequence[Tensor]) -> list[Tensor]:
        """Σ_t w_t ∇log π(a_t|s_t) of every trajectory, ``[S, N, P]`` for each ``[S, N, T]``."""
        rows = zip(
            self._of_steps(torch.stack(list(weights), dim=1)),
            self._scores,
            self._pullbacks,
            self._lengths,
            strict=True,
        )
        sums = [pullback(score, w, lengths) for w, score, pullback, lengths in rows]
        return list(torch.stack(sums).unbind(2))

    def weighted_sums_over_actions(self, weights: Tensor) -> Tensor:
        """Σ w_a ∇log π(a|s) over all actions of all steps: ``[S, N, T, A]`` → ``[S, P]``."""
        sums = []
        flat = weights.flatten(1, 2)
        for s, pullback in enumerate(self._pullbacks):
            w = flat[s].index_select(0, self._steps[s])
            direction = w - self._probabilities[s] * w.sum(1, keepdim=True)
            sums.append(_over_all(pullback, direction, torch.ones_like(w[:, :1]).T)[0])
        return torch.stack(sums)

    def _of_steps(self, weights: Tensor) -> list[Tensor]:
        """Of weights ``[S, E, N, T]``, those of each replica's real steps, ``[E, B]``."""
        flat = weights.flatten(2).to(self.log_probs.dtype)
        return [w.index_select(1, steps) for w, steps in zip(flat, self._steps, strict=True)]


def _over_all(pullback: Pullback, direction: Tensor, weights: Tensor) -> Tensor:
    """Sums over all observations, ``[E, P]``, from those over pieces that stay in the cache."""
    pieces = [len(piece) for piece in direction.split(ROWS_IN_CACHE)]
    return pullback(direction, weights, pieces).sum(0)


def _span(weights: Tensor) -> tuple[list[int], Tensor]:
    """Weightings of which all others are linear combinations.

    Many estimators are a multiple of another one or differ from it by a constant baseline. What
    they sum to is combined in the same way, for a fraction of the cost.

    Args:
        weights: ``[E, B]``.

    Returns:
        which r of them, and the coefficients ``[E, r]`` that make all from those.
    """
    everything = list(range(len(weights))), torch.eye(len(weights)).to(weights)
    if len(weights) == 1:
        return everything
    size = weights.norm(dim=1)
    unit = (weights / size.clamp(min=torch.finfo(size.dtype).tiny).unsqueeze(1)).double()
    gram: NDArray[np.float64] = (unit @ unit.T).cpu().numpy()
    if not np.isfinite(gram).all():
        return everything
    _, order, rank, _ = dpstrf(gram, tol=NEGLIGIBLE)  # Cholesky with pivoting
    kept = sorted(order[:rank] - 1)
    coefficients = np.linalg.solve(gram[np.ix_(kept, kept)], gram[kept])
    coefficients[:, kept] = np.eye(rank)
    lengths = size.double()
    scaled = torch.from_numpy(coefficients.T).to(lengths) * lengths.unsqueeze(1) / lengths[kept]
    return kept, scaled.to(weights)
