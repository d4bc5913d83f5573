"""What a learner's process is locked into, by the kernel, before it reads a line of a submission.

It is one process with one thread, and stays so. It may read Python, its packages and the system's
libraries; it may write nothing, and knows no network. Three protections make that, and none of
them asks for privileges:

- *files*: Landlock lets it read what ``readable`` lists. Other files can be asked for by name
  whether they exist and how large they are, and nothing else.
- *calls*: a seccomp filter allows the system calls that computing needs. There is none to start a
  process or a program, to open a socket, to send a signal, to look into another process, or to
  open, change or remove a file for writing.
- *limits*: of processor time, of memory beyond what Python and torch occupy, of open files.

Being one process makes the limits hold: they are for each process, and nothing outlives it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import site
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    import pyseccomp
except (ImportError, RuntimeError) as error:  # it is not there, or the library it needs is not
    pyseccomp, NO_SECCOMP = None, str(error)

MEMORY = 1 << 30
"""Bytes beyond what the process has when it is locked in."""
OPEN_FILES = 64
PROTECTIONS = {
    "files": "it reads no files but Python's",
    "calls": "it starts no process, opens no connection, writes no file, sends no signal",
    "limits": "its processor time and memory are bounded",
}
CALLS = """
read readv pread64 write writev lseek close close_range dup dup2 dup3
stat fstat lstat newfstatat statx statfs fstatfs access faccessat faccessat2
readlink readlinkat getdents64 getcwd
mmap munmap mprotect mremap madvise brk
futex set_robust_list rseq sched_yield sched_getaffinity getcpu membarrier
rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack restart_syscall
getpid gettid getppid getuid geteuid getgid getegid getrandom uname sysinfo
clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times getrusage getrlimit
poll ppoll select pselect6 sendto recvfrom exit exit_group
"""
"""Allowed with any arguments; the only socket there is leads to the grader."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
"""Flags of which none is set when a file is opened to be read."""
_DUPLICATE, _GET_FD, _SET_FD, _GET_FLAGS, _DUPLICATE_CLOEXEC = 0, 1, 2, 3, 1030
_SIGNAL_AT_END_OF_PARENT, _NO_NEW_PRIVILEGES = 1, 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_LANDLOCK_VERSION, _BENEATH = 1, 1
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
_ALL_OF_FIRST_VERSION = (1 << 13) - 1


def missing() -> dict[str, str]:
    """Protections that this machine does not have, and why."""
    if sys.platform != "linux":
        return dict.fromkeys(PROTECTIONS, f"{sys.platform} has none, Linux does")
    found = {}
    if _landlock_version() < 1:
        found["files"] = "the kernel has no Landlock; it needs Linux 5.13 with it switched on"
    if pyseccomp is None:
        found["calls"] = f"{NO_SECCOMP}; it needs pip install 'pgzoo[grade]' and libseccomp"
    return found


def lock_in(seconds: int, without: frozenset[str]) -> None:
    """Give up what a learner's process must not have; nothing can bring it back.

    Args:
        seconds: of processor time that this process may use in all.
        without: names of protections to leave out.

    Raises:
        OSError: if the kernel refuses; then nothing of a learner may run.
    """
    if "limits" not in without:
        _limit(seconds)
    end_with_parent()
    if sys.platform == "linux":
        _control_process(_NO_NEW_PRIVILEGES, 1)
    if "files" not in without:
        _restrict_files()
    if "calls" not in without:
        _restrict_calls()


def end_with_parent() -> None:
    """Have this process killed when the one that made it ends, where the system can do that."""
    if sys.platform == "linux":
        _control_process(_SIGNAL_AT_END_OF_PARENT, signal.SIGKILL)


def readable() -> list[Path]:
    """Folders and files that every learner's process may read."""
    import pgzoo_envs

    import pgzoo

    scheme = sysconfig.get_paths()
    places: list[str | Path] = [
        *(scheme[k] for k in ("stdlib", "platstdlib", "purelib", "platlib")),
        *site.getsitepackages(),
        *([site.getusersitepackages()] if site.ENABLE_USER_SITE else []),
        *(Path(prefix) / "lib" for prefix in (sys.prefix, sys.base_prefix)),
        *(Path(str(module.__file__)).parent for module in (pgzoo, pgzoo_envs)),
        *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo"),
        *("/etc/ld.so.cache", "/etc/localtime", "/dev/null", "/dev/urandom"),
    ]
    return sorted({Path(p).resolve() for p in places if os.path.exists(p)})


def _limit(seconds: int) -> None:
    import resource

    memory = MEMORY
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        memory += pages * os.sysconf("SC_PAGE_SIZE")
    limits = {"AS": memory, "FSIZE": 0, "CORE": 0, "NOFILE": OPEN_FILES}
    for name, most in limits.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))  # the first can be ignored


def _landlock_version() -> int:
    return _libc().syscall(_CREATE_RULESET, None, 0, _LANDLOCK_VERSION)


def _restrict_files() -> None:
    """Landlock: nothing of all that its first version knows, but reading below ``readable``.

    The first version is enough, since what came later is about writing and the network.
    """
    handled = ctypes.c_uint64(_ALL_OF_FIRST_VERSION)
    rules = _done(_libc().syscall(_CREATE_RULESET, ctypes.byref(handled), 8, 0))
    for path in readable():
        allowed = _READ_FILE | (_READ_FOLDER if path.is_dir() else 0)
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rule = allowed.to_bytes(8, sys.byteorder) + place.to_bytes(4, sys.byteorder)
        _done(_libc().syscall(_ADD_RULE, rules, _BENEATH, rule, 0))
        os.close(place)
    _done(_libc().syscall(_RESTRICT_SELF, rules, 0))
    os.close(rules)


def _restrict_calls() -> None:
    """Seccomp: all system calls are refused but ``CALLS`` and some with certain arguments."""
    rules = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    for name, *args in _allowed():
        if pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) != -1:  # not of this libseccomp
            conditions = [pyseccomp.Arg(place, pyseccomp.MASKED_EQ, m, v) for place, m, v in args]
            rules.add_rule(pyseccomp.ALLOW, name, *conditions)
    rules.load()


def _allowed() -> Iterator[tuple[Any, ...]]:
    """Names of system calls, each with conditions: place of an argument, mask, and value."""
    everything = (1 << 32) - 1
    for name in CALLS.split():
        yield (name,)
    yield "open", (1, WRITING, 0)
    yield "openat", (2, WRITING, 0)
    yield "prlimit64", (0, everything, 0), (2, (1 << 64) - 1, 0)  # one's own limits are read
    for command in (_DUPLICATE, _GET_FD, _SET_FD, _GET_FLAGS, _DUPLICATE_CLOEXEC):
        yield "fcntl", (1, everything, command)  # others have the kernel send signals
    for request in (0x5401, 0x5421, 0x5451):  # a terminal? wait or not; close on exec
        yield "ioctl", (1, everything, request)


def _control_process(option: int, value: int) -> None:
    _done(_libc().prctl(option, value, 0, 0, 0))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _done(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
