import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pgzoo.estimators import (
    AGGREGATIONS,
    aggregation_weights,
    all_actions_surrogate,
    clipped_surrogate,
    clipped_weight,
    importance_ratio,
    is_clipped,
    score_function_surrogate,
    trajectory_ratio,
)

CLIP = 0.2


def gradient(function, log_prob):
    leaf = log_prob.clone().requires_grad_()
    function(leaf).sum().backward()
    return leaf.grad


def test_score_function_puts_psi_on_the_score():
    psi = torch.tensor([1.0, -2.0, 0.5])
    got = gradient(lambda lp: score_function_surrogate(lp, psi), torch.randn(3))
    assert torch.equal(got, psi)


# Either side of either boundary of the trust region, for either sign of Ψ.
CASES = [
    (0.79, 1.0, 0.79),
    (0.81, 1.0, 0.81),
    (1.19, 1.0, 1.19),
    (1.21, 1.0, 0.0),
    (0.79, -1.0, 0.0),
    (0.81, -1.0, -0.81),
    (1.19, -1.0, -1.19),
    (1.21, -1.0, -1.21),
]


@pytest.mark.parametrize(("ratio", "psi", "weight"), CASES)
def test_clipped_gradient_is_the_effective_weight_by_hand(ratio, psi, weight):
    old = torch.tensor([-1.3])
    log_prob = old + torch.tensor([ratio]).log()
    psi_t, mask = torch.tensor([psi]), torch.tensor([True])

    def objective(lp):
        return clipped_surrogate(importance_ratio(lp, old, mask), psi_t, CLIP)

    assert gradient(objective, log_prob).item() == pytest.approx(weight, abs=1e-6)
    got = clipped_weight(torch.tensor([ratio]), psi_t, CLIP)
    assert got.item() == pytest.approx(weight, abs=1e-6)
    assert is_clipped(torch.tensor([ratio]), psi_t, CLIP).item() == (weight == 0)


@given(st.floats(-1, 1), st.floats(-3, 3), st.floats(0.05, 0.5))
def test_clipped_gradient_is_its_effective_weight_times_the_score(log_ratio, psi, clip):
    old, psi_t = torch.tensor([-1.0], dtype=torch.float64), torch.tensor([psi]).double()
    mask = torch.tensor([True])
    log_prob = old + log_ratio
    ratio = importance_ratio(log_prob, old, mask)
    if min((ratio - 1 - clip).abs(), (ratio - 1 + clip).abs()) < 1e-6:
        return  # on the boundary itself either side's gradient is right
    got = gradient(
        lambda lp: clipped_surrogate(importance_ratio(lp, old, mask), psi_t, clip), log_prob
    )
    torch.testing.assert_close(got, clipped_weight(ratio, psi_t, clip))


def test_at_ratio_1_clipped_and_plain_gradients_agree():
    psi, old = torch.randn(50), torch.randn(50)
    mask = torch.ones(50, dtype=torch.bool)
    clipped = gradient(
        lambda lp: clipped_surrogate(importance_ratio(lp, old, mask), psi, CLIP), old
    )
    torch.testing.assert_close(clipped, psi)


def test_trajectory_ratio_is_the_geometric_mean_of_the_steps():
    old = torch.zeros(2, 3)
    log_prob = torch.tensor([[0.1, 0.2, 0.6], [0.4, -0.4, 9.0]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    got = trajectory_ratio(log_prob, old, mask)
    torch.testing.assert_close(got[0], torch.tensor([0.3, 0.3, 0.3]).exp())
    torch.testing.assert_close(got[1], torch.ones(3))


def random_policies(seed, lengths=(6, 4, 1)):
    """Log-probabilities of a near policy and of the one that acted; NaN in the padding."""
    g = torch.Generator().manual_seed(seed)
    mask = torch.arange(6) < torch.tensor(lengths)[:, None]
    old = -torch.rand(3, 6, generator=g, dtype=torch.float64)
    log_prob = old + 0.1 * torch.randn(3, 6, generator=g, dtype=torch.float64)
    psi = torch.randn(3, 6, generator=g, dtype=torch.float64)
    return torch.where(mask, log_prob, torch.nan), old, psi, mask


def geometric_mean(log_prob, old_log_prob, mask):
    """GSPO's own ratio, whose gradient belongs to the whole trajectory."""
    difference = torch.where(mask, log_prob - old_log_prob, 0)
    mean = difference.sum(-1, keepdim=True) / mask.sum(-1, keepdim=True)
    return mean.exp().expand(mask.shape)


@given(st.integers(0, 200))
def test_trajectory_ratio_lets_every_step_keep_its_own_psi(seed):
    """Effective weight s·Ψ_t, where one ratio per trajectory would make it s times a mean of Ψ."""
    log_prob, old, psi, mask = random_policies(seed)
    s = geometric_mean(log_prob, old, mask)
    torch.testing.assert_close(trajectory_ratio(log_prob, old, mask), s)
    got = gradient(
        lambda lp: torch.where(
            mask, clipped_surrogate(trajectory_ratio(lp, old, mask), psi, 0.9), 0
        ),
        log_prob,
    )
    torch.testing.assert_close(got, torch.where(mask, s * psi, 0))
    pooled = gradient(
        lambda lp: torch.where(mask, geometric_mean(lp, old, mask) * psi, 0), log_prob
    )
    mean = torch.where(mask, psi, 0).sum(-1, keepdim=True) / mask.sum(-1, keepdim=True)
    torch.testing.assert_close(pooled, torch.where(mask, s * mean, 0))


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@given(seed=st.integers(0, 50), clip=st.sampled_from([0.01, 0.05, 0.9]))
def test_with_one_psi_per_trajectory_the_trajectory_ratio_is_gspo(aggregation, seed, clip):
    log_prob, old, psi, mask = random_policies(seed)
    psi = psi[:, :1].expand(mask.shape)
    weight = aggregation_weights(mask, aggregation)

    def objective(ratio):
        return lambda lp: (
            weight * torch.where(mask, clipped_surrogate(ratio(lp, old, mask), psi, clip), 0)
        )

    got, want = (gradient(objective(r), log_prob) for r in (trajectory_ratio, geometric_mean))
    torch.testing.assert_close(got, want)


def test_gspo_mixes_what_weights_tell_apart():
    """With a weight that changes along the trajectory the two forms are two estimators."""
    log_prob, old, psi, mask = random_policies(0)
    psi, weight = psi[:, :1].expand(mask.shape), 0.5 ** torch.arange(6)
    got, other = (
        gradient(lambda lp, r=r: torch.where(mask, weight * r(lp, old, mask) * psi, 0), log_prob)
        for r in (trajectory_ratio, geometric_mean)
    )
    assert (got - other).abs().max() > 0.1


@given(st.integers(0, 200))
def test_all_actions_is_the_expectation_of_the_sampled_estimator(seed):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(5, 3, generator=g, dtype=torch.float64)
    q = torch.randn(5, 3, generator=g, dtype=torch.float64)
    whole = gradient(lambda x: all_actions_surrogate(x.log_softmax(-1), q), logits)
    expected = torch.zeros_like(whole)
    for a in range(3):
        sampled = gradient(
            lambda x, a=a: score_function_surrogate(x.log_softmax(-1)[:, a], q[:, a]), logits
        )
        expected += logits.softmax(-1)[:, a : a + 1] * sampled
    torch.testing.assert_close(whole, expected)
    shifted = gradient(
        lambda x: all_actions_surrogate(x.log_softmax(-1), q - q.mean(-1, keepdim=True)), logits
    )
    torch.testing.assert_close(whole, shifted)
