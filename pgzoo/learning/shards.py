"""A run in parts: some of its seeds each, trained anywhere, and put together to the same bits.

A shard is trained by ``train_shard``, here or in a process on another machine (``local`` and
``on_ray`` know where); what a seed's training gives is the same in any company. ``merge`` makes of
the shards' run folders the one that all seeds would have left together.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pgzoo.agents import agent_class
from pgzoo.errors import UsageError
from pgzoo.learning.arguments import AgentName, agent_of, device_here
from pgzoo.learning.loop import (
    TrainingStoppedError,
    run_figures,
    run_training,
    share_ends,
)
from pgzoo.learning.progress import Report
from pgzoo.learning.run import Run
from pgzoo.learning.stored import load_state
from pgzoo.learning.trainer import Trainer
from pgzoo.options import build
from pgzoo.records import files
from pgzoo.records.columns import merged_summary
from pgzoo.records.config import RunConfig
from pgzoo.records.metrics_file import read_lines
from pgzoo.records.run_folder import CONFIG, METRICS, FolderTakenError, RunFolder
from pgzoo.records.tensorboard import Results, write_dashboard
from pgzoo.records.times_file import read_times, write_times

SECONDS_BETWEEN_REPORTS = 0.25


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
    def own_config(self) -> RunConfig:
        """The configuration of its run folder."""
        return dataclasses.replace(self.config, seeds=self.part)

    @property
    def complete(self) -> bool:
        """Whether it is trained to its end."""
        if not os.path.lexists(self.folder / CONFIG):
            return False
        return self.run_folder().summary() is not None

    def run_folder(self) -> RunFolder:
        """Its run folder, made if it is not there.

        Raises:
            UsageError: if another run is there, or a link.
        """
        files.check_kind(self.folder, stat.S_IFDIR)
        if not os.path.lexists(self.folder / CONFIG):
            return RunFolder.create(self.folder, self.own_config)
        folder = RunFolder.open(self.folder)
        if folder.config() != self.own_config:
            raise FolderTakenError(self.folder)
        return folder


def split(config: RunConfig, agent: AgentName, folder: Path, parts: int) -> list[Shard]:
    """A run's seeds dealt into parts, neighbours together.

    Args:
        config: of the whole run.
        agent: that the configuration is of.
        folder: that will hold a run folder for each part.
        parts: how many; no more than there are seeds.

    Raises:
        UsageError: if the agent is not the configuration's, or there are not so many seeds.
    """
    seeds = config.seeds
    if not 1 <= parts <= len(seeds):
        raise UsageError(f"Expected 1 to {len(seeds)} parts of {len(seeds)} seeds, got {parts}.")
    agent_of(config, agent)
    ends = [len(seeds) * i // parts for i in range(parts + 1)]
    return [
        Shard(config, seeds[a:b], agent, folder / f"part-{i + 1}-of-{parts}")
        for i, (a, b) in enumerate(pairwise(ends))
    ]


def train_shard(shard: Shard, report: Callable[[ShardReport], Any] = lambda _: None) -> None:
    """Train a shard's seeds; go on from its folder's checkpoint if there is one.

    Args:
        shard: what to train; if it is complete, there is nothing to do.
        report: told where it stands, at the start, a few times a second, and at the end; ends the
            session if it returns True: all is saved, and the shard is not complete.

    Raises:
        TrainingInterrupted: on Ctrl-C, after saving.
        UsageError: for what cannot be trained.
    """
    if shard.complete:
        return
    # A function that has travelled between processes may have left its source behind.
    config, given = shard.config, shard.agent
    kind = agent_class(given) if callable(given) else agent_of(config, given)
    agent = build(kind, config.hyperparameters)
    trainer = Trainer(shard.own_config, agent, device_here(config), config.seeds)
    state = trainer.initial_state()  # whatever is wrong shows before a folder is made
    folder = shard.run_folder()
    if folder.has_checkpoint:
        state = load_state(folder, trainer.networks, trainer.device)
    failed = {r.seed: r.failed for r in state.replicas if r.failed is not None}
    means = tuple(r.recent_mean for r in state.replicas)
    told = time.monotonic()
    if report(ShardReport(state.iteration, state.share(agent.steps), means, 0.0, failed)) is True:
        trainer.close()
        return

    def tell(now: Report) -> Any:
        nonlocal told
        failed.update(now.failed)
        if now.share < 1 and time.monotonic() - told < SECONDS_BETWEEN_REPORTS:
            return None
        told = time.monotonic()
        returns = tuple(None if np.isnan(x) else float(x) for x in now.returns)
        return report(
            ShardReport(now.iteration, now.share, returns, now.steps_per_second, dict(failed))
        )

    try:
        run_training(trainer, folder, tell, draw=False)
    except TrainingStoppedError as error:
        advice = "The same call goes on from there."
        raise TrainingStoppedError(error.what, advice) from error.__cause__


def merge(shards: Sequence[Shard], folder: Path) -> Run:
    """The run that complete shards are parts of: bit for bit what it is trained in one piece.

    But for what is about time: of each iteration, that of the shard that took longest.

    Args:
        shards: that have all seeds of one configuration between them.
        folder: where the run will be; it appears there whole or not at all.

    Raises:
        UsageError: if a shard is not complete, or they are not of one run, or the folder is taken.
    """
    config = _config_of(shards)
    parts = [shard.run_folder() for shard in shards]
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}.tmp")
    try:
        if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
            raise FolderTakenError(folder)
        _write_merged(config, parts, RunFolder.create(temporary, config))
        temporary.replace(folder)
    except OSError as error:
        raise files.cannot_write(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Run(RunFolder.open(folder))


def _config_of(shards: Sequence[Shard]) -> RunConfig:
    config = shards[0].config
    seeds = [seed for shard in shards for seed in shard.part]
    if any(shard.config != config for shard in shards) or sorted(seeds) != sorted(config.seeds):
        raise UsageError(
            "Expected shards that have each seed of one run once between them; these have "
            f"{', '.join(map(str, seeds))} of {', '.join(map(str, config.seeds))}."
        )
    for shard in shards:
        if not shard.complete:
            raise UsageError(
                f"Expected complete shards, but {shard.folder} is not. Train it first."
            )
    return config


def _write_merged(config: RunConfig, parts: Sequence[RunFolder], run: RunFolder) -> None:
    seeds = [seed for part in parts for seed in part.config().seeds]
    order = torch.tensor([seeds.index(seed) for seed in config.seeds])
    metrics = _merged_metrics(config, parts)
    files.write(run.path / METRICS, metrics)
    write_times(run, _merged_times(parts))
    for percent in parts[0].snapshots():
        run.save_snapshot(percent, torch.cat([p.load_snapshot(percent) for p in parts])[order])
    checkpoints = [_checkpoint(part) for part in parts]
    tensors = {k: torch.cat([t[k] for t, _ in checkpoints])[order] for k in checkpoints[0][0]}
    replicas = [replica for _, state in checkpoints for replica in state["replicas"]]
    state = checkpoints[0][1] | {
        "iteration": max(state["iteration"] for _, state in checkpoints),
        "replicas": [replicas[i] for i in order.tolist()],
        "metrics_size": len(metrics),
        "metrics_digest": hashlib.sha256(metrics).hexdigest(),
    }
    run.save_checkpoint(tensors, state)
    summaries = [summary for part in parts if (summary := part.summary()) is not None]
    summary = merged_summary(config, summaries, share_ends)
    run.write_summary(summary)
    lines = read_lines(run, state)
    write_dashboard(run.path, config, lines, Results.of(summary), run_figures(config, lines))


def _checkpoint(part: RunFolder) -> tuple[dict[str, Tensor], dict[str, Any]]:
    found = part.load_checkpoint()
    if found is None:
        raise UsageError(f"{part.path} has a summary and no checkpoint. Train this shard anew.")
    return found


def _merged_metrics(config: RunConfig, parts: Sequence[RunFolder]) -> bytes:
    """Their lines, iteration by iteration, in the order of the seeds."""
    place = {seed: i for i, seed in enumerate(config.seeds)}
    headers: set[bytes] = set()
    lines: list[tuple[int, int, bytes]] = []
    for part in parts:
        header, *rest = files.read(part.path / METRICS).splitlines(keepends=True) or [b""]
        headers |= {header} if header else set()  # there is none if every seed failed at once
        for line in rest:
            iteration, seed, _ = line.split(b",", 2)
            lines.append((int(iteration), place[int(seed)], line))
    if len(headers) > 1:
        raise UsageError("Expected shards whose metrics have the same columns; one pgzoo for all.")
    return b"".join([*headers, *(line for _, _, line in sorted(lines))])


def _merged_times(parts: Sequence[RunFolder]) -> list[tuple[int, float]]:
    """Of every iteration the longest time; and no less than of the iteration before."""
    longest: dict[int, float] = {}
    for part in parts:
        for number, seconds in read_times(part):
            longest[number] = max(seconds, longest.get(number, 0.0))
    numbers = sorted(longest)
    latest = np.maximum.accumulate([longest[n] for n in numbers] or [0.0]).tolist()
    return list(zip(numbers, latest, strict=False))
