"""Noise and direction of the gradient along training, beside what is learned meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pgzoo.compare.figures.canvas import (
    Looks,
    aside,
    band,
    frame_steps,
    in_thousands,
    legend,
    looks_of,
    nothing_to_show,
    sheet,
    styled,
)
from pgzoo.compare.figures.learning import draw_over_steps
from pgzoo.compare.gradient import direction_along, relative_variance_along
from pgzoo.compare.outcome import Outcome
from pgzoo.records.columns import VARIANCE
from pgzoo.records.plots import few_ticks
from pgzoo.records.style import INK

UNDIAGNOSED = "no gradient was diagnosed"


def gradient_along_training(outcomes: Sequence[Outcome]) -> Figure:
    """Learning curve, relative variance of the gradient and its direction, over the same steps."""
    looks = looks_of(outcomes)
    with styled():
        figure, axes = sheet(14, 4.8, 3)
        draw_over_steps(axes[0], outcomes, looks)
        draw_relative_variance(axes[1], outcomes, looks)
        draw_direction(axes[2], outcomes, looks)
        legend(figure, outcomes, looks)
    return figure


def draw_relative_variance(axis: Axes, outcomes: Sequence[Outcome], looks: Looks) -> None:
    """On a logarithmic axis; where noise hides the signal the curve runs along the top edge."""
    axis.set_title("Noise of the gradient")
    axis.set_ylabel("relative variance: variance / signal")
    tables = {o.label: relative_variance_along(o.metrics) for o in outcomes if is_diagnosed(o)}
    finite = [x for t in tables.values() for x in t.relative_variance if np.isfinite(x) and x > 0]
    lost = any(np.isposinf(t.relative_variance).any() for t in tables.values())
    if not finite and not lost:
        nothing_to_show(axis, UNDIAGNOSED)
        return
    low, high = (min(finite), max(finite)) if finite else (0.1, 1.0)
    top = 2 * high * (high / low) ** 0.08
    for outcome in outcomes:
        if outcome.label in tables:
            table, look = tables[outcome.label], looks[outcome.label]
            axis.plot(
                table.env_steps,
                table.relative_variance.clip(upper=top),
                color=look.colour,
                linestyle=look.line,
                marker=look.marker,
                markerfacecolor=look.face,
                markersize=5,
            )
    axis.set_yscale("log")
    axis.set_ylim(low / 1.5, top * (top / low) ** 0.04)
    few_ticks(axis.yaxis, top / low)
    if lost:
        axis.axhline(top, color=INK, linewidth=0.8, zorder=1)
        aside(axis, top, "∞: noise\nhides the\nsignal", size=8)
    _along(axis, outcomes)


def draw_direction(axis: Axes, outcomes: Sequence[Outcome], looks: Looks) -> None:
    """Cosine between the estimates from both halves of a batch; 1 is no noise at all."""
    axis.set_title("Direction of the gradient")
    axis.set_ylabel("cosine between both halves of a batch")
    diagnosed = [o for o in outcomes if is_diagnosed(o)]
    if not diagnosed:
        nothing_to_show(axis, UNDIAGNOSED)
        return
    for outcome in diagnosed:
        table, look = direction_along(outcome.metrics), looks[outcome.label]
        band(axis, table.env_steps, table.low, table.high, look, len(outcomes))
        axis.plot(
            table.env_steps,
            table.cosine,
            color=look.colour,
            linestyle=look.line,
            marker=look.marker,
            markerfacecolor=look.face,
            markersize=5,
        )
    axis.axhline(0, color=INK, linewidth=0.8)
    _along(axis, outcomes)


def is_diagnosed(outcome: Outcome) -> bool:
    """Whether its gradients were looked at while it trained."""
    metrics: pd.DataFrame = outcome.metrics
    return VARIANCE in metrics and bool(metrics[VARIANCE].notna().any())


def _along(axis: Axes, outcomes: Sequence[Outcome]) -> None:
    frame_steps(axis, {o.label: float(o.trained.max()) for o in outcomes})
    axis.set_xlabel("environment steps of each seed")
    in_thousands(axis.xaxis)
