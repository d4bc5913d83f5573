"""Small finite MDPs as environments: their tables are published, and their signals are strong."""

import gymnasium as gym
import numpy as np

from tests.finite_mdp import make_mdp

STATES, ACTIONS = 4, 2


class Toy(gym.Env):
    """An MDP of ``tests.finite_mdp``, whose last state is terminal."""

    def __init__(self, transition, reward, start):
        n, num_actions, _ = np.shape(transition)
        self.observation_space = gym.spaces.Discrete(n)
        self.action_space = gym.spaces.Discrete(num_actions)
        self.initial_state_distrib = np.asarray(start)
        self.P = {
            s: {
                a: [
                    (transition[s][a][following], following, reward[s][a][following], last)
                    for following, last in enumerate([False] * (n - 1) + [True])
                ]
                for a in range(num_actions)
            }
            for s in range(n)
        }
        self._bounds = np.cumsum(transition, axis=-1)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        start = self.initial_state_distrib
        self._state = int(self.np_random.choice(len(start), p=start))
        return self._state, {}

    def step(self, action):
        bounds = self._bounds[self._state, action]
        following = int((self.np_random.random() >= bounds[:-1]).sum())
        _, self._state, reward, terminated = self.P[self._state][action][following]
        return self._state, reward, terminated, False, {}


def register(name, transition, reward, start, max_episode_steps):
    """Make an MDP known to Gymnasium, once."""
    options = {"transition": transition, "reward": reward, "start": start}
    if name not in gym.registry:
        gym.register(name, Toy, max_episode_steps=max_episode_steps, kwargs=options)
    return name


def bandit(name, rewards):
    """One step from one of n states, all as likely, with rewards ``[n, A]``."""
    n, num_actions = np.shape(rewards)
    transition = np.zeros((n + 1, num_actions, n + 1))
    transition[:, :, -1] = 1.0
    reward = np.zeros_like(transition)
    reward[:-1, :, -1] = rewards
    return register(name, transition, reward, [1 / n] * n + [0.0], 1)


_mdp = make_mdp(seed=1, states=STATES, actions=ACTIONS)
TOY = register("Toy-v0", _mdp.transition, _mdp.reward, _mdp.start, 5)
LEVELS = bandit("Levels-v0", [[10.0, 9.0], [-10.0, -11.0]])
"""The start decides the level of the reward, and little depends on the action."""
LESSONS = bandit("Lessons-v0", [[1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, 1.0]])
"""Each start teaches something else, at one level."""
