"""TensorBoard: one run for an agent, the same few curves for all agents.

An agent's curves are of all its seeds together, so that agents that are looked at together have one
line each in every chart. There are three sections, in the order in which they are asked after: how
well does it learn, how good is its gradient, and why. The first begins with a capital because
TensorBoard sorts sections by character code. The horizontal axis is environment steps per seed.
What an agent's batches say of other estimators is a run of its own beneath, ``rloo``, with the same
name of the curve; so is a seed, ``seed-3``, where that was asked for.

Nothing is ever read from event files: they can be written anew from ``metrics.csv``.
"""

from __future__ import annotations

import itertools
import math
import os
import re
import socket
import stat
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import custom_scalars, hparams

from pgzoo.options import written
from pgzoo.records import words
from pgzoo.records.columns import (
    DIAGNOSED,
    SIGNAL,
    VARIANCE,
    signal_column,
    variance_column,
)
from pgzoo.records.config import RunConfig
from pgzoo.records.files import check_kind, encoded
from pgzoo.records.intervals import interquartile_mean_interval, steps_to_threshold
from pgzoo.records.pooling import latest, relative_variance
from pgzoo.records.printable import in_markdown

RETURN, LOW, HIGH = BAND = ("Learning/return", "Learning/return_low", "Learning/return_high")
SUCCESS = "Learning/success_rate"
TRAINED, SOLVED, SOON = (
    "Learning/trained_return",
    "Learning/trained_success_rate",
    "Learning/steps_to_threshold",
)
RELATIVE = "gradient/relative_variance"
OF_EQUAL_STEPS = "gradient/relative_variance_of_1000_steps"
NOISE_SCALE = "gradient/noise_scale"
EQUAL_STEPS = 1000
TOP = 10.0
"""Upper edge of relative variances. What is more, the infinite included, runs along it: if the
truth is ten, ten pooled diagnoses of eight blocks are infinite in up to a third of the cases."""

PLAIN = {
    "Learning/steps_per_episode": (
        "length_mean",
        "Environment steps of an episode, on average over those of the last iteration.",
    ),
    "gradient/split_half_cosine": (
        "split_half_cosine",
        "Direction: cosine between the gradients from both halves of a batch, 1 without noise.",
    ),
    "gradient/norm": (
        "gradient_norm",
        "Length of the gradient that the optimiser gets, before it is clipped.",
    ),
    **{
        f"why/psi_quantile_{q}": (
            f"psi_q{q}",
            f"{q}% quantile of Ψ, the weight that the method puts on ∇log π(a|s).",
        )
        for q in ("05", "50", "95")
    },
    **{
        f"why/effective_weight_quantile_{q}": (
            f"weight_q{q}",
            f"{q}% quantile of what is really put on ∇log π(a|s), after clipping and averaging, "
            "relative to an average over the batch's steps.",
        )
        for q in ("05", "95")
    },
    "why/baseline_explained_variance": (
        "baseline_explained_variance",
        "1 − Var(Ψ) / Var(return): share of the return's variance that the baseline takes away.",
    ),
    "why/critic_explained_variance": (
        "explained_variance",
        "Share of the returns' variance that the critic explains, 1 if it knows them.",
    ),
    "why/entropy": ("entropy", "Entropy of the policy in nats, averaged over steps."),
    "why/kl_of_update": (
        "kl_behaviour",
        "KL in nats per step from the policy that sampled to the one after the update.",
    ),
    "why/clip_fraction": ("clip_fraction", "Share of steps whose importance ratio was clipped."),
    "why/ratio_effective_sample_size": (
        "ratio_ess",
        "Share of the batch that importance weighting would keep after the update.",
    ),
    "why/learning_rate": ("learning_rate", "The optimiser's step size for the policy."),
}
"""Curves that are means of a column of ``metrics.csv``, and what they mean."""
POOLED = "pooled over seeds and the latest diagnoses"
DESCRIPTIONS = {
    RETURN: "Mean return of each seed's last 100 episodes: the interquartile mean over seeds.",
    LOW: "Lower end of that return's 95% interval over seeds, from five seeds on.",
    HIGH: "Upper end of that return's 95% interval over seeds, from five seeds on.",
    SUCCESS: "Share of the seeds whose last 100 episodes average the environment's threshold.",
    TRAINED: "Return of the trained policies in fresh episodes: the interquartile mean over seeds.",
    SOLVED: "Share of the seeds whose trained policy reaches the threshold in fresh episodes.",
    SOON: "Environment steps within which half of the seeds have reached the threshold.",
    RELATIVE: f"Variance of a batch's gradient over its squared length, {POOLED}; {TOP:g}, the top "
    "edge, is that or more, infinite where noise hides the signal.",
    OF_EQUAL_STEPS: f"The relative variance if every batch had {EQUAL_STEPS:,} environment steps, "
    f"so that agents with batches of different size can be compared; {TOP:g} is that or more.",
    NOISE_SCALE: "Trajectories (or segments, if the agent samples those) of a batch whose noise "
    "equals its signal; the top edge is that or more.",
    **{tag: text for tag, (_, text) in PLAIN.items()},
}
"""Every curve there can be."""
LAYOUT = {
    "learning": {"return over seeds with its 95% band": ["Margin", list(BAND)]},
    "gradient": {
        "relative variance of a batch's gradient": ["Multiline", [f"^{RELATIVE}$"]],
        f"relative variance if it had {EQUAL_STEPS:,} steps": [
            "Multiline",
            [f"^{OF_EQUAL_STEPS}$"],
        ],
    },
}
"""The Custom Scalars page; equal for all runs, which TensorBoard then shows in the same charts."""
COMPARED = "tensorboard"
"""Folder within a comparison or a measurement that holds its TensorBoard runs."""
FIGURES = "with figures"
"""Section of figures, which is behind the curves."""
MOST_SEED_CURVES = 100
"""Seeds that may each be a TensorBoard run, which is an open file and a line in every chart."""
STAMP = re.compile(r"events\.out\.tfevents\.(\d{10})\.")
NUMBERS = itertools.count()
"""Of this process's event files, so that no two have the same name."""


