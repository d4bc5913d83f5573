"""Sums that the estimators share."""

from __future__ import annotations

from torch import Tensor


def sum_of_steps(x: Tensor) -> Tensor:
    """``[..., N, T]`` → ``[...]``, row by row: in the same order whatever padding rows have."""
    return x.sum(-1).sum(-1)
