"""Figures of the laboratory and of one run: readable without the text, axes and units named."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from pgzoo.records.intervals import Array, Interval, common_curve
from pgzoo.records.printable import printable
from pgzoo.records.style import LOOKS, STYLE, Look


@dataclass(frozen=True)
class Panel:
    """One axis of figures: what is on it and how.

    Attributes:
        title: the quantity, with its unit or formula.
        log: logarithmic axis.
        target: where an ideal estimator would be; drawn as a line.
    """

    title: str
    log: bool = False
    target: float | None = None


@dataclass(frozen=True)
class Line:
    """A curve of intervals."""

    label: str
    x: Sequence[float]
    y: Sequence[Interval]


def dots(
    labels: Sequence[str],
    panels: Sequence[tuple[Panel, Sequence[Interval]]],
    title: str,
    groups: Sequence[str],
    names: Sequence[str] = (),
) -> Figure:
    """Points with intervals, a line of the chart for each label and a panel for each quantity.

    Args:
        labels: from top to bottom.
        panels: each with one interval per label.
        title: of the figure.
        groups: a word for each label; each word has a colour and a marker of its own.
        names: all such words there are, so that each looks the same in every figure; by default
            those in ``groups``.
    """
    with mpl.rc_context(STYLE):
        size = (2.6 + 2.6 * len(panels), max(2.6, 1.3 + 0.24 * len(labels)))
        figure = Figure(figsize=size, layout="constrained")
        axes = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
        rows = -np.arange(len(labels))
        names = list(names) or sorted(set(groups))
        for axis, (panel, intervals) in zip(axes, panels, strict=True):
            panel = _shown(panel, [i.point for i in intervals])
            _prepare(axis, panel)
            for k, name in enumerate(names):
                mine = [i for i, group in enumerate(groups) if group == name]
                if not mine:
                    continue
                points = [intervals[i] for i in mine]
                low, high = _arms(points)
                axis.errorbar(
                    [p.point if np.isfinite(p.point) else np.nan for p in points],
                    rows[mine],
                    xerr=[low, high],
                    fmt=LOOKS[k % len(LOOKS)].marker,
                    color=LOOKS[k % len(LOOKS)].colour,
                    label=name,
                    capsize=2,
                    markersize=5,
                )
            if panel.log:
                ends = [x for i in intervals for x in (i.point, i.low, i.high)]
                shown = [x for x in ends if np.isfinite(x) and x > 0] or [1.0]
                axis.set_xlim(min(shown) / 2, 2 * max(shown))
                few_ticks(axis.xaxis, max(shown) / min(shown))
            if np.isnan([i.point for i in intervals]).all():
                axis.text(0.5, 0.5, "unknown", transform=axis.transAxes, ha="center")
            for row, interval in zip(rows, intervals, strict=True):
                if np.isposinf(interval.high):  # the interval has no upper end
                    text = "∞" if np.isposinf(interval.point) else "→"
                    axis.annotate(text, (1.0, row), xycoords=("axes fraction", "data"), va="center")
        axes[0].set_yticks(rows, labels)
        axes[0].set_ylim(rows[-1] - 0.6, 0.6)
        figure.suptitle(printable(title), parse_math=False)
        handles, texts = axes[0].get_legend_handles_labels()
        figure.legend(handles, texts, loc="outside lower center", ncols=len(names), frameon=False)
    return figure


def curves(
    panels: Sequence[tuple[Panel, Sequence[Line]]], x_title: str, title: str, *, log_x: bool
) -> Figure:
    """Curves with 95% bands, a panel for each quantity.

    Args:
        panels: each with its lines; equal labels look equal everywhere.
        x_title: quantity and unit of the horizontal axis.
        title: of the figure.
        log_x: logarithmic horizontal axis; linear next to zero, if it is among the values.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(0.8 + 3.6 * len(panels), 3.8), layout="constrained")
        axes = np.atleast_1d(figure.subplots(1, len(panels), sharex=True))
        labels = list(dict.fromkeys(line.label for _, lines in panels for line in lines))
        for axis, (panel, lines) in zip(axes, panels, strict=True):
            panel = _shown(panel, [y.point for line in lines for y in line.y])
            _prepare(axis, panel, vertical=True)
            for line in lines:
                _draw(axis, line, labels.index(line.label))
            axis.set_xlabel(x_title)
            if log_x:
                ticks = sorted({x for line in lines for x in line.x})
                if ticks[0] > 0:
                    axis.set_xscale("log", base=2)
                else:  # zero, too, has its place
                    axis.set_xscale("symlog", linthresh=min(x for x in ticks if x > 0))
                axis.set_xticks(ticks, [f"{x:g}" for x in ticks])
        figure.suptitle(printable(title), parse_math=False)
        handles, texts = axes[0].get_legend_handles_labels()
        figure.legend(
            handles, texts, loc="outside lower center", ncols=min(3, len(labels)), frameon=False
        )
    return figure


