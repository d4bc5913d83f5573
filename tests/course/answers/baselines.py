"""Chapter 3: right answers, and every mistake."""

import torch

from pgzoo.estimators import returns_to_go
from pgzoo.estimators import whiten as library_whiten


def zeroed(x, mask):
    return x.masked_fill(~mask, 0.0)


# --- advantage_over_others


def others_by_loops(returns, mask):
    psi = torch.zeros_like(returns)
    for s in range(mask.shape[0]):
        for i in range(mask.shape[1]):
            others = [j for j in range(mask.shape[1]) if j != i]
            b = torch.cat([returns[s, j][mask[s, j]] for j in others]).mean()
            psi[s, i] = returns[s, i] - b
    return psi


def batch_mean(returns, mask):
    means = torch.stack([r[m].mean() for r, m in zip(returns, mask, strict=True)])
    return returns - means[:, None, None]


def own_time_mean(returns, mask):
    mean = zeroed(returns, mask).sum(2) / mask.sum(2)
    return returns - mean[..., None]


def shape_for_count(returns, mask):
    psi = torch.zeros_like(returns)
    for i in range(mask.shape[1]):
        others = [j for j in range(mask.shape[1]) if j != i]
        psi[:, i] = returns[:, i] - zeroed(returns, mask)[:, others].mean((1, 2))[:, None]
    return psi


def others_summed(returns, mask):
    x = zeroed(returns, mask)
    return returns - (x.sum((1, 2))[:, None] - x.sum(2))[..., None]


def others_over_all_steps(returns, mask):
    x = zeroed(returns, mask)
    others = x.sum((1, 2))[:, None] - x.sum(2)
    return returns - (others / mask.sum((1, 2))[:, None])[..., None]


# --- time_step_baseline


def steps_by_loops(returns, mask):
    b = torch.zeros_like(returns)
    for s, i, t in mask.nonzero().tolist():
        there = [j for j in range(mask.shape[1]) if j != i and mask[s, j, t]]
        b[s, i, t] = sum(returns[s, j, t] for j in there) / len(there) if there else 0.0
    return b


def mean_of_all_there(returns, mask):
    return torch.nanmean(returns.masked_fill(~mask, torch.nan), 1, keepdim=True).expand_as(returns)


def without(matrix, x):
    """Σ_j matrix[i, j] x[s, j, t]."""
    return torch.einsum("ij,sjt->sit", matrix.to(x.dtype), x)


def not_i(mask):
    return 1 - torch.eye(mask.shape[1])


# --- optimal_constant


def by_least_squares(returns, scores, mask):
    """The regression of R·B on B through the origin."""
    b = []
    for r, x, m in zip(returns, scores, mask, strict=True):
        total = torch.stack([step[real].sum(0) for step, real in zip(x, m, strict=True)])
        target = (r[:, None] * total).reshape(-1, 1)
        b.append(torch.linalg.lstsq(total.reshape(-1, 1), target).solution.squeeze())
    return torch.stack(b)


def constant(returns, scores, mask, reduce):
    totals = torch.stack(
        [
            torch.stack([reduce(step[real], 0) for step, real in zip(x, m, strict=True)])
            for x, m in zip(scores, mask, strict=True)
        ]
    )
    weight = torch.linalg.vector_norm(totals, dim=-1) ** 2
    return (returns * weight).mean(1) / weight.mean(1)


def padded_scores(returns, scores, mask):
    weight = scores.sum(2).pow(2).sum(-1)
    return (returns * weight).mean(1) / weight.mean(1)


# --- whiten


def per_row(psi, mask):
    return torch.cat(
        [library_whiten(psi[:, i : i + 1], mask[:, i : i + 1]) for i in range(psi.shape[1])], 1
    )


def population(psi, mask):
    n = mask.sum((1, 2), keepdim=True)
    return library_whiten(psi, mask) * (n / (n - 1)).sqrt()


def padding_as_zeros(psi, mask):
    x = zeroed(psi, mask)
    return (x - x.mean((1, 2), keepdim=True)) / (x.var((1, 2), keepdim=True) + 1e-8).sqrt()


def by_flat_lists(psi, mask):
    out = torch.zeros_like(psi)
    for s in range(len(psi)):
        x = psi[s][mask[s]]
        out[s][mask[s]] = (x - x.mean()) / torch.sqrt(x.var(unbiased=True) + 1e-8)
    return out


# --- my_baseline_psi


def to_go(t, gamma):
    return returns_to_go(t.reward, t.mask, gamma)


def less_others_at_step(t, gamma):
    returns = to_go(t, gamma)
    return returns - steps_by_loops_fast(returns, t.mask)


def steps_by_loops_fast(returns, mask):
    x = zeroed(returns, mask)
    total, count = without(not_i(mask), x), without(not_i(mask), mask.to(x.dtype))
    return total / count.clamp(min=1)


def less_all_at_step(t, gamma):
    returns = to_go(t, gamma)
    return returns - mean_of_all_there(returns, t.mask)


def discounted_from_start(t, gamma):
    steps = torch.arange(t.mask.shape[2])
    discounted = torch.where(t.mask, t.reward, 0) * gamma**steps
    returns = discounted.flip(-1).cumsum(-1).flip(-1)
    return returns - steps_by_loops_fast(returns, t.mask)


