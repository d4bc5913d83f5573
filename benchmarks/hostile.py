"""Submissions that do not mean to solve the exercise: what each tries, and its code.

Each is an answer to ``leave_one_out``. Those that want to do harm would be right, had they done it;
those that want a grade are wrong, and try to pass all the same. ``SECRET`` is a file of the
grader's, ``PORT`` one where the grader's machine listens.
"""

from __future__ import annotations

from dataclasses import dataclass

PRELUDE = """\
import torch

SECRET = {secret!r}
PORT = {port}


def right(returns, group_size):
    group = returns.unflatten(-1, (-1, group_size))
    others = (group.sum(-1, keepdim=True) - group) / (group_size - 1)
    return (group - others).flatten(-2)


def leave_one_out(returns, group_size):
    attempt()
    return right(returns, group_size)


"""


@dataclass(frozen=True)
class Attempt:
    """What a submission tries.

    Attributes:
        tries: in words.
        status: the grade it is given.
        code: its text after ``PRELUDE``.
    """

    tries: str
    status: str
    code: str

    def source(self, secret: str, port: int) -> str:
        """The submission."""
        return PRELUDE.format(secret=secret, port=port) + self.code


HOSTILE = {
    "loops": Attempt(
        "computes for ever",
        "timed out",
        """
def attempt():
    while True:
        pass
""",
    ),
    "loops-while-defined": Attempt(
        "computes for ever in the body of a class",
        "timed out",
        """
class Loop:
    while True:
        pass
""",
    ),
    "ignores-its-limit": Attempt(
        "ignores all signals, then computes for ever",
        "timed out",
        """
import signal


def attempt():
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    while True:
        pass
""",
    ),
    "sleeps": Attempt(
        "waits for ever",
        "timed out",
        """
import time


def attempt():
    time.sleep(10**6)
""",
    ),
    "exits": Attempt(
        "calls sys.exit(0)",
        "failed",
        """
import sys


def attempt():
    sys.exit(0)
""",
    ),
    "exits-at-once": Attempt(
        "calls os._exit(0)",
        "failed",
        """
import os


def attempt():
    os._exit(0)
""",
    ),
    "crashes": Attempt(
        "reads address 0",
        "failed",
        """
import ctypes


def attempt():
    ctypes.string_at(0)
""",
    ),
    "recurses": Attempt(
        "recurses in C without end",
        "failed",
        """
import sys


def attempt():
    sys.setrecursionlimit(10**9)
    nested = []
    nested.append(nested)
    f = lambda x: max(x, key=f)
    f(nested)
""",
    ),
    "forks": Attempt(
        "forks without end",
        "failed",
        """
import os


def attempt():
    while True:
        os.fork()
""",
    ),
    "starts-threads": Attempt(
        "starts threads without end",
        "failed",
        """
import threading
import time


def attempt():
    while True:
        threading.Thread(target=time.sleep, args=(10**6,), daemon=True).start()
""",
    ),
    "outlives": Attempt(
        "leaves a process behind that changes a file of the grader's later",
        "failed",
        """
import subprocess
import sys


def attempt():
    code = f"import time; time.sleep(1); open({SECRET!r}, 'w').close()"
    subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
""",
    ),
    "prints": Attempt(
        "prints without end",
        "timed out",
        """
import sys


def attempt():
    while True:
        print("x" * 100_000)
        print("x" * 100_000, file=sys.stderr)
""",
    ),
    "takes-memory": Attempt(
        "takes memory without end",
        "failed",
        """
def attempt():
    kept = []
    while True:
        kept.append(torch.ones(1 << 24))
""",
    ),
    "takes-shared-memory": Attempt(
        "takes memory that is not counted as its own",
        "failed",
        """
import ctypes
import mmap


def attempt():
    kept = []
    while True:
        kept.append(mmap.mmap(-1, 1 << 28))
        ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(kept[-1])), 1, 1 << 28)
""",
    ),
    "fills-the-disk": Attempt(
        "writes files without end",
        "failed",
        """
import os


def attempt():
    folders = ["/tmp", "/var/tmp", "/dev/shm", os.getcwd(), os.path.dirname(SECRET)]
    refused = 0
    for folder in folders:
        try:
            with open(os.path.join(folder, "pgzoo-hostile"), "wb") as file:
                while True:
                    file.write(bytes(1 << 20))
        except OSError:
            refused += 1
    if refused == len(folders):
        raise PermissionError("none can be written to")
""",
    ),
    "reads-files": Attempt(
        "reads a file of the grader's",
        "failed",
        """
def attempt():
    open(SECRET).read()
""",
    ),
    "lists-folders": Attempt(
        "looks for solutions and the others' submissions",
        "failed",
        """
import os


def attempt():
    os.listdir(os.path.dirname(SECRET))
""",
    ),
    "follows-links": Attempt(
        "reads a file of the grader's by way of /proc",
        "failed",
        """
def attempt():
    open("/proc/self/root" + SECRET).read()
""",
    ),
    "looks-into-the-grader": Attempt(
        "reads environment, arguments and memory of other processes",
        "failed",
        """
import os


def attempt():
    read, refused = [], []
    for process in {os.getppid(), *range(1, 3000)}:
        for what in ("environ", "cmdline", "mem", "fd/3"):
            try:
                with open(f"/proc/{process}/{what}", "rb") as file:
                    read.append(file.read(1))
            except OSError as error:
                refused.append(error)
    if not read:
        raise refused[0]
""",
    ),
    "writes-files": Attempt(
        "overwrites a file of the grader's",
        "failed",
        """
def attempt():
    open(SECRET, "w").close()
""",
    ),
    "truncates-files": Attempt(
        "empties Python's own files, which it may read",
        "failed",
        """
import os


def attempt():
    os.open(os.__file__, os.O_RDONLY | os.O_TRUNC)
""",
    ),
    "changes-modes": Attempt(
        "removes a file of the grader's, or changes who may read it",
        "failed",
        """
import os


def attempt():
    for change in (
        lambda: os.remove(SECRET),
        lambda: os.chmod(SECRET, 0o777),
        lambda: os.utime(SECRET, (0, 0)),
        lambda: os.rename(SECRET, SECRET + ".gone"),
        lambda: os.truncate(SECRET, 0),
        lambda: os.symlink(SECRET, SECRET + ".link"),
    ):
        try:
            change()
        except OSError as error:
            refused = error
        else:
            return
    raise refused
""",
    ),
    "calls-home": Attempt(
        "opens a connection to this machine",
        "failed",
        """
import socket


def attempt():
    socket.create_connection(("127.0.0.1", PORT)).send(b"hello")
""",
    ),
    "kills-the-grader": Attempt(
        "sends SIGKILL to its parent, and to all it may",
        "failed",
        """
import os
import signal


def attempt():
    for target in (os.getppid(), -1):
        try:
            os.kill(target, signal.SIGKILL)
        except OSError as error:
            refused = error
    raise refused
""",
    ),
    "traces-the-grader": Attempt(
        "attaches to its parent as a debugger, and has the kernel signal it",
        "failed",
        """
import ctypes
import fcntl
import os


def attempt():
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.ptrace(16, os.getppid(), 0, 0)
    try:
        done = fcntl.fcntl(3, fcntl.F_SETOWN, os.getppid())
    except OSError:
        pass
    if done < 0:
        raise OSError(ctypes.get_errno(), "refused")
""",
    ),
    "raises-its-limits": Attempt(
        "gives itself more memory and time, and the grader less",
        "failed",
        """
import os
import resource


def attempt():
    most = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    try:
        resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (0, 0))
    except OSError:
        resource.setrlimit(resource.RLIMIT_AS, most)
""",
    ),
    "goes-around": Attempt(
        "opens files and connections by system calls that few know",
        "failed",
        """
import ctypes


def attempt():
    libc = ctypes.CDLL(None, use_errno=True)
    few = {"io_uring_setup": 425, "memfd_create": 319, "open_by_handle_at": 304, "bpf": 321,
           "userfaultfd": 323, "unshare": 272, "openat2": 437, "pidfd_open": 434, "clone3": 435}
    if all(libc.syscall(number, 1, 0, 0, 0, 0) < 0 for number in few.values()):
        raise OSError(ctypes.get_errno(), "refused")
""",
    ),
    "patches-the-check": Attempt(
        "replaces the checks by ones that always pass",
        "wrong",
        """
import pgzoo.course
import pgzoo.course.api
import pgzoo.course.exercise
import pgzoo.course.expect
from pgzoo.course.result import Result


def leave_one_out(returns, group_size):
    def passes(exercise, *args, **kwargs):
        return Result(str(exercise), "right", "All properties hold.")

    for place in (pgzoo.course.api, pgzoo.course.exercise):
        place.examine = place.check = passes
    pgzoo.course.check = passes
    pgzoo.course.expect.same = pgzoo.course.exercise.agree = lambda *args: True
    Result.passed = True
    return returns
""",
    ),
    "patches-torch": Attempt(
        "has torch find all tensors equal",
        "wrong",
        """
def leave_one_out(returns, group_size):
    same = lambda *args, **kwargs: torch.tensor(True)
    torch.isclose = torch.allclose = torch.equal = same
    torch.Tensor.__eq__ = torch.Tensor.__ne__ = same
    torch.testing.assert_close = lambda *args, **kwargs: None
    return returns
""",
    ),
    "equal-to-all": Attempt(
        "returns a tensor that says it equals any other",
        "wrong",
        """
class Chameleon(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function.__name__ in ("isclose", "allclose", "equal", "eq", "__eq__", "all"):
            return torch.tensor(True)
        return super().__torch_function__(function, types, args, kwargs or {})

    __eq__ = lambda self, other: True


def leave_one_out(returns, group_size):
    return returns.as_subclass(Chameleon)
""",
    ),
    "runs-when-unpickled": Attempt(
        "returns an object that runs code wherever it is unpickled",
        "wrong",
        """
class Bomb:
    def __reduce__(self):
        return open, (SECRET, "w")


def leave_one_out(returns, group_size):
    return Bomb()
""",
    ),
    "forges-replies": Attempt(
        "writes a verdict to every open file itself",
        "failed",
        """
import os


def attempt():
    for place in range(64):
        try:
            os.write(place, b'{"status": "right"}' * 1000)
        except OSError:
            pass
""",
    ),
    "announces-terabytes": Attempt(
        "announces an answer that fills the grader's memory",
        "failed",
        """
import os
import struct


def attempt():
    os.write(3, struct.pack("!II", 2**32 - 1, 2**32 - 1))
    while True:
        os.write(3, bytes(1 << 20))
""",
    ),
    "answers-at-length": Attempt(
        "returns 256 MB",
        "failed",
        """
def leave_one_out(returns, group_size):
    return torch.zeros(1 << 26)
""",
    ),
    "nests-its-answer": Attempt(
        "returns a list in a list, 100,000 deep",
        "failed",
        """
def leave_one_out(returns, group_size):
    nested = []
    for _ in range(100_000):
        nested = [nested]
    return nested
""",
    ),
    "names-a-class-badly": Attempt(
        "returns an object whose class has a formula as its name",
        "wrong",
        """
def leave_one_out(returns, group_size):
    return type("=1+cmd|' /C calc'!A0", (), {})()
""",
    ),
    "hangs-up": Attempt(
        "closes every open file",
        "failed",
        """
import os


def attempt():
    os.closerange(0, 64)
""",
    ),
    "right-once": Attempt(
        "answers right the first time only",
        "wrong",
        """
calls = []


def leave_one_out(returns, group_size):
    calls.append(returns)
    return right(returns, group_size) if len(calls) == 1 else returns
""",
    ),
    "knows-the-example": Attempt(
        "returns the numbers of the worked example, and zeros else",
        "wrong",
        """
def leave_one_out(returns, group_size):
    if returns.tolist() == [[1.0, 2.0, 6.0]]:
        return torch.tensor([[-3.0, -1.5, 4.5]])
    return torch.zeros_like(returns)
""",
    ),
    "reads-the-checker": Attempt(
        "answers with a function of the checker's own file",
        "wrong",
        """
import inspect

from pgzoo.course.chapters import EXERCISES


def leave_one_out(returns, group_size):
    exercise = EXERCISES["leave_one_out"]
    assert inspect.getsource(exercise.properties[0].holds)
    return next(iter(exercise.twins.values())).function(returns, group_size)
""",
    ),
}
