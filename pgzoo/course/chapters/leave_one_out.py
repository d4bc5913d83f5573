"""Chapter 5: leave one out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from torch import Generator, Tensor

from pgzoo.course.answer import Answer
from pgzoo.course.exercise import Args, Exercise
from pgzoo.course.expect import Wrong, numbers, of_shape, pair, same
from pgzoo.course.padding import mask_of, ragged, with_padding
from pgzoo.lab import exact_gradient, mdps, score_gradients, simulate
from pgzoo.policies.networks import Table
from pgzoo.sampling.trajectories import Trajectories

OTHERS = "the others know nothing of my actions"
ADJACENT = "The members of a group are adjacent rows"
PADDING = "0 · NaN is NaN"


def _returns(g: Generator) -> Iterator[Args]:
    for groups, size in ((2, 3), (3, 2), (1, 5), (2, 4)):
        level = 10 * torch.randn(1, groups, 1, generator=g)
        noise = torch.randn(2, groups, size, generator=g)
        yield (level + noise).flatten(1), size


def _grouped(x: Tensor, group_size: int) -> Tensor:
    """Rows ``[S, N]`` as groups, ``[S, G, K]``."""
    return x.unflatten(1, (-1, group_size))


leave_one_out = Exercise(
    name="leave_one_out",
    chapter=5,
    task="R_k less the mean of the other members of its group, [S, N].",
    read="the baseline of member k is the mean of the other K − 1",
    cases=_returns,
)


@leave_one_out.property("for returns 1, 2, 6 in one group the advantages are −3, −1.5, 4.5")
def _by_hand(answer: Answer, g: Generator) -> None:
    same(answer(torch.tensor([[1.0, 2.0, 6.0]]), 3), [[-3.0, -1.5, 4.5]])


leave_one_out.keeps_shape("returns")


@leave_one_out.property("what another group earns changes nothing", mistake="other-groups-returns")
def _groups_apart(answer: Answer, g: Generator) -> None:
    for returns, size in _returns(g):
        others = returns.clone()
        others[:, size:] *= -3.0
        same(_first(answer(others, size), size), _first(answer(returns, size), size))


@leave_one_out.property("an advantage rises one for one with the member's own return")
def _own_return(answer: Answer, g: Generator) -> None:
    for returns, size in _returns(g):
        more = returns.clone()
        more[:, 1] += 1.0
        change = numbers(answer(more, size)) - numbers(answer(returns, size))
        same(change[:, 1], torch.ones(len(returns)), "the change")


@leave_one_out.property("it falls by 1/(K − 1) if another member of the group earns one more")
def _others_returns(answer: Answer, g: Generator) -> None:
    for returns, size in _returns(g):
        more = returns.clone()
        more[:, 0] += 1.0
        change = numbers(answer(more, size)) - numbers(answer(returns, size))
        expected = torch.zeros_like(change)
        expected[:, 1:size] = -1 / (size - 1)
        expected[:, 0] = 1.0
        same(change, expected, "the change")


@leave_one_out.property("the same number added to all returns changes nothing")
def _level(answer: Answer, g: Generator) -> None:
    for returns, size in _returns(g):
        same(answer(returns + 7.0, size), answer(returns, size))


@leave_one_out.property("a group's advantages add up to zero")
def _zero_sum(answer: Answer, g: Generator) -> None:
    for returns, size in _returns(g):
        _adds_up_to_zero(_grouped(of_shape(answer(returns, size), returns.shape), size))


def _adds_up_to_zero(group: Tensor) -> None:
    """The sum of ``[S, G, K]`` over K, up to the rounding of its parts."""
    same(group[..., 1:].sum(-1), -group[..., 0], "the sum of a group but its first member")


def _first(value: Any, group_size: int) -> Tensor:
    """The first group's part of ``[S, N]`` or ``[S, N, T]``."""
    return numbers(value)[:, :group_size]


@leave_one_out.twin("own-sample-in-baseline", read=OTHERS)
def _with_own_sample(returns: Tensor, group_size: int) -> Tensor:
    group = _grouped(returns, group_size)
    return (group - group.mean(-1, keepdim=True)).flatten(1)


@leave_one_out.twin("leave-one-out-without-factor")
def _without_factor(returns: Tensor, group_size: int) -> Tensor:
    group = _grouped(returns, group_size)
    others = group.sum(-1, keepdim=True) - group
    return (group - others / group_size).flatten(1)


