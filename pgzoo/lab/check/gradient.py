"""Is the mean of an estimator the gradient? A test sharp enough to answer.

Independent batches of small problems give estimates ĝ whose mean is to be compared with the exact
gradient g. What makes them sharp are control variates: weights Ψ of which the mean is known
exactly, since they are single rewards of the same episode (``CheckProblem.credit``), or do not
depend on the action (then it is zero). The estimate less its regression on theirs keeps its mean
and loses most of its noise; of any Ψ that is linear in rewards, all of it. The coefficients are
fitted on other batches, so the mean stays what it was.

An estimator is *refuted* if a difference from the gradient beyond ``NEGLIGIBLE`` is significant at
``ALPHA``, corrected for all problems, directions and looks; it is *confirmed* if the bounds on its
scale and on its whole bias lie within ``SCALE_MARGIN`` and ``BIAS_MARGIN``. What is neither gets
more batches, and in the end is not decided. What is a multiple of the gradient is found in the same
way, from the part beside it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from pgzoo.agents.custom import checked_psi
from pgzoo.estimators import returns_to_go
from pgzoo.lab.check.problems import (
    FEWEST_BATCHES,
    CheckProblem,
    Psi,
    from_each_step,
    from_the_start,
)
from pgzoo.sampling.trajectories import Trajectories

ALPHA = 1e-6
"""Probability that a right estimator is refuted on any problem."""
NEGLIGIBLE = 0.003
"""Of ‖g‖: what no one minds, such as an epsilon in a denominator."""
SCALE_MARGIN, BIAS_MARGIN = 0.025, 0.1
"""Within these, relative to g, an estimator that is not refuted is confirmed."""
LOOKS = (200_000, 1_000_000, 3_500_000, 3_500_000)
"""Steps, shared by the problems that aren't settled; those before fit the control variates."""
ENOUGH = 1
"""The look after which what is refuted gets no more steps for the sake of its direction."""
CHUNK = 160_000
"""Most steps in one call of the estimator."""
TINY = 1e-12
ROUNDING = 1e-6
"""Of the largest estimate: what single precision may add to a standard error."""
SURE = 4.5
"""Standard errors of a bound."""
FEWEST_VISITS = 400
"""Visits of an entry of the table for it to be tested by itself: fewer are far from normal."""
Floats = NDArray[np.float64]
TARGETS = ("discounted", "to-go")
"""∇J with c_t = γ^t, and returns-to-go with c_t = 1; the same for γ = 1."""
STATUSES = RIGHT, RESCALED, OPPOSITE, WRONG, UNDECIDED = (
    "right",
    "rescaled",
    "opposite",
    "wrong",
    "not decided",
)
"""Unbiased; a positive multiple of the gradient; a negative one; anything else; too noisy."""


@dataclass(frozen=True)
class Comparison:
    """The mean estimate on one problem, compared with a gradient g.

    Attributes:
        problem: its name.
        scale: ⟨E ĝ, g⟩ / ‖g‖².
        scale_error: its standard error.
        cosine: of E ĝ with g.
        bias: upper bound of ‖E ĝ − g‖ / ‖g‖.
        tangent: upper bound of the part beside g, relative to that along it.
        p_value: of E ĝ = g.
        p_direction: of E ĝ being a multiple of g.
    """

    problem: str
    scale: float
    scale_error: float
    cosine: float
    bias: float
    tangent: float
    p_value: float
    p_direction: float

    @property
    def is_close(self) -> bool:
        """Whether both bounds say that E ĝ is g, for all practical purposes."""
        scale = abs(self.scale - 1) + SURE * self.scale_error
        return self.bias < BIAS_MARGIN and scale < SCALE_MARGIN

    @property
    def is_parallel(self) -> bool:
        """Whether the bound says that E ĝ is a multiple of g."""
        return self.tangent < BIAS_MARGIN

    @property
    def is_settled(self) -> bool:
        """Whether more batches would say nothing new."""
        surely = ALPHA / 100  # however many problems there are
        refuted = self.p_value < surely and (self.is_parallel or self.p_direction < surely)
        return self.is_close or refuted


