"""What all figures of a comparison share: looks, legend, limits, labels of strangers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FixedLocator
from numpy.typing import ArrayLike

from pgzoo.agents import place_in_zoo
from pgzoo.compare.outcome import Array, Outcome
from pgzoo.records.style import INK, LOOKS, STYLE, Look, variant

Looks = dict[str, Look]
LABEL_WIDTH = 26
MOST_LINES = 3
OUTLYING = 0.75
FAR = 2.0
BACKGROUND = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1}


def looks_of(outcomes: Sequence[Outcome]) -> Looks:
    """By label: an agent's own look, and for its ablations variants of it.

    An agent's look is its place in the zoo, so that it is the same in every comparison; estimators
    of users' own share the place after all. Of several contenders in one place the one without
    options has its look, or else the first.
    """
    looks: Looks = {}
    for place in dict.fromkeys(place_in_zoo(o.agent) for o in outcomes):
        index = place % len(LOOKS)
        mine = [o for o in outcomes if place_in_zoo(o.agent) == place]
        plain = next((o for o in mine if o.label == o.agent), mine[0])
        others = [o for o in mine if o is not plain]
        looks[plain.label] = LOOKS[index]
        looks |= {o.label: variant(index, k, len(others)) for k, o in enumerate(others)}
    return looks


@contextmanager
def styled() -> Iterator[None]:
    """The one style."""
    with mpl.rc_context(STYLE):
        yield


def sheet(
    width: float, height: float, columns: int = 1, **shared: Any
) -> tuple[Figure, list[Axes]]:
    """A figure with axes side by side; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(1, columns, **shared)))


def wrapped(label: str) -> str:
    """A label on a few lines, broken after its own separators; what is too long ends in dots."""
    width = LABEL_WIDTH
    pieces = re.findall(rf"[^:,/\s]{{1,{width}}}[:,/]?\s?|[:,/\s]", label.strip())
    lines = [""]
    for piece in pieces:
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    lines = [line.strip() for line in lines]
    if len(lines) > MOST_LINES:
        lines = [*lines[: MOST_LINES - 1], lines[MOST_LINES - 1][: width - 1] + "…"]
    return "\n".join(lines)


def name_ticks(axis: Axis, places: ArrayLike, labels: Sequence[str]) -> None:
    """Ticks with labels as they are: a dollar sign means nothing."""
    axis.set_ticks(np.asarray(places), [wrapped(label) for label in labels], parse_math=False)


