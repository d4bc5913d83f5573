import numpy as np
import pytest

from pgzoo.lab.check.gradient import (
    BIAS_MARGIN,
    OPPOSITE,
    RESCALED,
    RIGHT,
    UNDECIDED,
    WRONG,
    gradient_test,
)
from pgzoo.lab.check.problems import check_problems
from tests.lab.check import estimators

PROBLEMS = check_problems(4)
ONE_LOOK = (60_000,)


@pytest.mark.parametrize(
    ("psi", "status"),
    [
        (estimators.rloo, RIGHT),
        (estimators.mean_of_the_group, RESCALED),
        (estimators.descent, OPPOSITE),
        (estimators.group_standardised, WRONG),
    ],
)
def test_status(psi, status):
    found = gradient_test(psi, PROBLEMS, seed=100)
    assert found.status == status
    assert (found.p_value < 1e-6) == (status != RIGHT)
    assert (found.p_direction < 1e-6) == (status == WRONG)


def test_scale_of_the_group_mean_is_known_to_three_digits():
    for k in (2, 5):
        found = gradient_test(estimators.mean_of_the_group, check_problems(k), seed=100)
        assert list(found.scales.values()) == pytest.approx([1 - 1 / k] * 6, abs=2e-3)


@pytest.mark.parametrize(("group_size", "episodes"), [(4, 4), (1, 2), (2, 2)])
def test_one_group_is_enough(group_size, episodes):
    problems = check_problems(group_size, episodes)
    right = gradient_test(estimators.neighbour, problems, seed=100)
    assert right.status == RIGHT
    wrong = gradient_test(estimators.mean_of_the_batch, problems, seed=100)
    assert wrong.status == RESCALED
    assert list(wrong.scales.values()) == pytest.approx([1 - 1 / episodes] * 6, abs=5e-3)


def test_both_conventions_of_the_discount():
    def target(psi):
        found = gradient_test(psi, PROBLEMS, gamma=0.9, seed=100)
        return found.status, found.target

    assert target(estimators.discounted_from_the_start) == (RIGHT, "discounted")
    assert target(estimators.discounted_whole_return) == (RIGHT, "discounted")
    assert target(estimators.discounted_to_go) == (RIGHT, "to-go")
    assert target(estimators.reward_to_go)[0] == WRONG


def test_the_standard_error_is_one():
    """Of scale, for an estimator that its control variates leave some noise."""
    z = []
    for seed in range(100, 130):
        found = gradient_test(estimators.median_of_the_others, PROBLEMS, seed=seed, looks=(30_000,))
        z += [(c.scale - 1) / c.scale_error for c in found.comparisons]
        assert found.p_value > 1e-4
    assert len(z) == 180
    assert 0.85 < np.std(z) < 1.15
    assert abs(np.mean(z)) < 0.25


def test_what_is_too_noisy_is_not_decided_and_does_not_pass():
    def noisy(t):
        others = estimators.returns(t).roll(1, 1) ** 2
        return estimators.reward_to_go(t) + 30 * others.unsqueeze(-1) * t.mask

    found = gradient_test(noisy, PROBLEMS, seed=100, looks=(12_000,))
    assert found.status == UNDECIDED
    assert max(c.bias for c in found.comparisons) > BIAS_MARGIN


def test_seconds_end_it_before_the_next_look():
    found = gradient_test(estimators.best_of_the_others, PROBLEMS, seed=100, seconds=0.0)
    assert found.status == UNDECIDED
    assert found.steps < 50_000


def test_relative_variance_is_that_of_plain_estimates():
    found = gradient_test(estimators.reward_to_go, PROBLEMS, seed=100, looks=ONE_LOOK)
    for spread in found.spread:
        assert spread.own == pytest.approx(spread.returns_to_go, rel=0.02)
        assert spread.constant_baseline < spread.returns_to_go
    better = gradient_test(estimators.rloo_per_step, PROBLEMS, seed=100, looks=ONE_LOOK)
    assert better.spread[3].own < 0.5 * better.spread[3].returns_to_go  # contexts


def test_a_seed_repeats():
    one, two = (gradient_test(estimators.rloo, PROBLEMS, seed=101) for _ in range(2))
    assert one.comparisons == two.comparisons
