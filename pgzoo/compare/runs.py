"""Complete runs that hold what a comparison asks for, seed by seed.

A seed learns the same whatever trains beside it, so a contender's seeds may be taken from any runs
of its setting, and only those that none of them has are trained.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pgzoo.agents import AGENTS
from pgzoo.compare.contenders import Contender
from pgzoo.compare.from_runs import outcome_of
from pgzoo.compare.outcome import Outcome
from pgzoo.compare.setting import setting_of
from pgzoo.errors import UsageError
from pgzoo.learning.run import Run
from pgzoo.records.config import RunConfig
from pgzoo.records.files import read_json
from pgzoo.records.run_folder import CONFIG, RunFolder

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Stored:
    """A complete run on the disk.

    Attributes:
        run: as it can be read.
        version: of the pgzoo that began it.
        named: whether the user named this very folder.
    """

    run: Run
    version: str
    named: bool

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.run.path

    @cached_property
    def config(self) -> RunConfig:
        """Its configuration."""
        return self.run.config

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Its results."""
        summary = self.run.summary
        assert summary is not None
        return summary

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """What it wrote while it trained, held against its results.

        Raises:
            UsageError: if they do not fit each other.
        """
        metrics = self.run.metrics
        last = metrics.groupby("seed").env_steps.max()
        for seed, steps in zip(self.config.seeds, self.summary["env_steps_per_seed"], strict=True):
            if last.get(seed, 0) != steps:
                raise UsageError(
                    f"{self.path} is damaged: its metrics end after {last.get(seed, 0):,} steps of "
                    f"seed {seed}, its summary says {steps:,}."
                )
        return metrics


@dataclass(frozen=True)
class Library:
    """Runs to take seeds from.

    Attributes:
        complete: in the order of preference.
        skipped: folders of runs that cannot be used, with the reason.
    """

    complete: tuple[Stored, ...]
    skipped: dict[Path, str]


@dataclass(frozen=True)
class Part:
    """Seeds of a contender that a run has."""

    stored: Stored
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Holdings:
    """What there is of a contender.

    Attributes:
        parts: whose seeds are different.
        missing: seeds that no run has.
        config: of the contender, with the budget that its runs have.
        notes: what should be said of them.
    """

    parts: tuple[Part, ...]
    missing: tuple[int, ...]
    config: RunConfig
    notes: tuple[str, ...]


def open_library(own: Path, reuse: Iterable[Path], *, env: str) -> Library:
    """Read every run in a comparison's own folder and in others.

    Args:
        own: folder of the comparison; its own runs come first.
        reuse: runs, and folders that hold runs, however deep.
        env: environment that the comparison is on.

    Raises:
        UsageError: for a folder that is not there, or a run that is named itself and cannot be
            used: it is not complete, damaged, or of another environment.
    """
    complete: list[Stored] = []
    skipped: dict[Path, str] = {}
    seen: set[Path] = set()
    for place in (own, *reuse):
        if place != own and not place.is_dir():
            raise UsageError(
                f"Expected `reuse` to be a run, or a folder that holds runs; {place} is none."
            )
        for path in _run_folders(place):
            if path.resolve() in seen:
                continue
            seen.add(path.resolve())
            named = path == place
            try:
                stored = _read(path, named)
                if named and stored.config.env != env:
                    raise UsageError(
                        f"Expected runs of one environment, got {env} to compare on and "
                        f"{stored.config.env} in {path}. Their returns are not comparable."
                    )
            except UsageError as error:
                if named:
                    raise
                skipped[path] = str(error)
            else:
                complete.append(stored)
    return Library(tuple(complete), skipped)


def _read(path: Path, named: bool) -> Stored:
    run = Run(RunFolder.open(path))
    config, summary = run.config, run.summary
    if summary is None:
        raise UsageError(
            f"Expected complete runs, but {path} ({config.agent}) was interrupted and has no "
            "results. Go on with it by `resume`, or leave it out."
        )
    return Stored(run, read_json(path / CONFIG)["versions"].get("pgzoo", "unknown"), named)