def legend(figure: Figure, outcomes: Sequence[Outcome], looks: Looks) -> None:
    """One legend for all panels, below them."""
    lengths = [max(map(len, wrapped(o.label).split("\n"))) for o in outcomes]
    # A character is some 0.085 inches, the line and the gaps of an entry some 0.75.
    fitting = int(figure.get_figwidth() / (0.085 * max(lengths) + 0.75))
    columns = max(1, min(fitting, len(outcomes)))
    columns = -(-len(outcomes) // -(-len(outcomes) // columns))  # rows of equal length
    made = figure.legend(
        [handle(looks[o.label]) for o in outcomes],
        ["…"] * len(outcomes),
        loc="outside lower center",
        ncols=columns,
        handlelength=3.2,
    )
    for text, outcome in zip(made.get_texts(), outcomes, strict=True):
        text.set_parse_math(False)
        text.set_text(wrapped(outcome.label))  # here, since a leading underscore would hide it


def handle(look: Look) -> Line2D:
    """A sample of a look."""
    return Line2D(
        [],
        [],
        color=look.colour,
        linestyle=look.line,
        marker=look.marker,
        markerfacecolor=look.face,
        markersize=6,
    )


def label_rows(axis: Axes, labels: Sequence[str]) -> Array:
    """A row of the axis for each label, from top to bottom; their heights ``[len(labels)]``."""
    rows = -np.arange(len(labels), dtype=float)
    name_ticks(axis.yaxis, rows, labels)
    axis.set_ylim(rows[-1] - 0.6, 0.6)
    axis.tick_params(axis="y", length=0)
    axis.grid(visible=False, axis="y")
    return rows


def in_thousands(axis: Axis) -> None:
    """Steps as in 40k or 2M."""
    axis.set_major_formatter(EngFormatter(sep=""))


def frame_steps(axis: Axes, ends: Mapping[str, float]) -> None:
    """From 0 to the last end; what goes on far beyond most others is cut, and it is said.

    Args:
        axis: with steps or seconds from left to right.
        ends: where each contender's training ends, by label.
    """
    last = max(ends.values(), default=1.0)
    most = FAR * float(np.median(list(ends.values()) or [1.0]))
    axis.set_xlim(0, 1.02 * min(last, most))
    beyond = [label for label, end in ends.items() if end > most]
    if beyond:
        until = EngFormatter(sep="", places=0)(last)
        axis.text(
            0.99,
            0.02,
            f"{' and '.join(map(wrapped, beyond))}:\non to {until} →",
            transform=axis.transAxes,
            ha="right",
            va="bottom",
            size=8,
            color=INK,
            parse_math=False,
        )


def threshold_line(axis: Axes, outcomes: Sequence[Outcome], *, upright: bool = False) -> None:
    """Where the environment counts as solved, if it is known."""
    threshold = outcomes[0].threshold
    if threshold is None:
        return
    drawn = axis.axvline if upright else axis.axhline
    drawn(threshold, color=INK, linewidth=1, linestyle=(0, (1, 2)), zorder=1.5)
    text = f"solved: {threshold:g}"
    if upright:
        axis.annotate(
            text,
            (threshold, 1),
            (0, 3),
            xycoords=axis.get_xaxis_transform(),
            textcoords="offset points",
            ha="center",
            size=8,
            color=INK,
        )
    else:
        axis.annotate(
            text,
            (0, threshold),
            (3, 4),
            xycoords=axis.get_yaxis_transform(),
            textcoords="offset points",
            size=8,
            color=INK,
            bbox=BACKGROUND,
        )


def frame_returns(
    axis: Axes,
    along: Literal["x", "y"],
    values: ArrayLike,
    threshold: float | None,
    *,
    cut_tail: bool = False,
) -> None:
    """Limits for returns.

    Args:
        axis: whose limits they are.
        along: which of its two directions has returns.
        values: whatever is drawn; NaN counts for nothing.
        threshold: is shown as well.
        cut_tail: of a long tail below that would squeeze all else, tell only its end (along y).
    """
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    if not len(known):
        return
    low, high, lowest = float(np.quantile(known, 0.05)), float(known.max()), float(known.min())
    if threshold is not None:
        low, high = min(low, threshold), max(high, threshold)
    cut = cut_tail and low - lowest > OUTLYING * (high - low)
    low = low if cut else min(low, lowest)
    margin = 0.05 * (high - low) or 1.0
    limits = (low - margin, high + margin)
    (axis.set_xlim if along == "x" else axis.set_ylim)(limits)
    if cut:
        text = f"↓ down to {lowest:,.0f}"
        axis.annotate(
            text, (0.01, 0.02), xycoords="axes fraction", size=8, color=INK, bbox=BACKGROUND
        )


def note(axis: Axes, text: str) -> None:
    """What a reader must know of an axis, right of its title."""
    axis.set_title(text, loc="right", fontsize=8.5, fontweight="normal", color=INK)


def band(
    axis: Axes,
    x: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    look: Look,
    contenders: int,
    step: Literal["pre", "post"] | None = None,
) -> None:
    """An interval along a curve, one of so many: what lies below must stay visible."""
    opacity = min(0.16, 0.6 / contenders)
    axis.fill_between(x, low, high, step=step, color=look.colour, alpha=opacity, linewidth=0)


def title_above(axis: Axes, text: str) -> None:
    """A title that leaves a line for what stands on top of the axis."""
    axis.set_title(text, pad=17)


def nothing_to_show(axis: Axes, why: str) -> None:
    """An empty axis says why it is empty."""
    axis.text(0.5, 0.5, why, transform=axis.transAxes, ha="center", va="center", wrap=True)
    axis.xaxis.set_major_locator(FixedLocator([]))
    axis.yaxis.set_major_locator(FixedLocator([]))


def markers_along(look: Look, k: int, points: int, shown: int = 7) -> dict[str, Any]:
    """Some markers along a curve, each curve's beginning elsewhere."""
    every = max(1, points // shown)
    return {
        "marker": look.marker,
        "markerfacecolor": look.face,
        "markersize": 5,
        "markevery": ((3 * k * every // 10) % every, every),
    }


def row_height(outcomes: Sequence[Outcome]) -> float:
    """Inches that a row for each contender takes."""
    lines = [wrapped(o.label).count("\n") + 1 for o in outcomes]
    return sum(max(0.52, 0.22 * n) for n in lines)


def aside(axis: Axes, height: float, text: str, size: float = 8.5) -> None:
    """A remark right of the axis, at a height of its data."""
    axis.annotate(
        text,
        (1, height),
        (6, 0),
        xycoords=axis.get_yaxis_transform(),
        textcoords="offset points",
        va="center",
        size=size,
        annotation_clip=False,
    )
