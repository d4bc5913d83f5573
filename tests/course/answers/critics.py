"""Chapter 4: right answers, and every mistake."""

import torch

from pgzoo import estimators


def everywhere(x, mask):
    return x.masked_fill(~mask, 0.0)


def either(terminated, truncated):
    return torch.logical_or(terminated, truncated)


# --- td_errors


def td(r, v, w, terminated, truncated, mask, gamma):
    delta = torch.zeros_like(r)
    delta[mask] = r[mask] - v[mask]
    alive = mask & ~terminated
    delta[alive] = delta[alive] + gamma * w[alive]
    return delta


def with_done(function):
    return lambda r, v, w, e, u, m, *rest: function(r, v, w, either(e, u), u, m, *rest)


def with_gamma(function, change):
    return lambda r, v, w, e, u, m, gamma, *rest: function(r, v, w, e, u, m, change(gamma), *rest)


# --- bootstrapped_return


def row_by_row(r, v, w, terminated, truncated, mask, gamma, at_end=1.0):
    out = torch.zeros_like(r)
    steps = r.shape[-1]
    for s, n in torch.cartesian_prod(torch.arange(r.shape[0]), torch.arange(r.shape[1])).tolist():
        for t in range(steps):
            if not mask[s, n, t]:
                continue
            total, factor, k = 0.0, 1.0, t
            while True:
                total = total + factor * r[s, n, k]
                factor *= gamma
                over = bool(terminated[s, n, k] or truncated[s, n, k])
                if over or k == steps - 1:
                    break
                k += 1
            if not terminated[s, n, k]:
                total = total + factor * w[s, n, k] * (1.0 if over else at_end)
            out[s, n, t] = total
    return out


def never_cut(r, v, w, terminated, truncated, mask, gamma):
    reward = everywhere(r, mask)
    out = torch.zeros_like(r)
    following = torch.where(terminated[..., -1], 0, w[..., -1])
    for t in reversed(range(r.shape[-1])):
        following = reward[..., t] + gamma * following
        out[..., t] = following
    return out


# --- gae


def by_products(r, v, w, terminated, truncated, mask, gamma, lam):
    """As it is often written, with 1 − flag as factors."""
    result, later = torch.zeros_like(r), 0.0
    for t in reversed(range(r.shape[-1])):
        alive = 1 - terminated[..., t].to(r.dtype)
        same_episode = alive * (1 - truncated[..., t].to(r.dtype))
        delta = r[..., t] + gamma * w[..., t] * alive - v[..., t]
        later = delta + gamma * lam * same_episode * later
        result[..., t] = later
    return result


def from_the_library(r, v, w, terminated, truncated, mask, gamma, lam):
    return estimators.gae(r, v, w, terminated, truncated, mask, gamma, lam)


def mixture(r, v, w, terminated, truncated, mask, gamma, lam):
    """Σ_l (γλ)^l δ_{t+l}, term by term."""
    delta = td(r, v, w, terminated, truncated, mask, gamma)
    goes_on = (mask & ~either(terminated, truncated)).to(r.dtype)
    total, weight, shifted, on = delta.clone(), torch.ones_like(r), delta, goes_on
    for _ in range(r.shape[-1] - 1):
        weight = weight * gamma * lam * on
        shifted = torch.cat([shifted[..., 1:], torch.zeros_like(shifted[..., :1])], -1)
        on = torch.cat([on[..., 1:], torch.zeros_like(on[..., :1])], -1)
        total = total + weight * shifted
    return total


def added_with(factor, *, cut=True):
    def answer(r, v, w, terminated, truncated, mask, gamma, lam):
        delta = td(r, v, w, terminated, truncated, mask, gamma)
        goes_on = mask & ~either(terminated, truncated)
        out, later = torch.zeros_like(r), torch.zeros_like(r[..., 0])
        for t in reversed(range(r.shape[-1])):
            keep = goes_on[..., t] if cut else 1.0
            later = delta[..., t] + factor(gamma, lam) * keep * later
            out[..., t] = later
        return out

    return answer


def without_last_value(r, v, w, terminated, truncated, mask, gamma, lam):
    w = torch.cat([w[..., :-1], torch.zeros_like(w[..., :1])], -1)
    return mixture(r, v, w, terminated, truncated, mask, gamma, lam)


# --- value_loss


def half_gradient(r, v, w, terminated, truncated, mask, gamma):
    with torch.no_grad():
        target = r + gamma * w * (~terminated)
    losses = [((a[m] - b[m]) ** 2).mean() for a, b, m in zip(v, target, mask, strict=True)]
    return torch.stack(losses)


def full_gradient(r, v, w, terminated, truncated, mask, gamma):
    target = r + gamma * w * (~terminated)
    return ((v - target) ** 2 * mask).sum((1, 2)) / mask.sum((1, 2))


def added_up(r, v, w, terminated, truncated, mask, gamma):
    target = (r + gamma * w * (~terminated)).detach()
    return ((v - target) ** 2 * mask).sum((1, 2))


