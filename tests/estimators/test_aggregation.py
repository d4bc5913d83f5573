import pytest
import torch

from pgzoo.estimators import AGGREGATIONS, aggregation_weights, discount_weights, root_mean_square

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


def test_unknown_aggregation():
    with pytest.raises(ValueError, match="got 'median'"):
        aggregation_weights(MASK, "median")


def test_discount_weights():
    assert discount_weights(MASK, 0.5).tolist() == [1, 0.5, 0.25]
    assert discount_weights(MASK, 0.0).tolist() == [1, 0, 0]


def test_root_mean_square():
    psi = torch.tensor([[1.0, 2.0, 2.0], [4.0, torch.nan, 7.0]])
    assert root_mean_square(psi, MASK).item() == pytest.approx((25 / 4) ** 0.5)
