"""Mistakes recognised: what an estimator with a wrong mean does instead.

Each rule looks at one thing in an estimator's portrait, most of them at the weights w[t, u] of an
episode's own rewards r_u in Ψ_t, and says what it means or nothing. The first that speaks is right
about it; so the order counts, from what leaves no doubt to what is left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import torch
from torch import Tensor

from pgzoo.lab.check.findings import Finding
from pgzoo.lab.check.gradient import RESCALED, GradientTest
from pgzoo.lab.check.portrait import LARGE, Portrait
from pgzoo.lab.check.probes import matters
from pgzoo.lab.check.problems import from_each_step, from_the_start

CLOSE = 5e-4
"""Relative differences of weights less than this are none."""


def explain(test: GradientTest, portrait: Portrait, gamma: float) -> tuple[Finding, ...]:
    """What an estimator with a wrong mean does, as far as the portrait shows it.

    Args:
        test: that refuted it.
        portrait: of the same estimator.
        gamma: discount factor of the objective.

    Returns:
        at least one finding.
    """
    look = _Look(portrait, gamma)
    found = list(islice(filter(None, (rule(look) for rule in _rules(look))), 1))
    if all(c.cosine < -0.5 for c in test.comparisons) or (look.factor or 0) < 0:
        cosine = max(c.cosine for c in test.comparisons)
        found.insert(0, Finding("wrong-sign", "points the other way: a sign?", {"cosine": cosine}))
    return tuple(found) or (_unexplained(test),)


def beyond(portrait: Portrait, gamma: float) -> tuple[Finding, ...]:
    """What an estimator that is right on the problems does to rewards such as they do not have."""
    taken = _Look(portrait, gamma).follows
    if portrait.is_linear or taken < CLOSE:  # rewards may be weighted at random
        return ()
    text = (
        f"right for rewards of moderate size, but of a change by {LARGE:g} it takes away "
        f"{taken:.0%}: is something clipped?"
    )
    return (Finding("not-linear-in-rewards", text, {"taken away": taken}),)


def _rules(look: _Look) -> tuple[Rule, ...]:
    if not look.portrait.is_linear:
        return (*ANY, *BENT, *FORBIDDEN)
    return (*ANY, *(MISWEIGHTED if look.factor is None else ()), *FORBIDDEN)


def _unexplained(test: GradientTest) -> Finding:
    worst = max(test.comparisons, key=lambda c: c.bias)
    if test.status == RESCALED:
        scales = ", ".join(f"{c.scale:.3g}" for c in test.comparisons)
        return Finding("rescaled", f"the direction is right, the length is not: {scales}.")
    return Finding(
        "biased",
        "its mean is not the gradient: rewards, baseline or scale depend on what the action "
        "changes.",
        {"scale": worst.scale, "cosine": worst.cosine},
    )


@dataclass(frozen=True, eq=False)
class _Look:
    """A portrait, and the weights that a return has, ``[N, T, T]``."""

    portrait: Portrait
    gamma: float

    @property
    def own(self) -> Tensor:
        """w[t, u] of every row."""
        return self.portrait.own

    @cached_property
    def ahead(self) -> Tensor:
        """One where u ≥ t and both steps are there."""
        mask = self.portrait.mask
        return (mask.unsqueeze(2) & mask.unsqueeze(1)).double().triu()

    @cached_property
    def to_go(self) -> Tensor:
        """Of returns-to-go."""
        return from_each_step(self.own.shape[1], self.gamma).expand_as(self.own)

    @cached_property
    def now(self) -> Tensor:
        """One where u = t and the step is there."""
        return torch.eye(self.own.shape[1]).double() * self.ahead

    @cached_property
    def factor(self) -> float | None:
        """The k with w = k times a return's weights, with or without c_t = γ^t."""
        for make in (from_each_step, from_the_start):
            found = self.multiple(make(self.own.shape[1], self.gamma))
            if found is not None:
                return found
        return None

    @cached_property
    def follows(self) -> float:
        """How much of a large change of rewards from step t on is taken away again."""
        p, steps = self.portrait, self.own.shape[1]
        changes = [(p.of_own_row(p.jumps), LARGE), (p.of_own_row(p.falls), -LARGE)]
        return min(
            max(float(((c / size - weights) * self.ahead).abs().max()) for c, size in changes)
            for weights in (make(steps, self.gamma) for make in (from_each_step, from_the_start))
        )

    def multiple(
        self, weights: Tensor, where: Tensor | None = None, own: Tensor | None = None
    ) -> float | None:
        """The k with w = k · weights, from step t on; None if there is none but zero."""
        own = self.own if own is None else own
        ahead = self.ahead if where is None else self.ahead * where
        w = weights * ahead
        k = float((own * w).sum() / w.pow(2).sum().clamp(min=1e-12))
        residual = ((own - k * weights) * ahead).abs().max()
        return k if residual < CLOSE * abs(k) else None

    def is_nothing(self, where: Tensor) -> bool:
        """Whether there is no weight there."""
        return not (self.own * where).abs().max() > CLOSE


