"""Honest statistics over training runs: points, intervals, curves, and what a threshold means.

The unit is the training run. ``benchmarks/coverage.py`` measures by simulation how often every
interval here covers the truth, at the numbers of runs at which it is shown, and writes
``benchmarks/coverage.md``; the tests assert it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from pgzoo.errors import UsageError

MIN_RUNS = 5
RESAMPLES = 10_000
COLUMNS_AT_ONCE = 128
RUNS_KEPT, DRAWN_AT_ONCE = 500, 2**20
"""Weights of resamples of up to so many runs are kept, 40 MB each; of more, so many are drawn at a
time, for those of 10,000 runs would take 800 MB."""
CURVE_POINTS = 200
MIN_EPISODES = 50
WINDOW = 100
CONFIRMING_EPISODES = 200

Array = NDArray[np.float64]
Verdict = Literal["yes", "no", "too close"]


@dataclass(frozen=True)
class Interval:
    """A point estimate and its 95% confidence interval, NaN where there is none."""

    point: float
    low: float
    high: float

    def __str__(self) -> str:
        digits = decimals(self.point)
        if np.isnan(self.low):
            return f"{self.point:.{digits}f}"
        return f"{self.point:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


class Band(NamedTuple):
    """A curve's points and the ends of their 95% intervals, each ``[X]``."""

    point: Array
    low: Array
    high: Array


def decimals(value: float) -> int:
    """How many to show of a return: one, or three where all is between -1 and 1."""
    return 3 if abs(value) <= 1 else 1


def interquartile_mean(values: ArrayLike, axis: int = -1) -> Array:
    """Mean of what is left without the lowest and the highest quarter (Agarwal et al. 2021).

    Of n runs ``n // 4`` are left out at either end, as in rliable. It estimates
    ``2 ∫ Q(u) du`` over u from 1/4 to 3/4, where Q is the quantile function of a run's result. So
    it is defined, too, where quartiles lie on an atom like a greatest return that most runs reach.
    """
    return np.asarray(stats.trim_mean(values, 0.25, axis=axis))


def interquartile_mean_interval(values: ArrayLike) -> Interval:
    """Interquartile mean over runs and its interval, as in ``interquartile_mean_band``.

    Args:
        values: one number per run, ``[S]``; NaN for a run without one.
    """
    band = interquartile_mean_band(np.asarray(values, dtype=float)[:, None])
    return Interval(*(x.item() for x in band))


def interquartile_mean_band(values: ArrayLike) -> Band:
    """Interquartile means over runs, each with its expanded percentile bootstrap interval.

    The percentile interval is too short for few runs. Hesterberg (2015), "What teachers should know
    about the bootstrap", 5.3, takes its ends at the levels ``Φ(∓ √(n/(n-1)) t)`` instead of 2.5 and
    97.5%, t being Student's quantile with n - 1 degrees of freedom. The interval stays within the
    runs' range, so within what returns can be, and that of -x is minus that of x. It is pointwise:
    a whole curve leaves its band more often than one point does.

    Over eleven distributions of returns, skewed, capped, bimodal and heavy-tailed ones among them,
    it covers at least 90% at 5 runs (mostly 94%), where it is the runs' range, 96% at 10 and 95% at
    20. The exception is where a little more than a quarter of the runs fail, so that few runs may
    show no failure at all. If 30% fail, all of five succeed with probability 0.17 and the interval
    covers 83% at 5, 93% at 8 and 96% at 10 runs; if 26% fail, 78, 90 and 95%. At five runs no
    interval within their range covers more: read it beside ``share_interval``. Fewer than
    ``MIN_RUNS`` give the point alone, since even the range of three covers no more than 75% of what
    is continuous.

    Args:
        values: ``[S, X]``, a run in every row; NaN where a run has no value, and does not count.
    """
    x = np.sort(np.asarray(values, dtype=float), axis=0)  # NaN comes last
    runs = np.count_nonzero(~np.isnan(x), axis=0)
    point, low, high = np.full((3, x.shape[1]), np.nan)
    for n in np.unique(runs[runs > 0]).tolist():
        columns = runs == n
        known = x[:n, columns]
        # Rounding must not leave the range.
        point[columns] = interquartile_mean(known, axis=0).clip(known[0], known[-1])
        if n >= MIN_RUNS:
            ends = _expanded_percentiles(known)
            low[columns], high[columns] = (end.clip(known[0], known[-1]) for end in ends)
    return Band(point, low, high)


