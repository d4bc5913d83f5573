"""What training wrote: whether checkpoint, snapshots, metrics, times and summary agree."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pgzoo.learning.doctor.findings import Chart
from pgzoo.learning.run import Run
from pgzoo.learning.snapshots import PERCENT_APART, passed
from pgzoo.learning.state import TrainState
from pgzoo.learning.stored import load_state, policies
from pgzoo.learning.trainer import Trainer
from pgzoo.learning.update import Networks
from pgzoo.policies.networks import Network
from pgzoo.records import files
from pgzoo.records.config import RunConfig
from pgzoo.records.metrics_file import Columns, read_metrics
from pgzoo.records.run_folder import CHECKPOINT, METRICS, SNAPSHOTS, SUMMARY, TIMES
from pgzoo.records.times_file import read_times

CLOSE = 1e-4
"""Relative difference up to which returns of an evaluation done again are the same."""


def examine_summary(chart: Chart) -> dict[str, Any] | None:
    """The results, if training is complete."""
    if not os.path.lexists(chart.folder.path / SUMMARY):
        chart.note(SUMMARY, "there is none yet: training is not complete", lacks=("results",))
        return None
    summary = chart.attempt(SUMMARY, ("summary", "results"), chart.folder.summary)
    if summary is not None:
        known = [mean for mean in summary["eval_mean"] if mean is not None]
        text = f"final returns of {len(known)} of {len(summary['seeds'])} seeds"
        chart.fine(SUMMARY, f"training is complete; {text}")
    return summary


def examine_checkpoint(
    chart: Chart, config: RunConfig, network: Network | None, trainer: Trainer | None
) -> TrainState | None:
    """Where training stands, if what is there is a checkpoint of these networks."""
    if not chart.folder.has_checkpoint:
        _tell_of_no_checkpoint(chart, config)
        return None
    use = ("checkpoint", "state")
    loaded = chart.attempt(CHECKPOINT, (*use, "metrics"), chart.folder.load_checkpoint)
    if loaded is None:
        return None
    state = chart.attempt(CHECKPOINT, use, lambda: TrainState.from_checkpoint(*loaded, "cpu"))
    if state is None:
        return None
    fits = network is None or _is_of(chart, Networks(network), use)
    if fits and trainer is not None:
        fits = _is_of(chart, trainer.networks, ("state",))
    if fits:
        chart.fine(CHECKPOINT, _how_far(state, config))
    _tell_of_failures(chart, state)
    return state


def _tell_of_no_checkpoint(chart: Chart, config: RunConfig) -> None:
    lacks = ("checkpoint", "metrics")
    if any(os.path.lexists(chart.folder.path / name) for name in (METRICS, SUMMARY)):
        chart.damaged(
            CHECKPOINT,
            "it is missing. Restore it from a copy, or resume and train from the start",
            lacks=lacks,
        )
    else:
        chart.note(CHECKPOINT, "there is none yet: training has not begun", lacks=lacks)
    if config.hyperparameters.get("reference") is not None:
        chart.note(
            CHECKPOINT,
            "it would hold the policies of the reference, and where a folder says that they "
            "are is not looked up: start the run anew",
            lacks=("state",),
        )


def _tell_of_failures(chart: Chart, state: TrainState) -> None:
    failed = {r.seed: r.failed for r in state.replicas if r.failed is not None}
    if not failed:
        return
    said = "; ".join(f"seed {seed}: {reason}" for seed, reason in failed.items())
    everyone = len(failed) == len(state.replicas)
    chart.note(
        CHECKPOINT,
        f"training of {len(failed)} of {len(state.replicas)} seeds was stopped ({said})",
        lacks=("survivor",) if everyone else (),
    )


def _is_of(chart: Chart, networks: Networks, lacks: Sequence[str]) -> bool:
    """Whether the checkpoint is one of these networks'."""
    state = chart.attempt(CHECKPOINT, lacks, lambda: load_state(chart.folder, networks, "cpu"))
    return state is not None


def _how_far(state: TrainState, config: RunConfig) -> str:
    share = state.share(config.hyperparameters["steps"])
    return (
        f"{state.iteration:,} iterations, {state.steps:,} steps of all seeds, {share:.0%} of the "
        "training"
    )


def examine_snapshots(
    chart: Chart, config: RunConfig, network: Network | None, state: TrainState | None
) -> None:
    """Whether the snapshots that training has passed are there, and whole."""
    first = ("first snapshot",)
    there = chart.attempt(SNAPSHOTS, first, chart.folder.snapshots)
    if there is None:
        return

    def is_whole(percent: int) -> bool:
        lacks = first if percent == 0 else ()
        part = f"{SNAPSHOTS}/{percent:03d}.safetensors"
        theta = chart.attempt(part, lacks, lambda: policies(chart.folder, network, percent))
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


def examine_metrics(
    chart: Chart, state: TrainState | None, summary: Mapping[str, Any] | None
) -> None:
    """Whether the metrics are those which checkpoint and summary were written with."""
    path, use = chart.folder.path / METRICS, ("metrics", "metrics so far")
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
    columns = chart.attempt(METRICS, use, lambda: read_metrics(chart.folder, state.to_json()))
    if columns is None:
        return
    if columns:
        chart.fine(METRICS, f"{len(columns['seed']):,} lines, as they were written")
    else:
        chart.note(METRICS, "no iteration is complete yet", lacks=("metrics",))
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


def examine_times(chart: Chart, state: TrainState | None) -> None:
    """Whether the times are whole, and those up to the checkpoint are."""
    done = 0 if state is None else state.iteration
    chart.attempt(TIMES, ("times so far",), lambda: read_times(chart.folder, before=done))
    times = chart.attempt(TIMES, ("times",), lambda: read_times(chart.folder))
    if times:
        chart.fine(TIMES, f"{len(times):,} iterations, {times[-1][1]:.0f} s")


def compare_summary(chart: Chart, summary: Mapping[str, Any], state: TrainState) -> None:
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


def evaluate_again(chart: Chart, summary: Mapping[str, Any]) -> None:
    """Hold the returns of a complete run against those of the same evaluation, made now."""
    run = Run(chart.folder)
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
