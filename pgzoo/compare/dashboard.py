"""A comparison in TensorBoard: a run for each contender, named by its label, and one for all."""

from __future__ import annotations

import dataclasses
import shutil
import stat
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pgzoo.compare.outcome import Outcome
from pgzoo.records.files import check_kind
from pgzoo.records.tensorboard import COMPARED, EventFile, Results, write_dashboard
from pgzoo.records.words import over_seeds, solved_in_words

TOGETHER = "comparison"
"""The TensorBoard run of what is said of all contenders together."""


def write_comparison(
    folder: Path,
    outcomes: Sequence[Outcome],
    *,
    verdicts: Sequence[str],
    figures: Mapping[str, bytes],
) -> Path:
    """Write a comparison's TensorBoard runs, in place of those that were there.

    Args:
        folder: of the comparison.
        outcomes: one for each contender.
        verdicts: in words, a paragraph each; Markdown.
        figures: of all contenders, PNG files by their names.

    Returns:
        the folder within that holds them, ``tensorboard/``; it is replaced whole.

    Raises:
        UsageError: if that is a link.
        OSError: if it cannot be written.
    """
    place = folder / COMPARED
    check_kind(place, stat.S_IFDIR)
    new = Path(tempfile.mkdtemp(prefix=f".{COMPARED}.", dir=folder))
    try:
        for outcome in outcomes:
            _write_contender(new / outcome.label.replace("/", "_"), outcome)
        together = EventFile(new / TOGETHER)
        step = max(outcome.budget for outcome in outcomes)
        together.text(TOGETHER, "\n\n".join(verdicts), step)
        for name, png in figures.items():
            together.figure(name, png, step)
        together.close()
        if place.exists():
            shutil.rmtree(place)
        new.rename(place)
        place.chmod(folder.stat().st_mode)  # a temporary folder is its owner's alone
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return place


def _write_contender(folder: Path, outcome: Outcome) -> None:
    lines: list[dict[str, Any]] = outcome.metrics.sort_values(
        ["iteration", "seed"], kind="stable"
    ).to_dict("records")
    results = Results(
        returns=outcome.returns,
        threshold=outcome.threshold,
        steps_to_threshold=outcome.steps_to_threshold,
        trained=outcome.trained.tolist(),
        words=_in_words(outcome),
    )
    config = dataclasses.replace(outcome.config, seeds=outcome.seeds)
    write_dashboard(folder, config, lines, results, {})


def _in_words(outcome: Outcome) -> list[str]:
    known = outcome.known_returns
    if not len(known):
        return ["All seeds failed."]
    lines = [over_seeds(known.tolist())]
    if outcome.threshold is not None:
        solved = int(np.count_nonzero(known >= outcome.threshold))
        lines.append(solved_in_words(solved, len(outcome.seeds), outcome.threshold))
    lines += [
        f"seed {s} failed: {why}"
        for s, why in zip(outcome.seeds, outcome.failed, strict=True)
        if why
    ]
    return [*lines, f"{int(outcome.trained.sum()):,} steps"]
