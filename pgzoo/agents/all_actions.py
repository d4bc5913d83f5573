"""All-actions policy gradient: a learned q̂ for every action instead of the sampled one.

    ∇J ≈ Σ_t Σ_a q̂(s_t, a) ∇π(a|s_t),    Ψ_t(a) = q̂(s_t, a) − Σ_b π(b|s_t) q̂(s_t, b)

Subtracting the expectation changes nothing in the sum. q̂ is fitted to λ-returns of the actions
taken. Sampling plan: segments, or complete episodes. Sources: Sutton & Barto (2018), sections 13.2
and 13.3; Asadi et al. (2017); Ciosek & Whiteson (2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from pgzoo.agents.base import PSI_SCALE, SegmentOptions, option
from pgzoo.estimators import all_actions_surrogate
from pgzoo.policies.model import Model
from pgzoo.sampling.batch import Batch
from pgzoo.sampling.collect import Trajectories


@dataclass(frozen=True, kw_only=True)
class AllActions(SegmentOptions):
    """Expected policy gradient with a learned action-value function."""

    sampling: Literal["segments", "episodes"] = option(
        "segments", "rows of the batch: segments, or one complete episode of each environment"
    )
    psi_scale: Literal["none", "rms"] = option("rms", PSI_SCALE)

    defaults: ClassVar[dict[str, dict[str, Any]]] = {
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

    @property
    def plan(self) -> Literal["episodes", "segments"]:
        """As chosen."""
        return self.sampling

    @property
    def critic(self) -> Literal["none", "state", "action"]:
        """q̂(s, a)."""
        return "action"

    def psi(self, trajectories: Trajectories, model: Model) -> Tensor:
        """q̂ less its expectation, ``[S, N, T, A]``."""
        q = model.critic_outputs(trajectories)
        pi = model.log_probs(trajectories).exp()
        return q - (pi * q).sum(-1, keepdim=True)

    def surrogate(self, log_probs: Tensor, batch: Batch) -> Tensor:
        """Σ_a π(a|s) Ψ(a)."""
        return all_actions_surrogate(log_probs, batch.psi)
