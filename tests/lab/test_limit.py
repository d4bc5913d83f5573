"""The objective at a time limit: an episode that is cut off ends, or is worth what follows."""

import dataclasses

import numpy as np
import pytest
import torch

from pgzoo.errors import UsageError
from pgzoo.estimators import returns_to_go
from pgzoo.lab import Problem, Settings, measure, parse_estimators
from pgzoo.lab.exact import (
    FiniteMDP,
    exact_gradient,
    expected_return,
    value_without_limit,
)
from pgzoo.lab.measurement import REFERENCE, Sampler, fold
from pgzoo.lab.studies import LAMBDAS, Setup, run_study, with_defaults
from pgzoo.policies.networks import Table
from pgzoo.sampling.plan import Episodes
from tests.helpers import make_trajectories
from tests.lab.toy import ACTIONS, STATES, TOY

GAMMA = 0.9
THETA = torch.randn(STATES * ACTIONS, generator=torch.Generator().manual_seed(0))
ENDS = dataclasses.replace(
    Problem.initial(TOY, policy_kind="tabular", gamma=GAMMA, max_episode_steps=2), theta=THETA
)
CONTINUES = dataclasses.replace(ENDS, limit="continues")


def gradient_of(problem):
    return exact_gradient(
        problem.exact_mdp,
        problem.network,
        problem.theta.unsqueeze(0),
        horizon=problem.time_limit,
        gamma=problem.gamma,
        continues=problem.limit == "continues",
    )[0]


def test_value_without_limit_by_hand():
    """A state that pays 1 per step for ever: V = 1 / (1 − γ), at every limit."""
    mdp = FiniteMDP.from_arrays([[[1.0]]], [[1.0]], [1.0])
    theta = torch.zeros(1, 1, dtype=torch.float64)
    value = value_without_limit(mdp, Table(1, 1), theta, gamma=0.5)
    assert value.item() == pytest.approx(2.0)
    j = expected_return(mdp, Table(1, 1), theta, horizon=3, gamma=0.5, value_at_limit=value)
    assert j.item() == pytest.approx(2.0)


def test_going_on_is_the_same_as_a_limit_that_no_longer_counts():
    far = dataclasses.replace(ENDS.info, max_episode_steps=300)
    long = [dataclasses.replace(p, info=far) for p in (ENDS, CONTINUES)]
    torch.testing.assert_close(gradient_of(long[0]), gradient_of(long[1]))
    # With a limit of two steps, only they are scored, but all that follows counts.
    assert float((gradient_of(CONTINUES) - gradient_of(long[0])).norm()) > 0.05
    assert float((gradient_of(CONTINUES) - gradient_of(ENDS)).norm()) > 0.05


def test_the_gradient_takes_what_follows_as_it_is():
    """Finite differences of J with the policy's own value at the limit held fixed."""
    mdp, network = CONTINUES.exact_mdp, CONTINUES.network
    theta = THETA.double().unsqueeze(0)
    value = value_without_limit(mdp, network, theta, gamma=GAMMA)

    def j(at):
        options = {"horizon": 2, "gamma": GAMMA, "value_at_limit": value.expand(len(at), -1)}
        return expected_return(mdp, network, at, **options)

    h = 1e-5 * torch.eye(theta.shape[1], dtype=torch.float64)
    differences = (j(theta + h) - j(theta - h)) / 2e-5
    torch.testing.assert_close(gradient_of(CONTINUES), differences, rtol=1e-6, atol=1e-8)


def test_what_follows_becomes_reward_of_the_last_step():
    long = make_trajectories([[7, 3, 4], [9, 5, 1]])
    cut = fold(long, 4, GAMMA)
    assert cut.mask.shape == (2, 3, 4)
    torch.testing.assert_close(
        returns_to_go(cut.reward, cut.mask, GAMMA),
        returns_to_go(long.reward, long.mask, GAMMA)[:, :, :4],
    )
    assert cut.truncated[:, :, 3].tolist() == [
        [True, False, bool(long.truncated[0, 2, 3])],
        [True, True, bool(cut.truncated[1, 2, 3])],
    ]
    assert fold(long, 9, GAMMA) is long


