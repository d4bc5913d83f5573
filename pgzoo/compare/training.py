"""What is missing is trained: contenders by slices of seeds, wherever there is a place to train."""

from __future__ import annotations

import dataclasses
import json
import shutil
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pgzoo.compare.contenders import Contender
from pgzoo.compare.progress import Display, Standings
from pgzoo.errors import UsageError
from pgzoo.learning.shards import Shard, ShardReport, merge, split
from pgzoo.options import shown
from pgzoo.records.config import RunConfig
from pgzoo.records.files import check_kind, free_folder, read_json, write
from pgzoo.records.schema import Positive, conform, expect

RUNS, UNFINISHED = "runs", ".unfinished"
"""Folders within a comparison's."""
PLAN = "plan.json"

Train = Callable[[Sequence[Shard], Callable[[int, ShardReport], Any]], None]


def place_to_train(on: str, workers: int | None) -> Train:
    """How shards are trained.

    Args:
        on: local, ray, or the address of a Ray cluster, ``ray://…``.
        workers: shards at once.

    Raises:
        UsageError: for another place.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"Expected `workers` of at least 1, got {workers}.")
    if not isinstance(on, str):
        raise UsageError(f"Expected `on` to be local, ray or ray://HOST:PORT, got {shown(on)}.")
    if on == "local":
        from pgzoo.learning import local

        return partial(local.train_all, workers=workers)
    if on == "ray" or on.startswith("ray://"):
        from pgzoo.learning import on_ray

        address = None if on == "ray" else on
        return partial(on_ray.train_all, workers=workers, address=address)
    raise UsageError(f"Expected `on` to be local, ray or ray://HOST:PORT, got {on!r}.")


@dataclass(frozen=True)
class Job:
    """A run to be trained in parts.

    Attributes:
        contender: whose it is.
        config: with the seeds that are missing.
        shards: its parts.
        folder: of the parts and their plan.
    """

    contender: Contender
    config: RunConfig
    shards: tuple[Shard, ...]
    folder: Path

    @property
    def budget(self) -> int:
        """Environment steps of each seed."""
        return int(self.config.hyperparameters["steps"])


def jobs_of(
    missing: Sequence[tuple[Contender, RunConfig]], out: Path, num_workers: int
) -> list[Job]:
    """Jobs for seeds that no run has; what an earlier session began is gone on with.

    Args:
        missing: contenders with the configuration of what is to be trained.
        out: folder of the comparison.
        num_workers: processes to be kept busy.
    """
    jobs: list[Job] = []
    rest: list[tuple[Contender, RunConfig]] = []
    for contender, config in missing:
        seeds = config.seeds
        for folder, begun, parts in _begun(out, config):
            if set(begun.seeds) <= set(seeds):
                jobs.append(_job(contender, begun, folder, parts))
                seeds = tuple(s for s in seeds if s not in begun.seeds)
        if seeds:
            rest.append((contender, dataclasses.replace(config, seeds=seeds)))
    for contender, config in rest:
        parts = min(_parts_each(num_workers, len(rest)), len(config.seeds))
        folder = out / UNFINISHED / config.digest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        plan = {"parts": parts, "config": config.to_json()}
        write(folder / PLAN, json.dumps(plan, indent=2).encode())
        jobs.append(_job(contender, config, folder, parts))
    return jobs


def _parts_each(num_workers: int, num_jobs: int) -> int:
    """Into how many parts each job is cut, so that all workers have something to do."""
    return -(-num_workers // num_jobs)


def _begun(out: Path, config: RunConfig) -> Iterable[tuple[Path, RunConfig, int]]:
    """Jobs of an earlier session, of this configuration but for the seeds."""
    for path in sorted((out / UNFINISHED).glob(f"*/{PLAN}")):
        check_kind(path.parent, stat.S_IFDIR)
        try:
            plan = read_json(path)
            begun = RunConfig.from_json(plan["config"])
            parts = conform(plan["parts"], Positive, "parts")
            expect(parts <= len(begun.seeds), "parts", "no more than seeds", parts)
        except (ValueError, KeyError, TypeError):
            continue  # it was killed while it began, or is none of ours: it is trained anew
        if dataclasses.replace(begun, seeds=config.seeds) == config:
            yield path.parent, begun, parts


def _job(contender: Contender, config: RunConfig, folder: Path, parts: int) -> Job:
    shards = split(config, contender.agent, folder, parts)
    return Job(contender, config, tuple(shards), folder)


def train_jobs(jobs: Sequence[Job], out: Path, train: Train, show: Display) -> list[Path]:
    """Train, and put the parts of every run together.

    Args:
        jobs: what to train.
        out: folder of the comparison.
        train: where.
        show: shown where everything stands.

    Returns:
        folders of the runs.

    Raises:
        TrainingInterrupted: on Ctrl-C, after saving.
        UsageError: for what cannot be trained.
    """
    standings = Standings([(job.contender.label, job.budget) for job in jobs])
    # The longest first, so that none of them is left over for a single worker in the end.
    dealt = sorted(
        ((job, shard) for job in jobs for shard in job.shards),
        key=lambda both: -both[0].budget * len(both[1].part),
    )
    shards = [shard for _, shard in dealt]
    for place, (job, shard) in enumerate(dealt):
        standings.add(place, job.contender.label, shard.part)

    def report(place: int, found: ShardReport) -> None:
        standings.update(place, found)
        show(standings)

    show(standings)
    train(shards, report)
    folders = []
    for job in jobs:
        folder = free_folder(out / RUNS, job.contender.label)
        merge(job.shards, folder)
        shutil.rmtree(job.folder, ignore_errors=True)
        folders.append(folder)
    return folders
