"""A small random MDP as an environment: its table is published, and its signal is strong."""

import gymnasium as gym
import numpy as np

from tests.finite_mdp import make_mdp

TOY = "Toy-v0"
STATES, ACTIONS = 4, 2


class Toy(gym.Env):
    """States 0 … 3, of which the last is terminal."""

    def __init__(self):
        mdp = make_mdp(seed=1, states=STATES, actions=ACTIONS)
        self.observation_space = gym.spaces.Discrete(STATES)
        self.action_space = gym.spaces.Discrete(ACTIONS)
        self.initial_state_distrib = mdp.start
        self.P = {
            s: {
                a: [
                    (mdp.transition[s, a, n], n, mdp.reward[s, a, n], n == STATES - 1)
                    for n in range(STATES)
                ]
                for a in range(ACTIONS)
            }
            for s in range(STATES)
        }
        self._bounds = {
            (s, a): np.cumsum([p for p, *_ in self.P[s][a]])
            for s in range(STATES)
            for a in range(ACTIONS)
        }

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._state = int(self.np_random.choice(STATES, p=self.initial_state_distrib))
        return self._state, {}

    def step(self, action):
        bounds = self._bounds[self._state, action]
        following = min(int(np.searchsorted(bounds, self.np_random.random())), STATES - 1)
        _, self._state, reward, terminated = self.P[self._state][action][following]
        return self._state, reward, terminated, False, {}


if TOY not in gym.registry:
    gym.register(TOY, Toy, max_episode_steps=5)
