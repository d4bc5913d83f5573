"""Contenders against each other: their order, and every pair."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pgzoo.compare.efficiency import Saving, common_budget, compare_restricted_means, trained_steps
from pgzoo.compare.outcome import Outcome
from pgzoo.compare.pairs import Pair, compare_pairs
from pgzoo.records.intervals import interquartile_mean


def ranked(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """By interquartile mean of the final returns, best first; those without any come last."""

    def key(outcome: Outcome) -> float:
        known = outcome.known_returns
        return -float(interquartile_mean(known)) if len(known) else np.inf

    return sorted(outcomes, key=key)


def pairs_of(outcomes: Sequence[Outcome]) -> list[Pair]:
    """Whose final returns are higher, for every pair."""
    if len(outcomes) < 2:
        return []
    return compare_pairs(
        {o.label: o.returns for o in outcomes},
        {o.label: dict(zip(o.seeds, o.returns.tolist(), strict=True)) for o in outcomes},
    )


def savings_of(outcomes: Sequence[Outcome]) -> list[Saving]:
    """Who needs fewer steps to the threshold, for every pair; none without a threshold."""
    if len(outcomes) < 2 or outcomes[0].threshold is None:
        return []
    samples = {o.label: (o.steps_to_threshold, trained_steps(o)) for o in outcomes}
    return compare_restricted_means(samples, common_budget(outcomes))
