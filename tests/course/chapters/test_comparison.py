"""Chapter 8: wrong answers that the catalogue has no name for, and right ones in float32."""

import numpy as np
import pytest
import torch
from scipy import stats

from pgzoo.course import check
from tests.course.answers.comparison import deal_by_deal, group_by_group


def per_run(returns, mask):
    return torch.where(mask, returns, 0.0).sum(-1) / mask.sum(-1)


def trimming(share):
    return lambda returns, mask: np.asarray(stats.trim_mean(per_run(returns, mask), share))


def more_left_out(returns, mask):
    runs = per_run(returns, mask).sort().values
    quarter = -(-len(runs) // 4)
    return runs[quarter : len(runs) - quarter].mean()


def trimean(returns, mask):
    low, middle, high = np.quantile(per_run(returns, mask), (0.25, 0.5, 0.75))
    return (low + 2 * middle + high) / 4


def nothing_left_of_three(returns, mask):
    runs = per_run(returns, mask).sort().values
    quarter = len(runs) // 4
    return runs[quarter:-quarter].mean()


def tolerating(tolerance):
    return lambda *args: deal_by_deal(*args, lambda other, seen: other >= seen - tolerance)


def welch(a, b, deals):
    runs, m = np.concatenate([a, b]), len(a)

    def t(order):
        return abs(stats.ttest_ind(runs[order[:m]], runs[order[m:]], equal_var=False).statistic)

    seen = t(np.arange(len(runs)))
    return np.asarray((1 + sum(t(order) >= seen - 1e-9 for order in deals)) / (1 + len(deals)))


def clamped(estimates):
    variance = estimates.var(0)
    signal = (estimates.mean(0).square() - variance / len(estimates)).clamp(min=0).sum()
    return variance.sum() / signal


def kaplan_meier(steps, solved, at, *, at_risk, factors=torch.unique, several=True):
    share = torch.tensor(1.0)
    for t in factors(steps[solved & (steps <= at)]):
        many = (solved & (steps == t)).sum() if several else 1
        share = share * (1 - many / at_risk(steps, solved, t).sum())
    return share


def known(steps, solved, t):
    return steps >= t


def no_stopped_ones(steps, solved, t):
    return (steps > t) | (solved & (steps == t))


def divided_by_group(returns, lengths, k, method):
    weight = group_by_group(returns, lengths, k, method)
    return weight * returns.shape[1] / k if method in ("reinforce", "rloo") else weight


def first_group_s_mean(returns, lengths, k, method):
    if method != "rloo":
        return group_by_group(returns, lengths, k, method)
    others = (returns[:, :k].sum(-1, keepdim=True) - returns) / (k - 1)
    return (returns - others) / returns.shape[1]


def over_replicas(returns, lengths, k, method):
    weight = group_by_group(returns, lengths, k, method)
    if method != "rloo":
        return weight
    return weight - weight.mean(0, keepdim=True)


WRONG = {
    "final_return": {
        "the median": lambda r, m: per_run(r, m).quantile(0.5),
        "30% left out": trimming(0.3),
        "40% left out": trimming(0.4),
        "nothing left out": trimming(0.0),
        "a quarter, rounded up": more_left_out,
        "the trimean": trimean,
        "values[q:-q]": nothing_left_of_three,
    },
    "permutation_p_value": {
        "no tolerance": tolerating(0.0),
        "too much tolerance": tolerating(1e-3),
        "Welch's t": welch,
    },
    "relative_variance": {"the signal of each entry at least 0": clamped},
    "share_unsolved": {
        "a factor for every run": lambda *args: kaplan_meier(
            *args, at_risk=known, factors=lambda steps: steps
        ),
        "one run at a time": lambda *args: kaplan_meier(*args, at_risk=known, several=False),
        "stopped there and not at risk": lambda *args: kaplan_meier(*args, at_risk=no_stopped_ones),
    },
    "method_weight": {
        "K for N": divided_by_group,
        "the first group for all": first_group_s_mean,
        "less the mean over replicas": over_replicas,
    },
}


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        pytest.param(name, answer, id=f"{name}: {what}")
        for name, answers in WRONG.items()
        for what, answer in answers.items()
    ],
)
def test_it_is_wrong_and_has_no_name(name, answer):
    result = check(name, answer)
    assert (result.status, result.mistake) == ("wrong", None), result


def single(x):
    floating = isinstance(x, torch.Tensor) and x.is_floating_point()
    return x.float() if floating else x


RIGHT = {
    "permutation_p_value": tolerating(1e-6),
    "method_weight": group_by_group,
    "relative_variance": lambda x: (
        (v := x.var(0).sum()) / (x.mean(0).square().sum() - v / len(x)).clamp(min=0)
    ),
    "final_return": lambda r, m: torch.tensor(stats.trim_mean(per_run(r, m), 0.25)),
    "share_unsolved": lambda *args: kaplan_meier(*args, at_risk=known),
}


@pytest.mark.parametrize("name", RIGHT)
def test_single_precision_is_enough(name):
    answer = RIGHT[name]
    result = check(name, lambda *args: answer(*map(single, args)))
    assert result.passed, result
