"""Rescaling of Ψ over a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from pgzoo.estimators.aggregation import step_mean
from pgzoo.estimators.checks import check_not_negative, check_tensors
from pgzoo.estimators.sums import sum_of_steps


def root_mean_square(psi: Tensor, mask: Tensor, eps: float = 1e-8) -> Tensor:
    """√(mean Ψ²) over all real steps of the batch.

    Dividing Ψ by it sets the length of the gradient, like a learning rate, not its direction.

    Args:
        psi: ``[..., N, T]``.
        mask: real transitions, ``[..., N, T]``.
        eps: added under the root.

    Returns:
        ``[..., 1, 1]``.
    """
    check_tensors("[..., N, T]", psi=psi, mask=mask)
    check_not_negative(eps=eps)
    return (step_mean(psi.square(), mask)[..., None, None] + eps).sqrt()


def whiten(psi: Tensor, mask: Tensor, eps: float = 1e-8) -> Tensor:
    """(Ψ − mean) / √(variance + eps) over all real steps of the batch.

    The variance is Bessel-corrected. As used by REINFORCE++ (Hu et al. 2025, eq. 4) and, per
    minibatch, by most implementations of PPO.

    Args:
        psi: ``[..., N, T]``.
        mask: real transitions, ``[..., N, T]``.
        eps: added under the root.

    Returns:
        ``[..., N, T]``, zero where the mask is false.
    """
    check_tensors("[..., N, T]", psi=psi, mask=mask)
    check_not_negative(eps=eps)
    centered = torch.where(mask, psi - step_mean(psi, mask)[..., None, None], 0)
    count = mask.sum((-2, -1), keepdim=True)
    variance = sum_of_steps(centered.square())[..., None, None] / (count - 1).clamp(min=1)
    return centered / (variance + eps).sqrt()
