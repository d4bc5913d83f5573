"""``pgzoo.check``: is this Ψ right?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from torch import Tensor

from pgzoo import estimators
from pgzoo.agents.base import Agent
from pgzoo.agents.custom import is_file_and_function, named_function
from pgzoo.agents.text import split_text
from pgzoo.errors import UsageError
from pgzoo.lab.check import probes, result
from pgzoo.lab.check.findings import Finding, remarks
from pgzoo.lab.check.gradient import RESCALED, RIGHT, UNDECIDED, GradientTest, gradient_test
from pgzoo.lab.check.mistakes import beyond, explain
from pgzoo.lab.check.portrait import portrait
from pgzoo.lab.check.problems import (
    CheckProblem,
    Psi,
    check_problems,
    from_each_step,
    from_the_start,
)
from pgzoo.lab.check.result import Check
from pgzoo.lab.problem import parse_estimator
from pgzoo.options import checked
from pgzoo.sampling.trajectories import Trajectories

LEAST_GAMMA = 0.01
"""On the MDPs here some rewards come four steps after what earned them, and a smaller γ⁴ is lost in
the rounding of the rewards before."""
REPLICAS = 3
"""Of the batches that are probed."""
SECONDS = 15.0
"""Of an estimator so slow that it is not decided by then, that is said."""


def check(
    estimator: str | Callable[..., Any],
    *,
    gamma: float = 1.0,
    group_size: int = 8,
    episodes: int | None = None,
    seed: int = 0,
) -> Check:
    """Is this Ψ right? On small MDPs whose gradients are known exactly.

    Right is what estimates ∇J without bias, as a function of its trajectories alone. With γ below 1
    both conventions are right, and the answer says which it is: c_t = γ^t, or whole returns, for
    J = E Σ_t γ^t r_t; or returns-to-go with c_t = 1, as most code has it.

    Args:
        estimator: a function from trajectories to Ψ ``[S, N, T]``, ``FILE.py:FUNCTION``, or an
            agent without a critic, as for ``measure``.
        gamma: discount factor of the objective, of at least ``LEAST_GAMMA``.
        group_size: K of the trajectories that it is given.
        episodes: N; by default two or three groups, or 8 and 12 single episodes.
        seed: of the trajectories.

    Returns:
        the verdict; it passes if it is right, not if it is too noisy to say.

    Raises:
        UsageError: for what cannot be called on trajectories or returns no Ψ.
    """
    gamma = checked("gamma", gamma, float, minimum=LEAST_GAMMA, maximum=1)
    group_size = checked("group_size", group_size, minimum=1)
    episodes = checked("episodes", episodes, int | None, minimum=2)
    seed = checked("seed", seed, minimum=0)
    name, psi, group_size = _resolved(estimator, gamma, group_size, episodes)
    problems = check_problems(group_size, episodes)
    no_function = tuple(_not_a_function(psi, problems[0], seed))
    if no_function:
        return Check(name, result.WRONG, _objective(gamma, "discounted"), no_function, None)
    found = list(_probed(psi, problems[0], seed))
    test = gradient_test(psi, problems, gamma=gamma, seed=seed, seconds=SECONDS)
    sitter = portrait(psi, problems[0], seed)
    if test.status not in (RIGHT, UNDECIDED):
        found += explain(test, sitter, gamma)
    elif test.status == UNDECIDED:
        found.append(_undecided(test))
    elif gamma < 1 and test.target == "to-go":
        found.append(_no_c_t(problems, gamma))
    if test.status == RIGHT:
        found += (*beyond(sitter, gamma), *remarks(sitter))
    mistakes = [f for f in found if f.refuses]
    ordered = (*mistakes, *(f for f in found if not f.refuses))
    return Check(name, _verdict(test, mistakes), _objective(gamma, test.target), ordered, test)


def _verdict(test: GradientTest, mistakes: list[Finding]) -> str:
    if test.status == RIGHT:
        return result.WRONG if mistakes else result.RIGHT
    named = {f.name for f in mistakes}
    if test.status == UNDECIDED:
        return result.NOT_DECIDED if named == {"not-decided"} else result.WRONG
    return result.RESCALED if test.status == RESCALED else result.WRONG


def _objective(gamma: float, target: str) -> str:
    if gamma == 1:
        return "∇J, J = E Σ_t r_t"
    if target == "discounted":
        return f"∇J, J = E Σ_t γ^t r_t with γ = {gamma:g}"
    return f"E Σ_t Q(s_t, a_t) ∇log π(a_t|s_t) with γ = {gamma:g} in Q and c_t = 1"


def _resolved(
    source: str | Callable[..., Any], gamma: float, group_size: int, episodes: int | None
) -> tuple[str, Psi, int]:
    """An estimator's name, its Ψ, and the K that it is for."""
    if callable(source) or (is_file_and_function(source) and not split_text(source)[1]):
        return *named_function(source), group_size
    n = episodes or 2 * group_size
    parsed = parse_estimator(source, trajectories=n, group_size=group_size, gamma=gamma)
    agent, k = parsed.agent, parsed.group_size
    if agent.critic is not None:
        raise UsageError(
            f"Expected an estimator without a critic; {parsed.name} has one, which is learned. "
            "Measure it in the laboratory instead."
        )
    return parsed.name, _Weighted(agent, parsed.name), group_size if k == 1 else k


