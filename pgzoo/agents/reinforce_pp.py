"""REINFORCE++ (Hu et al. 2025): one rollout per start, PPO's clipped ratio, a global baseline.

    Ψ_t = G_t of (reward − β·KL_t), whitened over all steps of the batch

Sampling plan: N complete episodes from independent starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from pgzoo.agents.base import ClipOptions, ReferenceOptions, option
from pgzoo.estimators import returns_to_go, whiten
from pgzoo.policies.model import Model
from pgzoo.sampling.collect import Trajectories


@dataclass(frozen=True, kw_only=True)
class ReinforcePP(ReferenceOptions, ClipOptions):
    """REINFORCE with global advantage normalisation."""

    episodes: int = option(16, "complete episodes N of each seed in an iteration", minimum=1)
    kl_placement: Literal["reward", "loss"] = option(
        "reward", "subtract β·KL from each step's reward, or from the objective"
    )

    defaults: ClassVar[dict[str, dict[str, Any]]] = {
        "CartPole-v1": {"steps": 300_000, "learning_rate": 2e-3, "lr_schedule": "linear"},
        "LunarLander-v3": {
            "steps": 600_000,
            "gamma": 0.995,
            "learning_rate": 1e-2,
            "lr_schedule": "linear",
        },
    }

    @property
    def num_rows(self) -> int:
        """A row for every episode."""
        return self.episodes

    def psi(self, trajectories: Trajectories, model: Model) -> Tensor:
        """Whitened returns-to-go ``[S, N, T]``."""
        reward = self.penalized_reward(trajectories, model)
        returns = returns_to_go(reward, trajectories.mask, self.gamma)
        return whiten(returns, trajectories.mask)
