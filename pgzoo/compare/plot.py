"""Figures and tables of any runs, without a comparison that trained them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pgzoo.compare.figures import draw_all, save_all
from pgzoo.compare.from_runs import outcomes_of
from pgzoo.compare.judge import pairs_of, savings_of
from pgzoo.compare.outcome import Outcome
from pgzoo.compare.tables import write_tables
from pgzoo.errors import UsageError
from pgzoo.learning.run import load
from pgzoo.records.files import cannot_write
from pgzoo.records.style import FORMATS, check_formats


def plot_runs(
    runs: Sequence[Path],
    folder: Path,
    formats: Sequence[str] = FORMATS,
    title: str | None = None,
) -> list[Path]:
    """Write every figure and table of complete runs of one environment.

    Args:
        runs: their folders.
        folder: is made if it is not there; files of the same names are replaced.
        formats: of the figures.
        title: of the overview; None: the environment and how many seeds there are.

    Raises:
        UsageError: for runs that are not complete or cannot be compared, an unknown format, or a
            folder that cannot be written.
    """
    check_formats(formats)
    if title == "":
        raise UsageError("Expected `title` to be text, got an empty one. Leave it out.")
    outcomes = outcomes_of([load(path) for path in runs])
    pairs = pairs_of(outcomes)
    illustrations = list(draw_all(outcomes, pairs, title or title_of(outcomes)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tables = write_tables(folder, outcomes, pairs, savings_of(outcomes))
        return save_all(illustrations, folder, formats) + tables
    except OSError as error:
        raise cannot_write(folder, error) from error


def title_of(outcomes: Sequence[Outcome]) -> str:
    """As in "CartPole-v1, 10 seeds of each contender"."""
    counts = sorted({len(o.seeds) for o in outcomes})
    seeds = f"{counts[0]} seed{'s' * (counts[0] > 1)}"
    if len(counts) > 1:
        seeds = f"{counts[0]} to {counts[-1]} seeds"
    each = " of each contender" if len(outcomes) > 1 else f" of {outcomes[0].label}"
    return f"{outcomes[0].config.env}, {seeds}{each}"
