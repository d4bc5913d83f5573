"""Trajectories collected: complete episodes, groups of them, or segments that run on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pgzoo_envs import ReplicatedVectorEnv
from torch import Tensor

from pgzoo.errors import UsageError
from pgzoo.sampling import memory
from pgzoo.sampling.ongoing import Ongoing, bring_back, num_actions
from pgzoo.sampling.plan import Groups, Plan, Segments
from pgzoo.sampling.seeding import EpisodeSeeds, Seed, Streams, generators, start_seeds
from pgzoo.sampling.trajectories import FinishedEpisodes, Trajectories, finished_episodes

Policy = Callable[[Tensor], Tensor]
"""Observations ``[S, B, ...]`` to action logits ``[S, B, A]``."""

STEPS_PER_DRAW, NUMBERS_PER_DRAW = 64, 2**20
ROWS_WORTH_THREADS = 512


@dataclass(frozen=True)
class _Standing:
    """Where live environments stand.

    Attributes:
        ongoing: the value that says so.
        there: whether it is true of the rows of each replica, ``[S]``.
        seeds: of their episodes.
        obs: latest observations, ``[S·N, ...]``.
    """

    ongoing: Ongoing
    there: NDArray[np.bool_]
    seeds: EpisodeSeeds
    obs: NDArray


class Collector:
    """Environments of one kind, kept from call to call.

    Args:
        make_envs: makes so many of them.
        device: where the policies' parameters are.
        numbers_per_step: that are in memory for each step of a batch while it is made use of, as
            ``sampling.memory`` counts them.
    """

    def __init__(
        self,
        make_envs: Callable[[int], ReplicatedVectorEnv],
        *,
        device: torch.device | str = "cpu",
        numbers_per_step: int = memory.LEAST_NUMBERS,
    ) -> None:
        self._make_envs = make_envs
        self._device = torch.device(device)
        self._numbers_per_step = numbers_per_step
        self._envs: ReplicatedVectorEnv | None = None
        self._standing: _Standing | None = None

    def collect(
        self,
        plan: Plan,
        policy: Policy,
        streams: Streams,
        ongoing: Ongoing | None = None,
        running: NDArray[np.bool_] | None = None,
    ) -> tuple[Trajectories, list[FinishedEpisodes], Ongoing | None]:
        """One batch of the running replicas.

        What a replica gets is a function of its seed, the plan, the iteration, its own policy, and
        for segments of where its rows stand; not of who else is running.

        Args:
            plan: what a batch is made of.
            policy: of the running replicas: observations ``[R, B, ...]`` to logits ``[R, B, A]``.
            streams: random numbers of all S replicas.
            ongoing: where the rows of segments stand, as an earlier call returned it; None starts
                episode 0 of each. Environments that stand elsewhere are brought there by taking the
                recorded actions again.
            running: which R of the S replicas, ``[S]``; None means all. The others rest.

        Returns:
            trajectories ``[R, N, T]``; the episodes that finished in them, of each running replica;
            and for segments where the rows stand now.

        Raises:
            UsageError: if ``ongoing`` is of other replicas or rows, the environments do not
                repeat what it records, or episodes go on for longer than there is memory for.
        """
        if running is None:
            running = np.ones(len(streams.seeds), dtype=bool)
        try:
            now: Ongoing | None = None
            if isinstance(plan, Segments):
                sampled = self._segments(plan, policy, streams, ongoing, running)
                trajectories, finished, now = sampled
            else:
                trajectories = self._episodes(plan, policy, streams, running)
                finished = finished_episodes(trajectories)
            theirs = streams.of(np.flatnonzero(running))
            return dataclasses.replace(trajectories, streams=theirs), finished, now
        except BaseException:  # perhaps in the middle of a step: nobody knows where they stand
            self.close()
            raise

    def returns(
        self, episodes: int, policy: Policy, streams: Streams, rows: slice
    ) -> NDArray[np.float64]:
        """Undiscounted returns of complete episodes, of which nothing else is kept.

        They are those of the batch that ``collect`` makes of as many ``Episodes``.

        Args:
            episodes: N of each replica.
            policy: observations ``[S, B, ...]`` to logits ``[S, B, A]``.
            streams: random numbers of the S replicas.
            rows: which M of the N.

        Returns:
            ``[S, M]``.
        """
        starts = start_seeds(streams.seeds, episodes, streams.iteration, purpose=streams.starts)
        starts = starts[:, rows]
        uniforms = generators(streams.seeds, streams.actions, streams.iteration)
        try:
            envs = self._take_envs(starts.size)
            returns = np.zeros(starts.size)
            noise = _ActionNoise(uniforms, episodes, rows=rows)
            obs, _ = envs.reset(seed=starts.ravel().tolist())
            for step in _steps(envs, policy, obs, noise, starts.shape, self._device):
                returns += np.where(step.mask, step.reward.astype(np.float32), 0)
        except BaseException:  # perhaps in the middle of a step
            self.close()
            raise
        return returns.reshape(starts.shape)

    def close(self) -> None:
        """Give the environments back; the next call makes new ones."""
        if self._envs is not None:
            self._envs.close()
        self._envs = self._standing = None

    def _take_envs(self, num_envs: int) -> ReplicatedVectorEnv:
        self._standing = None  # until the call is over
        if self._envs is None or self._envs.num_envs != num_envs:
            self.close()
            self._envs = self._make_envs(num_envs)
        return self._envs

    def _episodes(
        self, plan: Plan, policy: Policy, streams: Streams, running: NDArray[np.bool_]
    ) -> Trajectories:
        seeds = _chosen(streams.seeds, running)
        memory.check_batch(len(seeds) * plan.num_rows, 1, self._numbers_per_step)
        shared = isinstance(plan, Groups) and plan.starts == "shared"
        starts = start_seeds(
            seeds,
            plan.num_rows,
            streams.iteration,
            group_size=plan.group_size if shared else 1,
            purpose=streams.starts,
        )
        return collect_episodes(
            self._take_envs(starts.size),
            policy,
            starts,
            generators(seeds, streams.actions, streams.iteration),
            group_size=plan.group_size,
            device=self._device,
            numbers_per_step=self._numbers_per_step,
        )

    def _segments(
        self,
        plan: Segments,
        policy: Policy,
        streams: Streams,
        ongoing: Ongoing | None,
        running: NDArray[np.bool_],
    ) -> tuple[Trajectories, list[FinishedEpisodes], Ongoing]:
        """The next steps of the running rows.

        The step on which a sub-environment is reset after an episode's end takes a place in the
        row and is masked out.
        """
        envs, standing = self._stand(plan, streams, ongoing, running)
        before, seeds = standing.ongoing, _chosen(streams.seeds, running)
        rows = np.flatnonzero(np.repeat(running, plan.num_rows))
        episode, length = before.episode[running].ravel(), before.length[running].ravel()
        returns, ended = before.returns[running].ravel(), before.ended[running].ravel()
        obs, over = standing.obs[rows], np.flatnonzero(ended)
        steps_per_draw = min(plan.segment_steps, STEPS_PER_DRAW)
        uniforms = generators(seeds, streams.actions, streams.iteration)
        noise = _ActionNoise(uniforms, plan.num_rows, steps_per_draw)
        slots = _Slots(np.ones((len(seeds), plan.num_rows), dtype=bool))
        recorder = _Recorder(len(seeds), obs)
        finished: list[tuple[NDArray, ...]] = []
        with _threads_for(envs):
            for t in range(plan.segment_steps):
                action, log_prob = slots.act(policy, obs, noise.at(t).ravel(), self._device)
                obs, reward, terminated, truncated = _step(envs, rows, action)
                recorder.add(_Step(obs, action, log_prob, reward, terminated, truncated, ~ended))
                length += 1
                returns += reward
                if len(over):  # this step has reset them
                    episode[over] += 1
                    length[over], returns[over] = 0, 0.0
                    envs.next_seeds[rows[over]] = standing.seeds.at(rows[over], episode[over] + 1)
                ended = terminated | truncated
                (over,) = ended.nonzero()
                if len(over):
                    finished.append((over, returns[over], length[over]))
        trajectories = recorder.trajectories(self._device, plan.group_size)
        now = before.after(
            running,
            _compact(trajectories.action, envs),
            episode=episode,
            length=length,
            returns=returns,
            ended=ended,
        )
        latest_obs = standing.obs.copy()
        latest_obs[rows] = obs
        self._standing = dataclasses.replace(standing, ongoing=now, obs=latest_obs)
        return trajectories, _by_replica(finished, len(seeds), plan.num_rows), now

    def _stand(
        self,
        plan: Segments,
        streams: Streams,
        ongoing: Ongoing | None,
        running: NDArray[np.bool_],
    ) -> tuple[ReplicatedVectorEnv, _Standing]:
        """Environments that stand where ``ongoing`` says, the running ones active."""
        shape = (len(streams.seeds), plan.num_rows)
        if ongoing is not None and ongoing.episode.shape != shape:
            raise UsageError(
                f"Expected episodes under way of {shape[0]} seeds with {shape[1]} rows each, got "
                f"{ongoing.episode.shape}. Go on with the plan and the seeds that they began with."
            )
        standing = self._standing
        envs = self._take_envs(shape[0] * shape[1])
        if (
            standing is None
            or standing.ongoing is not ongoing
            or not standing.seeds.are_of(streams)
            or (running & ~standing.there).any()
        ):
            seeds = EpisodeSeeds(streams, plan.num_rows)
            ongoing = Ongoing.start(*shape) if ongoing is None else ongoing
            obs = bring_back(envs, ongoing, seeds, running)
            standing = _Standing(ongoing, running.copy(), seeds, obs)
        active = np.repeat(running, plan.num_rows)
        if not np.array_equal(active, envs.active):
            envs.active = active
        return envs, standing


def _chosen(seeds: Sequence[Seed], running: NDArray[np.bool_]) -> list[Seed]:
    return [seed for seed, runs in zip(seeds, running, strict=True) if runs]


def _step(
    envs: ReplicatedVectorEnv, rows: NDArray[np.int64], action: NDArray[np.int64]
) -> tuple[NDArray, ...]:
    """What a step brings the active rows."""
    if len(rows) == envs.num_envs:
        return envs.step(action)[:4]
    actions = np.zeros(envs.num_envs, np.int64)
    actions[rows] = action
    return tuple(x[rows] for x in envs.step(actions)[:4])


def _compact(action: Tensor, envs: ReplicatedVectorEnv) -> NDArray[np.integer]:
    """Actions in as few bytes as their number allows."""
    return action.cpu().numpy().astype(np.uint8 if num_actions(envs) <= 256 else np.int32)


def _by_replica(
    finished: Sequence[tuple[NDArray, ...]], num_replicas: int, num_rows: int
) -> list[FinishedEpisodes]:
    if not finished:
        return [FinishedEpisodes([], []) for _ in range(num_replicas)]
    rows, returns, lengths = (np.concatenate(x) for x in zip(*finished, strict=True))
    replica = rows // num_rows
    order = replica.argsort(kind="stable")
    returns, lengths = returns[order].tolist(), lengths[order].tolist()
    ends = np.bincount(replica, minlength=num_replicas).cumsum().tolist()
    return [FinishedEpisodes(returns[a:b], lengths[a:b]) for a, b in pairwise([0, *ends])]


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
    """Uniform numbers ``[S, M]`` step by step, each replica's from its own generator.

    Args:
        generators: one per replica.
        num_rows: N, for all of which numbers are drawn.
        steps_per_draw: how many steps' numbers are drawn together; they are the same for any.
        rows: for which M of them the numbers are.
    """

    def __init__(
        self,
        generators: Sequence[np.random.Generator],
        num_rows: int,
        steps_per_draw: int = STEPS_PER_DRAW,
        rows: slice = slice(None),
    ) -> None:
        at_once = max(1, min(steps_per_draw, NUMBERS_PER_DRAW // num_rows))
        self._generators, self._shape, self._rows = generators, (at_once, num_rows), rows
        self._drawn: NDArray[np.float32] = np.empty((0, 0, 0), np.float32)

    def at(self, t: int) -> NDArray[np.float32]:
        place = t % self._shape[0]
        if place == 0:
            draws = [g.random(self._shape, np.float32)[:, self._rows] for g in self._generators]
            self._drawn = np.stack(draws, axis=1)
        return self._drawn[place]


class _Step(NamedTuple):
    """What happens in one step of S·N rows, each ``[S·N, ...]``; ``obs`` is after it."""

    obs: NDArray
    action: NDArray[np.int64]
    log_prob: NDArray[np.float32]
    reward: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    mask: NDArray[np.bool_]


class _Recorder:
    """Collects what happens at every step for S·N rows and stacks it into ``Trajectories``."""

    def __init__(self, num_replicas: int, first_obs: NDArray) -> None:
        self._num_replicas = num_replicas
        self._obs = [first_obs]
        self._steps: list[tuple[NDArray, ...]] = []

    def add(self, step: _Step) -> None:
        self._obs.append(step.obs)
        self._steps.append((*step[1:3], step.reward.astype(np.float32), *step[4:]))

    def trajectories(self, device: torch.device, group_size: int) -> Trajectories:
        obs = self._stack(self._obs, device)
        self._obs.clear()  # as much again as what is made of it
        columns = [list(column) for column in zip(*self._steps, strict=True)]
        self._steps.clear()
        action, log_prob, reward, terminated, truncated, mask = (
            self._stack(columns.pop(0), device) for _ in range(len(columns))
        )
        return Trajectories(
            obs=obs[:, :, :-1],
            next_obs=obs[:, :, 1:],
            action=action,
            reward=reward,
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
    numbers_per_step: int = memory.LEAST_NUMBERS,
) -> Trajectories:
    """Run every row from its seeded start to the end of its episode.

    Args:
        envs: S·N sub-environments, replica by replica.
        policy: observations ``[S, B, ...]`` to logits ``[S, B, A]``.
        start_seeds: environment seeds ``[S, N]``.
        action_generators: one per replica.
        group_size: K, recorded in the result; the seeds decide the starts.
        device: where the policy's parameters are.
        numbers_per_step: as for ``Collector``.

    Raises:
        UsageError: if episodes go on for longer than there is memory for.
    """
    device = torch.device(device)
    obs, _ = envs.reset(seed=start_seeds.ravel().tolist())
    noise = _ActionNoise(action_generators, start_seeds.shape[1])
    recorder = _Recorder(len(start_seeds), obs)
    for t, step in enumerate(_steps(envs, policy, obs, noise, start_seeds.shape, device)):
        memory.check_batch(start_seeds.size, t, numbers_per_step)
        recorder.add(step)
    return recorder.trajectories(device, group_size)


def _steps(
    envs: ReplicatedVectorEnv,
    policy: Policy,
    obs: NDArray,
    noise: _ActionNoise,
    shape: tuple[int, ...],
    device: torch.device,
) -> Iterator[_Step]:
    """Step by step to the end of every row's episode.

    Rows whose episode has ended are neither stepped nor passed through the policy while the others
    finish.

    Args:
        envs: S·N sub-environments, replica by replica, which have been reset.
        policy: observations ``[S, B, ...]`` to logits ``[S, B, A]``.
        obs: first observations ``[S·N, ...]``.
        noise: for the draws of actions.
        shape: (S, N).
        device: where the policy's parameters are.
    """
    running: NDArray[np.bool_] = np.ones(envs.num_envs, dtype=bool)
    slots = _Slots(running.reshape(shape))
    t = 0
    with _threads_for(envs):
        while running.any():
            action, log_prob = slots.act(policy, obs, noise.at(t).ravel(), device)
            obs, reward, terminated, truncated, _ = envs.step(action)
            yield _Step(obs, action, log_prob, reward, terminated, truncated, running)
            ended = running & (terminated | truncated)
            if ended.any():
                running = running & ~ended
                envs.active = running
                slots = _Slots(running.reshape(shape))
            t += 1


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