Rule = Callable[[_Look], Finding | None]


def _zero(look: _Look) -> Finding | None:
    p = look.portrait
    if p.psi.abs().max() < 1e-9 and not p.rewards_count(*p.relation):
        return Finding("zero", "Ψ is zero whatever the rewards are: nothing is learned.")
    return None


def _ranked(look: _Look) -> Finding | None:
    p = look.portrait
    long = p.lengths > 2  # two steps have but one deviation
    flat = look.own[long].abs().amax((1, 2)) < CLOSE
    if flat.double().mean() > 0.5 and p.rewards_count("own_now", "own_future"):
        return Finding(
            "not-linear-in-rewards",
            "Ψ knows rewards only by rank or by sign: their size, which the gradient depends on, "
            "is lost.",
        )
    return None


def _scaled(look: _Look) -> Finding | None:
    """Right weights but for a factor."""
    if look.factor is None:
        return None
    p, size = look.portrait, abs(look.factor)
    rows, steps = p.mask.shape
    counts = {"K": p.group_size, "N": rows, "T": steps, "the number of steps": int(p.mask.sum())}
    counts = {name: count for name, count in counts.items() if count > 1}
    evidence = {"factor": look.factor}
    for name in ("K", "N"):
        count = counts.get(name, torch.inf)
        if _near(size, 1 - 1 / count) and not _near(size, 1):
            text = f"scale {size:.4g} = ({name}−1)/{name}: the baseline contains its own sample."
            return Finding("own-sample-in-baseline", text, evidence)
        if _near(size, 1 / (1 - 1 / count)) and not _near(size, 1):
            text = (
                f"scale {size:.4g} = {name}/({name}−1): that factor belongs to the mean of all "
                f"{name}, not to the mean of the others."
            )
            return Finding("rescaled", text, evidence)
    for name, count in counts.items():
        if _near(size, 1 / count):
            text = (
                f"scale {size:.4g} = 1/{name}: Ψ is divided by {name}, but the estimate already is "
                "a sum over steps and a mean over trajectories."
            )
            return Finding("mean-for-sum", text, evidence)
        if _near(size, count):
            text = f"scale {size:.4g} = {name}: a sum where a mean belongs."
            return Finding("sum-for-mean", text, evidence)
    if _near(size, 1):
        return None
    text = f"the direction is right, the length is not: everything is multiplied by {size:.4g}."
    return Finding("rescaled", text, evidence)


def _no_future(look: _Look) -> Finding | None:
    """Nothing from after step t, or nothing from step t on."""
    if not look.is_nothing(look.ahead - look.now):
        return None
    if look.portrait.rewards_count("own_past"):
        return Finding(
            "looks-at-the-past",
            "looks at the past: Ψ_t sums the rewards up to step t, not those from it on.",
        )
    if look.is_nothing(look.now):
        return Finding(
            "rewards-do-not-count",
            "Ψ_t contains no reward of its own episode from step t on, and only those depend on "
            "the action.",
        )
    return Finding(
        "immediate-reward",
        "Ψ_t contains the reward of step t alone: what the action leads to does not count.",
    )


def _off_by_one(look: _Look) -> Finding | None:
    if not look.is_nothing(look.now):
        return None
    return Finding(
        "off-by-one",
        "Ψ_t begins with the reward of step t + 1: the one that the action itself earned is "
        "missing.",
    )


def _over_length(look: _Look) -> Finding | None:
    lengths = look.portrait.lengths.double().view(-1, 1, 1)
    if look.multiple(look.to_go, own=look.own * lengths) is None:
        return None
    return Finding(
        "mean-for-sum",
        "Ψ is divided by the length of its own episode: long episodes count less per step, and "
        "the length depends on the actions.",
    )


def _at_each_step(look: _Look) -> Finding | None:
    """1 − 1/n of those of the group, or of the batch, that have step t."""
    mask = look.portrait.mask
    for size in (look.portrait.group_size, len(mask)):
        alive = mask.unflatten(0, (-1, size)).sum(1, keepdim=True).expand(-1, size, -1)
        alive = alive.flatten(0, 1).unsqueeze(-1).clamp(min=1).double()
        if look.multiple(look.to_go * (1 - 1 / alive)) is not None:
            return Finding(
                "own-sample-in-baseline",
                "the baseline at step t contains its own sample: the scale is 1 − 1/n, of n "
                "trajectories that got there.",
            )
    return None


