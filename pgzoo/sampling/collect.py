"""Trajectories and the two ways to collect them: complete episodes, and fixed-length segments."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pgzoo_envs import ReplicatedVectorEnv
from torch import Tensor

Policy = Callable[[Tensor], Tensor]
"""Observations ``[S, B, ...]`` to action logits ``[S, B, A]``."""

STEPS_PER_DRAW = 64
ROWS_WORTH_THREADS = 512


@dataclass(frozen=True)
class Trajectories:
    """Transitions ``[S, N, T, ...]`` of S replicas, N rows each, T steps, padded.

    A row is one complete episode (Monte Carlo methods) or a fixed-length segment that may hold
    several episodes (temporal-difference methods). Where ``mask`` is false there is no transition
    (padding, or the step on which a sub-environment was reset) and nothing may be read. Of two real
    steps in succession, the first one's next observation is the second one's observation.

    Attributes:
        obs: observation before the action, ``[S, N, T, *obs]``.
        next_obs: observation after it; at an episode's end the true final one.
        action: integers ``[S, N, T]``.
        reward: ``[S, N, T]``, float32.
        terminated: the episode ended in a terminal state, ``[S, N, T]``, bool.
        truncated: the episode was cut off by a time limit, ``[S, N, T]``, bool.
        mask: entries that are real transitions, ``[S, N, T]``, bool.
        log_prob: log π(a|s) of the policy that acted, ``[S, N, T]``.
        group_size: K; rows k·K … k·K + K − 1 started from the same state.
    """

    obs: Tensor
    next_obs: Tensor
    action: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    mask: Tensor
    log_prob: Tensor
    group_size: int = 1

    @property
    def num_steps(self) -> Tensor:
        """Real transitions of each replica, ``[S]``."""
        return self.mask.sum((1, 2))

    def observations(self) -> tuple[Tensor, Tensor]:
        """Observations s_0 … s_T, before and after all steps, and where there are any.

        Returns:
            ``[S, N, T + 1, *obs]``, and bool ``[S, N, T + 1]``.
        """
        before, after = (torch.nn.functional.pad(self.mask, p) for p in ((0, 1), (1, 0)))
        is_before = before.view(*before.shape, *[1] * (self.obs.ndim - before.ndim))
        obs = torch.where(
            is_before,
            torch.cat([self.obs, self.next_obs[:, :, -1:]], dim=2),
            torch.cat([self.obs[:, :, :1], self.next_obs], dim=2),
        )
        return obs, before | after

    def scale_rewards(self, factor: float | Tensor) -> Trajectories:
        """The same with other units of reward; a tensor has one for each replica, ``[S, 1, 1]``."""
        return dataclasses.replace(self, reward=self.reward * factor)

    def map(self, function: Callable[[Tensor], Tensor], group_size: int = 1) -> Trajectories:
        """Every tensor through a function of its first axes."""
        columns: dict[str, Any] = {
            k: function(v) for k, v in vars(self).items() if isinstance(v, Tensor)
        }
        return Trajectories(**columns, group_size=group_size)

    def rows(self, index: Tensor) -> Trajectories:
        """Some rows of each replica, ``[S, M]`` → trajectories ``[S, M, T]``."""
        replica = torch.arange(len(index), device=index.device).unsqueeze(1)
        return self.map(lambda x: x[replica, index], self.group_size)


def joined_rows(parts: Sequence[Trajectories]) -> Trajectories:
    """All rows of all replicas as those of one, ``[1, N, T]``, padded to the longest."""
    longest = max(p.mask.shape[2] for p in parts)

    def pad(x: Tensor) -> Tensor:
        filler = x.new_zeros((*x.shape[:2], longest - x.shape[2], *x.shape[3:]))
        return torch.cat([x, filler], dim=2).flatten(0, 1)

    padded = [p.map(pad) for p in parts]
    columns: dict[str, Any] = {
        k: torch.cat([getattr(p, k) for p in padded]).unsqueeze(0)
        for k, v in vars(padded[0]).items()
        if isinstance(v, Tensor)
    }
    return Trajectories(**columns)


@dataclass(frozen=True)
class Episodes:
    """Undiscounted returns and lengths of one replica's finished episodes, in order of finish."""

    returns: list[float]
    lengths: list[int]


