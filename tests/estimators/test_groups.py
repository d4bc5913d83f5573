import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pgzoo.estimators import (
    group_center,
    group_standardize,
    leave_one_out,
    leave_one_out_per_step,
    whiten,
)

RETURNS = torch.tensor([1.0, 2.0, 6.0, 10.0, 10.0, 40.0])  # two groups of three
T, F = True, False


def test_by_hand():
    assert group_center(RETURNS, 3).tolist() == [-2, -1, 3, -10, -10, 20]
    assert leave_one_out(RETURNS, 3).tolist() == [-3, -1.5, 4.5, -15, -15, 30]
    first = torch.tensor([-2.0, -1.0, 3.0]) / 7**0.5  # Bessel-corrected: (4 + 1 + 9) / 2
    torch.testing.assert_close(group_standardize(RETURNS, 3, eps=0.0)[:3], first)
    with_eps = torch.tensor([-2.0, -1.0, 3.0]) / (7**0.5 + 0.5)
    torch.testing.assert_close(group_standardize(RETURNS, 3, eps=0.5)[:3], with_eps)


@given(
    st.integers(2, 5).flatmap(
        lambda k: st.tuples(
            st.just(k),
            st.lists(
                st.lists(st.floats(-100, 100), min_size=k, max_size=k), min_size=1, max_size=4
            ),
        )
    )
)
def test_leave_one_out_is_k_over_k_minus_1_times_centred(case):
    k, groups = case
    returns = torch.tensor(groups, dtype=torch.float64).flatten()
    got = leave_one_out(returns, k)
    torch.testing.assert_close(got, group_center(returns, k) * k / (k - 1))
    for i, value in enumerate(returns):
        others = [r for j, r in enumerate(returns) if j // k == i // k and j != i]
        torch.testing.assert_close(got[i], value - sum(others) / (k - 1))


def test_equal_returns_say_nothing():
    for function in (group_center, group_standardize, leave_one_out):
        assert not function(torch.full((6,), 7.0), 3).any()


def test_a_group_of_one():
    assert torch.equal(group_center(RETURNS, 1), RETURNS)
    assert torch.equal(group_standardize(RETURNS, 1), RETURNS)
    with pytest.raises(ValueError, match="at least 2, got 1"):
        leave_one_out(RETURNS, 1)
    with pytest.raises(ValueError, match="at least 2, got 1"):
        leave_one_out_per_step(RETURNS[:, None], RETURNS[:, None].bool(), 1)


@pytest.mark.parametrize("function", [group_center, group_standardize, leave_one_out])
def test_groups_must_fill_the_batch(function):
    with pytest.raises(ValueError, match="group size of 4 divides, got 6"):
        function(RETURNS, 4)


def test_leave_one_out_per_step_by_hand():
    returns = torch.tensor([[6.0, 3.0, 1.0], [2.0, 1.0, torch.nan], [4.0, torch.nan, torch.nan]])
    mask = torch.tensor([[T, T, T], [T, T, F], [T, F, F]])
    got = leave_one_out_per_step(returns, mask, 3)
    assert got.tolist() == [[6 - 3, 3 - 1, 1], [2 - 5, 1 - 3, 0], [4 - 4, 0, 0]]


def test_whiten_by_hand():
    psi = torch.tensor([[1.0, 2.0], [6.0, torch.nan]])
    mask = torch.tensor([[T, T], [T, F]])
    want = torch.tensor([[-2.0, -1.0], [3.0, 0.0]]) / 7**0.5
    torch.testing.assert_close(whiten(psi, mask, eps=0.0), want)
    inside = torch.tensor([[-2.0, -1.0], [3.0, 0.0]]) / (7 + 9) ** 0.5  # eps is under the root
    torch.testing.assert_close(whiten(psi, mask, eps=9.0), inside)


def test_leading_axes_are_free():
    both = torch.stack([RETURNS, RETURNS.flip(0)])[:, None]
    for function in (group_center, group_standardize, leave_one_out):
        torch.testing.assert_close(function(both, 3)[1, 0], function(RETURNS.flip(0), 3))
