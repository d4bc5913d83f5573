"""A picture of a small Markov decision process: what leads where, how likely, for what pay."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle

from pgzoo.errors import UsageError
from pgzoo.lab.exact import TOLERANCE, FiniteMDP
from pgzoo.records.style import COLOURS, INK

RADIUS = 0.2
"""Of a state's circle; states are one apart."""


def draw(mdp: FiniteMDP, states: Sequence[str], actions: Sequence[str]) -> Axes:
    """States in a row, an arrow for every outcome of every action.

    An arrow says how likely the outcome is, and the action's expected reward. The square is the end
    of the episode.

    Args:
        mdp: of few states.
        states: their names, n.
        actions: their names, A; each has a colour.

    Raises:
        UsageError: if there are more or fewer names than states or actions.
    """
    for what, names, count in (
        ("states", states, mdp.num_states),
        ("actions", actions, mdp.num_actions),
    ):
        if len(names) != count:
            raise UsageError(f"Expected {count} names of `{what}`, got {len(names)}.")
    ends = 1 - mdp.transition.sum(-1)
    width = len(states) + bool((ends > TOLERANCE).any())
    _, axes = plt.subplots(figsize=(2.8 * (width - 0.2), 3.4), layout="tight")
    for x, name in enumerate(states):
        axes.add_patch(Circle((x, 0), RADIUS, facecolor="white", edgecolor=INK))
        axes.text(x, 0, name, ha="center", va="center")
    if width > len(states):
        corner = (len(states) - 0.7 * RADIUS, -0.7 * RADIUS)
        axes.add_patch(Rectangle(corner, 1.4 * RADIUS, 1.4 * RADIUS, fill=False, ec=INK))
        axes.text(len(states), 0, "end", ha="center", va="center")
    heights = [
        _arrow(axes, s, following, a, f"{actions[a]} {chance:.0%}, r = {mdp.reward[s, a]:g}")
        for s, a in np.ndindex(mdp.reward.shape)
        for following, chance in enumerate([*mdp.transition[s, a], ends[s, a]])
        if chance > TOLERANCE
    ]
    top, bottom = max([0.3, *heights]) + 0.1, min([-0.3, *heights]) - 0.1
    axes.set(aspect="equal", xlim=(-0.4, width - 0.6), ylim=(bottom, top))
    axes.axis("off")
    return axes


def _arrow(axes: Axes, start: int, to: int, action: int, label: str) -> float:
    """An arc above to what stands further right, below to the left, or a loop; its height."""
    side = (1 if action % 2 == 0 else -1) if start == to else (1 if to > start else -1)
    level = action // 2 if start == to else action
    if start == to:
        tail, tip = (start - 0.1, side * 0.9 * RADIUS), (start + 0.1, side * 0.9 * RADIUS)
        bend, height = -side * (1.7 + 0.8 * level), side * (0.42 + 0.2 * level)
    else:
        reach = RADIUS * (0.85 if to > start else -0.85)
        tail, tip = (start + reach, side * 0.09), (to - reach, side * 0.09)
        bend = -(0.25 + 0.5 * level)
        height = side * (0.09 + abs(bend * (tip[0] - tail[0])) / 2 + 0.06)
    colour = COLOURS[(0, 4, 2, 6)[action % 4]]
    axes.add_patch(
        FancyArrowPatch(
            tail,
            tip,
            connectionstyle=f"arc3,rad={bend}",
            arrowstyle="-|>",
            mutation_scale=12,
            color=colour,
        )
    )
    middle = (tail[0] + tip[0]) / 2
    axes.text(middle, height, label, ha="center", va="center", color=colour, fontsize=8)
    return height
