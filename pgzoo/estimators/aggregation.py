"""How per-step terms become one number: the factor in front of every step."""

from __future__ import annotations

import torch
from torch import Tensor

from pgzoo.errors import UsageError
from pgzoo.estimators.checks import check_fractions, check_tensors
from pgzoo.estimators.names import AGGREGATIONS, Aggregation
from pgzoo.estimators.sums import sum_of_steps


def aggregation_weights(mask: Tensor, aggregation: Aggregation) -> Tensor:
    """Weight w of every step in Σ_{i,t} w_{i,t} x_{i,t}.

    N counts the rows that have a real step; rows of padding change nothing.

    - ``sum``: 1/N, a sum over each trajectory's steps; the policy gradient theorem's own, unbiased.
    - ``step-mean``: 1/Σ_i T_i, the mean over all real steps of the batch.
    - ``trajectory-mean``: 1/(N·T_i), the mean over each trajectory's steps, then over trajectories;
      long trajectories count less per step (the 1/|o| of GRPO; Liu et al. 2025, section 3.1).

    Args:
        mask: real transitions, ``[..., N, T]``.
        aggregation: one of ``AGGREGATIONS``.

    Returns:
        ``[..., N, T]``, float32, zero where the mask is false.

    Raises:
        UsageError: for another aggregation.
    """
    check_tensors("[..., N, T]", mask=mask)
    weight = mask.float()
    rows = mask.any(-1, keepdim=True).sum(-2, keepdim=True).clamp(min=1)
    if aggregation == "sum":
        return weight / rows
    if aggregation == "step-mean":
        return weight / weight.sum((-2, -1), keepdim=True).clamp(min=1)
    if aggregation == "trajectory-mean":
        return weight / (rows * weight.sum(-1, keepdim=True).clamp(min=1))
    raise UsageError(f"Expected an aggregation among {AGGREGATIONS}, got {aggregation!r}.")


def discount_weights(mask: Tensor, gamma: float) -> Tensor:
    """The factor c_t = γ^t of the discounted objective's gradient.

    Without it, reward-to-go weighs late states as if they were early ones and is not the gradient
    of any function (Thomas 2014; Nota & Thomas 2020).

    Args:
        mask: real transitions, ``[..., N, T]``, each row one episode from its start.
        gamma: discount factor in [0, 1].

    Returns:
        ``[T]``.
    """
    check_tensors("[..., N, T]", mask=mask)
    check_fractions(gamma=gamma)
    steps = torch.arange(mask.shape[-1], dtype=torch.float32, device=mask.device)
    return torch.as_tensor(gamma, dtype=torch.float32, device=mask.device) ** steps


def step_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over all real steps of the batch.

    Args:
        x: ``[..., N, T]``.
        mask: real transitions, ``[..., N, T]``.

    Returns:
        ``[...]``; 0 where there is no real step.
    """
    check_tensors("[..., N, T]", x=x, mask=mask)
    return sum_of_steps(torch.where(mask, x, 0)) / mask.sum((-2, -1)).clamp(min=1)
