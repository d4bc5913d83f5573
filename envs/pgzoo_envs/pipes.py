"""What the caller of a worker process and the worker itself do with the pipes between them."""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from typing import IO

import numpy as np
from numpy.typing import NDArray

RESET, STEP, FAILED, DONE = b"R", b"S", b"F", b"D"
SPIN_SECONDS = 2e-3


def wait_awake(pipe: IO[bytes]) -> None:
    """Poll for a while before the coming read blocks: waking a sleeper takes longer than a step."""
    give_up = time.perf_counter() + SPIN_SECONDS
    while not has_something(pipe, 0) and time.perf_counter() < give_up:
        pass


def has_something(pipe: IO[bytes], milliseconds: int) -> bool:
    """Whether a read will not block, its end included; waits so long for it at most."""
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    return bool(poll.poll(milliseconds))


def write(pipe: IO[bytes], message: bytes) -> None:
    """Write all of it: a signal may come when a part is written."""
    left = memoryview(message)
    while left:
        left = left[pipe.write(left) :]


def read(pipe: IO[bytes], size: int) -> bytes:
    """Read so many bytes; ``EOFError`` when the sender is gone before."""
    data = pipe.read(size)
    if len(data) == size:
        return data
    parts = bytearray(data)
    while data and len(parts) < size:
        data = pipe.read(size - len(parts))
        parts += data
    if len(parts) < size:
        raise EOFError("The other side of an environment worker's pipe closed.")
    return bytes(parts)


def read_arrays(pipe: IO[bytes], like: Sequence[NDArray]) -> list[NDArray]:
    """Read arrays sent as their bytes, one after the other; all of them or none.

    Args:
        pipe: from which.
        like: arrays of their types and shapes.
    """
    data = read(pipe, sum(array.nbytes for array in like))
    arrays, start = [], 0
    for array in like:
        arrays.append(np.frombuffer(data, array.dtype, array.size, start).reshape(array.shape))
        start += array.nbytes
    return arrays
