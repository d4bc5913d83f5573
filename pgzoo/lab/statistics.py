"""Bias, variance and direction of an estimator from independent estimates, with intervals.

Estimates are kept as block means, so that memory does not grow with their number. Intervals come
from the jackknife that leaves out one block at a time (of the reference, too, where it was
sampled), except for the squared bias, whose interval inverts a test. The coverage of
every interval is tested by simulation, and so is the size of every test.

What can be said of a bias is one of four ``VERDICTS``, from two nested hypotheses:

    A: E ĝ = g*          B: E ĝ = c · g*,  c > 0

====================  ============================================================================
unbiased              A is not rejected, and the interval of ‖E ĝ − g*‖ / ‖g*‖ ends below ``WORTH``
rescaled              A is rejected, B is not, and that of the part beside g* ends below ``WORTH``
another direction     A is rejected, and then B
too noisy to say      anything else
====================  ============================================================================

``nested_holm`` corrects both p-values for the number of estimators: where A holds of some and B of
others, the probability that *any* of them is called rescaled or turned and is not is at most 5%.
An estimator with a bias of ``WORTH`` or more is called unbiased with a probability of at most 2.5%.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from pgzoo.records.intervals import Interval
from pgzoo.records.significance import SIGNIFICANT

MIN_BLOCKS = 10
SIGN_FLIPS = 9_999
SIMULATIONS = 10_000
ROUNDING = 1e-9
"""Squared lengths less than this, relative to their own noise, are what rounding left of zero."""
SAME = 1e-5
"""Relative differences less than this are what single precision left of none."""
WORTH = 0.25
"""Of ‖g*‖: a bias worth mentioning. An estimator whose bias may be larger isn't called unbiased."""
VERDICTS = UNBIASED, RESCALED, TURNED, UNCLEAR = (
    "unbiased",
    "same direction, rescaled",
    "another direction",
    "too noisy to say",
)
RATIOS = ("variance", "relative_variance", "mse")
"""Quantities of which two estimators' ratio is what one wants to know …"""
DIFFERENCES = ("cosine", "direction", "scale")
"""… and those of which it is the difference."""
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

    @cached_property
    def squared_length(self) -> Interval:
        """‖g*‖², without the noise of its mean if it was sampled."""
        length = float((self.gradient**2).sum())
        if self.blocks is None:
            return Interval(length, length, length)
        ends = squared_norm_interval(self.blocks.mean)
        return Interval(length - float(_moments(self.blocks)[2]), ends.low, ends.high)


@dataclass(frozen=True)
class Properties:
    """What M independent estimates ĝ say about their estimator; 95% intervals.

    Attributes:
        variance: trace of the covariance of ĝ.
        relative_variance: trace / ‖E ĝ‖²; infinite where noise hides the mean.
        snr: its inverse, ‖E ĝ‖² / trace.
        bias_squared: ‖E ĝ − g*‖², an unbiased figure that may be negative.
        relative_bias: ‖E ĝ − g*‖ / ‖g*‖. Its upper end is the least bias that so many estimates
            are sure to find; conservative where g* was sampled.
        scale: ⟨E ĝ, g*⟩ / ‖g*‖²; 1 for an unbiased estimator.
        direction: cosine of E ĝ with g*; NaN, in [-1, 1], where noise hides even its sign.
        cosine: mean cosine of single estimates with g*; 0 for an estimate of zero.
        mse: E‖ĝ − g*‖².
        p_unbiased: p-value of the hypothesis E ĝ = g*.
        p_direction: p-value of the hypothesis E ĝ = c · g* with c > 0.
    """

    variance: Interval
    relative_variance: Interval
    snr: Interval
    bias_squared: Interval
    relative_bias: Interval
    scale: Interval
    direction: Interval
    cosine: Interval
    mse: Interval
    p_unbiased: float
    p_direction: float


@dataclass(frozen=True)
class Quantities:
    """Quantities of an estimator by which it is compared with others, by name.

    Attributes:
        point: from all blocks.
        left_out: with each block left out, ``[L]``.
    """

    point: dict[str, float]
    left_out: dict[str, Floats]


@dataclass(frozen=True)
class Comparison:
    """What two estimators differ in.

    Attributes:
        interval: ratio of a's figure to b's for ``RATIOS``, difference for ``DIFFERENCES``, with
            its 95% interval.
        p_value: of the hypothesis that there is none.
    """

    interval: Interval
    p_value: float


