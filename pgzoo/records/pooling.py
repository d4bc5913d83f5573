"""Relative variance from many diagnoses, each of which rests on few independent units.

A ratio of two noisy figures of one batch says little, and the mean of such ratios less: it
understates noise and can reverse rankings. Sums of the unbiased figures ‖ĝ‖² − variance and of the
variances do not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

DIAGNOSES, BLOCKS = 10, 40
"""Diagnoses of single seeds, and blocks in them, that are pooled for a point of a curve along
training, at least: the latest ones, or all as long as there are fewer."""
LEAST_BLOCKS = 4
"""Independent blocks that a variance must rest on, all in all, to be shown."""


def relative_variance(
    variances: Sequence[float], signals: Sequence[float], blocks: Sequence[float]
) -> float:
    """Σ variance / Σ (‖ĝ‖² − variance) over seeds and diagnoses.

    Args:
        variances: traces of the estimates' covariances, NaN where unknown.
        signals: ‖ĝ‖² less each of them; single ones may be negative.
        blocks: how many independent blocks each is found from.

    Returns:
        infinite where noise hides the signal; NaN where there are fewer than ``LEAST_BLOCKS``.
    """
    known = [
        figures
        for figures in zip(variances, signals, blocks, strict=True)
        if not any(math.isnan(x) for x in figures)
    ]
    if sum(n for _, _, n in known) < LEAST_BLOCKS:
        return math.nan
    signal = sum(s for _, s, _ in known)
    return sum(v for v, _, _ in known) / signal if signal > 0 else math.inf


Line = TypeVar("Line", bound=Mapping[str, Any])


def latest(lines: Sequence[Line]) -> list[Line]:
    """The last diagnosed lines of ``metrics.csv`` that make ``DIAGNOSES`` and ``BLOCKS``.

    Each is of one seed. They are all there are if those are fewer.
    """
    blocks = 0
    for taken, line in enumerate(reversed(lines), start=1):
        blocks += int(line["gradient_blocks"])
        if taken >= DIAGNOSES and blocks >= BLOCKS:
            return list(lines[-taken:])
    return list(lines)
