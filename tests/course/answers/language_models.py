"""Chapter 6: from language models back to control: right answers, and every mistake."""

import numpy as np
import torch

from pgzoo import estimators

# ------------------------------------------------------------------------------ group_standardize


def standardized_by_loops(returns, group_size, eps):
    advantage = torch.empty_like(returns)
    for s in range(len(returns)):
        for first in range(0, returns.shape[1], group_size):
            group = returns[s, first : first + group_size]
            squares = sum((x - group.mean()) ** 2 for x in group) / (group_size - 1)
            advantage[s, first : first + group_size] = (group - group.mean()) / (squares**0.5 + eps)
    return advantage


def with_numpy_s_std(returns, group_size, eps):
    group = returns.numpy().reshape(len(returns), -1, group_size)
    z = (group - group.mean(-1, keepdims=True)) / (group.std(-1, keepdims=True) + eps)
    return torch.from_numpy(z.reshape(returns.shape))


def norm_for_std(returns, group_size, eps):
    centered = estimators.group_center(returns, group_size).unflatten(-1, (-1, group_size))
    return (centered / (centered.norm(dim=-1, keepdim=True) + eps)).flatten(-2)


# --------------------------------------------------------------------------- advantages_by_prompt


def by_dictionary(token_level_rewards, response_mask, index):
    scores = token_level_rewards.masked_fill(~response_mask, 0).sum(1)
    rows = {}
    for i, prompt in enumerate(index):
        rows.setdefault(int(prompt), []).append(i)
    advantage = torch.zeros_like(token_level_rewards)
    for members in rows.values():
        for i in members:
            others = [scores[j] for j in members if j != i]
            advantage[i, response_mask[i]] = scores[i] - torch.stack(others).mean()
    return advantage


def _with_baseline(baseline, score=lambda r, m: r.masked_fill(~m, 0).sum(1)):
    """An answer of a baseline of (a prompt's scores, which of them is meant)."""

    def answer(token_level_rewards, response_mask, index):
        scores = score(token_level_rewards, response_mask)
        advantage = scores.clone()
        for prompt in np.unique(index):
            (rows,) = np.nonzero(index == prompt)
            for k, row in enumerate(rows):
                advantage[row] -= baseline(scores[rows], k)
        return advantage.unsqueeze(1) * response_mask

    return answer


def _others(group, k):
    return torch.cat([group[:k], group[k + 1 :]])


leave_one_out = _with_baseline(lambda group, k: _others(group, k).mean())


# ------------------------------------------------------------------------------- whitened_returns


def by_discount_matrix(token_level_rewards, response_mask, gamma):
    steps = torch.arange(token_level_rewards.shape[1])
    ahead = steps - steps[:, None]
    powers = torch.where(ahead >= 0, float(gamma) ** ahead.clamp(min=0), 0)
    rewards = token_level_rewards.masked_fill(~response_mask, 0)
    returns = rewards @ powers.to(rewards).T
    z = torch.zeros_like(returns)
    real = returns[response_mask]
    z[response_mask] = (real - real.mean()) / (real.var() + 1e-8).sqrt()
    return z


def _of_returns(whiten, discount=lambda r, m, gamma: estimators.returns_to_go(r, m, gamma)):
    return lambda r, m, gamma: whiten(discount(r, m, gamma), m)


def zeros_counted(returns, mask):
    return (returns - returns.mean()) / (returns.var() + 1e-8).sqrt() * mask


def row_by_row(returns, mask):
    return torch.stack(
        [estimators.whiten(g[None], m[None])[0] for g, m in zip(returns, mask, strict=True)]
    )


def row_means_first(returns, mask):
    means = [g[m].mean() for g, m in zip(returns, mask, strict=True)]
    return estimators.whiten(returns - torch.stack(means)[:, None], mask)


def over_n(returns, mask):
    n = mask.sum()
    return estimators.whiten(returns, mask) * (n / (n - 1)) ** 0.5


