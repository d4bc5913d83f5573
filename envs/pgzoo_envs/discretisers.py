"""Continuous observations as finitely many states, for tabular policies.

Bins are finest where a decision changes: around the upright pole, around the landing pad at rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod, radians

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from pgzoo_envs.base import ReplicatedVectorEnv, StepResult, seed_or_none


@dataclass(frozen=True)
class Discretiser:
    """A grid over observations: a state is the combination of the bins that the entries fall in.

    Attributes:
        edges: for every entry of the observation, the inner borders of its bins, rising.
    """

    edges: tuple[tuple[float, ...], ...]

    @property
    def num_states(self) -> int:
        """Number of cells of the grid."""
        return prod(len(e) + 1 for e in self.edges)

    def __call__(self, obs: NDArray) -> NDArray[np.int64]:
        """States ``[...]`` of observations ``[..., D]``."""
        state: NDArray[np.int64] = np.zeros(obs.shape[:-1], dtype=np.int64)
        for i, edges in enumerate(self.edges):
            state = state * (len(edges) + 1) + np.searchsorted(edges, obs[..., i], side="right")
        return state


CARTPOLE = Discretiser(
    (
        (-1.2, -0.4, 0.4, 1.2),  # cart position (the track ends at ±2.4)
        (-0.8, -0.25, 0.25, 0.8),  # cart velocity
        tuple(radians(a) for a in (-6, -3, -1, 0, 1, 3, 6)),  # pole angle (it has fallen at ±12°)
        (-1.0, -0.5, -0.15, 0.15, 0.5, 1.0),  # pole velocity at its tip
    )
)
"""5 · 5 · 8 · 7 = 1,400 states; Barto, Sutton & Anderson (1983) had 162 for the same purpose."""

LUNAR_LANDER = Discretiser(
    (
        (-0.3, -0.08, 0.08, 0.3),  # horizontal position (the pad is within ±0.2)
        (0.05, 0.25, 0.6, 1.0),  # height
        (-0.3, -0.08, 0.08, 0.3),  # horizontal velocity
        (-0.5, -0.25, -0.1, 0.0),  # vertical velocity
        (-0.25, -0.07, 0.07, 0.25),  # angle
        (-0.2, 0.2),  # angular velocity
        (0.5,),  # left leg touches the ground
        (0.5,),  # right leg touches the ground
    )
)
"""5⁵ · 3 · 2 · 2 = 37,500 states."""

DISCRETISERS = {
    "CartPole-v0": CARTPOLE,
    "CartPole-v1": CARTPOLE,
    "LunarLander-v3": LUNAR_LANDER,
}


class DiscretisedVectorEnv(ReplicatedVectorEnv):
    """A vector environment whose observations are the states of a discretiser."""

    def __init__(self, envs: ReplicatedVectorEnv, discretiser: Discretiser) -> None:
        space = spaces.Discrete(discretiser.num_states)
        super().__init__(envs.num_envs, space, envs.single_action_space)
        self.num_processes = envs.num_processes
        self._envs, self._discretiser = envs, discretiser
        self._next_seeds = envs.next_seeds  # one array for both

    def _reset_rows(self, seeds: NDArray[np.int64]) -> NDArray:
        obs, _ = self._envs.reset(seed=[seed_or_none(s) for s in seeds.tolist()])
        return self._discretiser(obs)

    def _on_active(self) -> None:
        self._envs.active = self._active

    def step(self, actions: NDArray) -> StepResult:
        """Step the active rows; those that were done are reset instead."""
        obs, *rest = self._envs.step(actions)
        return self._discretiser(obs), *rest

    def close_extras(self) -> None:
        """Close the environments beneath."""
        self._envs.close()
