"""Sample-based estimators of KL(π ‖ π_ref) from actions drawn from π.

With r = π_ref(a|s) / π(a|s), after J. Schulman's note "Approximating KL divergence" (2020).
"""

from __future__ import annotations

import torch
from torch import Tensor

from pgzoo.errors import UsageError
from pgzoo.estimators.checks import check_not_negative, check_tensors
from pgzoo.estimators.names import KL_ESTIMATORS, KLEstimator


def kl_estimate(log_prob: Tensor, reference_log_prob: Tensor, estimator: KLEstimator) -> Tensor:
    """Per-action estimates whose mean over a ~ π estimates the divergence.

    - ``k1`` = −log r: unbiased, may be negative, of high variance.
    - ``k2`` = ½ (log r)²: biased, never negative; its gradient is unbiased.
    - ``k3`` = r − 1 − log r: unbiased and never negative; GRPO's choice (Shao et al. 2024, eq. 4).

    Args:
        log_prob: log π(a|s), ``[...]``.
        reference_log_prob: log π_ref(a|s), ``[...]``.
        estimator: one of ``KL_ESTIMATORS``.

    Returns:
        ``[...]``, in nats.

    Raises:
        UsageError: for another estimator.
    """
    check_tensors("[...]", log_prob=log_prob, reference_log_prob=reference_log_prob)
    log_ratio = reference_log_prob - log_prob
    if estimator == "k1":
        return -log_ratio
    if estimator == "k2":
        return log_ratio.square() / 2
    if estimator == "k3":
        return log_ratio.exp() - 1 - log_ratio
    raise UsageError(f"Expected a KL estimator among {KL_ESTIMATORS}, got {estimator!r}.")


def penalized_reward(
    reward: Tensor, log_prob: Tensor, reference_log_prob: Tensor, mask: Tensor, coef: float
) -> Tensor:
    """r_t − β (log π(a_t|s_t) − log π_ref(a_t|s_t)), the penalty by ``k1`` in every step's reward.

    Its return is the return less β times a sample of KL(π ‖ π_ref) over the trajectory. Ziegler et
    al. (2019), eq. 2.

    Args:
        reward: ``[..., N, T]``.
        log_prob: under the policy that acted, ``[..., N, T]``.
        reference_log_prob: log π_ref, ``[..., N, T]``.
        mask: real transitions, ``[..., N, T]``.
        coef: β ≥ 0.

    Returns:
        ``[..., N, T]``, zero where the mask is false.
    """
    check_not_negative(coef=coef)
    check_tensors("[..., N, T]", reward=reward, log_prob=log_prob, mask=mask)
    return torch.where(mask, reward - coef * kl_estimate(log_prob, reference_log_prob, "k1"), 0)
