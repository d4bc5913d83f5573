"""Films for a comparison's report: what every contender does, untrained beside trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pgzoo.compare.outcome import Outcome
from pgzoo.learning.run import load
from pgzoo.records import files

SECONDS = 8.0


def write_films(outcomes: Sequence[Outcome], folder: Path) -> dict[str, Path]:
    """A GIF for each contender that has a trained policy.

    It is of the seed whose final return is the middle one of all, or the next lower, and plays the
    same episode for every contender.

    Args:
        outcomes: of every contender.
        folder: that they are written into.

    Returns:
        the files by what they show.
    """
    films = {}
    for number, outcome in enumerate(outcomes):
        if not len(outcome.known_returns):
            continue
        seed = middle_seed(outcome)
        run = next(r for r in map(load, outcome.runs) if seed in r.config.seeds)
        path = folder / f"{number}.gif"
        files.write(path, run.film(seed, at=(0, 100), seconds=SECONDS).gif)
        films[f"{outcome.label}, seed {seed}: the middle one by its return"] = path
    return films


def middle_seed(outcome: Outcome) -> int:
    """The seed with the median final return, the lower one of two."""
    order = np.argsort(outcome.returns, kind="stable")  # NaN comes last
    return outcome.seeds[order[(len(outcome.known_returns) - 1) // 2]]
