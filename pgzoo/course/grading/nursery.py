"""A process that has loaded what submissions use, and forks a process for each answer.

It is a program of its own, so that what it forks has never had the grader's memory: it knows no
seed, no submission, no grade. The grader holds the other end of ``control``: it sends one end of a
socket pair for each process to be forked, and a byte when that is to end. If the grader is gone,
everything ends.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
from contextlib import suppress
from importlib import import_module

from pgzoo.course.grading.child import serve
from pgzoo.course.grading.protections import lock_in
from pgzoo.course.grading.wire import Channel

LOADED = (
    "IPython.core.inputtransformer2",
    "gymnasium",
    "matplotlib.pyplot",
    "numpy",
    "pandas",
    "pgzoo.course.api",
    "pgzoo.estimators",
    "pgzoo.lab.api",
    "pgzoo.learning.run",
    "scipy.stats",
    "torch",
)
"""Loaded once; a submission may import anything else that is installed."""
FATE = struct.Struct("!id")
"""How a process ended: its status as ``wait`` gives it, and its seconds of processor time."""


def main(control: socket.socket, seconds: int, without: frozenset[str]) -> None:
    """Fork one process after the other until the grader hangs up.

    Args:
        control: where the grader's orders come from.
        seconds: of processor time for each process.
        without: protections to leave out.
    """
    for module in LOADED:
        import_module(module)
    control.send(b"r")
    while True:
        order, ends, _, _ = socket.recv_fds(control, 1, 1)
        if not order:
            return
        process = os.fork()
        if process == 0:
            _live(ends[0], seconds, without)
        os.close(ends[0])
        grader_lives = bool(control.recv(1))
        os.kill(process, signal.SIGKILL)  # it is no more than a zombie if it has ended already
        _, status, used = os.wait4(process, 0)
        if not grader_lives:
            return
        control.send(FATE.pack(status, used.ru_utime + used.ru_stime))


def _live(end: int, seconds: int, without: frozenset[str]) -> None:
    """The whole life of a forked process."""
    try:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nowhere, standard)
        os.dup2(end, 3)
        os.closerange(4, os.sysconf("SC_OPEN_MAX"))
        os.chdir("/")
        channel = Channel(socket.socket(fileno=3))
        try:
            lock_in(seconds, without)
        except Exception as error:  # whatever it is, nothing of a learner may run
            channel.send({"refused": str(error)})
            return
        channel.send({"refused": None})
        serve(channel)
    finally:
        os._exit(0)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    with suppress(BrokenPipeError, ConnectionResetError):  # the grader is gone
        main(socket.socket(fileno=given["control"]), given["seconds"], frozenset(given["without"]))
