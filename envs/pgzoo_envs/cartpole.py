"""CartPole for thousands of rows, on Gymnasium's vectorised dynamics."""

from __future__ import annotations

from functools import cache

import numpy as np
from gymnasium import spaces
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from pgzoo_envs.base import ReplicatedVectorEnv, StepResult

STARTS_PER_DRAW = 8


@cache
def _actions_of(num_rows: int) -> spaces.Space:
    """Making a space takes as long as a step."""
    return batch_space(spaces.Discrete(2), num_rows)


class _Dynamics(CartPoleVectorEnv):
    """Gymnasium's physics for whichever rows it is given."""

    state: NDArray[np.float64]  # type: ignore[assignment]

    def set_rows(
        self, state: NDArray[np.float64], steps: NDArray[np.int32], done: NDArray[np.bool_]
    ) -> None:
        """Go on with states ``[4, n]``, step counts ``[n]`` and who is to be reset, ``[n]``."""
        self.num_envs = len(steps)
        self.action_space = _actions_of(len(steps))
        self.state, self.steps, self.prev_done = state, steps, done


class ReplicatedCartPole(ReplicatedVectorEnv):
    """CartPole whose rows own their randomness.

    Gymnasium's :class:`CartPoleVectorEnv` draws all resets from one shared generator, so that one
    row's episode lengths change another row's starts. Here every row has the generator that
    ``gymnasium.make("CartPole-v1").reset(seed=...)`` would have: rows equal single environments
    step for step, resets included.
    """

    def __init__(self, num_envs: int, max_episode_steps: int = 500) -> None:
        self._dynamics = _Dynamics(num_envs, max_episode_steps)
        super().__init__(
            num_envs, self._dynamics.single_observation_space, self._dynamics.single_action_space
        )
        self._generators = [np.random.default_rng() for _ in range(num_envs)]
        self._starts = np.zeros((num_envs, STARTS_PER_DRAW, 4))
        self._starts_used = np.full(num_envs, STARTS_PER_DRAW)
        self._rows = np.arange(num_envs)
        self._obs = np.zeros((num_envs, 4), dtype=np.float32)

    def _on_rest(self) -> None:
        keep = np.flatnonzero(self._active[self._rows])
        self._rows = self._rows[keep]
        dynamics = self._dynamics
        dynamics.set_rows(dynamics.state[:, keep], dynamics.steps[keep], dynamics.prev_done[keep])

    def _start(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Initial states ``[4, n]``, each from its row's own generator.

        A generator is asked for several starts at once, which are those that
        ``CartPoleEnv.reset`` would draw one after the other.
        """
        for row in rows[self._starts_used[rows] == STARTS_PER_DRAW]:
            self._starts[row] = self._generators[row].uniform(-0.05, 0.05, (STARTS_PER_DRAW, 4))
            self._starts_used[row] = 0
        starts = self._starts[rows, self._starts_used[rows]]
        self._starts_used[rows] += 1
        return starts.T

    def _reset_rows(self, seeds: list[int | None]) -> NDArray:
        n = self.num_envs
        for row, seed in enumerate(seeds):
            if seed is not None:
                self._generators[row] = np.random.default_rng(seed)
                self._starts_used[row] = STARTS_PER_DRAW
        self._rows = np.arange(n)
        state = self._start(self._rows)
        self._dynamics.set_rows(state, np.zeros(n, dtype=np.int32), np.zeros(n, dtype=bool))
        self._obs = state.T.astype(np.float32)
        return self._obs.copy()

    def step(self, actions: NDArray) -> StepResult:
        """Step the active rows; those that were done are reset instead."""
        rows, dynamics = self._rows, self._dynamics
        resets = np.flatnonzero(dynamics.prev_done)
        everyone = len(rows) == self.num_envs
        obs, reward, terminated, truncated, _ = dynamics.step(
            actions if everyone else actions[rows]
        )
        if len(resets):
            dynamics.state[:, resets] = self._start(rows[resets])
            obs[resets] = dynamics.state[:, resets].T
        if everyone:
            self._obs = obs
            return obs.copy(), reward, terminated, truncated, {}
        self._obs[rows] = obs
        spread = self._spread
        return self._obs.copy(), spread(reward), spread(terminated), spread(truncated), {}

    def _spread(self, values: NDArray) -> NDArray:
        full = np.zeros(self.num_envs, values.dtype)
        full[self._rows] = values
        return full
