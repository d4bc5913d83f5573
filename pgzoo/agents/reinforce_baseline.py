"""REINFORCE with a baseline: only what is better than expected is reinforced.

    Ψ_t = G_t − b

Sampling plan: N complete episodes from independent starts. Sources: Williams (1992); Greensmith,
Bartlett & Baxter (2004) for the variance-optimal constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from pgzoo.agents.base import CriticOptions, option
from pgzoo.agents.reinforce import Reinforce
from pgzoo.estimators import (
    batch_mean_baseline,
    optimal_constant_baseline,
    time_step_mean_baseline,
)
from pgzoo.policies.model import Model
from pgzoo.sampling.collect import Trajectories


@dataclass(frozen=True, kw_only=True)
class ReinforceBaseline(CriticOptions, Reinforce):
    """Monte Carlo policy gradient with a choice of four baselines."""

    baseline: Literal["batch-mean", "time-step-mean", "value", "optimal"] = option(
        "time-step-mean",
        "b: mean return of the batch, mean return at each time step, a learned V(s), "
        "or the variance-optimal constant",
    )

    defaults: ClassVar[dict[str, dict[str, Any]]] = {
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

    @property
    def critic(self) -> Literal["none", "state", "action"]:
        """Only the learned V(s) needs one."""
        return "state" if self.baseline == "value" else "none"

    def psi(self, trajectories: Trajectories, model: Model) -> Tensor:
        """G_t − b ``[S, N, T]``."""
        returns = self.returns(trajectories, model)
        return (returns - self._baseline(returns, trajectories, model)) * trajectories.mask

    def _baseline(self, returns: Tensor, trajectories: Trajectories, model: Model) -> Tensor:
        mask = trajectories.mask
        if self.baseline == "batch-mean":
            return batch_mean_baseline(returns, mask)
        if self.baseline == "time-step-mean":
            return time_step_mean_baseline(returns, mask)
        if self.baseline == "value":
            return model.values(trajectories)
        weight = self.step_weights(trajectories)
        both = torch.stack([weight * returns, weight], dim=1)
        gradients = model.scores(trajectories).trajectory_sums(both)
        return optimal_constant_baseline(*gradients.unbind(1))
