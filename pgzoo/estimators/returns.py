"""Returns, temporal-difference errors and generalised advantages."""

from __future__ import annotations

import torch
from torch import Tensor

from pgzoo.estimators.checks import check_fractions, check_tensors
from pgzoo.estimators.order import powers, sum_in_order


def returns_to_go(reward: Tensor, mask: Tensor, gamma: float) -> Tensor:
    """Discounted return from every step on, G_t = Σ_{j≥t} γ^{j−t} r_j.

    Sutton & Barto (2018), eq. 3.8. Each row must be one complete episode.

    Args:
        reward: ``[..., N, T]``.
        mask: real transitions, ``[..., N, T]``.
        gamma: discount factor in [0, 1].

    Returns:
        ``[..., N, T]``, zero where the mask is false.
    """
    check_tensors("[..., N, T]", reward=reward, mask=mask)
    check_fractions(gamma=gamma)
    reward = torch.where(mask, reward, 0)
    if gamma == 1.0:
        total = reward.flip(-1).cumsum(-1).flip(-1)
    else:
        total = _discounted_sums(reward, torch.full_like(reward, gamma))
    return torch.where(mask, total, 0)


def episode_return(reward: Tensor, mask: Tensor, gamma: float) -> Tensor:
    """Discounted return of the whole episode, R = Σ_t γ^t r_t.

    Args:
        reward: ``[..., N, T]``, each row one complete episode.
        mask: real transitions, ``[..., N, T]``.
        gamma: discount factor in [0, 1].

    Returns:
        ``[..., N]``.
    """
    check_tensors("[..., N, T]", reward=reward, mask=mask)
    check_fractions(gamma=gamma)
    return sum_in_order(torch.where(mask, reward, 0) * powers(gamma, reward.shape[-1]).to(reward))


def td_errors(
    reward: Tensor,
    value: Tensor,
    next_value: Tensor,
    terminated: Tensor,
    mask: Tensor,
    gamma: float,
) -> Tensor:
    """One-step errors δ_t = r_t + γ V(s_{t+1}) − V(s_t).

    Sutton & Barto (2018), eq. 6.5. A terminal state is worth 0; a state in which a time limit cut
    the episode off is worth what the critic says.

    Args:
        reward: ``[..., N, T]``.
        value: V of the observation before each action, ``[..., N, T]``.
        next_value: V of the true observation after it, ``[..., N, T]``.
        terminated: the episode ended in a terminal state, ``[..., N, T]``.
        mask: real transitions, ``[..., N, T]``.
        gamma: discount factor in [0, 1].

    Returns:
        ``[..., N, T]``, zero where the mask is false.
    """
    check_tensors(
        "[..., N, T]",
        reward=reward,
        value=value,
        next_value=next_value,
        terminated=terminated,
        mask=mask,
    )
    check_fractions(gamma=gamma)
    target = reward + gamma * torch.where(terminated, 0, next_value)
    return torch.where(mask, target - value, 0)


def gae(
    reward: Tensor,
    value: Tensor,
    next_value: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    mask: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    """Generalised advantage estimates A_t = Σ_l (γλ)^l δ_{t+l}, within each episode.

    Schulman et al. (2016), eq. 16. λ = 0 gives the TD error, λ = 1 the return minus V. A row may
    hold several episodes; the sum never crosses an episode's end or a masked step, and at the end
    of the row it stops at the critic's value.

    Args:
        reward: ``[..., N, T]``.
        value: V of the observation before each action, ``[..., N, T]``.
        next_value: V of the true observation after it, ``[..., N, T]``.
        terminated: the episode ended in a terminal state, ``[..., N, T]``.
        truncated: the episode was cut off by a time limit, ``[..., N, T]``.
        mask: real transitions, ``[..., N, T]``.
        gamma: discount factor in [0, 1].
        lam: λ in [0, 1].

    Returns:
        ``[..., N, T]``, zero where the mask is false.
    """
    check_tensors("[..., N, T]", reward=reward, truncated=truncated)
    check_fractions(lam=lam)
    delta = td_errors(reward, value, next_value, terminated, mask, gamma)
    goes_on = mask & ~terminated & ~truncated
    return torch.where(mask, _discounted_sums(delta, gamma * lam * goes_on.to(delta.dtype)), 0)


def _discounted_sums(x: Tensor, discount: Tensor) -> Tensor:
    """y_t = x_t + discount_t · y_{t+1}, all ``[..., T]``."""
    # NumPy's per-call cost is a fifth of torch's, and this loop is nothing but calls.
    terms, factors = (a.movedim(-1, 0).contiguous().cpu().numpy() for a in (x, discount))
    total = terms.copy()
    for t in range(len(total) - 2, -1, -1):
        total[t] += factors[t] * total[t + 1]
    return torch.from_numpy(total).movedim(0, -1).to(x.device)
