"""A vector environment whose rows are stepped by several processes at once.

The calling process steps a share of the rows itself while workers step the others; each share is a
:class:`SequentialVectorEnv`. Workers are started as plain programs and spoken to over pipes with
fixed-size binary messages: nothing of the caller's ``__main__`` is imported again, no threads are
forked, nothing is pickled, and nothing in the current folder is imported that the environment does
not itself come from.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from pgzoo_envs.base import ReplicatedVectorEnv, StepResult, seed_or_none
from pgzoo_envs.sequential import SequentialVectorEnv, make_single

RESET, STEP, FAILED, DONE = b"R", b"S", b"F", b"D"
SPIN_SECONDS = 2e-3
WORKER = "import sys; sys.path += sys.argv[3:]; from pgzoo_envs.worker import main; main()"


class ProcessVectorEnv(ReplicatedVectorEnv):
    """Rows dealt out to ``num_processes`` in turn; otherwise as ``SequentialVectorEnv``.

    Neighbours are in different processes, so that each still has its share of the work when a whole
    replica's rows rest.
    """

    def __init__(self, spec: EnvSpec, num_envs: int, num_processes: int) -> None:
        self.num_processes = num_processes
        self._mine, *others = (slice(i, num_envs, num_processes) for i in range(num_processes))
        sizes = [len(range(num_envs)[rows]) for rows in (self._mine, *others)]
        self._own = SequentialVectorEnv(partial(make_single, spec), sizes[0])
        super().__init__(
            num_envs, self._own.single_observation_space, self._own.single_action_space
        )
        self._workers = [
            (rows, _start_worker(spec, n)) for rows, n in zip(others, sizes[1:], strict=True)
        ]
        self._obs = np.zeros(self.observation_space.shape or (), self.observation_space.dtype)
        self._done: NDArray[np.bool_] = np.zeros(num_envs, dtype=bool)

    def _reset_rows(self, seeds: NDArray[np.int64]) -> NDArray:
        for rows, worker in self._workers:
            _send(worker, RESET, seeds[rows], self._active[rows])
        own_seeds = [seed_or_none(s) for s in seeds[self._mine].tolist()]
        self._obs[self._mine], _ = self._own.reset(seed=own_seeds)
        for rows, worker in self._workers:
            _receive(worker, (self._obs[rows],))
        self._done[:] = False
        return self._obs.copy()

    def _on_active(self) -> None:
        self._own.active = self._active[self._mine]

    def step(self, actions: NDArray) -> StepResult:
        """Step the active rows; those that were done are reset instead."""
        numbers = np.where(self._done, self._next_seeds, actions)
        busy = [(rows, worker) for rows, worker in self._workers if self._active[rows].any()]
        for rows, worker in busy:
            _send(worker, STEP, numbers[rows], self._active[rows])
        reward = np.zeros(self.num_envs)
        terminated = np.zeros(self.num_envs, dtype=bool)
        truncated = np.zeros(self.num_envs, dtype=bool)
        results = (self._obs, reward, terminated, truncated)
        own_results = take_step(self._own, numbers[self._mine])
        for target, share in zip(results, own_results, strict=True):
            target[self._mine] = share
        for rows, worker in busy:
            _receive(worker, tuple(target[rows] for target in results))
        self._done = np.where(self._active, terminated | truncated, self._done)
        return self._obs.copy(), reward, terminated, truncated, {}

    def close_extras(self) -> None:
        """End the workers."""
        for _, worker in self._workers:
            worker.kill()
            worker.wait()
            for pipe in (worker.stdin, worker.stdout):
                assert pipe is not None
                pipe.close()
        self._own.close()

    def __del__(self) -> None:
        if not self.closed and hasattr(self, "_workers"):
            self.close()


def take_step(envs: SequentialVectorEnv, numbers: NDArray[np.int64]) -> tuple[NDArray, ...]:
    """A step with each row's action, or where it is being reset its seed."""
    envs.next_seeds = numbers
    return envs.step(numbers)[:4]


def _start_worker(spec: EnvSpec, num_envs: int) -> subprocess.Popen[bytes]:
    path, last = _worker_path(spec)
    return subprocess.Popen(
        [sys.executable, "-P", "-c", WORKER, spec.to_json(), str(num_envs), *last],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,  # Ctrl-C is for the caller, who decides when to stop
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path)},
    )


def _worker_path(spec: EnvSpec) -> tuple[list[str], list[str]]:
    """Where a worker finds modules: as the caller does, but not in the current folder.

    A file there could have the name of any module that is imported on the way. Only if this package
    or the environment itself comes from the current folder, that is searched after all the others.

    Returns:
        the folders to begin with, and those to add when Python has started.
    """
    here = Path.cwd()
    path = [p for p in sys.path if p and Path(p).resolve() != here]
    wrappers = [w.entry_point for w in spec.additional_wrappers]
    names = [__name__, str(spec.entry_point), *wrappers]
    return path, [str(here)] if any(_comes_from(here, name) for name in names) else []


def _comes_from(folder: Path, name: str) -> bool:
    """Whether a module, named as in ``package.module:attribute``, was found in this folder."""
    top = sys.modules.get(name.partition(":")[0].partition(".")[0])
    places = getattr(top, "__path__", None) or [getattr(top, "__file__", None) or ""]
    return any(Path(place).resolve().parent == folder for place in places)


def _send(
    worker: subprocess.Popen[bytes], command: bytes, numbers: NDArray, active: NDArray
) -> None:
    assert worker.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # _receive reads its last words
        worker.stdin.write(command + numbers.tobytes() + active.tobytes())


def _receive(worker: subprocess.Popen[bytes], targets: tuple[NDArray, ...]) -> None:
    """Read a reply into the arrays."""
    pipe = worker.stdout
    assert pipe is not None
    wait_awake(pipe)
    status = pipe.read(1)
    if status == FAILED:
        length = int(read_array(pipe, np.dtype(np.int64), (1,))[0])
        raise RuntimeError(f"An environment worker failed:\n{pipe.read(length).decode()}")
    if status != DONE:
        raise RuntimeError("An environment worker ended unexpectedly; its messages are above.")
    for target in targets:
        target[...] = read_array(pipe, target.dtype, target.shape)


def wait_awake(pipe: IO[bytes]) -> None:
    """Poll for a while before the coming read blocks: waking a sleeper takes longer than a step."""
    if not hasattr(select, "poll"):
        return
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    give_up = time.perf_counter() + SPIN_SECONDS
    while not poll.poll(0) and time.perf_counter() < give_up:
        pass


def read_array(pipe: IO[bytes], dtype: np.dtype, shape: tuple[int, ...]) -> NDArray:
    """Read an array sent as its bytes; ``EOFError`` when the sender is gone."""
    size = dtype.itemsize * int(np.prod(shape))
    data = bytearray()
    while len(data) < size:
        part = pipe.read(size - len(data))
        if not part:
            raise EOFError("The other side of an environment worker's pipe closed.")
        data += part
    return np.frombuffer(data, dtype).reshape(shape)
