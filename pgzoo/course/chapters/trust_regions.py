"""Chapter 7: trust regions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Generator, Tensor

from pgzoo.course.answer import Answer
from pgzoo.course.exercise import Args, Exercise
from pgzoo.course.expect import Wrong, of_shape, pair, same
from pgzoo.course.padding import mask_of, ragged, with_padding

CLIP = 0.2
BELOW = "the new policy stands above, and the policy that acted below"
PADDING = "0 · NaN is NaN"
CONSTANT = "Ψ is a number by then"
WAY_BACK = "It is flat where the policy has already moved far"
DESCENT = "The optimiser descends"


def _shapes() -> Iterator[tuple[int, ...]]:
    yield from ((2, 3, 4), (1, 4, 3), (2, 2, 5))


def _log_probs(g: Generator, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Of taken actions, under the new and the old policy; ratios of 0.5 to 2."""
    old = -0.3 - torch.rand(shape, generator=g)
    return old + 0.5 * torch.randn(shape, generator=g).clamp(-1.4, 1.4), old


def _normal(g: Generator, shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=g)


def _least(ratio: Tensor, psi: Tensor, clip: float) -> Tensor:
    return torch.minimum(ratio * psi, ratio.clamp(1 - clip, 1 + clip) * psi)


def _ratio_cases(g: Generator) -> Iterator[Args]:
    for shape in _shapes():
        yield *_log_probs(g, shape), ragged(g, *shape[:-1], steps=shape[-1])


importance_ratio = Exercise(
    name="importance_ratio",
    chapter=7,
    task="Ratios of every step, 1 in the padding, [S, N, T], and their product [S, N].",
    read=BELOW,
    cases=_ratio_cases,
)


@importance_ratio.property(
    "probabilities 0.6 and 0.2, where the old ones were 0.3 and 0.4, give the ratios 2 and 0.5 "
    "and the product 1"
)
def _ratio_by_hand(answer: Answer, g: Generator) -> None:
    new, old = torch.tensor([[[0.6, 0.2]]]).log(), torch.tensor([[[0.3, 0.4]]]).log()
    ratio, weight = _ratios(answer, new, old, torch.tensor([[[True, True]]]))
    same(ratio, [[[2.0, 0.5]]], "the ratio")
    same(weight, [[1.0]], "the product")


@importance_ratio.property("the ratio is 1 where the mask is false", mistake="missing-mask")
def _ratio_of_padding(answer: Answer, g: Generator) -> None:
    for new, old, mask in _ratio_cases(g):
        ratio, _ = _ratios(answer, new, old, mask)
        same(ratio[~mask], torch.ones(int((~mask).sum())), "the ratio in the padding")


@importance_ratio.property(
    "what stands in the padding changes nothing, be it NaN (0 · NaN is NaN: take "
    "torch.where(mask, …, 0))",
    mistake="missing-mask",
    read=PADDING,
)
def _ratio_padding(answer: Answer, g: Generator) -> None:
    for new, old, mask in _ratio_cases(g):
        above, below = (with_padding(x, mask) for x in (new, old))
        padded, plain = _ratios(answer, above, below, mask), _ratios(answer, new, old, mask)
        for found, wanted in zip(padded, plain, strict=True):
            same(found, wanted)


@importance_ratio.property(
    "weighted by the product, all sequences of two actions have the new policy's mean of any f"
)
def _ratio_changes_measure(answer: Answer, g: Generator) -> None:
    logits = _normal(g, (2, 2, 3))  # of the new and the old policy, at two steps
    new, old = logits.log_softmax(-1)
    actions = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    lp, olp = (x[torch.arange(2), actions].unsqueeze(0) for x in (new, old))
    _, weight = _ratios(answer, lp, olp, torch.ones(1, 9, 2, dtype=torch.bool))
    f = _normal(g, (9,))
    found = (olp.sum(-1).exp() * weight * f).sum()
    same(found, (lp.sum(-1).exp() * f).sum(), "the mean of f")


