"""Bias, variance and direction of an estimator from independent estimates, with intervals.

Estimates are kept as block means, so that memory does not grow with their number. Intervals come
from the jackknife that leaves out one block at a time (of the reference, too, where it was
sampled), except for the squared bias, whose interval inverts a test. The coverage of
every interval is tested by simulation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from pgzoo.records.intervals import Interval

MIN_BLOCKS = 10
SIGN_FLIPS = 9_999
SIMULATIONS = 10_000
ROUNDING = 1e-9
"""Squared lengths less than this, relative to their own noise, are what rounding left of zero."""
Floats = NDArray[np.float64]
Columns = tuple[Any, ...]
"""Sums or means of ĝ ``[P]``, of ‖ĝ‖², and of ĝ / ‖ĝ‖ ``[P]``."""


@dataclass(frozen=True)
class Blocks:
    """Independent estimates ĝ of one gradient, L blocks of equal size.

    Attributes:
        mean: of the estimates in each block, ``[L, P]``.
        square: mean of ‖ĝ‖² in each block, ``[L]``.
        unit: mean of ĝ / ‖ĝ‖ in each block, ``[L, P]``; an estimate of zero counts as zero.
        size: estimates in a block.
    """

    mean: Floats
    square: Floats
    unit: Floats
    size: int

    @property
    def estimates(self) -> int:
        """Number of estimates."""
        return len(self.mean) * self.size

    def regrouped(self, count: int) -> Blocks:
        """The same in ``count`` larger blocks; a remainder that would not fill one is left out."""
        factor = len(self.mean) // count

        def merge(x: Floats) -> Floats:
            return x[: count * factor].reshape(count, factor, *x.shape[1:]).mean(1)

        return Blocks(merge(self.mean), merge(self.square), merge(self.unit), factor * self.size)


@dataclass(frozen=True)
class Reference:
    """The gradient g* that estimates are compared with.

    Attributes:
        gradient: ``[P]``.
        blocks: the sample it is the mean of; None if it is exact.
    """

    gradient: Floats
    blocks: Blocks | None = None

    @property
    def estimates(self) -> int | None:
        """How many it is the mean of; None if it is exact."""
        return None if self.blocks is None else self.blocks.estimates

    def regrouped(self, count: int) -> Reference:
        """The same, if it is exact; else that of ``Blocks.regrouped``."""
        if self.blocks is None:
            return self
        blocks = self.blocks.regrouped(count)
        return Reference(blocks.mean.mean(0), blocks)


@dataclass(frozen=True)
class Properties:
    """What M independent estimates ĝ say about their estimator; 95% intervals.

    Attributes:
        variance: trace of the covariance of ĝ.
        relative_variance: trace / ‖E ĝ‖²; infinite where noise hides the mean.
        snr: its inverse, ‖E ĝ‖² / trace.
        bias_squared: ‖E ĝ − g*‖², an unbiased figure that may be negative.
        scale: ⟨E ĝ, g*⟩ / ‖g*‖²; 1 for an unbiased estimator.
        direction: cosine of E ĝ with g*; NaN, in [-1, 1], where noise hides even its sign.
        cosine: mean cosine of single estimates with g*; 0 for an estimate of zero.
        mse: E‖ĝ − g*‖².
        p_value: of the hypothesis E ĝ = g*.
    """

    variance: Interval
    relative_variance: Interval
    snr: Interval
    bias_squared: Interval
    scale: Interval
    direction: Interval
    cosine: Interval
    mse: Interval
    p_value: float


def properties(sample: Blocks, reference: Reference, seed: int = 0) -> Properties:
    """All figures of an estimator.

    With fewer than ``MIN_BLOCKS`` blocks there are points without intervals or test. Where a
    sampled reference is shorter than its own noise, what refers to its length is NaN.

    Args:
        sample: L blocks.
        reference: exact, or with as many blocks.
        seed: for the signs of the unbiasedness test.
    """
    point, left_out = _figures(sample, reference)
    intervals = {
        name: _jackknife(point[name], left_out[name]) for name in ("snr", "scale", "cosine")
    }
    differences = _differences(sample, reference)
    return Properties(
        variance=_positive(point["variance"], left_out["variance"]),
        relative_variance=_inverse(intervals["snr"]),
        snr=intervals["snr"],
        bias_squared=squared_norm_interval(differences),
        scale=intervals["scale"],
        direction=_direction(sample, reference, intervals["scale"], left_out["scale"]),
        cosine=_clipped(intervals["cosine"], 1.0),
        mse=_positive(point["mse"], left_out["mse"]),
        p_value=zero_mean_p_value(differences, seed),
    )


def _direction(
    sample: Blocks, reference: Reference, scaling: Interval, scale_left_out: Floats
) -> Interval:
    """Cosine of E ĝ with g*, from how far E ĝ, stretched to fit, is beside g*.

    The factor is estimated too: what a block did to it is taken out of the block's difference.
    Where the factor's interval contains zero not even the sign is known, and the cosine may be
    anything.
    """
    scale = scaling.point
    noise = 0.0 if reference.blocks is None else float(_moments(reference.blocks)[2])
    target = float((reference.gradient**2).sum()) - noise
    count = len(sample.mean)
    has_sign = scaling.low > 0 or scaling.high < 0 or (count < MIN_BLOCKS and scale != 0)
    if not np.isfinite(scale) or target <= 0 or not has_sign:
        return Interval(np.nan, -1.0, 1.0)
    influence = (count - 1) * (scale - scale_left_out) / scale
    fitted = sample.mean - sample.mean.mean(0) * influence[:, None]
    differences = _differences(dataclasses.replace(sample, mean=fitted / scale), reference)
    beside = squared_norm_interval(differences)

    def cosine(squared: float) -> float:
        return float(np.sign(scale) / np.sqrt(1 + max(squared, 0.0) / target))

    ends = sorted((cosine(beside.low), cosine(beside.high)))
    return Interval(cosine(beside.point), *(np.nan if np.isnan(beside.low) else e for e in ends))


def _differences(sample: Blocks, reference: Reference) -> Floats:
    """Independent unbiased estimates of the bias, ``[L, P]``."""
    if reference.blocks is None:
        return sample.mean - reference.gradient
    return sample.mean - reference.blocks.mean


def _figures(sample: Blocks, reference: Reference) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Every figure of all blocks, and with each block left out ``[L]``."""
    everything, others = _moments(sample), _moments(sample, leave_one_out=True)
    if reference.blocks is None:
        g = (reference.gradient, np.zeros(()))
        return _from_moments(*everything, *g), _from_moments(*others, *g)
    mean, _, noise, _ = _moments(reference.blocks)
    mean_others, _, noise_others, _ = _moments(reference.blocks, leave_one_out=True)
    return (
        _from_moments(*everything, mean, noise),
        _from_moments(*others, mean_others, noise_others),
    )


