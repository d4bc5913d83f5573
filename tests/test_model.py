import dataclasses

import torch

from pgzoo.model import Model, apply_where, entropy
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


def test_a_model_is_asked_once_for_the_same_and_again_for_another_mask():
    batch, theta = make_trajectories([[3, 1, 5], [2, 2, 4]]), random_theta(2)
    model = Model(NETWORK, theta)
    first = model.log_probs(batch.obs, batch.mask)
    torch.testing.assert_close(model.log_probs(batch.obs, batch.mask), first)
    assert len(model.known) == 1
    everything = torch.ones_like(batch.mask)
    want = NETWORK.apply(theta, batch.obs).log_softmax(-1)
    torch.testing.assert_close(model.log_probs(batch.obs, everything), want)
    moved = dataclasses.replace(model, theta=2 * theta)
    assert not torch.equal(moved.log_probs(batch.obs, batch.mask), first)


def test_entropy_of_known_distributions():
    logits = torch.tensor([[0.0, 0.0], [0.0, 100.0]])
    torch.testing.assert_close(entropy(logits.log_softmax(-1)), torch.tensor([2.0, 1.0]).log())
