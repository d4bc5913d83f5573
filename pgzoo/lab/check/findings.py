"""Mistakes by name: what an estimator that isn't right does instead.

Names are stable. Where the course's catalogue knows the mistake, it is the catalogue's name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pgzoo.lab.check.gradient import RESCALED, GradientTest
from pgzoo.lab.check.portrait import Portrait, of_own_row
from pgzoo.lab.check.probes import matters
from pgzoo.lab.check.problems import from_each_step, from_the_start

CLOSE = 5e-4
"""Relative differences of slopes less than this are none."""


@dataclass(frozen=True)
class Finding:
    """One thing about an estimator.

    Attributes:
        name: stable.
        text: a sentence.
        evidence: figures it rests on, by name.
        refuses: whether it makes the estimator wrong; a remark otherwise.
    """

    name: str
    text: str
    evidence: dict[str, float] = field(default_factory=dict)
    refuses: bool = True


def explain(test: GradientTest, portrait: Portrait, gamma: float) -> tuple[Finding, ...]:
    """What an estimator with a wrong mean does, as far as the portrait shows it.

    Args:
        test: that refuted it.
        portrait: of the same estimator.
        gamma: discount factor of the objective.

    Returns:
        at least one finding.
    """
    found = list(_explanations(portrait, gamma))
    if not any(f.name == "wrong-sign" for f in found) and all(
        c.cosine < -0.5 for c in test.comparisons
    ):
        found.insert(0, _wrong_sign(test.comparisons[0].cosine))
    return tuple(found) or (_unexplained(test),)


def remarks(portrait: Portrait) -> Iterator[Finding]:
    """What costs variance and no more."""
    if portrait.rewards_count("own_past"):
        yield Finding(
            "looks-at-the-past",
            "looks at the past: Ψ_t contains rewards from before step t. Their mean contribution "
            "is zero, their variance is not.",
            refuses=False,
        )
    if portrait.group_size > 1 and portrait.rewards_count("elsewhere"):
        yield Finding(
            "other-groups-returns",
            "Ψ contains returns of other groups, which began elsewhere and say nothing of what "
            "this start allows.",
            refuses=False,
        )


def _explanations(p: Portrait, gamma: float) -> Iterator[Finding]:
    if p.psi.abs().max() < 1e-9 and not p.rewards_count(*p.relation):
        yield Finding("zero", "Ψ is zero whatever the rewards are: nothing is learned.")
        return
    if p.own.abs().max() < CLOSE and p.rewards_count("own_now", "own_future"):
        yield Finding(
            "not-linear-in-rewards",
            "Ψ knows rewards only by rank or by sign: their size, which the gradient depends on, "
            "is lost.",
        )
        return
    divisor = _divisor(p)
    if divisor is not None:
        yield divisor
        return
    own = list(_own_weights(p, gamma))
    yield from own
    if not p.is_linear and not own:
        own = list(_of_no_weights(p, gamma))
        yield from own
    if not any(f.name != "wrong-sign" for f in own):
        yield from _forbidden_knowledge(p)


def _divisor(p: Portrait) -> Finding | None:
    """Ψ over a deviation, found by what becomes of it in other units of reward."""
    size = p.psi.abs().clamp(min=1e-9)
    ratio = (p.tripled / p.psi)[p.mask & (size > 0.05 * p.psi.pow(2).mean().sqrt())]
    if p.is_linear or not (ratio.min() > 0.2 and ratio.max() < 2.9):
        return None
    if _most_left_out(p) > 0:  # clipped, ranked: a deviation leaves no slope at zero
        return None
    if p.rewards_count("elsewhere"):
        name, text = (
            "whitening-over-the-batch",
            (
                "whitened: Ψ is divided by a deviation over the batch, which depends on the "
                "sample. Nearly the same direction, but not an unbiased estimate."
            ),
        )
    elif p.rewards_count("group"):
        name, text = (
            "whitening-within-group",
            (
                "the group's std rescales each start's gradient (as in GRPO): not an unbiased "
                "estimate, another weighting of the starts."
            ),
        )
    else:
        name, text = (
            "whitening-within-episode",
            (
                "Ψ is divided by a deviation over the steps of its own episode: that says how the "
                "episode varies in time, and rescales every episode by its own returns."
            ),
        )
    return Finding(name, text, {"Ψ(3 r) / Ψ(r)": float(ratio.median())})


def _own_weights(p: Portrait, gamma: float) -> Iterator[Finding]:
    """From the weights of an episode's own rewards from step t on."""
    steps = p.mask.shape[1]
    there = (p.mask.unsqueeze(2) & p.mask.unsqueeze(1)).double()
    ahead = there.triu()
    to_go = from_each_step(steps, gamma).expand_as(p.own)
    whole = from_the_start(steps, gamma).expand_as(p.own)
    for target in (to_go, whole):
        factor = _factor(p.own, target, ahead)
        if factor is not None:
            yield from _of_factor(p, factor)
            return
    if not (p.own * ahead).abs().max() > CLOSE:
        if p.rewards_count("own_past"):
            yield _of_no_future(p)
        elif p.is_linear:
            yield Finding(
                "rewards-do-not-count",
                "Ψ_t contains no reward of its own episode from step t on, and only those depend "
                "on the action.",
            )
        return
    yield from _of_rows_and_steps(p, to_go, ahead, gamma)