def mean_of_everything(r, v, w, terminated, truncated, mask, gamma):
    target = (r + gamma * w * (~terminated)).detach()
    return ((v - target) ** 2 * mask).mean((1, 2))


def reward_as_target(r, v, w, terminated, truncated, mask, gamma):
    return ((v - r) ** 2 * mask).sum((1, 2)) / mask.sum((1, 2))


# --- explained_variance


def by_replica(prediction, target, mask):
    parts = [
        (y[m] - p[m]).var() / y[m].var() for p, y, m in zip(prediction, target, mask, strict=True)
    ]
    return 1 - torch.stack(parts)


def zeros_counted(prediction, target, mask):
    p, y = everywhere(prediction, mask), everywhere(target, mask)
    return 1 - (y - p).flatten(1).var(1) / y.flatten(1).var(1)


def around_row_means(prediction, target, mask):
    def squares(x):
        rows = [
            ((row[m] - row[m].mean()) ** 2).sum()
            for y, k in zip(x, mask, strict=True)
            for row, m in zip(y, k, strict=True)
        ]
        return torch.stack(rows).view(mask.shape[:2]).sum(1)

    return 1 - squares(target - prediction) / squares(target)


RIGHT = {
    "td_errors": td,
    "bootstrapped_return": row_by_row,
    "gae": by_products,
    "value_loss": half_gradient,
    "explained_variance": by_replica,
}
WRONG = {
    "td_errors": {
        "wrong-sign": lambda *s: -td(*s),
        "truncation-as-termination": with_done(td),
        "missing-bootstrap": lambda r, v, w, e, u, m, gamma: everywhere(r - v, m),
        "missing-mask": lambda r, v, w, e, u, m, gamma: r + gamma * torch.where(e, 0, w) - v,
        "gamma-missing": with_gamma(td, lambda gamma: 1.0),
        "gamma-twice": with_gamma(td, lambda gamma: gamma * gamma),
    },
    "bootstrapped_return": {
        "wrong-sign": lambda *s: -row_by_row(*s),
        "truncation-as-termination": with_done(row_by_row),
        "missing-bootstrap": lambda *s: row_by_row(*s, at_end=0.0),
        "missing-mask": never_cut,
        "gamma-missing": with_gamma(row_by_row, lambda gamma: 1.0),
        "gamma-twice": with_gamma(row_by_row, lambda gamma: gamma**2),
    },
    "gae": {
        "wrong-sign": lambda *s: -from_the_library(*s),
        "truncation-as-termination": with_done(by_products),
        "missing-bootstrap": without_last_value,
        "missing-mask": added_with(lambda gamma, lam: gamma * lam, cut=False),
        "gamma-missing": added_with(lambda gamma, lam: lam),
        "gamma-twice": added_with(lambda gamma, lam: gamma * gamma * lam),
    },
    "value_loss": {
        "wrong-sign": lambda *s: -half_gradient(*s),
        "truncation-as-termination": with_done(half_gradient),
        "missing-bootstrap": reward_as_target,
        "missing-mask": mean_of_everything,
        "gamma-missing": with_gamma(half_gradient, lambda gamma: 1.0),
        "gamma-twice": with_gamma(half_gradient, lambda gamma: gamma**2),
        "sum-for-mean": added_up,
        "gradient-through-psi": full_gradient,
    },
    "explained_variance": {
        "wrong-sign": lambda *s: -by_replica(*s),
        "mean-over-time": around_row_means,
        "missing-mask": zeros_counted,
    },
}
_NO_POLICY = ("wrong-action", "inverted-ratio", "wrong-clip-side")
_NO_BASELINE = ("own-sample-in-baseline", "leave-one-out-without-factor", "other-groups-returns")
_NO_DEVIATION = ("wrong-std-correction", "whitening-within-episode")
_NO_RETURNS = ("truncation-as-termination", "missing-bootstrap", "gamma-twice", "gamma-missing")
ELSEWHERE = {
    name: {
        "no policy is involved": _NO_POLICY,
        "there is no baseline of other episodes": _NO_BASELINE,
        "there is no deviation in it": _NO_DEVIATION,
        "nothing is averaged": ("sum-for-mean", "mean-for-sum", "mean-over-time"),
        "values are numbers": ("gradient-through-psi",),
    }
    for name in ("td_errors", "bootstrapped_return", "gae")
} | {
    "value_loss": {
        "no policy is involved": _NO_POLICY,
        "there is no baseline of other episodes": _NO_BASELINE,
        "there is no deviation in it": _NO_DEVIATION,
        "a mean is asked for": ("mean-for-sum",),
        "each step is compared with its own target": ("mean-over-time",),
    },
    "explained_variance": {
        "no policy is involved": _NO_POLICY,
        "there is no baseline of other episodes": _NO_BASELINE,
        "of n and n − 1 both cancel": ("wrong-std-correction",),
        "nothing is divided by a deviation": ("whitening-within-episode",),
        "targets are given": _NO_RETURNS,
        "sums and means have the same ratio": ("sum-for-mean", "mean-for-sum"),
        "values are numbers": ("gradient-through-psi",),
    },
}
