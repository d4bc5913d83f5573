"""RLOO (Kool et al. 2019; Ahmadian et al. 2024): the other rollouts are the baseline.

    Ψ_k = R_k − mean of the other K − 1 returns,  at every step

Sampling plan: groups of K complete episodes from the same start.

Members of a group share the environment's seed: the start, and on LunarLander the terrain and the
stream of engine noise. Their returns then differ by their actions more than by luck (common random
numbers), which lowers the variance. The estimator stays unbiased: given the seed, the other
members' returns are independent of member k's actions, so the baseline has expectation zero
against the score function whatever the seed was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from pgzoo.agents.base import PSI_SCALE, GroupOptions, ReferenceOptions, option
from pgzoo.estimators import (
    leave_one_out,
    leave_one_out_per_step,
    returns_to_go,
)
from pgzoo.policies.model import Model
from pgzoo.sampling.collect import Trajectories


@dataclass(frozen=True, kw_only=True)
class RLOO(ReferenceOptions, GroupOptions):
    """REINFORCE with a leave-one-out baseline."""

    reward_to_go: bool = option(
        False, "Ψ = G_t − the others' mean at the same time step, instead of R − their mean"
    )
    psi_scale: Literal["none", "rms"] = option("rms", PSI_SCALE)
    kl_placement: Literal["reward", "loss"] = option(
        "reward", "subtract β·KL from each step's reward, or from the objective"
    )

    least_group_size: ClassVar[int] = 2
    defaults: ClassVar[dict[str, dict[str, Any]]] = {
        "CartPole-v1": {"steps": 150_000, "lr_schedule": "linear"},
        "LunarLander-v3": {
            "reward_to_go": True,
            "steps": 600_000,
            "gamma": 0.995,
            "learning_rate": 1e-2,
            "lr_schedule": "linear",
        },
    }

    def psi(self, trajectories: Trajectories, model: Model) -> Tensor:
        """Return less the mean of the other members ``[S, N, T]``."""
        mask = trajectories.mask
        if self.reward_to_go:
            returns = self.returns(trajectories, model)
            return leave_one_out_per_step(returns, mask, self.group_size)
        whole = self.penalized_return(trajectories, model)
        return leave_one_out(whole, self.group_size).unsqueeze(-1) * mask

    def returns(self, trajectories: Trajectories, model: Model) -> Tensor:
        """R at every step, or G_t, ``[S, N, T]``."""
        mask = trajectories.mask
        if self.reward_to_go:
            return returns_to_go(self.penalized_reward(trajectories, model), mask, self.gamma)
        return self.penalized_return(trajectories, model).unsqueeze(-1) * mask
