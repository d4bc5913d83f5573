"""REINFORCE++-baseline (Hu et al. 2025): the group's mean first, then global normalisation.

    Ψ_k = R_k − group mean, whitened over all steps of the batch

Sampling plan: groups of K complete episodes from the same start.
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
    "reinforce++-baseline",
    summary="group mean subtracted, then whitened over the batch, clipped ratio",
    formula="Ψ = R − group mean, whitened over the batch",
    year=2025,
    source="Hu et al. 2025",
)
@dataclass(frozen=True, kw_only=True)
class ReinforcePPBaseline(Agent):
    """REINFORCE++ with group means as baselines."""

    plan: Groups = Groups(episodes=16, group_size=8, least=2)
    surrogate: ClippedRatio = ClippedRatio(clip=0.2)
    penalty: ReferenceKL = ReferenceKL(kl_placement="loss", kl_estimator="k2")
    aggregation: Aggregation = option(
        "step-mean", "how the steps' terms are added up", estimate=True
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
        """Centred, then whitened, ``[S, N, T]``."""
        returns = self.episode_return(t, outputs)
        centered = estimators.group_center(returns, self.plan.group_size)
        return estimators.whiten(at_every_step(centered, t), t.mask)
