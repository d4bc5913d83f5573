"""Evaluation holds some episodes at a time, and finds the returns that all at once would have."""

from functools import partial

import numpy as np
import pgzoo_envs
import pytest

from pgzoo.learning.evaluate import GREEDY_SHARPNESS, evaluate
from pgzoo.policies.networks import make_policy
from pgzoo.sampling import memory
from pgzoo.sampling.collect import Collector
from pgzoo.sampling.plan import Episodes
from pgzoo.sampling.seeding import Purpose, Streams, generators

SEEDS, EPISODES = (3, 1, 8, 0, 5), 13


def problem(env_id, kind, hidden=(16,)):
    info = pgzoo_envs.describe(env_id, discretise=kind == "tabular")
    network = make_policy(kind, info, hidden)
    theta = 30 * network.init(generators(SEEDS, Purpose.POLICY_INIT))
    return Collector(partial(pgzoo_envs.make, env_id)), network, theta


def together(collector, network, theta, greedy):
    """All episodes of all seeds as one batch."""
    streams = Streams(SEEDS, starts=Purpose.EVALUATION_STARTS, actions=Purpose.EVALUATION_ACTIONS)
    policy, sharpness = network.bind(theta), GREEDY_SHARPNESS if greedy else 1
    plan = Episodes(episodes=EPISODES)
    _, finished, _ = collector.collect(plan, lambda obs: policy(obs) * sharpness, streams)
    return np.array([f.returns for f in finished])


@pytest.mark.parametrize("at_once", [2, 3, 8, 26, 40, 64, 65, 10_000])
@pytest.mark.parametrize("greedy", [False, True])
@pytest.mark.parametrize(
    ("env_id", "kind"),
    [("CartPole-v1", "mlp"), ("FrozenLake-v1", "tabular"), ("CartPole-v1", "linear")],
)
def test_returns_are_those_of_all_episodes_at_once(monkeypatch, env_id, kind, greedy, at_once):
    collector, network, theta = problem(env_id, kind)
    expected = together(collector, network, theta, greedy)
    monkeypatch.setattr(memory, "ROWS_AT_ONCE", at_once)
    found = evaluate(collector, network, theta, SEEDS, episodes=EPISODES, greedy=greedy)
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(expected)) > 1
    collector.close()


def test_no_more_episodes_are_played_at_once_than_are_allowed(monkeypatch):
    made = []

    def make(num_envs):
        made.append(num_envs)
        return pgzoo_envs.make("CartPole-v1", num_envs)

    _, network, theta = problem("CartPole-v1", "mlp")
    monkeypatch.setattr(memory, "ROWS_AT_ONCE", 20)
    evaluate(Collector(make), network, theta, SEEDS, episodes=EPISODES)
    assert max(made) <= 30, "three replicas at the least"
    made.clear()
    evaluate(Collector(make), network, theta[:1], SEEDS[:1], episodes=40)
    assert made == [10]


@pytest.mark.parametrize("num_rows", [1, 5, 64, 1000])
def test_actions_are_drawn_alike_however_many_steps_are_drawn_together(monkeypatch, num_rows):
    from pgzoo.sampling import collect

    def drawn(numbers):
        monkeypatch.setattr(collect, "NUMBERS_PER_DRAW", numbers)
        noise = collect._ActionNoise(generators(SEEDS, Purpose.ACTIONS), num_rows)
        return np.stack([noise.at(t).copy() for t in range(150)])

    np.testing.assert_array_equal(drawn(10**9), drawn(3 * num_rows))
    np.testing.assert_array_equal(drawn(10**9), drawn(1))


@pytest.mark.parametrize("most", [1, 2, 3, 7, 50, 1000])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 12, 97, 100])
def test_parts_are_all_of_it_and_none_is_alone_or_large(count, most):
    found = memory.parts(count, most)
    assert [i for part in found for i in range(count)[part]] == list(range(count))
    sizes = [part.stop - part.start for part in found]
    assert max(sizes) <= max(most, 3)
    assert min(sizes) >= min(count, 2)
    assert max(sizes) - min(sizes) <= 1


def test_an_evaluation_has_a_fixed_number_of_steps_in_memory(monkeypatch):
    """What is kept of an episode does not grow with its length."""
    collector, network, theta = problem("CartPole-v1", "mlp")
    monkeypatch.setattr(memory, "of_machine", lambda: 1)
    assert evaluate(collector, network, theta, SEEDS, episodes=2).shape == (5, 2)
