"""Dr. GRPO (Liu et al. 2025): GRPO without its two biases.

    Ψ_k = R_k − group mean,  at every step; steps summed, not averaged

Sampling plan: groups of K complete episodes from the same start.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pgzoo.agents.base import Aggregation, option
from pgzoo.agents.grpo import GRPO
from pgzoo.estimators import group_center
from pgzoo.policies.model import Model
from pgzoo.sampling.collect import Trajectories


@dataclass(frozen=True, kw_only=True)
class DrGRPO(GRPO):
    """GRPO done right: no division by std, no 1/|o|."""

    aggregation: Aggregation = option(
        "sum", "how the steps' terms are added up; sum is the unbiased one"
    )

    def group_advantage(self, returns: Tensor) -> Tensor:
        """Of returns ``[S, N]``."""
        return group_center(returns, self.group_size)

    def returns(self, trajectories: Trajectories, model: Model) -> Tensor:
        """R at every step, ``[S, N, T]``."""
        return self.penalized_return(trajectories, model).unsqueeze(-1) * trajectories.mask
