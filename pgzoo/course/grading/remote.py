"""A learner's function in another process, as checkers know it, and the processes for it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from pgzoo.course.answer import AnswerError
from pgzoo.course.grading.nursery import FATE
from pgzoo.course.grading.wire import Channel, Malformed
from pgzoo.course.result import FAILED
from pgzoo.errors import UsageError

TIMED_OUT = "timed out"
PATIENCE = 3
"""Seconds to wait for a process, for each second of processor time that it may use."""
KEPT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "SYSTEMROOT")
"""Variables of the environment that a learner's process gets."""
DIED = (
    "The process that learners' processes come from was killed. If memory is short, give fewer "
    "`jobs`."
)
NOT_LOCKED_IN = (
    "Expected the kernel to lock a learner's process in, but it refused ({}). Grade "
    "on another machine, or name the protections that you do `without`."
)


class GradingError(UsageError):
    """Grading cannot go on, for reasons that no submission has."""


class EndedError(AnswerError):
    """A learner's process is gone, by its own doing.

    Attributes:
        status: what the grade is then.
        says: why.
    """

    def __init__(self, status: str, says: str) -> None:
        super().__init__("Ended", says)
        self.status, self.says = status, says


class RemoteAnswer:
    """A function of a submission, in a process of its own; see ``Answer``.

    Args:
        channel: to that process.
        nursery: that forked it.

    Attributes:
        ended: why the process is gone, if it is.
    """

    def __init__(self, channel: Channel, nursery: Nursery) -> None:
        self._channel, self._nursery = channel, nursery
        self._patience = float(PATIENCE * nursery.seconds)
        self.ended: EndedError | None = None

    def find(self, files: Mapping[str, bytes], name: str, chapter: int) -> dict[str, Any]:
        """Look for the function; see ``definitions.find``.

        Returns:
            Whether it is *found*, its *file*, *notes* and whether anything was *readable*.
        """
        content = {path: np.frombuffer(data, np.uint8) for path, data in files.items()}
        found = self._ask({"files": content, "name": name, "chapter": chapter})
        kinds = {"found": bool, "file": str, "notes": list, "readable": bool}
        if not all(isinstance(found.get(k), kind) for k, kind in kinds.items()):
            raise self._no_answer()
        if not all(isinstance(note, str) for note in found["notes"]):
            raise self._no_answer()
        return found

    def __call__(self, *args: Any) -> Any:
        """The function's value."""
        return self._value({"args": args})["value"]

    def derivatives(self, *args: Any, of: Sequence[int]) -> tuple[Any, tuple[Tensor, ...]]:
        """The value, and gradients of its sum."""
        reply = self._value({"args": args, "of": tuple(of)})
        gradients = reply.get("gradients")
        if not isinstance(gradients, tuple) or len(gradients) != len(of):
            raise self._no_answer()
        for gradient, i in zip(gradients, of, strict=True):
            if not isinstance(gradient, Tensor) or gradient.shape != args[i].shape:
                raise self._no_answer()
        return reply["value"], gradients

    def _value(self, request: Mapping[str, Any]) -> dict[str, Any]:
        reply = self._ask(request)
        if "value" in reply:
            return reply
        raised, text, line = (reply.get(k) for k in ("kind", "text", "line"))
        if isinstance(raised, str) and isinstance(text, str) and isinstance(line, int | None):
            raise AnswerError(raised, text, line)
        raise self._no_answer()

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if self.ended is not None:
            raise self.ended
        begun = time.monotonic()
        try:
            self._channel.send(request, max(self._patience, 0.01))
            reply = self._channel.receive(self._patience - (time.monotonic() - begun))
        except TimeoutError:
            raise self._end(TIMED_OUT, self._nursery.too_long) from None
        except OSError:
            raise self._end() from None
        except Malformed as error:
            raise self._end(FAILED, f"Its process sent what is no answer: {error}.") from None
        self._patience -= time.monotonic() - begun
        if not isinstance(reply, dict):
            raise self._no_answer()
        return reply

    def _no_answer(self) -> EndedError:
        return self._end(FAILED, "Its process sent what is no answer.")

    def _end(self, status: str | None = None, says: str = "") -> EndedError:
        self._channel.close()
        how = self._nursery.end_process()
        self.ended = EndedError(status, says) if status else how
        return self.ended


class Nursery:
    """Where learners' processes come from, one at a time.

    Args:
        seconds: of processor time for each.
        without: protections to leave out.

    Raises:
        GradingError: if it does not start.
    """

    def __init__(self, seconds: int, without: Sequence[str] = ()) -> None:
        self.seconds = seconds
        self._control, other = socket.socketpair()
        settings = {"control": other.fileno(), "seconds": seconds, "without": list(without)}
        path = [p for p in sys.path if p and Path(p).exists()]
        threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pgzoo.course.grading.nursery", json.dumps(settings)],
            pass_fds=[other.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the grader
            env={k: v for k, v in os.environ.items() if k in KEPT}
            | dict.fromkeys(threads, "1")
            | {"PYTHONPATH": os.pathsep.join(path), "PYTHONHASHSEED": "0", "MPLBACKEND": "agg"}
            | {"CUDA_VISIBLE_DEVICES": ""},
        )
        other.close()
        self._at_work = False
        if self._control.recv(1) != b"r":
            raise GradingError(DIED)

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()
        self._process.wait()

    @property
    def too_long(self) -> str:
        """What to say of a process that computed or waited for too long, whichever was first."""
        most = PATIENCE * self.seconds
        return f"It took more than {self.seconds} s of processor time, or {most} s in all."

    @contextlib.contextmanager
    def process(self) -> Iterator[RemoteAnswer]:
        """A fresh process, locked in; it ends with the block.

        Raises:
            GradingError: if it cannot be made, or not be locked in.
        """
        here, there = socket.socketpair()
        with here:
            with there:
                socket.send_fds(self._control, [b"f"], [there.fileno()])
            self._at_work = True
            channel = Channel(here)
            try:
                refused = channel.receive()["refused"]
            except (OSError, Malformed) as error:
                raise GradingError(DIED) from error
            if refused is not None:
                raise GradingError(NOT_LOCKED_IN.format(refused))
            try:
                yield RemoteAnswer(channel, self)
            finally:
                if self._at_work:
                    self.end_process()

    def end_process(self) -> EndedError:
        """End the process that is at work, if it has not ended, and say how it did."""
        self._at_work = False
        try:
            self._control.send(b"e")
            status, used = FATE.unpack(self._control.recv(FATE.size, socket.MSG_WAITALL))
        except (OSError, struct.error) as error:
            raise GradingError(DIED) from error
        # SIGKILL comes a second after SIGXCPU, from a system short of memory, or from the nursery,
        # where a process has hung up and would have ended by itself a moment later.
        number = os.WTERMSIG(status)
        if number == signal.SIGXCPU or (number == signal.SIGKILL and used > self.seconds / 2):
            return EndedError(TIMED_OUT, self.too_long)
        if os.WIFEXITED(status) or number == signal.SIGKILL:
            return EndedError(FAILED, "Its process ended before it answered.")
        return EndedError(FAILED, f"Its process was ended by {signal.Signals(number).name}.")