def _of_factor(p: Portrait, factor: float) -> Iterator[Finding]:
    rows, steps = p.mask.shape
    k = p.group_size
    evidence = {"factor": factor}
    if factor < 0:
        yield _wrong_sign(factor)
    size = abs(factor)
    named = {
        "K": k,
        "N": rows,
        "T": steps,
        "the number of steps": int(p.mask.sum()),
    }
    own = [(n, v) for n, v in (("K", k), ("N", rows)) if v > 1]
    for name, count in own:
        if _near(size, 1 - 1 / count):
            yield Finding(
                "own-sample-in-baseline",
                f"scale {size:.4g} = ({name}−1)/{name}: the baseline contains its own sample.",
                evidence,
            )
            return
        if _near(size, count / (count - 1)):
            yield Finding(
                "rescaled",
                f"scale {size:.4g} = {name}/({name}−1): that factor belongs to the mean of all "
                f"{name}, not to the mean of the others.",
                evidence,
            )
            return
    for name, count in named.items():
        if count > 1 and _near(size, 1 / count):
            yield Finding(
                "mean-for-sum",
                f"scale {size:.4g} = 1/{name}: Ψ is divided by {name}, but the estimate already is "
                "a sum over steps and a mean over trajectories.",
                evidence,
            )
            return
        if count > 1 and _near(size, count):
            yield Finding(
                "sum-for-mean", f"scale {size:.4g} = {name}: a sum where a mean belongs.", evidence
            )
            return
    if not _near(size, 1):
        yield Finding(
            "rescaled",
            f"the direction is right, the length is not: everything is multiplied by {size:.4g}.",
            evidence,
        )


def _of_discount(own: Tensor, ahead: Tensor, gamma: float) -> Iterator[Finding]:
    steps = own.shape[1]
    t = torch.arange(steps, dtype=torch.float64).unsqueeze(-1)
    u = t.T
    if gamma < 1:
        twice = {"γ^(u+t)": u + t, "γ^(2u−t)": 2 * u - t, "γ^2(u−t)": 2 * (u - t), "γ^2u": 2 * u}
        twice |= {"γ^(u−t+1)": u - t + 1, "γ^(u+1)": u + 1}
        for formula, power in twice.items():
            if _fits(own, gamma**power, ahead):
                yield Finding(
                    "gamma-twice",
                    f"γ counts twice: reward r_u has the weight {formula} in Ψ_t.",
                )
                return
    if _fits(own, torch.ones(steps, steps).double(), ahead):
        yield Finding("gamma-missing", f"γ is missing: rewards are not discounted by {gamma:g}.")
        return
    both = ahead[:, 0, 1] > 0
    other = float((own[both, 0, 1] / own[both, 0, 0]).median())
    if 0 < other < 1:
        for weights in (from_each_step(steps, other), from_the_start(steps, other)):
            if _fits(own, weights, ahead):
                yield Finding(
                    "gamma-unasked",
                    f"rewards are discounted by {other:.4g}, the objective by {gamma:g}: the "
                    "gradient of something else. If that is meant, say so by `gamma`.",
                    {"gamma": other},
                )
                return


