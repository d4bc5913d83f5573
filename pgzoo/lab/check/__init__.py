"""Is this Ψ right? Exact gradients, probes, and a verdict in words."""

from pgzoo.lab.check import probes
from pgzoo.lab.check.findings import Finding
from pgzoo.lab.check.gradient import GradientTest, gradient_test
from pgzoo.lab.check.portrait import Portrait, portrait
from pgzoo.lab.check.problems import CheckProblem, check_problems
from pgzoo.lab.check.result import Check

__all__ = [
    "Check",
    "CheckProblem",
    "Finding",
    "GradientTest",
    "Portrait",
    "check_problems",
    "gradient_test",
    "portrait",
    "probes",
]