@leave_one_out.twin("sum-for-mean", says="The others' returns were added up, not averaged.")
def _sum_of_others(returns: Tensor, group_size: int) -> Tensor:
    group = _grouped(returns, group_size)
    return (2 * group - group.sum(-1, keepdim=True)).flatten(1)


@leave_one_out.twin("wrong-sign")
def _baseline_less_return(returns: Tensor, group_size: int) -> Tensor:
    group = _grouped(returns, group_size)
    others = (group.sum(-1, keepdim=True) - group) / (group_size - 1)
    return (others - group).flatten(1)


@leave_one_out.twin(
    "other-groups-returns", says="The baseline is over all rows of the batch.", read=ADJACENT
)
def _over_the_batch(returns: Tensor, group_size: int) -> Tensor:
    others = (returns.sum(-1, keepdim=True) - returns) / (returns.shape[-1] - 1)
    return returns - others


def _returns_and_scores(g: Generator) -> Iterator[Args]:
    for returns, size in _returns(g):
        yield returns, torch.randn(*returns.shape, 3, generator=g), size


pairwise_gradient = Exercise(
    name="pairwise_gradient",
    chapter=5,
    task="Over all pairs of a group, the mean of (R_j − R_k)(S_j − S_k)/2; over groups, [S, P].",
    read="the estimate of a group is the mean over its pairs of half the product",
    cases=_returns_and_scores,
)


@pairwise_gradient.property(
    "two members with returns 1 and 3 and scores (1, 0) and (0, 1) give (−1, 1)"
)
def _pair_by_hand(answer: Answer, g: Generator) -> None:
    scores = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    same(answer(torch.tensor([[1.0, 3.0]]), scores, 2), [[-1.0, 1.0]])


@pairwise_gradient.property("the result is one vector for each replica, [S, P]")
def _pair_shape(answer: Answer, g: Generator) -> None:
    for returns, scores, size in _returns_and_scores(g):
        of_shape(answer(returns, scores, size), (len(scores), scores.shape[-1]))


@pairwise_gradient.property(
    "a batch that holds the same groups twice gives the same", mistake="sum-for-mean"
)
def _same_groups_twice(answer: Answer, g: Generator) -> None:
    for returns, scores, size in _returns_and_scores(g):
        twice = answer(returns.repeat(1, 2), scores.repeat(1, 2, 1), size)
        same(twice, answer(returns, scores, size))


@pairwise_gradient.property(
    "a number added to all returns of one group changes nothing", mistake="other-groups-returns"
)
def _level_of_a_group(answer: Answer, g: Generator) -> None:
    for returns, scores, size in _returns_and_scores(g):
        more = returns.clone()
        more[:, :size] += 10.0
        same(answer(more, scores, size), answer(returns, scores, size))


@pairwise_gradient.property("a vector added to all scores changes nothing")
def _level_of_scores(answer: Answer, g: Generator) -> None:
    for returns, scores, size in _returns_and_scores(g):
        shift = torch.tensor([1.0, -2.0, 5.0], dtype=scores.dtype)
        same(answer(returns, scores + shift, size), answer(returns, scores, size))


@pairwise_gradient.property(
    "if member k alone earns 1 more, the estimate moves by (S_k less the others' mean)/N"
)
def _one_earns_more(answer: Answer, g: Generator) -> None:
    for returns, scores, size in _returns_and_scores(g):
        more = returns.clone()
        more[:, 0] += 1.0
        change = numbers(answer(more, scores, size)) - numbers(answer(returns, scores, size))
        others = scores[:, 1:size].mean(1)
        same(change, (scores[:, 0] - others) / returns.shape[1], "the change")


def _sum_over_pairs(returns: Tensor, scores: Tensor) -> Tensor:
    """Σ_{j<k} (R_j − R_k)(S_j − S_k) of groups ``[S, G, K]`` and ``[S, G, K, P]``: [S, G, P]."""
    gaps = returns.unsqueeze(-1) - returns.unsqueeze(-2)
    ways = scores.unsqueeze(-2) - scores.unsqueeze(-3)
    return (gaps.unsqueeze(-1) * ways).sum((2, 3)) / 2


