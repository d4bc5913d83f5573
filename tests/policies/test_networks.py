from itertools import pairwise

import numpy as np
import pytest
import torch
from gymnasium import spaces
from pgzoo_envs import EnvInfo

from pgzoo.policies.networks import MLP, Table, make_critic, make_policy


def generators(*seeds):
    return [np.random.default_rng(s) for s in seeds]


def env_with(space, num_actions):
    return EnvInfo("Some-v0", space, num_actions, None, None)


@pytest.mark.parametrize("sizes", [(4, 2), (3, 8, 5), (4, 16, 16, 2)])
def test_apply_equals_torch_modules_replica_by_replica(sizes):
    network = MLP(sizes)
    theta = network.init(generators(0, 1, 2))
    theta = theta + 0.1 * torch.randn_like(theta)
    obs = torch.randn(3, 7, 2, sizes[0])
    out = network.apply(theta, obs)
    for s in range(3):
        layers, at = [], 0
        for n, m in pairwise(sizes):
            linear = torch.nn.Linear(n, m)
            with torch.no_grad():
                linear.weight.copy_(theta[s, at : at + n * m].view(n, m).T)
                linear.bias.copy_(theta[s, at + n * m : at + n * m + m])
            at += (n + 1) * m
            layers += [linear, torch.nn.Tanh()]
        assert at == network.num_params == theta.shape[1]
        expected = torch.nn.Sequential(*layers[:-1])(obs[s])
        torch.testing.assert_close(out[s], expected, rtol=1e-5, atol=1e-6)


def test_one_backward_pass_gives_every_replicas_own_gradient():
    network = MLP((3, 8, 2))
    theta = network.init(generators(0, 1))
    obs = torch.randn(2, 5, 3)
    leaf = theta.clone().requires_grad_()
    network.apply(leaf, obs).square().sum().backward()
    for s in range(2):
        alone = theta[s : s + 1].clone().requires_grad_()
        network.apply(alone, obs[s : s + 1]).square().sum().backward()
        torch.testing.assert_close(leaf.grad[s], alone.grad[0])


def plain(network, theta, obs):
    """The same function, left to autograd."""
    x, at = obs, 0
    for n, m in pairwise(network.sizes):
        weight = theta[:, at : at + n * m].view(-1, n, m)
        x = x @ weight + theta[:, at + n * m : at + (n + 1) * m].unsqueeze(1)
        at += (n + 1) * m
        x = x if at == network.num_params else x.tanh()
    return x


@pytest.mark.parametrize("sizes", [(4, 2), (3, 8, 5), (4, 64, 64, 2), (4, 16, 1)])
@pytest.mark.parametrize("rows", [1, 127, 300, 2_500])
def test_the_gradient_in_pieces_is_that_of_autograd(sizes, rows):
    network = MLP(sizes)
    theta = torch.randn(3, network.num_params, dtype=torch.float64).requires_grad_()
    obs = torch.randn(3, rows, sizes[0], dtype=torch.float64)
    weights = torch.randn(3, rows, sizes[-1], dtype=torch.float64)
    gradients = [
        torch.autograd.grad((f(theta, obs) * weights).sum(), theta)[0]
        for f in (network.apply, lambda theta, obs: plain(network, theta, obs))
    ]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("sizes", [(4, 2), (4, 16, 1), (4, 64, 64, 2), (8, 64, 64, 4)])
@pytest.mark.parametrize("rows", [1, 3, 40, 127, 130, 700])
def test_company_and_padding_change_no_bit(sizes, rows):
    network = MLP(sizes)
    theta = torch.randn(3, network.num_params) / 4
    obs, weights = torch.randn(3, 900, sizes[0]), torch.randn(3, 900, sizes[-1])
    obs[:, rows:], weights[:, rows:] = 0, 0

    def gradient_and_outputs(replicas, length):
        leaf = theta[replicas].clone().requires_grad_()
        out = network.apply(leaf, obs[replicas, :length])
        (gradient,) = torch.autograd.grad((out * weights[replicas, :length]).sum(), leaf)
        return gradient, out[:, :rows], network.apply(theta[replicas], obs[replicas, :length])

    together = gradient_and_outputs(slice(0, 3), 900)
    for s in range(3):
        alone = gradient_and_outputs(slice(s, s + 1), rows)
        for own, among in zip(alone, together, strict=True):
            assert torch.equal(own[0], among[s][:rows] if own.ndim == 3 else among[s])


