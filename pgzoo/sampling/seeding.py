"""Random numbers that belong to a replica.

Every random number of a run is a function of (replica's seed, iteration, purpose). There is no
generator state to save, and no replica can disturb another.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Purpose(IntEnum):
    """What a stream of random numbers is for; streams of different purposes are independent."""

    POLICY_INIT = 0
    CRITIC_INIT = 1
    STARTS = 2
    ACTIONS = 3
    MINIBATCHES = 4
    EVALUATION_STARTS = 5
    EVALUATION_ACTIONS = 6
    LAB_STARTS = 7
    LAB_ACTIONS = 8


Seed = int | tuple[int, ...]
"""A replica's seed; in the laboratory the path to one estimate."""


def generator(seed: Seed, purpose: Purpose, iteration: int = 0) -> np.random.Generator:
    """The generator of one replica for one purpose in one iteration."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, iteration)))


def generators(
    seeds: Sequence[Seed], purpose: Purpose, iteration: int = 0
) -> list[np.random.Generator]:
    """One generator per replica."""
    return [generator(s, purpose, iteration) for s in seeds]


def start_seeds(
    seeds: Sequence[Seed],
    num_trajectories: int,
    iteration: int,
    *,
    group_size: int = 1,
    purpose: Purpose = Purpose.STARTS,
) -> NDArray[np.int64]:
    """Environment seeds ``[S, N]``; the members of a group are adjacent and share theirs."""
    groups = num_trajectories // group_size
    drawn = [g.integers(2**31, size=groups) for g in generators(seeds, purpose, iteration)]
    return np.repeat(np.stack(drawn), group_size, axis=1)
