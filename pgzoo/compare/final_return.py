"""What a contender's runs return in the end: the middle, the mean, the worst, the next one.

``benchmarks/comparisons.md`` has how often every interval here covers the truth, at which numbers
of runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pgzoo.errors import UsageError
from pgzoo.records.intervals import (
    MIN_RUNS,
    Interval,
    equal_weights,
    interquartile_mean_interval,
    share_interval,
    weighted_mean_interval,
)

MEAN_RUNS = 50
WORST_RUNS = 200
TENTH = 10
UNKNOWN = Interval(np.nan, np.nan, np.nan)
Array = NDArray[np.float64]


@dataclass(frozen=True)
class FinalReturn:
    """Final returns of S runs. An interval is NaN at numbers of runs at which it would not cover.

    Attributes:
        iqm: interquartile mean of the runs that have a return.
        mean: of the runs that have a return.
        failure_rate: share of all runs that failed or stay below the threshold; NaN without one.
        worst_tenth: expected return of the worst tenth of all runs; -inf if a failed one is among.
        next_run: median of all runs, and the band in which the next run falls with the probability
            ``next_run_coverage``. A failed run is below every return, -inf.
        next_run_coverage: probability that it does, at least; NaN without a band.
        runs: how many there are, failed ones included.
        failed: how many have no return.
    """

    iqm: Interval
    mean: Interval
    failure_rate: Interval
    worst_tenth: Interval
    next_run: Interval
    next_run_coverage: float
    runs: int
    failed: int


def final_return(returns: ArrayLike, threshold: float | None) -> FinalReturn:
    """All figures of a contender's final returns.

    - *Interquartile mean*: see ``interquartile_mean_band``, from five runs on.
    - *Mean*: the same expanded percentile interval, from ``MEAN_RUNS`` runs on. Below, runs that
      fail rarely spoil it: if one in ten does, ten runs show none with probability 0.35, and the
      interval covers 65% at 10 runs and 88% at 20. No interval within their range can do better,
      so there is none. From 50 on it covers at least 90%.
    - *Failure rate*: Clopper and Pearson's interval, at any number of runs.
    - *Worst tenth* (conditional value at risk): the mean of the lowest n/10 runs, the last of them
      in part, from ten runs on: fewer have no worst tenth. It is too high for few runs, since the
      worst of ten is often not bad: where one in ten fails with 200 of 500, by 83 at ten runs and
      53 at 20. Its interval would cover 24 to 65% of what is continuous at 10 and 20 runs; from
      ``WORST_RUNS`` runs on it covers at least 90% (80% with tails like those of Student's t with 2
      degrees of freedom). So comparisons of a few seeds have the point alone.
    - *Next run*: its band lies between the rth lowest and the rth highest run. The next falls in it
      with probability (n + 1 - 2r) / (n + 1), whatever the distribution (Wilks 1941), and more
      where runs are equal. So r is the most that leaves 90%; below 19 runs not even r = 1 does, and
      their range holds the next with (n - 1) / (n + 1): 67% at 5 runs, 82% at 10. See
      ``next_run_coverage``. Fewer than five have no band.

    Args:
        returns: of S runs, ``[S]``; NaN for one that failed.
        threshold: the return from which on the environment counts as solved, if it has one.

    Raises:
        UsageError: without runs.
    """
    x = np.asarray(returns, dtype=float)
    if not len(x):
        raise UsageError("Expected the returns of at least one run, got none. Train it first.")
    known = np.sort(x[~np.isnan(x)])
    failed = len(x) - len(known)
    every = np.concatenate([np.full(failed, -np.inf), known])
    next_run, coverage = next_run_band(every)
    return FinalReturn(
        iqm=interquartile_mean_interval(known),
        mean=weighted_mean_interval(known, equal_weights, MEAN_RUNS),
        failure_rate=_failure_rate(every, threshold),
        worst_tenth=_worst_tenth(every),
        next_run=next_run,
        next_run_coverage=coverage,
        runs=len(x),
        failed=failed,
    )


def _failure_rate(every: Array, threshold: float | None) -> Interval:
    if threshold is None:
        return UNKNOWN
    return share_interval(int(np.count_nonzero(every < threshold)), len(every))


def worst_tenth_weights(runs: int) -> Array:
    """Those of the mean of the lowest tenth, ``[n]``."""
    return np.clip(runs / TENTH - np.arange(runs), 0, 1)


def _worst_tenth(every: Array) -> Interval:
    if len(every) < TENTH:
        return UNKNOWN
    if np.isinf(every[0]):
        return Interval(-np.inf, np.nan, np.nan)
    return weighted_mean_interval(every, worst_tenth_weights, WORST_RUNS)


def next_run_band(every: Array) -> tuple[Interval, float]:
    """Median and band of sorted runs, as in ``final_return``, and its coverage."""
    n, point = len(every), float(np.median(every))
    if n < MIN_RUNS:
        return Interval(point, np.nan, np.nan), np.nan
    rank = max((n + 1) // 20, 1)
    band = Interval(point, float(every[rank - 1]), float(every[-rank]))
    return band, (n + 1 - 2 * rank) / (n + 1)