def _run_folders(place: Path) -> Iterator[Path]:
    """Folders with a configuration, in the order of their names; no link is followed."""
    for folder, inside, names in os.walk(place):
        if CONFIG in names:
            inside.clear()
            yield Path(folder)
        inside[:] = sorted(name for name in inside if not name.startswith("."))


def holdings(
    contender: Contender,
    seeds: Sequence[int],
    library: Library,
    *,
    version: str,
    any_version: bool = False,
    any_budget: bool = False,
) -> Holdings:
    """Take a contender's seeds from runs of its setting.

    Args:
        contender: whose.
        seeds: that are asked for.
        library: where from.
        version: of the pgzoo that is running.
        any_version: take runs of other versions, too.
        any_budget: take runs of another budget where none of the contender's own has a seed; all
            seeds have one budget, so those that are missing are trained to that.

    Raises:
        UsageError: if a run that the user named is of this setting and may not be used.
    """
    if contender.config.agent not in AGENTS and contender.config.estimator_sha256 is None:
        note = (
            f"{contender.label}: nobody can tell whether earlier runs are of this function, for "
            "its source is not known; they are not reused"
        )
        return Holdings((), tuple(seeds), contender.config, (note,))
    setting = setting_of(contender.config, budget=False)
    found = [s for s in library.complete if setting_of(s.config, budget=False) == setting]
    diagnosed = contender.config.diagnostics > 0
    left_out: dict[str, list[Stored]] = {}
    usable = []
    budget = _budget(contender, [s for s in found if any_version or s.version == version], seeds)
    if not any_budget:
        budget = contender.budget
    for stored in found:
        reason = None
        if stored.version != version and not any_version:
            reason = f"of pgzoo {stored.version}; `any_version` takes them, too"
        elif _steps(stored) != budget:
            reason = f"of {_steps(stored):,} steps, not {budget:,}"
            reason += "" if any_budget else "; `any_budget` takes them, too"
        elif diagnosed and stored.config.diagnostics == 0:
            reason = "without diagnostics of the gradient; `diagnostics=0` takes them, too"
        else:
            try:
                assert stored.metrics is not None
            except UsageError as error:
                reason = str(error)
        if reason is None:
            usable.append(stored)
            continue
        if stored.named:
            raise UsageError(f"{stored.path} cannot be used for {contender.label}: {reason}.")
        left_out.setdefault(reason, []).append(stored)
    parts, missing = _take(usable, seeds)
    notes = [f"{contender.label}: left out {_paths(of)}, {why}" for why, of in left_out.items()]
    config = contender.config
    if budget != contender.budget and parts:
        settings = config.hyperparameters | {"steps": budget}
        config = dataclasses.replace(config, hyperparameters=settings)
        notes.append(
            f"{contender.label}: {budget:,} steps per seed in place of {contender.budget:,}, as in "
            f"{_paths([p.stored for p in parts])}"
        )
    others = sorted({p.stored.version for p in parts} - {version})
    if others:
        notes.append(
            f"{contender.label}: seeds of pgzoo {', '.join(others)} are compared with those of "
            f"{version}"
        )
    return Holdings(tuple(parts), missing, config, tuple(notes))


def _budget(contender: Contender, found: Sequence[Stored], seeds: Sequence[int]) -> int:
    """Its own if any run has that, else the one that most seeds have, the greatest of several."""
    covered: dict[int, set[int]] = {}
    for stored in found:
        covered.setdefault(_steps(stored), set()).update(set(stored.config.seeds) & set(seeds))
    if not covered or covered.get(contender.budget):
        return contender.budget
    return max(covered, key=lambda steps: (len(covered[steps]), steps))


def _steps(stored: Stored) -> int:
    return int(stored.config.hyperparameters["steps"])


