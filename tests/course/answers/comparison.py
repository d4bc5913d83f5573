"""Chapter 8: the comparison: right answers, and every mistake."""

import math

import numpy as np
import torch
from scipy import stats


def trimmed_mean(returns, mask):
    runs = [np.mean(r[m]) for r, m in zip(returns.numpy(), mask.numpy(), strict=True)]
    return np.asarray(stats.trim_mean(runs, 0.25))


def with_padding(returns, mask):
    return np.asarray(stats.trim_mean(returns.numpy().mean(1), 0.25))


def of_totals(returns, mask):
    totals = [np.sum(r[m]) for r, m in zip(returns.numpy(), mask.numpy(), strict=True)]
    return np.asarray(stats.trim_mean(totals, 0.25))


def by_ranks(a, b):
    m, n = len(a), len(b)
    ranks = stats.rankdata(np.concatenate([a, b]))
    return np.asarray((ranks[:m].sum() - m * (m + 1) / 2) / (m * n))


def deal_by_deal(a, b, deals, counts=lambda other, seen: other >= seen - 1e-9, centre=np.mean):
    runs, m = np.concatenate([a, b]), len(a)

    def apart(order):
        return abs(centre(runs[order[:m]]) - centre(runs[order[m:]]))

    seen = apart(np.arange(len(runs)))
    extreme = [counts(apart(order), seen) for order in deals.numpy()]
    return np.asarray((1 + sum(extreme)) / (1 + len(extreme)))


def from_products(estimates):
    """‖E ĝ‖² as the mean product of two different estimates."""
    m = len(estimates)
    products = estimates @ estimates.T
    squares = products.diagonal().sum()
    signal = (products.sum() - squares) / (m * (m - 1))
    variance = (squares / m - products.mean()) * m / (m - 1)
    return torch.where(signal > 0, variance / signal, math.inf)


def with_variance(variance):
    def ratio(estimates):
        x = estimates.numpy()
        v = variance(x)
        signal = np.sum(x.mean(axis=0) ** 2) - v / len(x)
        return np.asarray(v / signal if signal > 0 else np.inf)

    return ratio


def by_scipy(steps, solved, at):
    data = stats.CensoredData.right_censored(steps.numpy(), ~solved.numpy())
    return np.asarray(stats.ecdf(data).sf.evaluate(at))


def stopped_is_solved(steps, solved, at):
    return (steps > at).double().mean()


def stopped_is_never(steps, solved, at):
    return 1 - (solved * (steps <= at)).double().sum() / len(steps)


def group_by_group(returns, lengths, group_size, method, *, std=torch.std, per_step=("grpo",)):
    weight = torch.empty_like(returns)
    rows, n = returns.shape
    for s in range(rows):
        for i in range(n):
            first = i - i % group_size
            group = returns[s, first : first + group_size]
            others = torch.cat([returns[s, first:i], returns[s, i + 1 : first + group_size]])
            psi = {
                "reinforce": returns[s, i],
                "rloo": returns[s, i] - others.mean(),
                "dr-grpo": returns[s, i] - group.mean(),
                "grpo": (returns[s, i] - group.mean()) / std(group),
            }[method]
            weight[s, i] = psi / n / (lengths[s, i] if method in per_step else 1)
    return weight


def mean_of_all(returns, lengths, group_size, method):
    return group_by_group(returns, lengths, group_size, "dr-grpo" if method == "rloo" else method)


def over_k(returns, lengths, group_size, method):
    right = group_by_group(returns, lengths, group_size, method)
    if method != "rloo":
        return right
    # R − (S − R)/K, where the right one is R − (S − R)/(K − 1)
    others = returns / returns.shape[1] - right
    return returns / returns.shape[1] - others * (group_size - 1) / group_size


