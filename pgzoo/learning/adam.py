"""Adam on a parameter matrix, with a learning rate for every row.

``torch.optim.Adam`` has one learning rate for a tensor. Here each replica follows the schedule of
its own environment steps, and rows come and go as replicas finish; both are plain indexing when the
state is data.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class AdamState:
    """Running moments of the gradient and number of updates, one row per replica.

    Attributes:
        mean: ``[S, P]``.
        square: ``[S, P]``.
        count: ``[S, 1]``.
    """

    mean: Tensor
    square: Tensor
    count: Tensor


def adam_init(params: Tensor) -> AdamState:
    """State before the first update of ``params [S, P]``."""
    zeros = torch.zeros_like(params)
    return AdamState(zeros, zeros.clone(), zeros[:, :1].clone())


def adam_descent(
    params: Tensor, gradient: Tensor, state: AdamState, learning_rate: Tensor
) -> tuple[Tensor, AdamState]:
    """One step of Adam (Kingma & Ba 2015, algorithm 1) against the gradient.

    Args:
        params: ``[S, P]``.
        gradient: ``[S, P]``.
        state: as returned by the step before.
        learning_rate: ``[S, 1]``.

    Returns:
        new parameters and state; the arguments are left as they are.
    """
    count = state.count + 1
    mean = torch.lerp(state.mean, gradient, 1 - BETA1)
    square = BETA2 * state.square + (1 - BETA2) * gradient.square()
    denominator = (square / _one_less_power(BETA2, count)).sqrt_().add_(EPS)
    step = learning_rate / _one_less_power(BETA1, count)
    return params - step * mean / denominator, AdamState(mean, square, count)


def _one_less_power(beta: float, count: Tensor) -> Tensor:
    """1 − β^n. A float's power is rounded otherwise where it fills the processor's lanes."""
    return (1 - (count.double() * log(beta)).exp()).to(count.dtype)


def clip_rows(gradient: Tensor, max_norm: float) -> tuple[Tensor, Tensor]:
    """Scale every row whose norm exceeds ``max_norm`` down to it; 0 means no limit.

    Args:
        gradient: ``[S, P]``.
        max_norm: limit of the Euclidean norm.

    Returns:
        the clipped gradient ``[S, P]`` and the norms before clipping ``[S]``.
    """
    norm = gradient.norm(dim=1)
    if max_norm == 0:
        return gradient, norm
    return gradient * (max_norm / norm.clamp(min=max_norm)).unsqueeze(1), norm
