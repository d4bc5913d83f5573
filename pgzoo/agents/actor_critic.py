"""Actor-critic: the critic's TD errors say which actions were better than expected.

    Ψ_t = Â_t, the generalised advantage estimate (λ = 0: the one-step TD error)

Sampling plan: segments of fixed length from environments that keep running. Sources: Sutton et al.
(1999); Schulman et al. (2016) for GAE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from pgzoo.agents.base import PSI_SCALE, SegmentOptions, option
from pgzoo.policies.model import Model
from pgzoo.sampling.collect import Trajectories


@dataclass(frozen=True, kw_only=True)
class ActorCritic(SegmentOptions):
    """Advantage actor-critic with GAE(γ, λ)."""

    psi_scale: Literal["none", "rms"] = option("rms", PSI_SCALE)

    defaults: ClassVar[dict[str, dict[str, Any]]] = {
        "CartPole-v1": {
            "steps": 100_000,
            "segment_steps": 64,
            "lr_schedule": "linear",
            "critic_learning_rate": 3e-3,
            "reward_scale": 0.1,
        },
        "LunarLander-v3": {
            "steps": 600_000,
            "envs": 16,
            "segment_steps": 64,
            "learning_rate": 3e-3,
            "lr_schedule": "linear",
            "gamma": 0.995,
            "critic_learning_rate": 2e-3,
            "reward_scale": 0.05,
        },
    }

    def psi(self, trajectories: Trajectories, model: Model) -> Tensor:
        """Â_t ``[S, N, T]``."""
        return self.advantage(trajectories, model)
