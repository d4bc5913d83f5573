"""Shards in worker processes of this machine.

``train_all`` is the whole interface, here as in ``on_ray``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pgzoo.learning.shards import Shard, ShardReport


def train_all(
    shards: Sequence[Shard],
    report: Callable[[int, ShardReport], Any],
    *,
    workers: int | None = None,
) -> None:
    """Train shards in worker processes; those that are complete are left as they are.

    Args:
        shards: in the order in which they are begun.
        report: told the place of a shard in ``shards``, and where it stands.
        workers: processes at work at once; None: one for each processor.

    Raises:
        TrainingInterrupted: on Ctrl-C, when every worker has saved; the same call goes on.
        UsageError: what a shard cannot be trained for, in the same words; or that a worker died
            twice in the same shard.
    """
    raise NotImplementedError
