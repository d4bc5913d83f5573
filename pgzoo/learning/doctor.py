"""``pgzoo.doctor``: what of a run's folder is damaged, and what can still be done with it.

Each part is examined by the very function that reads it when it is used, and the next part is,
too, whatever the one before has. A finding names what it lacks for; what can be done follows from
``NEEDS`` and nothing else. Nothing is written, nothing of the folder is run, no link is followed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pgzoo_envs
import torch

from pgzoo.agents import AGENTS
from pgzoo.errors import UsageError
from pgzoo.learning.run import Run
from pgzoo.learning.snapshots import PERCENT_APART, passed
from pgzoo.learning.state import TrainState
from pgzoo.learning.stored import load_state, policies, stored_agent, stored_config
from pgzoo.learning.trainer import Trainer, describe_env
from pgzoo.learning.update import Networks
from pgzoo.options import checked, checked_path
from pgzoo.policies.networks import Network, make_policy
from pgzoo.records import files
from pgzoo.records.config import LIBRARIES, RunConfig
from pgzoo.records.event_files import whole_until
from pgzoo.records.metrics_file import Columns, read_metrics
from pgzoo.records.printable import printable
from pgzoo.records.run_folder import (
    CHECKPOINT,
    CONFIG,
    EVENTS,
    FILES,
    METRICS,
    SNAPSHOT,
    SNAPSHOTS,
    SUMMARY,
    TIMES,
    RunFolder,
)
from pgzoo.records.times_file import read_times

Severity = Literal["fine", "note", "damaged"]
Action = Literal["evaluate", "watch", "resume", "plot", "compare", "tensorboard"]
T = TypeVar("T")

POLICY = ("configuration", "environment", "checkpoint")
RESULTS = ("configuration", "results", "metrics", "times")
BEGIN = ("configuration", "environment", "estimator", "trainer", "summary")
NEEDS: dict[Action, tuple[str, ...]] = {
    "evaluate": POLICY,
    "watch": (*POLICY, "survivor", "summary", "picture", "first snapshot"),
    "resume": (*BEGIN, "own files", "rest", "room", "state", "metrics so far", "times so far"),
    "plot": RESULTS,
    "compare": (*RESULTS, "equal steps", "version", "source"),
    "tensorboard": ("events",),
}
"""What has to be in order for each thing that can be done with a run."""
OTHER_FOLDERS = {
    "question.json": "a comparison; its runs are in its folder `runs`: give one of those",
    "compare.json": "the result of a comparison: give one of the runs that it was made of",
    "lab.json": "a result of the laboratory: give the run that it was made of",
}
FILMS = (".gif", ".mp4")
MOST_ENTRIES = 100_000
CLOSE = 1e-4
"""Relative difference up to which returns of an evaluation done again are the same."""


@dataclass(frozen=True)
class Finding:
    """Something about a part of a run.

    Attributes:
        part: file, folder or circumstance.
        severity: fine, a note, or damaged.
        text: what it is, and what can be done.
        lacks: of what ``NEEDS`` names, that which is therefore not in order.
        unknown: of the same, that which cannot be told without running something.
    """

    part: str
    severity: Severity
    text: str
    lacks: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """Whether something can be done with a run.

    Attributes:
        action: what.
        possible: None if that cannot be told without running something.
        reason: why not, or what to know of it.
    """

    action: Action
    possible: bool | None
    reason: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """What is the matter with a run's folder.

    Attributes:
        path: of the folder.
        findings: part by part.
        verdicts: what can still be done.
    """

    path: Path
    findings: tuple[Finding, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing is damaged."""
        return all(finding.severity != "damaged" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """For a script."""
        return dataclasses.asdict(self) | {"path": str(self.path), "healthy": self.healthy}

    def __str__(self) -> str:
        signs = {"fine": "✓", "note": "•", "damaged": "✗"}
        words = {True: "yes", False: "no", None: "not known"}
        lines = [f"{signs[f.severity]} {f.part}: {f.text}" for f in self.findings]
        lines += [
            f"{v.action}: {words[v.possible]}" + (f", {v.reason}" if v.reason else "")
            for v in self.verdicts
        ]
        return printable("\n".join(lines))

    __repr__ = __str__


def doctor(path: str | Path, *, evaluate: bool = False) -> Diagnosis:
    """Examine a run's folder from end to end.

    Args:
        path: of the folder.
        evaluate: whether to evaluate the policies again and compare with the summary: an evaluation
            repeats exactly on the same kind of machine.

    Raises:
        UsageError: if it is no folder of a run.
    """
    path, evaluate = checked_path("path", path), checked("evaluate", evaluate, bool)
    _check_is_run(path)
    chart = _Chart(path)
    _examine(chart, RunFolder(path), evaluate)
    findings = tuple(chart.findings)
    return Diagnosis(path, findings, tuple(_verdict(action, findings) for action in NEEDS))


def _verdict(action: Action, findings: Sequence[Finding]) -> Verdict:
    needs = NEEDS[action]
    complete = any(f.part == SUMMARY and f.severity == "fine" for f in findings)
    if action == "resume" and complete:  # then there is nothing left to train
        needs = BEGIN
    for finding in findings:
        if set(needs) & set(finding.lacks):
            return Verdict(action, False, f"{finding.part}: {finding.text}")
    for finding in findings:
        if set(needs) & set(finding.unknown):
            return Verdict(action, None, f"{finding.part}: {finding.text}")
    nothing_left = action == "resume" and complete
    return Verdict(action, True, "it is complete; nothing is left to train" * nothing_left)


def _check_is_run(path: Path) -> None:
    try:
        is_folder = path.is_dir()
        inside = sorted(entry.name for entry in os.scandir(path)) if is_folder else []
    except (OSError, ValueError) as error:
        raise UsageError(f"Cannot read {path}: {error}. Give the folder of a run.") from error
    if not is_folder:
        raise UsageError(f"Expected the folder of a run, but {path} is no folder. Give one.")
    if CONFIG in inside:
        return
    for name, what in OTHER_FOLDERS.items():
        if name in inside:
            raise UsageError(f"Expected the folder of a run, but {path} is {what}.")
    runs = [path / name for name in inside if os.path.lexists(path / name / CONFIG)]
    if runs:
        raise UsageError(
            f"Expected the folder of a run, but {path} holds {len(runs)} of them. Give one, such "
            f"as {runs[0]}."
        )
    if set(FILES[1:]) & set(inside) or SNAPSHOTS in inside:
        raise UsageError(
            f"Expected the folder of a run, but {path} has lost its {CONFIG}, without which nobody "
            "can tell what the rest of it is. Restore that file from a copy."
        )
    RunFolder.open(path)  # says so


@dataclass
class _Chart:
    """What has been found so far of a folder."""

    path: Path
    findings: list[Finding] = field(default_factory=list)

    def fine(self, part: str, text: str) -> None:
        self.findings.append(Finding(part, "fine", text))

    def note(
        self, part: str, text: str, *, lacks: Sequence[str] = (), unknown: Sequence[str] = ()
    ) -> None:
        self.findings.append(Finding(part, "note", text, tuple(lacks), tuple(unknown)))

    def damaged(self, part: str, text: str, *, lacks: Sequence[str] = ()) -> None:
        self.findings.append(Finding(part, "damaged", text, tuple(lacks)))

    def attempt(self, part: str, lacks: Sequence[str], read: Callable[[], T]) -> T | None:
        """What a function returns; if it fails, that is a finding."""
        try:
            return read()
        except (UsageError, pgzoo_envs.EnvError) as error:
            self.damaged(part, str(error).replace(f"{self.path}{os.sep}", ""), lacks=lacks)
        except Exception as error:  # whatever a damaged file brings about, the next one is examined
            self.damaged(part, f"cannot be used: {type(error).__name__}: {error}", lacks=lacks)
        return None


def _examine(chart: _Chart, folder: RunFolder, evaluate: bool) -> None:
    config = chart.attempt(CONFIG, ("configuration",), lambda: stored_config(folder))
    if config is not None:
        _examine_training(chart, folder, config, evaluate)
    _examine_events(chart, folder.path)
    _examine_entries(chart, folder.path)
    _examine_place(chart, folder.path)


def _examine_training(chart: _Chart, folder: RunFolder, config: RunConfig, evaluate: bool) -> None:
    _examine_config(chart, folder, config)
    network = _examine_environment(chart, config)
    trainer = None if network is None else _make_trainer(chart, folder, config)
    summary = _examine_summary(chart, folder)
    state = _examine_checkpoint(chart, folder, config, network, trainer)
    _examine_snapshots(chart, folder, config, network, state)
    _examine_metrics(chart, folder, state, summary)
    if summary is not None or not os.path.lexists(folder.path / SUMMARY):
        _examine_times(chart, folder, state)
    if summary is not None and state is not None:
        _compare_summary(chart, summary, state)
    if summary is not None and evaluate:
        _evaluate_again(chart, Run(folder), summary)


def _examine_config(chart: _Chart, folder: RunFolder, config: RunConfig) -> None:
    seeds = f"{len(config.seeds)} seed{'s' * (len(config.seeds) > 1)}"
    chart.fine(CONFIG, f"{config.agent} on {config.env}, {config.policy_kind} policy, {seeds}")
    written = files.read_json(folder.path / CONFIG)["versions"]
    here = {"python": platform.python_version(), "pgzoo": version("pgzoo")}
    here |= {name: version(name) for name in LIBRARIES}
    differing = [
        f"{name} {written.get(name, 'unknown')}, here {number}"
        for name, number in here.items()
        if written.get(name) != number
    ]
    other = written.get("pgzoo") != here["pgzoo"]
    if differing:
        chart.note(
            "versions",
            f"it was written by others than are installed ({'; '.join(differing)}): what is "
            "computed from here on may differ in the last digits",
            lacks=("version",) if other else (),
        )
    if config.device != "cpu" and not torch.cuda.is_available():
        chart.note("device", f"it was begun on {config.device}, and is computed on the CPU here")
    if config.agent not in AGENTS:
        _examine_estimator(chart, config)


def _examine_environment(chart: _Chart, config: RunConfig) -> Network | None:
    part, needed = "environment", ("environment", "picture")
    info = chart.attempt(part, needed, lambda: describe_env(config))
    if info is None:
        return None
    drawn = chart.attempt(part, ("picture",), lambda: pgzoo_envs.renders(config.env))
    if drawn is False:
        chart.note(part, f"{config.env} cannot be drawn", lacks=("picture",))
    elif drawn:
        chart.fine(part, f"{config.env} is installed")
    return chart.attempt(
        CONFIG,
        ("environment",),
        lambda: make_policy(config.policy_kind, info, config.hyperparameters["hidden"]),
    )


def _examine_estimator(chart: _Chart, config: RunConfig) -> None:
    """A program of somebody's own; it is compared by its digest, and not run."""
    part, file = "estimator", config.agent.rpartition(":")[0]
    if config.estimator_sha256 is None:
        chart.note(part, "nobody can tell of which program it is", lacks=("source",))
    if not file.endswith(".py"):
        chart.note(
            part,
            f"{config.agent} is a function of its owner's, which has to be given to go on",
            unknown=("estimator",),
        )
        return
    warning = "It is a program of its owner's: read it before it is run"
    if not os.path.lexists(file):
        chart.note(part, f"{file} is not here, seen from this folder", lacks=("estimator",))
        return
    content = chart.attempt(part, ("estimator",), lambda: files.read(Path(file)))
    if content is None:
        return
    if hashlib.sha256(content).hexdigest() == config.estimator_sha256:
        chart.note(part, f"{file} is as it was when the run was begun. {warning}")
    else:
        chart.note(
            part,
            f"{file} has changed since the run was begun; the run goes on with the earlier one "
            f"alone. {warning}",
            lacks=("estimator",),
        )


def _make_trainer(chart: _Chart, folder: RunFolder, config: RunConfig) -> Trainer | None:
    def make() -> Trainer:
        return Trainer(config, stored_agent(config, folder.path / CONFIG), "cpu")

    trainer = chart.attempt(CONFIG, ("trainer",), make)
    if trainer is not None:
        trainer.close()
    return trainer


def _examine_summary(chart: _Chart, folder: RunFolder) -> dict[str, Any] | None:
    if not os.path.lexists(folder.path / SUMMARY):
        chart.note(SUMMARY, "there is none yet: training is not complete", lacks=("results",))
        return None
    summary = chart.attempt(SUMMARY, ("summary", "results"), folder.summary)
    if summary is not None:
        known = [mean for mean in summary["eval_mean"] if mean is not None]
        text = f"final returns of {len(known)} of {len(summary['seeds'])} seeds"
        chart.fine(SUMMARY, f"training is complete; {text}")
    return summary


def _examine_checkpoint(
    chart: _Chart,
    folder: RunFolder,
    config: RunConfig,
    network: Network | None,
    trainer: Trainer | None,
) -> TrainState | None:
    use = ("checkpoint", "state")
    if not folder.has_checkpoint:
        begun = any(os.path.lexists(folder.path / name) for name in (METRICS, SUMMARY))
        tell = chart.damaged if begun else chart.note
        missing = "it is missing. Restore it from a copy, or resume and train from the start"
        tell(
            CHECKPOINT,
            missing if begun else "there is none yet: training has not begun",
            lacks=("checkpoint", "metrics"),
        )
        if config.hyperparameters.get("reference") is not None:
            chart.note(
                CHECKPOINT,
                "it would hold the policies of the reference, and where a folder says that they "
                "are is not looked up: start the run anew",
                lacks=("state",),
            )
        return None

    loaded = chart.attempt(CHECKPOINT, (*use, "metrics"), folder.load_checkpoint)
    if loaded is None:
        return None
    state = chart.attempt(CHECKPOINT, use, lambda: TrainState.from_checkpoint(*loaded, "cpu"))
    if state is None:
        return None
    fits = network is None or _is_of(chart, folder, Networks(network), use)
    if fits and trainer is not None:
        fits = _is_of(chart, folder, trainer.networks, ("state",))
    if fits:
        chart.fine(CHECKPOINT, _how_far(state, config))
    failed = {r.seed: r.failed for r in state.replicas if r.failed is not None}
    if failed:
        said = "; ".join(f"seed {seed}: {reason}" for seed, reason in failed.items())
        everyone = len(failed) == len(state.replicas)
        chart.note(
            CHECKPOINT,
            f"training of {len(failed)} of {len(state.replicas)} seeds was stopped ({said})",
            lacks=("survivor",) if everyone else (),
        )
    return state


def _is_of(chart: _Chart, folder: RunFolder, networks: Networks, lacks: Sequence[str]) -> bool:
    """Whether the checkpoint is one of these networks'."""
    state = chart.attempt(CHECKPOINT, lacks, lambda: load_state(folder, networks, "cpu"))
    return state is not None


def _how_far(state: TrainState, config: RunConfig) -> str:
    share = state.share(config.hyperparameters["steps"])
    return (
        f"{state.iteration:,} iterations, {state.steps:,} steps of all seeds, {share:.0%} of the "
        "training"
    )


def _examine_snapshots(
    chart: _Chart,
    folder: RunFolder,
    config: RunConfig,
    network: Network | None,
    state: TrainState | None,
) -> None:
    first = ("first snapshot",)
    there = chart.attempt(SNAPSHOTS, first, folder.snapshots)
    if there is None:
        return

    def is_whole(percent: int) -> bool:
        lacks = first if percent == 0 else ()
        part = f"{SNAPSHOTS}/{percent:03d}.safetensors"
        theta = chart.attempt(part, lacks, lambda: policies(folder, network, percent))
        return theta is not None

    if 0 not in there:
        chart.note(SNAPSHOTS, "there is none of the untrained policies", lacks=first)
    if whole := [percent for percent in there if is_whole(percent)]:
        chart.fine(SNAPSHOTS, f"after {', '.join(map(str, whole))} percent")
    if state is None:
        return
    least = min(passed(replica, config.hyperparameters["steps"]) for replica in state.replicas)
    missing = [p for p in range(0, least + 1, PERCENT_APART) if p not in there]
    if missing:
        chart.damaged(
            SNAPSHOTS,
            f"those after {', '.join(map(str, missing))} percent are missing; they cannot be made "
            "again, and films and the laboratory do without them",
        )


def _examine_metrics(
    chart: _Chart,
    folder: RunFolder,
    state: TrainState | None,
    summary: Mapping[str, Any] | None,
) -> None:
    path, use = folder.path / METRICS, ("metrics", "metrics so far")
    chart.attempt(METRICS, use, lambda: files.check_kind(path))
    about = path.lstat() if os.path.lexists(path) else None
    if about is not None and stat.S_ISREG(about.st_mode) and about.st_nlink > 1:
        chart.damaged(
            METRICS,
            "it has another name elsewhere (a hard link). Put a copy in its place",
            lacks=("metrics so far",),
        )
    if state is None:
        return
    known = state.to_json()
    columns = chart.attempt(METRICS, use, lambda: read_metrics(folder, known))
    if columns is None:
        return
    if not columns:
        chart.note(METRICS, "no iteration is complete yet", lacks=("metrics",))
    else:
        chart.fine(METRICS, f"{len(columns['seed']):,} lines, as they were written")
    beyond = (0 if about is None else about.st_size) - state.metrics_size
    if beyond > 0:
        chart.note(
            METRICS,
            f"{beyond:,} bytes came after the last checkpoint; resuming cuts them off, and nothing "
            "is lost",
        )
    if summary is not None:
        chart.attempt(METRICS, ("equal steps",), lambda: _check_steps(columns, summary))


def _check_steps(columns: Columns, summary: Mapping[str, Any]) -> None:
    last = dict(zip(columns["seed"], columns["env_steps"], strict=True)) if columns else {}
    for seed, steps in zip(summary["seeds"], summary["env_steps_per_seed"], strict=True):
        if last.get(seed, 0) != steps:
            raise ValueError(
                f"it ends after {last.get(seed, 0):,} steps of seed {seed}, {SUMMARY} says "
                f"{steps:,}"
            )


def _examine_times(chart: _Chart, folder: RunFolder, state: TrainState | None) -> None:
    done = 0 if state is None else state.iteration
    chart.attempt(TIMES, ("times so far",), lambda: read_times(folder, before=done))
    times = chart.attempt(TIMES, ("times",), lambda: read_times(folder))
    if times:
        chart.fine(TIMES, f"{len(times):,} iterations, {times[-1][1]:.0f} s")


def _compare_summary(chart: _Chart, summary: Mapping[str, Any], state: TrainState) -> None:
    """Hold what a complete run says against its checkpoint."""
    replicas = state.replicas
    expected: dict[str, Any] = {
        "iterations": state.iteration,
        "env_steps_per_seed": [r.env_steps for r in replicas],
        "steps_to_threshold": [r.steps_to_threshold for r in replicas],
        "failed": [r.failed for r in replicas],
    }
    wrong = [name for name, value in expected.items() if summary[name] != value]
    if state.running:
        wrong.append("that training is complete")
    if wrong:
        chart.damaged(
            SUMMARY,
            f"it contradicts the checkpoint in {', '.join(wrong)}. Restore both from one copy",
        )


def _evaluate_again(chart: _Chart, run: Run, summary: Mapping[str, Any]) -> None:
    found = chart.attempt("evaluation", (), lambda: run.evaluate(summary["eval_episodes"]))
    if found is None:
        return
    told = np.array([np.nan if m is None else m for m in summary["eval_mean"]])
    means = found.mean().to_numpy()
    known = np.isfinite(told)
    off = ~np.isclose(told[known], means[known], rtol=CLOSE)
    if not off.any():
        chart.fine("evaluation", "done again, it gives the returns of the summary")
        return
    seeds = [seed for seed, o in zip(np.array(run.config.seeds)[known], off, strict=True) if o]
    text = f"done again, it gives other returns for seeds {', '.join(map(str, seeds))}"
    if any(f.part in ("versions", "device") for f in chart.findings):
        chart.note("evaluation", f"{text}, which other versions or another device may explain")
    else:
        chart.damaged("evaluation", f"{text}: summary and checkpoint are not of one run")


def _examine_events(chart: _Chart, path: Path) -> None:
    found = sorted(path.rglob(EVENTS))
    if not found:
        chart.note(EVENTS, "there are none; TensorBoard has nothing to show", lacks=("events",))
        return
    broken = 0
    for place in found:
        name = str(place.relative_to(path))
        content = chart.attempt(name, (), lambda place=place: files.read(place))  # type: ignore[misc]
        end, reason = (0, "") if content is None else whole_until(content)
        if content is None or reason is None:
            broken += content is None
            continue
        broken += 1
        tell = chart.note if reason == "the last record is cut off" else chart.damaged
        tell(
            name,
            f"{reason}: TensorBoard shows its first {end:,} of {len(content):,} bytes. {METRICS} "
            "has all figures; plot them from there",
        )
    if not broken:
        chart.fine(EVENTS, f"{len(found)} whole file{'s' * (len(found) > 1)}")


def _examine_entries(chart: _Chart, path: Path) -> None:
    """What is there that is not a regular file of a run's."""
    chart.attempt("folder", ("own files",), RunFolder(path).check_files)
    leftovers, foreign, odd = [], [], []
    for count, (name, mode) in enumerate(_entries(path)):
        if count == MOST_ENTRIES:
            chart.note(
                "folder", f"it has more than {MOST_ENTRIES:,} entries; not all were looked at"
            )
            break
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            odd.append(name)
        elif files.is_leftover(Path(name)):
            leftovers.append(name)
        elif not _belongs(name, path):
            foreign.append(name)
    if odd:
        chart.note("folder", f"links, pipes or devices, which are not followed: {_some(odd)}")
    if leftovers:
        chart.note(
            "folder", f"left by a kill: {_some(leftovers)}; going on removes what is in the way"
        )
    if foreign:
        chart.note("folder", f"not of a run, and left alone: {_some(foreign)}")


def _entries(path: Path) -> Iterator[tuple[str, int]]:
    """Names of all that is in a folder, relative to it, with their modes; no link is followed."""
    for place, folders, names in os.walk(path):
        for name in sorted((*folders, *names)):
            entry = Path(place, name)
            try:
                yield str(entry.relative_to(path)), entry.lstat().st_mode
            except OSError:
                continue


def _belongs(name: str, path: Path) -> bool:
    entry = Path(name)
    if len(entry.parts) == 1:
        known = name in (*FILES, SNAPSHOTS) or entry.suffix in FILMS or entry.match(EVENTS)
        return known or ((path / name).is_dir() and any((path / name).glob(EVENTS)))
    if entry.parts[0] == SNAPSHOTS:
        return len(entry.parts) == 2 and SNAPSHOT.fullmatch(entry.name) is not None
    return len(entry.parts) == 2 and entry.match(EVENTS)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(json.dumps, names[:3]))
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _examine_place(chart: _Chart, path: Path) -> None:
    """Whether the run is at rest, and training could write here."""
    if chart.attempt("lock", ("rest",), lambda: files.is_locked(path / CONFIG)):
        chart.note("lock", "the run is being trained right now; look again later", lacks=("rest",))
    writable = os.access(path, os.W_OK | os.X_OK) and os.access(path / CONFIG, os.W_OK)
    if not writable:
        chart.note("permissions", "nothing can be written here", lacks=("room",))
    free = chart.attempt("disk", (), lambda: shutil.disk_usage(path).free)
    if free is None:
        return
    checkpoint = path / CHECKPOINT
    needed = 2 * checkpoint.lstat().st_size if os.path.lexists(checkpoint) else 0
    if free < needed:
        chart.note(
            "disk",
            f"{free:,} bytes are free, and two checkpoints take {needed:,}: make room to go on",
            lacks=("room",),
        )
    else:
        chart.fine("disk", f"{free / 1e9:.1f} GB are free")
