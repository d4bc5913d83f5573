import numpy as np
import pgzoo_envs
import pytest
from pgzoo_envs.discretisers import CARTPOLE, LUNAR_LANDER, Discretiser


def test_states_by_hand():
    grid = Discretiser(((0.0,), (-1.0, 1.0)))
    assert grid.num_states == 6
    obs = np.array([[-0.5, -2.0], [-0.5, 0.0], [-0.5, 1.0], [0.0, -2.0], [9.0, 9.0]])
    assert grid(obs).tolist() == [0, 1, 2, 3, 5]


@pytest.mark.parametrize("grid", [CARTPOLE, LUNAR_LANDER])
def test_every_state_is_reached_and_none_lies_outside(grid):
    middles = [
        np.array([e[0] - 1, *(np.array(e[1:]) + np.array(e[:-1])) / 2, e[-1] + 1])
        for e in grid.edges
    ]
    obs = np.stack(np.meshgrid(*middles, indexing="ij"), axis=-1)
    assert sorted(grid(obs).ravel().tolist()) == list(range(grid.num_states))


def test_discretised_environments_are_the_continuous_ones_seen_through_bins():
    plain = pgzoo_envs.make("CartPole-v1", 3)
    binned = pgzoo_envs.make("CartPole-v1", 3, discretise=True)
    assert binned.single_observation_space.n == CARTPOLE.num_states
    seeds, rng = [1, 2, 3], np.random.default_rng(0)
    np.testing.assert_array_equal(binned.reset(seed=seeds)[0], CARTPOLE(plain.reset(seed=seeds)[0]))
    for _ in range(60):
        action = rng.integers(0, 2, 3)
        want, got = plain.step(action), binned.step(action)
        np.testing.assert_array_equal(got[0], CARTPOLE(want[0]))
        for a, b in zip(got[1:4], want[1:4], strict=True):
            np.testing.assert_array_equal(a, b)


def test_rows_of_discretised_environments_can_rest():
    envs = pgzoo_envs.make("CartPole-v1", 3, discretise=True)
    envs.reset(seed=[1, 2, 3])
    envs.active = np.array([True, False, True])
    before = envs.step(np.zeros(3, int))[0]
    after = [envs.step(np.zeros(3, int))[0] for _ in range(5)]
    assert all(obs[1] == before[1] for obs in after)
    envs.reset(seed=[1, 2, 3])
    assert envs.active.all()


def test_seeds_of_coming_episodes_reach_the_environments_beneath():
    plain = pgzoo_envs.make("CartPole-v1", 2, max_episode_steps=3)
    binned = pgzoo_envs.make("CartPole-v1", 2, max_episode_steps=3, discretise=True)
    for envs in (plain, binned):
        envs.reset(seed=[1, 2])
        envs.next_seeds = np.array([7, 8])
    actions = np.zeros(2, int)
    seen = [(plain.step(actions)[0], binned.step(actions)[0]) for _ in range(6)]
    np.testing.assert_array_equal(seen[3][0], pgzoo_envs.make("CartPole-v1", 2).reset(seed=7)[0])
    for obs, states in seen:
        np.testing.assert_array_equal(states, CARTPOLE(obs))
    binned.reset(seed=0)
    assert (binned.next_seeds == -1).all()


def test_finite_environments_stay_as_they_are():
    envs = pgzoo_envs.make("FrozenLake-v1", 2, discretise=True, processes=1)
    assert envs.single_observation_space.n == 16


def test_no_discretiser_is_explained():
    with pytest.raises(pgzoo_envs.EnvError, match=r"no discretiser.*`policy=linear`"):
        pgzoo_envs.describe("Acrobot-v1", discretise=True)
