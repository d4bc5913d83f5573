"""What a contender's training runs have come to, seed by seed: what every statistic is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

    from pgzoo.records.config import RunConfig

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """One contender: an agent with its options, trained on S seeds. The unit is the seed.

    Attributes:
        label: how it is called everywhere, such as ``ppo`` or ``ppo:lam=0.9``.
        agent: the word that names the agent.
        options: those by which contenders of one agent differ from its defaults.
        config: of its first run.
        seeds: S of them, in increasing order.
        returns: mean return of each trained policy over fresh episodes, ``[S]``; NaN where training
            failed.
        standard_errors: of these means, ``[S]``.
        failed: why a seed's training was stopped, if it was, S of them.
        threshold: the return from which on the environment counts as solved, if it has one.
        budget: environment steps that each seed was to train.
        trained: environment steps that each did, ``[S]``.
        steps_to_threshold: environment steps at which each reached the threshold, None if it never
            did; S of them.
        seconds_to_threshold: the same in seconds since its run began.
        metrics: a line per iteration and seed, as in ``metrics.csv``, with the column ``seconds``
            (since the run began) beside.
        runs: the folders it is read from.
    """

    label: str
    agent: str
    options: Mapping[str, Any]
    config: RunConfig
    seeds: tuple[int, ...]
    returns: Array
    standard_errors: Array
    failed: tuple[str | None, ...]
    threshold: float | None
    budget: int
    trained: NDArray[np.int64]
    steps_to_threshold: tuple[int | None, ...]
    seconds_to_threshold: tuple[float | None, ...]
    metrics: pd.DataFrame
    runs: tuple[Path, ...]

    @property
    def known_returns(self) -> Array:
        """Returns of the seeds whose training did not fail, ``[≤ S]``."""
        return self.returns[~np.isnan(self.returns)]
