import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pgzoo.estimators import (
    AGGREGATIONS,
    aggregation_weights,
    discount_weights,
    root_mean_square,
    step_mean,
)

T, F = True, False
MASK = torch.tensor([[T, T, T], [T, F, F]])


def test_weights_by_hand():
    def weights(name):
        return aggregation_weights(MASK, name).tolist()

    assert weights("sum") == [[0.5, 0.5, 0.5], [0.5, 0, 0]]
    assert weights("step-mean") == [[0.25, 0.25, 0.25], [0.25, 0, 0]]
    sixth = pytest.approx(1 / 6)
    assert weights("trajectory-mean") == [[sixth, sixth, sixth], [0.5, 0, 0]]


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_replicas_are_weighted_apart(name):
    other = torch.tensor([[T, T, F], [T, T, F]])
    both = aggregation_weights(torch.stack([MASK, other]), name)
    torch.testing.assert_close(both[0], aggregation_weights(MASK, name))
    torch.testing.assert_close(both[1], aggregation_weights(other, name))


@pytest.mark.parametrize("name", AGGREGATIONS)
@given(seed=st.integers(0, 1000), rows=st.integers(0, 3), steps=st.integers(0, 3))
def test_padding_changes_nothing(name, seed, rows, steps):
    """Rows and steps that are there only because another replica has more of them."""
    rng = np.random.default_rng(seed)
    mask = torch.from_numpy(rng.random((2, 4, 5)) < rng.random())
    padded = torch.nn.functional.pad(mask, (0, steps, 0, rows))
    weights = aggregation_weights(padded, name)
    assert torch.equal(weights[..., :4, :5], aggregation_weights(mask, name))
    assert weights.count_nonzero() == mask.sum()


def test_without_padding_n_is_the_number_of_rows():
    lengths = torch.randint(1, 200, (3, 7, 1))
    mask = torch.arange(200) < lengths
    steps = mask.float()
    assert torch.equal(aggregation_weights(mask, "sum"), steps / 7)
    assert torch.equal(aggregation_weights(mask, "trajectory-mean"), steps / (7 * lengths.float()))


def test_unknown_aggregation():
    with pytest.raises(ValueError, match="got 'median'"):
        aggregation_weights(MASK, "median")


def test_step_mean_by_hand():
    x = torch.tensor([[1.0, 2.0, 3.0], [6.0, torch.nan, 99.0]])
    assert step_mean(x, MASK).item() == 3
    assert step_mean(torch.stack([x, 2 * x]), torch.stack([MASK, MASK & F])).tolist() == [3, 0]


def test_step_mean_is_the_sum_that_step_mean_weighs():
    x, mask = torch.randn(2, 4, 5), torch.rand(2, 4, 5) < 0.5
    want = (aggregation_weights(mask, "step-mean") * x).sum((1, 2))
    torch.testing.assert_close(step_mean(x, mask), want)


def test_discount_weights():
    assert discount_weights(MASK, 0.5).tolist() == [1, 0.5, 0.25]
    assert discount_weights(MASK, 0.0).tolist() == [1, 0, 0]


def test_root_mean_square():
    psi = torch.tensor([[1.0, 2.0, 2.0], [4.0, torch.nan, 7.0]])
    assert root_mean_square(psi, MASK).item() == pytest.approx((25 / 4) ** 0.5)