def properties(sample: Blocks, reference: Reference, seed: int = 0) -> Properties:
    """All figures of an estimator.

    With fewer than ``MIN_BLOCKS`` blocks there are points without intervals or test. Where a
    sampled reference is shorter than its own noise, what refers to its length is NaN.

    Args:
        sample: L blocks.
        reference: exact, or with as many blocks.
        seed: for the signs of the tests.
    """
    found = quantities(sample, reference)
    point, left_out = found.point, found.left_out
    intervals = {
        name: _jackknife_interval(point[name], left_out[name])
        for name in ("snr", "scale", "cosine")
    }
    differences = _differences(sample, reference)
    bias_squared = squared_norm_interval(differences)
    return Properties(
        variance=_positive(point["variance"], left_out["variance"]),
        relative_variance=_inverse(intervals["snr"]),
        snr=intervals["snr"],
        bias_squared=bias_squared,
        relative_bias=_relative_bias(bias_squared, reference.squared_length),
        scale=intervals["scale"],
        direction=_direction(sample, reference, intervals["scale"], left_out["scale"]),
        cosine=_clipped(intervals["cosine"], 1.0),
        mse=_positive(point["mse"], left_out["mse"]),
        p_unbiased=zero_mean_p_value(differences, seed),
        p_direction=direction_p_value(sample, reference, seed),
    )


def direction_p_value(sample: Blocks, reference: Reference, seed: int = 0) -> float:
    """p-value of the hypothesis E ĝ = c · g* for some c > 0, g* exact or sampled.

    A randomisation test, as ``zero_mean_p_value``, of what blocks have beside g*. Of an estimate
    that points backwards the sign is tested, too.

    Args:
        sample: L blocks.
        reference: exact, or with as many blocks.
        seed: of the random signs.

    Returns:
        NaN below ``MIN_BLOCKS``, or where a sampled reference is lost in its noise.
    """
    found = quantities(sample, reference)
    scale, left_out = found.point["scale"], found.left_out["scale"]
    if not np.isfinite(left_out).all():
        return float(np.nan)
    # What a block did to the scale, which fits all blocks, is taken out of the block. Of an exact
    # g* precisely what is perpendicular to it remains.
    influence = (len(left_out) - 1) * (scale - left_out)
    target = reference.gradient if reference.blocks is None else reference.blocks.mean
    beside = sample.mean - scale * target - np.outer(influence, reference.gradient)
    p_beside = zero_mean_p_value(beside, seed)
    if scale >= 0:
        return p_beside
    p_backwards = zero_mean_p_value((scale + influence)[:, None], seed) / 2
    return float(min(2 * min(p_beside, p_backwards), 1.0))


def _direction(
    sample: Blocks, reference: Reference, scaling: Interval, scale_left_out: Floats
) -> Interval:
    """Cosine of E ĝ with g*, from how far E ĝ, stretched to fit, is beside g*.

    The factor is estimated too: what a block did to it is taken out of the block's difference.
    Where the factor's interval contains zero not even the sign is known, and the cosine may be
    anything.
    """
    scale, target = scaling.point, reference.squared_length.point
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


def _relative_bias(squared: Interval, target: Interval) -> Interval:
    """‖E ĝ − g*‖ / ‖g*‖ from both squares, each at its worse end."""
    if not target.point > 0:
        return Interval(np.nan, 0.0, np.inf)

    def share(x: float, of: float) -> float:
        if np.isnan(x):
            return float(np.nan)
        return float(np.sqrt(max(x, 0.0) / of)) if of > 0 else float(np.inf)

    return Interval(
        share(squared.point, target.point),
        share(squared.low, target.high),
        share(squared.high, target.low),
    )


def verdict(found: Properties, p_unbiased: float, p_direction: float) -> str:
    """Which of the four ``VERDICTS``.

    Args:
        found: of one estimator.
        p_unbiased: corrected for the number of estimators, as by ``nested_holm``.
        p_direction: the same.
    """
    if p_unbiased < SIGNIFICANT:
        if p_direction < SIGNIFICANT:
            return TURNED
        return RESCALED if tangent(found.direction.low) < WORTH else UNCLEAR
    known = not np.isnan(p_unbiased) and found.relative_bias.high < WORTH
    return UNBIASED if known else UNCLEAR


def tangent(cosine: float) -> float:
    """Of the angle with that cosine: what is beside g* relative to what is along it.

    Infinite for a right angle and beyond.
    """
    return float(np.sqrt(1 / min(cosine, 1.0) ** 2 - 1)) if cosine > 0 else float(np.inf)


