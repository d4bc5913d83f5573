"""The gradient laboratory: bias, variance and direction of estimators on a frozen policy."""

from pgzoo.lab import mdps
from pgzoo.lab.exact import FiniteMDP, exact_gradient, expected_return
from pgzoo.lab.measurement import Measurement, Row, Settings, measure
from pgzoo.lab.problem import Estimator, Problem, parse_estimator, parse_estimators, zoo
from pgzoo.lab.simulate import score_gradients, simulate

__all__ = [
    "Estimator",
    "FiniteMDP",
    "Measurement",
    "Problem",
    "Row",
    "Settings",
    "exact_gradient",
    "expected_return",
    "mdps",
    "measure",
    "parse_estimator",
    "parse_estimators",
    "score_gradients",
    "simulate",
    "zoo",
]
