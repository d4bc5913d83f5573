"""CartPole for thousands of rows, on Gymnasium's vectorised dynamics."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from numpy.typing import NDArray

from pgzoo_envs.base import NO_SEED, ReplicatedVectorEnv, StepResult
from pgzoo_envs.seeding import first_random

STARTS_PER_DRAW = 8
UNKNOWN = -2
LOWEST, HIGHEST = -0.05, 0.05


class _LeftOrRight(spaces.Space):
    """Actions of some rows, checked in half the time that ``MultiDiscrete`` takes."""

    def __init__(self, num_rows: int) -> None:
        super().__init__((num_rows,))

    def contains(self, x: NDArray) -> bool:
        return x.shape == self.shape and bool(((x == 0) | (x == 1)).all())


class _Dynamics(CartPoleVectorEnv):
    """Gymnasium's physics for whichever rows it is given."""

    state: NDArray[np.float64]  # type: ignore[assignment]

    def set_rows(
        self, state: NDArray[np.float64], steps: NDArray[np.int32], done: NDArray[np.bool_]
    ) -> None:
        """Go on with states ``[4, n]``, step counts ``[n]`` and who is to be reset, ``[n]``."""
        self.num_envs = len(steps)
        self.action_space = _LeftOrRight(len(steps))
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
        self._rows = np.arange(num_envs)
        self._state = np.zeros((4, num_envs))
        self._steps = np.zeros(num_envs, dtype=np.int32)
        self._done = np.zeros(num_envs, dtype=bool)
        self._obs = np.zeros((num_envs, 4), dtype=np.float32)
        self._starts = _Starts(num_envs)

    def _on_active(self) -> None:
        dynamics, rows = self._dynamics, self._rows
        self._state[:, rows] = dynamics.state
        self._steps[rows], self._done[rows] = dynamics.steps, dynamics.prev_done
        self._rows = rows = np.flatnonzero(self._active)
        dynamics.set_rows(self._state.take(rows, axis=1), self._steps[rows], self._done[rows])

    def _reset_rows(self, seeds: NDArray[np.int64]) -> NDArray:
        n = self.num_envs
        self._rows = np.arange(n)
        starts = self._starts.take(self._rows, seeds)
        self._dynamics.set_rows(starts.T.copy(), np.zeros(n, dtype=np.int32), np.zeros(n, bool))
        self._obs = starts.astype(np.float32)
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
            starts = self._starts.take(rows[resets], self._next_seeds)
            dynamics.state[:, resets] = starts.T
            obs[resets] = starts
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


class _Starts:
    """Initial states, those that ``CartPoleEnv.reset`` draws with or without a seed.

    They are drawn ahead, for it costs hardly more to draw many: of a row's own generator, several
    that follow each other; of seeds, those of all rows whose seed is new.
    """

    def __init__(self, num_rows: int) -> None:
        self._next = np.zeros((num_rows, 4))
        self._seeds = np.full(num_rows, UNKNOWN)  # of which self._next are the starts
        self._origins = np.full(num_rows, NO_SEED)  # of generators that are still to be made
        self._generators = [np.random.default_rng() for _ in range(num_rows)]
        self._own = np.zeros((num_rows, STARTS_PER_DRAW, 4))
        self._used = np.full(num_rows, STARTS_PER_DRAW)

    def take(self, rows: NDArray[np.int64], coming: NDArray[np.int64]) -> NDArray[np.float64]:
        """The next start of some rows, ``[n, 4]``, where ``coming`` are the seeds of all rows."""
        seeds = coming[rows]
        if (self._seeds[rows] != seeds).any():
            self._draw_ahead(coming)
            own = rows[seeds == NO_SEED]
            self._next[own] = self._from_generators(own)
            self._seeds[own] = UNKNOWN
        self._origins[rows] = seeds
        return self._next[rows]

    def _draw_ahead(self, coming: NDArray[np.int64]) -> None:
        (new,) = ((self._seeds != coming) & (coming != NO_SEED)).nonzero()
        if len(new):
            self._next[new] = LOWEST + (HIGHEST - LOWEST) * first_random(coming[new])
            self._seeds[new] = coming[new]

    def _from_generators(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        for row in rows[self._origins[rows] != NO_SEED]:
            self._generators[row] = np.random.default_rng(self._origins[row])
            self._generators[row].random(4)  # the seed's own start, which was taken
            self._used[row] = STARTS_PER_DRAW
        for row in rows[self._used[rows] == STARTS_PER_DRAW]:
            size = (STARTS_PER_DRAW, 4)
            self._own[row] = self._generators[row].uniform(LOWEST, HIGHEST, size)
            self._used[row] = 0
        starts = self._own[rows, self._used[rows]]
        self._used[rows] += 1
        return starts