@pairwise_gradient.twin(
    "leave-one-out-without-factor",
    says="The sum over pairs was divided by K², though only K(K − 1) of them are of two rollouts.",
)
def _all_k_squared(returns: Tensor, scores: Tensor, group_size: int) -> Tensor:
    pairs = _sum_over_pairs(_grouped(returns, group_size), _grouped(scores, group_size))
    return pairs.mean(1) / group_size**2


@pairwise_gradient.twin("sum-for-mean", says="The groups' estimates were added up, not averaged.")
def _sum_over_groups(returns: Tensor, scores: Tensor, group_size: int) -> Tensor:
    pairs = _sum_over_pairs(_grouped(returns, group_size), _grouped(scores, group_size))
    return pairs.sum(1) / (group_size * (group_size - 1))


@pairwise_gradient.twin("wrong-sign", says="One difference is j less k, the other one k less j.")
def _crossed(returns: Tensor, scores: Tensor, group_size: int) -> Tensor:
    pairs = _sum_over_pairs(-_grouped(returns, group_size), _grouped(scores, group_size))
    return pairs.mean(1) / (group_size * (group_size - 1))


@pairwise_gradient.twin(
    "other-groups-returns", says="Pairs were made of all rows, across the groups.", read=ADJACENT
)
def _pairs_of_all_rows(returns: Tensor, scores: Tensor, group_size: int) -> Tensor:
    rows = returns.shape[1]
    pairs = _sum_over_pairs(returns.unsqueeze(1), scores.unsqueeze(1))
    return pairs.mean(1) / (rows * (rows - 1))


def _several_groups(g: Generator) -> Iterator[Args]:
    for groups, size in ((2, 3), (3, 2), (4, 4)):
        level = 5 * torch.randn(2, groups, 1, generator=g)
        noise = torch.randn(2, groups, size, generator=g)
        yield (level + noise).flatten(1), size


between_within_variance = Exercise(
    name="between_within_variance",
    chapter=5,
    task="Variance of the return between starts and within a start, (between [S], within [S]).",
    read="the variance of the group means is too large by the variance within, divided by K",
    cases=_several_groups,
)


@between_within_variance.property("the groups (1, 3) and (6, 10) give 15.5 between and 5 within")
def _two_groups_by_hand(answer: Answer, g: Generator) -> None:
    between, within = _both(answer, torch.tensor([[1.0, 3.0, 6.0, 10.0]]), 2)
    same(within, [5.0], "within")
    same(between, [15.5], "between")


@between_within_variance.property("both results have one number for each replica, [S]")
def _two_shapes(answer: Answer, g: Generator) -> None:
    for returns, size in _several_groups(g):
        for value, name in zip(_both(answer, returns, size), ("between", "within"), strict=True):
            of_shape(value, returns.shape[:1], name)


@between_within_variance.property(
    "other levels of the groups change nothing within", mistake="other-groups-returns"
)
def _levels_and_within(answer: Answer, g: Generator) -> None:
    for returns, size in _several_groups(g):
        moved = returns.clone()
        moved[:, :size] += 20.0
        same(_both(answer, moved, size)[1], _both(answer, returns, size)[1], "within")


@between_within_variance.property("returns twice as large have variances four times as large")
def _variances_scale(answer: Answer, g: Generator) -> None:
    for returns, size in _several_groups(g):
        for found, before in zip(
            _both(answer, 2 * returns, size), _both(answer, returns, size), strict=True
        ):
            same(found, 4 * numbers(before))


@between_within_variance.property(
    "over 10,000 batches, the mean of both is what the returns were drawn with; if all starts are "
    "alike, between is 0 in the mean, and so has to be negative now and then"
)
def _variances_unbiased(answer: Answer, g: Generator) -> None:
    for scale in (2.0, 0.0):
        for groups, size in ((3, 2), (4, 3)):
            level = scale * torch.randn(10_000, groups, 1, generator=g)
            noise = torch.randn(10_000, groups, size, generator=g)
            between, within = _both(answer, (level + noise).flatten(1), size)
            _in_the_mean(between, scale**2, f"between, for groups of {size},")
            _in_the_mean(within, 1.0, f"within, for groups of {size},")


def _in_the_mean(value: Any, true: float, what: str) -> None:
    estimates = of_shape(value, [10_000], what)
    error = estimates.std() / 100
    if not abs(estimates.mean() - true) < 5 * error:
        raise Wrong(
            f"Expected {what} to be {true:g} in the mean; got {estimates.mean():.3g} ± {error:.1g}."
        )


