"""An estimator of one's own: the group's median return as baseline."""

import torch
from torch import Tensor

from pgzoo.sampling.trajectories import Trajectories


def median_baseline(trajectories: Trajectories) -> Tensor:
    """Ψ = R − median return of the group, at every step."""
    t = trajectories
    returns = torch.where(t.mask, t.reward, 0).sum(-1)  # [S, N]
    groups = returns.unflatten(-1, (-1, t.group_size))  # [S, G, K]
    advantage = groups - groups.median(-1, keepdim=True).values
    return advantage.flatten(-2).unsqueeze(-1).expand(t.mask.shape)  # [S, N, T]
