"""REINFORCE (Williams 1992): every action is reinforced by the return that followed it.

    Ψ_t = G_t

Sampling plan: N complete episodes from independent starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from pgzoo.agents.base import PSI_SCALE, Agent, option
from pgzoo.errors import UsageError
from pgzoo.estimators import discount_weights, episode_return, returns_to_go
from pgzoo.policies.model import Model
from pgzoo.sampling.collect import Trajectories


@dataclass(frozen=True, kw_only=True)
class Reinforce(Agent):
    """Monte Carlo policy gradient without a baseline."""

    episodes: int = option(16, "complete episodes N of each seed in an iteration", minimum=1)
    whole_return: bool = option(
        False, "Ψ = R, the return of the whole episode, at every step; not G_t"
    )
    gamma_t: bool = option(
        False, "weigh step t by γ^t, which makes G_t exact for the discounted objective"
    )
    psi_scale: Literal["none", "rms"] = option("rms", PSI_SCALE)

    defaults: ClassVar[dict[str, dict[str, Any]]] = {
        "CartPole-v1": {"steps": 600_000, "lr_schedule": "linear"},
        "LunarLander-v3": {
            "steps": 600_000,
            "gamma": 0.995,
            "learning_rate": 1e-2,
            "lr_schedule": "linear",
        },
    }

    def check(self) -> None:
        """The two ways to be exact exclude each other."""
        super().check()
        if self.whole_return and self.gamma_t:
            raise UsageError(
                "Expected --gamma-t with returns-to-go, got --whole-return too. With the whole "
                "return the gradient is already exact, and γ^t would discount it twice: drop one."
            )

    @property
    def num_rows(self) -> int:
        """A row for every episode."""
        return self.episodes

    def psi(self, trajectories: Trajectories, model: Model) -> Tensor:
        """G_t, or R at every step."""
        return self.returns(trajectories, model)

    def returns(self, trajectories: Trajectories, model: Model) -> Tensor:
        """The return that each step is credited with ``[S, N, T]``."""
        reward, mask = trajectories.reward, trajectories.mask
        if self.whole_return:
            return episode_return(reward, mask, self.gamma).unsqueeze(-1) * mask
        return returns_to_go(reward, mask, self.gamma)

    def step_weights(self, trajectories: Trajectories) -> Tensor:
        """Aggregation, times c_t = γ^t if asked for."""
        weight = super().step_weights(trajectories)
        return weight * discount_weights(trajectories.mask, self.gamma) if self.gamma_t else weight