def compare(a: Quantities, b: Quantities, quantity: str) -> Comparison:
    """Test the difference of two estimators that were measured in the same blocks.

    The jackknife leaves a block out of both, so that what they share cancels; of estimators with
    nothing in common it is a test of two samples. The ratio of relative variances has the interval
    of Fieller (1954) from the two signal-to-noise ratios, which may be zero.

    Args:
        a: of one estimator.
        b: of another one.
        quantity: of ``RATIOS`` or ``DIFFERENCES``.

    Returns:
        a relative to b.

    Raises:
        ValueError: for another quantity, or different numbers of blocks.
    """
    if quantity not in RATIOS + DIFFERENCES:
        raise ValueError(
            f"Expected a quantity among {', '.join(RATIOS + DIFFERENCES)}; got {quantity!r}."
        )
    name = "snr" if quantity == "relative_variance" else quantity
    (x, y), (xs, ys) = (f.point[name] for f in (a, b)), (f.left_out[name] for f in (a, b))
    if len(xs) != len(ys):
        raise ValueError(f"Expected estimators in as many blocks, got {len(xs)} and {len(ys)}.")
    same = abs(x - y) <= SAME * max(abs(x), abs(y))
    if name == "snr":
        p_value, interval = _t_test(y - x, ys - xs), _fieller(y, x, ys, xs)
    elif quantity in RATIOS:
        with np.errstate(divide="ignore", invalid="ignore"):
            logs, left_out = np.log(x) - np.log(y), np.log(xs) - np.log(ys)
        p_value, interval = _t_test(logs, left_out), _positive(np.exp(logs), np.exp(left_out))
    else:
        p_value, interval = _t_test(x - y, xs - ys), _jackknife_interval(x - y, xs - ys)
    return Comparison(interval, 1.0 if same and not np.isnan(p_value) else p_value)


def _fieller(
    numerator: float, denominator: float, numerators: Floats, denominators: Floats
) -> Interval:
    """Of a ratio that is not negative: all ρ that a t test of numerator − ρ denominator keeps."""
    count = len(numerators)
    point = max(numerator, 0.0) / denominator if denominator > 0 else np.inf
    if numerator <= 0 and denominator <= 0:
        point = np.nan
    if count < MIN_BLOCKS or not np.isfinite([numerators, denominators]).all():
        return Interval(float(point), np.nan, np.nan)
    left_out = np.stack([numerators, denominators])
    centred = left_out - left_out.mean(1, keepdims=True)
    noise = stats.t.ppf(0.975, count - 1) ** 2 * (count - 1) / count * (centred @ centred.T)
    # a ρ² − 2 b ρ + c ≤ 0
    a, b = denominator**2 - noise[1, 1], numerator * denominator - noise[0, 1]
    root = b**2 - a * (numerator**2 - noise[0, 0])
    if root < 0 or a == 0:
        return Interval(float(point), 0.0, np.inf)
    ends = sorted((b + sign * np.sqrt(root)) / a for sign in (-1, 1))
    if a > 0:
        return Interval(float(point), *(max(float(e), 0.0) for e in ends))
    # What lies between the roots is excluded, which may be all below a positive one.
    return Interval(float(point), float(ends[1]) if ends[0] < 0 < ends[1] else 0.0, np.inf)


def _differences(sample: Blocks, reference: Reference) -> Floats:
    """Independent unbiased estimates of the bias, ``[L, P]``."""
    if reference.blocks is None:
        return sample.mean - reference.gradient
    return sample.mean - reference.blocks.mean


def quantities(sample: Blocks, reference: Reference) -> Quantities:
    """Quantities from all blocks, and with each block left out; arguments as for ``properties``."""
    everything, others = _moments(sample), _moments(sample, leave_one_out=True)
    if reference.blocks is None:
        mean, noise = mean_others, noise_others = reference.gradient, np.zeros(())
    else:
        mean, _, noise, _ = _moments(reference.blocks)
        mean_others, _, noise_others, _ = _moments(reference.blocks, leave_one_out=True)
    point = _from_moments(*everything, mean, noise)
    return Quantities(
        {name: float(value) for name, value in point.items()},
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
    """Quantities in which the noise of both means is subtracted from their squared lengths."""
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
            "direction": dot / np.sqrt(np.where(signal > 0, signal, np.nan) * known),
            "mse": trace + signal - 2 * dot + squared,
        }


