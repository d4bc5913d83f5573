"""One slide: the four figures that matter most."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from pgzoo.compare.figures.canvas import legend, looks_of, styled, title_above
from pgzoo.compare.figures.final import draw_final_returns, draw_next_runs, draw_profile
from pgzoo.compare.figures.learning import draw_over_steps
from pgzoo.compare.figures.pairs import draw_matrix
from pgzoo.compare.figures.threshold import draw_steps_to_threshold
from pgzoo.compare.outcome import Outcome
from pgzoo.compare.pairs import Pair

SLIDE = (13.333, 7.5)


def overview(outcomes: Sequence[Outcome], pairs: Sequence[Pair], title: str) -> Figure:
    """What is learned, how soon, how well in the end, and which is better; 16:9.

    Without a threshold the profile of final returns takes the place of the steps to it; of one
    contender alone, where its next run will fall that of the pairs.
    """
    looks = looks_of(outcomes)
    with styled():
        figure = Figure(figsize=SLIDE, layout="constrained")
        # Each is laid out for itself, so that long labels of one take no room of another.
        parts = figure.subfigures(2, 2, squeeze=False).flatten()
        learning, soon, final, pair = (part.subplots() for part in parts)
        draw_over_steps(learning, outcomes, looks)
        if outcomes[0].threshold is None:
            draw_profile(soon, outcomes, looks)
            title_above(soon, "Performance profile")
        else:
            draw_steps_to_threshold(soon, outcomes, looks)
            soon.set_title("Steps to the threshold")
        draw_final_returns(final, outcomes, looks)
        title_above(final, "Final return")
        if len(outcomes) > 1:
            draw_matrix(pair, outcomes, pairs, numbered=True)
            pair.set_title("Which is better, run for run")
        else:
            draw_next_runs(pair, outcomes, looks)
            title_above(pair, "Where the next single run will fall")
        legend(figure, outcomes, looks)
        figure.suptitle(title, parse_math=False, fontsize=15, x=0.01, ha="left")
    return figure
