"""Intervals over independent runs. Fewer than three runs give points without an interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

MIN_RUNS = 3
RESAMPLES = 5_000


@dataclass(frozen=True)
class Interval:
    """A point estimate and its 95% confidence interval, NaN where there are too few runs."""

    point: float
    low: float
    high: float

    def __str__(self) -> str:
        digits = decimals(self.point)
        if np.isnan(self.low):
            return f"{self.point:.{digits}f}"
        return f"{self.point:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def decimals(value: float) -> int:
    """How many to show of a return: one, or three where all is between -1 and 1."""
    return 3 if abs(value) <= 1 else 1


def mean_interval(values: ArrayLike) -> Interval:
    """Mean over runs with Student's t interval.

    Args:
        values: one number per run, ``[S]``.
    """
    x = np.asarray(values, dtype=float)
    if len(x) < MIN_RUNS:
        return Interval(float(x.mean()), np.nan, np.nan)
    half = stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))
    return Interval(float(x.mean()), float(x.mean() - half), float(x.mean() + half))


def interquartile_mean(values: ArrayLike, axis: int = -1) -> NDArray[np.float64]:
    """Mean of the middle half (Agarwal et al. 2021)."""
    return np.asarray(stats.trim_mean(values, 0.25, axis=axis))


def interquartile_mean_interval(values: ArrayLike) -> Interval:
    """Interquartile mean over runs with its bootstrap percentile interval.

    Agarwal et al. (2021), "Deep reinforcement learning at the edge of the statistical precipice".

    Args:
        values: one number per run, ``[S]``.
    """
    x = np.asarray(values, dtype=float)
    point = float(interquartile_mean(x))
    if len(x) < MIN_RUNS:
        return Interval(point, np.nan, np.nan)
    low, high = stats.bootstrap(
        (x,),
        interquartile_mean,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Interval(point, float(low), float(high))