def _jackknife_interval(point: float, left_out: Floats) -> Interval:
    """Student's t interval with the jackknife's standard error (Efron & Stein 1981)."""
    half = stats.t.ppf(0.975, len(left_out) - 1) * _standard_error(left_out)
    return Interval(float(point), float(point - half), float(point + half))


def _t_test(point: float, left_out: Floats) -> float:
    """Two-sided p-value of zero, with the jackknife's standard error; NaN where that is."""
    error = _standard_error(left_out)
    if error == 0:
        return float(point == 0)
    return float(2 * stats.t.sf(abs(point) / error, len(left_out) - 1))


def _standard_error(left_out: Floats) -> float:
    """Of a figure, from the jackknife; NaN with too few blocks or where a figure is not finite."""
    count = len(left_out)
    if count < MIN_BLOCKS or not np.isfinite(left_out).all():
        return float(np.nan)
    return float(np.sqrt((count - 1) / count * ((left_out - left_out.mean()) ** 2).sum()))


def _clipped(interval: Interval, bound: float) -> Interval:
    """Within [-bound, bound], of a figure that can be nowhere else."""
    return Interval(*(float(np.clip(end, -bound, bound)) for end in dataclasses.astuple(interval)))


def _positive(point: float, left_out: Floats) -> Interval:
    """The jackknife on a logarithmic scale, for what is never negative."""
    with np.errstate(divide="ignore", invalid="ignore"):
        log = _jackknife_interval(np.log(point), np.log(left_out))
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
    directions. An unbiased figure may be negative, and so may the lower end. The upper end is never
    less than for a point of zero: it is the least ‖E d‖² that so many vectors are sure to find,
    not how lucky they were (a power-constrained limit, Cowan et al. 2011, arXiv 1105.3166).

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

    def share_above(beta_squared: float, observed: float) -> float:
        """P(squared length > observed) if ‖E d‖² were this."""
        beta = np.sqrt(max(beta_squared, 0.0))
        lengths = (beta + z) ** 2 + others + min(beta_squared, 0.0)
        return float((lengths > observed).mean())

    reach = 100 * (mean_square + trace / count)
    at_zero = max(mean_square, trace / count)
    if not share_above(-reach, mean_square) < 0.025 < 0.975 < share_above(reach, at_zero):
        return Interval(point, np.nan, np.nan)
    low, high = (
        optimize.brentq(lambda b, x=x, p=p: share_above(b, x) - p, -reach, reach, xtol=1e-6 * reach)
        for x, p in ((mean_square, 0.025), (at_zero, 0.975))
    )
    return Interval(point, low, high)


def _noise_of_mean(gram: Floats, trace: float) -> tuple[float, float, float]:
    """Variance of the mean along itself; mean and variance of its squared length elsewhere."""
    count = len(gram)
    centered = gram - gram.mean(0) - gram.mean(1)[:, None] + gram.mean()
    of_pairs = centered[~np.eye(count, dtype=bool)].var()  # E⟨d, d'⟩² = tr Σ²
    length = gram.mean()  # squared, of the mean; one of zero has no direction
    along = gram.mean(1).var(ddof=1) / length if length > ROUNDING * trace / count else 0.0
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


def nested_holm(first: Sequence[float], second: Sequence[float]) -> tuple[Floats, Floats]:
    """Holm's correction where each of E estimators has two nested hypotheses.

    The second, weaker hypothesis is tested once the first is rejected. No more than one of an
    estimator's rejections can be the first false one, so E is what p-values are multiplied by, not
    2 E, and an estimator without a hypothesis left no longer counts (the sequentially rejective
    principle of Goeman & Solari 2010). The probability of any false rejection is bounded.

    Args:
        first: p-values of the stronger hypotheses, ``[E]``; NaN is never rejected.
        second: of the weaker ones.

    Returns:
        corrected p-values of the first and of the second hypotheses.
    """
    current = np.array(first, dtype=float)  # p-values of the hypotheses whose turn it is
    corrected = np.full((2, len(current)), np.nan)
    stage = np.zeros(len(current), dtype=int)
    remaining, largest = len(current), 0.0
    while not np.isnan(current).all():
        best = int(np.nanargmin(current))
        largest = min(max(largest, remaining * current[best]), 1.0)
        corrected[stage[best], best] = largest
        current[best] = np.nan if stage[best] else second[best]
        remaining -= stage[best]
        stage[best] = 1
    return corrected[0], corrected[1]


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
