"""Pure functions on tensors ``[..., N, T]``: N trajectories (rows) of T steps, padded.

Any number of leading axes is allowed. ``mask`` is true on real transitions; what a tensor holds
where it is false never changes a result there where it is true.
"""

from pgzoo.estimators.aggregation import AGGREGATIONS, aggregation_weights, discount_weights
from pgzoo.estimators.baselines import (
    batch_mean_baseline,
    optimal_constant_baseline,
    time_step_mean_baseline,
)
from pgzoo.estimators.returns import episode_return, returns_to_go
from pgzoo.estimators.scaling import root_mean_square
from pgzoo.estimators.surrogates import score_function_surrogate

__all__ = [
    "AGGREGATIONS",
    "aggregation_weights",
    "batch_mean_baseline",
    "discount_weights",
    "episode_return",
    "optimal_constant_baseline",
    "returns_to_go",
    "root_mean_square",
    "score_function_surrogate",
    "time_step_mean_baseline",
]
