"""A run in parts: some of its seeds each, trained anywhere, and put together to the same bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgzoo.learning.run import AgentName, Run
from pgzoo.records.config import RunConfig


@dataclass(frozen=True)
class ShardReport:
    """Where a shard stands: small, and sent between processes.

    Attributes:
        iteration: iterations done.
        share: of the shard's step budget, in [0, 1].
        returns: each of its seeds' mean return over its last episodes, None before the first.
        steps_per_second: environment steps of its seeds in this session, per second.
        failed: seeds that were stopped so far, with the reason.
    """

    iteration: int
    share: float
    returns: tuple[float | None, ...]
    steps_per_second: float
    failed: dict[int, str]


@dataclass(frozen=True)
class Shard:
    """Some seeds of a run.

    Attributes:
        config: of the whole run, all its seeds.
        part: those seeds of it that this shard trains.
        agent: its name, ``FILE.py:FUNCTION``, or a function.
        folder: where the shard's run folder is or will be.
    """

    config: RunConfig
    part: tuple[int, ...]
    agent: AgentName
    folder: Path

    @property
    def complete(self) -> bool:
        """Whether it is trained to its end."""
        raise NotImplementedError


def split(config: RunConfig, agent: AgentName, folder: Path, parts: int) -> list[Shard]:
    """A run's seeds dealt into parts, neighbours together.

    Args:
        config: of the whole run.
        agent: that the configuration is of.
        folder: that will hold a run folder for each part.
        parts: how many; no more than there are seeds.

    Raises:
        UsageError: if the agent is not the configuration's.
    """
    raise NotImplementedError


def train_shard(shard: Shard, report: Callable[[ShardReport], Any]) -> None:
    """Train a shard's seeds; go on from its folder's checkpoint if there is one.

    Args:
        shard: what to train; if it is complete, there is nothing to do.
        report: told where it stands, at the start, a few times a second, and at the end; ends the
            session if it returns True: all is saved, and the shard is not complete.

    Raises:
        TrainingInterrupted: on Ctrl-C, after saving.
        UsageError: for what cannot be trained.
    """
    raise NotImplementedError


def merge(shards: Sequence[Shard], folder: Path) -> Run:
    """The run that complete shards are parts of: bit for bit what it is trained in one piece.

    Args:
        shards: that have all seeds of one configuration between them.
        folder: where the run will be; it appears there whole or not at all.

    Raises:
        UsageError: if a shard is not complete, or they are not of one run, or the folder is taken.
    """
    raise NotImplementedError
