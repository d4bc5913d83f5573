"""How many more seeds would tell a difference."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from pgzoo.compare.pairs import least_runs
from pgzoo.records.intervals import MIN_RUNS
from pgzoo.records.significance import SIGNIFICANT

MOST_SEEDS = 1000
SIMULATIONS = 2_000
SMOOTH = 199
Array = NDArray[np.float64]


def seeds_needed(
    x: ArrayLike, y: ArrayLike, difference: float, power: float = 0.8, level: float = SIGNIFICANT
) -> int | None:
    """How many more seeds each of two contenders would need to tell a difference in return.

    Both samples, each less its own mean, are taken together as what runs scatter by, smoothed a
    little. Samples of n runs are drawn from that; one is moved by the difference; and the least n
    is looked for at which the Mann-Whitney test finds it with the power that is asked for.

    It supposes that *all* runs of one are worse by that much. Means may differ by as much because a
    few runs fail, and that is far harder to find. In ``benchmarks/comparisons.md`` it takes 9 seeds
    each to tell 480 from 500 if all runs are 20 lower, with the spread of the published runs on
    CartPole, and 54 if one run in ten ends with 300 instead. The answer is as uncertain as the
    spread of the runs that there are.

    Args:
        x: final returns of one, ``[m]``; runs that failed count as runs, not in the spread.
        y: those of the other, ``[n]``.
        difference: in return, that would matter.
        power: probability to find it.
        level: of the test; divide 0.05 by the number of pairs if there are several.

    Returns:
        0 if there are enough; None if each would need more than ``MOST_SEEDS`` in all, or fewer
        than ``MIN_RUNS`` of either have a return, too few to know a spread.
    """
    samples = [np.asarray(runs, dtype=float) for runs in (x, y)]
    known = [runs[~np.isnan(runs)] for runs in samples]
    if min(map(len, known)) < MIN_RUNS:
        return None
    spread = np.concatenate([runs - runs.mean() for runs in known])
    spread = smoothed(spread * np.sqrt(len(spread) / (len(spread) - 2)))  # less two means
    enough = seeds_in_all(spread, spread - abs(difference), power, level)
    return None if enough is None else max(enough - min(map(len, samples)), 0)


def smoothed(spread: ArrayLike) -> Array:
    """Equally likely values of a smooth distribution around those of few runs.

    Each run becomes a normal distribution of Silverman's (1986) width, and all draw together so
    that their variance stays. Else the smallest difference would seem to be found, by how it breaks
    the ties of values that are drawn again and again. Where half of the runs are alike the width is
    none: there ties are real.

    Args:
        spread: of runs, ``[n]``.
    """
    x = np.asarray(spread, dtype=float)
    if np.ptp(x) == 0:
        return x
    width = 0.9 * min(x.std(ddof=1), float(stats.iqr(x)) / 1.349) * len(x) ** -0.2
    noise = width * special.ndtri((np.arange(SMOOTH) + 0.5) / SMOOTH)
    centred = np.add.outer(x - x.mean(), noise).ravel()
    return np.asarray(x.mean() + centred / np.sqrt(1 + noise.var() / x.var()))


def seeds_in_all(
    x: ArrayLike, y: ArrayLike, power: float = 0.8, level: float = SIGNIFICANT
) -> int | None:
    """The least number of runs drawn from each of two distributions that tells them apart.

    Args:
        x: values that a run of one may have, all equally likely.
        y: those of the other.
        power: probability to tell them apart.
        level: of the test.

    Returns:
        None if it is more than ``MOST_SEEDS``.
    """
    low, high = 0, least_runs(1, level)
    while power_of_rank_test(x, y, high, level) < power:
        if high == MOST_SEEDS:
            return None
        low, high = high, min(2 * high, MOST_SEEDS)
    low = max(low, least_runs(1, level) - 1)
    while high - low > 1:
        middle = (low + high) // 2
        if power_of_rank_test(x, y, middle, level) < power:
            low = middle
        else:
            high = middle
    return high


def power_of_rank_test(x: ArrayLike, y: ArrayLike, runs: int, level: float = SIGNIFICANT) -> float:
    """How often the Mann-Whitney test tells two distributions apart by n runs of each.

    Samples are drawn with replacement; the p-value is that of the normal approximation with
    corrections for ties and continuity, which agrees with the exact one within a hundredth or two
    at these levels. Always the same random numbers.

    Args:
        x: values that a run of one may have, all equally likely.
        y: those of the other.
        runs: n, of each.
        level: of the test.
    """
    if least_runs(1, level) > runs:
        return 0.0
    rng = np.random.default_rng(0)
    a, b = (rng.choice(np.asarray(v, dtype=float), (SIMULATIONS, runs)) for v in (x, y))
    ranks = stats.rankdata(np.concatenate([a, b], axis=1), axis=1)
    away = np.abs(ranks[:, :runs].sum(1) - runs * (2 * runs + 1) / 2)
    variance = runs / 2 * ranks.var(axis=1, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(variance > 0, (away - 0.5) / np.sqrt(variance), 0.0)
    return float(np.mean(z >= special.ndtri(1 - level / 2)))