def _both(answer: Answer, returns: Tensor, group_size: int) -> tuple[Any, Any]:
    return pair(answer(returns, group_size), "between, within")


@between_within_variance.twin(
    "wrong-std-correction",
    says="Variances were divided by the number of members and of groups, not by one less.",
)
def _divided_by_n(returns: Tensor, group_size: int) -> tuple[Tensor, Tensor]:
    group = _grouped(returns, group_size)
    within = group.var(-1, correction=0).mean(-1)
    return group.mean(-1).var(-1, correction=0) - within / group_size, within


@between_within_variance.twin(
    "sum-for-mean", says="The groups' variances were added up, not averaged."
)
def _sum_of_variances(returns: Tensor, group_size: int) -> tuple[Tensor, Tensor]:
    group = _grouped(returns, group_size)
    within = group.var(-1).sum(-1)
    return group.mean(-1).var(-1) - within / group_size, within


@between_within_variance.twin(
    "other-groups-returns",
    says="The variance within a start was taken over all rows.",
    read=ADJACENT,
)
def _variance_of_all_rows(returns: Tensor, group_size: int) -> tuple[Tensor, Tensor]:
    group = _grouped(returns, group_size)
    within = returns.var(-1)
    return group.mean(-1).var(-1) - within / group_size, within


def _ragged(g: Generator) -> Iterator[Args]:
    """Returns-to-go of episodes of different lengths; what stands in the padding is no return."""
    for groups, size, steps in ((2, 3, 4), (3, 2, 5), (1, 4, 6)):
        returns = 3 + torch.randn(2, groups * size, steps, generator=g)
        yield returns * 4, ragged(g, 2, groups * size, steps=steps), size


leave_one_out_per_step = Exercise(
    name="leave_one_out_per_step",
    chapter=5,
    task="G_{k,t} less the others' mean at the same step, zero in the padding, [S, N, T].",
    read="only members whose episode is still going on at step t count",
    cases=_ragged,
)


@leave_one_out_per_step.property(
    "returns-to-go (5, 2), (3, –), (1, 6), the second episode being over after one step, give "
    "(3, −4), (0, 0), (−3, 4)"
)
def _steps_by_hand(answer: Answer, g: Generator) -> None:
    returns = torch.tensor([[[5.0, 2.0], [3.0, 8.0], [1.0, 6.0]]])
    mask = torch.tensor([[[True, True], [True, False], [True, True]]])
    found = of_shape(answer(returns, mask, 3), returns.shape)
    same(found[..., 0], [[3.0, 0.0, -3.0]], "the first step")
    same(found[:, [0, 2], 1], [[-4.0, 4.0]], "the second step of those that have one")


@leave_one_out_per_step.property(
    "what stands in the padding changes nothing, be it NaN (0 · NaN is NaN: take "
    "torch.where(mask, returns, 0))",
    mistake="missing-mask",
    read=PADDING,
)
def _steps_padding(answer: Answer, g: Generator) -> None:
    for returns, mask, size in _ragged(g):
        before = of_shape(answer(returns, mask, size), mask.shape)
        after = of_shape(answer(with_padding(returns, mask), mask, size), mask.shape)
        same(after[mask], before[mask])


@leave_one_out_per_step.property(
    "the result is zero where the mask is false", mistake="missing-mask"
)
def _steps_zero(answer: Answer, g: Generator) -> None:
    for returns, mask, size in _ragged(g):
        found = of_shape(answer(returns, mask, size), mask.shape)[~mask]
        same(found, torch.zeros_like(found), "what stands in the padding")


@leave_one_out_per_step.property("who is alone at a step keeps the whole return-to-go")
def _steps_alone(answer: Answer, g: Generator) -> None:
    returns = torch.randn(1, 2, 3, generator=g)
    mask = torch.tensor([[[True, True, True], [True, False, False]]])
    same(of_shape(answer(returns, mask, 2), mask.shape)[0, 0, 1:], returns[0, 0, 1:])


@leave_one_out_per_step.property(
    "what another group earns changes nothing", mistake="other-groups-returns"
)
def _steps_groups_apart(answer: Answer, g: Generator) -> None:
    for returns, mask, size in _ragged(g):
        others = returns.clone()
        others[:, size:] *= -3.0
        same(_first(answer(others, mask, size), size), _first(answer(returns, mask, size), size))


