import numpy as np
import pytest
import torch

from pgzoo.errors import UsageError
from pgzoo.lab import exact_gradient, expected_return, mdps
from pgzoo.policies.networks import Table


def gradient(mdp, horizon):
    n, num_actions = mdp.reward.shape
    theta = torch.zeros(1, n * num_actions, dtype=torch.float64)
    flat = exact_gradient(mdp, Table(n, num_actions), theta, horizon=horizon)
    return flat.view(n, num_actions)


def value(mdp, horizon):
    n, num_actions = mdp.reward.shape
    theta = torch.zeros(1, n * num_actions, dtype=torch.float64)
    return expected_return(mdp, Table(n, num_actions), theta, horizon=horizon).item()


def test_corridor_without_slipping_by_hand():
    """0 → 1 → goal by two right turns of three: 1/4 after two steps, 1/4 · 1/2 after three."""
    mdp = mdps.corridor(3, slip=0.0)
    assert value(mdp, 2) == pytest.approx(0.25 - 0.2)
    assert (gradient(mdp, 6)[:2, 1] > 0).all()
    assert (gradient(mdp, 6)[2] == 0).all()


def test_contexts_by_hand():
    mdp = mdps.contexts((-3.0, 5.0))
    assert value(mdp, 1) == pytest.approx(1.5)
    assert gradient(mdp, 1).tolist() == [[-0.125, 0.125], [-0.125, 0.125], [0.0, 0.0]]


def test_fork_by_hand():
    """Half of the episodes get the fork's +1; tosses of a coin pay nothing on average."""
    mdp = mdps.fork(2)
    assert value(mdp, 3) == pytest.approx(0.5)
    assert gradient(mdp, 3)[0].tolist() == [0.25, -0.25]
    assert gradient(mdp, 3)[1:5].tolist() == [[0.25, -0.25]] * 4


def test_machine_by_hand():
    """Runs with probability 1/2: 1 at first; then 0.35 · 1.5 while hot, 0.65 · 1 while cool."""
    mdp = mdps.machine()
    assert value(mdp, 1) == pytest.approx(1.0)
    assert value(mdp, 2) == pytest.approx(1.0 + 0.35 * 1.5 + 0.65)
    assert gradient(mdp, 1).tolist() == [[-0.5, 0.5], [0.0, 0.0]]


def test_garnets_are_random_and_repeat():
    np.testing.assert_array_equal(mdps.garnet(3).transition, mdps.garnet(3).transition)
    assert (mdps.garnet(3).reward != mdps.garnet(4).reward).any()
    assert mdps.garnet(0, 5, 3).reward.shape == (5, 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: mdps.corridor(1),
        lambda: mdps.contexts(()),
        lambda: mdps.fork(0),
        lambda: mdps.garnet(0, 1),
        lambda: mdps.garnet(0, 2, 1),
    ],
)
def test_what_is_too_small(make):
    with pytest.raises(UsageError, match="at least"):
        make()
