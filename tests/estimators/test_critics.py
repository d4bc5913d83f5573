import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pgzoo.estimators import (
    all_actions_surrogate,
    centered_action_values,
    clipped_value_loss,
    explained_variance,
)

T, F = True, False
MASK = torch.tensor([[T, T], [T, F]])
TARGET = torch.tensor([[1.0, 2.0], [3.0, torch.nan]])


def test_explained_variance_by_hand():
    half_way = torch.tensor([[1.5, 2.0], [2.5, -7.0]])
    for prediction, share in ((TARGET, 1), (TARGET * 0, 0), (-TARGET, -3), (half_way, 0.75)):
        assert explained_variance(prediction, TARGET, MASK).item() == pytest.approx(share)


def test_variance_is_explained_whatever_the_mean_is():
    found = explained_variance(TARGET + 5, TARGET, MASK)
    assert found.item() == pytest.approx(1)


def test_replicas_are_explained_apart():
    both = torch.stack([TARGET * 0, TARGET])
    found = explained_variance(both, TARGET.expand(2, 2, 2), MASK.expand(2, 2, 2))
    torch.testing.assert_close(found, torch.tensor([0.0, 1.0]))


def test_clipped_value_loss_by_hand():
    value, old, target = torch.tensor([2.0, 2.0, 1.2]), torch.ones(3), torch.tensor([3.0, 0.0, 0.0])
    # predictions clipped to 1.5, 1.5 and 1.2; the larger error counts
    got = clipped_value_loss(value, old, target, 0.5)
    torch.testing.assert_close(got, torch.tensor([1.5**2, 2.0**2, 1.2**2]))
    plain = clipped_value_loss(value, old, target, 0)
    torch.testing.assert_close(plain, torch.tensor([1.0, 4.0, 1.44]))


@given(st.integers(0, 100), st.floats(0.1, 2))
def test_a_prediction_gains_nothing_by_going_further_than_the_clip(seed, clip):
    g = torch.Generator().manual_seed(seed)
    value, old, target = torch.randn(3, 200, generator=g, dtype=torch.float64)
    value = value.requires_grad_()
    loss = clipped_value_loss(value, old, target, clip)
    (slope,) = torch.autograd.grad(loss.sum(), value)
    closer = ((target - value) * (target - old) > 0) & ((value - old) * (target - old) > 0)
    gone_far = closer & ((value - old).abs() > clip)
    assert gone_far.any()
    assert not slope[gone_far].any()
    near = (value - old).abs() < clip
    torch.testing.assert_close(slope[near], 2 * (value - target)[near])
    assert (loss >= (value - target).square()).all()


@given(st.integers(0, 100))
def test_centred_action_values_expect_nothing_and_change_no_gradient(seed):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(4, 5, 3, generator=g, dtype=torch.float64, requires_grad=True)
    q = torch.randn(4, 5, 3, generator=g, dtype=torch.float64)
    log_probs = logits.log_softmax(-1)
    psi = centered_action_values(q, log_probs.detach())
    expected = (log_probs.exp() * psi).sum(-1)
    torch.testing.assert_close(expected, torch.zeros_like(expected))
    torch.testing.assert_close(psi - psi[..., :1], q - q[..., :1])
    got, want = (
        torch.autograd.grad(all_actions_surrogate(log_probs, x).sum(), logits, retain_graph=True)
        for x in (psi, q)
    )
    torch.testing.assert_close(got, want)
