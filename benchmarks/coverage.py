"""How often intervals over runs cover the truth, and how often a threshold is passed by luck.

Distributions of a run's final return are given by their quantile functions, from which both the
truth (the interquartile mean ``2 ∫ Q(u) du`` over the middle half) and samples follow. Writes
``benchmarks/coverage.md``; the tests assert some of it with fewer repetitions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pgzoo.records.intervals import (
    CONFIRMING_EPISODES,
    MIN_EPISODES,
    MIN_RUNS,
    WINDOW,
    Band,
    confirms,
    interquartile_mean_band,
    is_candidate,
    reaches_threshold,
    share_interval,
)

REPORT = Path(__file__).parent / "coverage.md"
RUNS = (3, 5, 10, 20)
LIMIT, THRESHOLD = 500.0, 475.0  # CartPole's
LOOKS = 30
Array = NDArray[np.float64]
Quantiles = Callable[[Array], Array]


def solved_or_failed(failing: float) -> Quantiles:
    """A share of runs fails with 50 to 350, the others end between 480 and CartPole's limit."""

    def quantiles(u: Array) -> Array:
        solved = (u - failing) / (1 - failing)
        return np.where(u < failing, 50 + 300 * u / failing, np.minimum(480 + 30 * solved, LIMIT))

    return quantiles


def below_limit(share: float, shortfall: float) -> Quantiles:
    """At CartPole's limit but for a share, which falls short by an exponential number of steps."""

    def quantiles(u: Array) -> Array:
        short = -shortfall * np.log(np.minimum(np.maximum(u, 1e-12) / share, 1))
        return np.maximum(LIMIT - short, 0)

    return quantiles


FINAL_RETURNS: dict[str, Quantiles] = {
    "normal": lambda u: stats.norm.ppf(u, 250, 50),
    "uniform": lambda u: LIMIT * u,
    "left-skewed (Gumbel)": lambda u: stats.gumbel_l.ppf(u, 250, 50),
    "right-skewed (lognormal)": lambda u: stats.lognorm.ppf(u, 1),
    "heavy tails (Student's t, 2 degrees)": lambda u: stats.t.ppf(u, 2),
    "LunarLander-like (280 − gamma)": lambda u: 280 - stats.gamma.ppf(1 - u, 1.5, scale=30),
    "CartPole-like, half at the limit": lambda u: np.minimum(stats.norm.ppf(u, LIMIT, 30), LIMIT),
    "CartPole-like, 60% at the limit": below_limit(0.4, 30),
    "CartPole-like, 80% at the limit": below_limit(0.2, 60),
    "10% of runs fail": solved_or_failed(0.1),
    "half of the runs fail": solved_or_failed(0.5),
    "30% of runs fail": solved_or_failed(0.3),
    "26% fail with 100, others 500": lambda u: np.where(u < 0.26, 100.0, LIMIT),
}

# An episode's return, with a mean of CartPole's threshold.
EPISODES: dict[str, Quantiles] = {
    "half at the limit, others 50 short on average": below_limit(0.5, 50),
    "80% at the limit, others 127 short": below_limit(0.2, 127),
    "90% at the limit, others fail with 150 to 350": lambda u: np.where(
        u < 0.1, 150 + 2000 * u, LIMIT
    ),
    "95% at the limit, others fall at once": lambda u: np.where(u < 0.05, 10.0, LIMIT),
    "normal (490, 60) below the limit": lambda u: np.minimum(stats.norm.ppf(u, 490, 60), LIMIT),
}

# Policies by their true mean; spread as measured of CartPole policies with such means.
POLICIES = {
    466: below_limit(0.35, 98),
    470: below_limit(0.35, 86.7),
    480: below_limit(0.3, 67),
    490: below_limit(0.15, 66.7),
}


def mean_of(
    quantiles: Quantiles, low: float = 0.0, high: float = 1.0, points: int = 400_000
) -> float:
    """Mean between two quantiles, ``∫ Q(u) du / (high - low)``."""
    return float(quantiles(low + (high - low) * (np.arange(points) + 0.5) / points).mean())


def true_interquartile_mean(quantiles: Quantiles) -> float:
    """Mean of the middle half."""
    return mean_of(quantiles, 0.25, 0.75)


