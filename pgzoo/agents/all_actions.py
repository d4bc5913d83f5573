"""All-actions policy gradient: a learned q̂ for every action instead of the sampled one.

    ∇J ≈ Σ_t Σ_a q̂(s_t, a) ∇π(a|s_t),    Ψ_t(a) = q̂(s_t, a) − Σ_b π(b|s_t) q̂(s_t, b)

Subtracting the expectation changes nothing in the sum. q̂ is fitted to λ-returns of the actions
taken. Sampling plan: segments, or complete episodes. Sources: Sutton & Barto (2018), sections 13.2
and 13.3; Asadi et al. (2017); Ciosek & Whiteson (2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pgzoo import estimators
from pgzoo.agents.base import RESCALED, Agent
from pgzoo.agents.critics import BootstrappedCritic
from pgzoo.agents.registry import register
from pgzoo.agents.surrogates import ExpectedGradient
from pgzoo.options import chosen_by, option
from pgzoo.sampling.plan import Episodes, Segments

if TYPE_CHECKING:
    from torch import Tensor

    from pgzoo.policies.model import Outputs
    from pgzoo.sampling.trajectories import Trajectories


@register(
    "all-actions",
    summary="expected policy gradient with a learned q̂ for every action",
    formula="Σ_a q̂(s,a) ∇π(a|s)",
    year=2017,
    source="Sutton & Barto 13.2–13.3; Asadi et al. 2017; Ciosek & Whiteson 2018",
)
@dataclass(frozen=True, kw_only=True)
class AllActions(Agent):
    """Expected policy gradient with a learned action-value function."""

    sampling: Literal["segments", "episodes"] = option(
        "segments", "rows of the batch: segments, or complete episodes"
    )
    plan: Segments | Episodes = chosen_by(
        "sampling",
        "segments",
        segments=Segments(envs=8, segment_steps=32),
        episodes=Episodes(episodes=8),
    )
    surrogate: ExpectedGradient = ExpectedGradient()
    critic: BootstrappedCritic = BootstrappedCritic(of="action", lam=0.95)

    training = RESCALED
    defaults = {
        "CartPole-v1": {
            "steps": 150_000,
            "segment_steps": 64,
            "lr_schedule": "linear",
            "critic_learning_rate": 3e-3,
            "critic_minibatches": 4,
            "reward_scale": 0.1,
        },
        "LunarLander-v3": {
            "steps": 800_000,
            "envs": 16,
            "segment_steps": 64,
            "learning_rate": 3e-3,
            "lr_schedule": "linear",
            "gamma": 0.995,
            "critic_learning_rate": 2e-3,
            "reward_scale": 0.05,
        },
        "tabular": {"learning_rate": 0.05, "critic_learning_rate": 0.1},
        "CartPole-v1 tabular": {"steps": 300_000, "critic_minibatches": 8},
        "LunarLander-v3 tabular": {"steps": 500_000},
    }

    def psi(self, t: Trajectories, outputs: Outputs) -> Tensor:
        """q̂ less its expectation, ``[S, N, T, A]``."""
        return estimators.centered_action_values(outputs.critic, outputs.log_probs)
