"""CartPole for thousands of rows, on Gymnasium's vectorised dynamics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from pgzoo_envs.sequential import spread_seed


class ReplicatedCartPole(VectorEnv):
    """CartPole whose rows own their randomness and may be left out of a step.

    Gymnasium's :class:`CartPoleVectorEnv` draws all resets from one shared generator, so that one
    row's episode lengths change another row's starts. Here every row has the generator that
    ``gymnasium.make("CartPole-v1").reset(seed=...)`` would have: rows equal single environments
    step for step, resets included. Only rows whose entry in ``active`` is true are stepped.
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(self, num_envs: int, max_episode_steps: int = 500) -> None:
        self.num_envs = num_envs
        self._dynamics = CartPoleVectorEnv(num_envs, max_episode_steps)
        self.single_observation_space = self._dynamics.single_observation_space
        self.single_action_space = self._dynamics.single_action_space
        self.observation_space = self._dynamics.observation_space
        self.action_space = self._dynamics.action_space
        self._generators = [np.random.default_rng() for _ in range(num_envs)]
        self._rows = np.arange(num_envs)
        self._obs = np.zeros((num_envs, 4), dtype=np.float32)

    @property
    def active(self) -> NDArray[np.bool_]:
        """Which rows ``step`` advances, ``[num_envs]``; a row once left out waits for ``reset``."""
        mask = np.zeros(self.num_envs, dtype=bool)
        mask[self._rows] = True
        return mask

    @active.setter
    def active(self, mask: NDArray[np.bool_]) -> None:
        keep = np.flatnonzero(mask[self._rows])
        if len(keep) < mask.sum():
            raise ValueError("A row that was left out can only be activated again by reset.")
        if len(keep) == len(self._rows):
            return
        dynamics = self._dynamics
        self._rows = self._rows[keep]
        self._set_state(dynamics.state[:, keep], dynamics.steps[keep], dynamics.prev_done[keep])

    def _set_state(self, state: NDArray, steps: NDArray, done: NDArray[np.bool_]) -> None:
        """Give the dynamics exactly the active rows."""
        dynamics = self._dynamics
        dynamics.num_envs = len(steps)
        dynamics.action_space = batch_space(dynamics.single_action_space, len(steps))
        dynamics.state, dynamics.steps, dynamics.prev_done = state, steps, done

    def _start(self, row: int) -> NDArray:
        """Initial state ``[4]`` from the row's own generator, as ``CartPoleEnv.reset`` draws it."""
        return self._generators[row].uniform(-0.05, 0.05, size=4)

    def reset(
        self, *, seed: Sequence[int] | int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray, dict[str, Any]]:
        """Reset every row; equal seeds give equal starts.

        Args:
            seed: one seed per row, or an integer for ``seed, seed + 1, …``.
            options: not used.

        Returns:
            observations ``[num_envs, 4]`` and an empty info.
        """
        n = self.num_envs
        for i, s in enumerate(spread_seed(seed, n)):
            if s is not None:
                self._generators[i] = np.random.default_rng(s)
        self._rows = np.arange(n)
        state = np.stack([self._start(i) for i in range(n)], axis=1)
        self._set_state(state, np.zeros(n, dtype=np.int32), np.zeros(n, dtype=bool))
        self._obs = state.T.astype(np.float32)
        return self._obs.copy(), {}

    def step(
        self, actions: NDArray
    ) -> tuple[NDArray, NDArray, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Step the active rows; those that were done are reset instead."""
        rows, dynamics = self._rows, self._dynamics
        resets = np.flatnonzero(dynamics.prev_done)
        everyone = len(rows) == self.num_envs
        obs, reward, terminated, truncated, _ = dynamics.step(actions if everyone else actions[rows])
        for k in resets:
            dynamics.state[:, k] = self._start(rows[k])
            obs[k] = dynamics.state[:, k]
        if everyone:
            self._obs = obs
            return obs.copy(), reward, terminated, truncated, {}
        self._obs[rows] = obs
        return self._obs.copy(), *(self._spread(x) for x in (reward, terminated, truncated)), {}

    def _spread(self, values: NDArray) -> NDArray:
        full = np.zeros(self.num_envs, values.dtype)
        full[self._rows] = values
        return full
