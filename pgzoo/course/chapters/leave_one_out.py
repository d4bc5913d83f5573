"""Chapter 5: leave one out."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator

from pgzoo.course.answer import Answer
from pgzoo.course.exercise import Args, Exercise
from pgzoo.course.expect import numbers, of_shape, same


def _returns(g: Generator) -> Iterator[Args]:
    for groups, size in ((2, 3), (3, 2), (1, 5), (2, 4)):
        level = 10 * torch.randn(1, groups, 1, generator=g, dtype=torch.float64)
        noise = torch.randn(2, groups, size, generator=g, dtype=torch.float64)
        yield (level + noise).flatten(1), size


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


@leave_one_out.property("the result has the shape of the returns")
def _shape(answer: Answer, g: Generator) -> None:
    for returns, size in _returns(g):
        of_shape(answer(returns, size), returns.shape)


@leave_one_out.property("an advantage rises one for one with the member's own return")
def _own_return(answer: Answer, g: Generator) -> None:
    for returns, size in _returns(g):
        more = returns.clone()
        more[:, 1] += 1.0
        change = numbers(answer(more, size)) - numbers(answer(returns, size))
        same(change[:, 1], torch.ones(len(returns)), "the change")


@leave_one_out.property(
    "it falls by 1/(K − 1) if another member of the group earns one more, and no other group's does"
)
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
        total = of_shape(answer(returns, size), returns.shape).unflatten(-1, (-1, size)).sum(-1)
        same(total, torch.zeros_like(total), "the sum over a group")


@leave_one_out.twin("own-sample-in-baseline")
def _with_own_sample(returns: torch.Tensor, group_size: int) -> torch.Tensor:
    group = returns.unflatten(-1, (-1, group_size))
    return (group - group.mean(-1, keepdim=True)).flatten(-2)


@leave_one_out.twin("leave-one-out-without-factor")
def _without_factor(returns: torch.Tensor, group_size: int) -> torch.Tensor:
    group = returns.unflatten(-1, (-1, group_size))
    others = group.sum(-1, keepdim=True) - group
    return (group - others / group_size).flatten(-2)


@leave_one_out.twin("sum-for-mean", says="The others' returns were added up, not averaged.")
def _sum_of_others(returns: torch.Tensor, group_size: int) -> torch.Tensor:
    group = returns.unflatten(-1, (-1, group_size))
    return (2 * group - group.sum(-1, keepdim=True)).flatten(-2)


@leave_one_out.twin("wrong-sign")
def _baseline_less_return(returns: torch.Tensor, group_size: int) -> torch.Tensor:
    group = returns.unflatten(-1, (-1, group_size))
    others = (group.sum(-1, keepdim=True) - group) / (group_size - 1)
    return (others - group).flatten(-2)


@leave_one_out.twin("other-groups-returns", says="The baseline is over all rows of the batch.")
def _over_the_batch(returns: torch.Tensor, group_size: int) -> torch.Tensor:
    others = (returns.sum(-1, keepdim=True) - returns) / (returns.shape[-1] - 1)
    return returns - others
