"""How soon: areas under learning curves, and steps to a threshold with unsolved runs censored.

A run that did not reach the threshold says that it takes more than it trained: it is censored,
never dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from pgzoo.compare.pairs import resampled_pair
from pgzoo.compare.permutation import decidable, mean_test
from pgzoo.errors import UsageError
from pgzoo.records.intervals import (
    MIN_RUNS,
    Interval,
    equal_weights,
    exact_ends,
    expanded_ends,
    known_values,
    share_interval,
    weighted_mean_interval,
)
from pgzoo.records.significance import SIGNIFICANT, holm

if TYPE_CHECKING:
    from pgzoo.compare.outcome import Outcome

Array = NDArray[np.float64]
Reached = Sequence[float | None]


def area_under_curve(
    steps: ArrayLike, values: ArrayLike, budget: float, ended: bool = False
) -> float:
    """Mean return of a run up to a budget of environment steps.

    The value at a step is of episodes that were finished on the way there, so the first is taken
    from 0 on. Between values the curve is a straight line.

    Args:
        steps: increasing, ``[n]``.
        values: as many; NaN is passed over.
        budget: environment steps.
        ended: whether the run is over, so that it keeps its last value up to the budget. Of one
            that goes on beyond its last step nothing is known there, and its area is NaN.

    Raises:
        UsageError: if steps and values differ in number, steps do not increase, or the budget is
            not above 0.
    """
    if not budget > 0:
        raise UsageError(f"Expected a budget above 0 steps, got {budget:g}.")
    x, y = known_values(steps, values)
    if not len(x) or (x[-1] < budget and not ended):
        return float("nan")
    at = np.concatenate([[0.0], x[(x > 0) & (x < budget)], [budget]])
    return float(np.trapezoid(np.interp(at, x, y), at) / budget)


def areas_under_curves(outcome: Outcome, budget: float) -> list[float]:
    """Mean return of each run over its first environment steps, up to a budget; NaN if none."""
    return [
        area_under_curve(rows["env_steps"], rows["return_mean"], budget, ended=True)
        for _, rows in outcome.metrics.groupby("seed", sort=True)
    ]


@dataclass(frozen=True)
class Survival:
    """Share of runs that have not yet reached the threshold, a step function.

    Attributes:
        times: steps (or seconds) at which it falls, 0 first and the budget last, ``[X]``.
        share: that has not reached it *by* each, from then on up to the next, ``[X]``.
        low: lower end of the pointwise 95% interval.
        high: upper end.
    """

    times: Array
    share: Array
    low: Array
    high: Array


def kaplan_meier(reached: Reached, trained: Sequence[float], budget: float) -> Survival:
    """The Kaplan-Meier (1958) estimate of how many runs have not yet reached the threshold.

    Its interval is Clopper and Pearson's, of as many runs as are known then: those that have
    reached it, and those that have trained so long. Where all runs have, it is exact and covers
    at least 95% at any number of runs. Where some were stopped sooner it covers 95% from
    ``MIN_RUNS`` runs on, and below there is none.

    Args:
        reached: steps (or seconds) at which each run reached it, None if it did not; S of them.
        trained: steps that each trained. For a run that failed, what it was to train: it would
            never have reached the threshold.
        budget: where the curve ends, or sooner, where nothing more is known of any run.

    Raises:
        UsageError: without runs.
    """
    first, within = _censored(reached, trained, budget)
    data = stats.CensoredData.right_censored(first, ~within)
    curve = stats.ecdf(data).sf
    falls = np.unique(first[within])
    times = np.unique(np.concatenate([[0.0], falls, [first.max()]]))
    share = np.clip(curve.evaluate(times), 0, 1)
    known = [int(np.count_nonzero(within | (first >= t))) for t in times]
    low, high = np.transpose([exact_ends(*x) for x in zip(share.tolist(), known, strict=True)])
    if len(first) < MIN_RUNS and not (within | (first >= budget)).all():
        low, high = np.full((2, len(times)), np.nan)
    return Survival(times, share, low, high)


def _censored(
    reached: Reached, trained: Sequence[float], budget: float
) -> tuple[Array, NDArray[np.bool_]]:
    """Up to where it is known of each run, and whether it reached the threshold there, ``[S]``."""
    if not len(trained):
        raise UsageError("Expected at least one run, got none. Give the steps of every run.")
    pairs = zip(reached, trained, strict=True)
    until = np.array([n if first is None else first for first, n in pairs], dtype=float)
    solved = np.array([first is not None for first in reached])
    return np.minimum(until, budget), solved & (until <= budget)


def _restricted(reached: Reached, trained: Sequence[float], budget: float) -> Array:
    """Steps to the threshold, sorted; those beyond the budget count as the budget, ``[S]``.

    Raises:
        UsageError: without runs, or if it is not known of every run up to the budget.
    """
    steps, within = _censored(reached, trained, budget)
    unknown = int(np.count_nonzero(~within & (steps < budget)))
    if unknown:
        raise UsageError(
            f"Expected runs that trained {budget:,.0f} steps or reached the threshold, got "
            f"{unknown} that did neither. Compare them at a budget that is common to all."
        )
    return np.sort(steps)


def share_reached(reached: Reached, trained: Sequence[float], budget: float) -> Interval:
    """Share of runs that reached the threshold within the budget (Clopper & Pearson 1934).

    Raises:
        UsageError: without runs, or if it is not known of every run up to the budget.
    """
    _restricted(reached, trained, budget)
    within = _censored(reached, trained, budget)[1]
    return share_interval(int(within.sum()), len(within))


def common_budget(outcomes: Iterable[Outcome]) -> int:
    """Environment steps up to which it is known of every run whether it reached the threshold.

    The least that a contender was to train: so it does not depend on what came out. Less if a run
    was stopped before it, and neither failed nor reached the threshold.

    Raises:
        UsageError: without contenders.
    """
    known = [limit for outcome in outcomes for limit in (outcome.budget, *_in_vain(outcome))]
    if not known:
        raise UsageError("Expected at least one contender, got none.")
    return int(min(known))


def common_seconds(outcomes: Iterable[Outcome]) -> float:
    """The same in seconds since each run began; NaN if those of a run are not known."""
    known = []
    for outcome in outcomes:
        known.append(float(outcome.metrics["seconds"].max(skipna=False)))
        seconds = zip(outcome.steps_to_threshold, trained_seconds(outcome), strict=True)
        known += [limit for first, limit in seconds if first is None]
    return float(np.min(known))


def trained_seconds(outcome: Outcome) -> list[float]:
    """Seconds since its run began that each seed trained; infinite if it failed."""
    last = outcome.metrics.groupby("seed")["seconds"].max()
    seeds = zip(outcome.seeds, outcome.failed, strict=True)
    return [np.inf if why is not None else float(last[seed]) for seed, why in seeds]


def trained_steps(outcome: Outcome) -> list[int]:
    """What each run trained, or was to train if it failed: it would never have got there."""
    runs = zip(outcome.trained.tolist(), outcome.failed, strict=True)
    return [steps if why is None else max(steps, outcome.budget) for steps, why in runs]


def _in_vain(outcome: Outcome) -> list[int]:
    runs = zip(outcome.steps_to_threshold, trained_steps(outcome), strict=True)
    return [steps for first, steps in runs if first is None]


def restricted_mean(reached: Reached, trained: Sequence[float], budget: float) -> Interval:
    """Mean of the steps to the threshold, those beyond the budget counting as the budget.

    Known as restricted mean survival time: the area under the Kaplan-Meier curve (Royston & Parmar
    2013). Its interval is the expanded percentile one, of which either end takes account of a run
    that was not seen: it counts as one more, of no steps at the lower end and of the whole budget
    at the upper. Without it the interval misses what few runs may not show, that some never reach
    the threshold. It is given from ``MIN_RUNS`` runs on, and covers at least 93% of nearly all that
    is simulated at 5, 10 and 20 runs, mostly 99%. The exception is a threshold that runs reach
    within a tenth of the budget, and one in five never: 75% at 5 runs, 89% at 10, 99% at 20.

    Raises:
        UsageError: without runs, or if it is not known of every run up to the budget.
    """
    steps = _restricted(reached, trained, budget)
    mean, n = weighted_mean_interval(steps, equal_weights, MIN_RUNS), len(steps)
    low, high = _with_one_more(np.array([mean.low, mean.high]), n, np.array([0, budget]))
    return Interval(mean.point, float(low), float(high))


def _with_one_more(mean: Array, runs: int, value: float | Array) -> Array:
    """Means of runs if there were another one of that value."""
    return (runs * mean + value) / (runs + 1)


@dataclass(frozen=True)
class Saving:
    """How many steps one contender needs, compared with another, up to a common budget.

    Attributes:
        first: label of one.
        second: label of the other.
        ratio: of the restricted means, first over second.
        difference: of the restricted means, first less second.
        p: of the permutation test.
        corrected: the same, Holm's correction over all pairs.
        budget: the common budget.
        reached: runs of the first and the second that reached the threshold within it.
        runs: of the first and the second.
        decidable: whether so many runs can decide it at all, among so many pairs.
    """

    first: str
    second: str
    ratio: Interval
    difference: Interval
    p: float
    corrected: float
    budget: float
    reached: tuple[int, int]
    runs: tuple[int, int]
    decidable: bool

    @property
    def faster(self) -> str | None:
        """The contender that needs fewer steps, after correction; None if that is undecided."""
        if self.corrected > SIGNIFICANT:
            return None
        return self.first if self.difference.point < 0 else self.second


def compare_restricted_means(
    samples: Mapping[str, tuple[Reached, Sequence[float]]], budget: float
) -> list[Saving]:
    """Every pair of contenders, in the order of ``itertools.combinations(samples, 2)``.

    The test is ``mean_test`` of the steps, those beyond the budget counting as the budget. Ratio
    and difference have the expanded percentile interval of independent resamples, of which either
    end takes account of one more run of both contenders, as in ``restricted_mean``. Over 81 pairs
    of distributions both cover 98 to 100% on average at 5, 10 and 20 runs; the ratio covers as
    little as 86% at 10 where one run in five of one contender never gets where its others do at
    once.

    Args:
        samples: ``reached`` and ``trained`` by label, as for ``kaplan_meier``.
        budget: common to all, as from ``common_budget``.

    Raises:
        UsageError: if a contender has no runs, or it is not known of every run up to the budget.
    """
    steps = {label: _restricted(*runs, budget) for label, runs in samples.items()}
    pairs = list(combinations(steps, 2))
    p_values = [mean_test(steps[a], steps[b]) for a, b in pairs]
    sizes = [(len(steps[a]), len(steps[b])) for a, b in pairs]
    reached = {label: int(_censored(*runs, budget)[1].sum()) for label, runs in samples.items()}
    found = []
    for (a, b), p, corrected, runs, can in zip(
        pairs, p_values, holm(p_values), sizes, decidable(sizes), strict=True
    ):
        ratio, difference = ratio_and_difference(steps[a], steps[b], budget)
        found.append(
            Saving(
                first=a,
                second=b,
                ratio=ratio,
                difference=difference,
                p=p,
                corrected=float(corrected),
                budget=budget,
                reached=(reached[a], reached[b]),
                runs=runs,
                decidable=can,
            )
        )
    return found


def ratio_and_difference(a: Array, b: Array, budget: float) -> tuple[Interval, Interval]:
    """Of the means of sorted steps within a budget, as in ``compare_restricted_means``."""
    ratio, difference = float(a.mean() / b.mean()), float(a.mean() - b.mean())
    m, n = len(a), len(b)
    fewest = min(m, n)
    if fewest < MIN_RUNS:
        return Interval(ratio, np.nan, np.nan), Interval(difference, np.nan, np.nan)
    x, y = resampled_pair(a, b, equal_weights)
    less, more = (
        (_with_one_more(x, m, left), _with_one_more(y, n, right))
        for left, right in ((0.0, budget), (budget, 0.0))
    )
    return (
        Interval(
            ratio,
            float(expanded_ends(less[0] / less[1], fewest)[0]),
            float(expanded_ends(more[0] / more[1], fewest)[1]),
        ),
        Interval(
            difference,
            float(expanded_ends(less[0] - less[1], fewest)[0]),
            float(expanded_ends(more[0] - more[1], fewest)[1]),
        ),
    )
