"""Final returns: seed by seed, as a profile, and where the next run will fall."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pgzoo.compare.figures.canvas import (
    Looks,
    aside,
    band,
    frame_returns,
    label_rows,
    legend,
    looks_of,
    markers_along,
    nothing_to_show,
    row_height,
    sheet,
    styled,
    threshold_line,
    title_above,
)
from pgzoo.compare.final_return import FinalReturn, final_return
from pgzoo.compare.judge import ranked
from pgzoo.compare.outcome import Array, Outcome
from pgzoo.records.intervals import Interval, decimals, share_interval
from pgzoo.records.style import INK

RETURN = "final return: mean of fresh episodes of each trained policy"
NO_RETURN = "no run has a final return: training failed"


def final_returns(outcomes: Sequence[Outcome]) -> Figure:
    """Every seed's final return as a dot, the interquartile mean and its interval beside.

    Best first. Runs that failed have no dot and are counted beside.
    """
    with styled():
        figure, (axis,) = sheet(9, 1.2 + row_height(outcomes))
        draw_final_returns(axis, outcomes, looks_of(outcomes))
        title_above(axis, "Final return, seed by seed")
    return figure


def draw_final_returns(axis: Axes, outcomes: Sequence[Outcome], looks: Looks) -> None:
    """A row for each contender, best first."""
    outcomes = ranked(outcomes)
    rows = label_rows(axis, [o.label for o in outcomes])
    axis.set_xlabel(RETURN)
    if not any(len(o.known_returns) for o in outcomes):
        nothing_to_show(axis, NO_RETURN)
        return
    for row, outcome in zip(rows, outcomes, strict=True):
        look, known = looks[outcome.label], outcome.known_returns
        axis.plot(
            known,
            row - 0.22 + scattered(len(known)),
            look.marker,
            color=look.colour,
            markerfacecolor=look.face,
            alpha=0.55,
            markersize=4.5,
            linestyle="none",
        )
        figures = final_return(outcome.returns, outcome.threshold)
        _bar(axis, figures.iqm, row + 0.12, look.colour)
        aside(axis, row + 0.12, _beside(figures))
    threshold_line(axis, outcomes, upright=True)
    known = np.concatenate([o.known_returns for o in outcomes])
    frame_returns(axis, "x", known, outcomes[0].threshold)


def scattered(count: int) -> Array:
    """Heights that keep dots of one row apart: the same for the same number."""
    return np.asarray(0.2 * ((np.arange(count) * 0.618034) % 1 - 0.5), dtype=np.float64)


def _bar(axis: Axes, interval: Interval, row: float, colour: str) -> None:
    axis.plot([interval.low, interval.high], [row, row], color=colour, linewidth=4, alpha=0.45)
    axis.plot(interval.point, row, "|", color=colour, markersize=13, markeredgewidth=3)


def _beside(figures: FinalReturn) -> str:
    text = str(figures.iqm) if np.isfinite(figures.iqm.point) else "–"
    return text + (f"\n{figures.failed} of {figures.runs} failed" if figures.failed else "")


def performance_profile(outcomes: Sequence[Outcome]) -> Figure:
    """Share of runs whose final return is at least so much, with pointwise 95% intervals.

    The share is of all runs: one that failed reaches no return.
    """
    looks = looks_of(outcomes)
    with styled():
        figure, (axis,) = sheet(7, 5)
        draw_profile(axis, outcomes, looks)
        title_above(axis, "Performance profile")
        legend(figure, outcomes, looks)
    return figure


def draw_profile(axis: Axes, outcomes: Sequence[Outcome], looks: Looks) -> None:
    """Falling steps, one for each contender."""
    axis.set(xlabel=RETURN, ylabel="share of runs that return at least this", ylim=(-0.03, 1.03))
    everything = np.concatenate([o.known_returns for o in outcomes])
    if not len(everything):
        nothing_to_show(axis, NO_RETURN)
        return
    ends = float(everything.min()), float(everything.max())
    margin = 0.05 * (ends[1] - ends[0]) or 1.0
    grid = np.unique([ends[0] - margin, *everything, ends[1] + margin])
    for k, outcome in enumerate(outcomes):
        look, shares = looks[outcome.label], profile(outcome, grid)
        low, high = [s.low for s in shares], [s.high for s in shares]
        # The share at a return holds from the return below it on.
        band(axis, grid, low, high, look, len(outcomes), step="pre")
        axis.plot(
            grid,
            [s.point for s in shares],
            drawstyle="steps-pre",
            color=look.colour,
            linestyle=look.line,
            **markers_along(look, k, len(grid)),
        )
    threshold_line(axis, outcomes, upright=True)
    frame_returns(axis, "x", everything, outcomes[0].threshold)


def profile(outcome: Outcome, grid: Array) -> list[Interval]:
    """Share of runs that return at least so much, exact interval included."""
    runs = len(outcome.returns)
    return [share_interval(int(np.count_nonzero(outcome.returns >= x)), runs) for x in grid]


def next_runs(outcomes: Sequence[Outcome]) -> Figure:
    """Where one more run of each contender will fall, which is wider than where their middle is."""
    with styled():
        figure, (axis,) = sheet(9, 1.4 + row_height(outcomes))
        draw_next_runs(axis, outcomes, looks_of(outcomes))
        title_above(axis, "Where the next single run will fall")
    return figure


def draw_next_runs(axis: Axes, outcomes: Sequence[Outcome], looks: Looks) -> None:
    """The band of the next run, and the interval of the middle inside it."""
    outcomes = ranked(outcomes)
    rows = label_rows(axis, [o.label for o in outcomes])
    axis.set_xlabel("final return; wide: next run, narrow and dark: interquartile mean")
    known = np.concatenate([o.known_returns for o in outcomes])
    if not len(known):
        nothing_to_show(axis, NO_RETURN)
        return
    threshold = outcomes[0].threshold
    threshold_line(axis, outcomes, upright=True)
    frame_returns(axis, "x", known, threshold)
    edge = axis.get_xlim()[0]
    for row, outcome in zip(rows, outcomes, strict=True):
        look, figures = looks[outcome.label], final_return(outcome.returns, threshold)
        band = figures.next_run
        if not np.isnan(band.low):
            left = max(band.low, edge)
            axis.barh(row, band.high - left, left=left, height=0.5, color=look.colour, alpha=0.3)
            if band.low < edge:
                axis.annotate("◂", (0, row), xycoords=axis.get_yaxis_transform(), va="center")
        _bar(axis, figures.iqm, row, look.colour)
        axis.plot(outcome.known_returns, np.full(len(outcome.known_returns), row), ".", color=INK)
        aside(axis, row, _next_in_words(figures))


def _next_in_words(figures: FinalReturn) -> str:
    band = figures.next_run
    if np.isnan(band.low):
        return "too few runs\nfor a band"
    digits = decimals(band.high)
    low = "failure" if np.isneginf(band.low) else f"{band.low:.{digits}f}"
    return f"{low} to {band.high:.{digits}f}\nin {figures.next_run_coverage:.0%} of runs"
