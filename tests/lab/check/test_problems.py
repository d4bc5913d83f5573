import pytest
import torch

from pgzoo.errors import UsageError
from pgzoo.lab import exact_gradient, score_gradients
from pgzoo.lab.check.problems import check_problems, from_each_step, from_the_start
from pgzoo.policies.networks import Table

PROBLEMS = check_problems(2)


def test_weights_by_hand():
    assert from_the_start(3, 0.5).tolist() == [[1, 0.5, 0.25], [0, 0.5, 0.25], [0, 0, 0.25]]
    assert from_each_step(3, 0.5).tolist() == [[1, 0.5, 0.25], [0, 1, 0.5], [0, 0, 1]]


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
@pytest.mark.parametrize("gamma", [1.0, 0.8])
def test_credit_adds_up_to_the_exact_gradient(problem, gamma):
    network = Table(*problem.pi.shape)
    theta = problem.pi.log().flatten().unsqueeze(0)
    horizon = problem.horizon
    exact = exact_gradient(problem.mdp, network, theta, horizon=horizon, gamma=gamma)[0]
    found = problem.gradient(from_the_start(horizon, gamma)).sum(0).flatten()
    torch.testing.assert_close(found, exact, rtol=1e-10, atol=1e-12)


def test_credit_of_each_reward_is_what_is_sampled():
    problem = PROBLEMS[0]
    t = problem.draw(30_000, seed=0)
    for u in (0, 2, 4):
        psi = t.reward[:, :, u : u + 1] * t.mask
        estimates = problem.estimates(t, psi)
        error = estimates.std(0) / len(estimates) ** 0.5
        assert ((estimates.mean(0) - problem.credit[:, u]).abs() <= 5 * error + 1e-9).all()


def test_estimates_step_by_step_add_up():
    problem = PROBLEMS[1]
    t = problem.draw(7, seed=0)
    psi = torch.randn(t.mask.shape, generator=torch.Generator().manual_seed(0))
    found = problem.estimates(t, psi)
    assert found.shape == (7, problem.horizon, *problem.pi.shape)
    torch.testing.assert_close(found.sum(1), score_gradients(t, psi, problem.pi))


def test_what_the_problems_have_between_them():
    drawn = [p.draw(50, seed=0) for p in check_problems(4)]
    assert {t.mask.shape[1] for t in drawn} == {8, 12}
    assert any(t.terminated.any() and t.truncated.any() for t in drawn)
    assert any(not t.terminated.any() for t in drawn)
    assert any(not t.truncated.any() for t in drawn)
    assert {p.mdp.num_actions for p in PROBLEMS} == {2, 3}
    assert any((p.mdp.start > 0).sum() == 1 for p in PROBLEMS)
    assert any((p.mdp.start > 0).sum() > 1 for p in PROBLEMS)


@pytest.mark.parametrize(("group_size", "episodes"), [(0, None), (8, 12), (1, 1)])
def test_groups_that_cannot_be(group_size, episodes):
    with pytest.raises(UsageError, match="group_size"):
        check_problems(group_size, episodes)
