"""Signals that ask a process to end: who handles them, and for how long."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM)


def in_main_thread() -> bool:
    """Whether signals are handled in this thread: others get none."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def handled_by(
    handler: Callable[[int, FrameType | None], Any], numbers: Collection[int]
) -> Iterator[None]:
    """Have these signals handled by a function for a while; afterwards as before."""
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, handler)
    try:
        yield
    finally:
        restore(before)


def restore(handlers: Mapping[Any, Any]) -> None:
    """Have signals handled by these again."""
    for number, handler in handlers.items():
        signal.signal(number, handler)


@contextmanager
def once_is_enough() -> Iterator[None]:
    """Let an impatient second Ctrl-C pass while an interrupted run is saved; a third one does not.

    For a block at whose end the process gives up anyway. Without effect in threads other than the
    main one.
    """
    if not in_main_thread():
        yield
        return
    before = {n: had for n in ENDING if callable(had := signal.getsignal(n))}

    def let_pass(number: int, frame: FrameType | None) -> None:
        restore(before)

    with handled_by(let_pass, before):
        yield