@dataclass(frozen=True)
class Spread:
    """Relative variance trace / ‖E ĝ‖² of one batch's estimate.

    Attributes:
        problem: its name.
        own: the estimator's.
        returns_to_go: of REINFORCE with returns-to-go.
        constant_baseline: of the same less the variance-optimal constant.
    """

    problem: str
    own: float
    returns_to_go: float
    constant_baseline: float


@dataclass(frozen=True)
class GradientTest:
    """What was found.

    Attributes:
        status: right, rescaled, opposite (a negative multiple), wrong or not decided.
        target: of ``TARGETS``, the one that was confirmed, or else the nearest.
        comparisons: with that target, one for each problem.
        spread: one for each problem.
        steps: on each problem that was not settled before, in the last look.
        means: the mean estimates, ``[T, n, A]`` for each problem.
    """

    status: str
    target: str
    comparisons: tuple[Comparison, ...]
    spread: tuple[Spread, ...]
    steps: int
    means: tuple[Tensor, ...] = field(repr=False)

    @property
    def p_value(self) -> float:
        """Of E ĝ = g on all problems, corrected for their number."""
        return _corrected([c.p_value for c in self.comparisons])

    @property
    def p_direction(self) -> float:
        """Of E ĝ being a multiple of g on all problems, corrected for their number."""
        return _corrected([c.p_direction for c in self.comparisons])

    @property
    def scales(self) -> dict[str, float]:
        """By problem."""
        return {c.problem: c.scale for c in self.comparisons}


def gradient_test(
    psi: Psi,
    problems: Sequence[CheckProblem],
    *,
    gamma: float = 1.0,
    seed: int = 0,
    looks: Sequence[int] = LOOKS,
    seconds: float | None = None,
) -> GradientTest:
    """Compare the mean of an estimator with the exact gradient.

    Args:
        psi: from trajectories to Ψ, with whatever weight c_t belongs to it.
        problems: on which.
        gamma: discount factor of the objective.
        seed: of the batches.
        looks: steps, shared by the problems that aren't settled, until the question is decided.
        seconds: of the processor, which this may take; a look that would take longer is left out.

    Raises:
        UsageError: for what is no Ψ.
    """
    targets = {
        name: [p.gradient(weights(p.horizon, gamma)) for p in problems]
        for name, weights in zip(TARGETS, (from_the_start, from_each_step), strict=True)
    }
    if gamma == 1:
        del targets["to-go"]
    seeds = iter(np.random.SeedSequence(seed).generate_state(len(problems) * (len(looks) + 1)))
    start = time.thread_time()
    unsettled = list(range(len(problems)))
    share = looks[0] // len(problems)
    looked = [_look(psi, p, share, int(next(seeds)), gamma, None) for p in problems]
    for number, steps in enumerate(looks):
        share, begun = steps // len(unsettled), time.thread_time()
        for i in unsettled:
            fit = _coefficients(looked[i].first)
            looked[i] = _look(psi, problems[i], share, int(next(seeds)), gamma, fit)
        found = {
            name: tuple(
                _compare(p, x.reduced, g, len(looks))
                for p, x, g in zip(problems, looked, gradients, strict=True)
            )
            for name, gradients in targets.items()
        }
        status, target, final = _status(found)
        unsettled = [i for i in unsettled if not all(c[i].is_settled for c in found.values())]
        if final or not unsettled or (status == WRONG and number >= ENOUGH):
            break
        now, following = time.thread_time(), (*looks, looks[-1])[number + 1]
        if seconds is not None and now - start + (now - begun) * following / steps > seconds:
            break
    spread = tuple(
        _spread(p, x.first, x.reduced, gamma) for p, x in zip(problems, looked, strict=True)
    )
    means = tuple(
        torch.from_numpy(x.reduced.mean(0)).view(p.horizon, *p.pi.shape)
        for p, x in zip(problems, looked, strict=True)
    )
    return GradientTest(status, target, found[target], spread, share, means)


