import numpy as np
import pytest

from benchmarks.comparisons import sequential_errors
from pgzoo.compare.permutation import rank_test
from pgzoo.compare.sequential import decide, shares_of_level
from pgzoo.errors import UsageError


def test_looks_that_cannot_decide_have_no_share_of_the_level():
    np.testing.assert_allclose(shares_of_level(4, 5, 1, 0.05), [0, 2 / 9, 3 / 9, 4 / 9])
    np.testing.assert_allclose(shares_of_level(3, 10, 1, 0.05), np.array([1, 2, 3]) / 6)
    np.testing.assert_allclose(shares_of_level(2, 3, 45, 0.05), [0, 1])


def test_what_is_decided_trains_no_more():
    rng = np.random.default_rng(0)
    first = {"a": [rng.normal(size=10)], "b": [rng.normal(size=10)], "c": [rng.normal(size=10) + 9]}
    found = decide(first, 3)
    assert found.better == {("a", "c"): "c", ("b", "c"): "c"}
    assert found.undecided == (("a", "b"),)
    assert found.go_on == ("a", "b")
    second = {k: [*v, rng.normal(size=10)] if k != "c" else v for k, v in first.items()}
    found = decide(second, 3)
    assert found.better == {("a", "c"): "c", ("b", "c"): "c"}
    assert (found.looks, found.go_on) == (2, ("a", "b"))
    assert decide(second, 3) == found
    assert decide(second, 2).go_on == ()


def test_failed_runs_are_the_worst():
    found = decide({"a": [[np.nan] * 10], "b": [np.arange(10) - 1e6]}, 1)
    assert found.better == {("a", "b"): "b"}


def test_a_single_look_is_the_test_itself():
    rng = np.random.default_rng(0)
    for _ in range(50):
        x, y = rng.normal(size=10), rng.normal(size=10) + 1
        decided = bool(decide({"x": [x], "y": [y]}, 1).better)
        assert decided == (rank_test(x, y) <= 0.05)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ({"a": [[1, 2], [3]], "b": [[1, 2]]}, "of one size"),
        ({"a": [[1]] * 3, "b": [[1]] * 3}, "one to 2 batches"),
        ({"a": [], "b": []}, "one to 2 batches"),
        ({"a": [[1, 2]] * 2, "b": [[1, 2]]}, "Expected 2 batches of b"),
    ],
)
def test_bad_batches(batches, message):
    with pytest.raises(UsageError, match=message):
        decide(batches, 2)


@pytest.mark.parametrize(
    ("team", "repetitions"), [("two, LunarLander-like", 600), ("ten, 10% of runs fail", 60)]
)
def test_family_wise_error_over_all_looks(team, repetitions):
    false, _, trained = sequential_errors(team, 5, 4, repetitions, np.random.default_rng(0))
    assert false < (0.06 if repetitions > 100 else 0.1)
    assert trained > 19


@pytest.mark.parametrize(("size", "looks"), [(3, 6), (10, 2)])
def test_family_wise_error_of_other_plans(size, looks):
    rng = np.random.default_rng(0)
    false, _, _ = sequential_errors("two, LunarLander-like", size, looks, 400, rng)
    assert false < 0.065


def test_looking_again_and_again_at_the_full_level_errs_more_often():
    """What the shares of the level are for."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 600, 20))
    naive = [
        any(rank_test(a[:n], b[:n]) <= 0.05 for n in (5, 10, 15, 20))
        for a, b in zip(x, y, strict=True)
    ]
    assert np.mean(naive) > 0.085


def test_it_saves_seeds_where_contenders_differ():
    rng = np.random.default_rng(0)
    _, true, trained = sequential_errors("two, a spread apart", 5, 4, 300, rng)
    assert true > 0.65
    assert trained < 17.5