class _Weighted:
    """An agent's Ψ, with its weight of each step in place of 1/N."""

    def __init__(self, agent: Agent, name: str) -> None:
        self._agent, self._nothing = agent, _Nothing(name)

    def __call__(self, t: Trajectories) -> Tensor:
        outputs: Any = self._nothing
        psi = self._agent.psi(t, outputs)
        if self._agent.psi_scale == "rms":
            psi = psi / estimators.root_mean_square(psi, t.mask)
        return psi * self._agent.step_weights(t) * t.mask.shape[1]


class _Nothing:
    """In place of what networks say of trajectories."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, what: str) -> NoReturn:
        raise UsageError(
            f"Expected an estimator that needs trajectories alone; {self._name} asks for the "
            f"policy's {what}. Measure it in the laboratory instead."
        )


def _not_a_function(psi: Psi, problem: CheckProblem, seed: int) -> Iterator[Finding]:
    """Whether Ψ is a function of its own replica's trajectories at all."""
    t, other = problem.draw(REPLICAS, seed), problem.draw(REPLICAS, seed + 1)
    remembers = probes.earlier_calls(psi, t, other)
    if probes.matters(remembers):
        yield Finding(
            "depends-on-earlier-calls",
            "two equal calls differ: Ψ depends on earlier calls, or on random numbers of its own. "
            "A run with it could be neither repeated nor resumed.",
            {"difference": remembers},
        )
        return
    chance = probes.randomness(psi, t)
    if probes.matters(chance):
        yield Finding(
            "random-by-itself",
            "is random by itself: Ψ draws from the global random numbers, so that a replica's "
            "result depends on those beside it. Give the function a second parameter, rng, and "
            "draw from that: rng.rand(t.reward.shape).",
            {"difference": chance},
        )
        return
    others = probes.company(psi, t)
    if probes.matters(others):
        yield Finding(
            "depends-on-other-replicas",
            "depends on the other replicas: Ψ of a replica changes if it is alone. Axis 0 holds "
            "independent learners; nothing may be averaged over it.",
            {"difference": others},
        )


def _probed(psi: Psi, problem: CheckProblem, seed: int) -> Iterator[Finding]:
    t = problem.draw(REPLICAS, seed)
    written = probes.written_arguments(psi, t)
    if written:
        yield Finding(
            "changes-its-arguments",
            f"changes its arguments: {', '.join(written)}. Whoever uses the trajectories next gets "
            "others.",
        )
    spoiled = probes.padding(psi, t)
    if probes.matters(spoiled):
        yield Finding(
            "missing-mask",
            "reads padding: Ψ of real steps changes with what stands where the mask is false, or "
            "with how much of it there is.",
            {"difference": spoiled},
        )
    elif _fails_on_nan(psi, t):
        yield Finding(
            "nan-in-padding",
            "NaN in the padding reaches real steps, as 0 · NaN is NaN: torch.where(t.mask, …, 0) "
            "keeps it out.",
            refuses=False,
        )
    moved = probes.order_of_rows(psi, t)
    if probes.matters(moved):
        yield Finding(
            "order-of-rows-matters",
            "the order of rows matters: the same episodes in another order get another Ψ.",
            {"difference": moved},
            refuses=False,
        )


def _fails_on_nan(psi: Psi, t: Trajectories) -> bool:
    try:
        return probes.matters(probes.padding(psi, t, nan=True))
    except UsageError:  # Ψ is not finite
        return True


def _undecided(test: GradientTest) -> Finding:
    worst = max(test.comparisons, key=lambda c: c.bias)
    return Finding(
        "not-decided",
        f"too noisy to say: even after {test.steps:,} steps, a bias of {worst.bias:.0%} of "
        f"the gradient can neither be shown nor excluded (on {worst.problem}).",
        {"bias": worst.bias},
    )


def _no_c_t(problems: tuple[CheckProblem, ...], gamma: float) -> Finding:
    """How far returns-to-go with c_t = 1 are from ∇J."""
    apart, length = 0.0, 0.0
    for p in problems:
        to_go, exact = (
            p.gradient(w(p.horizon, gamma)).sum(0) for w in (from_each_step, from_the_start)
        )
        apart, length = (
            apart + float((to_go - exact).pow(2).sum()),
            length + float(exact.pow(2).sum()),
        )
    bias = (apart / length) ** 0.5
    return Finding(
        "no-discount-of-time",
        "returns-to-go with c_t = 1, as in most code: for the discounted J itself, late steps "
        f"count too much (a bias of {bias:.0%} of ∇J on these MDPs). c_t = γ^t makes it exact.",
        {"bias": bias},
        refuses=False,
    )