def discounted_from_the_start(rewards, mask, gamma):
    for t in range(rewards.shape[1]):
        rewards[:, t] *= gamma**t
    return estimators.returns_to_go(rewards, mask, gamma)


# --------------------------------------------------------------------------- kl_penalized_rewards


def token_by_token(scores, log_prob, ref_log_prob, response_mask, beta):
    rewards = torch.zeros_like(log_prob)
    for i, length in enumerate(response_mask.sum(1).tolist()):
        for t in range(length):
            rewards[i, t] = -beta * (log_prob[i, t] - ref_log_prob[i, t])
        rewards[i, length - 1] += scores[i]
    return rewards


def score_at_the_end(scores, log_prob, ref_log_prob, response_mask, beta):
    rewards = -beta * (log_prob - ref_log_prob)
    rewards[:, -1] += scores
    return rewards


# ----------------------------------------------------------------------------------- kl_surrogate


def score_function_of_kl(log_prob, ref_log_prob):
    return (log_prob - ref_log_prob).detach() * log_prob


def less_the_batch_mean(log_prob, ref_log_prob):
    k1 = (log_prob - ref_log_prob).detach()
    return (k1 - k1.mean()) * log_prob


# --------------------------------------------------------------------------------- aggregate_loss


def by_weights(loss, mask, mode):
    return (estimators.aggregation_weights(mask, mode) * loss.masked_fill(~mask, 0)).sum()


def sum_of_all(loss, mask, mode):
    return loss[mask].sum() if mode == "sum" else by_weights(loss, mask, mode)


def mean_of_rows(loss, mask, mode):
    return by_weights(loss, mask, "trajectory-mean" if mode == "sum" else mode)


def of_the_array(loss, mask, mode):
    return loss.sum(1).mean() if mode == "sum" else loss.mean()


RIGHT = {
    "group_standardize": standardized_by_loops,
    "advantages_by_prompt": by_dictionary,
    "whitened_returns": by_discount_matrix,
    "kl_penalized_rewards": token_by_token,
    "kl_surrogate": score_function_of_kl,
    "aggregate_loss": by_weights,
}
WRONG = {
    "group_standardize": {
        "wrong-std-correction": with_numpy_s_std,
        "sum-for-mean": norm_for_std,
        "other-groups-returns": lambda r, k, e: standardized_by_loops(r, r.shape[1], e),
        "wrong-sign": lambda r, k, e: standardized_by_loops(-r, k, e),
    },
    "advantages_by_prompt": {
        "own-sample-in-baseline": _with_baseline(lambda group, k: group.mean()),
        "leave-one-out-without-factor": _with_baseline(
            lambda group, k: _others(group, k).sum() / len(group)
        ),
        "sum-for-mean": _with_baseline(lambda group, k: _others(group, k).sum()),
        "wrong-sign": lambda r, m, i: leave_one_out(-r, m, i),
        "mean-for-sum": _with_baseline(
            lambda group, k: _others(group, k).mean(),
            lambda r, m: torch.stack([x[real].mean() for x, real in zip(r, m, strict=True)]),
        ),
        "missing-mask": _with_baseline(
            lambda group, k: _others(group, k).mean(), lambda r, m: r.sum(1)
        ),
        "other-groups-returns": lambda r, m, i: leave_one_out(r, m, 0 * i),
    },
    "whitened_returns": {
        "missing-mask": _of_returns(zeros_counted),
        "whitening-within-episode": _of_returns(row_by_row),
        "mean-over-time": _of_returns(row_means_first),
        "gamma-missing": lambda r, m, gamma: by_discount_matrix(r, m, 1),
        "gamma-twice": _of_returns(estimators.whiten, discounted_from_the_start),
        "wrong-std-correction": _of_returns(over_n),
        "wrong-sign": lambda r, m, gamma: by_discount_matrix(-r, m, gamma),
    },
    "kl_penalized_rewards": {
        "wrong-sign": lambda s, p, ref, m, beta: token_by_token(s, ref, p, m, beta),
        "missing-mask": score_at_the_end,
        "mean-for-sum": lambda s, p, ref, m, beta: token_by_token(
            s, p / m.sum(1, True), ref / m.sum(1, True), m, beta
        ),
    },
    "kl_surrogate": {
        "wrong-sign": lambda p, ref: (ref - p).detach() * p,
        "own-sample-in-baseline": less_the_batch_mean,
        "inverted-ratio": lambda p, ref: (ref - p).expm1() + p - ref,
        "gradient-through-psi": lambda p, ref: (p - ref) * p,
    },
    "aggregate_loss": {
        "missing-mask": of_the_array,
        "sum-for-mean": sum_of_all,
        "mean-for-sum": mean_of_rows,
        "wrong-sign": lambda x, m, mode: -by_weights(x, m, mode),
    },
}
"""By exercise: the mistake's name, and how a learner might make it."""