def _status(found: dict[str, tuple[Comparison, ...]]) -> tuple[str, str, bool]:
    """What all problems together say, of which target, and whether more batches may add to it."""
    nearest = min(found, key=lambda name: sum(c.bias for c in found[name]))
    right = {name: _all(found[name], "p_value", "is_close") for name in found}
    parallel = {name: _all(found[name], "p_direction", "is_parallel") for name in found}
    for name, confirmed in right.items():
        if confirmed:
            return RIGHT, name, True
    if not all(confirmed is False for confirmed in right.values()):
        return UNDECIDED, nearest, False
    for name, confirmed in parallel.items():
        signs = {np.sign(c.scale) * (abs(c.scale) > SURE * c.scale_error) for c in found[name]}
        if confirmed and signs in ({1.0}, {-1.0}):
            return (RESCALED if signs == {1.0} else OPPOSITE), name, True
    return WRONG, nearest, all(confirmed is False for confirmed in parallel.values())


def _all(comparisons: Sequence[Comparison], p_value: str, is_within: str) -> bool | None:
    """Whether a hypothesis is confirmed, or refuted; None if neither."""
    if _corrected([getattr(c, p_value) for c in comparisons]) < ALPHA:
        return False
    return True if all(getattr(c, is_within) for c in comparisons) else None


def _corrected(p_values: Sequence[float]) -> float:
    """The smallest, times their number."""
    return min(1.0, len(p_values) * min(p_values))


class _Sample(NamedTuple):
    """Estimates ``[M, T, n·A]`` of an estimator, and ``[F, M, T, n·A]`` of control variates.

    The control variates' ``means [F, T, n·A]`` are known.
    """

    own: Tensor
    controls: Tensor
    means: Tensor


class _Look(NamedTuple):
    """Estimates with less noise ``[M, T·n·A]``; and the first part of what they were made of."""

    reduced: Floats
    first: _Sample


