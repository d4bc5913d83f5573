import dataclasses

import pytest
import torch

from pgzoo.policies.model import Model, apply_where, entropy
from pgzoo.policies.networks import MLP
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


def test_a_model_is_asked_once_for_the_same_and_again_for_other_trajectories():
    batch, theta = make_trajectories([[3, 1, 5], [2, 2, 4]]), random_theta(2)
    model = Model(NETWORK, theta)
    first = model.log_probs(batch)
    torch.testing.assert_close(model.log_probs(batch), first)
    assert len(model.known) == 1
    others = make_trajectories([[5, 5, 5], [5, 5, 5]], seed=1)
    want = NETWORK.apply(theta, others.obs).log_softmax(-1)
    torch.testing.assert_close(model.log_probs(others), want)
    moved = dataclasses.replace(model, theta=2 * theta)
    assert not torch.equal(moved.log_probs(batch), first)


def test_log_probabilities_of_the_score_functions_are_those_of_the_policy():
    batch, theta = make_trajectories([[3, 1, 5], [2, 2, 4]]), random_theta(2)
    model = Model(NETWORK, theta)
    want = model.log_probs(batch)[batch.mask]
    model.scores(batch)
    torch.testing.assert_close(model.log_probs(batch)[batch.mask], want)


@pytest.mark.parametrize("num_outputs", [1, 2])
def test_values_before_and_after_every_step(num_outputs):
    """Also where an episode ends, and V of a critic for every action is its expectation."""
    batch, theta = make_trajectories([[3, 1, 5], [2, 2, 4]]), random_theta(2)
    mask = batch.mask
    critic = MLP((3, 4, num_outputs))
    phi = torch.randn(2, critic.num_params, dtype=torch.float64)

    def value(obs):
        outputs = critic.apply(phi, obs)
        if num_outputs == 1:
            return outputs.squeeze(-1)
        return (NETWORK.apply(theta, obs).softmax(-1) * outputs).sum(-1)

    model = Model(NETWORK, theta, critic, phi)
    torch.testing.assert_close(model.values(batch)[mask], value(batch.obs)[mask])
    torch.testing.assert_close(model.next_values(batch)[mask], value(batch.next_obs)[mask])


def test_entropy_of_known_distributions():
    logits = torch.tensor([[0.0, 0.0], [0.0, 100.0]])
    torch.testing.assert_close(entropy(logits.log_softmax(-1)), torch.tensor([2.0, 1.0]).log())
