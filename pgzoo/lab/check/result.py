"""The answer: a verdict in words, what it rests on, and the same as data."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any

from pgzoo.lab.check.findings import Finding
from pgzoo.lab.check.gradient import UNDECIDED, GradientTest

VERDICTS = RIGHT, RESCALED, WRONG, NOT_DECIDED = ("right", "rescaled", "wrong", UNDECIDED)
"""Unbiased; the right direction but another length; wrong; too noisy to say."""
_MARKS = {RIGHT: "✓", RESCALED: "✗", WRONG: "✗", NOT_DECIDED: "?"}
_COLOURS = {RIGHT: "#1a7f37", RESCALED: "#b3261e", WRONG: "#b3261e", NOT_DECIDED: "#6b7280"}


@dataclass(frozen=True)
class Check:
    """What ``pgzoo.check`` found.

    Attributes:
        name: of the estimator.
        verdict: of ``VERDICTS``.
        objective: of what it estimates the gradient, if it is right.
        findings: mistakes first, then remarks.
        test: the comparison with exact gradients; None where Ψ is no function of its trajectories.
    """

    name: str
    verdict: str
    objective: str
    findings: tuple[Finding, ...]
    test: GradientTest | None = field(repr=False)

    @property
    def passed(self) -> bool:
        """Whether it is right."""
        return self.verdict == RIGHT

    @property
    def mistakes(self) -> tuple[str, ...]:
        """Names of the findings that refuse it."""
        return tuple(f.name for f in self.findings if f.refuses)

    @property
    def figures(self) -> dict[str, Any]:
        """What the verdict rests on, by name; by problem where there are several."""
        if self.test is None:
            return {}
        t = self.test
        return {
            "p_value": t.p_value,
            "p_direction": t.p_direction,
            "scale": t.scales,
            "scale_error": {c.problem: c.scale_error for c in t.comparisons},
            "cosine": {c.problem: c.cosine for c in t.comparisons},
            "bias_bound": {c.problem: c.bias for c in t.comparisons},
            "relative_variance": {s.problem: s.own for s in t.spread},
            "variance_over_returns_to_go": _mean_ratio([s.own / s.returns_to_go for s in t.spread]),
            "variance_over_constant_baseline": _mean_ratio(
                [s.own / s.constant_baseline for s in t.spread]
            ),
            "steps": t.steps,
        }

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data; figures that are not finite are null."""
        return {
            "name": self.name,
            "verdict": self.verdict,
            "passed": self.passed,
            "objective": self.objective,
            "findings": _plain([asdict(f) for f in self.findings]),
            "figures": _plain(self.figures),
        }

    def __str__(self) -> str:
        """Verdict, findings and figures, a line each."""
        return "\n".join(self._lines())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head, *rest = map(escape, self._lines())
        style = f"border-left: 4px solid {_COLOURS[self.verdict]}; padding: 0.2em 0.8em"
        return f'<div style="{style}"><b>{head}</b><br>{"<br>".join(rest)}</div>'

    def _lines(self) -> list[str]:
        about = f": unbiased for {self.objective}" if self.passed else ""
        lines = [f"{_MARKS[self.verdict]} {self.name} is {self.verdict}{about}"]
        lines += [f"  {'✗' if f.refuses else '·'} {f.name}: {f.text}" for f in self.findings]
        if self.test is not None and self.test.comparisons:
            scales = [c.scale for c in self.test.comparisons]
            bias = max(c.bias for c in self.test.comparisons)
            lines.append(
                f"  scale {min(scales):.3f} … {max(scales):.3f} and cosine at least "
                f"{min(c.cosine for c in self.test.comparisons):.3f} on {len(scales)} small MDPs; "
                f"bias at most {bias:.1%} of the gradient"
            )
            if self.passed:
                f = self.figures
                lines.append(
                    f"  relative variance {f['variance_over_returns_to_go']:.2f} × that of "
                    "REINFORCE with returns-to-go, "
                    f"{f['variance_over_constant_baseline']:.2f} × with the best constant baseline"
                )
        return lines


def _mean_ratio(ratios: list[float]) -> float:
    """Geometric mean over problems, which have variances of their own size."""
    if not all(r > 0 and math.isfinite(r) for r in ratios):
        return math.nan
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def _plain(x: Any) -> Any:
    if isinstance(x, dict):
        return {k: _plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [_plain(v) for v in x]
    return None if isinstance(x, float) and not math.isfinite(x) else x
