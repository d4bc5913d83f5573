"""Surrogates: per-step objectives whose gradient puts Ψ on the score function ∇log π."""

from __future__ import annotations

from torch import Tensor


def score_function_surrogate(log_prob: Tensor, psi: Tensor) -> Tensor:
    """Ψ log π(a|s), with gradient Ψ ∇log π(a|s). Williams (1992).

    Args:
        log_prob: log-probability of the action under the differentiated policy, ``[..., T]``.
        psi: effective weight, ``[..., T]``, taken as a constant.

    Returns:
        ``[..., T]``, to be maximised.
    """
    return psi.detach() * log_prob