def test_episodes_go_on_as_far_as_it_counts():
    assert ENDS.steps_beyond == 0
    assert GAMMA**CONTINUES.steps_beyond < 1e-3 < GAMMA ** (CONTINUES.steps_beyond - 1)
    assert dataclasses.replace(CONTINUES, gamma=0.0).steps_beyond == 0
    sampler = Sampler(CONTINUES, Settings())
    try:
        batch = sampler.sample(
            REFERENCE, range(3), Episodes(episodes=200), act=THETA, beyond=CONTINUES.steps_beyond
        )
    finally:
        sampler.close()
    assert batch.mask.shape[2] == 2
    start = torch.as_tensor(CONTINUES.exact_mdp.start)
    value = value_without_limit(
        CONTINUES.exact_mdp, CONTINUES.network, THETA.double().unsqueeze(0), gamma=GAMMA
    )
    returns = returns_to_go(batch.reward, batch.mask, GAMMA)[:, :, 0].flatten()
    error = float(returns.std()) / np.sqrt(returns.numel())
    assert abs(float(returns.mean()) - float(value[0] @ start)) < 4 * error


def estimators(names):
    return parse_estimators(names, trajectories=16, group_size=4, gamma=GAMMA)


def test_a_sampled_reference_is_that_of_the_objective(monkeypatch):
    exact = {p.limit: gradient_of(p).numpy() for p in (ENDS, CONTINUES)}
    monkeypatch.setattr(Problem, "exact_mdp", None)
    settings = Settings(trajectories=16, estimates=20, reference_estimates=2_000)
    for problem, other in ((ENDS, CONTINUES), (CONTINUES, ENDS)):
        found = measure(problem, estimators(["reinforce"]), settings)
        off = [np.linalg.norm(found.gradient - exact[p.limit]) for p in (problem, other)]
        assert off[0] < 0.05 * np.linalg.norm(exact[problem.limit])
        assert off[0] < off[1] / 3


def test_bootstrapping_is_right_where_the_episode_goes_on_and_counting_nothing_where_it_ends():
    names = ("actor-critic:lam=0.5", "reinforce:gamma_t=yes")
    settings = Settings(trajectories=16, estimates=400, critic_trajectories=4_000)
    bias = {
        p.limit: [r.properties.relative_bias for r in measure(p, estimators(names), settings).rows]
        for p in (ENDS, CONTINUES)
    }
    assert bias["continues"][0].high < bias["ends"][0].low
    assert bias["ends"][1].high < bias["continues"][1].low


def test_limits_are_checked():
    with pytest.raises(UsageError, match="`gamma` below 1 with `limit=continues`, got 1"):
        Problem.initial("CartPole-v1", limit="continues")
    with pytest.raises(UsageError, match="`limit` among ends, continues; got 'stops'"):
        Problem.initial("CartPole-v1", limit="stops")


def test_a_study_s_own_defaults_give_way_to_what_is_chosen():
    assert with_defaults("gae", {}) == {"gamma": 0.99, "limit": "continues"}
    assert with_defaults("gae", {"gamma": 0.9}) == {"gamma": 0.9, "limit": "continues"}
    assert with_defaults("gae", {"gamma": 1.0}) == {"gamma": 1.0}
    chosen = with_defaults("starts", {"estimates": 5})
    assert chosen == {"estimates": 5, "reference_estimates": 400}
    assert with_defaults("measure", {"gamma": 0.5}) == {"gamma": 0.5}


def test_gae_trades_bias_for_variance(tmp_path):
    """Bias falls and variance rises with λ, until there is no bias left."""
    problem = Problem.initial("CartPole-v1", policy_kind="linear", gamma=0.9, limit="continues")
    settings = Settings(trajectories=8, estimates=300)
    result = run_study("gae", Setup(problem, settings), tmp_path, lambda share, what: None)
    points = [p.row.properties for p in result.points]
    assert [p.x for p in result.points] == list(LAMBDAS)
    variance = [p.variance.point for p in points]
    assert variance == sorted(variance)
    assert points[0].bias_squared.low > max(points[-1].bias_squared.high, 0)
    assert points[-1].bias_squared.low < 0
    assert "going on beyond the time limit" in result.title
