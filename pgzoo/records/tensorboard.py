"""TensorBoard curves of a run: means over seeds, their interval, and every seed.

The run's own event files hold the mean over seeds, so that ``return/mean`` compares runs with one
curve each. Each seed is a run of its own beneath (``seed-3``), in charts that end in
``_each_seed``. The horizontal axis is environment steps per seed. The Custom Scalars page shows the
return's interquartile mean with its interval as a band, from five seeds on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from pgzoo.learning.diagnostics import COMPARED, FIGURES
from pgzoo.records.intervals import interquartile_mean_interval

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
    "relative_variance": "gradient/relative_variance",
    "snr": "gradient/signal_to_noise",
    "split_half_cosine": "gradient/split_half_cosine",
    "noise_scale": "gradient/noise_scale",
    "baseline_explained_variance": "gradient/baseline_explained_variance",
}
QUANTILE = re.compile(r"(psi|weight)_q(\d\d)")
EACH_SEED = "_each_seed"
COMPARISON = "relative_variance"
BAND = ("return/interquartile_mean", "return/ci_low", "return/ci_high")


def tag_of(column: str) -> str | None:
    """Where a column of ``metrics.csv`` is shown; None for those that are not."""
    if (match := QUANTILE.fullmatch(column)) is not None:
        group = {"psi": "psi", "weight": "effective_weight"}[match[1]]
        return f"{group}/quantile_{match[2]}"
    if column.startswith(COMPARED):
        return f"{COMPARISON}/{column.removeprefix(COMPARED)}"
    return TAGS.get(column)


def mean_over_seeds(column: str, values: Sequence[float]) -> float:
    """Mean; of relative variances the inverse of the mean signal-to-noise ratio.

    A seed whose signal is lost in noise has infinite relative variance, and none is left out.
    """
    if column.startswith(("relative_variance", "noise_scale")):
        with np.errstate(divide="ignore"):
            return float(1 / np.mean(1 / np.asarray(values)))
    return float(np.mean(values))


def _overlay(group: str) -> list[Any]:
    """A chart of all of a group's means."""
    return ["Multiline", [rf"^{group}/(?!.*{EACH_SEED}$)"]]


class Dashboard:
    """Event files of a run and its seeds.

    Args:
        folder: the run folder.
        steps: environment steps that each seed has taken so far; what an interrupted session
            logged beyond them is dropped.
        latest: each seed's last row, of those that have one.
    """

    def __init__(
        self, folder: Path, steps: Mapping[int, int], latest: Mapping[int, Mapping[str, Any]]
    ) -> None:
        mean_steps = sum(steps.values()) // len(steps)
        self._mean = SummaryWriter(str(folder), purge_step=mean_steps + 1)
        self._seeds = {
            seed: SummaryWriter(str(folder / f"seed-{seed}"), purge_step=n + 1)
            for seed, n in steps.items()
        }
        self._latest = dict(latest)
        # One category only: TensorBoard opens the first, and the others do not open on a click.
        self._mean.add_custom_scalars(
            {
                "means over seeds": {
                    "return, interquartile mean and 95% interval": ["Margin", [*BAND]],
                    "relative variance, estimators on the same batches": _overlay(COMPARISON),
                    "quantiles of Ψ": _overlay("psi"),
                    "quantiles of effective weights": _overlay("effective_weight"),
                }
            }
        )

    def add(self, rows: Sequence[Mapping[str, Any]], mean_steps: int) -> None:
        """Add an iteration.

        Args:
            rows: as for ``metrics.csv``. A replica that has finished has none; it keeps its last
                figures in the means.
            mean_steps: environment steps, averaged over all replicas.
        """
        for row in rows:
            self._latest[row["seed"]] = dict(self._latest.get(row["seed"], {})) | {
                k: v for k, v in row.items() if v is not None
            }
            for column, value in row.items():
                if value is not None and value != inf and (tag := tag_of(column)) is not None:
                    writer = self._seeds[row["seed"]]
                    writer.add_scalar(tag + EACH_SEED, value, row["env_steps"])
        for column in sorted({c for row in rows for c, v in row.items() if v is not None}):
            tag = tag_of(column)
            every_iteration = column in TAGS and column not in FIGURES
            source = self._latest.values() if every_iteration else rows
            values = [r[column] for r in source if r.get(column) is not None]
            if tag is None or (mean := mean_over_seeds(column, values)) == inf:
                continue
            self._mean.add_scalar(tag, mean, mean_steps)
            if column == "return_mean":
                found = interquartile_mean_interval(values)
                for name, number in zip(BAND, (found.point, found.low, found.high), strict=True):
                    if not np.isnan(number):  # few seeds have a point alone
                        self._mean.add_scalar(name, number, mean_steps)

    def explain(self, tag: str, text: str) -> None:
        """Say something in words."""
        self._mean.add_text(tag, text)

    def flush(self) -> None:
        """Write what was added to the disk."""
        for writer in (self._mean, *self._seeds.values()):
            writer.flush()

    def close(self) -> None:
        """Close all event files."""
        for writer in (self._mean, *self._seeds.values()):
            writer.close()
