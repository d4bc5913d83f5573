"""Surrogates: per-step objectives, to be maximised, whose gradient puts Ψ on the score function."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from pgzoo import estimators
from pgzoo.options import above_one, check_options, option

if TYPE_CHECKING:
    from torch import Tensor

    from pgzoo.sampling.batch import Batch


class Surrogate(Protocol):
    """What an update maximises, and how often it goes through a batch."""

    title: ClassVar[str]
    every_action: ClassVar[bool]
    """Whether Ψ is ``[S, N, T, A]``, a weight for every action, and not for the one taken."""

    @property
    def epochs(self) -> int:
        """Passes over each batch."""

    @property
    def minibatches(self) -> int:
        """Minibatches of one such pass."""

    def per_step(self, log_probs: Tensor, batch: Batch) -> Tensor:
        """Objective of every step ``[S, N, T]``.

        Args:
            log_probs: of all actions under the differentiated policy, ``[S, N, T, A]``.
            batch: what was sampled, with Ψ.
        """

    def figures(self, log_probs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """What there is to log of an update, ``[S]`` each."""


@dataclass(frozen=True)
class ScoreFunction:
    """Ψ log π(a|s): one step of plain gradient ascent. Williams (1992)."""

    title: ClassVar[str] = "score function"
    every_action: ClassVar[bool] = False
    epochs: ClassVar[int] = 1
    minibatches: ClassVar[int] = 1

    def per_step(self, log_probs: Tensor, batch: Batch) -> Tensor:
        """See ``Surrogate``."""
        return estimators.score_function_surrogate(batch.of_actions(log_probs), batch.psi)

    def figures(self, log_probs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Nothing beside what all have."""
        return {}


@dataclass(frozen=True)
class ExpectedGradient:
    """Σ_a π(a|s) Ψ(a): all actions in place of the one taken. Sutton & Barto (2018), 13.3."""

    title: ClassVar[str] = "expected gradient"
    every_action: ClassVar[bool] = True
    epochs: ClassVar[int] = 1
    minibatches: ClassVar[int] = 1

    def per_step(self, log_probs: Tensor, batch: Batch) -> Tensor:
        """See ``Surrogate``; Ψ is ``[S, N, T, A]``."""
        return estimators.all_actions_surrogate(log_probs, batch.psi)

    def figures(self, log_probs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Nothing beside what all have."""
        return {}


@dataclass(frozen=True, kw_only=True)
class ClippedRatio:
    """min(ρΨ, clip(ρ, 1−ε, 1+ε)Ψ): several epochs within a trust region. Schulman et al. (2017).

    Its effective weight is ρΨ inside the trust region, and 0 where clipping bites.
    """

    clip: float = option(
        0.2,
        "ε of the clipped ratio",
        above=0,
        below=1,
        estimate=True,
        needs=above_one("epochs", "minibatches"),
    )
    ratio: Literal["step", "trajectory"] = option(
        "step",
        "importance ratio of each step, or the geometric mean over the trajectory",
        estimate=True,
    )
    standardize: bool = option(
        False, "subtract Ψ's mean over the minibatch, divide by its std", estimate=True
    )
    epochs: int = option(4, "passes of the policy over each batch", minimum=1)
    minibatches: int = option(1, "minibatches of one such pass", minimum=1)

    title: ClassVar[str] = "clipped ratio"
    every_action: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_options(self)

    def per_step(self, log_probs: Tensor, batch: Batch) -> Tensor:
        """See ``Surrogate``."""
        batch = self._prepared(batch)
        return estimators.clipped_surrogate(self.of(log_probs, batch), batch.psi, self.clip)

    def figures(self, log_probs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Share of the steps where clipping bites, and KL(π_old ‖ π) in nats per step."""
        batch = self._prepared(batch)
        clipped = estimators.is_clipped(self.of(log_probs, batch), batch.psi, self.clip)
        kl = estimators.kl_estimate(batch.old_log_prob, batch.of_actions(log_probs), "k3")
        return {
            "clip_fraction": estimators.step_mean(clipped.float(), batch.mask),
            "kl_old_policy": estimators.step_mean(kl, batch.mask),
        }

    def of(self, log_probs: Tensor, batch: Batch) -> Tensor:
        """The importance ratio ρ ``[S, N, T]``."""
        whole = self.ratio == "trajectory"
        ratio = estimators.trajectory_ratio if whole else estimators.importance_ratio
        return ratio(batch.of_actions(log_probs), batch.old_log_prob, batch.mask)

    def _prepared(self, batch: Batch) -> Batch:
        if not self.standardize:
            return batch
        return dataclasses.replace(batch, psi=estimators.whiten(batch.psi, batch.mask))
