"""Chapter 8: the comparison."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import permutations

import torch
from torch import Generator, Tensor

from pgzoo.course.answer import Answer
from pgzoo.course.exercise import Args, Exercise
from pgzoo.course.expect import Wrong, numbers, of_shape, same

DOUBLE = torch.float64


def _normal(g: Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=g, dtype=DOUBLE)


# ---------------------------------------------------------------- returns of runs, [S, E]


def _episodes(g: Generator) -> Iterator[Args]:
    for runs, episodes in ((8, 5), (10, 4), (5, 3), (12, 6)):
        returns = 10 + 5 * _normal(g, runs, 1) + _normal(g, runs, episodes)
        finished = torch.randint(1, episodes, (runs, 1), generator=g)
        mask = torch.arange(episodes) < finished
        yield torch.where(mask, returns, 300 + returns), mask


final_return = Exercise(
    name="final_return",
    chapter=8,
    task="The interquartile mean over runs of each run's mean return, a number.",
    read="the lowest n // 4 and the highest n // 4 of the runs are left out",
    cases=_episodes,
)


@final_return.property("what stands where the mask is false is not read", mistake="missing-mask")
def _padding(answer: Answer, g: Generator) -> None:
    for returns, mask in _episodes(g):
        for garbage in (float("nan"), 1e6):
            padded = torch.where(mask, returns, garbage)
            same(answer(padded, mask), answer(torch.where(mask, returns, 0.0), mask))


@final_return.property("more places without an episode: the same result", mistake="missing-mask")
def _more_padding(answer: Answer, g: Generator) -> None:
    for returns, mask in _episodes(g):
        returns = torch.where(mask, returns, 0.0)
        wider = torch.cat([returns, torch.zeros_like(returns)], -1)
        same(answer(wider, torch.cat([mask, mask & False], -1)), answer(returns, mask))


@final_return.property(
    "the unit is the run: one with more episodes weighs no more than others",
    read="The unit is the training run",
)
def _unit(answer: Answer, g: Generator) -> None:
    returns = (10 + _normal(g, 9, 1)).expand(9, 6).contiguous()  # a run returns the same always
    few = torch.arange(6) < torch.randint(1, 3, (9, 1), generator=g)
    same(answer(returns, few | (torch.arange(9) < 4)[:, None]), answer(returns, few))


@final_return.property("each run's episodes twice: the same result", mistake="sum-for-mean")
def _episodes_twice(answer: Answer, g: Generator) -> None:
    for returns, mask in _episodes(g):
        returns = torch.where(mask, returns, 0.0)
        twice = answer(torch.cat([returns, returns], -1), torch.cat([mask, mask], -1))
        same(twice, answer(returns, mask))


@final_return.property("eight runs twice: the same result", mistake="sum-for-mean")
def _runs_twice(answer: Answer, g: Generator) -> None:
    returns, mask = 10 + _normal(g, 8, 4), torch.ones(8, 4, dtype=torch.bool)
    same(answer(torch.cat([returns, returns]), torch.cat([mask, mask])), answer(returns, mask))


KNOWN = (
    ((0, 1, 2, 3, 5, 8, 13, 100), 4.5),
    ((0, 1, 2, 3, 5, 8, 13, 21, 34, 55), 52 / 6),
    ((0, 1, 2, 4, 8, 16, 32), 6.2),
    ((1, 2, 6), 3.0),
)
"""Runs and their interquartile means: skewed, so that no other share left out gives the same."""


@final_return.property(
    "runs of means 0, 1, 2, 3, 5, 8, 13, 100 have the interquartile mean 4.5, and others theirs: "
    "of n runs n // 4 are left out at either end, and the rest is averaged"
)
def _known(answer: Answer, g: Generator) -> None:
    for runs, middle in KNOWN:
        level = torch.tensor(runs, dtype=DOUBLE)[torch.randperm(len(runs), generator=g)]
        returns = torch.stack([level - 1, level + 1], -1)
        same(answer(returns, torch.ones(len(runs), 2, dtype=torch.bool)), middle)


@final_return.property("the best and the worst quarter of the runs may be as good or bad as ever")
def _quarters(answer: Answer, g: Generator) -> None:
    for count in (8, 9, 11):
        level = torch.arange(count, dtype=DOUBLE)
        middle = level[count // 4 : count - count // 4].mean()
        level[: count // 4] -= 1000
        level[count - count // 4 :] += 1000
        shuffled = level[torch.randperm(count, generator=g)]
        every = torch.ones(count, 3, dtype=torch.bool)
        same(answer(shuffled[:, None].expand(count, 3), every), middle)


def _middle(per_run: Tensor) -> Tensor:
    quarter = len(per_run) // 4
    return per_run.sort().values[quarter : len(per_run) - quarter].mean()


@final_return.twin("missing-mask", says="Places without an episode were averaged as well.")
def _all_places(returns: Tensor, mask: Tensor) -> Tensor:
    return _middle(returns.mean(-1))


@final_return.twin("sum-for-mean", says="Each run's returns were added up, not averaged.")
def _sums(returns: Tensor, mask: Tensor) -> Tensor:
    return _middle(torch.where(mask, returns, 0.0).sum(-1))


# ---------------------------------------------------------------- is one better? [m] and [n]


def _two_samples(g: Generator) -> Iterator[Args]:
    for m, n in ((4, 6), (5, 3), (7, 7)):
        a, b = (torch.randint(0, 5, (k,), generator=g).to(DOUBLE) for k in (m, n))
        yield a + 2, b


probability_of_improvement = Exercise(
    name="probability_of_improvement",
    chapter=8,
    task="The share of pairs in which the run of a is better; ties count half. A number.",
    read="P(A > B) + ½ P(A = B)",
    cases=_two_samples,
)


@probability_of_improvement.property("runs 1, 2, 3 against 2, 2, 5: 1/3")
def _three_pairs(answer: Answer, g: Generator) -> None:
    same(answer(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 2.0, 5.0])), 1 / 3)


@probability_of_improvement.property("it is 1 if every run of a is better than every run of b")
def _all_better(answer: Answer, g: Generator) -> None:
    same(answer(10 + _normal(g, 4).abs(), -_normal(g, 6).abs()), 1.0)


@probability_of_improvement.property("against itself it is ½")
def _itself(answer: Answer, g: Generator) -> None:
    for a, _ in _two_samples(g):
        same(answer(a, a.flip(0)), 0.5)


@probability_of_improvement.property("both ways add up to 1, ties included")
def _both_ways(answer: Answer, g: Generator) -> None:
    for a, b in _two_samples(g):
        same(numbers(answer(a, b)) + numbers(answer(b, a)), 1.0, "the sum of both ways")


@probability_of_improvement.property("only the order counts: squares of returns give the same")
def _order(answer: Answer, g: Generator) -> None:
    for a, b in _two_samples(g):
        same(answer(a**2, b**2), answer(a, b))


@probability_of_improvement.twin(
    "wrong-sign",
    says="This is the probability that a run of b is better.",
    why="The first argument is the one whose improvement is asked for; the other way round the "
    "result is 1 minus what it should be.",
)
def _of_b(a: Tensor, b: Tensor) -> Tensor:
    return (a[:, None] < b).double().mean() + 0.5 * (a[:, None] == b).double().mean()


@probability_of_improvement.twin(
    "sum-for-mean",
    says="The pairs were counted.",
    why="The count is Mann and Whitney's U. Divided by the number of pairs, m · n, it is a "
    "probability, which does not depend on how many runs there are.",
)
def _count(a: Tensor, b: Tensor) -> Tensor:
    return (a[:, None] > b).double().sum() + 0.5 * (a[:, None] == b).double().sum()


# ---------------------------------------------------------------- permutation test


def _dealt(g: Generator) -> Iterator[Args]:
    """Deals without the one seen nor its mirror, so that rounding decides nothing."""
    for m, n in ((4, 7), (6, 3), (5, 5)):
        deals = torch.stack([torch.randperm(m + n, generator=g) for _ in range(39)])
        own = (deals[:, :m] < m).sum(-1)
        yield 1.0 + _normal(g, m), _normal(g, n), deals[(own < m) & (own > 0)]


permutation_p_value = Exercise(
    name="permutation_p_value",
    chapter=8,
    task="The p-value of a permutation test of the difference of means, a number.",
    read="p = (1 + number of deals at least as extreme as what was seen) / (1 + number of deals)",
    cases=_dealt,
)
SPLITS = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
"""All ways to choose two of four."""


@permutation_p_value.property("runs 1, 2 against 3, 4, dealt in the other five ways: 2/6")
def _all_deals(answer: Answer, g: Generator) -> None:
    deals = torch.tensor([[*x, *sorted({0, 1, 2, 3} - set(x))] for x in SPLITS[1:]])
    same(answer(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]), deals), 2 / 6)


@permutation_p_value.property(
    "means are compared, whatever the spread: 5 and 2.5, dealt to 3.5 and 5.5"
)
def _means(answer: Answer, g: Generator) -> None:
    a, b = torch.tensor([0.0, 6.0, 6.0, 8.0]), torch.tensor([5.0, 0.0])
    same(answer(a, b, torch.tensor([[5, 1, 3, 0, 4, 2]])), 1 / 2)


@permutation_p_value.property("a's own runs in another order are as extreme, in spite of rounding")
def _reordered(answer: Answer, g: Generator) -> None:
    a = torch.tensor([6.1, 8.8, 9.2, 7.3], dtype=DOUBLE)
    b = torch.tensor([1.6, 6.6, 4.2, 4.6], dtype=DOUBLE)
    orders = list(permutations(range(4)))[1:]
    same(answer(a, b, torch.tensor([[*order, 4, 5, 6, 7] for order in orders])), 1.0)


@permutation_p_value.property("a deal that is less extreme by 0.0001 does not count")
def _nearly(answer: Answer, g: Generator) -> None:
    a, b = torch.tensor([2.0, 4.0], dtype=DOUBLE), torch.tensor([0.0, 1.9999], dtype=DOUBLE)
    same(answer(a, b, torch.tensor([[3, 1, 0, 2]])), 1 / 2)  # 1.99995 against 2.00005


@permutation_p_value.property("what was seen counts as a deal: p is never below 1 / (1 + deals)")
def _never_zero(answer: Answer, g: Generator) -> None:
    a, b = 100 + _normal(g, 4), _normal(g, 5)
    deals = torch.tensor([[0, 4, 5, 6, 7, 8, 1, 2, 3], [3, 1, 8, 7, 0, 2, 4, 5, 6]])
    same(answer(a, b, deals), 1 / 3)


@permutation_p_value.property("equal means count as at least as extreme: p is 1 for equal runs")
def _equal_runs(answer: Answer, g: Generator) -> None:
    for a, b, deals in _dealt(g):
        same(answer(torch.full_like(a, 2.0), torch.full_like(b, 2.0), deals), 1.0)


@permutation_p_value.property("it is two-sided: with all returns negated p is the same")
def _two_sided(answer: Answer, g: Generator) -> None:
    for a, b, deals in _dealt(g):
        same(answer(-a, -b, deals), answer(a, b, deals))


@permutation_p_value.property("another level and another unit of the returns change nothing")
def _units(answer: Answer, g: Generator) -> None:
    for a, b, deals in _dealt(g):
        same(answer(3 * a + 50, 3 * b + 50, deals), answer(a, b, deals))


@permutation_p_value.property("more extreme deals make p larger, less extreme ones smaller")
def _more_deals(answer: Answer, g: Generator) -> None:
    a = torch.tensor([1.0, 2.0, 6.0], dtype=DOUBLE)
    b = torch.tensor([0.0, 4.0], dtype=DOUBLE)  # means 3 and 2: 1 apart
    near = torch.tensor([[0, 1, 4, 2, 3]])  # 7/3 against 3: 2/3 apart
    far = torch.tensor([[0, 1, 3, 2, 4]])  # 1 against 5: 4 apart
    for level in (0.0, 100.0):
        x, y = a + level, b + level
        same(answer(x, y, near), 1 / 2)
        same(answer(x, y, far), 1.0)
        same(answer(x, y, torch.cat([near, near, far])), 2 / 4)


def _apart(a: Tensor, b: Tensor, deals: Tensor) -> tuple[Tensor, Tensor]:
    """Differences of means, of what was seen and of the deals."""
    dealt = torch.cat([a, b])[deals]
    m = len(a)
    return a.mean() - b.mean(), dealt[:, :m].mean(-1) - dealt[:, m:].mean(-1)


@permutation_p_value.twin(
    "wrong-sign",
    says="Deals were counted that are less extreme than what was seen.",
    why="A small p says that hardly any deal is as extreme as what was seen. Counted the other "
    "way, the strongest evidence has the largest p.",
)
def _less_extreme(a: Tensor, b: Tensor, deals: Tensor) -> Tensor:
    seen, dealt = _apart(a, b, deals)
    return (1 + (dealt.abs() <= seen.abs()).sum()) / (1 + len(deals))


@permutation_p_value.twin(
    "sum-for-mean",
    says="Sums of returns were compared, not means.",
    why="With different numbers of runs, sums differ even where all runs are equal.",
)
def _sums_apart(a: Tensor, b: Tensor, deals: Tensor) -> Tensor:
    dealt = torch.cat([a, b])[deals]
    m = len(a)
    seen = a.sum() - b.sum()
    other = dealt[:, :m].sum(-1) - dealt[:, m:].sum(-1)
    return (1 + (other.abs() >= seen.abs()).sum()) / (1 + len(deals))


# ---------------------------------------------------------------- relative variance, [M, P]


def _estimates(g: Generator) -> Iterator[Args]:
    for count, size in ((4, 3), (6, 10), (12, 2)):
        yield (3 + _normal(g, 1, size).abs() + _normal(g, count, size),)


relative_variance = Exercise(
    name="relative_variance",
    chapter=8,
    task="Trace of the covariance over ‖E ĝ‖², from M estimates [M, P]; a number.",
    read="‖mean‖² is on average larger than ‖E ĝ‖², by variance / M",
    cases=_estimates,
)


@relative_variance.property("for the estimates (1, 2) and (3, 0) it is 4 / (5 − 4/2) = 4/3")
def _two_estimates(answer: Answer, g: Generator) -> None:
    same(answer(torch.tensor([[1.0, 2.0], [3.0, 0.0]])), 4 / 3)


@relative_variance.property(
    "the mean's noise is taken out of ‖mean‖²: of (5, 1), (5, −1) it is 1/12"
)
def _noise_alone(answer: Answer, g: Generator) -> None:
    same(answer(torch.tensor([[5.0, 1.0], [5.0, -1.0]])), 2 / (25 - 2 / 2))


@relative_variance.property(
    "of m + d and m − d, k times each, it is v / (‖m‖² − v / (2k)), with v = 2k ‖d‖² / (2k − 1)"
)
def _pairs(answer: Answer, g: Generator) -> None:
    for k, size in ((1, 3), (2, 5), (5, 4)):
        m, d = 4 + _normal(g, size).abs(), _normal(g, size)
        v = 2 * k * d.square().sum() / (2 * k - 1)
        same(answer(torch.stack([m + d, m - d] * k)), v / (m.square().sum() - v / (2 * k)))


@relative_variance.property("a gradient in another unit has the same relative variance")
def _scale(answer: Answer, g: Generator) -> None:
    for (estimates,) in _estimates(g):
        same(answer(estimates / 1000), answer(estimates))


@relative_variance.property("and so has one that is turned")
def _turned(answer: Answer, g: Generator) -> None:
    for (estimates,) in _estimates(g):
        turn, _ = torch.linalg.qr(_normal(g, estimates.shape[1], estimates.shape[1]))
        same(answer(estimates @ turn), answer(estimates))


@relative_variance.property("where noise hides the signal it is infinite")
def _hidden(answer: Answer, g: Generator) -> None:
    d = 5 + _normal(g, 3).abs()
    found = of_shape(answer(torch.stack([1 + d, 1 - d])), [])
    if float(found) != math.inf:
        raise Wrong(f"Expected inf where ‖mean‖² is less than variance / M, got {found:.5g}.")


def _over_signal(variance: Tensor, estimates: Tensor) -> Tensor:
    signal = estimates.mean(0).square().sum() - variance / len(estimates)
    return variance / signal if signal > 0 else torch.tensor(math.inf)


@relative_variance.twin("wrong-std-correction")
def _by_m(estimates: Tensor) -> Tensor:
    return _over_signal(estimates.var(0, correction=0).sum(), estimates)


@relative_variance.twin(
    "sum-for-mean",
    says="Squared deviations were added up over the estimates, and not divided by M − 1.",
)
def _not_divided(estimates: Tensor) -> Tensor:
    return _over_signal((estimates - estimates.mean(0)).square().sum(), estimates)


@relative_variance.twin(
    "mean-for-sum",
    says="The entries' variances were averaged.",
    why="The trace is the sum of the diagonal, E‖ĝ − E ĝ‖², to go with ‖E ĝ‖², which is a sum over "
    "the entries as well.",
)
def _averaged(estimates: Tensor) -> Tensor:
    return _over_signal(estimates.var(0).mean(), estimates)


# ---------------------------------------------------------------- steps to a threshold, censored


def _runs(g: Generator) -> Iterator[Args]:
    for count in (8, 12, 10):
        steps = torch.randperm(40, generator=g)[:count].to(DOUBLE) * 500 + 500
        solved = torch.rand(count, generator=g) < 0.6
        solved[:2] = torch.tensor([True, False])
        steps[:2] = torch.tensor([4000.0, 2750.0])
        for at in (6000.0, 12000.0):
            yield steps, solved, at


share_unsolved = Exercise(
    name="share_unsolved",
    chapter=8,
    task="Kaplan and Meier's estimate of the share of runs that have not solved it by a step.",
    read="A run that was stopped says that it takes more steps than it trained",
    cases=_runs,
)


@share_unsolved.property(
    "steps 10, 20, 30, 40, of which 10 and 30 solved it: by 35 it is (1 − 1/4)(1 − 1/2) = 0.375"
)
def _four_runs(answer: Answer, g: Generator) -> None:
    steps, solved = torch.tensor([30.0, 10.0, 40.0, 20.0]), torch.tensor([True, True, False, False])
    same(answer(steps, solved, 35.0), 0.375)
    same(answer(steps, solved, 10.0), 0.75)


@share_unsolved.property(
    "steps 10, 10, 20, 20, 30, solved, solved, solved, stopped, stopped: by 25 (1 − 2/5)(1 − 1/3)"
)
def _ties(answer: Answer, g: Generator) -> None:
    steps = torch.tensor([10.0, 20.0, 10.0, 20.0, 30.0])
    solved = torch.tensor([True, False, True, True, False])
    same(answer(steps, solved, 25.0), 0.4)


@share_unsolved.property("it is 1 where no run has solved it yet")
def _none_solved(answer: Answer, g: Generator) -> None:
    for steps, solved, _ in _runs(g):
        same(answer(steps, solved & False, 9000.0), 1.0)
        same(answer(steps, solved, 100.0), 1.0)


@share_unsolved.property("if all trained as long, it is the plain share of those that did not")
def _none_stopped(answer: Answer, g: Generator) -> None:
    for steps, solved, at in _runs(g):
        full = torch.where(solved, steps, 99_000.0)
        same(answer(full, solved, at), 1 - (solved & (full <= at)).to(DOUBLE).mean())


@share_unsolved.property("a run that was stopped before any had solved it changes nothing")
def _stopped_at_once(answer: Answer, g: Generator) -> None:
    for steps, solved, at in _runs(g):
        more = torch.cat([steps, torch.tensor([100.0], dtype=DOUBLE)])
        with_it = answer(more, torch.cat([solved, torch.tensor([False])]), at)
        same(with_it, answer(steps, solved, at))


@share_unsolved.property("the share at a step, times that of the runs known beyond it, goes on")
def _product(answer: Answer, g: Generator) -> None:
    for steps, solved, at in _runs(g):
        later = steps > 5000.0
        first = numbers(answer(steps, solved, 5000.0))
        same(answer(steps, solved, at), first * numbers(answer(steps[later], solved[later], at)))


def _survival(steps: Tensor, solved: Tensor, at: float) -> Tensor:
    share = torch.ones((), dtype=DOUBLE)
    for t in steps[solved & (steps <= at)].unique():
        share = share * (1 - (solved & (steps == t)).sum() / (steps >= t).sum())
    return share


@share_unsolved.twin(
    "truncation-as-termination",
    says="A run that was stopped was counted as one that had solved it.",
    why="Where a run was stopped it had not solved it: that says only that it takes longer. It is "
    "chapter 4's mistake again, where a time limit was read as an end.",
)
def _stopped_is_solved(steps: Tensor, solved: Tensor, at: float) -> Tensor:
    return _survival(steps, torch.ones_like(solved), at)


@share_unsolved.twin(
    "missing-bootstrap",
    says="A run that was stopped was counted as one that would never have solved it.",
    why="What a run would have done after it was stopped is not nothing: it has to be estimated "
    "from the runs that went on, as V(s) estimates what follows the end of a segment.",
)
def _stopped_is_never(steps: Tensor, solved: Tensor, at: float) -> Tensor:
    return 1 - (solved & (steps <= at)).to(DOUBLE).mean()


# ---------------------------------------------------------------- one row of the table, [S, N]

METHODS = ("reinforce", "rloo", "dr-grpo", "grpo")


def _groups(g: Generator) -> Iterator[Args]:
    for groups, size in ((2, 3), (3, 4)):
        level = 10 * _normal(g, 2, groups, 1)
        returns = (level + 3 * _normal(g, 2, groups, size)).flatten(1)
        lengths = torch.randint(2, 30, returns.shape, generator=g)
        for method in METHODS:
            yield returns, lengths, size, method


method_weight = Exercise(
    name="method_weight",
    chapter=8,
    task="What multiplies ∇log π of every step of a trajectory in a method's estimate, [S, N].",
    read="w_i = Ψ_i / N, and Ψ_i / (N ℓ_i) where the steps of a trajectory are averaged",
    cases=_groups,
)


method_weight.keeps_shape("returns")


TWO_GROUPS = (
    torch.tensor([[1.0, 2.0, 6.0, 10.0, 10.0, 40.0], [0.0, 1.0, 2.0, 5.0, 7.0, 9.0]]),
    torch.tensor([[5, 9, 2, 3, 4, 7]] * 2),
    3,
)
"""Returns and lengths of two replicas, two groups each: N is not K, and groups differ."""


@method_weight.property("reinforce: of returns 1, 2, 6, 10, 10, 40 in a batch of six, a sixth each")
def _reinforce(answer: Answer, g: Generator) -> None:
    same(answer(*TWO_GROUPS, "reinforce"), TWO_GROUPS[0] / 6)


@method_weight.property(
    "rloo: of groups 1, 2, 6 and 10, 10, 40 in a batch of six: (−3, −1.5, 4.5, −15, −15, 30) / 6"
)
def _rloo(answer: Answer, g: Generator) -> None:
    psi = torch.tensor([[-3.0, -1.5, 4.5, -15.0, -15.0, 30.0], [-1.5, 0.0, 1.5, -3.0, 0.0, 3.0]])
    same(answer(*TWO_GROUPS, "rloo"), psi / 6)


@method_weight.property("dr-grpo is (K − 1)/K of rloo")
def _dr_grpo(answer: Answer, g: Generator) -> None:
    for returns, lengths, size, _ in _groups(g):
        rloo = numbers(answer(returns, lengths, size, "rloo"))
        same(answer(returns, lengths, size, "dr-grpo"), rloo * (size - 1) / size)


@method_weight.property("grpo: times N ℓ_i, a group's weights have mean 0 and variance 1 (Bessel)")
def _grpo(answer: Answer, g: Generator) -> None:
    for returns, lengths, size, _ in _groups(g):
        weight = of_shape(answer(returns, lengths, size, "grpo"), returns.shape)
        psi = (weight * lengths * returns.shape[1]).unflatten(-1, (-1, size))
        same(1 + psi.mean(-1), torch.ones(psi.shape[:2]), "1 + a group's mean of Ψ")
        same(psi.var(-1), torch.ones(psi.shape[:2]), "a group's variance of Ψ")


@method_weight.property("grpo orders a group's Ψ as the returns, and forgets their level and unit")
def _grpo_order(answer: Answer, g: Generator) -> None:
    for returns, lengths, size, _ in _groups(g):
        weight = numbers(answer(returns, lengths, size, "grpo"))
        same(answer(5 * returns + 100, lengths, size, "grpo"), weight)
        order = returns.unflatten(-1, (-1, size)).argsort(-1)
        found = (weight * lengths).unflatten(-1, (-1, size)).argsort(-1)
        same(found, order, "the order within a group")


@method_weight.property("only grpo reads lengths: the other three sum over a trajectory's steps")
def _sum_over_steps(answer: Answer, g: Generator) -> None:
    for returns, lengths, size, method in _groups(g):
        if method != "grpo":
            longer = answer(returns, 3 * lengths, size, method)
            same(longer, answer(returns, lengths, size, method))


@method_weight.property("another group's returns change nothing but for reinforce's own")
def _others(answer: Answer, g: Generator) -> None:
    for returns, lengths, size, method in _groups(g):
        more = returns.clone()
        more[:, size:] *= 2.0
        found = of_shape(answer(more, lengths, size, method), returns.shape)
        same(found[:, :size], numbers(answer(returns, lengths, size, method))[:, :size])


def _weights(
    returns: Tensor,
    lengths: Tensor,
    size: int,
    method: str,
    *,
    factor: float | None = None,
    correction: int = 1,
    averaged: tuple[str, ...] = ("grpo",),
    whole: bool = False,
) -> Tensor:
    """Each method's weights, or what a mistake makes of them.

    ``factor`` is of R − mean in rloo, None for K/(K − 1); ``correction`` is of grpo's std;
    ``averaged`` are the methods that average a trajectory's steps; ``whole``: the batch is a group.
    """
    n = returns.shape[-1]
    k = n if whole else size
    group = returns.unflatten(-1, (-1, k))
    psi = group - group.mean(-1, keepdim=True)
    if method == "reinforce":
        psi = group
    elif method == "rloo":
        psi = psi * (k / (k - 1) if factor is None else factor)
    elif method == "grpo":
        psi = psi / group.std(-1, correction=correction, keepdim=True)
    weight = psi.flatten(-2) / n
    return weight / lengths if method in averaged else weight


@method_weight.twin("wrong-std-correction")
def _biased_std(returns: Tensor, lengths: Tensor, size: int, method: str) -> Tensor:
    return _weights(returns, lengths, size, method, correction=0)


@method_weight.twin("own-sample-in-baseline", says="RLOO's baseline is the mean of the group.")
def _mean_of_all(returns: Tensor, lengths: Tensor, size: int, method: str) -> Tensor:
    return _weights(returns, lengths, size, method, factor=1.0)


@method_weight.twin("leave-one-out-without-factor")
def _over_k(returns: Tensor, lengths: Tensor, size: int, method: str) -> Tensor:
    if method != "rloo":
        return _weights(returns, lengths, size, method)
    group = returns.unflatten(-1, (-1, size))
    others = group.sum(-1, keepdim=True) - group
    return (group - others / size).flatten(-2) / returns.shape[-1]


@method_weight.twin("mean-for-sum", says="The steps of a trajectory were averaged in every method.")
def _every_mean(returns: Tensor, lengths: Tensor, size: int, method: str) -> Tensor:
    return _weights(returns, lengths, size, method, averaged=METHODS)


@method_weight.twin(
    "sum-for-mean",
    says="GRPO's steps were added up.",
    why="As its paper defines it, GRPO takes the mean over each trajectory's steps, 1/ℓ. Without "
    "it, long trajectories weigh more: that is one of Dr. GRPO's two changes.",
)
def _never_mean(returns: Tensor, lengths: Tensor, size: int, method: str) -> Tensor:
    return _weights(returns, lengths, size, method, averaged=())


@method_weight.twin("other-groups-returns", says="The whole batch was taken for one group.")
def _one_group(returns: Tensor, lengths: Tensor, size: int, method: str) -> Tensor:
    return _weights(returns, lengths, size, method, whole=True)


@method_weight.twin("wrong-sign")
def _negative(returns: Tensor, lengths: Tensor, size: int, method: str) -> Tensor:
    return -_weights(returns, lengths, size, method)
