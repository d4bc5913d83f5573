import dataclasses

import numpy as np
import pytest
import torch

from pgzoo.errors import UsageError
from pgzoo.estimators import episode_return
from pgzoo.lab import FiniteMDP, exact_gradient, mdps, score_gradients, simulate
from pgzoo.policies.networks import Table

PI = torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.2, 0.8], [0.5, 0.5]], dtype=torch.float64)
RANDOM = mdps.garnet(0)


def batches(count=50, **changes):
    options = {"horizon": 5, "batches": count, "episodes": 6, "seed": 0} | changes
    return simulate(RANDOM, PI, **options)


def test_data_model():
    t = batches(group_size=3)
    assert t.mask.shape == (50, 6, 5)
    assert t.group_size == 3
    assert t.reward.dtype == t.log_prob.dtype == torch.float32
    assert t.mask[:, :, 0].all()
    done = t.terminated | t.truncated
    assert torch.equal(t.mask[:, :, 1:], t.mask[:, :, :-1] & ~done[:, :, :-1])
    assert torch.equal(t.terminated, t.mask & (t.next_obs == 3))
    assert torch.equal(t.truncated[:, :, -1], t.mask[:, :, -1] & ~t.terminated[:, :, -1])
    assert not t.truncated[:, :, :-1].any()
    goes_on = t.mask[:, :, 1:]
    assert torch.equal(t.obs[:, :, 1:][goes_on], t.next_obs[:, :, :-1][goes_on])
    expected = torch.from_numpy(RANDOM.reward).float()[t.obs, t.action]
    assert torch.equal(t.reward, expected * t.mask)
    torch.testing.assert_close(t.log_prob, PI.log().float()[t.obs, t.action] * t.mask)
    starts = t.obs[:, :, 0].unflatten(1, (2, 3))
    assert (starts == starts[:, :, :1]).all()
    assert (starts[:, 0, 0] != starts[:, 1, 0]).any()


def test_a_seed_repeats_and_another_one_does_not():
    one, two, other = batches(), batches(), batches(seed=1)
    for name, column in vars(one).items():
        if isinstance(column, torch.Tensor):
            assert torch.equal(column, getattr(two, name)), name
    assert not torch.equal(one.action, other.action)


def test_frequencies_are_the_probabilities():
    t = batches(40_000, episodes=1)
    first = torch.bincount(t.obs[:, 0, 0], minlength=4) / 40_000
    np.testing.assert_allclose(first, RANDOM.start, atol=0.015)
    here = t.mask & (t.obs == 1)
    assert (t.action[here] == 0).float().mean().item() == pytest.approx(0.4, abs=0.01)
    after = torch.bincount(t.next_obs[here & (t.action == 0)], minlength=4).double()
    going_on, ending = RANDOM.outcomes[1, 0].reshape(2, 4)
    np.testing.assert_allclose(after / after.sum(), going_on + ending, atol=0.015)


def test_one_policy_for_each_batch():
    sure = torch.tensor([[[0.999, 0.001]] * 4, [[0.001, 0.999]] * 4])
    t = simulate(RANDOM, sure, horizon=3, batches=2, episodes=200, seed=0)
    assert t.action[0].float().mean() < 0.02
    assert t.action[1][t.mask[1]].float().mean() > 0.98


@pytest.mark.parametrize(
    ("pi", "changes", "says"),
    [
        (PI[:2], {}, "shape"),
        (PI.expand(3, -1, -1), {}, "shape"),
        (2 * PI, {}, "sum to 1"),
        (PI, {"group_size": 4}, "fill"),
    ],
)
def test_what_cannot_be_simulated(pi, changes, says):
    options = {"horizon": 5, "batches": 2, "episodes": 6, "seed": 0} | changes
    with pytest.raises(UsageError, match=says):
        simulate(RANDOM, pi, **options)


def test_score_gradients_are_those_of_autograd():
    t = batches(3)
    psi = torch.randn(t.mask.shape, generator=torch.Generator().manual_seed(0))
    theta = PI.log().expand(3, -1, -1).clone().requires_grad_()
    log_pi = theta.log_softmax(-1)
    chosen = log_pi[torch.arange(3).view(-1, 1, 1), t.obs, t.action]
    ((psi * chosen * t.mask).sum((1, 2)) / 6).sum().backward()
    poisoned = torch.where(t.mask, psi, torch.nan)
    torch.testing.assert_close(score_gradients(t, poisoned, PI), theta.grad)
    torch.testing.assert_close(score_gradients(t, psi, PI.expand(3, -1, -1)), theta.grad)
    several = score_gradients(t, torch.stack([psi, 2 * psi]), PI)
    torch.testing.assert_close(several, torch.stack([theta.grad, 2 * theta.grad]))


@pytest.mark.parametrize(
    ("mdp", "horizon"),
    [
        (mdps.corridor(), 12),
        (mdps.contexts(), 1),
        (mdps.fork(), 5),
        (mdps.garnet(1, 5, 3), 4),
        (FiniteMDP(np.full((1, 2, 1), 0.5), np.array([[0.0, 1.0]]), np.ones(1)), 3),
    ],
)
def test_the_mean_estimate_is_the_exact_gradient(mdp, horizon):
    n, num_actions = mdp.reward.shape
    pi = np.random.default_rng(0).dirichlet(np.full(num_actions, 5.0), n)
    count = 20_000
    t = simulate(mdp, pi, horizon=horizon, batches=count, episodes=2, seed=0)
    psi = episode_return(t.reward, t.mask, 0.9).unsqueeze(-1) * t.mask
    estimates = score_gradients(t, psi, pi).flatten(1)
    theta = torch.from_numpy(np.log(pi)).flatten().unsqueeze(0)
    network = Table(n, num_actions)
    exact = exact_gradient(mdp, network, theta, horizon=horizon, gamma=0.9)[0]
    error = estimates.std(0) / count**0.5
    assert ((estimates.mean(0) - exact).abs() <= 4.5 * error + 1e-12).all()
    assert exact.norm() > 5 * error.norm()


def test_an_episode_ends_where_it_was_if_nothing_else_is_known():
    mdp = FiniteMDP(np.zeros((2, 1, 2)), np.ones((2, 1)), np.array([0.0, 1.0]))
    t = simulate(mdp, np.ones((2, 1)), horizon=2, batches=1, episodes=1, seed=0)
    assert t.next_obs[0, 0, 0] == 1
    assert t.terminated.tolist() == [[[True, False]]]


def test_where_an_episode_ends_is_a_distribution_with_the_rest():
    with pytest.raises(ValueError, match="together"):
        dataclasses.replace(RANDOM, ending=np.zeros_like(RANDOM.transition))
