"""Learning curves: how good, after how many steps and how many seconds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pgzoo.compare.figures.canvas import (
    Looks,
    band,
    frame_returns,
    frame_steps,
    in_thousands,
    legend,
    looks_of,
    markers_along,
    note,
    sheet,
    styled,
    threshold_line,
)
from pgzoo.compare.outcome import Array, Outcome
from pgzoo.records.intervals import MIN_RUNS, Curve, common_curve

STEPS, SECONDS = "env_steps", "seconds"
RETURN = "return_last_100"


def learning_curves(outcomes: Sequence[Outcome]) -> Figure:
    """Return over environment steps and, where it was recorded, over wall time.

    The interquartile mean over seeds with its pointwise 95% band; of fewer than ``MIN_RUNS`` seeds
    each, without a band. Every curve ends where its own contender's training did.
    """
    looks = looks_of(outcomes)
    timed = [o for o in outcomes if o.metrics[SECONDS].notna().any()]
    with styled():
        figure, axes = sheet(6 + 5 * bool(timed), 4.8, 1 + bool(timed), sharey=True)
        draw_over_steps(axes[0], outcomes, looks)
        if timed:
            draw_over_time(axes[1], timed, looks, unknown=len(outcomes) - len(timed))
        legend(figure, outcomes, looks)
    return figure


def draw_over_steps(axis: Axes, outcomes: Sequence[Outcome], looks: Looks) -> None:
    """Return over environment steps."""
    _draw(axis, outcomes, looks, STEPS)
    axis.set_xlabel("environment steps of each seed")
    axis.set_ylabel("return, mean of the last 100 episodes")
    in_thousands(axis.xaxis)
    few = [o for o in outcomes if len(o.seeds) < MIN_RUNS]
    axis.set_title("Learning")
    if few:
        note(axis, f"thin: single seeds (below {MIN_RUNS} no band)")


def draw_over_time(
    axis: Axes, outcomes: Sequence[Outcome], looks: Looks, *, unknown: int = 0
) -> None:
    """Return over wall time; all seeds of a run train side by side."""
    _draw(axis, outcomes, looks, SECONDS)
    axis.set_xlabel("wall time of the run, all its seeds side by side (s)")
    axis.set_title("The same over time")
    if unknown:
        note(axis, f"{unknown} more without recorded times")


def _draw(axis: Axes, outcomes: Sequence[Outcome], looks: Looks, over: str) -> None:
    drawn: list[Array] = []
    ends = {}
    for k, outcome in enumerate(outcomes):
        look = looks[outcome.label]
        curve = curve_of(outcome, over)
        if len(curve.steps):
            ends[outcome.label] = float(curve.steps[-1])
        if np.isnan(curve.low).all():
            for rows in seed_by_seed(outcome, over):
                axis.plot(
                    rows[over], rows[RETURN], color=look.colour, linestyle=look.line, linewidth=0.8
                )
                drawn.append(rows[RETURN].to_numpy())
            continue
        band(axis, curve.steps, curve.low, curve.high, look, len(outcomes))
        axis.plot(
            curve.steps,
            curve.point,
            color=look.colour,
            linestyle=look.line,
            **markers_along(look, k, len(curve.steps)),
        )
        drawn += [curve.low, curve.high]
    frame_steps(axis, ends)
    threshold_line(axis, outcomes)
    values = np.concatenate([*drawn, []])
    frame_returns(axis, "y", values, outcomes[0].threshold, cut_tail=True)


def curve_of(outcome: Outcome, over: str = STEPS) -> Curve:
    """Interquartile mean and band over seeds along training.

    Every seed's training is complete, so that one which stopped early keeps its last value.
    """
    seeds = seed_by_seed(outcome, over)
    return common_curve(
        [rows[over].to_numpy() for rows in seeds],
        [rows[RETURN].to_numpy() for rows in seeds],
        ended=[True] * len(seeds),
    )


def seed_by_seed(outcome: Outcome, over: str = STEPS) -> list[pd.DataFrame]:
    """A table for each seed: what is known of it along training."""
    known = outcome.metrics.dropna(subset=[over, RETURN])
    return [rows.drop_duplicates(over) for _, rows in known.groupby("seed")]