def _expanded_percentiles(x: Array) -> tuple[Array, Array]:
    """Ends of the intervals of sorted columns ``[n, X]``."""
    low, high = np.empty((2, x.shape[1]))
    for first in range(0, x.shape[1], COLUMNS_AT_ONCE):
        some = slice(first, first + COLUMNS_AT_ONCE)
        low[some], high[some] = expanded_ends(
            resampled(x[:, some], interquartile_weights), runs=len(x)
        )
    return low, high


def expanded_ends(statistics: Array, runs: int) -> tuple[Array, Array]:
    """Ends of expanded percentile intervals, as in ``interquartile_mean_band``.

    Args:
        statistics: of resamples, ``[..., RESAMPLES]``; overwritten.
        runs: in a resample, the fewest if it has several samples.
    """
    t = special.stdtrit(runs - 1, 0.975)
    rank = int(RESAMPLES * special.ndtr(-np.sqrt(runs / (runs - 1)) * t))
    statistics.partition((rank, RESAMPLES - 1 - rank), axis=-1)
    return statistics[..., rank], statistics[..., -1 - rank]


Weights = Callable[[int], Array]
"""From a number of runs to what each weighs in a statistic, the lowest first, ``[n]``."""


def interquartile_weights(runs: int) -> Array:
    """Those of the interquartile mean."""
    middle = np.zeros(runs)
    middle[runs // 4 : runs - runs // 4] = 1
    return middle


def equal_weights(runs: int) -> Array:
    """Those of the mean."""
    return np.ones(runs)


def weighted_mean_interval(values: ArrayLike, weights: Weights, least_runs: int) -> Interval:
    """A weighted mean of sorted runs and its expanded percentile bootstrap interval.

    As ``interquartile_mean_band``, of any weights. Whoever calls it knows from how many runs on the
    interval covers the truth.

    Args:
        values: one number per run, ``[S]``.
        weights: of the runs in increasing order.
        least_runs: below which there is the point alone.
    """
    x = np.sort(np.asarray(values, dtype=float))
    if not len(x):
        return Interval(np.nan, np.nan, np.nan)
    # Rounding must not leave the range.
    point = float(np.average(x, weights=weights(len(x))).clip(x[0], x[-1]))
    if len(x) < least_runs:
        return Interval(point, np.nan, np.nan)
    ends = expanded_ends(resampled(x[:, None], weights), runs=len(x))
    low, high = (end.clip(x[0], x[-1]).item() for end in ends)
    return Interval(point, low, high)


def resampled(x: Array, weights: Weights) -> Array:
    """A statistic of resamples of sorted columns, ``[n, X]`` to ``[X, RESAMPLES]``."""
    parts = _kept_weights if len(x) <= RUNS_KEPT else _resampling_weights
    return np.concatenate([x.T @ part for part in parts(len(x), weights)], axis=1)


@lru_cache(maxsize=8)
def _kept_weights(n: int, weights: Weights) -> tuple[Array, ...]:
    """Those of few runs, for which there is memory."""
    return tuple(_resampling_weights(n, weights))


def _resampling_weights(n: int, weights: Weights) -> Iterator[Array]:
    """What each of n sorted runs weighs in a resample's statistic, ``[n, R]`` of R at a time.

    Sorted indices into sorted runs give a sorted resample, so that which of its members are, say,
    in the middle is known before the runs are. Every resample comes with its mirror image.
    """
    generator, each = np.random.default_rng(0), weights(n)
    at_once = RESAMPLES // 2 if n <= RUNS_KEPT else max(1, DRAWN_AT_ONCE // n)
    for first in range(0, RESAMPLES // 2, at_once):
        count = min(at_once, RESAMPLES // 2 - first)
        drawn = np.sort(generator.integers(n, size=(count, n)))
        members = np.concatenate([drawn, n - 1 - drawn[:, ::-1]])
        flat = (members + n * np.arange(2 * count)[:, None]).ravel()
        sums = np.bincount(flat, np.tile(each, 2 * count), minlength=2 * n * count)
        yield np.ascontiguousarray(sums.reshape(2 * count, n).T / each.sum())


def share_interval(successes: int, total: int) -> Interval:
    """Share of successes with its exact interval (Clopper & Pearson 1934).

    It covers at least 95% whatever the share and the total, and up to 100% for few runs.

    Raises:
        UsageError: if there are none, or more successes than runs.
    """
    if not 0 <= successes <= total or total == 0:
        raise UsageError(
            f"Expected a share of at least one run, got {successes} of {total}. Give how many "
            "succeeded, and of how many."
        )
    return Interval(successes / total, *exact_ends(successes / total, total))


def exact_ends(share: float, total: float) -> tuple[float, float]:
    """Ends of Clopper and Pearson's interval, for a total that need not be whole."""
    successes, failures = share * total, (1 - share) * total
    low = stats.beta.ppf(0.025, successes, failures + 1) if share > 0 else 0.0
    high = stats.beta.ppf(0.975, successes + 1, failures) if share < 1 else 1.0
    return float(low), float(high)


def reaches_threshold(mean: float, std: float, episodes: int, threshold: float) -> Verdict:
    """Whether an evaluation shows that the policy's own mean return is at least the threshold.

    "too close" where Student's 95% interval of the evaluation's mean contains the threshold. With
    100 episodes like CartPole's, capped and skewed, it covers 92 to 95% (87% where one episode in
    twenty fails at once), and what it misses, it misses upwards: an evaluation without the few bad
    episodes has a high mean and a small spread. Of a policy exactly at the threshold it says "yes"
    in 3 to 12% and "no" in 1% of evaluations. With 30 episodes that would be "yes" in up to 22%, so
    that fewer than ``MIN_EPISODES`` are always "too close".

    Args:
        mean: of the returns of fresh episodes.
        std: their standard deviation (Bessel-corrected); 0 where all are at the cap.
        episodes: how many.
        threshold: what counts as solved.
    """
    if episodes < MIN_EPISODES:
        return "too close"
    half = special.stdtrit(episodes - 1, 0.975) * std / np.sqrt(episodes)
    if mean - half >= threshold:
        return "yes"
    return "no" if mean + half < threshold else "too close"


@dataclass(frozen=True)
class Curve:
    """Interquartile mean over runs at common steps, each field ``[X]``.

    Attributes:
        steps: environment steps per run.
        point: interquartile mean of the runs that have a value there.
        low: lower end of its interval, NaN with fewer than ``MIN_RUNS``.
        high: upper end.
        runs: how many have a value there.
    """

    steps: Array
    point: Array
    low: Array
    high: Array
    runs: NDArray[np.int64]


def common_curve(
    steps: Sequence[ArrayLike],
    values: Sequence[ArrayLike],
    grid: ArrayLike | None = None,
    points: int = CURVE_POINTS,
    ended: Sequence[bool] | None = None,
) -> Curve:
    """A learning curve over runs that stand at different steps.

    Every run is interpolated linearly to common steps, then the runs are averaged. Nothing is known
    of a run before its first value. A run that has *ended* (it used up its steps, stopped because
    it solved the environment, or failed) keeps its last value; of a run that goes on nothing is
    known beyond its last step. Where nothing is known the run does not count: see ``Curve.runs``.

    The grid that is taken by default has the same runs everywhere: it begins where all have begun,
    and is over where the first that goes on stands, or with the last step of all if all have ended.
    It is empty if there are no such steps.

    Args:
        steps: increasing environment steps of each run, ``[n_s]``. A run may have none, and then
            does not count anywhere.
        values: as many values; NaN, like an iteration that finished no episode, is passed over.
        grid: common steps ``[X]``, instead of the default.
        points: how many to take by default.
        ended: whether each run has ended. By default none has, so that nothing is extrapolated.

    Raises:
        UsageError: if steps and values differ in number, or steps do not increase.
    """
    ended = [False] * len(steps) if ended is None else ended
    runs = [
        (*known_values(x, y), has_ended)
        for x, y, has_ended in zip(steps, values, ended, strict=True)
    ]
    begun = [(x, y, has_ended) for x, y, has_ended in runs if len(x)]
    if grid is None:
        grid = _common_steps([(x[0], x[-1], has_ended) for x, _, has_ended in begun], points)
    at = np.asarray(grid, dtype=float)
    rows = [
        np.interp(at, x, y, left=np.nan, right=y[-1] if has_ended else np.nan)
        for x, y, has_ended in begun
    ]
    matrix = np.array(rows).reshape(len(rows), len(at))
    return Curve(at, *interquartile_mean_band(matrix), np.count_nonzero(~np.isnan(matrix), axis=0))


def known_values(steps: ArrayLike, values: ArrayLike) -> tuple[Array, Array]:
    """A run's steps and values, without those whose value is NaN.

    Raises:
        UsageError: if they differ in number, or steps do not increase.
    """
    x, y = np.asarray(steps, dtype=float), np.asarray(values, dtype=float)
    if x.shape != y.shape or x.ndim != 1 or not (np.diff(x) > 0).all():
        raise UsageError(
            f"Expected increasing steps and as many values for every run, got steps {x.shape} and "
            f"values {y.shape}. Sort the steps, and keep one value for each."
        )
    known = ~np.isnan(y)
    return x[known], y[known]


def _common_steps(ends: Sequence[tuple[float, float, bool]], points: int) -> Array:
    """Steps at which all runs have a value, given their first and last and whether they ended."""
    if not ends:
        return np.empty(0)
    first = max(begin for begin, _, _ in ends)
    going_on = [last for _, last, has_ended in ends if not has_ended]
    last = min(going_on) if going_on else max(last for _, last, _ in ends)
    return np.linspace(first, last, points) if first <= last else np.empty(0)


@dataclass(frozen=True)
class StepsToThreshold:
    """How many runs reached a threshold within a budget, and how soon.

    Attributes:
        reached: runs that reached it within the budget.
        runs: all of them.
        budget: steps up to which it is known of every run.
        median: steps within which half of the runs reached it, those that did not being censored at
            the budget (Kaplan & Meier 1958); NaN if fewer than half did.
    """

    reached: int
    runs: int
    budget: int
    median: float

    def __str__(self) -> str:
        median = "not reached by half" if np.isnan(self.median) else f"median {self.median:,.0f}"
        return f"{self.reached} of {self.runs} within {self.budget:,} steps, {median}"


def steps_to_threshold(
    reached: Sequence[int | None], trained: Sequence[int], budget: int | None = None
) -> StepsToThreshold:
    """Steps to a threshold at a budget that is common to all runs.

    A run that reached the threshold is known at any budget, even if it stopped there; one that did
    not is known up to where it trained. So the common budget is the least that a run trained in
    vain, or the most that any trained if all reached it.

    Args:
        reached: steps at which each run reached the threshold, None if it did not.
        trained: steps that each trained. For a run that failed, what it was to train: it would
            never have reached the threshold.
        budget: a smaller budget, like that of another agent to compare with.

    Raises:
        UsageError: without runs.
    """
    if not len(trained):
        raise UsageError("Expected at least one run, got none. Give the steps of every run.")
    pairs = list(zip(reached, trained, strict=True))
    in_vain = [n for first, n in pairs if first is None]
    common = min(in_vain) if in_vain else max(trained)
    common = common if budget is None else min(budget, common)
    within = sorted(first for first in reached if first is not None and first <= common)
    half = (len(pairs) + 1) // 2
    median = float(within[half - 1]) if len(within) >= half else np.nan
    return StepsToThreshold(len(within), len(pairs), common, median)


def is_candidate(
    recent: Sequence[float], episodes: int, last_candidate: int | None, threshold: float
) -> bool:
    """Whether training returns suggest that the threshold is reached, so that it be confirmed.

    The first time that the last ``WINDOW`` episodes average the threshold is the first of many
    looks: a policy that stays at 466 passes 475 within 30 of them more often than not. So a
    candidate counts only if ``confirms`` says so of fresh episodes, and the next must rest on
    episodes that the last has not seen.

    With ``CONFIRMING_EPISODES = 200`` a policy that stays at 466 (spread 73, 16 episodes between
    looks) is said to have reached 475 within 30 looks in 4% of runs instead of 73%, one at 470 in
    22% instead of 92%; with 100 it would be 10 and 35%. That is as often as one evaluation of 100
    episodes errs, 10 and 21%. One that comes to 490 is confirmed at its first candidate, one at 480
    some 20 episodes later, 12 more than at the first look.

    Args:
        recent: returns of the last ``WINDOW`` episodes of training.
        episodes: how many have been finished so far.
        last_candidate: how many had been when there was last a candidate, None if there was none.
        threshold: what counts as solved.
    """
    waited = last_candidate is None or episodes - last_candidate >= WINDOW
    return waited and len(recent) >= WINDOW and sum(recent) / len(recent) >= threshold


def confirms(fresh: Sequence[float], threshold: float) -> bool:
    """Whether ``CONFIRMING_EPISODES`` fresh episodes of a candidate's policy bear it out."""
    return sum(fresh) / len(fresh) >= threshold
