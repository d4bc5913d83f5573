"""Who estimates the true gradient: 20,000 batches each, against the exact one."""

import pytest
import torch

from pgzoo.agents import agent_class
from tests.finite_mdp import GAMMA, estimates_of, make_mdp, unbiasedness_p_value

MDP = make_mdp()
THETA = torch.tensor([0.3, -0.4, 0.8, 0.1, -0.5, 0.6, 0.0, 0.0], dtype=torch.float64)
EXACT = MDP.exact_gradient(THETA)
COUNT = 20_000
PLAIN = {"gamma": GAMMA, "aggregation": "sum", "episodes": 4}
GROUPS = PLAIN | {"group_size": 4}
CRITIC = torch.tensor([1.0, -2.0, 3.0, 0.5], dtype=torch.float64)


def p_value(name, options, factor=1.0):
    agent = agent_class(name).with_options(**options)
    critic = None if agent.critic is None else CRITIC
    estimates = estimates_of(agent, MDP, THETA, COUNT, seed=1, critic=critic)
    return unbiasedness_p_value(factor * estimates, EXACT)


def test_the_exact_gradient_equals_finite_differences():
    def objective(theta):
        value = torch.zeros(4, dtype=torch.float64)
        pi = theta.view(4, 2).softmax(-1)
        p, r = torch.from_numpy(MDP.transition), torch.from_numpy(MDP.reward)
        for _ in range(5):
            value = (pi * (p * (r + GAMMA * value)).sum(-1)).sum(-1)
            value[-1] = 0
        return (torch.from_numpy(MDP.start) * value).sum()

    h = 1e-6
    for i in range(8):
        step = h * torch.eye(8, dtype=torch.float64)[i]
        difference = (objective(THETA + step) - objective(THETA - step)) / (2 * h)
        assert EXACT[i].item() == pytest.approx(difference.item(), abs=1e-8)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("reinforce", PLAIN | {"gamma_t": True}),
        ("reinforce", PLAIN | {"whole_return": True}),
        ("reinforce-baseline", PLAIN | {"gamma_t": True, "baseline": "value"}),
        ("rloo", GROUPS),
        ("rloo", GROUPS | {"group_size": 2}),
    ],
)
def test_unbiased(name, options):
    assert p_value(name, options) > 0.001


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("reinforce", PLAIN),  # reward-to-go without γ^t
        ("reinforce", PLAIN | {"gamma_t": True, "psi_scale": "rms"}),
        ("reinforce", PLAIN | {"gamma_t": True, "aggregation": "step-mean"}),
        ("reinforce", PLAIN | {"gamma_t": True, "aggregation": "trajectory-mean"}),
        ("reinforce-baseline", PLAIN | {"whole_return": True, "baseline": "batch-mean"}),
        ("reinforce-baseline", PLAIN | {"gamma_t": True, "baseline": "time-step-mean"}),
        ("grpo", GROUPS),
        ("dr-grpo", GROUPS),  # a factor (K − 1)/K, see below
        ("reinforce++", PLAIN),
        ("reinforce++-baseline", GROUPS),
    ],
)
def test_biased(name, options):
    assert p_value(name, options) < 1e-6


def test_dr_grpo_is_unbiased_but_for_its_known_factor():
    assert p_value("dr-grpo", GROUPS, factor=4 / 3) > 0.001


def test_reward_to_go_leave_one_out_is_unbiased_for_the_undiscounted_objective(monkeypatch):
    monkeypatch.setattr("tests.finite_mdp.GAMMA", 1.0)
    exact = MDP.exact_gradient(THETA)
    agent = agent_class("rloo").with_options(**GROUPS | {"gamma": 1.0, "reward_to_go": True})
    estimates = estimates_of(agent, MDP, THETA, COUNT, seed=1)
    assert unbiasedness_p_value(estimates, exact) > 0.001