def percentile_band(x: Array, rng: np.random.Generator, resamples: int = 2_000) -> Band:
    """What there was before: the percentile bootstrap of the interquartile mean."""
    n = len(x)
    drawn = np.sort(x[rng.integers(n, size=(resamples, n))], axis=1)[:, n // 4 : n - n // 4]
    low, high = np.quantile(drawn.mean(1), (0.025, 0.975), axis=0)
    return Band(np.full(x.shape[1], np.nan), low, high)


def mean_band(x: Array) -> Band:
    """What there was before: Student's t interval of the mean."""
    half = stats.t.ppf(0.975, len(x) - 1) * x.std(0, ddof=1) / np.sqrt(len(x))
    return Band(x.mean(0), x.mean(0) - half, x.mean(0) + half)


def coverage(band: Band, truth: float) -> float:
    """How often intervals cover the truth; one of no length covers what equals it."""
    rounding = 1e-9 * max(1.0, abs(truth))
    return float(np.mean((band.low <= truth + rounding) & (truth - rounding <= band.high)))


def within_range(quantiles: Quantiles, truth: float, runs: int) -> float:
    """The most that an interval within the range of the runs can cover."""
    values = quantiles((np.arange(400_000) + 0.5) / 400_000)
    rounding = 1e-9 * max(1.0, abs(truth))
    above, below = np.mean(values > truth + rounding), np.mean(values < truth - rounding)
    return float(1 - above**runs - below**runs)


def share_coverage(share: float, total: int) -> float:
    """How often Clopper and Pearson's interval covers a share; exact."""
    intervals = [share_interval(k, total) for k in range(total + 1)]
    hits = [i.low <= share <= i.high for i in intervals]
    return float(stats.binom.pmf(np.arange(total + 1), total, share) @ hits)


def verdicts(
    quantiles: Quantiles, episodes: int, repetitions: int, rng: np.random.Generator
) -> tuple[float, float]:
    """How often a policy exactly at a threshold is said to reach it, and not to."""
    returns, threshold = quantiles(rng.random((repetitions, episodes))), mean_of(quantiles)
    said = [
        reaches_threshold(m, s, episodes, threshold)
        for m, s in zip(returns.mean(1), returns.std(1, ddof=1), strict=True)
    ]
    return said.count("yes") / repetitions, said.count("no") / repetitions


def crossing(
    quantiles: Quantiles, between_looks: int, fresh: int, rng: np.random.Generator
) -> float:
    """Episodes until a policy that no longer changes is said to reach CartPole's threshold.

    Counted from when all of the last ``WINDOW`` episodes are its own; infinite if not within
    ``LOOKS`` looks.

    Args:
        quantiles: of its returns.
        between_looks: episodes between two looks.
        fresh: episodes that confirm a candidate; 0 for the rule of old, the first look.
        rng: random numbers.
    """
    returns = quantiles(rng.random(WINDOW + between_looks * (LOOKS - 1))).tolist()
    last_candidate = None
    for episodes in range(WINDOW, len(returns) + 1, between_looks):
        recent = returns[episodes - WINDOW : episodes]
        if is_candidate(recent, episodes, last_candidate, THRESHOLD):
            last_candidate = episodes
            if not fresh or confirms(quantiles(rng.random(fresh)).tolist(), THRESHOLD):
                return episodes - WINDOW
    return np.inf


def crossings(
    mean: int, between_looks: int, fresh: int, repetitions: int, rng: np.random.Generator
) -> Array:
    """Crossings of many runs whose policy stays at a true mean."""
    policy = POLICIES[mean]
    return np.array([crossing(policy, between_looks, fresh, rng) for _ in range(repetitions)])


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown, numbers to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def interquartile_means(repetitions: int, rng: np.random.Generator) -> str:
    sizes = (5, 6, 8, 10, 20)
    new, old = [], []
    for name, quantiles in FINAL_RETURNS.items():
        truth, mean = true_interquartile_mean(quantiles), mean_of(quantiles)
        samples = {n: quantiles(rng.random((n, repetitions))) for n in {*sizes, *RUNS}}
        found = [coverage(interquartile_mean_band(samples[n]), truth) for n in sizes]
        most = (within_range(quantiles, truth, n) for n in (3, 5, 10))
        new.append([name, *(f"{c:.1%}" for c in found), *(f"{c:.1%}" for c in most)])
        some = {n: samples[n][:, : repetitions // 4] for n in RUNS}
        old_found = [coverage(percentile_band(some[n], rng), truth) for n in RUNS]
        old_found += [coverage(mean_band(samples[n]), mean) for n in RUNS]
        old.append([name, *(f"{c:.0%}" for c in old_found)])
    return f"""## Interquartile mean over runs

Expanded percentile bootstrap, 95%, shown from {MIN_RUNS} runs on; {repetitions:,} samples of each
size. *Most possible* is what the range of the runs covers, the most that any interval within it
can: P(neither all runs above the truth nor all below). It is why three runs have no interval, and
why five that all succeed cannot say that 30% fail. At five runs the interval is their range; from
eight on it covers at least 90% of everything here.

{table(["a run's return", *(f"{n} runs" for n in sizes), "most possible: 3", "5", "10"], new)}
What there was before: the percentile bootstrap of the interquartile mean, and Student's t interval
of the mean (which also leaves the range that returns can have).

{table(["", *(f"percentile, {n}" for n in RUNS), *(f"t, {n}" for n in RUNS)], old)}"""


def shares() -> str:
    shares = np.linspace(0.001, 0.999, 999)
    rows = []
    for n in RUNS:
        covered = [share_coverage(p, n) for p in shares]
        some = [share_coverage(p, n) for p in (0.5, 0.7, 0.9)]
        rows.append([str(n), *(f"{c:.1%}" for c in (min(covered), np.mean(covered), *some))])
    header = ["runs", "least", "average over shares", "50%", "70%", "90%"]
    return f"""## Share of solved runs

Clopper and Pearson's interval; exact, over shares from 0.1 to 99.9%.

{table(header, rows)}"""


def evaluations(repetitions: int, rng: np.random.Generator) -> str:
    sizes = (MIN_EPISODES, 100, 200)
    rows = []
    for name, quantiles in EPISODES.items():
        row = [name, f"{mean_of(quantiles):.1f}"]
        for n in sizes:
            yes, no = verdicts(quantiles, n, repetitions, rng)
            row.append(f"{1 - yes - no:.1%} ({yes:.1%}, {no:.1%})")
        rows.append(row)
    header = ["an episode's return", "mean", *(f"{n} episodes" for n in sizes)]
    return f"""## One evaluation beside a threshold

A policy exactly at the threshold: how often Student's interval of n fresh episodes contains it
("too close"), and in brackets how often the verdict is "yes" and "no". Nearly all errors are "yes":
an evaluation that has missed the few bad episodes has a high mean and a small spread.
{repetitions:,} evaluations each.

{table(header, rows)}"""


def confirmations(repetitions: int, rng: np.random.Generator) -> str:
    rows = []
    for mean, quantiles in POLICIES.items():
        values = quantiles((np.arange(100_000) + 0.5) / 100_000)
        once = np.mean(quantiles(rng.random((20_000, 100))).mean(1) >= THRESHOLD)
        for between in (8, 16, 32):
            found = [crossings(mean, between, n, repetitions, rng) for n in (0, 100, 200, 400)]
            cells = (
                f"{np.isfinite(x).mean():.1%} ({np.mean(x[np.isfinite(x)]):.0f})"
                if np.isfinite(x).any()
                else "0.0%"
                for x in found
            )
            rows.append(
                [f"{values.mean():.0f} ± {values.std():.0f}", f"{once:.0%}", str(between), *cells]
            )
    header = ["policy stays at", "one evaluation", "episodes between looks", "first look"]
    header += [f"confirmed by {n}" for n in (100, 200, 400)]
    return f"""## When is CartPole's threshold of {THRESHOLD:g} reached?

How often a policy that stays at a true mean (± spread of its episodes) passes, by one evaluation of
100 episodes, and by the crossing rule within {LOOKS} looks at the last {WINDOW} episodes of
training: at the first look, or confirmed by 100, 200, 400 fresh episodes. In brackets the mean
number of episodes from when the window is full until it is said, of those that pass. The rule is
with {CONFIRMING_EPISODES}, so that {LOOKS} looks err about as often as one evaluation does.
{repetitions:,} runs each.

{table(header, rows)}"""


@click.command()
@click.option("--repetitions", default=10_000, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(repetitions: int, seed: int) -> None:
    """Simulate, print the tables and write them to benchmarks/coverage.md."""
    rng = np.random.default_rng(seed)
    parts = (
        "# Coverage of intervals over runs\n\nWritten by `python benchmarks/coverage.py`.\n",
        interquartile_means(repetitions, rng),
        shares(),
        evaluations(repetitions, rng),
        confirmations(repetitions // 4, rng),
    )
    text = "\n".join(parts)
    print(text)
    REPORT.write_text(text)


if __name__ == "__main__":
    main()