_NO_VALUES = ("truncation-as-termination", "missing-bootstrap")
_NO_POLICY = ("gradient-through-psi", "wrong-action", "inverted-ratio", "wrong-clip-side")
_NO_DISCOUNT = ("gamma-twice", "gamma-missing")
_NO_TIME = ("mean-over-time", "whitening-within-episode")
_NO_BASELINE = ("own-sample-in-baseline", "leave-one-out-without-factor", "other-groups-returns")
ELSEWHERE = {
    "group_standardize": {
        "returns of whole episodes have no time": (
            *_NO_VALUES,
            *_NO_DISCOUNT,
            *_NO_TIME,
            "missing-mask",
        ),
        "the group's mean is asked for, own return included": (
            "own-sample-in-baseline",
            "leave-one-out-without-factor",
        ),
        "there is no sum in it": ("mean-for-sum",),
        "no policy is involved": _NO_POLICY,
    },
    "advantages_by_prompt": {
        "there is no value function": _NO_VALUES,
        "there is no discount": _NO_DISCOUNT,
        "an advantage is the same at all tokens": _NO_TIME,
        "there is no deviation in it": ("wrong-std-correction",),
        "no policy is involved": _NO_POLICY,
    },
    "whitened_returns": {
        "every response ends": _NO_VALUES,
        "there are no groups": _NO_BASELINE,
        "a standard deviation is no sum, and a discounted sum has no mean": (
            "sum-for-mean",
            "mean-for-sum",
        ),
        "no policy is involved": _NO_POLICY,
    },
    "kl_penalized_rewards": {
        "there is no value function": _NO_VALUES,
        "there is no discount": _NO_DISCOUNT,
        "there is no baseline and no scale": (
            *_NO_TIME,
            *_NO_BASELINE,
            "wrong-std-correction",
        ),
        "there is no mean in it": ("sum-for-mean",),
        "upside down, the ratio's logarithm has the other sign: wrong-sign": ("inverted-ratio",),
        "log-probabilities are given, and nothing is differentiated": (
            "gradient-through-psi",
            "wrong-action",
            "wrong-clip-side",
        ),
    },
    "kl_surrogate": {
        "there are no rewards": (*_NO_VALUES, *_NO_DISCOUNT, "other-groups-returns"),
        "a mean of other tokens, by whatever divided, is a baseline without bias": (
            "leave-one-out-without-factor",
        ),
        "the mean over a response's tokens has the own one in it: own-sample-in-baseline": (
            "mean-over-time",
        ),
        "every token has a term of its own": (
            "whitening-within-episode",
            "missing-mask",
            "sum-for-mean",
            "mean-for-sum",
            "wrong-std-correction",
        ),
        "log-probabilities are given, and nothing is clipped": ("wrong-action", "wrong-clip-side"),
    },
    "aggregate_loss": {
        "terms are given": (*_NO_VALUES, *_NO_DISCOUNT, *_NO_BASELINE, *_NO_POLICY),
        "a mean over a response's tokens is what one of the modes asks for": ("mean-over-time",),
        "nothing is standardised": ("whitening-within-episode", "wrong-std-correction"),
    },
}
"""By exercise: mistakes that cannot be made in it, by the reason why."""
