import pytest
import torch

from pgzoo.estimators import episode_return, kl_estimate, penalized_reward


def test_kl_estimators_against_the_closed_form():
    """Exact expectations over a ~ π of five actions, by summing."""
    logits = torch.tensor([0.3, -0.2, 0.1, 0.9, -1.0], dtype=torch.float64)
    reference = torch.tensor([0.1, 0.0, 0.2, 0.5, -0.7], dtype=torch.float64)
    log_prob, ref = logits.log_softmax(0), reference.log_softmax(0)
    p = log_prob.exp()
    closed = (p * (log_prob - ref)).sum()
    torch.testing.assert_close((p * kl_estimate(log_prob, ref, "k1")).sum(), closed)
    torch.testing.assert_close((p * kl_estimate(log_prob, ref, "k3")).sum(), closed)
    k2 = (p * kl_estimate(log_prob, ref, "k2")).sum()
    assert k2 == pytest.approx(closed.item(), rel=0.1), "biased, but of higher order"
    assert k2 != closed
    assert (kl_estimate(log_prob, ref, "k3") >= 0).all()


def test_k2_has_the_unbiased_gradient():
    logits = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64, requires_grad=True)
    ref = torch.tensor([0.1, 0.5, -0.2], dtype=torch.float64).log_softmax(0)
    log_prob = logits.log_softmax(0)
    closed = (log_prob.exp() * (log_prob - ref)).sum()
    sampled = (log_prob.exp().detach() * kl_estimate(log_prob, ref, "k2")).sum()
    want, got = (torch.autograd.grad(x, logits, retain_graph=True) for x in (closed, sampled))
    torch.testing.assert_close(got, want)


def test_kl_by_hand_and_unknown_estimator():
    log_prob, ref = torch.tensor([-1.0]), torch.tensor([-1.5])
    assert kl_estimate(log_prob, ref, "k1").item() == 0.5
    assert kl_estimate(log_prob, ref, "k2").item() == 0.125
    expected = torch.tensor(-0.5).exp() - 1 + 0.5
    torch.testing.assert_close(kl_estimate(log_prob, ref, "k3")[0], expected)
    with pytest.raises(ValueError, match="got 'k4'"):
        kl_estimate(log_prob, ref, "k4")


def test_penalized_reward_by_hand():
    reward, mask = torch.tensor([[1.0, 2.0, torch.nan]]), torch.tensor([[True, True, False]])
    log_prob, ref = torch.tensor([[-1.0, -0.5, 0.0]]), torch.tensor([[-1.5, -0.25, torch.nan]])
    got = penalized_reward(reward, log_prob, ref, mask, 2.0)
    assert got.tolist() == [[1 - 2 * 0.5, 2 + 2 * 0.25, 0]]
    assert penalized_reward(reward, log_prob, ref, mask, 0.0).tolist() == [[1, 2, 0]]


def test_the_penalized_return_pays_for_the_whole_trajectory():
    mask = torch.arange(6) < torch.tensor([[6], [2]])
    reward, log_prob, ref = torch.randn(3, 2, 6, dtype=torch.float64)
    got = episode_return(penalized_reward(reward, log_prob, ref, mask, 0.3), mask, 1.0)
    log_ratio = ((log_prob - ref) * mask).sum(-1)
    torch.testing.assert_close(got, episode_return(reward, mask, 1.0) - 0.3 * log_ratio)
