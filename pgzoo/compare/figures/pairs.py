"""Every pair of contenders: how probable it is that a run of one is the better one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pgzoo.compare.figures.canvas import name_ticks, nothing_to_show, sheet, styled
from pgzoo.compare.judge import ranked
from pgzoo.compare.outcome import Array, Outcome
from pgzoo.compare.pairs import Pair

SHADES = "Blues"
DARK = 0.6


def probability_matrix(outcomes: Sequence[Outcome], pairs: Sequence[Pair]) -> Figure:
    """Probability that a run of the row's contender is better than one of the column's.

    Best first. Pairs that are decided after correction are framed and bold.
    """
    side = 2.4 + 0.62 * len(outcomes)
    with styled():
        figure, (axis,) = sheet(side + 1.2, side)
        draw_matrix(axis, outcomes, pairs)
        axis.set_title("Which is better, run for run")
    return figure


def draw_matrix(
    axis: Axes, outcomes: Sequence[Outcome], pairs: Sequence[Pair], *, numbered: bool = False
) -> None:
    """Probabilities on shades; the darker, the more often the row wins.

    Args:
        axis: to draw on.
        outcomes: of the contenders.
        pairs: every pair of them.
        numbered: whether columns have numbers instead of names, where there is little room.
    """
    if len(outcomes) < 2:
        nothing_to_show(axis, "one contender alone: nothing to compare it with")
        return
    labels = [o.label for o in ranked(outcomes)]
    probability, decided = matrix(labels, pairs)
    hopeless = {(p.first, p.second) for p in pairs if not p.decidable}
    places = np.arange(len(labels))
    axis.imshow(probability, cmap=SHADES, vmin=0, vmax=1, aspect="auto")
    names = [f"{label}  {i}" for i, label in enumerate(labels, 1)] if numbered else labels
    name_ticks(axis.yaxis, places, names)
    if numbered:
        name_ticks(axis.xaxis, places, [str(i) for i in places + 1])
    else:
        name_ticks(axis.xaxis, places, labels)
        for text in axis.get_xticklabels():
            text.set(rotation=40, ha="right", rotation_mode="anchor")
    axis.grid(visible=False)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    for i, j in np.argwhere(~np.isnan(probability)):
        value, sure = probability[i, j], decided[i, j]
        too_few = bool({(labels[i], labels[j]), (labels[j], labels[i])} & hopeless)
        axis.text(
            j,
            i,
            f"({value:.2f})" if too_few else f"{value:.2f}",
            ha="center",
            va="center",
            size=9 if sure else 8,
            weight="bold" if sure else "normal",
            color="white" if value > DARK else "black",
        )
        if sure:
            frame = (j - 0.47, i - 0.47)
            axis.add_patch(Rectangle(frame, 0.94, 0.94, fill=False, linewidth=1.8, color="black"))
    remark = "framed: decided" + "; in brackets: too few runs to decide" * bool(hopeless)
    axis.set_xlabel(f"… than a run of this  ({remark})")
    axis.set_ylabel("a run of this is better …")


def matrix(labels: Sequence[str], pairs: Sequence[Pair]) -> tuple[Array, Array]:
    """Probabilities and whether each is decided, rows against columns; NaN on the diagonal."""
    place = {label: i for i, label in enumerate(labels)}
    probability = np.full((len(labels), len(labels)), np.nan)
    decided = np.zeros_like(probability)
    for pair in pairs:
        i, j = place[pair.first], place[pair.second]
        probability[i, j], probability[j, i] = pair.probability.point, 1 - pair.probability.point
        decided[i, j] = decided[j, i] = pair.better is not None
    return probability, decided.astype(bool)
