"""GRPO (Shao et al. 2024): returns standardised within their group, PPO's clipped ratio, no critic.

    Ψ_k = (R_k − group mean) / (group std + eps),  at every step; each trajectory's steps averaged

Sampling plan: groups of K complete episodes from the same start (see ``rloo`` for what sharing the
environment's seed means). The mean over each trajectory's steps, 1/|o|, makes steps of long
trajectories count less; ``dr_grpo`` does without it and without the division by std.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from pgzoo.agents.base import Aggregation, ClipOptions, GroupOptions, ReferenceOptions, option
from pgzoo.estimators import group_standardize
from pgzoo.policies.model import Model
from pgzoo.sampling.collect import Trajectories


@dataclass(frozen=True, kw_only=True)
class GRPO(ReferenceOptions, ClipOptions, GroupOptions):
    """Group-relative policy optimisation."""

    aggregation: Aggregation = option(
        "trajectory-mean", "how the steps' terms are added up; sum is the unbiased one"
    )

    defaults: ClassVar[dict[str, dict[str, Any]]] = {
        "CartPole-v1": {"learning_rate": 2e-3, "lr_schedule": "linear"},
        "LunarLander-v3": {
            "steps": 600_000,
            "gamma": 0.995,
            "learning_rate": 5e-3,
            "lr_schedule": "linear",
        },
    }

    def psi(self, trajectories: Trajectories, model: Model) -> Tensor:
        """The group's advantage at every step ``[S, N, T]``."""
        returns = self.penalized_return(trajectories, model)
        return self.group_advantage(returns).unsqueeze(-1) * trajectories.mask

    def group_advantage(self, returns: Tensor) -> Tensor:
        """Of returns ``[S, N]``."""
        return group_standardize(returns, self.group_size)
