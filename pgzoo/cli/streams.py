"""What a command line program has around it: two streams, and signals that end it.

- Standard output and error are never the reason why something ends. What cannot be written is
  dropped; commands whose results are files go on as if nobody looked (``only_display``), all
  others end with a status that says it.
- What a stream's encoding cannot hold is written in ASCII.
- Ctrl-C and SIGTERM, which schedulers send, are the same interruption (``interrupted``).
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import signal
import sys
import threading
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, TextIO

import click

from pgzoo.cli.commands import say
from pgzoo.learning.interrupts import handled_by, in_main_thread

SECONDS_LATER = 0.05
PIPE_CLOSED = 128 + 13  # as shells say of what SIGPIPE ends
IN_ASCII = {
    "−": "-",
    "–": "-",
    "—": "-",
    "…": "...",
    "·": "*",
    "×": "x",
    "±": "+-",
    "‖": "||",
    "∥": "||",
    "⟨": "<",
    "⟩": ">",
    "≤": "<=",
    "≥": ">=",
    "→": "->",
    "∞": "inf",
    "∇": "grad ",
    "∂": "d",
    "√": "sqrt",
    "∈": "in",
    "•": "*",
    "✓": "+",
    "✗": "x",
}


class Guarded(io.FileIO):
    """An open descriptor for writing: the first error is kept, and what follows it is dropped.

    Args:
        descriptor: of standard output or error.
        error: what is wrong with it already.

    Attributes:
        error: the first one.
        needed: whether what is written here is all there is of a command's results.
    """

    def __init__(self, descriptor: int, error: OSError | None = None) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self.error = error
        self.needed = True

    def write(self, content: Any, /) -> int:
        """Write, or drop."""
        written = None
        while self.error is None and written is None:
            try:
                written = super().write(content)
                if written is None:  # another program made it one that does not wait
                    select.select([], [self], [])
            except OSError as error:
                self.error = error
        return memoryview(content).nbytes if written is None else written


@contextmanager
def around_a_command() -> Iterator[None]:
    """Guard the streams and await signals while a command runs; its status is known at the end."""
    if sys.stdout is not sys.__stdout__ or sys.stderr is not sys.__stderr__:
        yield  # they are somebody else's, such as a test's
        return
    before, showing = (sys.stdout, sys.stderr), warnings.showwarning
    _open_if_closed(0)
    sys.stdout, output = _guarded(sys.stdout, 1)
    sys.stderr, _ = _guarded(sys.stderr, 2)
    warnings.showwarning = _print_warning
    try:
        with _signals():
            yield
    except SystemExit as end:
        sys.stdout.flush()
        if not end.code and output.error is not None and output.needed:
            _end_for(output.error)
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        (sys.stdout, sys.stderr), warnings.showwarning = before, showing


def _print_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """As Python does, but printable: it is in others' words."""
    say(warnings.formatwarning(message, category, filename, lineno, line).rstrip(), err=True)


def only_display() -> None:
    """Nothing that is printed matters: the command's results are files.

    It goes on to its end without a terminal, too, which is gone when a connection breaks.
    """
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(raw, Guarded):
        raw.needed = False
        if hasattr(signal, "SIGHUP") and in_main_thread():
            signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _end_for(error: OSError) -> NoReturn:
    if error.errno == errno.EPIPE:  # who reads has seen enough
        sys.exit(PIPE_CLOSED)
    click.echo(f"Error: Cannot write to standard output: {error.strerror}.", err=True)
    sys.exit(1)


def _guarded(stream: TextIO | None, descriptor: int) -> tuple[TextIO, Guarded]:
    raw = Guarded(descriptor, _open_if_closed(descriptor))
    if stream is not None:
        stream.flush()
    made = io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(stream, "encoding", "utf-8"),
        errors="pgzoo.ascii",
        line_buffering=descriptor == 2 or raw.isatty(),
    )
    return made, raw


def _open_if_closed(descriptor: int) -> OSError | None:
    """Let no file that is opened later take the place of a closed standard stream.

    Returns:
        the error that writing to it would have given.
    """
    try:
        os.fstat(descriptor)
    except OSError as error:
        null = os.open(os.devnull, os.O_RDWR)
        if null != descriptor:
            os.dup2(null, descriptor)
            os.close(null)
        os.set_inheritable(descriptor, True)
        return error
    return None


def _as_ascii(error: UnicodeError) -> tuple[str, int]:
    """What stands for characters that an encoding does not have."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(in_ascii, error.object[error.start : error.end])), error.end


def in_ascii(character: str) -> str:
    """A character in ASCII: its equivalent, the name of a Greek letter, or an escape."""
    if (known := IN_ASCII.get(character)) is not None:
        return known
    words = unicodedata.name(character, "").split()
    if words[:1] == ["GREEK"] and "LETTER" in words:
        name = words[words.index("LETTER") + 1]
        return name.capitalize() if words[1] == "CAPITAL" else name.lower()
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return plain or character.encode("ascii", "backslashreplace").decode()


codecs.register_error("pgzoo.ascii", _as_ascii)


class _Received:
    """The signal that interrupted this process last."""

    number: int = signal.SIGINT


def _interrupt(number: int, _: FrameType | None) -> None:
    if _torch_is_being_loaded():  # an exception in its C++ code would end the process by abort()
        later = threading.Timer(SECONDS_LATER, os.kill, (os.getpid(), number))
        later.daemon = True
        later.start()
        return
    _Received.number = number
    raise KeyboardInterrupt


def _torch_is_being_loaded() -> bool:
    modules = [m for name, m in sys.modules.items() if name.partition(".")[0] == "torch"]
    return any(getattr(getattr(m, "__spec__", None), "_initializing", False) for m in modules)


@contextmanager
def _signals() -> Iterator[None]:
    """Have Ctrl-C and SIGTERM interrupt alike, unless they are handled or ignored already."""
    usual: dict[int, Any] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
    }
    if not in_main_thread():
        yield
        return
    ours = [number for number, had in usual.items() if signal.getsignal(number) is had]
    with handled_by(_interrupt, ours):
        yield


def interrupted(text: str) -> NoReturn:
    """Say so, and end with the status that shells give to what a signal ended: 130 or 143."""
    say(text, err=True)
    sys.exit(128 + _Received.number)
