"""Surrogates: per-step objectives, to be maximised, whose gradient puts Ψ on the score ∇log π."""

from __future__ import annotations

import torch
from torch import Tensor

from pgzoo.estimators.checks import check_clip, check_tensors
from pgzoo.estimators.order import sum_in_order


def score_function_surrogate(log_prob: Tensor, psi: Tensor) -> Tensor:
    """Ψ log π(a|s), with gradient Ψ ∇log π(a|s). Williams (1992).

    Args:
        log_prob: log-probability of the action under the differentiated policy, ``[..., T]``.
        psi: effective weight, ``[..., T]``, taken as a constant.

    Returns:
        ``[..., T]``.
    """
    check_tensors("[..., T]", log_prob=log_prob, psi=psi)
    return psi.detach() * log_prob


def importance_ratio(log_prob: Tensor, old_log_prob: Tensor, mask: Tensor) -> Tensor:
    """ρ_t = π(a_t|s_t) / π_old(a_t|s_t) of every step.

    Args:
        log_prob: under the differentiated policy, ``[..., T]``.
        old_log_prob: under the policy that acted, ``[..., T]``.
        mask: real transitions, ``[..., T]``.

    Returns:
        ``[..., T]``, 1 where the mask is false.
    """
    check_tensors("[..., T]", log_prob=log_prob, old_log_prob=old_log_prob, mask=mask)
    return torch.where(mask, log_prob - old_log_prob, 0).exp()


def trajectory_ratio(log_prob: Tensor, old_log_prob: Tensor, mask: Tensor) -> Tensor:
    """The geometric mean s of a trajectory's ratios, at every step, with that step's own gradient.

    s_t = sg[s] · π(a_t|s_t) / sg[π(a_t|s_t)] has the value s and the gradient s ∇log π(a_t|s_t):
    the steps of a trajectory share a ratio, and each has its own Ψ_t. The token form of GSPO (Zheng
    et al. 2025, section 4.3). With s itself every step would get the trajectory's mean of
    weight · Ψ; where both are constant along the trajectory, the two forms have one gradient.

    Args:
        log_prob: under the differentiated policy, ``[..., T]``.
        old_log_prob: under the policy that acted, ``[..., T]``.
        mask: real transitions, ``[..., T]``.

    Returns:
        ``[..., T]``, the same at all steps of a row, padding included.
    """
    check_tensors("[..., T]", log_prob=log_prob, old_log_prob=old_log_prob, mask=mask)
    log_prob = torch.where(mask, log_prob, 0)
    fixed = log_prob.detach()
    total = sum_in_order(torch.where(mask, fixed - old_log_prob, 0)).unsqueeze(-1)
    mean = total / mask.sum(-1, keepdim=True).clamp(min=1)
    return mean.exp() * (log_prob - fixed).exp()


def clipped_surrogate(ratio: Tensor, psi: Tensor, clip: float) -> Tensor:
    """min(ρΨ, clip(ρ, 1−ε, 1+ε)Ψ). Schulman et al. (2017), eq. 7.

    Args:
        ratio: ρ, ``[..., T]``.
        psi: effective weight at ρ = 1, ``[..., T]``, taken as a constant.
        clip: ε in (0, 1).

    Returns:
        ``[..., T]``.
    """
    check_tensors("[..., T]", ratio=ratio, psi=psi)
    check_clip(clip)
    psi = psi.detach()
    return torch.minimum(ratio * psi, ratio.clamp(1 - clip, 1 + clip) * psi)


def clipped_weight(ratio: Tensor, psi: Tensor, clip: float) -> Tensor:
    """Effective weight of the clipped surrogate: what stands before ∇log π in its gradient.

    ρΨ inside the trust region; 0 where clipping bites, that is where Ψ > 0 and ρ > 1 + ε, or Ψ < 0
    and ρ < 1 − ε.

    Args:
        ratio: ρ, ``[..., T]``.
        psi: ``[..., T]``.
        clip: ε in (0, 1).

    Returns:
        ``[..., T]``.
    """
    return torch.where(is_clipped(ratio, psi, clip), 0, ratio * psi)


def is_clipped(ratio: Tensor, psi: Tensor, clip: float) -> Tensor:
    """Where clipping bites, ``[..., T]``; arguments as for ``clipped_weight``."""
    check_tensors("[..., T]", ratio=ratio, psi=psi)
    check_clip(clip)
    return ((psi > 0) & (ratio > 1 + clip)) | ((psi < 0) & (ratio < 1 - clip))


def all_actions_surrogate(log_probs: Tensor, action_values: Tensor) -> Tensor:
    """Σ_a π(a|s) q̂(s,a): the expectation over actions in place of a sample.

    Sutton & Barto (2018), section 13.3; the mean actor-critic of Asadi et al. (2017) and expected
    policy gradients of Ciosek & Whiteson (2018). Its gradient Σ_a q̂(s,a) ∇π(a|s) is the expected
    gradient of the score-function surrogate with Ψ = q̂(s,a).

    Args:
        log_probs: of all actions under the differentiated policy, ``[..., T, A]``.
        action_values: q̂, ``[..., T, A]``, taken as constants.

    Returns:
        ``[..., T]``.
    """
    check_tensors("[..., T, A]", log_probs=log_probs, action_values=action_values)
    return (log_probs.exp() * action_values.detach()).sum(-1)
