import dataclasses

import numpy as np
import pytest

from pgzoo.compare.efficiency import Saving
from pgzoo.compare.pairs import Pair
from pgzoo.compare.verdicts import return_in_words, steps_in_words, too_few_in_words
from pgzoo.records.intervals import Interval

NAN = np.nan
PAIR = Pair(
    first="ppo",
    second="rloo",
    probability=Interval(0.93, 0.61, 0.998),
    difference=Interval(12.3, 4.5, 20.0),
    p=0.0001,
    corrected=0.004,
    rank_correlation=0.1,
    decidable=True,
    runs=(10, 10),
    failed=(0, 0),
)
SAVING = Saving(
    first="ppo",
    second="rloo",
    ratio=Interval(0.62, 0.51, 0.74),
    difference=Interval(-40_000, -52_000, -26_000),
    p=0.0001,
    corrected=0.004,
    budget=100_000,
    reached=(10, 10),
    runs=(10, 10),
    decidable=True,
)


def changed(found, **fields):
    return dataclasses.replace(found, **fields)


def test_steps():
    assert steps_in_words(SAVING, 45, 475) == (
        "ppo needs fewer steps to 475 than rloo: 0.62 [0.51, 0.74] times as many; "
        "p = 0.004 after correction for 45 comparisons"
    )
    reverse = changed(
        SAVING, ratio=Interval(2, 1.25, 4), difference=Interval(9, 1, 20), corrected=0.0001
    )
    assert steps_in_words(reverse, 1, 475, "seconds") == (
        "rloo needs fewer seconds to 475 than ppo: 0.50 [0.25, 0.80] times as many; p < 0.001"
    )


def test_censored_runs_are_named():
    found = steps_in_words(changed(SAVING, reached=(9, 0)), 1, 475)
    assert found.endswith(
        "p = 0.004; 1 of 10 runs of ppo did not reach 475 and counts as 100,000 steps; "
        "10 of 10 runs of rloo did not reach 475 and count as 100,000 steps"
    )
    neither = changed(SAVING, reached=(0, 0), corrected=1.0)
    assert steps_in_words(neither, 3, 475) == (
        "ppo and rloo: neither reached 475 within 100,000 steps"
    )


def test_an_interval_that_contains_none_at_all_makes_it_seem():
    wide = changed(SAVING, ratio=Interval(0.62, 0.4, 1.05))
    assert steps_in_words(wide, 1, 475) == (
        "ppo seems to need fewer steps to 475 than rloo: 0.62 [0.40, 1.05] times as many; p = 0.004"
    )
    wide = changed(PAIR, probability=Interval(0.78, 0.45, 0.95))
    assert return_in_words(wide, 1).startswith("ppo seems to end higher than rloo: ")


def test_returns():
    assert return_in_words(PAIR, 45) == (
        "ppo ends higher than rloo: a run of it is better with probability 0.93 [0.61, 1.00], "
        "interquartile means 12.3 [4.5, 20.0] apart; "
        "p = 0.004 after correction for 45 comparisons"
    )
    reverse = changed(
        PAIR,
        probability=Interval(0.1, 0, 0.4),
        difference=Interval(NAN, NAN, NAN),
        failed=(1, 0),
    )
    assert return_in_words(reverse, 1) == (
        "rloo ends higher than ppo: a run of it is better with probability 0.90 [0.60, 1.00]; "
        "p = 0.004; 1 of 10 runs of ppo failed and counts as worst"
    )
    few = changed(reverse, difference=Interval(-3, NAN, NAN))
    assert "interquartile means 3.0 apart;" in return_in_words(few, 1)


@pytest.mark.parametrize(
    ("more", "outlook"),
    [
        (12, "12 more seeds each would tell a difference of 20"),
        (1, "1 more seed each would tell a difference of 20"),
        (0, "so many seeds would tell a difference of 20 four times in five"),
        (None, "what would tell a difference of 20 is unknown, or more than 1,000 seeds each"),
    ],
)
def test_undecided(more, outlook):
    undecided = changed(PAIR, corrected=0.312)
    start = "ppo and rloo: undecided (p = 0.312 after correction for 45 comparisons)"
    assert return_in_words(undecided, 45, 20, more) == f"{start}; {outlook}"
    assert return_in_words(undecided, 45) == start
    assert steps_in_words(changed(SAVING, corrected=0.312), 45, 475) == start


def test_nothing_is_rounded_to_the_edge():
    assert "(p = 0.0502)" in return_in_words(changed(PAIR, corrected=0.0502), 1)


def test_too_few_runs():
    text = "three runs each cannot decide any of 45 pairs: at least seven are needed"
    undecided = changed(PAIR, corrected=1.0, decidable=False, runs=(3, 3))
    assert return_in_words(undecided, 45) == f"ppo and rloo: undecided: {text}"
    assert too_few_in_words([3] * 10, 45) == text
    assert too_few_in_words([3, 3], 1) == (
        "three runs each cannot decide a pair: at least four are needed"
    )
    assert too_few_in_words([1, 3, 2], 3).startswith("1 to 3 runs each cannot decide any of 3")
    assert too_few_in_words([7] * 10, 45) is None
