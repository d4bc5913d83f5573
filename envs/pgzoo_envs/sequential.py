"""Any registered environment as a vector environment, stepped one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from pgzoo_envs.base import NO_SEED, ReplicatedVectorEnv, StepResult, seed_or_none
from pgzoo_envs.errors import EnvError, failed


class SequentialVectorEnv(ReplicatedVectorEnv):
    """``num_envs`` independent copies of an environment in this process."""

    def __init__(self, make_env: Callable[[], gym.Env], num_envs: int) -> None:
        self.envs = [make_env() for _ in range(num_envs)]
        super().__init__(num_envs, self.envs[0].observation_space, self.envs[0].action_space)
        self._done: NDArray[np.bool_] = np.zeros(num_envs, dtype=bool)
        self._seeds: NDArray[np.int64] = np.full(num_envs, NO_SEED)
        self._lengths: NDArray[np.int64] = np.zeros(num_envs, np.int64)
        self._obs = np.zeros(self.observation_space.shape or (), self.observation_space.dtype)

    def _reset_rows(self, seeds: NDArray[np.int64]) -> NDArray:
        for i, seed in enumerate(seeds.tolist()):
            self._obs[i] = self._reset_row(i, seed)
        self._done[:] = False
        return self._obs.copy()

    def _reset_row(self, i: int, seed: int) -> NDArray:
        self._seeds[i], self._lengths[i] = seed, 0
        try:
            obs, _ = self.envs[i].reset(seed=seed_or_none(seed))
        except (Exception, SystemExit) as error:
            raise failed(f"{self._name(i)}, being reset {_from(seed)},", error) from error
        return obs

    def step(self, actions: NDArray) -> StepResult:
        """Step the active sub-environments; those that were done are reset instead."""
        reward = np.zeros(self.num_envs)
        terminated = np.zeros(self.num_envs, dtype=bool)
        truncated = np.zeros(self.num_envs, dtype=bool)
        obs, envs = self._obs, self.envs
        rows = np.flatnonzero(self._active)
        self._lengths[rows] += 1
        for i, action, done in zip(
            rows.tolist(), actions[rows].tolist(), self._done[rows].tolist(), strict=True
        ):
            if done:
                obs[i] = self._reset_row(i, int(self._next_seeds[i]))
                continue
            try:
                obs[i], reward[i], terminated[i], truncated[i], _ = envs[i].step(action)
            except (Exception, SystemExit) as error:
                raise failed(self._doing(i, action), error) from error
        self._done[rows] = terminated[rows] | truncated[rows]
        return obs.copy(), reward, terminated, truncated, {}

    def _doing(self, i: int, action: int) -> str:
        step, seed = int(self._lengths[i]), int(self._seeds[i])
        return f"{self._name(i)}, in step {step} of an episode {_from(seed)}, action {action},"

    def _name(self, i: int) -> str:
        spec = self.envs[i].spec
        return type(self.envs[i].unwrapped).__name__ if spec is None else spec.id

    def close_extras(self) -> None:
        """Close every sub-environment."""
        for env in self.envs:
            env.close()


def _from(seed: int) -> str:
    return "without a seed" if seed == NO_SEED else f"from seed {seed}"


def make_single(spec: EnvSpec, **options: Any) -> gym.Env:
    """One environment, its observations a ``Box`` or ``Discrete`` from 0 (others are flattened)."""
    try:
        env = gym.make(spec, disable_env_checker=True, **options)
    except (gym.error.Error, ImportError) as error:
        raise EnvError(f"{spec.id} is registered but cannot be made here: {error}") from error
    space = env.observation_space
    if isinstance(space, spaces.Box) or (isinstance(space, spaces.Discrete) and space.start == 0):
        return env
    try:
        return gym.wrappers.FlattenObservation(env)
    except (NotImplementedError, ValueError) as error:
        raise EnvError(f"{spec.id} has observations that cannot be flattened: {space}") from error


def take_step(envs: SequentialVectorEnv, numbers: NDArray[np.int64]) -> tuple[NDArray, ...]:
    """A step with each row's action, or where it is being reset its seed."""
    envs.next_seeds = numbers
    return envs.step(numbers)[:4]
