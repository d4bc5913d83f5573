"""A command in a process of its own, forked from one that has imported everything, and watched."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import io
import json
import os
import resource
import signal
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

MEMORY = 4 * 2**30
"""Bytes of address space that a command may add to what the imports take."""
PATIENCE = 20.0
"""Seconds that a command may take to end on Ctrl-C."""
SUBREAPER = 36
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {
    "os.mkdir": (0,),
    "os.rename": (0, 1),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.link": (1,),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.chmod": (0,),
    "os.chown": (0,),
}
"""Audit events that change files, and which of their arguments are paths."""
PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "pty.spawn")


@dataclass(frozen=True)
class Outcome:
    """What a command did.

    Attributes:
        status: its exit status; negative: the signal that ended it.
        stdout: what it wrote.
        stderr: and where errors go.
        seconds: that it took.
        hung: it had to be killed.
        interrupted: it was sent Ctrl-C, since its time was over.
        peak: bytes of memory that it held at most.
        changed: paths that it made, changed or removed, as far as Python did it.
        programs: that it started.
        left_behind: processes of its own that it left.
    """

    status: int
    stdout: bytes
    stderr: bytes
    seconds: float
    hung: bool
    interrupted: bool
    peak: int
    changed: frozenset[str]
    programs: tuple[str, ...]
    left_behind: tuple[str, ...]

    @property
    def text(self) -> str:
        """Both outputs."""
        return (self.stdout + b"\n" + self.stderr).decode(errors="replace")


def adopt_orphans() -> None:
    """Become the parent of what commands leave behind, so that it is seen."""
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)


def run(
    action: Callable[[], Any],
    work: Path,
    aside: Path,
    *,
    limit: float,
    encoding: str = "utf-8",
    environ: dict[str, str] | None = None,
) -> Outcome:
    """Run a function in a forked process.

    Args:
        action: returns or exits as a program's main does.
        work: its current folder.
        aside: an empty folder for its outputs.
        limit: seconds until it is sent Ctrl-C.
        encoding: of its outputs.
        environ: variables beside those of this process.
    """
    began = time.monotonic()
    others = set(psutil.Process().children(recursive=True))
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _become(action, work, aside, encoding, environ or {})
    status, usage, interrupted, hung = _wait(child, began + limit)
    seconds = time.monotonic() - began
    changed, programs = _heard(aside / "events")
    return Outcome(
        status=status,
        stdout=_written(aside / "stdout"),
        stderr=_written(aside / "stderr"),
        seconds=seconds,
        hung=hung,
        interrupted=interrupted,
        peak=usage.ru_maxrss * 1024,
        changed=changed,
        programs=programs,
        left_behind=_end_orphans(others),
    )


def _wait(child: int, deadline: float) -> tuple[int, Any, bool, bool]:
    interrupted = hung = False
    pause = 0.001
    while True:
        found, status, usage = os.wait4(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status), usage, interrupted, hung
        if time.monotonic() > deadline:
            if interrupted:
                hung = True
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child, signal.SIGKILL)
            else:
                interrupted = True
                deadline = time.monotonic() + PATIENCE
                os.kill(child, signal.SIGINT)
        time.sleep(pause)
        pause = min(pause * 1.3, 0.02)


def _end_orphans(others: set[psutil.Process]) -> tuple[str, ...]:
    """End what the command left behind, if it does not end by itself, and say what it was."""
    orphans = set(psutil.Process().children(recursive=True)) - others
    _, alive = psutil.wait_procs(list(orphans), timeout=5)
    left = []
    for process in alive:
        with contextlib.suppress(psutil.Error):
            left.append(" ".join(process.cmdline())[:200])
            process.kill()
    psutil.wait_procs(alive, timeout=5)
    return tuple(left)


def _become(
    action: Callable[[], Any], work: Path, aside: Path, encoding: str, environ: dict[str, str]
) -> None:
    """Be a program of its own from here on; never returns."""
    status = 70
    try:
        os.setsid()
        _forget_endings()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.update(environ)
        os.chdir(work)
        _redirect(aside, encoding)
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _listen(aside / "events")
        status = _ended(action)
    finally:
        os._exit(status)


def _forget_endings() -> None:
    """What is to be done at the end of the process that was forked is not this one's to do."""
    weakref.finalize._registry.clear()  # type: ignore[attr-defined]
    weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]
    atexit._clear()


def _redirect(aside: Path, encoding: str) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(aside / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), number)
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False))
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), encoding, write_through=True)
    sys.stderr = io.TextIOWrapper(
        io.FileIO(2, "w", closefd=False), encoding, "backslashreplace", write_through=True
    )
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
    sys.unraisablehook = sys.__unraisablehook__
    threading.excepthook = threading.__excepthook__


def _ended(action: Callable[[], Any]) -> int:
    """Do it, end as the interpreter does, and give the exit status."""
    status = 0
    try:
        action()
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    with contextlib.suppress(Exception):
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        gc.collect()  # whoever complains when it is deleted does it now
        sys.stdout.flush()
        sys.stderr.flush()
    return status


def _listen(log: Path) -> None:
    """Note down every file that Python changes and every program that it starts."""
    sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    busy = False

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal busy
        if busy or (event != "open" and event not in CHANGES and event not in PROGRAMS):
            return
        busy = True
        try:
            for line in _noted(event, arguments):
                os.write(sink, json.dumps(line).encode() + b"\n")
        finally:
            busy = False

    sys.addaudithook(hear)


def _noted(event: str, arguments: tuple[Any, ...]) -> list[tuple[str, str]]:
    if event == "open":
        path, _, flags = arguments
        if isinstance(path, int) or path is None or not flags & WRITING:
            return []
        target = os.fsdecode(path)
        stays = flags & (getattr(os, "O_NOFOLLOW", 0) | os.O_EXCL)
        return [("changed", _in_place(target) if stays else os.path.realpath(target))]
    if event in CHANGES:
        paths = [arguments[i] for i in CHANGES[event]]
        return [("changed", _in_place(os.fsdecode(p))) for p in paths if not isinstance(p, int)]
    return [("program", repr(arguments[:2])[:300])]


def _in_place(path: str) -> str:
    """A path whose own end is no link to be followed."""
    path = path.rstrip("/") or "/"
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def _written(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _heard(log: Path) -> tuple[frozenset[str], tuple[str, ...]]:
    lines = [json.loads(line) for line in log.read_bytes().splitlines()] if log.exists() else []
    changed = frozenset(text for kind, text in lines if kind == "changed")
    return changed, tuple(text for kind, text in lines if kind == "program")
