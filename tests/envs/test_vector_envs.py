"""Properties that all our vector environments share."""

import gymnasium as gym
import numpy as np
import pgzoo_envs
import pytest
from gymnasium import spaces

MAKERS = {
    "cartpole": lambda n: pgzoo_envs.make("CartPole-v1", n),
    "sequential": lambda n: pgzoo_envs.make("LunarLander-v3", n, processes=1),
    "processes": lambda n: pgzoo_envs.make("LunarLander-v3", n, processes=2),
    "finite": lambda n: pgzoo_envs.make("FrozenLake-v1", n, processes=1),
}


@pytest.fixture(params=MAKERS)
def make(request):
    opened = []

    def factory(n):
        opened.append(MAKERS[request.param](n))
        return opened[-1]

    yield factory
    for envs in opened:
        envs.close()


def play(envs, seeds, actions):
    history = [(envs.reset(seed=seeds)[0],)]
    history += [envs.step(a)[:4] for a in actions]
    return history


def test_same_seeds_and_actions_give_the_same_history(make):
    envs = make(4)
    actions = np.random.default_rng(0).integers(0, 2, (150, 4))
    seeds = [3, 4, 5, 6]
    for first, second in zip(play(envs, seeds, actions), play(envs, seeds, actions), strict=True):
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(a, b)


def test_rows_do_not_influence_each_other(make):
    """A row's history is the same among others with other seeds and other actions."""
    actions = np.random.default_rng(0).integers(0, 2, (150, 4))
    others = np.random.default_rng(1).integers(0, 2, (150, 4))
    others[:, 2] = actions[:, 2]
    one, two = play(make(4), [3, 4, 5, 6], actions), play(make(4), [9, 8, 5, 7], others)
    for first, second in zip(one, two, strict=True):
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(a[2], b[2])


def test_resting_rows_stand_still_and_the_others_go_on(make):
    actions = np.random.default_rng(0).integers(0, 2, (60, 4))
    full = play(make(4), [3, 4, 5, 6], actions)
    envs = make(4)
    play(envs, [3, 4, 5, 6], actions[:5])
    resting = np.array([False, True, False, True])
    envs.active = ~resting
    for t in range(5, 60):
        obs, reward, terminated, truncated, _ = envs.step(actions[t])
        np.testing.assert_array_equal(obs[resting], full[5][0][resting])
        assert not reward[resting].any()
        assert not (terminated | truncated)[resting].any()
        for got, want in zip((obs, reward, terminated), full[t + 1], strict=False):
            np.testing.assert_array_equal(got[~resting], want[~resting])
    assert envs.reset(seed=0)[0].shape == full[0][0].shape
    assert envs.active.all()


def test_a_resting_row_cannot_be_woken_but_by_reset(make):
    envs = make(3)
    envs.reset(seed=0)
    envs.active = np.array([True, False, True])
    with pytest.raises(ValueError, match="only be activated again by reset"):
        envs.active = np.array([True, True, True])


@pytest.mark.parametrize("env_id", ["LunarLander-v3", "FrozenLake-v1", "Acrobot-v1"])
def test_generic_environments_equal_gymnasiums_sync_vector_env(env_id):
    rows, seeds = 3, [11, 12, 13]
    ours = pgzoo_envs.make(env_id, rows, processes=1)
    theirs = gym.make_vec(env_id, rows, vectorization_mode="sync")
    actions = np.random.default_rng(2).integers(0, ours.single_action_space.n, (250, rows))
    want = [(theirs.reset(seed=seeds)[0],)] + [theirs.step(a)[:4] for a in actions]
    for got, expected in zip(play(ours, seeds, actions), want, strict=True):
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_lunar_lander_shares_terrain_and_noise_between_equal_seeds():
    envs = pgzoo_envs.make("LunarLander-v3", 2, processes=1)
    envs.reset(seed=[5, 5])
    first, second = (env.unwrapped for env in envs.envs)
    assert first.sky_polys == second.sky_polys
    for _ in range(30):
        obs, *_ = envs.step(np.array([2, 2]))
        np.testing.assert_array_equal(obs[0], obs[1])


def test_an_environment_that_fails_in_a_worker_says_so():
    envs = pgzoo_envs.make("LunarLander-v3", 16, processes=2)
    envs.reset(seed=0)
    with pytest.raises(RuntimeError, match="invalid"):
        envs.step(np.where(np.arange(16) < 8, 0, 99))
    envs.close()


def test_describe_tells_what_a_learner_needs():
    info = pgzoo_envs.describe("LunarLander-v3")
    assert (info.num_actions, info.max_episode_steps, info.reward_threshold) == (4, 1000, 200)
    assert isinstance(pgzoo_envs.describe("FrozenLake-v1").observation_space, spaces.Discrete)
    assert pgzoo_envs.describe("Blackjack-v1").observation_space.shape == (45,)


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("CartPole", "Did you mean CartPole-v1"),
        ("lunarlander-v3", "Did you mean LunarLander-v3"),
        ("Pendulum-v1", "expected Discrete actions"),
        ("no_such_module:Env-v0", "not installed|doesn't exist"),
        ("qqqqqq", "Unknown environment"),
    ],
)
def test_unusable_environments_are_explained(env_id, message):
    with pytest.raises(pgzoo_envs.EnvError, match=message):
        pgzoo_envs.describe(env_id)
