"""Coverage and error rates of the statistics by which contenders are compared, by simulation.

Runs come from the distributions of ``coverage.py``, skewed, capped and two-humped ones like real
returns; steps to a threshold from such as the zoo has. ``python -m benchmarks.comparisons`` writes
``benchmarks/comparisons.md``; the tests assert some of it with fewer repetitions.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import combinations, product
from pathlib import Path

import click
import numpy as np
from scipy import stats

from benchmarks.coverage import (
    FINAL_RETURNS,
    LIMIT,
    Array,
    Quantiles,
    mean_of,
    table,
    true_interquartile_mean,
)
from pgzoo.compare.efficiency import kaplan_meier, ratio_and_difference, restricted_mean
from pgzoo.compare.final_return import MEAN_RUNS, WORST_RUNS, next_run_band, worst_tenth_weights
from pgzoo.compare.gradient import COSINE_LINES
from pgzoo.compare.pairs import difference_interval, least_runs, probability_of_improvement
from pgzoo.compare.permutation import mean_test, rank_test
from pgzoo.compare.power import MOST_SEEDS, seeds_in_all, smoothed
from pgzoo.compare.sequential import Decisions, decide
from pgzoo.records.intervals import (
    COLUMNS_AT_ONCE,
    MIN_RUNS,
    Interval,
    Weights,
    equal_weights,
    expanded_ends,
    resampled,
)
from pgzoo.records.significance import SIGNIFICANT, holm

REPORT = Path(__file__).parent / "comparisons.md"
RESULTS = Path(__file__).parent / "results"
RUNS = (3, 5, 10, 20)
GRID = (np.arange(20_000) + 0.5) / 20_000
AGENTS = 10
ROUNDING = 1e-9

TWO_HUMPED, MIDDLE = "half 100, half 500", "300 to 301"
SHAPES: dict[str, Quantiles] = {
    TWO_HUMPED: lambda u: np.where(u < 0.5, 100.0, LIMIT),
    MIDDLE: lambda u: 300 + u,
    "all at the limit": lambda u: np.full_like(u, LIMIT),
    "steady, 494 to 496": lambda u: 494 + 2 * u,
}
"""Beside ``FINAL_RETURNS``: shapes beside which others look very different."""
OPPONENTS = (
    "normal",
    "LunarLander-like (280 − gamma)",
    "CartPole-like, half at the limit",
    "half of the runs fail",
    "10% of runs fail",
    "26% fail with 100, others 500",
    "all at the limit",
    "steady, 494 to 496",
)


def steps(median: float, spread: float, never: float) -> Quantiles:
    """Steps to a threshold, lognormal, of which a share is never; the budget is 1."""

    def quantiles(u: Array) -> Array:
        normal = stats.norm.ppf(np.clip(u / (1 - never), 1e-12, 1 - 1e-12))
        return np.where(u < 1 - never, np.minimum(median * np.exp(spread * normal), 1.0), 1.0)

    return quantiles


STEPS: dict[str, Quantiles] = {
    "65% of the budget, spread 10%": steps(0.65, 0.1, 0),
    "the same, 10% never": steps(0.65, 0.1, 0.1),
    "the same, 30% never": steps(0.65, 0.1, 0.3),
    "90%, spread 30%": steps(0.9, 0.3, 0),
    "30%, spread 40%": steps(0.3, 0.4, 0),
    "30%, spread 40%, 10% never": steps(0.3, 0.4, 0.1),
    "80%, half never": steps(0.8, 0.2, 0.5),
    "90%, 90% never": steps(0.9, 0.2, 0.9),
    "10%, spread 20%, 20% never": steps(0.1, 0.2, 0.2),
}


def covers(interval: Interval, truth: float) -> bool:
    """Whether it does, but for rounding."""
    rounding = ROUNDING * max(1.0, abs(truth))
    return interval.low - rounding <= truth <= interval.high + rounding


def how_often(happened: Iterable[bool]) -> float:
    """Share of what is true."""
    return float(np.mean(list(happened)))


def draw(quantiles: Quantiles, runs: int, repetitions: int, rng: np.random.Generator) -> Array:
    """Samples, ``[repetitions, runs]``."""
    return quantiles(rng.random((repetitions, runs)))


@lru_cache(maxsize=64)
def true_mean(quantiles: Quantiles) -> float:
    """Of a distribution."""
    return mean_of(quantiles)


@lru_cache(maxsize=64)
def true_middle(quantiles: Quantiles) -> float:
    """Interquartile mean of a distribution."""
    return true_interquartile_mean(quantiles)


# Final returns


def coverage_of_weighted_mean(samples: Array, weights: Weights, truth: float) -> float:
    """Of the expanded percentile interval, whether or not it is shown at so many runs."""
    rounding = ROUNDING * max(1.0, abs(truth))
    covered = []
    for some in np.array_split(np.sort(samples), -(-len(samples) // COLUMNS_AT_ONCE)):
        low, high = expanded_ends(resampled(some.T, weights), samples.shape[1])
        covered += ((low <= truth + rounding) & (truth - rounding <= high)).tolist()
    return how_often(covered)


def worst_tenth(quantiles: Quantiles) -> float:
    """Mean of the lowest tenth."""
    return mean_of(quantiles, 0, 0.1)


def coverage_of_next_run(samples: Array, following: Array) -> float:
    """How often one more run falls in the band."""
    bands = (next_run_band(np.sort(x))[0] for x in samples)
    return how_often(
        band.low <= after <= band.high for band, after in zip(bands, following, strict=True)
    )


def final_returns(repetitions: int, rng: np.random.Generator) -> str:
    sizes, means, worsts, nexts = (5, 10, 20, MEAN_RUNS, WORST_RUNS), [], [], []
    for name, quantiles in FINAL_RETURNS.items():
        samples = {n: draw(quantiles, n, repetitions, rng) for n in sizes}
        truth, worst = mean_of(quantiles), worst_tenth(quantiles)
        found = [coverage_of_weighted_mean(samples[n], equal_weights, truth) for n in sizes]
        means.append([name, *(f"{c:.1%}" for c in found)])
        some = [n for n in sizes if n >= 10]
        found = [coverage_of_weighted_mean(samples[n], worst_tenth_weights, worst) for n in some]
        points = [np.sort(samples[n]) @ worst_tenth_weights(n) / (n / 10) for n in some]
        cells = (f"{c:.1%} ({p.mean() - worst:+.1f})" for c, p in zip(found, points, strict=True))
        worsts.append([name, f"{worst:.1f}", *cells])
        found = [
            coverage_of_next_run(samples[n][:2_000], quantiles(rng.random(repetitions))[:2_000])
            for n in (5, 10, 20)
        ]
        nexts.append([name, *(f"{c:.1%}" for c in found)])
    header = ["a run's return", *(f"{n} runs" for n in sizes)]
    return f"""## Final returns