def _ratios(answer: Answer, new: Tensor, old: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    ratio, weight = pair(answer(new, old, mask), "ratio, weight")
    return of_shape(ratio, mask.shape, "ratio"), of_shape(weight, mask.shape[:-1], "weight")


@importance_ratio.twin("inverted-ratio", read=BELOW)
def _old_above(new: Tensor, old: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    ratio = torch.where(mask, old - new, 0).exp()
    return ratio, ratio.prod(-1)


@importance_ratio.twin("missing-mask", read=PADDING)
def _ratio_of_everything(new: Tensor, old: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    ratio = (new - old).exp()
    return ratio, ratio.prod(-1)


@importance_ratio.twin(
    "mean-for-sum", says="The logarithms of the ratios were averaged over the steps, not added up."
)
def _geometric_mean(new: Tensor, old: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    log = torch.where(mask, new - old, 0)
    return log.exp(), (log.sum(-1) / mask.sum(-1)).exp()


def _surrogate_cases(g: Generator) -> Iterator[Args]:
    for shape in _shapes():
        yield *_log_probs(g, shape), _normal(g, shape), CLIP


def _with_derivatives(answer: Answer, *args: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Value, gradient by the log-probability, gradient by Ψ."""
    shape = args[0].shape
    value, slopes = answer.derivatives(*args, of=(0, 2))
    by_log_prob, by_psi = (of_shape(x, shape) for x in slopes)
    return of_shape(value, shape), by_log_prob, by_psi


clipped_surrogate = Exercise(
    name="clipped_surrogate",
    chapter=7,
    task="min(ρΨ, clip(ρ, 1−ε, 1+ε)Ψ) of every step, differentiable by the log-probability.",
    read="the smaller of the two, so that the surrogate is never more than ρΨ",
    cases=_surrogate_cases,
    observe=_with_derivatives,
)


@clipped_surrogate.property("it is Ψ where the policy has not changed, and its derivative is Ψ")
def _surrogate_at_old(answer: Answer, g: Generator) -> None:
    for _, old, psi, clip in _surrogate_cases(g):
        value, slope, _ = _with_derivatives(answer, old, old, psi, clip)
        same(value, psi)
        same(slope, psi, "the derivative by the log-probability")


@clipped_surrogate.property(
    "no gradient flows into Ψ", mistake="gradient-through-psi", read=CONSTANT
)
def _surrogate_constant(answer: Answer, g: Generator) -> None:
    for args in _surrogate_cases(g):
        by_psi = _with_derivatives(answer, *args)[2]
        same(by_psi, torch.zeros_like(by_psi), "the derivative by Ψ")


@clipped_surrogate.property("it is ρΨ as long as ρ is within 1 ± ε")
def _surrogate_within(answer: Answer, g: Generator) -> None:
    for _, old, psi, clip in _surrogate_cases(g):
        small = 0.9 * clip * (2 * torch.rand(old.shape, generator=g, dtype=old.dtype) - 1)
        same(answer(old + small.log1p(), old, psi, clip), (1 + small) * psi)


@clipped_surrogate.property("it is never more than ρΨ", mistake="wrong-clip-side")
def _surrogate_bound(answer: Answer, g: Generator) -> None:
    for new, old, psi, clip in _surrogate_cases(g):
        most = (new - old).exp() * psi
        value = of_shape(answer(new, old, psi, clip), most.shape)
        above = value > most + 1e-5
        if bool(above.any()):
            raise Wrong(f"Expected at most ρΨ = {most[above][0]:.4g}, got {value[above][0]:.4g}.")


_FOUR_RATIOS = torch.tensor([[[1.5, 0.5, 1.5, 0.5]]])
_FOUR_PSIS = torch.tensor([[[1.0, 1.0, -1.0, -1.0]]])


@clipped_surrogate.property(
    "for (ρ, Ψ) = (1.5, 1), (0.5, 1), (1.5, −1), (0.5, −1) and ε = 0.2 it is 1.2, 0.5, −1.5, −0.8, "
    "with derivatives 0, 0.5, −1.5, 0"
)
def _surrogate_by_hand(answer: Answer, g: Generator) -> None:
    old = torch.full((1, 1, 4), -2.0)
    value, slope, _ = _with_derivatives(answer, old + _FOUR_RATIOS.log(), old, _FOUR_PSIS, CLIP)
    same(value, [[[1.2, 0.5, -1.5, -0.8]]])
    same(slope, [[[0.0, 0.5, -1.5, 0.0]]], "the derivative by the log-probability")


@clipped_surrogate.twin("wrong-sign")
def _as_a_loss(new: Tensor, old: Tensor, psi: Tensor, clip: float) -> Tensor:
    return -_least((new - old).exp(), psi.detach(), clip)


@clipped_surrogate.twin("inverted-ratio", read=BELOW)
def _surrogate_inverted(new: Tensor, old: Tensor, psi: Tensor, clip: float) -> Tensor:
    return _least((old - new).exp(), psi.detach(), clip)


@clipped_surrogate.twin("gradient-through-psi", read=CONSTANT)
def _psi_attached(new: Tensor, old: Tensor, psi: Tensor, clip: float) -> Tensor:
    return _least((new - old).exp(), psi, clip)


@clipped_surrogate.twin(
    "wrong-clip-side", says="The larger of the two was taken, and the bound is lost.", read=WAY_BACK
)
def _larger(new: Tensor, old: Tensor, psi: Tensor, clip: float) -> Tensor:
    return -_least((new - old).exp(), -psi.detach(), clip)


def _weight_cases(g: Generator) -> Iterator[Args]:
    for shape in _shapes():
        new, old = _log_probs(g, shape)
        yield (new - old).exp(), _normal(g, shape), CLIP


effective_weight = Exercise(
    name="effective_weight",
    chapter=7,
    task="What stands before ∇log π in the gradient of the clipped surrogate, [S, N, T].",
    read="ρΨ where the surrogate is ρΨ, and 0 where it is flat",
    cases=_weight_cases,
)


@effective_weight.property("it is Ψ where ρ is 1")
def _weight_at_old(answer: Answer, g: Generator) -> None:
    for ratio, psi, clip in _weight_cases(g):
        same(answer(torch.ones_like(ratio), psi, clip), psi)


@effective_weight.property("it is ρΨ as long as ρ is within 1 ± ε")
def _weight_within(answer: Answer, g: Generator) -> None:
    for ratio, psi, clip in _weight_cases(g):
        near = 1 + 0.9 * clip * (ratio - 1).clamp(-1, 1)
        same(answer(near, psi, clip), near * psi)


@effective_weight.property(
    "for (ρ, Ψ) = (1.5, 1), (0.5, 1), (1.5, −1), (0.5, −1) and ε = 0.2 it is 0, 0.5, −1.5, 0",
    mistake="wrong-clip-side",
)
def _weight_by_hand(answer: Answer, g: Generator) -> None:
    same(answer(_FOUR_RATIOS, _FOUR_PSIS, CLIP), [[[0.0, 0.5, -1.5, 0.0]]])


@effective_weight.property("it is the slope of the surrogate in log ρ")
def _weight_is_slope(answer: Answer, g: Generator) -> None:
    step = 1e-6
    for ratio, psi, clip in _weight_cases(g):
        near_edge = ((ratio - 1).abs() - clip).abs() < 1e-3
        ratio = torch.where(near_edge, 1.0, ratio)
        up, down = (_least(ratio.double() * (1 + s), psi, clip) for s in (step, -step))
        same(answer(ratio, psi, clip), (up - down) / (2 * step))


@effective_weight.twin("wrong-sign")
def _weight_turned_round(ratio: Tensor, psi: Tensor, clip: float) -> Tensor:
    return -torch.where(_bites(ratio, psi, clip), 0, ratio * psi)


@effective_weight.twin(
    "wrong-clip-side",
    says="Steps were dropped wherever ρ is outside 1 ± ε, whatever the sign of Ψ.",
    read=WAY_BACK,
)
def _weight_both_sides(ratio: Tensor, psi: Tensor, clip: float) -> Tensor:
    return torch.where((ratio - 1).abs() > clip, 0, ratio * psi)


def _bites(ratio: Tensor, psi: Tensor, clip: float) -> Tensor:
    return torch.where(psi > 0, ratio > 1 + clip, ratio < 1 - clip)


def _distance_cases(g: Generator) -> Iterator[Args]:
    for shape in _shapes():
        yield (
            *_log_probs(g, shape),
            _normal(g, shape),
            ragged(g, *shape[:-1], steps=shape[-1]),
            CLIP,
        )


how_far = Exercise(
    name="how_far",
    chapter=7,
    task="KL(π_old ‖ π) by k3 and the share of steps where clipping bites, (kl [S], clipped [S]).",
    read="both are means over the real steps of a replica",
    cases=_distance_cases,
)


@how_far.property("it is 0 and 0 where the policy has not changed")
def _no_distance(answer: Answer, g: Generator) -> None:
    for _, old, psi, mask, clip in _distance_cases(g):
        for found in _distances(answer, old, old, psi, mask, clip):
            same(found, torch.zeros(len(mask)))


@how_far.property(
    "for ρ = 2, 0.5 and Ψ = 1, 1 the KL is the mean of 2 − 1 − log 2 and 0.5 − 1 − log 0.5, that "
    "is 0.25, and clipping bites at one of two steps"
)
def _distance_by_hand(answer: Answer, g: Generator) -> None:
    old = torch.full((1, 1, 2), -2.0)
    new, both = old + torch.tensor([2.0, 0.5]).log(), torch.ones(1, 1, 2, dtype=torch.bool)
    kl, clipped = _distances(answer, new, old, torch.ones(1, 1, 2), both, CLIP)
    same(kl, [0.25], "the KL")
    same(clipped, [0.5], "the clipped share")


@how_far.property(
    "what stands in the padding changes nothing, be it NaN (0 · NaN is NaN: take "
    "torch.where(mask, …, 0), or the real steps alone)",
    mistake="missing-mask",
    read=PADDING,
)
def _distance_padding(answer: Answer, g: Generator) -> None:
    for new, old, psi, mask, clip in _distance_cases(g):
        padded = [with_padding(x, mask) for x in (new, old, psi)]
        before = _distances(answer, new, old, psi, mask, clip)
        for found, wanted in zip(_distances(answer, *padded, mask, clip), before, strict=True):
            same(found, wanted)


@how_far.property(
    "all real steps count alike: for ρ = (2, 2) in one row and 0.5 in another of one step, and "
    "Ψ = 1, the KL is (2(1 − log 2) + log 2 − 0.5)/3 and clipping bites at two of three steps",
    mistake="mean-for-sum",
)
def _distance_rows(answer: Answer, g: Generator) -> None:
    old, mask = torch.full((1, 2, 2), -2.0), mask_of([[2, 1]])
    new = old + torch.tensor([[[2.0, 2.0], [0.5, 2.0]]]).log()
    kl, clipped = _distances(answer, new, old, torch.ones(1, 2, 2), mask, CLIP)
    same(kl, [(1.5 - math.log(2)) / 3], "the KL")
    same(clipped, [2 / 3], "the clipped share")


@how_far.property("rows twice over change nothing", mistake="sum-for-mean")
def _distance_twice(answer: Answer, g: Generator) -> None:
    for *tensors, clip in _distance_cases(g):
        twice = _distances(answer, *(x.repeat(1, 2, 1) for x in tensors), clip)
        for found, wanted in zip(twice, _distances(answer, *tensors, clip), strict=True):
            same(found, wanted)


@how_far.property(
    "clipping bites where Ψ > 0 and ρ > 1 + ε, or Ψ < 0 and ρ < 1 − ε, and nowhere else",
    mistake="wrong-clip-side",
)
def _distance_sides(answer: Answer, g: Generator) -> None:
    old = torch.full((4, 1, 1), -2.0)
    new = old + _FOUR_RATIOS.view(4, 1, 1).log()
    there = torch.ones(4, 1, 1, dtype=torch.bool)
    _, clipped = _distances(answer, new, old, _FOUR_PSIS.view(4, 1, 1), there, CLIP)
    same(clipped, [1.0, 0.0, 0.0, 1.0], "the clipped share")


@how_far.property("over all actions of a state, weighted by π_old, the KL is the exact one")
def _distance_exact(answer: Answer, g: Generator) -> None:
    new, old = _normal(g, (2, 4)).log_softmax(-1)
    args = (x.view(4, 1, 1) for x in (new, old, torch.ones(4)))
    kl, _ = _distances(answer, *args, torch.ones(4, 1, 1, dtype=torch.bool), CLIP)
    same((old.exp() * kl).sum(), (old.exp() * (old - new)).sum(), "the KL")


def _distances(answer: Answer, *args: Any) -> list[Tensor]:
    found = pair(answer(*args), "kl, clipped")
    replicas = args[0].shape[:1]
    return [of_shape(x, replicas, n) for x, n in zip(found, ("kl", "clipped"), strict=True)]


def _k3(new: Tensor, old: Tensor) -> Tensor:
    return (new - old).exp() - 1 - (new - old)


def _over_steps(x: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, x, 0).sum((1, 2)) / mask.sum((1, 2))


def _share(new: Tensor, old: Tensor, psi: Tensor, mask: Tensor, clip: float) -> Tensor:
    return _over_steps(_bites((new - old).exp(), psi, clip).double(), mask)


@how_far.twin("inverted-ratio", read=BELOW)
def _distance_back(
    new: Tensor, old: Tensor, psi: Tensor, mask: Tensor, clip: float
) -> tuple[Tensor, Tensor]:
    return _over_steps(_k3(old, new), mask), _share(old, new, psi, mask, clip)


@how_far.twin("wrong-sign", says="The logarithm is added where it should be subtracted.")
def _distance_negative(
    new: Tensor, old: Tensor, psi: Tensor, mask: Tensor, clip: float
) -> tuple[Tensor, Tensor]:
    added = (new - old).exp() - 1 + (new - old)
    return _over_steps(added, mask), _share(new, old, psi, mask, clip)


@how_far.twin("missing-mask", read=PADDING)
def _distance_of_everything(
    new: Tensor, old: Tensor, psi: Tensor, mask: Tensor, clip: float
) -> tuple[Tensor, Tensor]:
    everything = torch.ones_like(mask)
    return _over_steps(_k3(new, old), everything), _share(new, old, psi, everything, clip)


@how_far.twin("sum-for-mean")
def _distance_summed(
    new: Tensor, old: Tensor, psi: Tensor, mask: Tensor, clip: float
) -> tuple[Tensor, Tensor]:
    steps = mask.sum((1, 2))
    mean = _over_steps(_k3(new, old), mask)
    return mean * steps, _share(new, old, psi, mask, clip) * steps


@how_far.twin(
    "mean-for-sum", says="Every row's steps were averaged first, and then the rows' means."
)
def _distance_by_row(
    new: Tensor, old: Tensor, psi: Tensor, mask: Tensor, clip: float
) -> tuple[Tensor, Tensor]:
    bites = _bites((new - old).exp(), psi, clip).double()
    kl, clipped = (
        (torch.where(mask, x, 0).sum(-1) / mask.sum(-1)).mean(-1) for x in (_k3(new, old), bites)
    )
    return kl, clipped


@how_far.twin(
    "wrong-clip-side",
    says="Steps were counted wherever ρ is outside 1 ± ε, whatever the sign of Ψ.",
    read=WAY_BACK,
)
def _distance_both_sides(
    new: Tensor, old: Tensor, psi: Tensor, mask: Tensor, clip: float
) -> tuple[Tensor, Tensor]:
    outside = (((new - old).exp() - 1).abs() > clip).double()
    return _over_steps(_k3(new, old), mask), _over_steps(outside, mask)


def _loss_cases(g: Generator) -> Iterator[Args]:
    for _, *shape in _shapes():
        rows, steps = shape
        logits = _normal(g, (rows, steps, 3))
        action = torch.randint(3, (rows, steps), generator=g)
        taken = _of_action(logits, action)
        old = taken + 0.4 * _normal(g, (rows, steps)).clamp(-1.5, 1.5)
        yield logits, action, old, _normal(g, (rows, steps)), ragged(g, rows, steps=steps), CLIP


def _of_action(logits: Tensor, action: Tensor) -> Tensor:
    return logits.log_softmax(-1).gather(-1, action.unsqueeze(-1)).squeeze(-1)


def _loss(answer: Answer, *args: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Value, and gradients by logits everywhere, and by Ψ at the real steps."""
    mask = args[4]
    value, slopes = answer.derivatives(*args, of=(0, 3))
    by_logits, by_psi = (of_shape(x, args[i].shape) for x, i in zip(slopes, (0, 3), strict=True))
    return of_shape(value, [], "the loss"), by_logits, by_psi[mask]


ppo_loss = Exercise(
    name="ppo_loss",
    chapter=7,
    task="The loss of PPO on a minibatch: what a step of gradient descent makes smaller.",
    read="the loss is minus the mean of the surrogate over the real steps",
    cases=_loss_cases,
    observe=_loss,
)


@ppo_loss.property("where the policy has not changed, the loss is minus the mean of Ψ")
def _loss_at_old(answer: Answer, g: Generator) -> None:
    for logits, action, _, psi, mask, clip in _loss_cases(g):
        value, _, _ = _loss(answer, logits, action, _of_action(logits, action), psi, mask, clip)
        same(value, -psi[mask].mean(), "the loss")


@ppo_loss.property("no gradient flows into Ψ", mistake="gradient-through-psi", read=CONSTANT)
def _loss_constant(answer: Answer, g: Generator) -> None:
    for args in _loss_cases(g):
        by_psi = _loss(answer, *args)[2]
        same(by_psi, torch.zeros_like(by_psi), "the derivative by Ψ")


@ppo_loss.property(
    "what stands in the padding changes nothing, be it NaN, not in the gradient either (0 · NaN is "
    "NaN, also backwards: take the real steps alone, or torch.where(mask, …, 0) before exp)",
    mistake="missing-mask",
    read=PADDING,
)
def _loss_padding(answer: Answer, g: Generator) -> None:
    for logits, action, old, psi, mask, clip in _loss_cases(g):
        padded = [with_padding(x, mask) for x in (old, psi)]
        value, by_logits, by_psi = _loss(answer, logits, action, *padded, mask, clip)
        plain = _loss(answer, logits, action, old, psi, mask, clip)
        same(value, plain[0], "the loss")
        same(by_logits[mask], plain[1][mask], "the gradient by the logits at the real steps")
        nothing = torch.zeros_like(by_logits[~mask])
        same(by_logits[~mask], nothing, "the gradient by the logits in the padding")
        same(by_psi, plain[2], "the gradient by Ψ at the real steps")


@ppo_loss.property("rows twice over change nothing", mistake="sum-for-mean")
def _loss_twice(answer: Answer, g: Generator) -> None:
    for *tensors, clip in _loss_cases(g):
        twice = answer(*(x.repeat(2, *[1] * (x.ndim - 1)) for x in tensors), clip)
        same(twice, answer(*tensors, clip), "the loss")


@ppo_loss.property(
    "one step with ρ = 1.5 has the loss −1.2 for Ψ = 1 and 1.5 for Ψ = −1; with ρ = 0.5, −0.5 and "
    "0.8; its gradient by the logits is −w(1(a = b) − π(b|s)) with w = 0, −1.5 and 0.5, 0",
    mistake="wrong-clip-side",
)
def _loss_by_hand(answer: Answer, g: Generator) -> None:
    pi, there = torch.tensor([0.6, 0.3, 0.1]), torch.tensor([[True]])
    logits = pi.log().view(1, 1, 3)
    for chosen, before, psi, loss, weight in (
        (0, 0.4, 1.0, -1.2, 0.0),  # ρ = 0.6/0.4
        (0, 0.4, -1.0, 1.5, -1.5),
        (1, 0.6, 1.0, -0.5, 0.5),  # ρ = 0.3/0.6
        (1, 0.6, -1.0, 0.8, 0.0),
    ):
        action, old = torch.tensor([[chosen]]), torch.tensor([[before]]).log()
        value, slope, _ = _loss(answer, logits, action, old, torch.tensor([[psi]]), there, CLIP)
        same(value, loss, "the loss")
        score = torch.nn.functional.one_hot(action, 3) - pi
        same(slope, -weight * score, "the gradient by the logits")


@ppo_loss.property(
    "where the policy has not changed, its gradient by the logits is −Ψ(1(a = b) − π(b|s)), over "
    "the number of real steps"
)
def _loss_gradient(answer: Answer, g: Generator) -> None:
    for logits, action, _, psi, mask, clip in _loss_cases(g):
        old = _of_action(logits, action)
        _, slope, _ = _loss(answer, logits, action, old, psi, mask, clip)
        score = torch.nn.functional.one_hot(action, 3) - logits.softmax(-1)
        same(slope[mask], -(psi.unsqueeze(-1) * score)[mask] / mask.sum(), "the gradient")


def _surrogate(new: Tensor, old: Tensor, psi: Tensor, mask: Tensor, clip: float) -> Tensor:
    return _least((new - old)[mask].exp(), psi[mask], clip)


@ppo_loss.twin("wrong-sign", read=DESCENT)
def _loss_of_descent(
    logits: Tensor, action: Tensor, old: Tensor, psi: Tensor, mask: Tensor, clip: float
) -> Tensor:
    return _surrogate(_of_action(logits, action), old, psi.detach(), mask, clip).mean()


@ppo_loss.twin("missing-mask", read=PADDING)
def _loss_of_everything(
    logits: Tensor, action: Tensor, old: Tensor, psi: Tensor, mask: Tensor, clip: float
) -> Tensor:
    everything = torch.ones_like(mask)
    return -_surrogate(_of_action(logits, action), old, psi.detach(), everything, clip).mean()


@ppo_loss.twin("sum-for-mean")
def _loss_summed(
    logits: Tensor, action: Tensor, old: Tensor, psi: Tensor, mask: Tensor, clip: float
) -> Tensor:
    return -_surrogate(_of_action(logits, action), old, psi.detach(), mask, clip).sum()


@ppo_loss.twin(
    "mean-for-sum", says="Every row's steps were averaged first, and then the rows' means."
)
def _loss_by_row(
    logits: Tensor, action: Tensor, old: Tensor, psi: Tensor, mask: Tensor, clip: float
) -> Tensor:
    new = _of_action(logits, action)
    step = torch.where(mask, _least((new - old).exp(), psi.detach(), clip), 0)
    return -(step.sum(-1) / mask.sum(-1)).mean()


@ppo_loss.twin("wrong-action", says="The log-probability is that of the most probable action.")
def _loss_of_best(
    logits: Tensor, action: Tensor, old: Tensor, psi: Tensor, mask: Tensor, clip: float
) -> Tensor:
    return -_surrogate(logits.log_softmax(-1).amax(-1), old, psi.detach(), mask, clip).mean()


@ppo_loss.twin("gradient-through-psi", read=CONSTANT)
def _loss_attached(
    logits: Tensor, action: Tensor, old: Tensor, psi: Tensor, mask: Tensor, clip: float
) -> Tensor:
    return -_surrogate(_of_action(logits, action), old, psi, mask, clip).mean()


@ppo_loss.twin("inverted-ratio", read=BELOW)
def _loss_inverted(
    logits: Tensor, action: Tensor, old: Tensor, psi: Tensor, mask: Tensor, clip: float
) -> Tensor:
    return -_surrogate(old, _of_action(logits, action), psi.detach(), mask, clip).mean()


@ppo_loss.twin(
    "wrong-clip-side", says="The larger of the two was taken, and the bound is lost.", read=WAY_BACK
)
def _loss_of_larger(
    logits: Tensor, action: Tensor, old: Tensor, psi: Tensor, mask: Tensor, clip: float
) -> Tensor:
    return _surrogate(_of_action(logits, action), old, -psi.detach(), mask, clip).mean()
