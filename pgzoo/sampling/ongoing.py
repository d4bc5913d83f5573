"""Episodes that are under way between two calls of ``collect``: what a checkpoint keeps of them.

An episode is a function of its seed and its actions, and its seed one of its number. So where a row
stands is a number and a list of actions, and taking them again brings it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from pgzoo_envs import ReplicatedVectorEnv
from torch import Tensor

from pgzoo.errors import UsageError
from pgzoo.sampling.seeding import EpisodeSeeds


@dataclass(frozen=True, eq=False)
class Ongoing:
    """Where every row of S replicas stands; a value that nobody changes.

    Attributes:
        episode: number of the row's current episode, counted from 0, ``[S, N]``, int64.
        length: actions taken in it so far, ``[S, N]``, int64.
        returns: its undiscounted return so far, ``[S, N]``, float64.
        ended: it is over, and the row's next step starts the next one, ``[S, N]``, bool.
        actions: the last actions of each row, of which the last ``length`` are the current
            episode's, ``[S, N, longest]``.
    """

    episode: NDArray[np.int64]
    length: NDArray[np.int64]
    returns: NDArray[np.float64]
    ended: NDArray[np.bool_]
    actions: NDArray[np.integer]

    @classmethod
    def start(cls, num_replicas: int, num_rows: int) -> Ongoing:
        """Every row at the start of its episode 0."""
        shape = (num_replicas, num_rows)
        return cls(
            episode=np.zeros(shape, np.int64),
            length=np.zeros(shape, np.int64),
            returns=np.zeros(shape),
            ended=np.zeros(shape, bool),
            actions=np.zeros((*shape, 0), np.uint8),
        )

    def after(
        self, replicas: NDArray[np.bool_], actions: NDArray[np.integer], **now: NDArray
    ) -> Ongoing:
        """Where the rows stand when some replicas have moved on.

        Args:
            replicas: which M of the S have, ``[S]``.
            actions: what their rows did since, ``[M, N, T]``.
            **now: where these stand: ``episode``, ``length``, ``returns`` and ``ended``, ``[M·N]``.
        """

        def put(name: str) -> NDArray:
            everyone: NDArray = getattr(self, name).copy()
            everyone[replicas] = now[name].reshape(-1, everyone.shape[1])
            return everyone

        length = put("length")
        longest = int(length.max())
        theirs = np.concatenate([self.actions[replicas], actions], axis=2)
        taken = np.zeros((*length.shape, longest), theirs.dtype)
        taken[replicas] = _latest(theirs, longest)
        if not replicas.all():
            taken[~replicas] = _latest(self.actions[~replicas], longest)
        return Ongoing(put("episode"), length, put("returns"), put("ended"), taken)

    def tensors(self) -> dict[str, Tensor]:
        """What ``from_tensors`` reads; of actions those of current episodes, row after row."""
        longest = self.actions.shape[2]
        current = np.arange(longest) >= longest - self.length[..., None]
        arrays = vars(self) | {"actions": self.actions[current]}
        return {name: torch.tensor(array) for name, array in arrays.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Ongoing:
        """The inverse of ``tensors``, of what ``records.checkpoint`` has found to be in order."""
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        length, actions = arrays["length"], arrays["actions"]
        longest = int(length.max(initial=0))
        rows = np.zeros((*length.shape, longest), actions.dtype)
        rows[np.arange(longest) >= longest - length[..., None]] = actions
        return cls(**arrays | {"actions": rows})


def bring_back(
    envs: ReplicatedVectorEnv, ongoing: Ongoing, seeds: EpisodeSeeds, replicas: NDArray[np.bool_]
) -> NDArray:
    """Reset environments to their current episodes and take the recorded actions again.

    Args:
        envs: S·N sub-environments, replica by replica.
        ongoing: where they are to stand.
        seeds: of their episodes.
        replicas: which ones matter, ``[S]``; the others' rows are left at the start.

    Returns:
        latest observations ``[S·N, ...]``.

    Raises:
        UsageError: if the episodes do not take the course that is recorded.
    """
    rows = np.arange(envs.num_envs)
    length = np.where(replicas[:, None], ongoing.length, 0).ravel()
    longest = int(length.max())
    actions = _latest(ongoing.actions, longest).reshape(len(rows), longest).astype(np.int64)
    _expect_repeated(bool(actions.max(initial=0) < num_actions(envs)))
    obs, _ = envs.reset(seed=seeds.at(rows, ongoing.episode.ravel()).tolist())
    envs.next_seeds = seeds.at(rows, ongoing.episode.ravel() + 1)
    returns, ended = np.zeros(envs.num_envs), np.zeros(envs.num_envs, bool)
    for t in range(longest):  # they begin one after the other and arrive together
        _expect_repeated(not ended.any())
        active = length >= longest - t
        if not np.array_equal(active, envs.active):
            envs.active = active
        obs, reward, terminated, truncated, _ = envs.step(actions[:, t])
        returns += reward
        ended = terminated | truncated
    there = np.repeat(replicas, ongoing.episode.shape[1])
    same = (returns == ongoing.returns.ravel()) & (ended == ongoing.ended.ravel())
    _expect_repeated(bool(same[there].all()))
    return obs


def num_actions(envs: ReplicatedVectorEnv) -> int:
    """How many actions there are to choose from."""
    assert isinstance(envs.single_action_space, spaces.Discrete)
    return int(envs.single_action_space.n)


def _expect_repeated(condition: bool) -> None:
    if not condition:
        raise UsageError(
            "Expected the environment to repeat the episodes under way, step by step, from their "
            "seeds and actions; got another course. Either it draws random numbers that its reset "
            "does not seed, or the record is damaged. Start anew without it."
        )


def _latest(actions: NDArray, count: int) -> NDArray:
    """The last ``count`` columns ``[S, N, count]``, with zeros before them if there are fewer."""
    columns = np.zeros((*actions.shape[:2], count), actions.dtype)
    kept = min(count, actions.shape[2])
    columns[..., count - kept :] = actions[..., actions.shape[2] - kept :]
    return columns