@leave_one_out_per_step.property("another step's returns change nothing", mistake="mean-over-time")
def _steps_apart(answer: Answer, g: Generator) -> None:
    for returns, mask, size in _ragged(g):
        others = returns.clone()
        others[..., 1:] *= -3.0
        first = of_shape(answer(returns, mask, size), mask.shape)[..., 0]
        same(of_shape(answer(others, mask, size), mask.shape)[..., 0], first, "the first step")


@leave_one_out_per_step.property("at a step that all reach, the advantages of a group add up to 0")
def _steps_zero_sum(answer: Answer, g: Generator) -> None:
    for returns, mask, size in _ragged(g):
        first = of_shape(answer(returns, mask, size), mask.shape)[..., 0]
        _adds_up_to_zero(_grouped(first, size))


def _members(returns: Tensor, mask: Tensor, group_size: int) -> tuple[Tensor, Tensor]:
    """Returns without padding, and which are real, both ``[S, G, K, T]``."""
    return _grouped(torch.where(mask, returns, 0), group_size), _grouped(mask, group_size)


def _less(returns: Tensor, mask: Tensor, baseline: Tensor) -> Tensor:
    return torch.where(mask, returns - baseline.expand(mask.shape), 0)


@leave_one_out_per_step.twin("own-sample-in-baseline", read=OTHERS)
def _steps_with_own_sample(returns: Tensor, mask: Tensor, group_size: int) -> Tensor:
    r, real = _members(returns, mask, group_size)
    mean = r.sum(2, keepdim=True) / real.sum(2, keepdim=True).clamp(min=1)
    return _less(returns, mask, mean.expand(r.shape).flatten(1, 2))


@leave_one_out_per_step.twin(
    "leave-one-out-without-factor",
    says="The others' sum was divided by how many are there, the member itself among them.",
)
def _steps_without_factor(returns: Tensor, mask: Tensor, group_size: int) -> Tensor:
    r, real = _members(returns, mask, group_size)
    others = (r.sum(2, keepdim=True) - r) / real.sum(2, keepdim=True).clamp(min=1)
    return _less(returns, mask, others.flatten(1, 2))


@leave_one_out_per_step.twin("missing-mask", read=PADDING)
def _steps_with_padding(returns: Tensor, mask: Tensor, group_size: int) -> Tensor:
    r = _grouped(returns, group_size)
    others = (r.sum(2, keepdim=True) - r) / (group_size - 1)
    return _less(returns, mask, others.flatten(1, 2))


@leave_one_out_per_step.twin(
    "sum-for-mean", says="The others' returns were added up, not averaged."
)
def _steps_sum(returns: Tensor, mask: Tensor, group_size: int) -> Tensor:
    r, _ = _members(returns, mask, group_size)
    return _less(returns, mask, (r.sum(2, keepdim=True) - r).flatten(1, 2))


@leave_one_out_per_step.twin("wrong-sign")
def _steps_turned_round(returns: Tensor, mask: Tensor, group_size: int) -> Tensor:
    return -_steps_right_way(returns, mask, group_size)


@leave_one_out_per_step.twin(
    "other-groups-returns", says="The baseline is over all rows of the batch.", read=ADJACENT
)
def _steps_over_the_batch(returns: Tensor, mask: Tensor, group_size: int) -> Tensor:
    return _steps_right_way(returns, mask, mask.shape[1])


@leave_one_out_per_step.twin("mean-over-time")
def _steps_own_mean(returns: Tensor, mask: Tensor, group_size: int) -> Tensor:
    real = torch.where(mask, returns, 0)
    return _less(returns, mask, real.sum(-1, keepdim=True) / mask.sum(-1, keepdim=True))


def _steps_right_way(returns: Tensor, mask: Tensor, group_size: int) -> Tensor:
    r, real = _members(returns, mask, group_size)
    others = real.sum(2, keepdim=True) - real.to(r.dtype)
    mean = (r.sum(2, keepdim=True) - r) / others.clamp(min=1)
    return _less(returns, mask, mean.flatten(1, 2))


