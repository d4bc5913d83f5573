"""What pgzoo's vector environments add to Gymnasium's."""

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


class ReplicatedVectorEnv(VectorEnv):
    """Independent sub-environments in next-step autoreset mode, some of which may rest.

    Rows whose entry in ``active`` is false are not stepped and cost nothing: their last observation
    is repeated, with reward 0 and no flags. Rows may be taken out one after the other;
    ``reset`` activates all.
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

    @property
    def active(self) -> NDArray[np.bool_]:
        """Which rows ``step`` advances, ``[num_envs]``."""
        return self._active

    @active.setter
    def active(self, mask: NDArray[np.bool_]) -> None:
        if (mask & ~self._active).any():
            raise ValueError("A row that was left out can only be activated again by reset.")
        self._active = mask.copy()
        self._on_rest()

    def _on_rest(self) -> None:
        """Called when rows were taken out."""

    def reset(
        self,
        *,
        seed: Sequence[int | None] | int | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[NDArray, dict[str, Any]]:
        """Reset every row; equal seeds give equal starts.

        Args:
            seed: one seed per row, or an integer for ``seed, seed + 1, …``.
            options: not used.

        Returns:
            observations ``[num_envs, ...]`` and an empty info.

        Raises:
            ValueError: if there is not one seed for each row.
        """
        self._active = np.ones(self.num_envs, dtype=bool)
        return self._reset_rows(self._spread_seed(seed)), {}

    def _reset_rows(self, seeds: list[int | None]) -> NDArray:
        raise NotImplementedError

    def _spread_seed(self, seed: Sequence[int | None] | int | None) -> list[int | None]:
        """One seed per row, by Gymnasium's conventions for ``reset(seed=...)``."""
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, (int, np.integer)):
            return [int(seed) + i for i in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ValueError(
                f"Expected one seed per sub-environment ({self.num_envs}), got {len(seed)} seeds."
            )
        return [None if s is None else int(s) for s in seed]