def _moments(
    blocks: Blocks, *, leave_one_out: bool = False
) -> tuple[Floats, Floats, Floats, Floats]:
    """Mean estimate ``[..., P]``, trace of the covariance, of the mean's covariance, mean unit."""
    count = len(blocks.mean)
    columns = [blocks.mean, blocks.square, blocks.unit]
    if leave_one_out:
        mean, square, unit = ((x.sum(0) - x) / (count - 1) for x in columns)
        count -= 1
    else:
        mean, square, unit = (x.mean(0) for x in columns)
    n = count * blocks.size
    trace = n / max(n - 1, 1) * (square - (mean**2).sum(-1))
    return mean, trace, trace / n, unit


def _from_moments(
    mean: Floats,
    trace: Floats,
    noise: Floats,
    unit: Floats,
    reference: Floats,
    reference_noise: Floats,
) -> dict[str, Floats]:
    """Figures in which the noise of both means is subtracted from their squared lengths."""
    signal = (mean**2).sum(-1) - noise
    signal = np.where(np.abs(signal) > ROUNDING * noise, signal, 0.0)
    squared = (reference**2).sum(-1) - reference_noise
    known = np.where(squared > 0, squared, np.nan)
    dot = (mean * reference).sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "variance": trace,
            "snr": signal / trace,
            "scale": dot / known,
            "cosine": (unit * reference).sum(-1) / np.sqrt(known),
            "mse": trace + signal - 2 * dot + squared,
        }


def _jackknife(point: Floats, left_out: Floats) -> Interval:
    """Student's t interval with the jackknife's standard error (Efron & Stein 1981)."""
    count = len(left_out)
    if count < MIN_BLOCKS or not np.isfinite(left_out).all():
        return Interval(float(point), np.nan, np.nan)
    error = np.sqrt((count - 1) / count * ((left_out - left_out.mean()) ** 2).sum())
    half = stats.t.ppf(0.975, count - 1) * error
    return Interval(float(point), float(point - half), float(point + half))


def _clipped(interval: Interval, bound: float) -> Interval:
    """Within [-bound, bound], of a figure that can be nowhere else."""
    return Interval(*(float(np.clip(end, -bound, bound)) for end in dataclasses.astuple(interval)))


def _positive(point: Floats, left_out: Floats) -> Interval:
    """The jackknife on a logarithmic scale, for what is never negative."""
    with np.errstate(divide="ignore", invalid="ignore"):
        log = _jackknife(np.log(point), np.log(left_out))
    return Interval(float(point), float(np.exp(log.low)), float(np.exp(log.high)))


def _inverse(snr: Interval) -> Interval:
    """Relative variance from the signal-to-noise ratio, which is nearer to normal."""

    def invert(x: float) -> float:
        return float(np.inf) if x <= 0 else float(1 / x)

    low, high = snr.high, snr.low
    return Interval(
        invert(snr.point),
        np.nan if np.isnan(low) else invert(low),
        np.nan if np.isnan(high) else invert(high),
    )


