"""Penalties: what keeps a policy near another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pgzoo import estimators
from pgzoo.errors import UsageError
from pgzoo.options import check_options, equal_to, option, present

if TYPE_CHECKING:
    from torch import Tensor

    from pgzoo.policies.model import Outputs
    from pgzoo.sampling.batch import Batch
    from pgzoo.sampling.trajectories import Trajectories


@dataclass(frozen=True, kw_only=True)
class ReferenceKL:
    """β·KL(π ‖ π_ref), subtracted from each step's reward or from the objective."""

    reference: str | None = option(
        None, "run folder whose trained policies are π_ref, seed by seed"
    )
    kl_coef: float = option(
        0.0, "weight β of the KL penalty to `reference`", minimum=0, needs=present("reference")
    )
    kl_placement: Literal["reward", "loss"] = option(
        "loss",
        "subtract β·KL from each step's reward, or from the objective",
        needs=present("reference"),
    )
    kl_estimator: Literal["k1", "k2", "k3"] = option(
        "k3",
        "estimator of the KL in the objective; the reward always takes k1",
        needs=(present("reference"), equal_to("kl_placement", "loss")),
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.kl_coef > 0 and self.reference is None:
            raise UsageError(
                f"Expected `reference` with `kl_coef={self.kl_coef:g}`, got none. Give the folder "
                "of a trained run, or leave `kl_coef` out."
            )
        if self.reference is not None and self.kl_coef == 0:
            raise UsageError(
                "Expected `kl_coef` above 0 with `reference`, got 0: the reference would do "
                "nothing. Try `kl_coef=0.05`, or leave `reference` out."
            )

    def reward(self, trajectories: Trajectories, outputs: Outputs) -> Tensor:
        """r_t − β (log π_old − log π_ref) where the penalty is in the reward, else r_t."""
        t = trajectories
        if self.reference is None or self.kl_placement == "loss":
            return t.reward
        reference = outputs.reference_log_prob
        return estimators.penalized_reward(t.reward, t.log_prob, reference, t.mask, self.kl_coef)

    def of_objective(self, log_probs: Tensor, batch: Batch) -> Tensor | float:
        """What is subtracted from every step's objective, ``[S, N, T]``."""
        if batch.reference_log_prob is None or self.kl_placement == "reward":
            return 0.0
        log_prob = batch.of_actions(log_probs)
        kl = estimators.kl_estimate(log_prob, batch.reference_log_prob, self.kl_estimator)
        return self.kl_coef * kl
