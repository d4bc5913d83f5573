"""Is this Ψ right? Exact gradients, probes, and a verdict in words."""

from pgzoo.lab.check.gradient import GradientTest, gradient_test
from pgzoo.lab.check.problems import CheckProblem, check_problems

__all__ = ["CheckProblem", "GradientTest", "check_problems", "gradient_test"]
