"""Signals that come while what they ask for is being done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def once_is_enough() -> Iterator[None]:
    """Let an impatient second Ctrl-C pass while an interrupted run is saved; a third one does not.

    For a block at whose end the process gives up anyway. Without effect in threads other than the
    main one, which get no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in ENDING}
    ours = {number: had for number, had in handlers.items() if callable(had)}

    def restore() -> None:
        for number, had in ours.items():
            signal.signal(number, had)

    def let_pass(number: int, frame: FrameType | None) -> None:
        restore()

    for number in ours:
        signal.signal(number, let_pass)
    try:
        yield
    finally:
        restore()
