"""The episodes that are under way, as what they are functions of: a seed and actions."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from pgzoo_envs.base import NO_SEED

FIRST_STEPS = 64


class RunningEpisodes:
    """Of every row the seed of its episode, its actions since, and its return so far.

    Args:
        num_envs: how many rows.
        action_space: of one of them; it decides in how few bytes an action fits.

    Attributes:
        seeds: −1 where the row's own generator went on, ``[num_envs]``.
        lengths: actions taken, ``[num_envs]``.
        returns: sum of rewards, ``[num_envs]``.
        done: the episode is over, and the row's next step resets it, ``[num_envs]``.
    """

    def __init__(self, num_envs: int, action_space: spaces.Space) -> None:
        kind = np.dtype(np.int64)
        if isinstance(action_space, spaces.Discrete):
            kind = np.min_scalar_type(-int(action_space.n))
        self._actions: NDArray[np.integer] = np.zeros((num_envs, FIRST_STEPS), kind)
        self._steps = 0  # no episode is longer
        self.begin(np.full(num_envs, NO_SEED))

    def begin(self, seeds: NDArray[np.int64]) -> None:
        """All rows have been reset."""
        self.seeds = seeds.copy()
        self.lengths: NDArray[np.int64] = np.zeros(len(seeds), np.int64)
        self.returns = np.zeros(len(seeds))
        self.done: NDArray[np.bool_] = np.zeros(len(seeds), bool)
        self._steps = 0

    def advance(
        self,
        numbers: NDArray[np.int64],
        active: NDArray[np.bool_],
        reward: NDArray,
        done: NDArray[np.bool_],
    ) -> None:
        """The active rows have taken a step.

        Args:
            numbers: their actions, or seeds where an episode was over, ``[num_envs]``.
            active: which rows, ``[num_envs]``.
            reward: that they got, 0 elsewhere, ``[num_envs]``.
            done: whose episode has ended with it, ``[num_envs]``.
        """
        rows = active
        if self.done.any():
            begun = active & self.done
            self.seeds[begun], self.lengths[begun], self.returns[begun] = numbers[begun], 0, 0.0
            rows = active & ~begun
        if self._steps == self._actions.shape[1]:
            self._steps = int(self.lengths.max())
        if self._steps == self._actions.shape[1]:
            self._actions = np.concatenate([self._actions, np.zeros_like(self._actions)], axis=1)
        (steps,) = rows.nonzero()
        self._actions[steps, self.lengths[steps]] = numbers[steps]
        self.lengths += rows
        self.returns += reward
        self._steps += 1
        self.done = np.where(active, done, self.done)

    def actions(self, rows: slice) -> NDArray[np.int64]:
        """Actions ``[M, T]`` of the M rows' episodes, the longest of which has T."""
        return self._actions[rows, : self.lengths[rows].max(initial=0)].astype(np.int64)
