"""TensorBoard curves of a run: what all seeds come to, and every seed.

The run's own event files hold one curve for all seeds, so that ``return/interquartile_mean``
compares runs with one curve each. Each seed is a run of its own beneath (``seed-3``), in charts
that end in ``_each_seed``. The horizontal axis is environment steps per seed. The Custom Scalars
page shows the return with its interval as a band.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from pgzoo.records.columns import DIAGNOSED, SIGNAL, VARIANCE
from pgzoo.records.intervals import interquartile_mean_interval
from pgzoo.records.pooling import DIAGNOSES, relative_variance

TAGS = {
    "return_mean": "return/mean",
    "return_last_100": "return/last_100_episodes",
    "length_mean": "return/episode_length",
    "entropy": "policy/entropy",
    "gradient_norm": "gradient/norm",
    "psi_rms": "gradient/psi_rms",
    "critic_loss": "critic/loss",
    "explained_variance": "critic/explained_variance",
    "learning_rate": "policy/learning_rate",
    "clip_fraction": "policy/clip_fraction",
    "kl_old_policy": "policy/kl_during_updates",
    "kl_behaviour": "policy/kl_to_behaviour",
    "ratio_ess": "policy/ratio_effective_sample_size",
    "gradient_variance": "gradient/variance",
    "split_half_cosine": "gradient/split_half_cosine",
    "baseline_explained_variance": "gradient/baseline_explained_variance",
    **{c: f"psi/quantile_{c[-2:]}" for c in DIAGNOSED if c.startswith("psi_q")},
    **{c: f"effective_weight/quantile_{c[-2:]}" for c in DIAGNOSED if c.startswith("weight_q")},
}
"""Where a column of ``metrics.csv`` is shown, as the mean over seeds and for each seed."""
EACH_SEED = "_each_seed"
MIDDLE = ("return/interquartile_mean", "return/ci_low", "return/ci_high")
COMPARISON = "relative_variance"


class Dashboard:
    """Event files of a run and its seeds.

    Args:
        folder: the run folder.
        steps: environment steps that each seed has taken so far; what an interrupted session
            logged beyond them is dropped.
        lines: of ``metrics.csv`` so far, from earlier sessions.
        unit: of independence in a batch.
        rows: trajectories or segments in a batch.
    """

    def __init__(
        self,
        folder: Path,
        steps: Mapping[int, int],
        lines: Iterable[Mapping[str, Any]],
        *,
        unit: str,
        rows: int,
    ) -> None:
        mean_steps = sum(steps.values()) // len(steps)
        self._mean = SummaryWriter(str(folder), purge_step=mean_steps + 1)
        self._seeds = {
            seed: SummaryWriter(str(folder / f"seed-{seed}"), purge_step=n + 1)
            for seed, n in steps.items()
        }
        self._rows = rows
        self._latest: dict[int, dict[str, Any]] = defaultdict(dict)
        self._diagnoses: dict[int, list[Mapping[str, Any]]] = {}
        for line in lines:
            self._remember(line)
        # One category only: TensorBoard opens the first, and the others do not open on a click.
        self._mean.add_custom_scalars(
            {
                "all seeds": {
                    "return, interquartile mean and 95% interval": ["Margin", list(MIDDLE)],
                    "relative variance, estimators on the same batches": _overlay(COMPARISON),
                    "quantiles of Ψ": _overlay("psi"),
                    "quantiles of effective weights": _overlay("effective_weight"),
                }
            }
        )
        self._mean.add_text(
            "gradient/unit",
            f"Variances are found by leaving out {unit}s, pooled over seeds and the last "
            f"{DIAGNOSES} diagnoses. The noise scale is in "
            f"{'segments' if unit == 'segment' else 'trajectories'}; a batch has {rows}.",
        )

    def _remember(self, line: Mapping[str, Any]) -> None:
        known = {k: v for k, v in line.items() if v is not None}
        self._latest[line["seed"]] |= known
        if VARIANCE in known:
            self._diagnoses.setdefault(int(line["iteration"]), []).append(line)
            self._diagnoses = dict(list(self._diagnoses.items())[-DIAGNOSES:])

    def add(self, lines: Sequence[Mapping[str, Any]], mean_steps: int) -> None:
        """Add an iteration.

        Args:
            lines: as for ``metrics.csv``. A replica that has finished has none; it keeps its last
                figures in the curves of all seeds.
            mean_steps: environment steps, averaged over all replicas.
        """
        for line in lines:
            self._remember(line)
            for column, tag in TAGS.items():
                if line.get(column) is not None:
                    writer = self._seeds[line["seed"]]
                    writer.add_scalar(tag + EACH_SEED, line[column], line["env_steps"])
        new = {column for line in lines for column, value in line.items() if value is not None}
        for column in TAGS.keys() & new:
            source = lines if column in DIAGNOSED else self._latest.values()
            values = [r[column] for r in source if r.get(column) is not None]
            self._mean.add_scalar(TAGS[column], float(np.mean(values)), mean_steps)
            if column == "return_mean":
                self._add_interval(values, mean_steps)
        if VARIANCE in new:
            self._add_variances(mean_steps)

    def _add_interval(self, values: Sequence[float], mean_steps: int) -> None:
        interval = interquartile_mean_interval(values)
        for tag, value in zip(MIDDLE, (interval.point, interval.low, interval.high), strict=True):
            if not math.isnan(value):
                self._mean.add_scalar(tag, value, mean_steps)

    def _add_variances(self, mean_steps: int) -> None:
        """Relative variances, pooled; infinite where noise hides the signal."""
        lines = [line for diagnoses in self._diagnoses.values() for line in diagnoses]
        columns = dict.fromkeys(c for line in lines for c in line if c.startswith(VARIANCE))
        names = [c.removeprefix(VARIANCE) for c in columns]
        for name in names:
            figure = relative_variance(
                *(
                    [math.nan if line.get(c) is None else line[c] for line in lines]
                    for c in (VARIANCE + name, SIGNAL + name, "gradient_blocks")
                )
            )
            if math.isnan(figure):
                continue
            if name:
                self._mean.add_scalar(
                    f"{COMPARISON}/{name.removeprefix('_of_')}", figure, mean_steps
                )
            else:
                self._mean.add_scalar("gradient/relative_variance", figure, mean_steps)
                self._mean.add_scalar("gradient/noise_scale", self._rows * figure, mean_steps)

    def flush(self) -> None:
        """Write what was added to the disk."""
        for writer in (self._mean, *self._seeds.values()):
            writer.flush()

    def close(self) -> None:
        """Close all event files."""
        for writer in (self._mean, *self._seeds.values()):
            writer.close()


def _overlay(group: str) -> list[Any]:
    """A chart of all of a group's curves."""
    return ["Multiline", [rf"^{group}/(?!.*{EACH_SEED}$)"]]