def reading_padding(t, gamma):
    returns = torch.zeros_like(t.reward)
    following = torch.zeros_like(t.reward[..., 0])
    for k in reversed(range(t.mask.shape[2])):
        following = t.reward[..., k] + gamma * following
        returns[..., k] = following
    return returns - steps_by_loops_fast(returns, t.mask)


def white_in_time(t, gamma):
    returns = to_go(t, gamma)
    return per_row(returns - steps_by_loops_fast(returns, t.mask), t.mask)


RIGHT = {
    "advantage_over_others": others_by_loops,
    "time_step_baseline": steps_by_loops,
    "optimal_constant": by_least_squares,
    "whiten": by_flat_lists,
    "my_baseline_psi": less_others_at_step,
}
WRONG = {
    "advantage_over_others": {
        "wrong-sign": lambda g, m: -others_by_loops(g, m),
        "own-sample-in-baseline": batch_mean,
        "mean-over-time": own_time_mean,
        "missing-mask": shape_for_count,
        "sum-for-mean": others_summed,
        "leave-one-out-without-factor": others_over_all_steps,
    },
    "time_step_baseline": {
        "wrong-sign": lambda g, m: -steps_by_loops(g, m),
        "own-sample-in-baseline": mean_of_all_there,
        "mean-over-time": lambda g, m: g - own_time_mean(zeroed(g, m), m),
        "missing-mask": lambda g, m: without(not_i(m) / (m.shape[1] - 1), zeroed(g, m)),
        "sum-for-mean": lambda g, m: without(not_i(m), zeroed(g, m)),
        "leave-one-out-without-factor": lambda g, m: (
            without(not_i(m), zeroed(g, m)) / m.sum(1, keepdim=True).clamp(min=1)
        ),
    },
    "optimal_constant": {
        "wrong-sign": lambda r, x, m: -by_least_squares(r, x, m),
        "missing-mask": padded_scores,
        "mean-for-sum": lambda r, x, m: constant(r, x, m, torch.mean),
        "sum-for-mean": lambda r, x, m: r.shape[1] * constant(r, x, m, torch.sum),
    },
    "whiten": {
        "wrong-sign": lambda p, m: by_flat_lists(-p, m),
        "whitening-within-episode": per_row,
        "wrong-std-correction": population,
        "missing-mask": padding_as_zeros,
        "sum-for-mean": lambda p, m: by_flat_lists(p, m) / (m.sum((1, 2), keepdim=True) - 1).sqrt(),
    },
    "my_baseline_psi": {
        "wrong-sign": lambda t, gamma: -less_others_at_step(t, gamma),
        "own-sample-in-baseline": less_all_at_step,
        "mean-over-time": lambda t, gamma: own_time_mean(to_go(t, gamma), t.mask),
        "whitening-within-episode": white_in_time,
        "missing-mask": reading_padding,
        "gamma-twice": discounted_from_start,
        "gamma-missing": lambda t, gamma: less_others_at_step(t, 1.0),
    },
}
_NO_POLICY = ("gradient-through-psi", "wrong-action", "inverted-ratio", "wrong-clip-side")
_NO_CRITIC = ("truncation-as-termination", "missing-bootstrap")
_RETURNS_GIVEN = ("gamma-twice", "gamma-missing")
ELSEWHERE = {
    "advantage_over_others": {
        "no policy is involved": _NO_POLICY,
        "there is no critic, and rows are complete episodes": _NO_CRITIC,
        "returns are given": _RETURNS_GIVEN,
        "there is no deviation in it": ("whitening-within-episode", "wrong-std-correction"),
        "there is no sum in it": ("mean-for-sum",),
        "there are no groups": ("other-groups-returns",),
    },
    "time_step_baseline": {
        "no policy is involved": _NO_POLICY,
        "there is no critic, and rows are complete episodes": _NO_CRITIC,
        "returns are given": _RETURNS_GIVEN,
        "there is no deviation in it": ("whitening-within-episode", "wrong-std-correction"),
        "there is no sum in it": ("mean-for-sum",),
        "there are no groups": ("other-groups-returns",),
    },
    "optimal_constant": {
        "score functions are given": _NO_POLICY,
        "there is no critic, and rows are complete episodes": _NO_CRITIC,
        "returns are given": _RETURNS_GIVEN,
        "there is no deviation in it": ("whitening-within-episode", "wrong-std-correction"),
        "one number for the whole batch is asked for": (
            "own-sample-in-baseline",
            "leave-one-out-without-factor",
            "mean-over-time",
        ),
        "there are no groups": ("other-groups-returns",),
    },
    "whiten": {
        "no policy is involved": _NO_POLICY,
        "there is no critic, and rows are complete episodes": _NO_CRITIC,
        "Ψ is given": _RETURNS_GIVEN,
        "nothing is left out of the batch's mean": (
            "own-sample-in-baseline",
            "leave-one-out-without-factor",
        ),
        "it is called whitening within an episode here": ("mean-over-time",),
        "there is no sum in it": ("mean-for-sum",),
        "there are no groups": ("other-groups-returns",),
    },
    "my_baseline_psi": {
        "no policy is involved": _NO_POLICY,
        "there is no critic, and rows are complete episodes": _NO_CRITIC,
        "a baseline of any size is one: what is too large fails by its variance, without bias": (
            "sum-for-mean",
            "mean-for-sum",
            "leave-one-out-without-factor",
        ),
        "Ψ is not to be rescaled": ("wrong-std-correction",),
        "there are no groups": ("other-groups-returns",),
    },
}
