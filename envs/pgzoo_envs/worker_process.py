"""A worker as its caller sees it: how it is started, spoken to, and found dead.

What it does itself is in ``worker``, the bytes between them in ``pipes``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from pgzoo_envs import pipes
from pgzoo_envs.errors import EnvError

MILLISECONDS_BETWEEN_LOOKS = 1000
PROGRAM = "import sys; sys.path += sys.argv[3:]; from pgzoo_envs.worker import main; main()"


def fate(status: int) -> str:
    """How a process ended, in words, from its ``Popen.returncode``."""
    if status < 0:
        known = {int(s): s.name for s in signal.Signals}
        return f"was killed ({known.get(-status, f'signal {-status}')})"
    return f"ended unexpectedly (status {status})"


class WorkerDiedError(Exception):
    """A worker is no more; the message is its fate."""


@dataclass(frozen=True)
class Request:
    """What every row is to do.

    Attributes:
        command: RESET or STEP.
        numbers: each row's action, or where it is being reset its seed, ``[num_envs]``.
        active: which rows, ``[num_envs]``.
    """

    command: bytes
    numbers: NDArray[np.int64]
    active: NDArray[np.bool_]


class Worker:
    """A process that steps some of the rows.

    Args:
        program: that it runs.
        rows: which of the environment's.
        like: arrays of the types and shapes of its answers to STEP; RESET has the first one.
    """

    def __init__(self, program: Program, rows: slice, like: Sequence[NDArray]) -> None:
        self.program, self.rows, self._like = program, rows, like
        self._process = program.start(len(like[0]))

    def start_again(self) -> None:
        """A new process, which knows nothing yet."""
        self.wait()
        self._process = self.program.start(len(self._like[0]))

    def ask(self, request: Request) -> None:
        """Send what its rows are to do."""
        self._send(request.command, request.numbers[self.rows], request.active[self.rows])

    def _send(self, command: bytes, numbers: NDArray, active: NDArray) -> None:
        assert self._process.stdin is not None
        try:
            pipes.write(self._process.stdin, command + numbers.tobytes() + active.tobytes())
        except BrokenPipeError:
            raise self._death() from None

    def answer(self, command: bytes) -> list[NDArray]:
        """What came of it: observations, and for STEP rewards, terminations, truncations.

        Raises:
            EnvError: if the environment raised an exception.
            WorkerDiedError: without a whole answer.
        """
        pipe = self._process.stdout
        assert pipe is not None
        pipes.wait_awake(pipe)
        while not pipes.has_something(pipe, MILLISECONDS_BETWEEN_LOOKS):
            if self._process.poll() is not None:  # and yet a child of its own holds the pipe
                raise self._death()
        try:
            if pipes.read(pipe, 1) == pipes.DONE:
                return pipes.read_arrays(pipe, self._like[: 1 if command == pipes.RESET else None])
            (length,) = pipes.read_arrays(pipe, [np.zeros(1, np.int64)])
            raise EnvError(pipes.read(pipe, int(length[0])).decode())
        except EOFError:
            raise self._death() from None

    def call(self, command: bytes, numbers: NDArray, active: NDArray) -> list[NDArray]:
        """The answer to what its own rows are to do, ``[M]``."""
        self._send(command, numbers, active)
        return self.answer(command)

    def _death(self) -> WorkerDiedError:
        return WorkerDiedError(fate(self._process.wait()))

    def kill(self) -> None:
        """End it, if it has not ended."""
        self._process.kill()

    def wait(self) -> None:
        """Until it has ended; nothing of it is left."""
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


@dataclass(frozen=True)
class Program:
    """How workers are started: at any time as the first one was.

    Attributes:
        env_id: of the environment that they step.
        spec: that describes it.
        path: where it finds modules to begin with.
        last: folders that are searched after those.
    """

    env_id: str
    spec: str
    path: str
    last: Sequence[str]

    @classmethod
    def of(cls, spec: EnvSpec) -> Program:
        """The program for an environment.

        It finds modules as the caller does, but not in the current folder: a file there could have
        the name of any module that is imported on the way. Only if this package or the environment
        itself comes from the current folder, that is searched after all the others.
        """
        try:
            here = Path.cwd()
        except FileNotFoundError:  # it was removed; nothing can come from there
            absolute = [p for p in sys.path if os.path.isabs(p)]
            return cls(spec.id, spec.to_json(), os.pathsep.join(absolute), [])
        path = [p for p in sys.path if p and Path(p).resolve() != here]
        wrappers = [w.entry_point for w in spec.additional_wrappers]
        names = [__name__, str(spec.entry_point), *wrappers]
        last = [str(here)] if any(_comes_from(here, name) for name in names) else []
        return cls(spec.id, spec.to_json(), os.pathsep.join(path), last)

    def start(self, num_envs: int) -> subprocess.Popen[bytes]:
        """A process with so many rows.

        Raises:
            EnvError: if the system gives none.
        """
        try:
            return subprocess.Popen(
                [sys.executable, "-P", "-c", PROGRAM, self.spec, str(num_envs), *self.last],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL if sys.__stderr__ is None else None,
                bufsize=0,
                cwd=None if _has_folder() else os.path.abspath(os.sep),
                start_new_session=True,  # Ctrl-C is for the caller, who decides when to stop
                env=os.environ | {"PYTHONPATH": self.path},
            )
        except OSError as error:
            raise EnvError(
                f"Expected to start a process that steps {self.env_id}; the system refused: "
                f"{error.strerror}. Step fewer environments at once, or end other programs."
            ) from error


def _has_folder() -> bool:
    """Whether there is a current folder: Python of a virtual environment starts in no other."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _comes_from(folder: Path, name: str) -> bool:
    """Whether a module, named as in ``package.module:attribute``, was found in this folder."""
    top = sys.modules.get(name.partition(":")[0].partition(".")[0])
    places = getattr(top, "__path__", None) or [getattr(top, "__file__", None) or ""]
    return any(Path(place).resolve().parent == folder for place in places)
