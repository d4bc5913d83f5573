import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pgzoo.estimators.order import powers, sum_in_order


@given(
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=40),
    st.lists(st.integers(0, 5), min_size=40, max_size=40),
)
def test_zeros_anywhere_change_no_bit(numbers, gaps):
    spread = [x for number, gap in zip(numbers, gaps, strict=False) for x in (*[0.0] * gap, number)]
    short, long = torch.tensor(numbers), torch.tensor([*spread, *[0.0] * 100])
    assert torch.equal(sum_in_order(short), sum_in_order(long))


def test_it_is_the_sum_over_the_last_axes_and_differentiable():
    x = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(sum_in_order(x), x.sum(-1))
    torch.testing.assert_close(sum_in_order(x, 2), x.sum((-2, -1)))
    (gradient,) = torch.autograd.grad(sum_in_order(x, 2).sum(), x)
    assert torch.equal(gradient, torch.ones_like(x))
    assert sum_in_order(torch.empty(2, 0)).tolist() == [0, 0]


@pytest.mark.parametrize("base", [0.0, 0.5, 0.99, 1.0])
def test_powers(base):
    assert powers(base, 5).tolist() == pytest.approx([base**t for t in range(5)], rel=1e-7)