def _take(usable: Iterable[Stored], seeds: Sequence[int]) -> tuple[list[Part], tuple[int, ...]]:
    parts, missing = [], list(seeds)
    for stored in usable:
        here = tuple(s for s in missing if s in stored.config.seeds)
        if here:
            parts.append(Part(stored, here))
            missing = [s for s in missing if s not in here]
    return parts, tuple(missing)


def _paths(runs: Sequence[Stored]) -> str:
    """Some folders, counted if there are more."""
    shown = ", ".join(str(stored.path) for stored in runs[:3])
    return shown if len(runs) <= 3 else f"{shown} and {len(runs) - 3} more"


def check_named(library: Library, contenders: Sequence[Contender]) -> None:
    """Raise a ``UsageError`` for a run that the user named and that is of no contender."""
    settings = {setting_of(c.config, budget=False) for c in contenders}
    for stored in library.complete:
        if stored.named and setting_of(stored.config, budget=False) not in settings:
            raise UsageError(
                f"Expected the runs named by `reuse` to be of a contender, but {stored.path} "
                f"({stored.config.agent}) has other options than each. Leave it out, or give the "
                "folder above it, of which what fits is taken."
            )


def skipped_in_words(library: Library) -> list[str]:
    """How many runs cannot be used, and why."""
    unfinished = [p for p, reason in library.skipped.items() if "was interrupted" in reason]
    damaged = {p: r for p, r in library.skipped.items() if p not in unfinished}
    lines = [f"skipped {path}: {reason}" for path, reason in damaged.items()]
    if unfinished:
        lines.append(
            f"skipped {len(unfinished)} runs that are not complete: "
            f"{', '.join(map(str, unfinished[:3]))}{', …' if len(unfinished) > 3 else ''}"
        )
    return lines


def outcome(contender: Contender, parts: Sequence[Part]) -> Outcome:
    """What a contender has come to, from the runs that have its seeds."""
    found = [select(outcome_of([part.stored.run], contender.label), part.seeds) for part in parts]
    return dataclasses.replace(join(found), options=contender.options)


def select(outcome: Outcome, seeds: Sequence[int]) -> Outcome:
    """Some seeds of an outcome."""
    rows = [i for i, seed in enumerate(outcome.seeds) if seed in seeds]
    metrics = outcome.metrics
    return dataclasses.replace(
        outcome,
        seeds=tuple(outcome.seeds[i] for i in rows),
        returns=outcome.returns[rows],
        standard_errors=outcome.standard_errors[rows],
        failed=tuple(outcome.failed[i] for i in rows),
        trained=outcome.trained[rows],
        steps_to_threshold=tuple(outcome.steps_to_threshold[i] for i in rows),
        seconds_to_threshold=tuple(outcome.seconds_to_threshold[i] for i in rows),
        metrics=metrics[metrics.seed.isin(seeds)],
    )


def join(outcomes: Sequence[Outcome]) -> Outcome:
    """Outcomes of one contender whose seeds are different, as one."""
    import pandas as pd

    first = outcomes[0]
    order = np.argsort([s for o in outcomes for s in o.seeds])

    def sorted_by_seed(field: str) -> list[Any]:
        values = [x for o in outcomes for x in getattr(o, field)]
        return [values[i] for i in order]

    return dataclasses.replace(
        first,
        seeds=tuple(sorted_by_seed("seeds")),
        returns=np.array(sorted_by_seed("returns"), dtype=np.float64),
        standard_errors=np.array(sorted_by_seed("standard_errors"), dtype=np.float64),
        failed=tuple(sorted_by_seed("failed")),
        trained=np.array(sorted_by_seed("trained"), dtype=np.int64),
        steps_to_threshold=tuple(sorted_by_seed("steps_to_threshold")),
        seconds_to_threshold=tuple(sorted_by_seed("seconds_to_threshold")),
        metrics=pd.concat([o.metrics for o in outcomes], ignore_index=True),
        runs=tuple(dict.fromkeys(path for o in outcomes for path in o.runs)),
    )