class EventFile:
    """A new event file in the folder of a TensorBoard run."""

    def __init__(self, folder: Path, after: int | None = None) -> None:
        """Open it.

        Args:
            folder: made if it is not there.
            after: what earlier files of the folder say of later steps than this is dropped; None:
                this one adds to them.
        """
        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads in the order of names: a clock that was set back must not show in them.
        earlier = (int(found[1]) for p in folder.glob("events.*") if (found := STAMP.match(p.name)))
        self._began = max(time.time(), 1 + max(earlier, default=0))
        self._since = time.monotonic()
        name = f"{int(self._began):010d}.{socket.gethostname()}.{os.getpid()}.{next(NUMBERS)}"
        # Written here and now; TensorBoard's own writer has a thread that Ctrl-C would wait for.
        self._file = (folder / f"events.out.tfevents.{name}").open("xb")
        self._records = RecordWriter(self._file)
        self._described: set[str] = set()
        self._write(file_version="brain.Event:2")
        if after is not None:
            self._write(step=after + 1, session_log=SessionLog(status=SessionLog.START))
        self.flush()

    def scalar(self, tag: str, value: float, step: int) -> None:
        """A point of one of the curves; left out if it is not finite."""
        if not math.isfinite(value):
            return
        point = scalar_pb(tag, value, DESCRIPTIONS[tag])
        if tag in self._described:  # the first point's description holds for all
            point.value[0].ClearField("metadata")
        self._described.add(tag)
        self.add(point, step)

    def text(self, tag: str, markdown: str, step: int) -> None:
        """A text."""
        self.add(text_pb(tag, encoded(markdown).decode()), step)

    def figure(self, name: str, png: bytes, step: int) -> None:
        """A PNG file."""
        width, height = struct.unpack(">II", png[16:24])
        image = Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=png)
        self.add(Summary(value=[Summary.Value(tag=f"{FIGURES}/{name}", image=image)]), step)

    def add(self, summary: Any, step: int = 0) -> None:
        """Whatever TensorBoard's protocol has a message for."""
        self._write(step=step, summary=summary)

    def _write(self, **event: Any) -> None:
        now = self._began + time.monotonic() - self._since
        self._records.write(Event(wall_time=now, **event).SerializeToString())

    def flush(self) -> None:
        """Write what was added to the disk."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Dashboard:
    """The curves of an agent's run, iteration by iteration."""

    def __init__(
        self,
        folder: Path,
        config: RunConfig,
        lines: Iterable[Mapping[str, Any]] = (),
        *,
        threshold: float | None,
        seeds: bool = False,
    ) -> None:
        """Open event files.

        Args:
            folder: of the agent's TensorBoard run, such as the run folder.
            config: of the run.
            lines: of ``metrics.csv`` so far, from earlier sessions; what those logged beyond them
                is dropped.
            threshold: the return from which on the environment counts as solved, if it has one.
            seeds: whether every seed has a TensorBoard run of its own, too.

        Raises:
            UsageError: if the folder of a TensorBoard run beneath is a link.
        """
        self._folder, self._config, self._threshold = folder, config, threshold
        self._latest: dict[int, dict[str, Any]] = {seed: {} for seed in config.seeds}
        self._diagnosed: list[dict[str, Any]] = []
        for line in lines:
            self._remember(line)
        steps = self._steps()
        self._minibatches = config.hyperparameters.get("minibatches", 1)
        self._run = EventFile(folder, steps)
        self._run.add(custom_scalars(LAYOUT))
        # At the end of the axis, so that a later session replaces it.
        budget = config.hyperparameters["steps"]
        self._run.text("settings", words.settings(config), budget)
        self._estimators: dict[str, EventFile] = {}
        self._begun = steps
        self._seeds = {
            seed: EventFile(self._below(f"seed-{seed}"), int(known.get("env_steps", 0)))
            for seed, known in self._latest.items()
            if seeds
        }

    def _below(self, name: str) -> Path:
        """The folder of a TensorBoard run beneath the agent's."""
        place = self._folder / name.replace("/", "_")
        check_kind(place, stat.S_IFDIR)
        return place

    def _steps(self) -> int:
        """Environment steps, averaged over all seeds."""
        return int(sum(r.get("env_steps", 0) for r in self._latest.values()) / len(self._latest))

    def _remember(self, line: Mapping[str, Any]) -> None:
        known = {k: v for k, v in line.items() if v is not None and v == v}
        before = self._latest[line["seed"]]
        if "gradient_blocks" in known:
            steps = known["env_steps"] - before.get("env_steps", 0)
            self._diagnosed = latest([*self._diagnosed, known | {"batch_steps": steps}])
        before |= known

    def add(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Add an iteration: its lines of ``metrics.csv``.

        A replica that has finished has none; it keeps its last figures in the curves.
        """
        for line in lines:
            self._remember(line)
            if line["seed"] in self._seeds:
                self._add_seed(self._seeds[line["seed"]], line)
        new = {k for line in lines for k, v in line.items() if v is not None and v == v}
        if "return_last_100" in new:
            self._add_return()
        for tag, (column, _) in PLAIN.items():
            if column in new:
                source = self._diagnosed if column in DIAGNOSED else self._latest.values()
                self._point(tag, float(np.mean([r[column] for r in source if column in r])))
        if VARIANCE in new:
            self._add_variances()

    def _add_seed(self, file: EventFile, line: Mapping[str, Any]) -> None:
        shown = {RETURN: "return_last_100"} | {tag: c for tag, (c, _) in PLAIN.items()}
        for tag, column in shown.items():
            if column not in DIAGNOSED and line.get(column) is not None:
                file.scalar(tag, line[column], int(line["env_steps"]))

    def _point(self, tag: str, value: float) -> None:
        self._run.scalar(tag, value, self._steps())

    def _add_return(self) -> None:
        returns = [r["return_last_100"] for r in self._latest.values() if "return_last_100" in r]
        interval = interquartile_mean_interval(returns)
        for tag, value in zip(BAND, (interval.point, interval.low, interval.high), strict=True):
            self._point(tag, value)
        if self._threshold is not None:
            reached = sum(value >= self._threshold for value in returns)
            self._point(SUCCESS, reached / len(self._latest))

    def _add_variances(self) -> None:
        """Relative variances: of the agent, and of the estimators on its batches."""
        lines = self._diagnosed
        rows = _rows(self._config) / self._minibatches
        self._point(NOISE_SCALE, rows * self._add_relative(self._run, ""))
        of = f"{VARIANCE}_of_"
        for name in {k.removeprefix(of): None for line in lines for k in line if k.startswith(of)}:
            if name not in self._estimators:
                self._estimators[name] = EventFile(self._below(name), self._begun)
            self._add_relative(self._estimators[name], name)

    def _add_relative(self, file: EventFile, estimator: str) -> float:
        """Add relative variances, of a batch and of as many steps for all; return the first."""
        steps = [line["batch_steps"] / self._minibatches for line in self._diagnosed]
        figure = min(_pooled(self._diagnosed, estimator), TOP)
        equal = _pooled(self._diagnosed, estimator, times=[n / EQUAL_STEPS for n in steps])
        file.scalar(RELATIVE, figure, self._steps())
        file.scalar(OF_EQUAL_STEPS, min(equal, TOP), self._steps())
        return figure

    def flush(self) -> None:
        """Write what was added to the disk."""
        for file in self._files():
            file.flush()

    def close(self) -> None:
        """Close all event files."""
        for file in self._files():
            file.close()

    def _files(self) -> list[EventFile]:
        return [self._run, *self._seeds.values(), *self._estimators.values()]


def _rows(config: RunConfig) -> int:
    """Trajectories of a batch, or segments of an agent that samples those."""
    options = config.hyperparameters
    return int(options["envs"] if options.get("envs") is not None else options["episodes"])


def _pooled(
    lines: Sequence[Mapping[str, Any]], estimator: str, times: Sequence[float] | None = None
) -> float:
    """Relative variance over diagnosed lines.

    Args:
        lines: of ``metrics.csv``.
        estimator: one of those that are compared on the same batches; empty: the agent itself.
        times: what each line's variance is multiplied by.
    """
    columns = [variance_column(estimator), signal_column(estimator), "gradient_blocks"]
    if not estimator:
        columns[:2] = [VARIANCE, SIGNAL]
    variances, signals, blocks = ([line.get(c, math.nan) for line in lines] for c in columns)
    if times is not None:
        variances = [v * t for v, t in zip(variances, times, strict=True)]
    return relative_variance(variances, signals, blocks)


@dataclass(frozen=True)
class Results:
    """What an agent's training came to, seed by seed.

    Attributes:
        returns: of the trained policies in fresh episodes, ``[S]``; NaN where training failed.
        threshold: the return from which on the environment counts as solved, if it has one.
        steps_to_threshold: environment steps at which each seed reached it, None if it did not.
        trained: environment steps of each seed, ``[S]``.
        words: the same in sentences.
    """

    returns: ArrayLike
    threshold: float | None
    steps_to_threshold: Sequence[int | None]
    trained: Sequence[int]
    words: Sequence[str]

    @classmethod
    def of(cls, summary: Mapping[str, Any]) -> Results:
        """Of a run's ``summary.json``."""
        return cls(
            returns=[math.nan if mean is None else mean for mean in summary["eval_mean"]],
            threshold=summary["threshold"],
            steps_to_threshold=summary["steps_to_threshold"],
            trained=summary["env_steps_per_seed"],
            words=words.in_words(summary),
        )

    def figures(self) -> dict[str, float]:
        """By the name of the curve that has them as its only point."""
        returns = np.asarray(self.returns, dtype=float)
        figures = {TRAINED: interquartile_mean_interval(returns).point}
        if self.threshold is not None:
            figures[SOLVED] = float(np.mean(returns >= self.threshold))
            figures[SOON] = steps_to_threshold(self.steps_to_threshold, self.trained).median
        return figures


def write_results(
    folder: Path, config: RunConfig, results: Results, figures: Mapping[str, bytes]
) -> None:
    """Add to a TensorBoard run what there is to say once training is complete.

    Final figures, options beside them on the HParams page, results in words, and figures.

    Args:
        folder: of the TensorBoard run.
        config: of the run.
        results: what training came to.
        figures: PNG files by their names.
    """
    file = EventFile(folder)
    step = int(np.mean(results.trained))
    for tag, value in results.figures().items():
        file.scalar(tag, value, step)
    # Without the first of the three TensorBoard shows what the options of all agents come to.
    for summary in hparams(_options(config), {})[1:]:
        file.add(summary)
    file.text("results", "\n\n".join(map(in_markdown, results.words)), step)
    for name, png in figures.items():
        file.figure(name, png, step)
    file.close()


def _options(config: RunConfig) -> dict[str, Any]:
    """A run's options, as numbers and words."""
    given = {
        "agent": config.agent,
        "env": config.env,
        "policy": config.policy_kind,
        "seeds": len(config.seeds),
    }
    return {
        k: v
        if isinstance(v, (int, float)) and not isinstance(v, bool)
        else encoded(written(v)).decode()
        for k, v in (given | config.hyperparameters).items()
        if v is not None
    }


def write_dashboard(
    folder: Path,
    config: RunConfig,
    lines: Iterable[Mapping[str, Any]],
    results: Results,
    figures: Mapping[str, bytes],
    *,
    seeds: bool = False,
) -> None:
    """The whole TensorBoard run of results that are there already.

    Args:
        folder: of the TensorBoard run; has no event files yet.
        config: of the run.
        lines: of ``metrics.csv``, in the order of their iterations.
        results: what training came to.
        figures: PNG files by their names.
        seeds: whether every seed has a TensorBoard run of its own, too.
    """
    dashboard = Dashboard(folder, config, threshold=results.threshold, seeds=seeds)
    for _, iteration in itertools.groupby(lines, key=lambda line: line["iteration"]):
        dashboard.add(list(iteration))
    dashboard.close()
    write_results(folder, config, results, figures)
