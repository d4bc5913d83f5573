"""Chapter 5: right answers, and every mistake."""

import torch


def by_loops(returns, group_size):
    advantage = torch.empty_like(returns)
    for s in range(len(returns)):
        for n in range(returns.shape[1]):
            first = n - n % group_size
            others = [m for m in range(first, first + group_size) if m != n]
            advantage[s, n] = returns[s, n] - sum(returns[s, m] for m in others) / len(others)
    return advantage


def group_mean(returns, group_size):
    group = returns.reshape(len(returns), -1, group_size)
    return (group - group.mean(dim=2, keepdim=True)).reshape(returns.shape)


def over_k(returns, group_size):
    group = returns.reshape(len(returns), -1, group_size)
    weights = (1 - torch.eye(group_size, dtype=returns.dtype)) / group_size
    return (group - group @ weights).reshape(returns.shape)


def all_rows(returns, group_size):
    n = returns.shape[1]
    return returns * (n / (n - 1)) - returns.sum(1, keepdim=True) / (n - 1)


RIGHT = {"leave_one_out": by_loops}
WRONG = {
    "leave_one_out": {
        "wrong-sign": lambda r, k: -by_loops(r, k),
        "own-sample-in-baseline": group_mean,
        "sum-for-mean": lambda r, k: 2 * r - r.unflatten(1, (-1, k)).sum(2).repeat_interleave(k, 1),
        "leave-one-out-without-factor": over_k,
        "other-groups-returns": all_rows,
    }
}
"""By exercise: the mistake's name, and how a learner might make it."""
ELSEWHERE = {
    "leave_one_out": {
        "returns of whole episodes have no time": (
            "mean-over-time",
            "whitening-within-episode",
            "missing-mask",
            "truncation-as-termination",
            "missing-bootstrap",
            "gamma-twice",
            "gamma-missing",
        ),
        "there is no sum in it": ("mean-for-sum",),
        "there is no deviation in it": ("wrong-std-correction",),
        "no policy is involved": (
            "gradient-through-psi",
            "wrong-action",
            "inverted-ratio",
            "wrong-clip-side",
        ),
    }
}
"""By exercise: mistakes that cannot be made in it, by the reason why."""
