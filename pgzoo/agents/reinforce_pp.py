"""REINFORCE++ (Hu et al. 2025): one rollout per start, PPO's clipped ratio, a global baseline.

    Ψ_t = G_t of (reward − β·KL_t), whitened over all steps of the batch

Sampling plan: N complete episodes from independent starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgzoo import estimators
from pgzoo.agents.base import Agent
from pgzoo.agents.penalties import ReferenceKL
from pgzoo.agents.registry import register
from pgzoo.agents.surrogates import ClippedRatio
from pgzoo.estimators.names import Aggregation
from pgzoo.options import option
from pgzoo.sampling.plan import Episodes

if TYPE_CHECKING:
    from torch import Tensor

    from pgzoo.policies.model import Outputs
    from pgzoo.sampling.trajectories import Trajectories


@register(
    "reinforce++",
    summary="one rollout per start, returns whitened over the batch, clipped ratio",
    formula="Ψ = G_t whitened over the batch",
    year=2025,
    source="Hu et al. 2025",
)
@dataclass(frozen=True, kw_only=True)
class ReinforcePP(Agent):
    """REINFORCE with global advantage normalisation."""

    plan: Episodes = Episodes(episodes=16)
    surrogate: ClippedRatio = ClippedRatio(clip=0.2)
    penalty: ReferenceKL = ReferenceKL(kl_placement="reward")
    aggregation: Aggregation = option(
        "step-mean", "how the steps' terms are added up", estimate=True
    )

    defaults = {
        "CartPole-v1": {"steps": 300_000, "learning_rate": 2e-3, "lr_schedule": "linear"},
        "LunarLander-v3": {
            "steps": 600_000,
            "gamma": 0.995,
            "learning_rate": 1e-2,
            "lr_schedule": "linear",
        },
    }

    def psi(self, t: Trajectories, outputs: Outputs) -> Tensor:
        """Whitened returns-to-go, ``[S, N, T]``."""
        return estimators.whiten(self.returns_to_go(t, outputs), t.mask)
