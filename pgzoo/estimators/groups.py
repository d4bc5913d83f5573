"""Baselines from the other rollouts of the same start: groups of K adjacent members."""

from __future__ import annotations

import torch
from torch import Tensor

from pgzoo.estimators.checks import check_groups, check_not_negative, check_tensors
from pgzoo.estimators.order import sum_in_order


def leave_one_out(returns: Tensor, group_size: int) -> Tensor:
    """R_k − mean of the other K − 1 members, = K/(K−1) · (R_k − group mean).

    The baseline does not depend on the member it is subtracted from, so the estimator stays
    unbiased. Kool, van Hoof & Welling (2019); RLOO of Ahmadian et al. (2024), eq. 8.

    Args:
        returns: ``[..., N]``, members of a group adjacent.
        group_size: K ≥ 2, a divisor of N.

    Returns:
        ``[..., N]``.

    Raises:
        UsageError: for K < 2 or an N that K does not divide.
    """
    check_tensors("[..., N]", returns=returns)
    check_groups(returns.shape[-1], group_size, least=2)
    return group_center(returns, group_size) * (group_size / (group_size - 1))


def leave_one_out_per_step(returns: Tensor, mask: Tensor, group_size: int) -> Tensor:
    """G_{k,t} − mean of the other members' returns-to-go at the same step.

    Only members whose episode reached step t count; where there is none, nothing is subtracted.

    Args:
        returns: returns-to-go ``[..., N, T]``, members of a group adjacent.
        mask: real transitions, ``[..., N, T]``.
        group_size: K ≥ 2, a divisor of N.

    Returns:
        ``[..., N, T]``, zero where the mask is false.

    Raises:
        UsageError: for K < 2 or an N that K does not divide.
    """
    check_tensors("[..., N, T]", returns=returns, mask=mask)
    check_groups(returns.shape[-2], group_size, least=2)
    g = torch.where(mask, returns, 0).unflatten(-2, (-1, group_size))
    real = mask.unflatten(-2, (-1, group_size))
    others = real.sum(-2, keepdim=True) - real.to(g.dtype)
    total = sum_in_order(g.movedim(-2, -1)).unsqueeze(-2)
    mean = (total - g) / others.clamp(min=1)
    return torch.where(real, g - mean, 0).flatten(-3, -2)


def group_center(returns: Tensor, group_size: int) -> Tensor:
    """R_k − group mean, the advantage of Dr. GRPO (Liu et al. 2025, section 3.2).

    A group of one has baseline 0.

    Args:
        returns: ``[..., N]``, members of a group adjacent.
        group_size: K, a divisor of N.

    Returns:
        ``[..., N]``.

    Raises:
        UsageError: for an N that K does not divide.
    """
    check_tensors("[..., N]", returns=returns)
    check_groups(returns.shape[-1], group_size)
    if group_size == 1:
        return returns
    return _centered(returns, group_size).flatten(-2)


def group_standardize(returns: Tensor, group_size: int, eps: float = 1e-6) -> Tensor:
    """(R_k − group mean) / (group std + eps), the advantage of GRPO (Shao et al. 2024, sec. 4.1.2).

    The standard deviation is Bessel-corrected. A group of one has baseline 0 and deviation 1.

    Args:
        returns: ``[..., N]``, members of a group adjacent.
        group_size: K, a divisor of N.
        eps: added to the standard deviation.

    Returns:
        ``[..., N]``.

    Raises:
        UsageError: for an N that K does not divide.
    """
    check_tensors("[..., N]", returns=returns)
    check_groups(returns.shape[-1], group_size)
    check_not_negative(eps=eps)
    if group_size == 1:
        return returns
    centered = _centered(returns, group_size)
    variance = sum_in_order(centered.square()).unsqueeze(-1) / (group_size - 1)
    return (centered / (variance.sqrt() + eps)).flatten(-2)


def _centered(returns: Tensor, group_size: int) -> Tensor:
    group = returns.unflatten(-1, (-1, group_size))
    return group - sum_in_order(group).unsqueeze(-1) / group_size
