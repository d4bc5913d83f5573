"""Critics: what is learned beside the policy, what it is fitted to, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pgzoo import estimators
from pgzoo.options import above_one, check_options, option

if TYPE_CHECKING:
    from torch import Tensor

    from pgzoo.policies.model import Outputs
    from pgzoo.sampling.trajectories import Trajectories


@dataclass(frozen=True, kw_only=True)
class Critic:
    """V(s), or q(s, a) for every action, fitted to the returns of complete episodes.

    Attributes:
        of: what a prediction belongs to, a state or a state's actions.
    """

    of: Literal["state", "action"] = "state"
    critic_learning_rate: float = option(1e-2, "Adam's step size for the critic", above=0)
    critic_epochs: int = option(4, "passes over each batch to fit the critic", minimum=1)
    critic_minibatches: int = option(
        8, "minibatches of one such pass, at most one for each step", minimum=1
    )
    reward_scale: float = option(
        1.0, "rewards are multiplied by this so that the critic can follow", above=0
    )
    value_clip: float = option(
        0.0,
        "the critic moves at most this far from its old prediction; 0: freely",
        minimum=0,
        needs=above_one("critic_epochs", "critic_minibatches"),
    )

    def __post_init__(self) -> None:
        check_options(self)

    def target(self, trajectories: Trajectories, outputs: Outputs, gamma: float) -> Tensor:
        """What predictions are fitted to, ``[S, N, T]``: returns-to-go."""
        return estimators.returns_to_go(trajectories.reward, trajectories.mask, gamma)

    def loss(self, value: Tensor, old_value: Tensor, target: Tensor) -> Tensor:
        """Of every prediction; ``old_value`` is the one before this iteration's updates."""
        return estimators.clipped_value_loss(value, old_value, target, self.value_clip)


@dataclass(frozen=True, kw_only=True)
class BootstrappedCritic(Critic):
    """A critic that learns from its own predictions: GAE(γ, λ). Schulman et al. (2016)."""

    lam: float = option(
        0.95,
        "λ of GAE; 0: one-step TD error, 1: return − V",
        minimum=0,
        maximum=1,
        estimate=True,
    )

    def advantage(self, trajectories: Trajectories, outputs: Outputs, gamma: float) -> Tensor:
        """Generalised advantage estimates ``[S, N, T]``."""
        t = trajectories
        return estimators.gae(
            t.reward,
            outputs.values,
            outputs.next_values,
            t.terminated,
            t.truncated,
            t.mask,
            gamma,
            self.lam,
        )

    def target(self, trajectories: Trajectories, outputs: Outputs, gamma: float) -> Tensor:
        """λ-returns, that is advantage + V."""
        return self.advantage(trajectories, outputs, gamma) + outputs.values
