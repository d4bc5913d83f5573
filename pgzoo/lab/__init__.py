"""The gradient laboratory: bias, variance and direction of estimators on a frozen policy."""

from pgzoo.lab.measurement import Measurement, Row, Settings, measure
from pgzoo.lab.problem import ZOO, Estimator, Problem, parse_estimator, parse_estimators

__all__ = [
    "ZOO",
    "Estimator",
    "Measurement",
    "Problem",
    "Row",
    "Settings",
    "measure",
    "parse_estimator",
    "parse_estimators",
]
