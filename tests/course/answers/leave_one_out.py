"""Chapter 5: right answers, and every mistake."""

import numpy as np
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


def sum_of_others(returns, group_size):
    total = returns.unflatten(1, (-1, group_size)).sum(2).repeat_interleave(group_size, 1)
    return 2 * returns - total


def covariance(returns, scores, group_size):
    """RLOO is the sample covariance of return and score."""
    estimates = []
    for r, s in zip(returns.numpy(), scores.numpy(), strict=True):
        groups = zip(r.reshape(-1, group_size), np.split(s, len(s) // group_size), strict=True)
        estimates.append(np.mean([np.cov(a, b.T)[0, 1:] for a, b in groups], axis=0))
    return np.array(estimates)


def covariance_over_k(returns, scores, group_size):
    return covariance(returns, scores, group_size) * (group_size - 1) / group_size


def covariance_of_all(returns, scores, group_size):
    return covariance(returns, scores, returns.shape[1])


def analysis_of_variance(returns, group_size, correction=1):
    group = returns.numpy().reshape(len(returns), -1, group_size)
    within = np.var(group, axis=2, ddof=correction).mean(axis=1)
    of_means = np.var(group.mean(axis=2), axis=1, ddof=correction)
    return of_means - within / group_size, within


def within_all_rows(returns, group_size):
    between, within = analysis_of_variance(returns, group_size)
    everything = returns.numpy().var(axis=1, ddof=1)
    return between + (within - everything) / group_size, everything


def within_summed(returns, group_size):
    between, within = analysis_of_variance(returns, group_size)
    summed = within * (returns.shape[1] // group_size)
    return between + (within - summed) / group_size, summed


def steps_by_loops(returns, mask, group_size, divisor=lambda others, k: max(len(others), 1)):
    advantage = torch.zeros_like(returns)
    for s, n, t in mask.nonzero().tolist():
        first = n - n % group_size
        others = [m for m in range(first, first + group_size) if m != n and mask[s, m, t]]
        total = sum(float(returns[s, m, t]) for m in others)
        advantage[s, n, t] = returns[s, n, t] - total / divisor(others, group_size)
    return advantage


def steps_unmasked(returns, mask, group_size):
    per_step = [by_loops(returns[..., t], group_size) for t in range(returns.shape[2])]
    return torch.where(mask, torch.stack(per_step, dim=2), 0)


def steps_own_mean(returns, mask, group_size):
    advantage = torch.zeros_like(returns)
    for s in range(len(mask)):
        for n in range(mask.shape[1]):
            mine = returns[s, n, mask[s, n]]
            advantage[s, n, mask[s, n]] = mine - mine.mean()
    return advantage


def steps_with_own_sample(returns, mask, group_size):
    zeroed = returns.masked_fill(~mask, 0).unflatten(1, (-1, group_size))
    count = mask.unflatten(1, (-1, group_size)).sum(2, keepdim=True)
    return torch.where(mask, (zeroed - zeroed.sum(2, keepdim=True) / count).flatten(1, 2), 0)


def psi(advantage, discount=lambda t, gamma: gamma ** torch.arange(t.mask.shape[2]), mask=True):
    """Ψ with an advantage and a discount of one's choice."""

    def of_trajectories(trajectories, gamma):
        t = trajectories
        reward = t.reward.masked_fill(~t.mask, 0.0) if mask else t.reward
        returns = (reward * discount(t, gamma)).sum(dim=2)
        return advantage(returns, t.group_size)[:, :, None].repeat(1, 1, t.mask.shape[2])

    return of_trajectories


def psi_backwards(trajectories, gamma):
    t = trajectories
    total = torch.zeros(t.mask.shape[:2])
    for step in reversed(range(t.mask.shape[2])):
        total = torch.where(t.mask[..., step], t.reward[..., step] + gamma * total, total)
    group = total.unflatten(1, (-1, t.group_size))
    scaled = (group - group.mean(2, keepdim=True)) * t.group_size / (t.group_size - 1)
    return scaled.flatten(1)[:, :, None] * t.mask


def nothing(t, gamma):
    return torch.ones(t.mask.shape[2])


def one_too_many(t, gamma):
    return gamma ** torch.arange(1, t.mask.shape[2] + 1)


def shares(t, gamma):
    return gamma ** torch.arange(t.mask.shape[2]) / t.mask.sum(2, keepdim=True)


RIGHT = {
    "leave_one_out": by_loops,
    "pairwise_gradient": covariance,
    "between_within_variance": analysis_of_variance,
    "leave_one_out_per_step": steps_by_loops,
    "rloo_psi": psi_backwards,
}
WRONG = {
    "leave_one_out": {
        "wrong-sign": lambda r, k: -by_loops(r, k),
        "own-sample-in-baseline": group_mean,
        "sum-for-mean": sum_of_others,
        "leave-one-out-without-factor": over_k,
        "other-groups-returns": all_rows,
    },
    "pairwise_gradient": {
        "wrong-sign": lambda r, s, k: -covariance(r, s, k),
        "sum-for-mean": lambda r, s, k: covariance(r, s, k) * (r.shape[1] // k),
        "leave-one-out-without-factor": covariance_over_k,
        "other-groups-returns": covariance_of_all,
    },
    "between_within_variance": {
        "wrong-std-correction": lambda r, k: analysis_of_variance(r, k, correction=0),
        "sum-for-mean": within_summed,
        "other-groups-returns": within_all_rows,
    },
    "leave_one_out_per_step": {
        "wrong-sign": lambda r, m, k: -steps_by_loops(r, m, k),
        "own-sample-in-baseline": steps_with_own_sample,
        "mean-over-time": steps_own_mean,
        "missing-mask": steps_unmasked,
        "sum-for-mean": lambda r, m, k: steps_by_loops(r, m, k, lambda others, k: 1),
        "leave-one-out-without-factor": lambda r, m, k: steps_by_loops(
            r, m, k, lambda others, k: len(others) + 1
        ),
        "other-groups-returns": lambda r, m, k: steps_by_loops(r, m, r.shape[1]),
    },
    "rloo_psi": {
        "wrong-sign": psi(lambda r, k: -by_loops(r, k)),
        "own-sample-in-baseline": psi(group_mean),
        "missing-mask": psi(by_loops, mask=False),
        "gamma-missing": psi(by_loops, nothing),
        "gamma-twice": psi(by_loops, one_too_many),
        "sum-for-mean": psi(sum_of_others),
        "mean-for-sum": psi(by_loops, shares),
        "leave-one-out-without-factor": psi(over_k),
        "other-groups-returns": psi(all_rows),
    },
}
"""By exercise: the mistake's name, and how a learner might make it."""
_POLICY = ("gradient-through-psi", "wrong-action", "inverted-ratio", "wrong-clip-side")
_ENDS = ("truncation-as-termination", "missing-bootstrap")
_GAMMA = ("gamma-twice", "gamma-missing")
_TIME = ("mean-over-time", "whitening-within-episode", "missing-mask")
ELSEWHERE = {
    "leave_one_out": {
        "returns of whole episodes have no time": (*_TIME, *_ENDS, *_GAMMA),
        "there is no sum in it": ("mean-for-sum",),
        "there is no deviation in it": ("wrong-std-correction",),
        "no policy is involved": _POLICY,
    },
    "pairwise_gradient": {
        "returns of whole episodes have no time": (*_TIME, *_ENDS, *_GAMMA),
        "a mean is asked for": ("mean-for-sum",),
        "a rollout paired with itself adds nothing but to the count: another mistake's name": (
            "own-sample-in-baseline",
        ),
        "there is no deviation in it": ("wrong-std-correction",),
        "scores are given": _POLICY,
    },
    "between_within_variance": {
        "returns of whole episodes have no time": (*_TIME, *_ENDS, *_GAMMA),
        "there is no sum in it": ("mean-for-sum",),
        "a variance has no sign to confuse": ("wrong-sign",),
        "there is no baseline in it": ("own-sample-in-baseline", "leave-one-out-without-factor"),
        "no policy is involved": _POLICY,
    },
    "leave_one_out_per_step": {
        "returns-to-go are given": (*_ENDS, *_GAMMA),
        "there is no sum in it": ("mean-for-sum",),
        "there is no deviation in it": ("whitening-within-episode", "wrong-std-correction"),
        "no policy is involved": _POLICY,
    },
    "rloo_psi": {
        "an episode has one return, and no baseline over its time": ("mean-over-time",),
        "episodes are complete, and there is no critic": _ENDS,
        "there is no deviation in it": ("whitening-within-episode", "wrong-std-correction"),
        "the score function is another's affair": _POLICY,
    },
}
"""By exercise: mistakes that cannot be made in it, by the reason why."""
