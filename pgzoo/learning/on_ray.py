"""Shards as tasks of a Ray cluster; the interface is that of ``local``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pgzoo.learning.shards import Shard, ShardReport


def train_all(
    shards: Sequence[Shard],
    report: Callable[[int, ShardReport], Any],
    *,
    workers: int | None = None,
    address: str | None = None,
) -> None:
    """Train shards on a Ray cluster; their run folders come back to this machine.

    Args:
        shards: as for ``local.train_all``.
        report: as for ``local.train_all``.
        workers: tasks at once; None: as many as the cluster has processors.
        address: of the cluster, such as ``ray://host:10001``; ``auto`` or None: the one that this
            machine is part of, or a new one on this machine.

    Raises:
        TrainingInterrupted: on Ctrl-C, when every shard is saved; the same call goes on.
        UsageError: as for ``local.train_all``; if Ray is not installed or cannot be reached.
    """
    raise NotImplementedError