Mean over runs: the expanded percentile bootstrap. It is shown from {MEAN_RUNS} runs on; the point
alone below. {repetitions:,} samples of each size.

{table(header, means)}
The worst tenth (mean of the lowest n/10 runs): the same interval, shown from {WORST_RUNS} runs on.
In brackets by how much the point is too high on average.

{table(["a run's return", "truth", *(f"{n} runs" for n in some)], worsts)}
The next run's band, between order statistics: 67% at five runs, 82% at ten and 90% at 20 whatever
the distribution, more where runs are equal.

{table(["a run's return", *(f"{n} runs" for n in (5, 10, 20))], nexts)}"""


# Pairs


@lru_cache(maxsize=1024)
def true_probability(x: Quantiles, y: Quantiles) -> float:
    """P(X > Y) + ½ P(X = Y)."""
    a, b = x(GRID), np.sort(y(GRID))
    not_above = np.searchsorted(b, a, "left") + np.searchsorted(b, a, "right")
    return float(not_above.mean() / (2 * len(b)))


def newcombe(share: float, m: int, n: int) -> Interval:
    """Newcombe's (2006) fifth method, for comparison; it supposes smooth distributions."""
    grid, more = np.linspace(0, 1, 2001), (m + n) / 2 - 1
    spread = grid * (1 - grid) / (m * n)
    spread *= 1 + more * (1 - grid) / (2 - grid) + more * grid / (1 + grid)
    inside = grid[np.abs(share - grid) <= 1.96 * np.sqrt(spread) + ROUNDING]
    return Interval(share, float(inside[0]), float(inside[-1]))


