"""RLOO (Kool et al. 2019; Ahmadian et al. 2024): the other rollouts are the baseline.

    Ψ_k = R_k − mean of the other K − 1 returns,  at every step

Sampling plan: groups of K complete episodes from the same start.

Members of a group share the environment's seed: the start, and on LunarLander the terrain and the
stream of engine noise. So each is judged against what its start allows. The estimator is unbiased:
given the seed, the other members' returns are independent of member k's actions, so the baseline
has expectation zero against the score function whatever the seed was. Fewer distinct starts pay
for it: at the same number of episodes its variance is lower than with independent starts
(``starts=independent``) only where the start decides the level of the return; on CartPole it is
higher (the laboratory's study of starts).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgzoo import estimators
from pgzoo.agents.base import RESCALED, Agent, at_every_step
from pgzoo.agents.penalties import ReferenceKL
from pgzoo.agents.registry import register
from pgzoo.agents.surrogates import ScoreFunction
from pgzoo.options import option
from pgzoo.sampling.plan import Groups

if TYPE_CHECKING:
    from torch import Tensor

    from pgzoo.policies.model import Outputs
    from pgzoo.sampling.trajectories import Trajectories


@register(
    "rloo",
    summary="K rollouts from each start, each one's baseline the mean of the others",
    formula="Ψ = R − mean of the other K − 1, or G_t − theirs at step t",
    year=2019,
    source="Kool et al. 2019; Ahmadian et al. 2024",
)
@dataclass(frozen=True, kw_only=True)
class RLOO(Agent):
    """REINFORCE with a leave-one-out baseline."""

    plan: Groups = Groups(episodes=16, group_size=8, least=2)
    surrogate: ScoreFunction = ScoreFunction()
    penalty: ReferenceKL = ReferenceKL(kl_placement="reward")
    reward_to_go: bool = option(
        False,
        "Ψ = G_t − the others' mean at the same time step, instead of R − their mean",
        estimate=True,
    )

    training = RESCALED
    defaults = {
        "CartPole-v1": {"steps": 150_000, "lr_schedule": "linear"},
        "LunarLander-v3": {
            "reward_to_go": True,
            "steps": 600_000,
            "gamma": 0.995,
            "learning_rate": 1e-2,
            "lr_schedule": "linear",
        },
    }
    in_zoo = ({}, {"reward_to_go": True})

    def psi(self, t: Trajectories, outputs: Outputs) -> Tensor:
        """Return less the mean of the other members, ``[S, N, T]``."""
        k = self.plan.group_size
        if self.reward_to_go:
            return estimators.leave_one_out_per_step(self.returns_to_go(t, outputs), t.mask, k)
        return at_every_step(estimators.leave_one_out(self.episode_return(t, outputs), k), t)

    def credited_return(self, t: Trajectories, outputs: Outputs) -> Tensor:
        """R at every step, or G_t, ``[S, N, T]``."""
        if self.reward_to_go:
            return self.returns_to_go(t, outputs)
        return at_every_step(self.episode_return(t, outputs), t)