HORIZON, GAMMA = 5, 0.8
_RANDOM = mdps.garnet(0)
_THETA = torch.tensor([[0.4, -0.3, 0.2, 0.1, -0.5, 0.0, 0.3, -0.2]], dtype=torch.float64)
_PI = _THETA.view(4, 2).softmax(-1)


def _batches(g: Generator, batches: int, groups: int, size: int) -> Trajectories:
    seed = int(torch.randint(2**31, (1,), generator=g))
    return simulate(
        _RANDOM,
        _PI,
        horizon=HORIZON,
        batches=batches,
        episodes=groups * size,
        group_size=size,
        seed=seed,
    )


def _padded(t: Trajectories, filler: float) -> Trajectories:
    return dataclasses.replace(t, reward=with_padding(t.reward, t.mask, filler))


def _episodes(g: Generator) -> Iterator[Args]:
    for groups, size in ((2, 3), (3, 2), (2, 4)):
        yield _padded(_batches(g, 2, groups, size), 2.5), GAMMA


def _real(value: Any, t: Trajectories) -> Tensor:
    """Ψ at the real steps."""
    return of_shape(value, t.mask.shape, "Ψ")[t.mask]


rloo_psi = Exercise(
    name="rloo_psi",
    chapter=5,
    task="Ψ of RLOO from trajectories: R_k less the others' mean, at every step, [S, N, T].",
    read="Ψ is the same number at all steps of an episode",
    cases=_episodes,
    observe=lambda answer, t, gamma: _real(answer(t, gamma), t),
)


def _written(rewards: list[list[float]], lengths: list[int], group_size: int) -> Trajectories:
    """Episodes by their rewards, in one state."""
    reward = torch.tensor([rewards])
    mask = mask_of([lengths])
    nowhere = torch.zeros(reward.shape, dtype=torch.int64)
    return Trajectories(
        obs=nowhere,
        next_obs=nowhere,
        action=nowhere,
        reward=reward,
        terminated=mask & ~torch.nn.functional.pad(mask[..., 1:], (0, 1)),
        truncated=torch.zeros(reward.shape, dtype=torch.bool),
        mask=mask,
        log_prob=torch.zeros(reward.shape),
        group_size=group_size,
    )


@rloo_psi.property(
    "two episodes with rewards (1, 2) and (4), and γ = 0.5, have returns 2 and 4: Ψ is −2, −2 and 2"
)
def _psi_by_hand(answer: Answer, g: Generator) -> None:
    t = _written([[1.0, 2.0], [4.0, 9.0]], [2, 1], 2)
    same(_real(answer(t, 0.5), t), [-2.0, -2.0, 2.0], "Ψ at the real steps")


@rloo_psi.property(
    "what stands in the padding changes nothing, be it NaN (0 · NaN is NaN: take "
    "torch.where(mask, reward, 0))",
    mistake="missing-mask",
    read=PADDING,
)
def _psi_padding(answer: Answer, g: Generator) -> None:
    for t, gamma in _episodes(g):
        same(_real(answer(_padded(t, torch.nan), gamma), t), _real(answer(t, gamma), t))


@rloo_psi.property("Ψ is the same number at all steps of an episode")
def _psi_constant(answer: Answer, g: Generator) -> None:
    for t, gamma in _episodes(g):
        psi = of_shape(answer(t, gamma), t.mask.shape, "Ψ")
        same(_real(psi, t), psi[..., :1].expand(t.mask.shape)[t.mask], "Ψ")


@rloo_psi.property("what another group earns changes nothing", mistake="other-groups-returns")
def _psi_groups_apart(answer: Answer, g: Generator) -> None:
    for t, gamma in _episodes(g):
        reward = t.reward.clone()
        reward[:, t.group_size :] *= -3.0
        others = answer(dataclasses.replace(t, reward=reward), gamma)
        first = t.mask[:, : t.group_size]
        psi = of_shape(answer(t, gamma), t.mask.shape, "Ψ")
        changed = of_shape(others, t.mask.shape, "Ψ")
        same(_first(changed, t.group_size)[first], _first(psi, t.group_size)[first], "Ψ")


@rloo_psi.property(
    "what one replica earns changes nothing in another", mistake="other-groups-returns"
)
def _psi_replicas_apart(answer: Answer, g: Generator) -> None:
    for t, gamma in _episodes(g):
        reward = t.reward.clone()
        reward[0] *= -3.0
        others = of_shape(answer(dataclasses.replace(t, reward=reward), gamma), t.mask.shape, "Ψ")
        psi = of_shape(answer(t, gamma), t.mask.shape, "Ψ")
        same(others[1:][t.mask[1:]], psi[1:][t.mask[1:]], "Ψ")