def over_pairs(
    pairs: Sequence[tuple[str, str]],
    distributions: dict[str, Quantiles],
    truth: Callable[[Quantiles, Quantiles], float],
    interval: Callable[[Array, Array], Interval],
    runs: int,
    repetitions: int,
    rng: np.random.Generator,
) -> list[tuple[float, float, str]]:
    """Coverage, mean width and names for every pair of distributions, the worst first."""
    found = []
    for a, b in pairs:
        x, y = (draw(distributions[k], runs, repetitions, rng) for k in (a, b))
        true = truth(distributions[a], distributions[b])
        intervals = [interval(*xy) for xy in zip(x, y, strict=True)]
        width = float(np.mean([i.high - i.low for i in intervals]))
        # Truths are integrals over a grid.
        covered = how_often(i.low - 1e-4 <= true <= i.high + 1e-4 for i in intervals)
        found.append((covered, width, f"{a} and {b}"))
    return sorted(found)


def summary(found: Sequence[tuple[float, float, str]]) -> str:
    """The average coverage, that below which one in twenty is, and the least."""
    covered = [c for c, _, _ in found]
    low = covered[len(covered) // 20]
    return f"{np.mean(covered):.1%} / {low:.1%} / {covered[0]:.1%}"


ALL_RETURNS = FINAL_RETURNS | SHAPES
PAIRS = tuple((a, b) for a in ALL_RETURNS for b in OPPONENTS if a != b)
STEP_PAIRS = tuple(product(STEPS, STEPS))


def probability_coverage(
    runs: int, repetitions: int, rng: np.random.Generator, pairs: Sequence[tuple[str, str]] = PAIRS
) -> list[tuple[float, float, str]]:
    """Of the interval of the probability of improvement."""
    return over_pairs(
        pairs, ALL_RETURNS, true_probability, probability_of_improvement, runs, repetitions, rng
    )


def difference_coverage(
    runs: int, repetitions: int, rng: np.random.Generator, pairs: Sequence[tuple[str, str]] = PAIRS
) -> list[tuple[float, float, str]]:
    """Of the interval of the difference of interquartile means."""

    def truth(x: Quantiles, y: Quantiles) -> float:
        return true_middle(x) - true_middle(y)

    return over_pairs(pairs, ALL_RETURNS, truth, difference_interval, runs, repetitions, rng)


def pair_intervals(repetitions: int, rng: np.random.Generator) -> str:
    rows = []
    for n in RUNS:

        def other(x: Array, y: Array, n: int = n) -> Interval:
            return newcombe(probability_of_improvement(x, y).point, n, n)

        ours = probability_coverage(n, repetitions, rng)
        theirs = over_pairs(PAIRS, ALL_RETURNS, true_probability, other, n, repetitions // 2, rng)
        widths = (f"{np.mean([w for _, w, _ in found]):.2f}" for found in (ours, theirs))
        cells = [summary(ours), summary(theirs), *widths]
        differ = difference_coverage(n, repetitions // 2, rng) if n >= MIN_RUNS else None
        cells += [summary(differ), differ[0][2].replace(" and ", " less ")] if differ else ["–", ""]
        rows.append([str(n), *cells])
    header = ["runs", "probability", "Newcombe", "width", "Newcombe's", "difference", "worst"]
    return f"""## Intervals of pairs

The probability of improvement, and the difference of interquartile means, over {len(PAIRS)} pairs
of distributions of returns. Coverage: average / one in twenty is below / least; mean width.
Newcombe's interval supposes smooth distributions. The difference has no interval below {MIN_RUNS}
runs. {repetitions:,} samples of each pair.

{table(header, rows)}"""


# Tests

Test = Callable[[Array, Array], float]


def welch(x: Array, y: Array) -> float:
    """p-value of Welch's test; 1 where all is equal."""
    if np.ptp(x) == np.ptp(y) == 0:
        return float(x[0] == y[0])
    with warnings.catch_warnings(action="ignore"):  # one of them may be all alike
        return float(stats.ttest_ind(x, y, equal_var=False).pvalue)


def rejections(
    test: Test, x: Quantiles, y: Quantiles, runs: int, repetitions: int, rng: np.random.Generator
) -> Array:
    """p-values of many pairs of samples."""
    a, b = draw(x, runs, repetitions, rng), draw(y, runs, repetitions, rng)
    return np.array([test(*sample) for sample in zip(a, b, strict=True)])


def sizes(
    test: Test, distributions: dict[str, Quantiles], runs: int, repetitions: int, seed: int = 0
) -> list[float]:
    """How often a test tells runs apart that are from one distribution, for each of several."""
    rng = np.random.default_rng(seed)
    return [
        how_often(rejections(test, q, q, runs, repetitions, rng) <= SIGNIFICANT)
        for q in distributions.values()
    ]


def family_wise(
    test: Test,
    agents: Sequence[Quantiles],
    runs: int,
    repetitions: int,
    rng: np.random.Generator,
    equal: Callable[[int, int], bool] = lambda a, b: True,
) -> tuple[float, float]:
    """How often any pair of equal ones is told apart after Holm, and how many of the others are."""
    pairs = [(i, j) for i in range(len(agents)) for j in range(i)]
    same = np.array([equal(*pair) for pair in pairs])
    false, true = [], []
    for _ in range(repetitions):
        samples = [q(rng.random(runs)) for q in agents]
        told = holm([test(samples[i], samples[j]) for i, j in pairs]) <= SIGNIFICANT
        false.append(bool(told[same].any()))
        true.append(float(told[~same].mean()) if (~same).any() else np.nan)
    return how_often(false), float(np.mean(true))


ALTERNATIVES: dict[str, tuple[Quantiles, Quantiles]] = {
    "normal, shifted by a spread": (
        FINAL_RETURNS["normal"],
        lambda u: FINAL_RETURNS["normal"](u) - 50,
    ),
    "half at the limit against all 15 lower": (
        FINAL_RETURNS["CartPole-like, half at the limit"],
        lambda u: FINAL_RETURNS["CartPole-like, half at the limit"](u) - 15,
    ),
    "10% fail against the same, 10 lower": (
        FINAL_RETURNS["10% of runs fail"],
        lambda u: FINAL_RETURNS["10% of runs fail"](u) - 10,
    ),
    "10% fail against half fail": (
        FINAL_RETURNS["10% of runs fail"],
        FINAL_RETURNS["half of the runs fail"],
    ),
    "all at the limit against 10% fail": (
        SHAPES["all at the limit"],
        FINAL_RETURNS["10% of runs fail"],
    ),
}


def tests_of_pairs(repetitions: int, rng: np.random.Generator) -> str:
    size_rows, family_rows, power_rows = [], [], []
    step_sizes = {k: STEPS[k] for k in STEPS}
    for n in RUNS:
        ours, theirs = (sizes(test, FINAL_RETURNS, n, repetitions) for test in (rank_test, welch))
        means = sizes(mean_test, step_sizes, n, repetitions)
        shapes = rejections(rank_test, SHAPES[TWO_HUMPED], SHAPES[MIDDLE], n, 4 * repetitions, rng)
        size_rows.append(
            [
                str(n),
                *(f"{np.mean(s):.1%} / {max(s):.1%}" for s in (ours, theirs, means)),
                f"{how_often(shapes <= SIGNIFICANT):.1%}",
                f"{how_often(shapes <= SIGNIFICANT / 45):.1%}",
            ]
        )
        row = [str(n)]
        for name in ("LunarLander-like (280 − gamma)", "10% of runs fail"):
            quantiles = FINAL_RETURNS[name]
            false, _ = family_wise(rank_test, [quantiles] * AGENTS, n, repetitions, rng)
            row.append(f"{false:.1%}")
        family_rows.append(row)
    for name, (x, y) in ALTERNATIVES.items():
        power = [
            f"{how_often(rejections(test, x, y, n, repetitions, rng) <= SIGNIFICANT):.0%}"
            for n in (5, 10, 20)
            for test in (rank_test, welch)
        ]
        power_rows.append([name, *power])
    least = [
        [str(k), str(k * (k - 1) // 2), str(least_runs(k * (k - 1) // 2))]
        for k in (2, 3, 5, 10, 20)
    ]
    header = ["runs", "Mann–Whitney", "Welch", "means of steps", "other shape, one pair", "of 45"]
    power_header = [f"{test}, {n}" for n in (5, 10, 20) for test in ("Mann–Whitney", "Welch")]
    return f"""## Tests of pairs

How often runs of one distribution are told apart at 5%: average / most over the distributions of
final returns (and of steps to a threshold, for the test of means). The last two columns are no
error of the test, which asks whether runs are from one distribution, and here they are not: all of
one are about 300, half of the other's 100 and half 500, so that neither is better. It is how often
a pair is told apart all the same, by itself or among 45 pairs, the first of Holm's steps. The
interval of the probability of improvement is for that, and contains ½ in at least 95%.
{repetitions:,} samples.

{table(header, size_rows)}
Family-wise: {AGENTS} agents of one distribution, how often any of 45 pairs is told apart.

{table(["runs", "LunarLander-like (280 − gamma)", "10% of runs fail"], family_rows)}
Power at 5%, one pair.

{table(["runs of two contenders", *power_header], power_rows)}
Below so many runs each, no pair can be decided.

{table(["contenders", "pairs", "runs"], least)}"""


# Steps to a threshold


def as_runs(sample: Array) -> tuple[list[float | None], list[float]]:
    """Steps to a threshold within a budget of 1 as ``reached`` and ``trained``."""
    return [None if s >= 1 else float(s) for s in sample], [1.0] * len(sample)


def restricted_mean_coverage(
    quantiles: Quantiles, runs: int, repetitions: int, rng: np.random.Generator
) -> float:
    """Of the interval of the restricted mean."""
    truth = true_mean(quantiles)
    samples = draw(quantiles, runs, repetitions, rng)
    return how_often(covers(restricted_mean(*as_runs(x), 1.0), truth) for x in samples)


def ratio_coverage(
    runs: int,
    repetitions: int,
    rng: np.random.Generator,
    pairs: Sequence[tuple[str, str]] = STEP_PAIRS,
) -> list[tuple[float, float, str]]:
    """Of the interval of the ratio of restricted means."""

    def interval(x: Array, y: Array) -> Interval:
        return ratio_and_difference(np.sort(x), np.sort(y), 1.0)[0]

    def truth(x: Quantiles, y: Quantiles) -> float:
        return true_mean(x) / true_mean(y)

    return over_pairs(pairs, STEPS, truth, interval, runs, repetitions, rng)


def saving_coverage(
    runs: int,
    repetitions: int,
    rng: np.random.Generator,
    pairs: Sequence[tuple[str, str]] = STEP_PAIRS,
) -> list[tuple[float, float, str]]:
    """Of the interval of the difference of restricted means."""

    def interval(x: Array, y: Array) -> Interval:
        return ratio_and_difference(np.sort(x), np.sort(y), 1.0)[1]

    def truth(x: Quantiles, y: Quantiles) -> float:
        return true_mean(x) - true_mean(y)

    return over_pairs(pairs, STEPS, truth, interval, runs, repetitions, rng)


def survival_coverage(
    runs: int, censored: bool, repetitions: int, rng: np.random.Generator
) -> list[float]:
    """Of the pointwise interval at 60, 100 and 140% of the median, where it is given."""
    covered: list[list[float]] = [[], [], []]
    for _ in range(repetitions):
        first = rng.lognormal(0, 0.5, runs)
        trained = rng.uniform(0.3, 3, runs) if censored else np.full(runs, 1.5)
        reached = [a if a <= b else None for a, b in zip(first, trained, strict=True)]
        curve = kaplan_meier(reached, trained.tolist(), 1.5)
        for at, found in zip((0.6, 1.0, 1.4), covered, strict=True):
            i = int(np.searchsorted(curve.times, at, "right")) - 1
            if at <= curve.times[-1] and not np.isnan(curve.low[i]):
                truth = stats.lognorm.sf(at, 0.5)
                found.append(curve.low[i] <= truth <= curve.high[i])
    return [float(np.mean(found)) if found else np.nan for found in covered]


def thresholds(repetitions: int, rng: np.random.Generator) -> str:
    one = [
        [name, *(f"{restricted_mean_coverage(q, n, repetitions, rng):.1%}" for n in (5, 10, 20))]
        for name, q in STEPS.items()
    ]
    two = []
    for n in (5, 10, 20):
        ratio, saving = (f(n, repetitions // 2, rng) for f in (ratio_coverage, saving_coverage))
        two.append(
            [str(n), summary(ratio), ratio[0][2].replace(" and ", " over "), summary(saving)]
        )
    curves = [
        [
            str(n),
            *(
                f"{c:.1%}" if not np.isnan(c) else "–"
                for censored in (False, True)
                for c in survival_coverage(n, censored, repetitions, rng)
            ),
        ]
        for n in RUNS
    ]
    at = ("60%", "100%", "140% of the median")
    header = ["runs", *(f"{when}{how}" for how in ("", ", censored") for when in at)]
    return f"""## Steps to a threshold

The restricted mean: steps beyond the budget count as the budget. {repetitions:,} samples each.

{table(["steps to the threshold", *(f"{n} runs" for n in (5, 10, 20))], one)}
Ratio and difference of restricted means over {len(STEP_PAIRS)} pairs of these: average / one in
twenty is below / least, and which.

{table(["runs", "ratio", "worst", "difference"], two)}
The Kaplan–Meier curve's pointwise interval, where all runs train to the end, and where they are
stopped at random before it.

{table(header, curves)}"""


# Cosines along training


def cosines(length: float, lines: int, repetitions: int, rng: np.random.Generator) -> Array:
    """Of two noisy gradients of ten entries and of that length, ``[repetitions, lines]``."""
    halves = rng.normal(size=(2, repetitions, lines, 10))
    halves[..., 0] += length
    lengths = np.linalg.norm(halves, axis=-1)
    return np.asarray((halves[0] * halves[1]).sum(-1) / (lengths[0] * lengths[1]))


def cosine_coverage(length: float, lines: int, repetitions: int, rng: np.random.Generator) -> float:
    """Of the mean split-half cosine's interval."""
    truth = float(cosines(length, 1, 400_000, rng).mean())
    samples = cosines(length, lines, repetitions, rng)
    return coverage_of_weighted_mean(samples, equal_weights, truth)


def directions(repetitions: int, rng: np.random.Generator) -> str:
    lines, rows = (5, 8, 10, 20), []
    for length in (0.0, 1.0, 3.0, 10.0):
        found = (cosine_coverage(length, n, repetitions, rng) for n in lines)
        rows.append([f"{length:g}", *(f"{c:.1%}" for c in found)])
    header = ["‖gradient‖ / noise of an entry", *(f"{n} lines" for n in lines)]
    return f"""## Direction along training

The mean cosine between the estimates of both halves of a batch, of ten parameters, shown from
{COSINE_LINES} diagnosed lines on.

{table(header, rows)}"""


# How many seeds


def zoo_returns(env: str = "CartPole-v1") -> dict[str, Array]:
    """Final returns of the published runs, by agent."""
    found = {}
    for path in sorted(RESULTS.glob(f"*-{env}-mlp.json")):
        summary = json.loads(path.read_text())
        found[summary["agent"]] = np.array(summary["eval_mean"], dtype=float)
    return found


def failing(share: float, low: float) -> Quantiles:
    """A share of runs ends with that return, all others at CartPole's limit."""
    return lambda u: np.where(u < share, low, LIMIT)


MIXTURES = {
    "one in twenty ends with 100": failing(0.05, 100),
    "one in ten ends with 300": failing(0.1, 300),
    "one in four ends with 420": failing(0.25, 420),
    "half end with 460": failing(0.5, 460),
}
"""Means of 480 beside CartPole's limit."""


def seeds() -> str:
    spreads = {f"`{agent}`": returns - returns.mean() for agent, returns in zoo_returns().items()}
    spreads["all of them"] = np.concatenate(list(spreads.values()))
    limit = SHAPES["all at the limit"](GRID)
    cases = {
        f"{name}, standard deviation {x.std(ddof=1):.1f}": (smoothed(x), smoothed(x) - 20)
        for name, x in spreads.items()
    }
    tables = []
    for some in (cases, {name: (limit, q(GRID)) for name, q in MIXTURES.items()}):
        rows = []
        for name, (x, y) in some.items():
            needed = (seeds_in_all(x, y, level=SIGNIFICANT / n) for n in (1, 45))
            rows.append([name, *(f"> {MOST_SEEDS:,}" if n is None else str(n) for n in needed)])
        tables.append(rows)
    header = ["seeds of each", "a single pair", "one of 45"]
    return f"""## How many seeds tell 500 from 480?

On CartPole, by the Mann–Whitney test with a power of 80%. If *all* runs of one are 20 lower than
the other's, and scatter as the ten published runs of an agent do:

{table(["spread of", *header[1:]], tables[0])}
But near its limit returns do not differ like that. If all runs of one are at 500, the mean of 480
is that of runs of which some fall short, and the fewer do, the harder it is to know:

{table(["480 because", *header[1:]], tables[1])}"""


# Seeds in batches


def sequentially(
    agents: Sequence[Quantiles], size: int, most_batches: int, rng: np.random.Generator
) -> tuple[Decisions, int]:
    """Decisions in the end, and how many runs were trained."""
    runs: dict[str, list[Array]] = {str(i): [] for i in range(len(agents))}
    go_on: tuple[str, ...] = tuple(runs)
    trained = 0
    while go_on:
        for label in go_on:
            runs[label].append(agents[int(label)](rng.random(size)))
            trained += size
        found = decide(runs, most_batches)
        go_on = found.go_on
    return found, trained


TEAMS: dict[str, Sequence[Quantiles]] = {
    "two, LunarLander-like": [FINAL_RETURNS["LunarLander-like (280 − gamma)"]] * 2,
    "ten, LunarLander-like": [FINAL_RETURNS["LunarLander-like (280 − gamma)"]] * AGENTS,
    "ten, 10% of runs fail": [FINAL_RETURNS["10% of runs fail"]] * AGENTS,
    "two, half a spread apart": [lambda u, k=k: stats.norm.ppf(u) + 0.5 * k for k in range(2)],
    "two, a spread apart": [lambda u, k=k: stats.norm.ppf(u) + k for k in range(2)],
    "five, 0, 0, 1, 1, 2 spreads": [lambda u, k=k: stats.norm.ppf(u) + k for k in (0, 0, 1, 1, 2)],
}
EQUAL: dict[str, Callable[[int, int], bool]] = {
    "two, half a spread apart": lambda a, b: False,
    "two, a spread apart": lambda a, b: False,
    "five, 0, 0, 1, 1, 2 spreads": lambda a, b: {a, b} in ({0, 1}, {2, 3}),
}


def sequential_errors(
    team: str, size: int, most_batches: int, repetitions: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    """How often any equal pair is decided, share of others that are, runs per contender."""
    agents, equal = TEAMS[team], EQUAL.get(team, lambda a, b: True)
    false, true, trained = [], [], []
    for _ in range(repetitions):
        found, runs = sequentially(agents, size, most_batches, rng)
        pairs = [(int(a), int(b)) for a, b in found.better]
        unequal = [p for p in combinations(range(len(agents)), 2) if not equal(*p)]
        false.append(any(equal(*p) for p in pairs))
        true.append(np.mean([p in pairs for p in unequal]) if unequal else np.nan)
        trained.append(runs / len(agents))
    return how_often(false), float(np.mean(true)), float(np.mean(trained))


def batches(repetitions: int, rng: np.random.Generator) -> str:
    rows = []
    for name, agents in TEAMS.items():
        equal = EQUAL.get(name, lambda a, b: True)
        some = repetitions // (10 if len(agents) == AGENTS else 1)
        false, true, trained = sequential_errors(name, 5, 4, some, rng)
        fixed_false, fixed_true = family_wise(rank_test, agents, 20, some, rng, equal)
        rows.append(
            [
                name,
                f"{false:.1%}",
                f"{fixed_false:.1%}",
                *("–" if np.isnan(x) else f"{x:.0%}" for x in (true, fixed_true)),
                f"{trained:.1f}",
            ]
        )
    header = ["contenders", "any false", "at once", "true ones", "at once", "seeds each"]
    return f"""## Seeds in batches until every pair is decided

Four batches of five seeds at most, against all 20 at once: how often any pair of equal contenders
is decided, the share of the others that is, and seeds per contender on average.

{table(header, rows)}"""


@click.command()
@click.option("--repetitions", default=2_000, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(repetitions: int, seed: int) -> None:
    """Simulate, print the tables and write them to benchmarks/comparisons.md."""
    rng = np.random.default_rng(seed)
    parts = [
        "# Comparisons of contenders\n\nWritten by `python -m benchmarks.comparisons`.\n",
        final_returns(repetitions, rng),
        pair_intervals(repetitions // 5, rng),
        tests_of_pairs(repetitions // 2, rng),
        thresholds(repetitions // 4, rng),
        directions(repetitions // 2, rng),
        seeds(),
        batches(repetitions, rng),
    ]
    text = "\n".join(parts)
    print(text)
    REPORT.write_text(text)


if __name__ == "__main__":
    main()
