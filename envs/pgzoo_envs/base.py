"""What these vector environments add to Gymnasium's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

StepResult = tuple[NDArray, NDArray, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]
"""Observations, rewards, terminations, truncations, infos (empty)."""

NO_SEED = -1


class ReplicatedVectorEnv(VectorEnv):
    """Independent sub-environments in next-step autoreset mode, some of which may rest.

    An episode is a function of its seed and its actions: whether ``reset`` started it or an
    autoreset with an entry of ``next_seeds``, it is the one that the single environment's
    ``reset(seed=...)`` starts.

    Rows whose entry in ``active`` is false are not stepped and cost nothing: their last observation
    is repeated, with reward 0 and no flags, and they go on where they stood when they are active
    again.
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012
    num_processes = 1

    def __init__(
        self, num_envs: int, observation_space: gym.Space, action_space: gym.Space
    ) -> None:
        self.num_envs = num_envs
        self.single_observation_space = observation_space
        self.single_action_space = action_space
        self.observation_space = batch_space(observation_space, num_envs)
        self.action_space = batch_space(action_space, num_envs)
        self._active: NDArray[np.bool_] = np.ones(num_envs, dtype=bool)
        self._next_seeds: NDArray[np.int64] = np.full(num_envs, NO_SEED)

    @property
    def active(self) -> NDArray[np.bool_]:
        """Which rows ``step`` advances, ``[num_envs]``; ``reset`` activates all."""
        return self._active

    @active.setter
    def active(self, mask: NDArray[np.bool_]) -> None:
        self._active = np.array(mask, dtype=bool)
        self._on_active()

    def _on_active(self) -> None:
        """Called when other rows are active than before."""

    @property
    def next_seeds(self) -> NDArray[np.int64]:
        """Seeds with which rows are reset when their episode has ended, ``[num_envs]``.

        A row whose entry is −1 goes on with its own generator. Entries may be written one by one.
        They stay until they are written again; ``reset`` makes all of them −1.
        """
        return self._next_seeds

    @next_seeds.setter
    def next_seeds(self, seeds: NDArray[np.int64]) -> None:
        self._next_seeds[:] = seeds

    def reset(
        self,
        *,
        seed: Sequence[int | None] | int | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[NDArray, dict[str, Any]]:
        """Reset every row; equal seeds give equal starts.

        Args:
            seed: one seed per row, or an integer for ``seed, seed + 1, …``; None goes on with the
                row's own generator.
            options: not used.

        Returns:
            observations ``[num_envs, ...]`` and an empty info.

        Raises:
            ValueError: if there is not one seed for each row, or one is negative.
        """
        seeds = self._spread_seed(seed)
        self._active = np.ones(self.num_envs, dtype=bool)
        self._next_seeds[:] = NO_SEED
        return self._reset_rows(seeds), {}

    def _reset_rows(self, seeds: NDArray[np.int64]) -> NDArray:
        """Reset every row from its seed, or where that is −1 from its own generator."""
        raise NotImplementedError

    def _spread_seed(self, seed: Sequence[int | None] | int | None) -> NDArray[np.int64]:
        """One seed per row, by Gymnasium's conventions for ``reset(seed=...)``."""
        if seed is None:
            seed = [None] * self.num_envs
        if isinstance(seed, (int, np.integer)):
            seed = range(int(seed), int(seed) + self.num_envs)
        if len(seed) != self.num_envs:
            raise ValueError(
                f"Expected one seed per sub-environment ({self.num_envs}), got {len(seed)} seeds."
            )
        if any(s is not None and s < 0 for s in seed):
            raise ValueError(f"Expected seeds of at least 0, got {list(seed)}.")
        return np.array([NO_SEED if s is None else s for s in seed], dtype=np.int64)


def seed_or_none(seed: int) -> int | None:
    """An entry of ``next_seeds`` as the argument of a single environment's ``reset``."""
    return None if seed == NO_SEED else seed