def sample_actions(logits: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Draw actions by inverting the cumulative distribution.

    Args:
        logits: action preferences ``[..., A]``.
        uniform: one number in [0, 1) for each draw, ``[...]``.

    Returns:
        actions ``[...]`` and their log-probabilities ``[...]``.
    """
    log_probs = logits.log_softmax(-1)
    below = log_probs[..., :-1].exp().cumsum(-1)
    action = (uniform.unsqueeze(-1) >= below).sum(-1)
    return action, log_probs.gather(-1, action.unsqueeze(-1)).squeeze(-1)


@contextmanager
def _threads_for(envs: ReplicatedVectorEnv) -> Iterator[None]:
    """One thread where more would slow torch down.

    Environments in several processes need the processors themselves, and on small batches threads
    wait for each other longer than they work.
    """
    before = torch.get_num_threads()
    if envs.num_processes > 1 or envs.num_envs < ROWS_WORTH_THREADS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _ActionNoise:
    """Uniform numbers ``[S, N]`` step by step, each replica's from its own generator."""

    def __init__(self, generators: Sequence[np.random.Generator], num_rows: int) -> None:
        self._generators, self._shape = generators, (STEPS_PER_DRAW, num_rows)
        self._drawn: NDArray[np.float32] = np.empty((0, 0, 0), np.float32)

    def at(self, t: int) -> NDArray[np.float32]:
        if t % STEPS_PER_DRAW == 0:
            draws = [g.random(self._shape, np.float32) for g in self._generators]
            self._drawn = np.stack(draws, axis=1)
        return self._drawn[t % STEPS_PER_DRAW]


class _Recorder:
    """Collects what happens at every step for S·N rows and stacks it into ``Trajectories``."""

    def __init__(self, num_replicas: int, first_obs: NDArray) -> None:
        self._num_replicas = num_replicas
        self._obs = [first_obs]
        self._steps: list[tuple[NDArray, ...]] = []

    def add(self, obs: NDArray, *step: NDArray) -> None:
        self._obs.append(obs)
        self._steps.append(step)

    def trajectories(self, device: torch.device, group_size: int) -> Trajectories:
        obs = self._stack(self._obs, device)
        columns = zip(*self._steps, strict=True)
        action, log_prob, reward, terminated, truncated, mask = (
            self._stack(column, device) for column in columns
        )
        return Trajectories(
            obs=obs[:, :, :-1],
            next_obs=obs[:, :, 1:],
            action=action,
            reward=reward.float(),
            terminated=terminated,
            truncated=truncated,
            mask=mask,
            log_prob=log_prob,
            group_size=group_size,
        )

    def _stack(self, steps: Sequence[NDArray], device: torch.device) -> Tensor:
        rows = np.stack(steps, axis=1)
        return torch.from_numpy(rows.reshape(self._num_replicas, -1, *rows.shape[1:])).to(device)


def collect_episodes(
    envs: ReplicatedVectorEnv,
    policy: Policy,
    start_seeds: NDArray[np.int64],
    action_generators: Sequence[np.random.Generator],
    *,
    group_size: int = 1,
    device: torch.device | str = "cpu",
) -> Trajectories:
    """Run every row from its seeded start to the end of its episode.

    Rows whose episode has ended are neither stepped nor passed through the policy while the others
    finish.

    Args:
        envs: S·N sub-environments, replica by replica.
        policy: observations ``[S, B, ...]`` to logits ``[S, B, A]``.
        start_seeds: environment seeds ``[S, N]``.
        action_generators: one per replica.
        group_size: K, recorded in the result; the seeds decide the starts.
        device: where the policy's parameters are.
    """
    num_replicas, num_rows = start_seeds.shape
    device = torch.device(device)
    obs, _ = envs.reset(seed=start_seeds.ravel().tolist())
    noise = _ActionNoise(action_generators, num_rows)
    recorder = _Recorder(num_replicas, obs)
    running: NDArray[np.bool_] = np.ones(num_replicas * num_rows, dtype=bool)
    slots = _Slots(running.reshape(num_replicas, num_rows))
    t = 0
    with _threads_for(envs):
        while running.any():
            action, log_prob = slots.act(policy, obs, noise.at(t).ravel(), device)
            obs, reward, terminated, truncated, _ = envs.step(action)
            recorder.add(obs, action, log_prob, reward, terminated, truncated, running)
            ended = running & (terminated | truncated)
            if ended.any():
                running = running & ~ended
                envs.active = running
                slots = _Slots(running.reshape(num_replicas, num_rows))
            t += 1
    return recorder.trajectories(device, group_size)


class _Slots:
    """Packs the running rows of S replicas, ragged, into a batch ``[S, B]`` for the policy."""

    def __init__(self, running: NDArray[np.bool_]) -> None:
        num_replicas, num_rows = running.shape
        self._everyone = bool(running.all())
        self._num_replicas = num_replicas
        width = int(running.sum(1).max(initial=0))
        order = np.argsort(~running, axis=1, kind="stable")[:, :width]
        self._filled = np.take_along_axis(running, order, axis=1).ravel()
        self._rows = (order + num_rows * np.arange(num_replicas)[:, None]).ravel()
        self._num_envs = running.size

    @torch.inference_mode()
    def act(
        self, policy: Policy, obs: NDArray, uniform: NDArray[np.float32], device: torch.device
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Actions and log-probabilities ``[S·N]``; zeros where a row is not running."""
        if not self._everyone:
            obs, uniform = obs[self._rows], uniform[self._rows]
        batch = torch.from_numpy(obs).view(self._num_replicas, -1, *obs.shape[1:]).to(device)
        noise = torch.from_numpy(uniform).view(self._num_replicas, -1).to(device)
        action, log_prob = sample_actions(policy(batch), noise)
        actions, log_probs = action.cpu().numpy().ravel(), log_prob.cpu().numpy().ravel()
        if self._everyone:
            return actions, log_probs
        full_actions = np.zeros(self._num_envs, np.int64)
        full_log_probs = np.zeros(self._num_envs, np.float32)
        rows = self._rows[self._filled]
        full_actions[rows] = actions[self._filled]
        full_log_probs[rows] = log_probs[self._filled]
        return full_actions, full_log_probs


def finished_episodes(trajectories: Trajectories) -> list[Episodes]:
    """Per replica, the episodes of a batch of complete episodes."""
    returns = torch.where(trajectories.mask, trajectories.reward, 0).double().sum(2)
    lengths = trajectories.mask.sum(2)
    return [Episodes(r.tolist(), n.tolist()) for r, n in zip(returns, lengths, strict=True)]


class SegmentCollector:
    """Fixed-length segments from environments that keep running between calls.

    Args:
        envs: S·N sub-environments, replica by replica.
        num_replicas: S.
    """

    def __init__(self, envs: ReplicatedVectorEnv, num_replicas: int) -> None:
        self._envs = envs
        self._num_rows = envs.num_envs // num_replicas

    def reset(self, start_seeds: NDArray[np.int64]) -> None:
        """Start every row anew from its seed ``[S, N]``; running episodes are dropped."""
        self._obs, _ = self._envs.reset(seed=start_seeds.ravel().tolist())
        self._rows = np.arange(self._envs.num_envs)
        self._done = np.zeros(self._envs.num_envs, dtype=bool)
        self._return = np.zeros(self._envs.num_envs)
        self._length = np.zeros(self._envs.num_envs, dtype=np.int64)

    def keep(self, replicas: NDArray[np.bool_]) -> None:
        """Go on with some of the replicas of the last call, ``[S]``; the others' rows rest."""
        rows = np.repeat(replicas, self._num_rows)
        for name in ("_obs", "_rows", "_done", "_return", "_length"):
            setattr(self, name, getattr(self, name)[rows])
        active = np.zeros(self._envs.num_envs, dtype=bool)
        active[self._rows] = True
        self._envs.active = active

    def collect(
        self,
        policy: Policy,
        action_generators: Sequence[np.random.Generator],
        num_steps: int,
        *,
        device: torch.device | str = "cpu",
    ) -> tuple[Trajectories, list[Episodes]]:
        """The next ``num_steps`` steps of every row, and the episodes that finished in them.

        The step on which a sub-environment is reset after an episode's end takes a place in the
        row and is masked out.
        """
        device = torch.device(device)
        num_replicas = len(action_generators)
        noise = _ActionNoise(action_generators, self._num_rows)
        recorder = _Recorder(num_replicas, self._obs)
        slots = _Slots(np.ones((num_replicas, self._num_rows), dtype=bool))
        finished: list[tuple[NDArray, ...]] = []
        with _threads_for(self._envs):
            for t in range(num_steps):
                action, log_prob = slots.act(policy, self._obs, noise.at(t).ravel(), device)
                self._obs, reward, terminated, truncated = self._step(action)
                real = ~self._done
                recorder.add(self._obs, action, log_prob, reward, terminated, truncated, real)
                self._return += reward
                self._length += real
                self._done = terminated | truncated
                finished.append(self._take_finished())
        return recorder.trajectories(device, 1), self._episodes(finished, num_replicas)

    def _step(self, action: NDArray[np.int64]) -> tuple[NDArray, ...]:
        if len(self._rows) == self._envs.num_envs:
            return self._envs.step(action)[:4]
        actions = np.zeros(self._envs.num_envs, np.int64)
        actions[self._rows] = action
        return tuple(x[self._rows] for x in self._envs.step(actions)[:4])

    def _take_finished(self) -> tuple[NDArray, NDArray, NDArray]:
        """Rows whose episode just ended, with its return and length."""
        rows = np.flatnonzero(self._done)
        found = rows, self._return[rows], self._length[rows]
        self._return[rows], self._length[rows] = 0.0, 0
        return found

    def _episodes(
        self, finished: Sequence[tuple[NDArray, ...]], num_replicas: int
    ) -> list[Episodes]:
        rows, returns, lengths = (np.concatenate(x) for x in zip(*finished, strict=True))
        replica = rows // self._num_rows
        mine = [replica == s for s in range(num_replicas)]
        return [Episodes(returns[m].tolist(), lengths[m].tolist()) for m in mine]
