"""A user's program in our process: what it changes of the process ends with it.

As far as one process can be protected from its user. Not restored are what belongs to objects that
are shared (functions of libraries that are replaced, streams that are closed), environment
variables, threads that were started, and the process itself, which ``os._exit`` ends.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import linecache
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import Any

from pgzoo.records.printable import printable

LONGEST_TEXT = 2_000
SIGNALS = [getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]

_outer_seed: ContextVar[int | None] = ContextVar("outer_seed", default=None)


@contextmanager
def restored(own: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """Settings of the process are afterwards as they were before.

    Args:
        own: settings that hold in between, such as those that a program made when it was loaded.

    Yields:
        what will hold, afterwards, the settings that were changed in between, by name.
    """
    settings = _settings()
    before = {name: read() for name, (read, _) in settings.items()}
    for name, value in (own or {}).items():
        _write(name, value)
    changed: dict[str, Any] = {}
    try:
        yield changed
    finally:
        for name, (read, _) in settings.items():
            if (now := read()) != before[name]:
                changed[name] = now
                _write(name, before[name])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Global random numbers as after seeding; afterwards they go on as if nothing had been drawn.

    They are those of Python, of numpy, and of torch on all devices. One inside another depends on
    both seeds.
    """
    import numpy as np
    import torch

    outer = _outer_seed.get()
    mixed = seed if outer is None else digest_as_seed((outer, seed))
    devices = torch.cuda.default_generators if torch.cuda.is_initialized() else ()
    generators = (torch.default_generator, *devices)
    states = [g.get_state() for g in generators]
    python, legacy = random.getstate(), np.random.get_state(legacy=False)
    for g in generators:
        g.manual_seed(mixed)
    random.seed(mixed)
    np.random.seed(mixed % 2**32)
    token = _outer_seed.set(mixed)
    try:
        yield
    finally:
        _outer_seed.reset(token)
        for g, state in zip(generators, states, strict=True):
            g.set_state(state)
        random.setstate(python)
        np.random.set_state(legacy)


def digest_as_seed(what: object) -> int:
    """A number below 2^63 that follows from plain data."""
    digest = hashlib.sha256(repr(what).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def in_words(error: BaseException) -> str:
    """An exception's kind and text, whatever the exception does to prevent it."""
    try:
        kind = type.__dict__["__name__"].__get__(type(error))
        text = "".join([str(error), ""])  # joined: a text and not something like one
    except KeyboardInterrupt:
        raise
    except BaseException:  # a user's own class may do anything
        text = "(its text cannot be had)"
    if len(text) > LONGEST_TEXT:
        text = f"{text[:LONGEST_TEXT]}… ({len(text):,} characters)"
    return f"{kind}: {_foreign(text)}"


def _foreign(text: str) -> str:
    """A program's text, in which nothing is obeyed or taken for an option of ours."""
    return printable(text).replace("`", "'")


def place(error: BaseException, path: Path | None = None) -> tuple[str, str]:
    """Where in a user's program an exception came from.

    Args:
        error: that is being handled.
        path: of the program's file; None: the file of the outermost frame below the caller's.

    Returns:
        ``:LINE`` or ``FILE:LINE`` without a path, and the text of that line in a line of its own;
        empty where they are not known.
    """
    if isinstance(error, SyntaxError) and path is not None and error.filename == str(path):
        return (f":{error.lineno}", _line(error.text or "")) if error.lineno else ("", "")
    trace: TracebackType | None = sys.exc_info()[2]
    trace = trace and trace.tb_next  # the caller's own
    file, number = None if path is None else str(path), 0
    while trace is not None:
        here = trace.tb_frame.f_code.co_filename
        file = here if file is None else file
        if here == file:
            number = trace.tb_lineno
        trace = trace.tb_next
    if not number or file is None:
        return "", ""
    where = f":{number}" if path is not None else f"{file}:{number}"
    return where, _line(linecache.getline(file, number))


def _line(text: str) -> str:
    text = _foreign(text.strip())[:LONGEST_TEXT]
    return f"\n    {text}" if text else ""


def _write(name: str, value: Any) -> None:
    with contextlib.suppress(OSError, ValueError):  # a folder that is gone, or not our thread
        _settings()[name][1](value)


@functools.cache
def _settings() -> dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]]:
    """How to read and how to write whatever a program may leave changed."""
    import numpy as np
    import torch

    return {
        "folder": (_folder, _set_folder),
        "streams": (lambda: (sys.stdin, sys.stdout, sys.stderr), _set_streams),
        "path": (lambda: list(sys.path), lambda p: sys.path.__setitem__(slice(None), p)),
        "recursion limit": (sys.getrecursionlimit, sys.setrecursionlimit),
        "warnings": (lambda: list(warnings.filters), _set_filters),
        "signals": (lambda: [signal.getsignal(s) for s in SIGNALS], _set_signals),
        "numpy errors": (np.geterr, lambda e: np.seterr(**e)),
        "dtype": (torch.get_default_dtype, torch.set_default_dtype),
        "device": (torch.get_default_device, _set_device),
        "gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
        "threads": (torch.get_num_threads, torch.set_num_threads),
        "deterministic": (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
        "precision": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    }


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None


def _set_folder(folder: str | None) -> None:
    if folder is not None:
        os.chdir(folder)


def _set_streams(streams: tuple[Any, Any, Any]) -> None:
    sys.stdin, sys.stdout, sys.stderr = streams


def _set_filters(filters: list[Any]) -> None:
    warnings.resetwarnings()  # says that they have changed
    warnings.filters[:] = filters  # type: ignore[index]


def _set_signals(handlers: list[Any]) -> None:
    if threading.current_thread() is threading.main_thread():
        for number, handler in zip(SIGNALS, handlers, strict=True):
            if handler is not None:
                signal.signal(number, handler)


def _set_device(device: Any) -> None:
    import torch

    torch.set_default_device(None if device.type == "cpu" else device)
