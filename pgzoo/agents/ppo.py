"""PPO-clip (Schulman et al. 2017): several epochs of minibatches within a trust region.

    Ψ_t = Â_t (GAE), standardised over each minibatch;  maximise min(ρΨ, clip(ρ, 1−ε, 1+ε)Ψ)

Sampling plan: segments of fixed length from environments that keep running.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgzoo.agents.base import Agent
from pgzoo.agents.critics import BootstrappedCritic
from pgzoo.agents.registry import register
from pgzoo.agents.surrogates import ClippedRatio
from pgzoo.estimators.names import Aggregation
from pgzoo.options import option
from pgzoo.sampling.plan import Segments

if TYPE_CHECKING:
    from torch import Tensor

    from pgzoo.policies.model import Outputs
    from pgzoo.sampling.trajectories import Trajectories


@register(
    "ppo",
    summary="several epochs of minibatches with the clipped ratio and a learned V(s)",
    formula="Ψ = GAE(γ, λ), standardised per minibatch",
    year=2017,
    source="Schulman et al. 2017",
)
@dataclass(frozen=True, kw_only=True)
class PPO(Agent):
    """Proximal policy optimisation with the clipped surrogate."""

    plan: Segments = Segments(envs=8, segment_steps=32)
    surrogate: ClippedRatio = ClippedRatio(clip=0.2, standardize=True, epochs=6, minibatches=8)
    critic: BootstrappedCritic = BootstrappedCritic(of="state", lam=0.95)
    aggregation: Aggregation = option(
        "step-mean", "how the steps' terms are added up", estimate=True
    )

    defaults = {
        "CartPole-v1": {
            "steps": 100_000,
            "segment_steps": 128,
            "epochs": 4,
            "minibatches": 4,
            "learning_rate": 3e-3,
            "lr_schedule": "linear",
            "critic_learning_rate": 3e-3,
            "critic_minibatches": 4,
            "reward_scale": 0.1,
        },
        "LunarLander-v3": {
            "steps": 1_000_000,
            "envs": 16,
            "segment_steps": 64,
            "epochs": 2,
            "minibatches": 4,
            "learning_rate": 1e-3,
            "lr_schedule": "linear",
            "entropy_coef": 0.01,
            "gamma": 0.995,
            "critic_learning_rate": 2e-3,
            "reward_scale": 0.05,
        },
    }

    def psi(self, t: Trajectories, outputs: Outputs) -> Tensor:
        """Â_t, ``[S, N, T]``."""
        return self.critic.advantage(t, outputs, self.gamma)
