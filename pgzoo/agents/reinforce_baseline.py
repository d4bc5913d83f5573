"""REINFORCE with a baseline: only what is better than expected is reinforced.

    Ψ_t = G_t − b

Sampling plan: N complete episodes from independent starts. Sources: Williams (1992); Greensmith,
Bartlett & Baxter (2004) for the variance-optimal constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pgzoo import estimators
from pgzoo.agents.critics import Critic
from pgzoo.agents.registry import register
from pgzoo.agents.reinforce import Reinforce
from pgzoo.options import chosen_by, option

if TYPE_CHECKING:
    from torch import Tensor

    from pgzoo.policies.model import Outputs
    from pgzoo.sampling.trajectories import Trajectories


@register(
    "reinforce-baseline",
    summary="REINFORCE with a batch mean, per-time-step mean, learned V(s) or optimal constant",
    formula="Ψ = G_t − b",
    year=1992,
    source="Williams 1992; Greensmith et al. 2004",
)
@dataclass(frozen=True, kw_only=True)
class ReinforceBaseline(Reinforce):
    """Monte Carlo policy gradient with a choice of four baselines."""

    baseline: Literal["batch-mean", "time-step-mean", "value", "optimal"] = option(
        "time-step-mean",
        "b: mean return of the batch, mean return at each time step, a learned V(s), "
        "or the variance-optimal constant",
        estimate=True,
    )
    critic: Critic | None = chosen_by("baseline", "time-step-mean", value=Critic(of="state"))

    defaults = {
        "CartPole-v1": {"steps": 120_000},
        "LunarLander-v3": {
            "baseline": "value",
            "steps": 1_000_000,
            "episodes": 8,
            "gamma": 0.995,
            "learning_rate": 1e-2,
            "lr_schedule": "linear",
            "critic_learning_rate": 3e-3,
            "reward_scale": 0.02,
        },
        "tabular": {"learning_rate": 0.05, "critic_learning_rate": 0.1, "lr_schedule": "linear"},
        "CartPole-v1 tabular": {"steps": 300_000},
        "LunarLander-v3 tabular": {"steps": 500_000},
    }
    in_zoo = (
        {"baseline": "batch-mean"},
        {"baseline": "time-step-mean"},
        {"baseline": "optimal"},
        {"baseline": "value"},
    )

    def psi(self, t: Trajectories, outputs: Outputs) -> Tensor:
        """G_t − b, ``[S, N, T]``."""
        returns = self.credited_return(t, outputs)
        return (returns - self._baseline(returns, t, outputs)) * t.mask

    def _baseline(self, returns: Tensor, t: Trajectories, outputs: Outputs) -> Tensor:
        if self.baseline == "batch-mean":
            return estimators.batch_mean_baseline(returns, t.mask)
        if self.baseline == "time-step-mean":
            return estimators.time_step_mean_baseline(returns, t.mask)
        if self.baseline == "value":
            return outputs.values
        weight = self.step_weights(t)
        return_score, score = outputs.scores.trajectory_sums([weight * returns, weight])
        return estimators.optimal_constant_baseline(return_score, score)
