"""What every run can be told, whatever its agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pgzoo.errors import UsageError
from pgzoo.options import check_options, option

DEFAULT_DIAGNOSES = 20


@dataclass(frozen=True, kw_only=True)
class Common:
    """How an agent is trained and watched, seeds and environment aside."""

    policy: Literal["mlp", "linear", "tabular"] = option("mlp", "kind of policy")
    device: Literal["auto", "cpu", "cuda"] = option("auto", "where networks run")
    max_episode_steps: int | None = option(
        None, "time limit in place of the environment's own", minimum=1
    )
    stop_when_solved: bool = option(
        False, "a seed stops when it has reached the environment's threshold"
    )
    diagnostics: int = option(
        DEFAULT_DIAGNOSES,
        "how often in a run each seed's gradient is diagnosed; 0: never",
        minimum=0,
    )
    compare_estimators: bool = option(
        False, "diagnose the other estimators that fit on the same batches, too"
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.compare_estimators and self.diagnostics == 0:
            raise UsageError(
                "Expected `diagnostics` above 0 with `compare_estimators`, got 0: they are "
                "compared when there are diagnostics. Leave `diagnostics` out for the default."
            )

    def check_budget(self, steps: int) -> None:
        """Raise a ``UsageError`` for more diagnoses than a run has steps to spread them over."""
        if self.diagnostics > max(steps, DEFAULT_DIAGNOSES):
            raise UsageError(
                f"Expected `diagnostics` of at most {steps:,}, the run's `steps`, got "
                f"{self.diagnostics:,}: there is at most one after every step."
            )
