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


def test_a_row_that_has_rested_goes_on_where_it_stood(make):
    """Whoever rests and when, each row's own steps are those it takes alone."""
    rng = np.random.default_rng(0)
    actions, seeds = rng.integers(0, 2, (200, 4)), [3, 4, 5, 6]
    full = play(make(4), seeds, actions)
    envs, taken = make(4), np.zeros(4, int)
    envs.reset(seed=seeds)
    rows = np.arange(4)
    for _ in range(200):
        active = rng.random(4) < 0.7
        envs.active = active
        results = envs.step(actions[taken, rows])[:4]
        taken += active
        for i in np.flatnonzero(active):
            for got, want in zip(results, full[taken[i]], strict=True):
                np.testing.assert_array_equal(got[i], want[i])
    assert taken.max() < 200


@pytest.mark.parametrize(
    ("env_id", "limit", "processes"),
    [
        ("CartPole-v1", 500, 1),
        ("Acrobot-v1", 60, 1),
        ("MountainCar-v0", 30, 1),
        ("FrozenLake-v1", 100, 1),
        ("FrozenLake-v1", 100, 2),
        ("LunarLander-v3", 100, 1),
        ("LunarLander-v3", 100, 2),
    ],
)
def test_an_episode_is_a_function_of_its_seed_and_its_actions(env_id, limit, processes):
    """Bit for bit that of a single environment; without a seed its own generator goes on."""
    rows, steps, rng = 5, 400, np.random.default_rng(0)
    envs = pgzoo_envs.make(env_id, rows, max_episode_steps=limit, processes=processes)
    actions = rng.integers(0, envs.single_action_space.n, (steps, rows))
    seeds = rng.integers(0, 2**31, (steps, rows))
    seeds[rng.random(seeds.shape) < 0.3] = -1
    first = envs.reset(seed=seeds[0].clip(0).tolist())[0]
    history = []
    for step_actions, step_seeds in zip(actions, seeds, strict=True):
        envs.next_seeds = step_seeds
        history.append(envs.step(step_actions)[:4])
    envs.close()
    resets = []
    for i in range(rows):
        single = gym.make(env_id, max_episode_steps=limit, disable_env_checker=True)
        np.testing.assert_array_equal(first[i], single.reset(seed=int(seeds[0, i].clip(0)))[0])
        done = False
        for t in range(steps):
            if done:
                seed = int(seeds[t, i])
                resets.append(seed)
                obs, _ = single.reset(seed=None if seed == -1 else seed)
                expected = obs, 0.0, False, False
            else:
                expected = single.step(int(actions[t, i]))[:4]
            for got, want in zip(history[t], expected, strict=True):
                np.testing.assert_array_equal(got[i], want)
            done = expected[2] or expected[3]
    assert -1 in resets
    assert sum(seed > -1 for seed in resets) >= rows


def test_reset_forgets_the_seeds_of_coming_episodes(make):
    envs = make(2)
    envs.reset(seed=0)
    assert (envs.next_seeds == -1).all()
    envs.next_seeds = np.array([4, 5])
    envs.next_seeds[1] = 6
    assert envs.next_seeds.tolist() == [4, 6]
    envs.reset(seed=0)
    assert (envs.next_seeds == -1).all()


@pytest.mark.parametrize("seed", [[1, -1], -5])
def test_negative_seeds_are_refused(make, seed):
    with pytest.raises(ValueError, match="Expected seeds of at least 0"):
        make(2).reset(seed=seed)


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
        envs.step(np.where(np.arange(16) % 2, 99, 0))
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
        ("no_such_module:Env-v0", "Import the module that registers it, and give the id alone"),
        (".relative:Env-v0", "Import the module"),
        ("CartPole-v" + "9" * 5000, "Unknown environment"),
        ("qqqqqq", "Unknown environment"),
    ],
)
def test_unusable_environments_are_explained(env_id, message):
    with pytest.raises(pgzoo_envs.EnvError, match=message):
        pgzoo_envs.describe(env_id)