def squared_norm_interval(differences: Floats) -> Interval:
    """‖E d‖² from independent vectors d, without the noise of their mean.

    Point: the U-statistic of ⟨d, d'⟩. Interval: all β² that a test would not reject, where the
    squared length of the mean is distributed as (β + √λ z)² + rest: z is normal, λ the variance
    along the mean, and the rest a gamma variable with the mean and variance of the other
    directions. An unbiased figure may be negative; so may its interval.

    Args:
        differences: ``[L, P]``.
    """
    count = len(differences)
    gram = differences @ differences.T
    mean_square = gram.mean()
    trace = (np.trace(gram) - count * mean_square) / (count - 1)
    point = float(mean_square - trace / count)
    if count < MIN_BLOCKS or trace <= 0:
        return Interval(point, np.nan, np.nan)
    along, rest, spread = _noise_of_mean(gram, trace)
    rng = np.random.default_rng(0)
    z = np.sqrt(along) * rng.standard_normal(SIMULATIONS)
    others = rng.gamma(rest**2 / spread, spread / rest, SIMULATIONS) if spread > 0 else rest

    def share_above(beta_squared: float) -> float:
        """P(squared length > the one observed) if ‖E d‖² were this."""
        beta = np.sqrt(max(beta_squared, 0.0))
        lengths = (beta + z) ** 2 + others + min(beta_squared, 0.0)
        return float((lengths > mean_square).mean())

    reach = 100 * (mean_square + trace / count)
    if not share_above(-reach) < 0.025 < 0.975 < share_above(reach):
        return Interval(point, np.nan, np.nan)
    low, high = (
        optimize.brentq(lambda b, p=p: share_above(b) - p, -reach, reach, xtol=1e-6 * reach)
        for p in (0.025, 0.975)
    )
    return Interval(point, low, high)


def _noise_of_mean(gram: Floats, trace: float) -> tuple[float, float, float]:
    """Variance of the mean along itself; mean and variance of its squared length elsewhere."""
    count = len(gram)
    centered = gram - gram.mean(0) - gram.mean(1)[:, None] + gram.mean()
    of_pairs = centered[~np.eye(count, dtype=bool)].var()  # E⟨d, d'⟩² = tr Σ²
    along = gram.mean(1).var(ddof=1) / gram.mean()
    along = min(along, trace)
    rest = max(trace - along, 1e-12 * trace)
    spread = max(2 * (of_pairs - along**2), 0.0)
    return along / count, rest / count, spread / count**2


def zero_mean_p_value(differences: Floats, seed: int = 0) -> float:
    """p-value of E d = 0 by randomisation: then the sign of every d is arbitrary.

    Block means are nearly normal, so symmetric; for symmetric d the test is exact whatever the
    dimension. The statistic is the length of the mean.

    Args:
        differences: ``[L, P]``.
        seed: of the random signs.

    Returns:
        NaN below ``MIN_BLOCKS``: so few signs could hardly reject anything.
    """
    if len(differences) < MIN_BLOCKS:
        return float(np.nan)
    gram = differences @ differences.T
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (SIGN_FLIPS, len(gram)))
    lengths = ((signs @ gram) * signs).sum(1)
    rank = (lengths >= gram.sum() * (1 - 1e-12)).sum()
    return float((1 + rank) / (1 + SIGN_FLIPS))


def holm(p_values: ArrayLike) -> Floats:
    """Holm's correction (1979): the family-wise error rate over all tests, ``[E]``."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    steps = (len(p) - np.arange(len(p))) * p[order]
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected


class BlockSums:
    """Gathers estimates, in order, into blocks.

    Args:
        size: estimates in a block.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._open: Columns = (0.0, 0.0, 0.0)
        self._filled = 0
        self._complete: list[Columns] = []

    def add(self, estimates: Floats) -> None:
        """Estimates ``[S, P]``."""
        while len(estimates):
            piece, estimates = np.split(estimates, [self._size - self._filled])
            self._filled += len(piece)
            self._open = tuple(a + b for a, b in zip(self._open, _sums(piece), strict=True))
            if self._filled == self._size:
                self._complete.append(tuple(x / self._size for x in self._open))
                self._open, self._filled = (0.0, 0.0, 0.0), 0

    def blocks(self) -> Blocks | None:
        """The complete blocks; None before the second."""
        if len(self._complete) < 2:
            return None
        means, squares, units = zip(*self._complete, strict=True)
        return Blocks(np.stack(means), np.array(squares), np.stack(units), self._size)


def _sums(estimates: Floats) -> Columns:
    """Σ ĝ, Σ ‖ĝ‖² and Σ ĝ / ‖ĝ‖ of estimates ``[S, P]``."""
    estimates = np.asarray(estimates, dtype=np.float64)
    squares = (estimates**2).sum(1)
    lengths = np.sqrt(squares)[:, None]
    units = np.divide(estimates, lengths, where=lengths > 0, out=np.zeros_like(estimates))
    return estimates.sum(0), squares.sum(), units.sum(0)


def same_number(blocks: Sequence[Blocks]) -> list[Blocks]:
    """The first blocks of each, as many as the shortest has."""
    count = min((len(b.mean) for b in blocks), default=0)
    return [Blocks(b.mean[:count], b.square[:count], b.unit[:count], b.size) for b in blocks]
