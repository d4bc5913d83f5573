"""Figures of a comparison: functions from what contenders have come to, to a matplotlib figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from pgzoo.compare.figures.final import final_returns, next_runs, performance_profile
from pgzoo.compare.figures.gradient import gradient_along_training, is_diagnosed
from pgzoo.compare.figures.learning import learning_curves
from pgzoo.compare.figures.overview import overview
from pgzoo.compare.figures.pairs import probability_matrix
from pgzoo.compare.figures.sweep import sweep, sweeps_among
from pgzoo.compare.figures.threshold import steps_to_threshold
from pgzoo.compare.outcome import Outcome
from pgzoo.compare.pairs import Pair
from pgzoo.records.intervals import MIN_RUNS
from pgzoo.records.style import save

__all__ = [
    "Illustration",
    "draw_all",
    "final_returns",
    "gradient_along_training",
    "learning_curves",
    "next_runs",
    "overview",
    "performance_profile",
    "probability_matrix",
    "save_all",
    "steps_to_threshold",
    "sweep",
    "sweeps_among",
]

INTERVALS = "95% interval over seeds"
CAPTIONS = {
    "overview": "The four figures that matter most, on one slide.",
    "learning_curves": "Interquartile mean over seeds of the return along training, with its "
    f"pointwise {INTERVALS}. Higher and further left is better; bands that overlap do not mean "
    "that nothing differs, and a whole curve leaves its band more often than one point of it. "
    "A seed that stopped early keeps its last return.",
    "final_returns": "Every dot is one seed's trained policy, evaluated by fresh episodes; the "
    f"upright stroke is their interquartile mean, the broad line its {INTERVALS}. Read the dots "
    "first: the stroke says little where they fall into two heaps.",
    "probability_matrix": "How probable it is that a run of the row is better than a run of the "
    "column; 0.50 is even. Framed and bold: decided by a permutation test after Holm's correction "
    "for all pairs. What is not framed is undecided, not equal.",
    "steps_to_threshold": "Share of runs that have reached the threshold after so many environment "
    "steps (Kaplan and Meier), with its pointwise 95% interval. Further left is sooner. A stroke "
    "marks runs whose training was over before they reached it: they count, and are not dropped.",
    "performance_profile": "For every return, the share of runs that reach at least that, with its "
    "pointwise 95% interval. A curve that lies above another everywhere is better at every level; "
    "where two cross, one is safer and the other reaches higher.",
    "next_runs": "The wide bar is where one more run would fall, as often as is written beside it; "
    "the dark line inside is the interval of the interquartile mean, dots are the seeds. Whoever "
    "trains only once should look at the wide bar.",
    "gradient_along_training": "Left, what is learned; middle, the variance of the gradient "
    "estimate relative to its signal (lower is better, pooled over seeds); right, the cosine "
    "between the estimates from two halves of a batch (1: no noise). A curve at the top edge is "
    "infinite: noise hides the signal there.",
    "sweep": "Along one option, all else equal: seeds, interquartile mean and its interval on the "
    "left, mean steps to the threshold on the right, where runs that never reach it count as the "
    "whole budget; above, how many did. Values are evenly spaced, whatever lies between them.",
}
"""How to read each figure, in a few sentences."""


@dataclass(frozen=True)
class Illustration:
    """A figure, and what goes with it wherever it is shown.

    Attributes:
        name: of its files, without a suffix.
        title: of what is shown.
        caption: how to read it.
        figure: itself.
    """

    name: str
    title: str
    caption: str
    figure: Figure


def draw_all(
    outcomes: Sequence[Outcome], pairs: Sequence[Pair], title: str
) -> Iterator[Illustration]:
    """Every figure that there is something to show in, the overview first.

    Args:
        outcomes: of contenders on one environment, at least one.
        pairs: every pair of them.
        title: of the overview.
    """
    few = [o.label for o in outcomes if len(o.seeds) < MIN_RUNS]

    def shown(name: str, title: str, figure: Figure, stem: str | None = None) -> Illustration:
        caption = CAPTIONS[name]
        if few:
            caption += (
                f" Of fewer than {MIN_RUNS} seeds there is no interval, since none would hold: "
                f"{', '.join(few)}."
            )
        return Illustration(stem or name, title, caption, figure)

    yield shown("overview", "At a glance", overview(outcomes, pairs, title))
    yield shown("learning_curves", "Learning curves", learning_curves(outcomes))
    yield shown("final_returns", "Final return, seed by seed", final_returns(outcomes))
    if len(outcomes) > 1:
        figure = probability_matrix(outcomes, pairs)
        yield shown("probability_matrix", "Which is better, run for run", figure)
    if outcomes[0].threshold is not None:
        figure = steps_to_threshold(outcomes)
        yield shown("steps_to_threshold", "Steps to the threshold", figure)
    yield shown("performance_profile", "Performance profile", performance_profile(outcomes))
    yield shown("next_runs", "Where the next single run will fall", next_runs(outcomes))
    if any(map(is_diagnosed, outcomes)):
        figure = gradient_along_training(outcomes)
        yield shown("gradient_along_training", "The gradient along training", figure)
    for k, (option, contenders) in enumerate(sweeps_among(outcomes)):
        figure = sweep(contenders, option)
        stem = f"sweep_{option}" + (f"_{k + 1}" if k else "")
        yield shown("sweep", f"{contenders[0].agent} along {option}", figure, stem)


def save_all(
    illustrations: Sequence[Illustration], folder: Path, formats: Sequence[str]
) -> list[Path]:
    """Write every figure in every format into a folder that exists.

    Raises:
        UsageError: for an unknown format.
    """
    return [f for i in illustrations for f in save(i.figure, folder / i.name, formats)]
