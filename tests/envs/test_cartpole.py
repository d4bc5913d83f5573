import gymnasium as gym
import numpy as np
import pgzoo_envs
import pytest
from gymnasium.vector import AutoresetMode, VectorEnv


def test_equals_gymnasium_step_for_step_over_autoresets():
    """64 rows × 1500 steps: terminations, time limits and resets of every row."""
    rows, seeds = 64, list(range(100, 164))
    ours, theirs = (
        pgzoo_envs.make("CartPole-v1", rows),
        gym.make_vec("CartPole-v1", rows, vectorization_mode="sync"),
    )
    rng = np.random.default_rng(0)
    (obs, _), (expected, _) = ours.reset(seed=seeds), theirs.reset(seed=seeds)
    np.testing.assert_array_equal(obs, expected)
    ended = 0
    for _ in range(1500):
        # Half of the rows balance, so that time limits are reached too.
        balance = (expected[:, 2] + expected[:, 3] > 0).astype(int)
        action = np.where(np.arange(rows) < rows // 2, balance, rng.integers(0, 2, rows))
        got, want = ours.step(action), theirs.step(action)
        expected = want[0]
        np.testing.assert_allclose(got[0], want[0], rtol=1e-6, atol=1e-7)
        for g, w in zip(got[1:4], want[1:4], strict=True):
            np.testing.assert_array_equal(g, w)
        ended += np.array([want[2].sum(), want[3].sum()])
    assert ended[0] > 500, "expected many terminations"
    assert ended[1] > 50, "expected many truncations"


def test_random_states_move_as_in_the_single_environment():
    rng = np.random.default_rng(1)
    n = 2_000
    states = rng.uniform([-2.4, -3, -0.21, -3], [2.4, 3, 0.21, 3], size=(n, 4))
    actions = rng.integers(0, 2, n)
    ours = pgzoo_envs.make("CartPole-v1", n)
    ours.reset(seed=0)
    ours._dynamics.state = states.T.copy()
    obs, reward, terminated, truncated, _ = ours.step(actions)
    single = gym.make("CartPole-v1").unwrapped
    single.reset(seed=0)
    for i in range(n):
        single.state, single.steps_beyond_terminated = tuple(states[i]), None
        want = single.step(int(actions[i]))
        np.testing.assert_allclose(obs[i], want[0], rtol=1e-6, atol=1e-7)
        assert (reward[i], terminated[i], truncated[i]) == want[1:4]
    assert 0 < terminated.sum() < n


def test_is_a_vector_env_with_equal_starts_for_equal_seeds():
    envs = pgzoo_envs.make("CartPole-v1", 4)
    assert isinstance(envs, VectorEnv)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    obs, info = envs.reset(seed=[7, 7, 8, 8])
    assert info == {}
    assert (obs[0] == obs[1]).all()
    assert (obs[2] == obs[3]).all()
    assert (obs[0] != obs[2]).any()
    assert envs.observation_space.contains(obs)


def test_time_limit_can_be_set():
    envs = pgzoo_envs.make("CartPole-v1", 2, max_episode_steps=3)
    envs.reset(seed=0)
    flags = [envs.step(np.array([0, 1]))[3].tolist() for _ in range(3)]
    assert flags == [[False, False], [False, False], [True, True]]


def test_seeds_of_coming_episodes_can_come_and_go():
    """With and without a seed in turn, each row as it pleases: the single environment's resets."""
    rows, steps, rng = 40, 300, np.random.default_rng(3)
    envs = pgzoo_envs.make("CartPole-v1", rows, max_episode_steps=4)
    seeds = rng.integers(0, 50, (steps, rows))
    seeds[rng.random(seeds.shape) < 0.5] = -1
    singles = [gym.make("CartPole-v1", max_episode_steps=4) for _ in range(rows)]
    obs, _ = envs.reset(seed=0)
    expected = np.stack([e.reset(seed=i)[0] for i, e in enumerate(singles)])
    actions = np.zeros(rows, int)
    for t in range(steps):
        np.testing.assert_array_equal(obs, expected)
        envs.next_seeds = seeds[t]
        obs = envs.step(actions)[0]
        if t % 5 == 4:
            given = [None if s == -1 else int(s) for s in seeds[t]]
            resets = [e.reset(seed=s)[0] for e, s in zip(singles, given, strict=True)]
            expected = np.stack(resets)
        else:
            expected = np.stack([e.step(0)[0] for e in singles])


def test_wrong_number_of_seeds_is_an_error():
    with pytest.raises(ValueError, match=r"one seed per sub-environment \(3\), got 2"):
        pgzoo_envs.make("CartPole-v1", 3).reset(seed=[1, 2])


@pytest.mark.parametrize("actions", [[0, 2, 1], [0, -1, 1], [0, 0.5, 1], [0, 1], [1]])
def test_what_is_no_action_is_refused(actions):
    envs = pgzoo_envs.make("CartPole-v1", 3)
    envs.reset(seed=0)
    with pytest.raises(AssertionError, match="invalid"):
        envs.step(np.array(actions))
