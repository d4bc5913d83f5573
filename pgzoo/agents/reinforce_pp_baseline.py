"""REINFORCE++-baseline (Hu et al. 2025): the group's mean first, then global normalisation.

    Ψ_k = R_k − group mean, whitened over all steps of the batch

Sampling plan: groups of K complete episodes from the same start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from pgzoo.agents.base import ClipOptions, GroupOptions, ReferenceOptions, option
from pgzoo.estimators import group_center, whiten
from pgzoo.policies.model import Model
from pgzoo.sampling.collect import Trajectories


@dataclass(frozen=True, kw_only=True)
class ReinforcePPBaseline(ReferenceOptions, ClipOptions, GroupOptions):
    """REINFORCE++ with group means as baselines."""

    kl_estimator: Literal["k1", "k2", "k3"] = option(
        "k2", "estimator of the KL in the objective; the reward always takes k1"
    )

    least_group_size: ClassVar[int] = 2
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
        """Centred, then whitened ``[S, N, T]``."""
        mask = trajectories.mask
        returns = self.penalized_return(trajectories, model)
        centered = group_center(returns, self.group_size).unsqueeze(-1) * mask
        return whiten(centered, mask)