def _by_the_end(look: _Look) -> Finding | None:
    """Right weights in episodes that ended in a terminal state, and others in the others."""
    ended = look.portrait.trajectories.terminated[0].any(-1).double().view(-1, 1, 1)
    if look.multiple(look.to_go, where=ended) is None:
        return None
    return Finding(
        "truncation-as-termination",
        "episodes that the time limit cut off are weighted otherwise than those that ended: who "
        "is left out depends on the actions.",
    )


def _over_time(look: _Look) -> Finding | None:
    """What is taken away is the same at every step, or the same of every reward."""
    rest, there = look.own - look.to_go, look.ahead + look.ahead.mT > 0
    spreads = []
    for axis in (1, 2):
        highest = torch.where(there, rest, -torch.inf).amax(axis)
        lowest = torch.where(there, rest, torch.inf).amin(axis)
        spreads.append((highest - lowest)[there.any(axis)].max())
    if min(spreads) > CLOSE:
        return None
    if look.portrait.rewards_count("group", "elsewhere"):
        return Finding(
            "own-sample-in-baseline",
            "the baseline is a mean over all steps, those of the episode itself among them: it "
            "contains its own sample.",
        )
    return Finding(
        "mean-over-time",
        "the baseline is a mean over the steps of its own episode: it contains the rewards that "
        "the action earned, so it takes away part of the gradient.",
    )


def _discount(look: _Look) -> Finding | None:
    steps, gamma = look.own.shape[1], look.gamma
    t = torch.arange(steps, dtype=torch.float64).unsqueeze(-1)
    u = t.T
    twice = {"γ^(u+t)": u + t, "γ^(2u−t)": 2 * u - t, "γ^2(u−t)": 2 * (u - t), "γ^2u": 2 * u}
    for formula, power in twice.items():
        if gamma < 1 and look.multiple(gamma**power) is not None:
            text = f"γ counts twice: reward r_u has the weight {formula} in Ψ_t."
            return Finding("gamma-twice", text)
    if gamma < 1 and look.multiple(torch.ones(steps, steps).double()) is not None:
        return Finding("gamma-missing", f"γ is missing: rewards are not discounted by {gamma:g}.")
    long = look.ahead[:, 0, -1] > 0
    other = float((look.own[long, 0, 1] / look.own[long, 0, 0]).median())
    for make in (from_each_step, from_the_start):
        if 0 < other < 1 and look.multiple(make(steps, other)) is not None:
            text = (
                f"rewards are discounted by {other:.4g}, the objective by {gamma:g}: the gradient "
                "of something else. If that is meant, say so by `gamma`."
            )
            return Finding("gamma-unasked", text, {"gamma": other})
    return None


def _of_log_prob(look: _Look) -> Finding | None:
    if not look.portrait.depends_on(look.portrait.log_prob, look.portrait.relation["own_now"]):
        return None
    return Finding(
        "depends-on-log-prob",
        "Ψ contains the log-probability of the action: the gradient of another objective.",
    )


def _steps_weighted(look: _Look) -> Finding | None:
    if look.factor is not None:
        return None
    longest = look.portrait.lengths.argmax()
    of_step = look.own[longest].diagonal() / look.to_go[longest].diagonal()
    if look.multiple(look.to_go * of_step.unsqueeze(-1)) is None:
        return None
    return Finding(
        "steps-weighted",
        "the steps of an episode count differently, though each is part of the gradient.",
    )


def _partly_taken_away(look: _Look) -> Finding | None:
    ratio = (look.own / look.to_go)[look.ahead > 0]
    if look.factor is not None or not look.portrait.rewards_count("group", "elsewhere"):
        return None
    if ratio.min() < -CLOSE or ratio.max() > 1 + CLOSE:
        return None
    return Finding(
        "own-sample-in-baseline",
        "the baseline is made of several trajectories, its own sample among them: part of every "
        "reward is taken away again.",
        {"weight of r_t in Ψ_t": float(look.own[look.now > 0].mean())},
    )


def _misweighted(look: _Look) -> Finding | None:
    if look.factor is not None:
        return None
    return Finding(
        "own-rewards-misweighted",
        "the rewards from step t on are not weighted as in a return.",
        {"weight of r_t in Ψ_t": float(look.own[look.now > 0].mean())},
    )


