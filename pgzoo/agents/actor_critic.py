"""Actor-critic: the critic's TD errors say which actions were better than expected.

    Ψ_t = Â_t, the generalised advantage estimate (λ = 0: the one-step TD error)

Sampling plan: segments of fixed length from environments that keep running. Sources: Sutton et al.
(1999); Schulman et al. (2016) for GAE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgzoo.agents.base import RESCALED, Agent
from pgzoo.agents.critics import BootstrappedCritic
from pgzoo.agents.registry import register
from pgzoo.agents.surrogates import ScoreFunction
from pgzoo.sampling.plan import Segments

if TYPE_CHECKING:
    from torch import Tensor

    from pgzoo.policies.model import Outputs
    from pgzoo.sampling.trajectories import Trajectories


@register(
    "actor-critic",
    summary="advantage actor-critic, bootstrapping from a learned V(s)",
    formula="Ψ = GAE(γ, λ)",
    year=1999,
    source="Sutton et al. 1999; Schulman et al. 2016",
)
@dataclass(frozen=True, kw_only=True)
class ActorCritic(Agent):
    """Advantage actor-critic with GAE(γ, λ)."""

    plan: Segments = Segments(envs=8, segment_steps=32)
    surrogate: ScoreFunction = ScoreFunction()
    critic: BootstrappedCritic = BootstrappedCritic(of="state", lam=0.95)

    training = RESCALED
    defaults = {
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
    in_zoo = ({}, {"lam": 0.0}, {"lam": 1.0})

    def psi(self, t: Trajectories, outputs: Outputs) -> Tensor:
        """Â_t, ``[S, N, T]``."""
        return self.critic.advantage(t, outputs, self.gamma)
