"""How soon the threshold is reached, runs that never do counted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pgzoo.compare.efficiency import Survival, common_budget, kaplan_meier, trained_steps
from pgzoo.compare.figures.canvas import (
    Looks,
    band,
    frame_steps,
    in_thousands,
    legend,
    looks_of,
    markers_along,
    nothing_to_show,
    sheet,
    styled,
)
from pgzoo.compare.outcome import Outcome


def steps_to_threshold(outcomes: Sequence[Outcome]) -> Figure:
    """Share of runs that have reached the threshold, over environment steps (Kaplan-Meier)."""
    looks = looks_of(outcomes)
    with styled():
        figure, (axis,) = sheet(7, 5)
        draw_steps_to_threshold(axis, outcomes, looks)
        axis.set_title("Steps to the threshold")
        legend(figure, outcomes, looks)
    return figure


def draw_steps_to_threshold(axis: Axes, outcomes: Sequence[Outcome], looks: Looks) -> None:
    """Rising steps; a tick where runs were still without it when their training was over."""
    threshold = outcomes[0].threshold
    if threshold is None:
        nothing_to_show(axis, f"{outcomes[0].config.env} has no threshold")
        return
    ends = {}
    for k, outcome in enumerate(outcomes):
        look, curve = looks[outcome.label], survival(outcome)
        share, ends[outcome.label] = 1 - curve.share, float(curve.times[-1])
        band(axis, curve.times, 1 - curve.high, 1 - curve.low, look, len(outcomes), step="post")
        axis.plot(
            curve.times,
            share,
            drawstyle="steps-post",
            color=look.colour,
            linestyle=look.line,
            **markers_along(look, k, len(curve.times)),
        )
        runs = zip(trained_steps(outcome), outcome.steps_to_threshold, strict=True)
        if censored := [steps for steps, first in runs if first is None]:
            at = np.minimum(censored, curve.times[-1])
            held = share[np.searchsorted(curve.times, at, side="right") - 1]
            axis.plot(at, held, "|", color=look.colour, markersize=11, markeredgewidth=1.6)
    axis.set_xlabel("environment steps of each seed;  | training over without it")
    axis.set_ylabel(f"share of runs that reached {threshold:g}")
    axis.set_ylim(-0.03, 1.03)
    frame_steps(axis, ends)
    in_thousands(axis.xaxis)


def survival(outcome: Outcome) -> Survival:
    """Share of runs that have not reached the threshold yet, up to the contender's budget."""
    budget = common_budget([outcome])
    curve = kaplan_meier(outcome.steps_to_threshold, trained_steps(outcome), budget)
    if curve.times[-1] >= budget or curve.share[-1] > 0:
        return curve
    # All have reached it, and nothing changes any more.
    times, *shares = curve.times, curve.share, curve.low, curve.high
    return Survival(np.append(times, budget), *(np.append(x, x[-1]) for x in shares))
