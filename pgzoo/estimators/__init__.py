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
from pgzoo.estimators.groups import (
    group_center,
    group_standardize,
    leave_one_out,
    leave_one_out_per_step,
)
from pgzoo.estimators.kl import KL_ESTIMATORS, kl_estimate
from pgzoo.estimators.returns import episode_return, gae, returns_to_go, td_errors
from pgzoo.estimators.scaling import root_mean_square, whiten
from pgzoo.estimators.surrogates import (
    all_actions_surrogate,
    clipped_surrogate,
    clipped_weight,
    importance_ratio,
    is_clipped,
    score_function_surrogate,
    trajectory_ratio,
)

__all__ = [
    "AGGREGATIONS",
    "KL_ESTIMATORS",
    "aggregation_weights",
    "all_actions_surrogate",
    "batch_mean_baseline",
    "clipped_surrogate",
    "clipped_weight",
    "discount_weights",
    "episode_return",
    "gae",
    "group_center",
    "group_standardize",
    "importance_ratio",
    "is_clipped",
    "kl_estimate",
    "leave_one_out",
    "leave_one_out_per_step",
    "optimal_constant_baseline",
    "returns_to_go",
    "root_mean_square",
    "score_function_surrogate",
    "td_errors",
    "time_step_mean_baseline",
    "trajectory_ratio",
    "whiten",
]
