"""REINFORCE (Williams 1992): every action is reinforced by the return that followed it.

    Ψ_t = G_t

Sampling plan: N complete episodes from independent starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pgzoo import estimators
from pgzoo.agents.base import RESCALED, Agent, at_every_step
from pgzoo.agents.registry import register
from pgzoo.agents.surrogates import ScoreFunction
from pgzoo.errors import UsageError
from pgzoo.options import below, option
from pgzoo.sampling.plan import Episodes

if TYPE_CHECKING:
    from torch import Tensor

    from pgzoo.policies.model import Outputs
    from pgzoo.sampling.trajectories import Trajectories


@register(
    "reinforce",
    summary="Monte Carlo policy gradient",
    formula="Ψ = G_t, or R at every step",
    year=1992,
    source="Williams 1992",
)
@dataclass(frozen=True, kw_only=True)
class Reinforce(Agent):
    """Monte Carlo policy gradient without a baseline."""

    plan: Episodes = Episodes(episodes=16)
    surrogate: ScoreFunction = ScoreFunction()
    whole_return: bool = option(
        False, "Ψ = R, the return of the whole episode, at every step; not G_t", estimate=True
    )
    gamma_t: bool = option(
        False,
        "weigh step t by γ^t, which makes G_t exact for the discounted objective",
        estimate=True,
        needs=below("gamma", 1),
    )

    training = RESCALED
    defaults = {
        "CartPole-v1": {"steps": 600_000, "lr_schedule": "linear"},
        "LunarLander-v3": {
            "steps": 600_000,
            "gamma": 0.995,
            "learning_rate": 1e-2,
            "lr_schedule": "linear",
        },
    }
    in_zoo: ClassVar[tuple[dict[str, Any], ...]] = ({"whole_return": True}, {})

    def check(self) -> None:
        """The two ways to be exact exclude each other."""
        if self.whole_return and self.gamma_t:
            raise UsageError(
                "Expected `gamma_t` with returns-to-go, got `whole_return` too. With the whole "
                "return the gradient is already exact, and γ^t would discount it twice: drop one."
            )

    def psi(self, t: Trajectories, outputs: Outputs) -> Tensor:
        """G_t, or R at every step, ``[S, N, T]``."""
        return self.credited_return(t, outputs)

    def credited_return(self, t: Trajectories, outputs: Outputs) -> Tensor:
        """The return that each step is credited with ``[S, N, T]``."""
        if self.whole_return:
            return at_every_step(self.episode_return(t, outputs), t)
        return self.returns_to_go(t, outputs)

    def step_weights(self, t: Trajectories) -> Tensor:
        """Aggregation, times c_t = γ^t if asked for."""
        weight = super().step_weights(t)
        return weight * estimators.discount_weights(t.mask, self.gamma) if self.gamma_t else weight
