"""Returns of complete episodes."""

from __future__ import annotations

import torch
from torch import Tensor


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
    reward = torch.where(mask, reward, 0)
    if gamma == 1.0:
        total = reward.flip(-1).cumsum(-1).flip(-1)
    else:
        total = torch.empty_like(reward)
        running = torch.zeros_like(reward[..., 0])
        for t in reversed(range(reward.shape[-1])):
            running = reward[..., t] + gamma * running
            total[..., t] = running
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
    steps = torch.arange(reward.shape[-1], dtype=reward.dtype, device=reward.device)
    return (torch.where(mask, reward, 0) * gamma**steps).sum(-1)
