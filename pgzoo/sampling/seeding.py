"""Random numbers that belong to a replica.

Every random number of a run is a function of (replica's seed, purpose, iteration), or where an
episode starts that may outlive an iteration, of (replica's seed, purpose, row, number of the
episode). There is no generator state to save, and no replica can disturb another.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

EPISODES_PER_DRAW = 64


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
    CONFIRMATION_STARTS = 9
    CONFIRMATION_ACTIONS = 10
    FILM_STARTS = 11
    FILM_ACTIONS = 12
    PSI = 13


Seed = int | tuple[int, ...]
"""A replica's seed; in the laboratory the path to one estimate."""


@dataclass(frozen=True)
class Streams:
    """Whose random numbers a batch is sampled with.

    Attributes:
        seeds: one for each replica.
        iteration: which batch of theirs it is.
        starts: what the numbers are for that environments are reset with.
        actions: what the numbers are for that actions are drawn with.
    """

    seeds: Sequence[Seed]
    iteration: int = 0
    starts: Purpose = Purpose.STARTS
    actions: Purpose = Purpose.ACTIONS

    def of(self, replicas: Iterable[int]) -> Streams:
        """Those of some of the replicas, by their numbers."""
        return dataclasses.replace(self, seeds=[self.seeds[s] for s in replicas])


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


class EpisodeSeeds:
    """Environment seeds of the episodes 0, 1, 2, … of every row that runs on.

    Each is a function of (replica's seed, purpose, row of the replica, number of the episode)
    alone. They are drawn in blocks, of which every row's latest is kept.

    Args:
        streams: the replicas' seeds, and the purpose of ``starts``.
        num_rows: rows N of each replica.
    """

    def __init__(self, streams: Streams, num_rows: int) -> None:
        self._seeds, self._purpose = tuple(streams.seeds), streams.starts
        self._num_rows = num_rows
        self._block = np.full(len(self._seeds) * num_rows, -1)
        self._drawn = np.zeros((len(self._block), EPISODES_PER_DRAW), np.int64)

    def are_of(self, streams: Streams) -> bool:
        """Whether they are those that these streams have."""
        return (self._seeds, self._purpose) == (tuple(streams.seeds), streams.starts)

    def at(self, rows: NDArray[np.int64], episodes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Seeds ``[n]`` of one episode each ``[n]`` of some rows ``[n]`` of the S·N."""
        blocks, places = np.divmod(episodes, EPISODES_PER_DRAW)
        for i in (self._block[rows] != blocks).nonzero()[0]:
            self._draw(int(rows[i]), int(blocks[i]))
        return self._drawn[rows, places]

    def _draw(self, row: int, block: int) -> None:
        replica, row_of_it = divmod(row, self._num_rows)
        key = (self._purpose, row_of_it, block)
        sequence = np.random.SeedSequence(self._seeds[replica], spawn_key=key)
        self._drawn[row] = np.random.default_rng(sequence).integers(2**31, size=EPISODES_PER_DRAW)
        self._block[row] = block
