"""Any registered environment as a vector environment, stepped one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray


class SequentialVectorEnv(VectorEnv):
    """``num_envs`` independent copies of an environment in this process.

    Next-step autoreset, as in :class:`gymnasium.vector.SyncVectorEnv`, and one addition: only
    sub-environments whose entry in ``active`` is true are stepped. The others cost nothing; their
    last observation is repeated, with reward 0 and no flags, until the next ``reset``, which
    activates all.
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(self, make_env: Callable[[], gym.Env], num_envs: int) -> None:
        self.envs = [make_env() for _ in range(num_envs)]
        self.num_envs = num_envs
        self.single_observation_space = self.envs[0].observation_space
        self.single_action_space = self.envs[0].action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.active: NDArray[np.bool_] = np.ones(num_envs, dtype=bool)
        self._done: NDArray[np.bool_] = np.zeros(num_envs, dtype=bool)
        self._obs = np.zeros(self.observation_space.shape or (), self.observation_space.dtype)

    def reset(
        self, *, seed: Sequence[int] | int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray, dict[str, Any]]:
        """Reset every sub-environment; equal seeds give equal starts.

        Args:
            seed: one seed per sub-environment, or an integer for ``seed, seed + 1, …``.
            options: passed on to every sub-environment.

        Returns:
            observations ``[num_envs, ...]`` and an empty info.
        """
        for i, (env, s) in enumerate(zip(self.envs, spread_seed(seed, self.num_envs), strict=True)):
            self._obs[i], _ = env.reset(seed=s, options=options)
        self._done[:] = False
        self.active = np.ones(self.num_envs, dtype=bool)
        return self._obs.copy(), {}

    def step(
        self, actions: NDArray
    ) -> tuple[NDArray, NDArray, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Step the active sub-environments; those that were done are reset instead."""
        reward = np.zeros(self.num_envs)
        terminated = np.zeros(self.num_envs, dtype=bool)
        truncated = np.zeros(self.num_envs, dtype=bool)
        obs, envs = self._obs, self.envs
        rows = np.flatnonzero(self.active)
        for i, action, done in zip(
            rows.tolist(), actions[rows].tolist(), self._done[rows].tolist(), strict=True
        ):
            if done:
                obs[i], _ = envs[i].reset()
            else:
                obs[i], reward[i], terminated[i], truncated[i], _ = envs[i].step(action)
        self._done[rows] = terminated[rows] | truncated[rows]
        return obs.copy(), reward, terminated, truncated, {}

    def close_extras(self) -> None:
        """Close every sub-environment."""
        for env in self.envs:
            env.close()


def spread_seed(seed: Sequence[int] | int | None, num_envs: int) -> list[int | None]:
    """One seed per sub-environment, by Gymnasium's conventions for ``reset(seed=...)``."""
    if seed is None:
        return [None] * num_envs
    if isinstance(seed, (int, np.integer)):
        return [int(seed) + i for i in range(num_envs)]
    if len(seed) != num_envs:
        raise ValueError(
            f"Expected one seed per sub-environment ({num_envs}), got {len(seed)} seeds."
        )
    return [int(s) for s in seed]
