import gymnasium as gym
import numpy as np
import pytest
import torch

from pgzoo.errors import UsageError
from pgzoo.lab.exact import FiniteMDP, exact_gradient, expected_return
from pgzoo.policies.networks import MLP, Table


@pytest.mark.parametrize(
    ("env_id", "horizon", "gamma"),
    [
        ("FrozenLake-v1", 100, 1.0),
        ("FrozenLake-v1", 100, 0.9),
        ("CliffWalking-v1", 50, 1.0),
        ("Taxi-v4", 20, 0.99),
    ],
)
@pytest.mark.parametrize("kind", ["table", "mlp"])
def test_gradient_equals_finite_differences(env_id, horizon, gamma, kind):
    mdp = FiniteMDP.from_env(gym.make(env_id))
    n, num_actions = mdp.reward.shape
    network = Table(n, num_actions) if kind == "table" else MLP((n, 3, num_actions), obs_ndim=0)
    generator = torch.Generator().manual_seed(0)
    theta = torch.randn(1, network.num_params, dtype=torch.float64, generator=generator)

    def objective(thetas):
        return expected_return(mdp, network, thetas, horizon=horizon, gamma=gamma)

    exact = exact_gradient(mdp, network, theta, horizon=horizon, gamma=gamma)[0]
    some = torch.arange(0, network.num_params, max(1, network.num_params // 64))
    h = 1e-5
    steps = h * torch.eye(network.num_params, dtype=torch.float64)[some]
    differences = (objective(theta + steps) - objective(theta - steps)) / (2 * h)
    scale = max(1.0, exact.abs().max().item())
    assert (exact[some] - differences).abs().max().item() < 1e-8 * scale


def test_two_armed_bandit_by_hand():
    """J = π(1), ∇J = π(1) π(0) (−1, 1)."""
    mdp = FiniteMDP.from_arrays([[[0, 1], [0, 1]], [[0, 1], [0, 1]]], [[0, 1], [0, 0]], [1, 0], [1])
    theta = torch.tensor([[0.2, -0.4, 0.0, 0.0]], dtype=torch.float64)
    p = torch.sigmoid(theta[0, 1] - theta[0, 0])
    network = Table(2, 2)
    torch.testing.assert_close(expected_return(mdp, network, theta, horizon=5)[0], p)
    expected = torch.tensor([-p * (1 - p), p * (1 - p), 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(exact_gradient(mdp, network, theta, horizon=5)[0], expected)


def test_horizon_and_discount_count():
    """A state that pays 1 per step for ever: J = Σ_{t<H} γ^t."""
    mdp = FiniteMDP.from_arrays([[[1.0]]], [[1.0]], [1.0])
    theta = torch.zeros(1, 1, dtype=torch.float64)
    j = expected_return(mdp, Table(1, 1), theta, horizon=3, gamma=0.5)
    assert j.item() == pytest.approx(1.75)


def test_reward_may_depend_on_the_next_state():
    p = np.array([[[0.25, 0.75]], [[0.0, 1.0]]])
    mdp = FiniteMDP.from_arrays(p, [[[4.0, 8.0]], [[0.0, 0.0]]], [1, 0], terminal=[1])
    assert mdp.reward[0, 0] == pytest.approx(7.0)
    assert mdp.transition[0, 0].tolist() == [0.25, 0.0]


def test_every_replica_has_its_own_return():
    mdp = FiniteMDP.from_env(gym.make("FrozenLake-v1"))
    network = Table(16, 4)
    thetas = torch.randn(3, 64, dtype=torch.float64)
    together = exact_gradient(mdp, network, thetas, horizon=20)
    alone = torch.cat([exact_gradient(mdp, network, t[None], horizon=20) for t in thetas])
    torch.testing.assert_close(together, alone)


def test_clear_errors():
    with pytest.raises(UsageError, match=r"transition table.*CartPole-v1 has none"):
        FiniteMDP.from_env(gym.make("CartPole-v1"))
    with pytest.raises(ValueError, match=r"sum of 1\.5"):
        FiniteMDP(np.full((1, 1, 1), 1.5), np.zeros((1, 1)), np.ones(1))
    with pytest.raises(ValueError, match="distribution"):
        FiniteMDP(np.ones((1, 1, 1)), np.zeros((1, 1)), np.zeros(1))
    with pytest.raises(ValueError, match=r"Expected transition \[n, A, n\]"):
        FiniteMDP(np.ones((1, 1, 2)), np.zeros((1, 1)), np.ones(1))
