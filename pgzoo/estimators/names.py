"""What an estimator can be told to do, by name; needs no torch, so that options can offer it."""

from typing import Literal, get_args

Aggregation = Literal["sum", "step-mean", "trajectory-mean"]
AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)

KLEstimator = Literal["k1", "k2", "k3"]
KL_ESTIMATORS: tuple[KLEstimator, ...] = get_args(KLEstimator)