RIGHT = {
    "final_return": trimmed_mean,
    "probability_of_improvement": by_ranks,
    "permutation_p_value": deal_by_deal,
    "relative_variance": from_products,
    "share_unsolved": by_scipy,
    "method_weight": group_by_group,
}
WRONG = {
    "final_return": {"missing-mask": with_padding, "sum-for-mean": of_totals},
    "probability_of_improvement": {
        "wrong-sign": lambda a, b: by_ranks(b, a),
        "sum-for-mean": lambda a, b: by_ranks(a, b) * len(a) * len(b),
    },
    "permutation_p_value": {
        "wrong-sign": lambda a, b, deals: deal_by_deal(a, b, deals, lambda x, seen: x < seen),
        "sum-for-mean": lambda a, b, deals: deal_by_deal(a, b, deals, centre=np.sum),
    },
    "relative_variance": {
        "wrong-std-correction": with_variance(lambda x: np.var(x, axis=0).sum()),
        "sum-for-mean": with_variance(lambda x: ((x - x.mean(axis=0)) ** 2).sum()),
        "mean-for-sum": with_variance(lambda x: np.var(x, axis=0, ddof=1).mean()),
    },
    "share_unsolved": {
        "truncation-as-termination": stopped_is_solved,
        "missing-bootstrap": stopped_is_never,
    },
    "method_weight": {
        "wrong-std-correction": lambda *args: group_by_group(
            *args, std=lambda x: x.var(correction=0).sqrt()
        ),
        "own-sample-in-baseline": mean_of_all,
        "leave-one-out-without-factor": over_k,
        "mean-for-sum": lambda *args: group_by_group(
            *args, per_step=("reinforce", "rloo", "dr-grpo", "grpo")
        ),
        "sum-for-mean": lambda *args: group_by_group(*args, per_step=()),
        "other-groups-returns": lambda r, ell, k, method: group_by_group(
            r, ell, r.shape[1], method
        ),
        "wrong-sign": lambda *args: -group_by_group(*args),
    },
}
"""By exercise: the mistake's name, and how a learner might make it."""

NO_STEPS = ("mean-over-time", "whitening-within-episode")
NO_REWARDS = ("gamma-twice", "gamma-missing")
NO_POLICY = ("gradient-through-psi", "wrong-action", "inverted-ratio", "wrong-clip-side")
NO_ENDS = ("truncation-as-termination", "missing-bootstrap")
NO_BASELINE = ("own-sample-in-baseline", "leave-one-out-without-factor", "other-groups-returns")
ELSEWHERE = {
    "final_return": {
        "returns of whole episodes are given": (*NO_STEPS, *NO_REWARDS, *NO_ENDS),
        "no policy is involved": NO_POLICY,
        "no baseline is subtracted": NO_BASELINE,
        "nothing is added up, squared or subtracted": (
            "mean-for-sum",
            "wrong-std-correction",
            "wrong-sign",
        ),
    },
    "probability_of_improvement": {
        "a run is one number": (*NO_STEPS, *NO_REWARDS, *NO_ENDS, "missing-mask"),
        "no policy is involved": NO_POLICY,
        "no baseline is subtracted": NO_BASELINE,
        "there is no sum and no deviation in it": ("mean-for-sum", "wrong-std-correction"),
    },
    "permutation_p_value": {
        "a run is one number": (*NO_STEPS, *NO_REWARDS, *NO_ENDS, "missing-mask"),
        "no policy is involved": NO_POLICY,
        "no baseline is subtracted": NO_BASELINE,
        "there is no sum and no deviation in it": ("mean-for-sum", "wrong-std-correction"),
    },
    "relative_variance": {
        "estimates are given, whatever they are of": (
            *NO_STEPS,
            *NO_REWARDS,
            *NO_ENDS,
            "missing-mask",
        ),
        "no policy is involved": NO_POLICY,
        "no baseline is subtracted": NO_BASELINE,
        "a ratio of squares has no direction": ("wrong-sign",),
    },
    "share_unsolved": {
        "a run is one number, and whether it was reached": (
            *NO_STEPS,
            *NO_REWARDS,
            "missing-mask",
        ),
        "no policy is involved": NO_POLICY,
        "no baseline is subtracted": NO_BASELINE,
        "it is a product of shares": (
            "sum-for-mean",
            "mean-for-sum",
            "wrong-std-correction",
            "wrong-sign",
        ),
    },
    "method_weight": {
        "returns of whole episodes are given": (
            *NO_STEPS,
            *NO_REWARDS,
            *NO_ENDS,
            "missing-mask",
        ),
        "weights are those where the policy is the one that sampled": NO_POLICY,
    },
}
"""By exercise: mistakes that cannot be made in it, by the reason why."""
