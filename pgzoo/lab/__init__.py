"""The gradient laboratory: bias, variance and direction of estimators on a frozen policy."""

from pgzoo.lab.measurement import Measurement, Row, Settings, measure
from pgzoo.lab.problem import Estimator, Problem, parse_estimator, parse_estimators, zoo

__all__ = [
    "Estimator",
    "Measurement",
    "Problem",
    "Row",
    "Settings",
    "measure",
    "parse_estimator",
    "parse_estimators",
    "zoo",
]