def _of_rows_and_steps(
    p: Portrait, to_go: Tensor, ahead: Tensor, gamma: float
) -> Iterator[Finding]:
    own, lengths = p.own, p.lengths.double().view(-1, 1, 1)
    now = torch.eye(own.shape[1]).double() * ahead
    later = ahead - now
    if later.any() and not ((own * later).abs().max() > CLOSE):
        yield _of_no_future(p)
    elif not ((own * now).abs().max() > CLOSE):
        yield Finding(
            "off-by-one",
            "Ψ_t begins with the reward of step t + 1: the one that the action itself earned is "
            "missing.",
        )
    elif _factor(own * lengths, to_go, ahead) is not None:
        yield Finding(
            "mean-for-sum",
            "Ψ is divided by the length of its own episode: long episodes count less per step, and "
            "the length depends on the actions.",
        )
    elif any(_fits(own, to_go * (1 - 1 / n), ahead) for n in _alive(p)):
        yield Finding(
            "own-sample-in-baseline",
            "the baseline at step t contains its own sample: the scale is 1 − 1/n, of n "
            "trajectories that got there.",
        )
    elif _factor(own, to_go, ahead * _kind(p, "terminated")) is not None:
        yield Finding(
            "truncation-as-termination",
            "episodes that the time limit cut off are weighted otherwise than those that ended: "
            "who is left out depends on the actions.",
        )
    elif _is_over_time(own - to_go, ahead):
        yield _of_steps(p)
    elif (discount := next(_of_discount(own, ahead, gamma), None)) is not None:
        yield discount
    elif p.depends_on(p.log_prob, p.relation["own_now"]):
        yield _of_log_prob()
    elif p.depends_on(p.action, p.relation["own_now"]):
        yield Finding(
            "weighted-by-the-action",
            "Ψ at step t is multiplied by something that depends on the action of step t.",
        )
    elif _fits(own, to_go * _of_first_step(own, to_go), ahead):
        yield Finding(
            "steps-weighted",
            "the steps of an episode count differently, though each is part of the gradient.",
        )
    elif p.rewards_count("group", "elsewhere") and _is_between(own / to_go, ahead):
        yield Finding(
            "own-sample-in-baseline",
            "the baseline is made of several trajectories, its own sample among them: part of "
            "every reward is taken away again.",
            {"weight of r_t in Ψ_t": float(own[now > 0].mean())},
        )
    elif p.is_linear:
        yield Finding(
            "own-rewards-misweighted",
            "the rewards from step t on are not weighted as in a return.",
            {"weight of r_t in Ψ_t": float(own[now > 0].mean())},
        )


def _of_no_future(p: Portrait) -> Finding:
    if p.rewards_count("own_past"):
        return Finding(
            "looks-at-the-past",
            "looks at the past: Ψ_t sums the rewards up to step t, not those from it on.",
        )
    return Finding(
        "immediate-reward",
        "Ψ_t contains the reward of step t alone: what the action leads to does not count.",
    )


def _of_steps(p: Portrait) -> Finding:
    if p.rewards_count("group", "elsewhere"):
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


def _alive(p: Portrait) -> Iterator[Tensor]:
    """How many trajectories of the group, and of the batch, have step t: ``[N, T, 1]``."""
    for size in (p.group_size, len(p.mask)):
        count = p.mask.unflatten(0, (-1, size)).sum(1, keepdim=True).expand(-1, size, -1)
        yield count.flatten(0, 1).unsqueeze(-1).clamp(min=1).double()


def _is_over_time(rest: Tensor, ahead: Tensor) -> bool:
    """Whether what is taken away from a row's own rewards is a mean over its steps.

    Then it is the same at every step, or the same of every reward.
    """
    there = ahead + ahead.mT > 0
    spreads = []
    for axis in (1, 2):
        highest = torch.where(there, rest, -torch.inf).amax(axis)
        lowest = torch.where(there, rest, torch.inf).amin(axis)
        spreads.append((highest - lowest)[there.any(axis)].max())
    return bool(rest[there].abs().max() > CLOSE and min(spreads) < CLOSE)


def _is_between(ratio: Tensor, where: Tensor) -> bool:
    """Whether weights are diminished, not more than to zero."""
    there = ratio[where > 0]
    return bool(there.min() > -CLOSE and there.max() < 1 + CLOSE)


