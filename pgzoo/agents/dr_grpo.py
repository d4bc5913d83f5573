"""Dr. GRPO (Liu et al. 2025): GRPO without its two biases.

    Ψ_k = R_k − group mean,  at every step; steps summed, not averaged

Sampling plan: groups of K complete episodes from the same start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgzoo import estimators
from pgzoo.agents.base import Agent, at_every_step
from pgzoo.agents.grpo import GRPO
from pgzoo.agents.penalties import ReferenceKL
from pgzoo.agents.registry import register
from pgzoo.agents.surrogates import ClippedRatio
from pgzoo.sampling.plan import Groups

if TYPE_CHECKING:
    from torch import Tensor

    from pgzoo.policies.model import Outputs
    from pgzoo.sampling.trajectories import Trajectories


@register(
    "dr-grpo",
    summary="GRPO without division by std and by length",
    formula="Ψ = R − group mean",
    year=2025,
    source="Liu et al. 2025",
)
@dataclass(frozen=True, kw_only=True)
class DrGRPO(Agent):
    """GRPO done right: no division by std, no 1/|o|."""

    plan: Groups = Groups(episodes=16, group_size=8)
    surrogate: ClippedRatio = ClippedRatio(clip=0.2)
    penalty: ReferenceKL = ReferenceKL(kl_placement="loss", kl_estimator="k3")

    defaults = GRPO.defaults

    def psi(self, t: Trajectories, outputs: Outputs) -> Tensor:
        """The centred return at every step, ``[S, N, T]``."""
        returns = self.episode_return(t, outputs)
        return at_every_step(estimators.group_center(returns, self.plan.group_size), t)

    def credited_return(self, t: Trajectories, outputs: Outputs) -> Tensor:
        """R at every step, ``[S, N, T]``."""
        return at_every_step(self.episode_return(t, outputs), t)
