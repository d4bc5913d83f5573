"""A vector environment whose rows are stepped by several processes at once.

The calling process steps a share of the rows itself while workers step the others; each share is a
:class:`SequentialVectorEnv`. Workers are started as plain programs and spoken to over pipes with
fixed-size binary messages: nothing of the caller's ``__main__`` is imported again, no threads are
forked, nothing is pickled, and nothing in the current folder is imported that the environment does
not itself come from.

A worker that dies is replaced. An episode is a function of its seed and its actions, so the new one
takes the same actions again, is held against what was known before, and goes on with the step that
was under way: nothing of it shows in the results.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from pgzoo_envs import pipes
from pgzoo_envs.base import NO_SEED, ReplicatedVectorEnv, StepResult, seed_or_none
from pgzoo_envs.errors import EnvError
from pgzoo_envs.running_episodes import RunningEpisodes
from pgzoo_envs.sequential import SequentialVectorEnv, make_single, take_step
from pgzoo_envs.worker_process import Program, Request, Worker, WorkerDiedError

MOST_DEATHS = 100


class ProcessVectorEnv(ReplicatedVectorEnv):
    """Rows dealt out to ``num_processes`` in turn; otherwise as ``SequentialVectorEnv``.

    Neighbours are in different processes, so that each still has its share of the work when a whole
    replica's rows rest.

    ``reset`` and ``step`` raise an ``EnvError`` if the environment raises an exception, or if a
    worker has died that cannot be replaced: twice in the same step, too often, or with an episode
    that does not repeat itself. After any error, and after Ctrl-C, the environments are closed.
    """

    def __init__(self, spec: EnvSpec, num_envs: int, num_processes: int) -> None:
        self.num_processes = num_processes
        self._workers: list[Worker] = []
        self._mine, *others = (slice(i, num_envs, num_processes) for i in range(num_processes))
        mine = len(range(num_envs)[self._mine])
        self._own = SequentialVectorEnv(partial(make_single, spec), mine)
        super().__init__(
            num_envs, self._own.single_observation_space, self._own.single_action_space
        )
        self._running = RunningEpisodes(num_envs, self.single_action_space)
        self._obs = np.zeros(self.observation_space.shape or (), self.observation_space.dtype)
        self._steps = self._deaths = 0
        program, flags = Program.of(spec), np.zeros(num_envs, bool)
        answer = (self._obs, np.zeros(num_envs), flags, flags)
        with self._closed_if_it_fails():
            for rows in others:
                self._workers.append(Worker(program, rows, [a[rows] for a in answer]))

    def _reset_rows(self, seeds: NDArray[np.int64]) -> NDArray:
        with self._closed_if_it_fails():
            self._steps = 0
            request = Request(pipes.RESET, seeds, self._active)
            self._ask(self._workers, request)
            own_seeds = [seed_or_none(s) for s in seeds[self._mine].tolist()]
            self._obs[self._mine], _ = self._own.reset(seed=own_seeds)
            self._receive(self._workers, request, (self._obs,))
            self._running.begin(seeds)
        return self._obs.copy()

    def _on_active(self) -> None:
        self._own.active = self._active[self._mine]

    def step(self, actions: NDArray) -> StepResult:
        """Step the active rows; those that were done are reset instead."""
        with self._closed_if_it_fails():
            self._steps += 1
            numbers = np.where(self._running.done, self._next_seeds, actions)
            request = Request(pipes.STEP, numbers, self._active)
            busy = [worker for worker in self._workers if self._active[worker.rows].any()]
            self._ask(busy, request)
            reward = np.zeros(self.num_envs)
            terminated = np.zeros(self.num_envs, dtype=bool)
            truncated = np.zeros(self.num_envs, dtype=bool)
            results = (self._obs, reward, terminated, truncated)
            own_results = take_step(self._own, numbers[self._mine])
            for target, share in zip(results, own_results, strict=True):
                target[self._mine] = share
            self._receive(busy, request, results)
            self._running.advance(numbers, self._active, reward, terminated | truncated)
        return self._obs.copy(), reward, terminated, truncated, {}

    @contextlib.contextmanager
    def _closed_if_it_fails(self) -> Iterator[None]:
        """Nobody knows where they stand then, and an answer may be on its way to the next question.

        Raises:
            EnvError: if they are closed already.
        """
        if self.closed:
            raise EnvError("These environments are closed. Make new ones.")
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _ask(self, workers: Sequence[Worker], request: Request) -> None:
        for worker in workers:
            with contextlib.suppress(WorkerDiedError):  # its answer will not come
                worker.ask(request)

    def _receive(
        self, workers: Sequence[Worker], request: Request, targets: Sequence[NDArray]
    ) -> None:
        """Write the workers' answers into arrays ``[num_envs, ...]``; replace those that died."""
        for worker in workers:
            try:
                answer = worker.answer(request.command)
            except WorkerDiedError as death:
                answer = self._from_another(worker, request, death)
            for target, share in zip(targets, answer, strict=True):
                target[worker.rows] = share

    def _from_another(
        self, worker: Worker, request: Request, death: WorkerDiedError
    ) -> list[NDArray]:
        """What the worker would have answered, from one that takes its place."""
        self._deaths += 1
        where = f"in step {self._steps} after the reset" if self._steps else "in the reset"
        what = f"A process that steps {worker.program.env_id} {death} {where}"
        seeds = request.numbers if request.command == pipes.RESET else self._running.seeds
        if (seeds[worker.rows] == NO_SEED).any():
            raise EnvError(
                f"{what}. It cannot be replaced: not all of its episodes were started with a seed, "
                "and no other can repeat them. Give seeds to every reset, and as next seeds."
            ) from death
        if self._deaths > MOST_DEATHS:
            raise EnvError(f"{what}. {MOST_DEATHS} others were replaced before it.") from death
        if self._deaths == 1:
            warnings.warn(
                f"{what}. Another one has to take its place; it repeats the episodes under way.",
                stacklevel=4,
            )
        try:
            worker.start_again()
            if request.command == pipes.STEP:
                self._bring_back(worker)
            worker.ask(request)
            return worker.answer(request.command)
        except WorkerDiedError as again:
            hint = ""
            if "SIGKILL" in str(again):
                hint = " So does a system that is short of memory: step fewer environments at once."
            raise EnvError(f"{what}; the one in its place {again}, too.{hint}") from again

    def _bring_back(self, worker: Worker) -> None:
        """Take the actions of the episodes under way again.

        Raises:
            EnvError: if that leads elsewhere.
        """
        rows, running = worker.rows, self._running
        lengths, actions = running.lengths[rows], running.actions(rows)
        everyone = np.ones(len(lengths), bool)
        (obs,) = worker.call(pipes.RESET, running.seeds[rows], everyone)
        returns, done = np.zeros(len(lengths)), ~everyone
        for t in range(actions.shape[1]):
            active = t < lengths
            _expect_repeated(not done[active].any(), worker)
            obs, reward, terminated, truncated = worker.call(pipes.STEP, actions[:, t], active)
            returns += reward
            done |= terminated | truncated
        now, before = (obs, returns, done), (self._obs, running.returns, running.done)
        for found, known in zip(now, before, strict=True):
            _expect_repeated(found.tobytes() == known[rows].tobytes(), worker)

    def close_extras(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:
            worker.wait()
        self._own.close()

    def __del__(self) -> None:
        if not self.closed and hasattr(self, "_own"):
            self.close()


def _expect_repeated(condition: bool, worker: Worker) -> None:
    if not condition:
        raise EnvError(
            f"A process that steps {worker.program.env_id} has died and cannot be replaced: the "
            "same seeds and actions have led elsewhere. This environment's reset does not "
            "seed all the random numbers that it draws, or it depends on something else."
        )
