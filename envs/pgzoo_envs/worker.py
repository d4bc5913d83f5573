"""The program behind :class:`pgzoo_envs.processes.ProcessVectorEnv`: steps its share of the rows.

Started with the arguments ENV_SPEC_JSON NUM_ENVS; requests come on standard input, replies go to
standard output.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import traceback
from functools import partial
from typing import IO

import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from pgzoo_envs import pipes
from pgzoo_envs.base import seed_or_none
from pgzoo_envs.errors import EnvError
from pgzoo_envs.sequential import SequentialVectorEnv, make_single, take_step


def _serve(envs: SequentialVectorEnv, requests: IO[bytes], replies: IO[bytes]) -> None:
    """Answer requests until the caller goes away."""
    like = np.zeros(envs.num_envs, np.int64), np.zeros(envs.num_envs, bool)
    arrays: tuple[NDArray, ...]
    while command := _next_command(requests):
        numbers, active = pipes.read_arrays(requests, like)
        if command == pipes.RESET:
            arrays = envs.reset(seed=[seed_or_none(s) for s in numbers.tolist()])[:1]
        else:
            if not np.array_equal(active, envs.active):
                envs.active = active
            arrays = take_step(envs, numbers)
        pipes.write(replies, pipes.DONE + b"".join(a.tobytes() for a in arrays))


def _next_command(requests: IO[bytes]) -> bytes:
    pipes.wait_awake(requests)
    return requests.read(1)


def main() -> None:
    """Make the environments and serve until the caller goes away."""
    faulthandler.enable()  # the last words of one that crashes
    spec = EnvSpec.from_json(sys.argv[1])
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what an environment prints must not enter the protocol
    try:
        envs = SequentialVectorEnv(partial(make_single, spec), int(sys.argv[2]))
        _serve(envs, os.fdopen(0, "rb", buffering=0), replies)
    except (EOFError, BrokenPipeError):
        pass
    except Exception as error:
        text = str(error) if isinstance(error, EnvError) else traceback.format_exc()
        data = text.encode(errors="backslashreplace")
        with contextlib.suppress(BrokenPipeError):
            size = np.array([len(data)], np.int64).tobytes()
            pipes.write(replies, pipes.FAILED + size + data)