def test_initialisation_depends_on_the_replicas_generator_alone():
    network = MLP((4, 16, 2))
    many = network.init(generators(3, 4, 5))
    assert torch.equal(many[1], network.init(generators(4))[0])
    assert not torch.equal(many[0], many[1])


def test_initial_weights_are_orthogonal_and_biases_zero():
    network = MLP((4, 16, 2), output_gain=0.01)
    theta = network.init(generators(0))[0]
    first, bias = theta[:64].view(4, 16), theta[64:80]
    torch.testing.assert_close(first @ first.T, 2 * torch.eye(4), atol=1e-5, rtol=0)
    assert not bias.any()
    last = theta[80:112].view(16, 2)
    torch.testing.assert_close(last.T @ last, 1e-4 * torch.eye(2), atol=1e-6, rtol=0)


def test_policies_fit_the_observation_space():
    box = env_with(spaces.Box(-1, 1, (2, 3)), 4)
    mlp = make_policy("mlp", box, (8,))
    assert mlp.apply(mlp.init(generators(0)), torch.zeros(1, 5, 2, 3)).shape == (1, 5, 4)
    linear = make_policy("linear", box, (8,))
    assert linear.num_params == 7 * 4
    states = make_policy("linear", env_with(spaces.Discrete(6), 3), (8,))
    theta = states.init(generators(0))
    out = states.apply(theta, torch.tensor([[0, 5]]))
    torch.testing.assert_close(out[0], theta[0, :18].view(6, 3)[[0, 5]])


@pytest.mark.parametrize("kind", ["mlp", "linear", "tabular"])
def test_critics_say_one_number_or_one_for_each_action(kind):
    info = env_with(spaces.Discrete(6), 3)
    for of, outputs in (("state", 1), ("action", 3)):
        critic = make_critic(kind, info, (8,), of)
        out = critic.apply(critic.init(generators(0)), torch.tensor([[0, 5]]))
        assert out.shape == (1, 2, outputs)


def test_a_policy_starts_near_uniform_and_a_critic_does_not_start_at_nothing():
    info = env_with(spaces.Box(-1, 1, (4,)), 2)
    obs = torch.randn(1, 200, 4)
    policy, critic = make_policy("mlp", info, (64, 64)), make_critic("mlp", info, (64, 64), "state")
    pi = policy.apply(policy.init(generators(0)), obs).softmax(-1)
    assert (pi - 0.5).abs().max() < 0.02
    assert critic.apply(critic.init(generators(0)), obs).std() > 0.2


def test_a_table_looks_its_states_up():
    table = make_policy("tabular", env_with(spaces.Discrete(3), 2), (8,))
    assert table == Table(3, 2)
    theta = torch.arange(12.0).view(2, 6).requires_grad_()
    state = torch.tensor([[[0, 2]], [[1, 1]]])
    out = table.apply(theta, state)
    assert out.tolist() == [[[[0, 1], [4, 5]]], [[[8, 9], [8, 9]]]]
    out.sum().backward()
    assert theta.grad.tolist() == [[1, 1, 0, 0, 1, 1], [0, 0, 2, 2, 0, 0]]
    assert not table.init(generators(0, 1)).any()


@pytest.mark.parametrize(
    ("network", "obs"),
    [
        (MLP((3, 8, 5, 2)), torch.randn(5000, 3, dtype=torch.float64)),
        (MLP((4, 2), obs_ndim=0), torch.randint(4, (50,))),
        (Table(4, 3), torch.randint(4, (50,))),
    ],
)
def test_pullback_sums_gradients_with_every_weighting(network, obs):
    theta = torch.randn(network.num_params, dtype=torch.float64)
    output, pullback = network.linearize(theta, obs)
    torch.testing.assert_close(output, network.apply(theta[None], obs[None])[0])
    direction, weights = torch.randn_like(output), torch.randn(3, len(obs), dtype=torch.float64)
    lengths = [20, 0, len(obs) - 20]
    sums = pullback(direction, weights, lengths)
    assert sums.shape == (3, 3, network.num_params)
    torch.testing.assert_close(pullback(direction, weights, [len(obs)])[0], sums.sum(0))
    parts = zip(
        obs.split(lengths), direction.split(lengths), weights.split(lengths, 1), sums, strict=True
    )
    for o, d, w, rows in parts:
        for weight, row in zip(w, rows, strict=True):
            leaf = theta[None].clone().requires_grad_()
            (network.apply(leaf, o[None])[0] * d * weight[:, None]).sum().backward()
            torch.testing.assert_close(row, leaf.grad[0])