def _look(
    psi: Psi,
    problem: CheckProblem,
    steps: int,
    seed: int,
    gamma: float,
    coefficients: Tensor | None,
) -> _Look:
    """So many steps on a problem; without coefficients, estimates stay as they are."""
    parts = max(1, round(steps / CHUNK))
    batches = max(FEWEST_BATCHES, steps // parts // (problem.episodes * problem.horizon))
    first = _sample(psi, problem, batches, seed, gamma)
    reduced = [_reduced(first, coefficients)]
    for i in range(1, parts):
        reduced.append(_reduced(_sample(psi, problem, batches, seed + i, gamma), coefficients))
    return _Look(np.concatenate(reduced), first)


def _sample(psi: Psi, problem: CheckProblem, batches: int, seed: int, gamma: float) -> _Sample:
    t = problem.draw(batches, seed)
    values = checked_psi("the estimator", psi(_copy(t)), t)
    weights, means = _controls(problem, t, gamma)
    controls = problem.estimates(t, torch.stack(weights)).flatten(3)
    return _Sample(problem.estimates(t, values).flatten(2), controls, means)


def _copy(t: Trajectories) -> Trajectories:
    """It may be written to."""
    return t.map(lambda x: x.clone(), t.group_size)


def _controls(problem: CheckProblem, t: Trajectories, gamma: float) -> tuple[list[Tensor], Tensor]:
    """Weights Ψ ``[S, N, T]`` with known means ``[F, T, n·A]``.

    Every reward of the episode, q and V at each step, one; and, without the step's own action in
    them, returns and returns-to-go of the others: of the group, of the batch, of both neighbours,
    of a row of the next group.
    """
    mask, reward = t.mask, torch.where(t.mask, t.reward, 0).double()
    own = [reward[:, :, u : u + 1] * mask for u in range(problem.horizon)]
    q = problem.reward_after.cumsum(0).flip(0)  # Q_t(s, a), undiscounted
    value = (problem.pi * q).sum(-1)
    moments = torch.arange(problem.horizon)
    q_here, v_here = q[moments, t.obs, t.action] * mask, value[moments, t.obs] * mask
    to_go = returns_to_go(reward, mask, gamma)
    whole, everywhere = to_go[:, :, :1].expand_as(to_go), torch.ones_like(mask)
    sizes = sorted({t.group_size, mask.shape[1]} - {1})
    others = [
        _mean_of_others(x, there, size)
        for size in sizes
        for x, there in ((whole, everywhere), (to_go, mask))
    ]
    shifts = {shift % mask.shape[1] for shift in (1, -1, t.group_size)} - {0}
    others += [x.roll(shift, 1) for shift in sorted(shifts) for x in (whole, to_go)]
    free_of_action = [mask.double(), v_here, *(x * mask for x in others)]
    known = [*problem.credit.transpose(0, 1), problem.gradient(from_each_step(problem.horizon, 1))]
    zeros = torch.zeros(len(free_of_action), *known[0].shape, dtype=torch.float64)
    means = torch.cat([torch.stack(known), zeros]).flatten(2)
    return [*own, q_here, *free_of_action], means


def _mean_of_others(x: Tensor, there: Tensor, size: int) -> Tensor:
    """Of the other rows of a group that are there at this step; zero where there are none."""
    groups, present = (v.unflatten(1, (-1, size)) for v in (x * there, there.double()))
    total, count = ((v.sum(2, keepdim=True) - v) for v in (groups, present))
    return (total / count.clamp(min=1)).flatten(1, 2)


def _coefficients(sample: _Sample) -> Tensor:
    """Of the control variates at each step, by least squares: ``[F, T]``."""
    x = (sample.controls - sample.means.unsqueeze(1)).permute(2, 0, 1, 3).flatten(2)
    y = (sample.own - sample.own.mean(0)).permute(1, 0, 2).flatten(1)
    size = x.pow(2).mean(-1, keepdim=True).sqrt().clamp(min=1e-12)
    x = x / size
    gram = x @ x.mT
    inverse = torch.linalg.pinv(gram, rtol=1e-9, hermitian=True)
    return ((inverse @ (x @ y.unsqueeze(-1))) / size).squeeze(-1).T


def _reduced(sample: _Sample, coefficients: Tensor | None) -> Floats:
    """Estimates with the same mean and less noise, ``[M, T·n·A]``."""
    if coefficients is None:
        return sample.own.flatten(1).numpy()
    explained = torch.einsum("fmtx,ft->mtx", sample.controls, coefficients)
    mean = torch.einsum("ftx,ft->tx", sample.means, coefficients)
    return (sample.own - explained + mean).flatten(1).numpy()


def _compare(problem: CheckProblem, reduced: Floats, gradient: Tensor, looks: int) -> Comparison:
    g = gradient.flatten().numpy()
    length = float(np.linalg.norm(g))
    unit = g / length
    mean = _Mean.of(reduced)
    along, beside = (
        mean.onto(np.outer(unit, unit)),
        mean.onto(np.eye(len(g)) - np.outer(unit, unit)),
    )
    size = float(mean.value @ unit)
    directions = _directions(problem, gradient, len(reduced))
    tests = looks * directions.shape[1]
    return Comparison(
        problem.name,
        scale=size / length,
        scale_error=along.error(unit[:, None]).item() / length,
        cosine=size / max(float(np.linalg.norm(mean.value)), TINY),
        bias=mean.minus(g).bound() / length,
        tangent=beside.bound() / max(abs(size), TINY),
        p_value=min(1.0, tests * mean.minus(g).p_value(directions, NEGLIGIBLE * length)),
        p_direction=min(1.0, tests * beside.p_value(directions, NEGLIGIBLE * abs(size))),
    )


class _Mean(NamedTuple):
    """A mean ``[D]``, its covariance, what rounding adds to standard errors, how many it is of."""

    value: Floats
    covariance: Floats
    rounding: float
    size: int

    @classmethod
    def of(cls, sample: Floats) -> _Mean:
        """Of a sample ``[M, D]``."""
        count = len(sample)
        covariance = np.cov(sample.T).reshape(sample.shape[1], -1) / count
        rounding = max(ROUNDING * float(np.abs(sample).max()), TINY)
        return cls(sample.mean(0), covariance, rounding, count)

    def minus(self, known: Floats) -> _Mean:
        """Less something that is known."""
        return self._replace(value=self.value - known)

    def onto(self, projection: Floats) -> _Mean:
        """In a subspace, by a symmetric projection ``[D, D]``."""
        covariance = projection @ self.covariance @ projection
        return self._replace(value=projection @ self.value, covariance=covariance)

    def error(self, directions: Floats) -> Floats:
        """Standard errors along unit vectors ``[D, R]``."""
        variance = ((self.covariance @ directions) * directions).sum(0).clip(0)
        return np.asarray(np.sqrt(variance + self.rounding**2))

    def p_value(self, directions: Floats, negligible: float) -> float:
        """The smallest along any direction, of a component that is at most negligible."""
        excess = (np.abs(self.value @ directions) - negligible).clip(0)
        return float(2 * stats.t.sf((excess / self.error(directions)).max(), self.size - 1))

    def bound(self) -> float:
        """Upper bound of its length without the noise."""
        spread = np.linalg.eigvalsh(self.covariance).clip(0)
        noise = np.sqrt(spread.sum()) + SURE * np.sqrt(spread.max())
        return float(np.linalg.norm(self.value) + noise)


def _directions(problem: CheckProblem, gradient: Tensor, count: int) -> Floats:
    """Unit vectors ``[T·n·A, R]`` in which a difference is looked for.

    Every entry of the table that is visited often enough, and the gradient: whole, of each step,
    and of each state.
    """
    visits = problem.occupancy.unsqueeze(-1) * problem.pi * problem.episodes * count
    entries = torch.eye(visits.numel(), dtype=torch.float64)[visits.flatten() >= FEWEST_VISITS]
    steps, states = (torch.eye(n, dtype=torch.float64) for n in gradient.shape[:2])
    parts = [
        gradient.unsqueeze(0),
        gradient * steps[:, :, None, None],
        gradient * states[:, None, :, None],
    ]
    vectors = torch.cat([entries, *(p.flatten(1) for p in parts)])
    length = vectors.norm(dim=-1, keepdim=True)
    return (vectors / length)[length.squeeze(-1) > TINY].T.numpy()


def _spread(problem: CheckProblem, sample: _Sample, reduced: Floats, gamma: float) -> Spread:
    """Of gradients with respect to a table over states alone, as one would train it."""

    def by_state(x: Tensor) -> Tensor:
        return x.unflatten(-1, problem.pi.shape).sum(-3).flatten(-2)

    weights = from_each_step(problem.horizon, gamma)
    rewards = sample.controls[: problem.horizon]  # of r_u, [T, M, T, n·A]
    to_go = by_state(torch.einsum("tu,umtx->mtx", weights, rewards))
    score = by_state(sample.controls[problem.horizon + 1])
    own, mean = (
        by_state(sample.own),
        by_state(torch.from_numpy(reduced.mean(0)).view(sample.own.shape[1:])),
    )
    variance, of_score = to_go.var(0).sum(), score.var(0).sum()
    together = ((to_go - to_go.mean(0)) * score).sum() / (len(score) - 1)
    known = by_state(torch.einsum("tu,tux->tx", weights, problem.credit.flatten(2)))
    length = known.pow(2).sum()
    return Spread(
        problem.name,
        float(own.var(0).sum() / mean.pow(2).sum()),
        float(variance / length),
        float((variance - together**2 / of_score) / length),
    )