def _draw(axis: Axes, line: Line, index: int) -> None:
    mine = LOOKS[index % len(LOOKS)]
    axis.plot(
        line.x,
        [y.point for y in line.y],
        linestyle=mine.line,
        marker=mine.marker,
        color=mine.colour,
        markersize=5,
        label=line.label,
    )
    known = [y.high for y in line.y if np.isfinite(y.high)]
    ceiling = 10 * max(known, default=0.0)  # stands for an interval without an upper end
    low = [y.low for y in line.y]
    high = [ceiling if np.isposinf(y.high) else y.high for y in line.y]
    axis.fill_between(line.x, low, high, color=mine.colour, alpha=0.15, linewidth=0)


def _shown(panel: Panel, points: Sequence[float]) -> Panel:
    """Linear where a logarithmic axis would have nothing to show."""
    return panel if any(0 < x < np.inf for x in points) else dataclasses.replace(panel, log=False)


def _prepare(axis: Axes, panel: Panel, *, vertical: bool = False) -> None:
    if vertical:
        axis.set_ylabel(panel.title)
        if panel.log:
            axis.set_yscale("log")
        if panel.target is not None:
            axis.axhline(panel.target, color="black", linewidth=0.8, linestyle=(0, (1, 2)))
        return
    axis.set_xlabel(panel.title)
    if panel.log:
        axis.set_xscale("log")
    if panel.target is not None:
        axis.axvline(panel.target, color="black", linewidth=0.8, linestyle=(0, (1, 2)))


def few_ticks(axis: Axis, span: float) -> None:
    """On a logarithmic axis: powers of ten, or 1-2-5 where there are few of them."""
    axis.set_major_locator(LogLocator(subs=(1.0,) if span > 10 else (1.0, 2.0, 5.0), numticks=5))
    if span <= 10:
        axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _arms(intervals: Sequence[Interval]) -> tuple[list[float], list[float]]:
    """Lengths of error bars below and above; none where there is no interval."""

    def length(a: float, b: float) -> float:
        return max(b - a, 0.0) if np.isfinite(b - a) else 0.0

    low = [length(i.low, i.point) for i in intervals]
    high = [length(i.point, i.high) for i in intervals]
    return low, high


def learning_curve(
    metrics: Any,
    title: str,
    *,
    complete: bool = True,
    look: Look = LOOKS[0],
    ax: Axes | None = None,
) -> Axes:
    """Return along training: every seed, and the interquartile mean with its 95% band.

    Args:
        metrics: a run's ``metrics.csv`` as a DataFrame.
        title: of the axes.
        complete: whether training has ended; then a seed that stopped early keeps its last return.
        look: of the agent.
        ax: axes to draw on; None: a figure of their own.
    """
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.figure(figsize=(6.4, 4.0), layout="constrained").add_subplot()
    known = metrics.dropna(subset=["return_last_100"])
    seeds = [
        (rows.env_steps.to_numpy(), rows.return_last_100.to_numpy())
        for _, rows in known.groupby("seed")
    ]
    return _draw_learning_curve(ax, seeds, title, complete, look)


def learning_curve_png(lines: Iterable[Mapping[str, Any]], title: str) -> bytes:
    """The same of a complete run, as a PNG file.

    Args:
        lines: of the run's ``metrics.csv``; what is not known may be left out.
        title: of the axes.
    """
    known: dict[int, list[tuple[float, float]]] = {}
    for line in lines:
        if "return_last_100" in line:
            known.setdefault(line["seed"], []).append((line["env_steps"], line["return_last_100"]))
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    seeds = [np.array(pairs).T for pairs in known.values()]
    axis, curves = figure.add_subplot(), [(x, y) for x, y in seeds]
    _draw_learning_curve(axis, curves, title, True, LOOKS[0])
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    return file.getvalue()


def _draw_learning_curve(
    ax: Axes, seeds: Sequence[tuple[Array, Array]], title: str, complete: bool, look: Look
) -> Axes:
    """Draw steps and returns of every seed; the last return counts where steps are the same."""
    moved = [np.append(np.diff(steps) > 0, True) for steps, _ in seeds]
    seeds = [(x[last], y[last]) for (x, y), last in zip(seeds, moved, strict=True)]
    with mpl.rc_context(STYLE):
        of_seeds = LineCollection(  # thousands of lines would take a second for every thousand
            [np.column_stack(points) for points in seeds],
            colors=look.colour,
            alpha=0.2,
            linewidths=0.8,
            capstyle="projecting",
            joinstyle="round",
        )
        ax.add_collection(of_seeds)
        ax.autoscale_view()
        curve = common_curve(
            [steps for steps, _ in seeds],
            [returns for _, returns in seeds],
            ended=[complete] * len(seeds),
        )
        ax.plot(curve.steps, curve.point, color=look.colour, label="interquartile mean")
        if not np.isnan(curve.low).all():
            ax.fill_between(
                curve.steps,
                curve.low,
                curve.high,
                color=look.colour,
                alpha=0.25,
                linewidth=0,
                label="95% band over seeds",
            )
        ax.set_xlabel("environment steps of each seed")
        ax.set_ylabel("return, mean of the last 100 episodes")
        ax.set_title(printable(title), parse_math=False)
        ax.grid(alpha=0.3)
        ax.legend(frameon=False)
    return ax
