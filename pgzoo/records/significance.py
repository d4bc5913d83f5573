"""Tests of many hypotheses at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

SIGNIFICANT = 0.05
"""A corrected p-value of at most this decides."""


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm's correction (1979): the family-wise error rate over all tests, ``[E]``."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    steps = (len(p) - np.arange(len(p))) * p[order]
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected
