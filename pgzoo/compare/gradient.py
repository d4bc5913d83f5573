"""Relative variance and direction of the gradient along training, pooled over seeds.

A diagnosis is of one seed, or of a few, in turn (``learning.diagnostics``). One says little, so
some ten are pooled to a point, of all seeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pgzoo.records.columns import SIGNAL, VARIANCE, signal_column, variance_column
from pgzoo.records.intervals import equal_weights, weighted_mean_interval
from pgzoo.records.pooling import DIAGNOSES, relative_variance

if TYPE_CHECKING:
    import pandas as pd

BLOCKS, COSINE = "gradient_blocks", "split_half_cosine"
COSINE_LINES = 8


def relative_variance_along(
    metrics: pd.DataFrame, points: int = 10, estimator: str | None = None
) -> pd.DataFrame:
    """Relative variance at some points along training, as ``records.pooling`` has it.

    The diagnosed lines, in the order of their environment steps, are pooled in windows of equally
    many, ``DIAGNOSES`` or more. Where lines are few, windows overlap: neighbouring points then
    share diagnoses, and a bend between them is seen later and smoother than it is.

    Args:
        metrics: a line per iteration and seed; those with a diagnosis count.
        points: how many at most.
        estimator: another one that was diagnosed on the same batches.

    Returns:
        ``env_steps`` (mean of the window's), ``relative_variance`` (infinite where noise hides the
        signal, NaN below four blocks), ``blocks``: a line per point.
    """
    import pandas as pd

    variance = VARIANCE if estimator is None else variance_column(estimator)
    signal = SIGNAL if estimator is None else signal_column(estimator)
    return pd.DataFrame(
        [
            {
                "env_steps": window["env_steps"].mean(),
                "relative_variance": relative_variance(
                    window[variance].tolist(), window[signal].tolist(), window[BLOCKS].tolist()
                ),
                "blocks": int(window[BLOCKS].sum()),
            }
            for window in _windows(metrics, [variance, signal, BLOCKS], points)
        ],
        columns=["env_steps", "relative_variance", "blocks"],
    )


def direction_along(metrics: pd.DataFrame, points: int = 10) -> pd.DataFrame:
    """Mean cosine between the estimates of both halves of a batch, along training.

    Near 1 where a batch says where to go, near 0 where its halves disagree. Points are those of
    ``relative_variance_along`` where every diagnosis has both figures. The interval is over lines,
    the expanded percentile one, and given from ``COSINE_LINES`` lines on, where it covers 92 to 97%
    of independent lines. Lines
    of one seed depend on each other through its policy, which the interval does not know: with ten
    seeds that take turns, most windows have each seed once.

    Args:
        metrics: a line per iteration and seed; those with a diagnosis count.
        points: how many at most.

    Returns:
        ``env_steps``, ``cosine``, ``low``, ``high``, ``lines``: a line per point.
    """
    import pandas as pd

    found = []
    for window in _windows(metrics, [COSINE], points):
        mean = weighted_mean_interval(window[COSINE], equal_weights, COSINE_LINES)
        found.append((window["env_steps"].mean(), mean.point, mean.low, mean.high, len(window)))
    return pd.DataFrame(found, columns=["env_steps", "cosine", "low", "high", "lines"])


def _windows(metrics: pd.DataFrame, columns: list[str], points: int) -> list[pd.DataFrame]:
    """Lines that have all of some columns, in windows of equally many, evenly spread."""
    if not {*columns} <= {*metrics.columns}:  # it was not diagnosed
        return []
    known = metrics.dropna(subset=columns).sort_values(["env_steps", "seed"])
    if known.empty:
        return []
    width = min(max(DIAGNOSES, -(-len(known) // points)), len(known))
    first = np.unique(np.linspace(0, len(known) - width, points).round().astype(int))
    return [known.iloc[i : i + width] for i in first]