@rloo_psi.property("if every first reward of a group is higher by one, nothing changes")
def _psi_level(answer: Answer, g: Generator) -> None:
    for t, gamma in _episodes(g):
        reward = t.reward.clone()
        reward[:, : t.group_size, 0] += 1.0
        more = answer(dataclasses.replace(t, reward=reward), gamma)
        same(_real(more, t), _real(answer(t, gamma), t), "Ψ")


@rloo_psi.property("over 6,000 batches, the mean estimate is the exact gradient of a small MDP")
def _psi_unbiased(answer: Answer, g: Generator) -> None:
    t = _batches(g, 6_000, 2, 2)
    psi = of_shape(answer(t, GAMMA), t.mask.shape, "Ψ")
    found = score_gradients(t, psi, _PI).flatten(1)
    exact = exact_gradient(_RANDOM, Table(4, 2), _THETA, horizon=HORIZON, gamma=GAMMA)[0]
    along = found @ (exact / exact.square().sum())
    error = along.std() / len(along) ** 0.5
    if not abs(along.mean() - 1) < 5 * error:
        raise Wrong(
            f"Expected the mean estimate to be 1 times the exact gradient along it, got "
            f"{along.mean():.3g} ± {error:.1g}."
        )


def _psi_of(t: Trajectories, returns: Tensor, advantage: Any) -> Tensor:
    return advantage(returns, t.group_size).unsqueeze(-1).expand(t.mask.shape)


def _powers(t: Trajectories, gamma: float) -> Tensor:
    return gamma ** torch.arange(t.mask.shape[-1], dtype=torch.float64)


def _discounted(t: Trajectories, gamma: float) -> Tensor:
    return (torch.where(t.mask, t.reward, 0).double() * _powers(t, gamma)).sum(-1)


def _less_others(returns: Tensor, group_size: int) -> Tensor:
    return -_baseline_less_return(returns, group_size)


@rloo_psi.twin("own-sample-in-baseline", read=OTHERS)
def _psi_with_own_sample(t: Trajectories, gamma: float) -> Tensor:
    return _psi_of(t, _discounted(t, gamma), _with_own_sample)


@rloo_psi.twin("leave-one-out-without-factor")
def _psi_without_factor(t: Trajectories, gamma: float) -> Tensor:
    return _psi_of(t, _discounted(t, gamma), _without_factor)


@rloo_psi.twin("sum-for-mean", says="The others' returns were added up, not averaged.")
def _psi_sum(t: Trajectories, gamma: float) -> Tensor:
    return _psi_of(t, _discounted(t, gamma), _sum_of_others)


@rloo_psi.twin("wrong-sign")
def _psi_turned_round(t: Trajectories, gamma: float) -> Tensor:
    return _psi_of(t, _discounted(t, gamma), _baseline_less_return)


@rloo_psi.twin(
    "other-groups-returns", says="The baseline is over all rows of the batch.", read=ADJACENT
)
def _psi_over_the_batch(t: Trajectories, gamma: float) -> Tensor:
    return _psi_of(t, _discounted(t, gamma), _over_the_batch)


@rloo_psi.twin("missing-mask", read=PADDING)
def _psi_with_padding(t: Trajectories, gamma: float) -> Tensor:
    return _psi_of(t, (t.reward.double() * _powers(t, gamma)).sum(-1), _less_others)


@rloo_psi.twin("gamma-missing")
def _psi_undiscounted(t: Trajectories, gamma: float) -> Tensor:
    return _psi_of(t, _discounted(t, 1.0), _less_others)


@rloo_psi.twin("gamma-twice", says="The first reward was discounted: one power of γ too many.")
def _psi_once_too_often(t: Trajectories, gamma: float) -> Tensor:
    return _psi_of(t, gamma * _discounted(t, gamma), _less_others)


@rloo_psi.twin("mean-for-sum", says="The return is the mean of the rewards, not their sum.")
def _psi_of_mean_reward(t: Trajectories, gamma: float) -> Tensor:
    return _psi_of(t, _discounted(t, gamma) / t.mask.sum(-1), _less_others)