def _divided(look: _Look) -> Finding | None:
    """Over a deviation: found by what becomes of Ψ in other units of reward.

    Of Ψ(c) = c x / (a + c σ), c / Ψ(c) is linear in c; of Ψ(c) = c x / √(a + c² σ²), its square is
    in c².
    """
    p = look.portrait
    real = p.mask & (p.psi.abs() > 0.05 * p.psi.pow(2).mean().sqrt())
    ratio = (p.tripled / p.psi)[real]
    one, three, nine = (c / x[real] for c, x in ((1, p.psi), (3, p.tripled), (9, p.ninefold)))
    by_sum = (nine - three) / (three - one) / 3
    by_root = (nine**2 - three**2) / (three**2 - one**2) / 9
    if not (ratio.min() > 0 and ratio.max() < 2.9):
        return None
    if min((x - 1).abs().max() for x in (by_sum, by_root)) > 0.02:
        return None
    evidence = {"Ψ(3 r) / Ψ(r)": float(ratio.median())}
    if p.rewards_count("elsewhere"):
        return Finding(
            "whitening-over-the-batch",
            "whitened: Ψ is divided by a deviation over the batch, which depends on the sample. "
            "Nearly the same direction, but not an unbiased estimate.",
            evidence,
        )
    if p.rewards_count("group"):
        return Finding(
            "whitening-within-group",
            "the group's std rescales each start's gradient (as in GRPO): not an unbiased "
            "estimate, another weighting of the starts.",
            evidence,
        )
    return Finding(
        "whitening-within-episode",
        "Ψ is divided by a deviation over the steps of its own episode: that says how the episode "
        "varies in time, and rescales every episode by its own returns.",
        evidence,
    )


def _not_homogeneous(look: _Look) -> Finding | None:
    if look.portrait.is_homogeneous:
        return None
    return Finding(
        "not-linear-in-rewards",
        "Ψ is bent: three times the reward is not three times the Ψ, as if rewards or advantages "
        "were clipped, squashed or ranked.",
    )


def _episodes_left_out(look: _Look) -> Finding | None:
    """More than one of a group: a median or a maximum leaves its own row out."""
    out = look.own.abs().amax((1, 2)) < CLOSE
    if out.unflatten(0, (-1, look.portrait.group_size)).sum(-1).max() < 2:
        return None
    return Finding(
        "episodes-left-out",
        "whether an episode counts depends on its own return, and so on its actions.",
    )


def _moving_baseline(look: _Look) -> Finding | None:
    if look.factor is not None or look.follows < CLOSE:
        return None
    return Finding(
        "own-sample-in-baseline",
        "the baseline contains its own sample: it moves with the return that it is subtracted "
        "from, and takes away part of the gradient.",
        {"change of the baseline": look.follows},
    )


def _of_the_action(look: _Look) -> Finding | None:
    if not look.portrait.depends_on(look.portrait.action, look.portrait.relation["own_now"]):
        return None
    if look.factor is None:
        return Finding(
            "weighted-by-the-action",
            "Ψ at step t is multiplied by something that depends on the action of step t.",
        )
    return Finding(
        "baseline-depends-on-the-action",
        "what is subtracted at step t depends on the action of step t: its mean contribution is "
        "not zero.",
    )


def _of_the_future(look: _Look) -> Finding | None:
    p, future = look.portrait, look.portrait.relation["own_future"]
    size = p.psi.pow(2).mean().sqrt().clamp(min=1e-6)
    if not (
        p.depends_on(p.action, future)
        or p.depends_on(p.state, future)
        or matters(float(p.without_last.abs().max() / size))
    ):
        return None
    return Finding(
        "baseline-depends-on-the-future",
        "what is subtracted at step t depends on what came after it (states, actions, or how long "
        "the episode was), and so on the action.",
    )


ANY: tuple[Rule, ...] = (_zero, _scaled)
MISWEIGHTED: tuple[Rule, ...] = (
    _no_future,
    _off_by_one,
    _over_length,
    _at_each_step,
    _by_the_end,
    _over_time,
    _discount,
)
"""Of Ψ that are linear in rewards, whatever is added to them."""
BENT: tuple[Rule, ...] = (
    _ranked,
    _divided,
    _not_homogeneous,
    _discount,
    _episodes_left_out,
    _moving_baseline,
)
"""Of the others."""
FORBIDDEN: tuple[Rule, ...] = (
    _of_log_prob,
    _of_the_action,
    _steps_weighted,
    _partly_taken_away,
    _of_the_future,
    _misweighted,
)
"""Of what is left: what Ψ must not know of, and weights that are simply wrong."""


def _near(a: float, b: float) -> bool:
    return abs(a - b) < CLOSE * abs(b)
