"""Baselines computed from a batch of trajectories.

A baseline b lowers the variance of Σ_t (G_t − b) ∇log π(a_t|s_t) and, where it does not depend on
the trajectory it is subtracted from, leaves its expectation unchanged. The means below include
that trajectory: they shrink the expected gradient by the order of 1/N.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pgzoo.estimators.aggregation import step_mean
from pgzoo.estimators.checks import check_tensors
from pgzoo.estimators.sums import sum_of_steps


def batch_mean_baseline(returns: Tensor, mask: Tensor) -> Tensor:
    """Mean of the returns over all real steps of the batch.

    Args:
        returns: ``[..., N, T]``.
        mask: real transitions, ``[..., N, T]``.

    Returns:
        ``[..., 1, 1]``.
    """
    check_tensors("[..., N, T]", returns=returns, mask=mask)
    return step_mean(returns, mask)[..., None, None]


def time_step_mean_baseline(returns: Tensor, mask: Tensor) -> Tensor:
    """For every time step, the mean return over the trajectories that reached it.

    Args:
        returns: ``[..., N, T]``.
        mask: real transitions, ``[..., N, T]``.

    Returns:
        ``[..., 1, T]``.
    """
    check_tensors("[..., N, T]", returns=returns, mask=mask)
    total = torch.where(mask, returns, 0).sum(-2, keepdim=True)
    return total / mask.sum(-2, keepdim=True).clamp(min=1)


def optimal_constant_baseline(return_score: Tensor, score: Tensor) -> Tensor:
    """The constant b that minimises the variance of the gradient estimate.

    With A_i = Σ_t c_t G_t ∇log π and B_i = Σ_t c_t ∇log π of trajectory i, the variance of A − bB
    is least at b = E[A·B] / E[B·B] (E[B] = 0). Where Ψ is the whole return, A = R·B and this is
    E[R ‖∇log π‖²] / E[‖∇log π‖²]: Greensmith, Bartlett & Baxter (2004), section 4.

    Args:
        return_score: A, one gradient per trajectory, ``[..., N, P]``.
        score: B, ``[..., N, P]``.

    Returns:
        ``[..., 1, 1]``; 0 where all scores vanish.
    """
    check_tensors("[..., N, P]", return_score=return_score, score=score)
    numerator = sum_of_steps(return_score * score)[..., None, None]
    denominator = sum_of_steps(score.square())[..., None, None]
    return torch.where(denominator > 0, numerator / denominator, 0)
