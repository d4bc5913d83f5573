"""One sentence for every pair, never stronger than the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from pgzoo.compare.efficiency import Saving
from pgzoo.compare.pairs import Pair, least_runs
from pgzoo.compare.permutation import decidable
from pgzoo.compare.power import MOST_SEEDS
from pgzoo.records.intervals import Interval
from pgzoo.records.significance import SIGNIFICANT

NUMERALS = [
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]


def return_in_words(
    pair: Pair, comparisons: int, difference: float | None = None, more: int | None = None
) -> str:
    """Which of two contenders ends with the higher return, or that it is undecided.

    Args:
        pair: theirs.
        comparisons: over how many pairs p-values were corrected.
        difference: in return, that would matter, if it was asked what it would take.
        more: further seeds each that would tell it, from ``seeds_needed``.
    """
    if pair.better is None:
        outlook = "" if difference is None else f"; {_outlook(difference, more)}"
        return _undecided(pair, comparisons) + _failures(pair) + outlook
    other, swapped = _other(pair.first, pair.second, pair.better)
    probability = _complement(pair.probability) if swapped else pair.probability
    # The test is of one distribution for both, the interval holds for any two.
    ends = "ends" if probability.low > 0.5 else "seems to end"
    text = f"{pair.better} {ends} higher than {other}: "
    text += f"a run of it is better with probability {_interval(probability)}"
    if not np.isnan(pair.difference.point):
        apart = _negative(pair.difference) if swapped else pair.difference
        text += f", interquartile means {apart} apart"
    return f"{text}; {_significance(pair.corrected, comparisons)}" + _failures(pair)


def steps_in_words(saving: Saving, comparisons: int, threshold: float, unit: str = "steps") -> str:
    """Which of two contenders needs fewer steps (or seconds) to a threshold.

    Args:
        saving: theirs.
        comparisons: over how many pairs p-values were corrected.
        threshold: the return to reach.
        unit: of what is saved.
    """
    if saving.faster is None:
        if not any(saving.reached):
            what = f"neither reached {threshold:g} within {saving.budget:,.0f} {unit}"
            return f"{saving.first} and {saving.second}: {what}"
        return _undecided(saving, comparisons) + _censored(saving, threshold, unit)
    other, swapped = _other(saving.first, saving.second, saving.faster)
    ratio = _inverse(saving.ratio) if swapped else saving.ratio
    needs = "seems to need" if ratio.high >= 1 else "needs"
    text = f"{saving.faster} {needs} fewer {unit} to {threshold:g} than {other}: "
    text += f"{_interval(ratio)} times as many; {_significance(saving.corrected, comparisons)}"
    return text + _censored(saving, threshold, unit)


def too_few_in_words(runs: Sequence[int], comparisons: int) -> str | None:
    """That no pair can be decided with so few runs; None if some can.

    Args:
        runs: of every contender.
        comparisons: how many pairs there are.
    """
    if any(decidable(list(combinations(runs, 2)))):
        return None
    many = _numeral(runs[0]) if len(set(runs)) == 1 else f"{min(runs)} to {max(runs)}"
    return _too_few(f"{many} {_runs(max(runs))} each", comparisons)


def _too_few(runs: str, comparisons: int) -> str:
    pairs = "a pair" if comparisons == 1 else f"any of {comparisons} pairs"
    return f"{runs} cannot decide {pairs}: at least {_numeral(least_runs(comparisons))} are needed"


def _undecided(found: Pair | Saving, comparisons: int) -> str:
    text = f"{found.first} and {found.second}: undecided"
    if found.decidable:
        return f"{text} ({_significance(found.corrected, comparisons)})"
    m, n = found.runs
    runs = f"{_numeral(m)} {_runs(m)} each" if m == n else f"{m} and {n} runs"
    return f"{text}: {_too_few(runs, comparisons)}"


def _outlook(difference: float, more: int | None) -> str:
    if more is None:
        return (
            f"what would tell a difference of {difference:g} is unknown, or more than "
            f"{MOST_SEEDS:,} seeds each"
        )
    if more == 0:
        return f"so many seeds would tell a difference of {difference:g} four times in five"
    seeds = "seed" if more == 1 else "seeds"
    return f"{more} more {seeds} each would tell a difference of {difference:g}"


def _significance(corrected: float, comparisons: int) -> str:
    digits = 4 if round(corrected, 3) == SIGNIFICANT else 3
    p = "p < 0.001" if corrected < 0.001 else f"p = {corrected:.{digits}f}"
    return p if comparisons == 1 else f"{p} after correction for {comparisons} comparisons"


def _failures(pair: Pair) -> str:
    return "".join(
        f"; {failed} of {runs} runs of {label} failed and {_count(failed)} as worst"
        for label, failed, runs in zip(
            (pair.first, pair.second), pair.failed, pair.runs, strict=True
        )
        if failed
    )


def _censored(saving: Saving, threshold: float, unit: str) -> str:
    labels = (saving.first, saving.second)
    return "".join(
        f"; {runs - reached} of {runs} runs of {label} did not reach {threshold:g} and "
        f"{_count(runs - reached)} as {saving.budget:,.0f} {unit}"
        for label, reached, runs in zip(labels, saving.reached, saving.runs, strict=True)
        if reached < runs
    )


def _other(first: str, second: str, one: str) -> tuple[str, bool]:
    """The other of two, and whether that is the first."""
    return (second, False) if one == first else (first, True)


def _complement(share: Interval) -> Interval:
    return Interval(1 - share.point, 1 - share.high, 1 - share.low)


def _negative(difference: Interval) -> Interval:
    return Interval(-difference.point, -difference.high, -difference.low)


def _inverse(ratio: Interval) -> Interval:
    low = np.inf if ratio.low == 0 else 1 / ratio.low
    return Interval(1 / ratio.point, 1 / ratio.high, low)


def _interval(share: Interval) -> str:
    """With two decimals, for ratios and probabilities."""
    if np.isnan(share.low):
        return f"{share.point:.2f}"
    return f"{share.point:.2f} [{share.low:.2f}, {share.high:.2f}]"


def _numeral(number: int) -> str:
    return NUMERALS[number] if number < len(NUMERALS) else str(number)


def _runs(number: int) -> str:
    return "run" if number == 1 else "runs"


def _count(number: int) -> str:
    return "counts" if number == 1 else "count"
