"""What is made of a critic's predictions: the loss they are fitted by, their worth, their use."""

from __future__ import annotations

import torch
from torch import Tensor

from pgzoo.estimators.aggregation import step_mean
from pgzoo.estimators.checks import check_not_negative, check_tensors


def clipped_value_loss(value: Tensor, old_value: Tensor, target: Tensor, clip: float) -> Tensor:
    """Squared error of a prediction, or of the clipped one if that is the larger.

    max{(V − y)², (V_old + clip(V − V_old, −ε, ε) − y)²}: beyond ε from the old prediction there is
    nothing to be gained. Of OpenAI's PPO; described by Engstrom et al. (2020), section 3.

    Args:
        value: V, ``[...]``.
        old_value: V_old, before this iteration's updates, ``[...]``.
        target: y, ``[...]``.
        clip: ε ≥ 0, in units of V; 0: the plain squared error.

    Returns:
        ``[...]``.
    """
    check_tensors("[...]", value=value, old_value=old_value, target=target)
    check_not_negative(clip=clip)
    loss = (value - target).square()
    if clip == 0:
        return loss
    near = old_value + (value - old_value).clamp(-clip, clip)
    return torch.maximum(loss, (near - target).square())


def explained_variance(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """1 − Var(target − prediction) / Var(target) over the real steps of the batch.

    1: the prediction is the target up to a constant; 0: no better than a constant; negative: worse.

    Args:
        prediction: of a critic, or a baseline, ``[..., N, T]``.
        target: ``[..., N, T]``.
        mask: real transitions, ``[..., N, T]``.

    Returns:
        ``[...]``.
    """
    check_tensors("[..., N, T]", prediction=prediction, target=target, mask=mask)

    def variance(x: Tensor) -> Tensor:
        return step_mean((x - step_mean(x, mask)[..., None, None]).square(), mask)

    return 1 - variance(target - prediction) / variance(target).clamp(min=1e-12)


def centered_action_values(q: Tensor, log_probs: Tensor) -> Tensor:
    """q(s,a) − Σ_b π(b|s) q(s,b): the advantage of every action.

    Its expectation under π is zero. The same in all actions, what is subtracted does not change
    Σ_a q(s,a) ∇π(a|s). Sutton & Barto (2018), section 13.4.

    Args:
        q: ``[..., A]``.
        log_probs: log π(a|s) of all actions, ``[..., A]``.

    Returns:
        ``[..., A]``.
    """
    check_tensors("[..., A]", q=q, log_probs=log_probs)
    return q - (log_probs.exp() * q).sum(-1, keepdim=True)
