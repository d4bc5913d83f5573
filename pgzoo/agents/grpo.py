"""GRPO (Shao et al. 2024): returns standardised within their group, PPO's clipped ratio, no critic.

    Ψ_k = (R_k − group mean) / (group std + eps),  at every step; each trajectory's steps averaged

Sampling plan: groups of K complete episodes from the same start (see ``rloo`` for what sharing the
environment's seed means). The mean over each trajectory's steps, 1/|o|, makes steps of long
trajectories count less; ``dr_grpo`` does without it and without the division by std.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgzoo import estimators
from pgzoo.agents.base import Agent, at_every_step
from pgzoo.agents.penalties import ReferenceKL
from pgzoo.agents.registry import register
from pgzoo.agents.surrogates import ClippedRatio
from pgzoo.estimators.names import Aggregation
from pgzoo.options import option
from pgzoo.sampling.plan import Groups

if TYPE_CHECKING:
    from torch import Tensor

    from pgzoo.policies.model import Outputs
    from pgzoo.sampling.trajectories import Trajectories


@register(
    "grpo",
    summary="returns standardised within their group, clipped ratio, mean over each trajectory",
    formula="Ψ = (R − group mean) / group std",
    year=2024,
    source="Shao et al. 2024",
)
@dataclass(frozen=True, kw_only=True)
class GRPO(Agent):
    """Group-relative policy optimisation."""

    plan: Groups = Groups(episodes=16, group_size=8)
    surrogate: ClippedRatio = ClippedRatio(clip=0.2)
    penalty: ReferenceKL = ReferenceKL(kl_placement="loss", kl_estimator="k3")
    aggregation: Aggregation = option(
        "trajectory-mean", "how the steps' terms are added up", estimate=True
    )

    defaults = {
        "CartPole-v1": {"learning_rate": 2e-3, "lr_schedule": "linear"},
        "LunarLander-v3": {
            "steps": 600_000,
            "gamma": 0.995,
            "learning_rate": 5e-3,
            "lr_schedule": "linear",
        },
    }

    def psi(self, t: Trajectories, outputs: Outputs) -> Tensor:
        """The standardised return at every step, ``[S, N, T]``."""
        returns = self.episode_return(t, outputs)
        return at_every_step(estimators.group_standardize(returns, self.plan.group_size), t)
