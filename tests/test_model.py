import torch

from pgzoo.model import Model, apply_where, entropy, of_actions
from pgzoo.networks import MLP
from tests.helpers import make_trajectories

NETWORK = MLP((3, 5, 2))


def random_theta(num_replicas):
    g = torch.Generator().manual_seed(1)
    return torch.randn(num_replicas, NETWORK.num_params, generator=g, dtype=torch.float64)


def test_apply_where_equals_apply_on_real_steps_and_ignores_padding():
    batch, theta = make_trajectories([[3, 1, 5], [2, 2, 4]]), random_theta(2)
    want = NETWORK.apply(theta, batch.obs) * batch.mask[..., None]
    torch.testing.assert_close(apply_where(NETWORK, theta, batch.obs, batch.mask), want)
    spoiled = torch.where(batch.mask[..., None], batch.obs, torch.nan)
    torch.testing.assert_close(apply_where(NETWORK, theta, spoiled, batch.mask), want)


def test_trajectory_gradients_equal_one_backward_pass_each():
    batch, theta = make_trajectories([[3, 1], [2, 4]]), random_theta(2)
    weight = torch.randn(2, 2, 4, dtype=torch.float64) * batch.mask
    got = Model(NETWORK, theta).trajectory_gradients(batch, weight)
    for s in range(2):
        for n in range(2):
            leaf = theta[s : s + 1].clone().requires_grad_()
            log_probs = NETWORK.apply(leaf, batch.obs[s : s + 1, n]).log_softmax(-1)
            log_prob = of_actions(log_probs, batch.action[s : s + 1, n])
            (log_prob * weight[s, n]).sum().backward()
            torch.testing.assert_close(got[s, n], leaf.grad[0])


def test_entropy_of_known_distributions():
    logits = torch.tensor([[0.0, 0.0], [0.0, 100.0]])
    torch.testing.assert_close(entropy(logits.log_softmax(-1)), torch.tensor([2.0, 1.0]).log())
