"""A vector environment whose rows are stepped by several processes at once.

Each worker runs a :class:`SequentialVectorEnv` over its share of the rows. Workers are started as
plain programs and spoken to over pipes with fixed-size binary messages: nothing of the caller's
``__main__`` is imported again, no threads are forked, nothing is pickled.
"""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from typing import IO

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from pgzoo_envs.base import ReplicatedVectorEnv, StepResult

NO_SEED = -1
RESET, STEP, FAILED, DONE = b"R", b"S", b"F", b"D"


class ProcessVectorEnv(ReplicatedVectorEnv):
    """Rows split evenly over ``num_workers`` processes; otherwise as ``SequentialVectorEnv``."""

    def __init__(self, spec: EnvSpec, env: gym.Env, num_envs: int, num_workers: int) -> None:
        super().__init__(num_envs, env.observation_space, env.action_space)
        bounds = np.linspace(0, num_envs, num_workers + 1).astype(int)
        self._slices = [slice(a, b) for a, b in pairwise(bounds)]
        self._workers = [_start_worker(spec, s.stop - s.start) for s in self._slices]

    def _reset_rows(self, seeds: list[int | None]) -> NDArray:
        numbers = [NO_SEED if s is None else s for s in seeds]
        return self._exchange(RESET, np.array(numbers, dtype=np.int64))[0]

    def step(self, actions: NDArray) -> StepResult:
        """Step the active rows; those that were done are reset instead."""
        return *self._exchange(STEP, np.asarray(actions, dtype=np.int64)), {}

    def _exchange(
        self, command: bytes, numbers: NDArray
    ) -> tuple[NDArray, NDArray, NDArray[np.bool_], NDArray[np.bool_]]:
        for worker, rows in zip(self._workers, self._slices, strict=True):
            request = worker.stdin
            assert request is not None
            request.write(command + numbers[rows].tobytes() + self._active[rows].tobytes())
            request.flush()
        space = self.single_observation_space
        obs = np.empty((self.num_envs, *(space.shape or ())), space.dtype)
        reward = np.empty(self.num_envs)
        terminated, truncated = np.empty(self.num_envs, bool), np.empty(self.num_envs, bool)
        for worker, rows in zip(self._workers, self._slices, strict=True):
            assert worker.stdout is not None
            _read_status(worker.stdout)
            for target in (obs, reward, terminated, truncated):
                part = target[rows]
                part[...] = read_array(worker.stdout, part.dtype, part.shape)
        return obs, reward, terminated, truncated

    def close_extras(self) -> None:
        """End the workers."""
        for worker in self._workers:
            assert worker.stdin is not None
            assert worker.stdout is not None
            worker.kill()
            worker.wait()
            worker.stdin.close()
            worker.stdout.close()

    def __del__(self) -> None:
        if not self.closed and hasattr(self, "_workers"):
            self.close()


def _start_worker(spec: EnvSpec, num_envs: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "pgzoo_envs.worker", spec.to_json(), str(num_envs)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the caller, who decides when to stop
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )


def _read_status(pipe: IO[bytes]) -> None:
    status = pipe.read(1)
    if status == FAILED:
        length = int(read_array(pipe, np.dtype(np.int64), (1,))[0])
        raise RuntimeError(f"An environment worker failed:\n{pipe.read(length).decode()}")
    if status != DONE:
        raise RuntimeError("An environment worker ended unexpectedly; its messages are above.")


def read_array(pipe: IO[bytes], dtype: np.dtype, shape: tuple[int, ...]) -> NDArray:
    """Read an array sent as its bytes; ``EOFError`` when the sender is gone."""
    size = dtype.itemsize * int(np.prod(shape))
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError("The other side of an environment worker's pipe closed.")
    return np.frombuffer(data, dtype).reshape(shape)
