"""The program behind ``local.train_all``: trains shards one after another until it is to stop.

Started with the number of processors it may use. Shards come pickled on standard input, and what
there is to say of them goes to standard output. The end of the input is the word to stop: what is
being trained is saved. So it also ends when the process that started it is gone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pgzoo_envs
import torch
from pgzoo_envs.errors import EnvError

from pgzoo.errors import UsageError
from pgzoo.learning.shards import Shard, ShardReport, train_shard


@dataclass(frozen=True)
class Ended:
    """A shard's session is over.

    Attributes:
        refused: what the user can put right, if it ended for that.
        broken: the traceback, if it ended for something else.
    """

    refused: str | None = None
    broken: str | None = None


def attempt(
    packed: bytes,
    report: Callable[[ShardReport], Any],
    folder: Path | None = None,
    versions: Mapping[str, str] | None = None,
) -> Ended:
    """Train a pickled shard, and say how that ended.

    Args:
        packed: the shard.
        report: as for ``train_shard``.
        folder: to train it in; None: its own.
        versions: that the shard comes from, if from another machine.
    """
    try:
        shard: Shard = pickle.loads(packed)
        if folder is not None:
            shard = dataclasses.replace(shard, folder=folder)
        _check_versions(shard, versions or {})
        train_shard(shard, report)
        return Ended()
    except (UsageError, EnvError) as error:
        return Ended(refused=str(error))
    except Exception:
        return Ended(broken=traceback.format_exc())


def _check_versions(shard: Shard, expected: Mapping[str, str]) -> None:
    here = shard.own_config.to_json()["versions"]
    for name, version in expected.items():
        if name != "python" and here[name] != version:
            raise UsageError(
                f"Expected {name} {version} on every node as where the run was started, got "
                f"{here[name]}. Install the same versions everywhere."
            )


def use_processors(count: int) -> None:
    """Keep to so many processors, for networks and for environments."""
    torch.set_num_threads(count)
    pgzoo_envs.use_processors(count)


def main() -> None:
    """Train what comes, until nothing does."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what an estimator prints must not enter the protocol
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # nor can it read there
    use_processors(int(sys.argv[1]))
    shards: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    stop = threading.Event()
    threading.Thread(target=_listen, args=(requests, shards, stop), daemon=True).start()

    def report(now: ShardReport) -> bool:
        _send(replies, now)
        return stop.is_set()

    while (packed := shards.get()) is not None and not stop.is_set():
        _send(replies, attempt(packed, report))


def _listen(
    requests: IO[bytes], shards: queue.SimpleQueue[bytes | None], stop: threading.Event
) -> None:
    with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
        while True:
            shards.put(pickle.load(requests))
    stop.set()
    shards.put(None)


def _send(replies: IO[bytes], message: ShardReport | Ended) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody is there; the input says so, too
        pickle.dump(message, replies)
        replies.flush()