def _of_first_step(own: Tensor, to_go: Tensor) -> Tensor:
    """Weight of the reward r_t in Ψ_t in the longest row, as that of the whole step: ``[T, 1]``."""
    longest = own.diagonal(dim1=1, dim2=2).abs().sum(-1).argmax()
    return (own[longest].diagonal() / to_go[longest].diagonal()).unsqueeze(-1)


def _kind(p: Portrait, name: str) -> Tensor:
    """Rows that ended so, ``[N, 1, 1]``."""
    ended: Tensor = getattr(p.trajectories, name)[0].any(-1)
    return ended.double().view(-1, 1, 1)


def _of_no_weights(p: Portrait, gamma: float) -> Iterator[Finding]:
    """Of a Ψ that is not linear in rewards."""
    if not p.is_homogeneous:
        yield Finding(
            "not-linear-in-rewards",
            "Ψ is bent: twice the reward is not twice the Ψ, as if rewards or advantages were "
            "clipped, squashed or ranked.",
        )
    elif _most_left_out(p) > 1:
        yield Finding(
            "episodes-left-out",
            "whether an episode counts depends on its own return, and so on its actions.",
        )
    elif (change := _baseline_changes(p, gamma)) > CLOSE:
        yield Finding(
            "own-sample-in-baseline",
            "the baseline contains its own sample: it moves with the return that it is subtracted "
            "from, and takes away part of the gradient.",
            {"change of the baseline": change},
        )


def _most_left_out(p: Portrait) -> int:
    """Episodes of one group that do not count."""
    out = p.own.abs().amax((1, 2)) < CLOSE
    return int(out.unflatten(0, (-1, p.group_size)).sum(-1).max())


def _baseline_changes(p: Portrait, gamma: float) -> float:
    """By how much a baseline follows a change of its own episode's rewards from step t on."""
    steps = p.mask.shape[1]
    ahead = of_own_row((p.relation["own_now"] | p.relation["own_future"]).double())
    found = []
    for weights in (from_each_step(steps, gamma), from_the_start(steps, gamma)):
        of_each = [
            ((of_own_row(change) - sign * size * weights) * ahead).abs().max()
            for sign, size, change in ((1, 50.0, p.jumps), (-1, 50.0, p.falls))
        ]
        found.append(float(max(of_each)) / 50.0)
    return min(found)


def _forbidden_knowledge(p: Portrait) -> Iterator[Finding]:
    """What a baseline must not know of: the action, and what came of it."""
    now, future = p.relation["own_now"], p.relation["own_future"]
    if p.depends_on(p.log_prob, now):
        yield _of_log_prob()
    elif p.depends_on(p.action, now):
        yield Finding(
            "baseline-depends-on-the-action",
            "what is subtracted at step t depends on the action of step t: its mean contribution "
            "is not zero.",
        )
    elif (
        p.depends_on(p.action, future)
        or p.depends_on(p.state, future)
        or matters(float(p.without_last.abs().max() / p.psi.pow(2).mean().sqrt().clamp(min=1e-6)))
    ):
        yield Finding(
            "baseline-depends-on-the-future",
            "what is subtracted at step t depends on what came after it (states, actions, or how "
            "long the episode was), and so on the action.",
        )


def _of_log_prob() -> Finding:
    return Finding(
        "depends-on-log-prob",
        "Ψ contains the log-probability of the action: the gradient of another objective.",
    )


def _wrong_sign(figure: float) -> Finding:
    return Finding("wrong-sign", "points the other way: a sign?", {"scale or cosine": figure})


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


def _near(a: float, b: float) -> bool:
    return abs(a - b) < CLOSE * abs(b)


def _factor(own: Tensor, weights: Tensor, where: Tensor) -> float | None:
    """The k with own = k · weights, if there is one other than zero."""
    w = weights * where
    factor = float((own * w).sum() / w.pow(2).sum().clamp(min=1e-12))
    residual = ((own - factor * weights) * where).abs().max()
    return factor if residual < CLOSE * abs(factor) else None


def _fits(own: Tensor, weights: Tensor, where: Tensor) -> bool:
    """Whether they are the weights, but for a factor that is the same for all."""
    return _factor(own, weights.expand_as(own), where) is not None
