"""Along one option: what its values make of the final return and of the steps to the threshold."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pgzoo.compare.efficiency import common_budget, restricted_mean, trained_steps
from pgzoo.compare.figures.canvas import (
    Looks,
    frame_returns,
    in_thousands,
    looks_of,
    name_ticks,
    sheet,
    styled,
    threshold_line,
    title_above,
)
from pgzoo.compare.figures.final import scattered
from pgzoo.compare.final_return import final_return
from pgzoo.compare.outcome import Outcome
from pgzoo.compare.setting import setting_of
from pgzoo.errors import UsageError
from pgzoo.options import written
from pgzoo.records.intervals import Interval

LEAST_VALUES = 3


def sweeps_among(outcomes: Sequence[Outcome]) -> list[tuple[str, list[Outcome]]]:
    """Options of which three or more values are compared, all else equal, and those contenders."""
    found = []
    for option in dict.fromkeys(k for o in outcomes for k in o.config.hyperparameters):
        groups: dict[str, list[Outcome]] = {}
        for outcome in outcomes:
            if option in outcome.config.hyperparameters:
                rest = outcome.config.hyperparameters | {option: None}
                config = dataclasses.replace(outcome.config, hyperparameters=rest)
                groups.setdefault(setting_of(config, budget=True), []).append(outcome)
        found += [(option, group) for group in groups.values() if len(group) >= LEAST_VALUES]
    return found


def sweep(outcomes: Sequence[Outcome], option: str) -> Figure:
    """Final return and, if there is a threshold, steps to it against the values of an option.

    Values are in their order and evenly spaced, whatever lies between them.

    Raises:
        UsageError: if a contender does not have the option.
    """
    for outcome in outcomes:
        if option not in outcome.config.hyperparameters:
            raise UsageError(
                f"Expected contenders with the option `{option}`, but {outcome.label} has none. "
                "Leave it out."
            )
    ordered = sorted(outcomes, key=lambda o: _key(o.config.hyperparameters[option]))
    looks, solvable = looks_of(outcomes), outcomes[0].threshold is not None
    with styled():
        figure, axes = sheet(5.5 + 5 * solvable, 4.4, 1 + solvable)
        _draw_returns(axes[0], ordered, looks)
        if solvable:
            _draw_steps(axes[1], ordered, looks)
        for axis in axes:
            values = [written(o.config.hyperparameters[option]) for o in ordered]
            name_ticks(axis.xaxis, range(len(ordered)), values)
            axis.set_xlim(-0.5, len(ordered) - 0.5)
            axis.grid(visible=False, axis="x")
            axis.set_xlabel(f"{option} of {ordered[0].agent}", parse_math=False)
    return figure


def _key(value: Any) -> tuple[bool, Any]:
    number = isinstance(value, (int, float))
    return not number, value if number else str(value)


def _draw_returns(axis: Axes, outcomes: Sequence[Outcome], looks: Looks) -> None:
    intervals = [final_return(o.returns, o.threshold).iqm for o in outcomes]
    for k, outcome in enumerate(outcomes):
        known, look = outcome.known_returns, looks[outcome.label]
        axis.plot(k + 0.18 + scattered(len(known)), known, ".", color=look.colour, alpha=0.6)
    _intervals(axis, intervals, outcomes, looks)
    title_above(axis, "Final return")
    axis.set_ylabel("interquartile mean and seeds")
    threshold_line(axis, outcomes)
    everything = np.concatenate([o.known_returns for o in outcomes])
    frame_returns(axis, "y", everything, outcomes[0].threshold)


def _draw_steps(axis: Axes, outcomes: Sequence[Outcome], looks: Looks) -> None:
    budget = common_budget(outcomes)
    intervals = []
    for k, outcome in enumerate(outcomes):
        reached = outcome.steps_to_threshold
        intervals.append(restricted_mean(reached, trained_steps(outcome), budget))
        share = sum(n is not None and n <= budget for n in reached)
        text = f"{share}/{len(reached)}"
        axis.annotate(
            text, (k, 1), xycoords=axis.get_xaxis_transform(), ha="center", va="bottom", size=8
        )
    _intervals(axis, intervals, outcomes, looks)
    axis.axhline(budget, color="black", linewidth=0.8, linestyle=(0, (1, 2)))
    axis.set_ylim(0, 1.08 * budget)
    title_above(axis, f"Steps to {outcomes[0].threshold:g}, and how many runs reached it")
    axis.set_ylabel(f"mean steps, at most {budget:,}")
    in_thousands(axis.yaxis)


def _intervals(
    axis: Axes, intervals: Sequence[Interval], outcomes: Sequence[Outcome], looks: Looks
) -> None:
    axis.plot([i.point for i in intervals], color="#999999", linewidth=1, zorder=1)
    for k, (interval, outcome) in enumerate(zip(intervals, outcomes, strict=True)):
        look = looks[outcome.label]
        axis.plot([k, k], [interval.low, interval.high], color=look.colour, linewidth=2.5)
        axis.plot(
            k,
            interval.point,
            look.marker,
            color=look.colour,
            markerfacecolor=look.face,
            markersize=8,
        )
