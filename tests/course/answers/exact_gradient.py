"""Chapter 1: the gradient you can compute: right answers, and every mistake."""

import numpy as np
import torch


def horner(reward, gamma):
    total = 0.0
    for t in reversed(range(reward.shape[1])):
        total = reward[:, t] + gamma * total
    return total


def values_by_loops(transition, reward, pi, gamma, horizon, mean=True, now=1.0, sign=1.0):
    n, actions = reward.shape
    values = np.zeros((horizon + 1, n))
    for t in reversed(range(horizon)):
        for s in range(n):
            for a in range(actions):
                following = sum(float(transition[s, a, u]) * values[t + 1, u] for u in range(n))
                weight = float(pi[s, a]) if mean else 1.0
                values[t, s] += weight * (now * float(reward[s, a]) + sign * gamma * following)
    return values


def values_by_rewards_alone(transition, reward, pi, gamma, horizon):
    each = torch.einsum("sa,sa->s", pi, reward)
    return torch.cat([each.expand(horizon, -1), torch.zeros(1, len(each))])


def by_matrix(transition, start, pi, horizon):
    going_on = (pi.unsqueeze(-1) * transition).sum(1)
    return torch.stack([start @ torch.linalg.matrix_power(going_on, t) for t in range(horizon)])


def without_policy(transition, start, pi, horizon):
    rows = [start]
    while len(rows) < horizon:
        rows.append(rows[-1] @ transition.sum(1))
    return torch.stack(rows)


def by_outer_product(pi):
    return torch.diag_embed(pi) - pi[:, :, None] * pi[:, None, :]


def transposed_probability(pi):
    return torch.diag_embed(pi) - torch.diag_embed(pi**2).sum(-1, keepdim=True).expand(
        -1, -1, pi.shape[1]
    )


def by_autograd(pi, visits, q, gamma):
    theta = pi.log().requires_grad_()
    total = 0.0
    for t in range(len(visits)):
        total = total + gamma**t * (visits[t] * (theta.softmax(-1) * q[t]).sum(-1)).sum()
    return torch.autograd.grad(total, theta)[0]


def by_scores(pi, visits, q, gamma):
    """Without the probabilities in front of the score."""
    theta = pi.log().requires_grad_()
    weights = torch.tensor([gamma**t for t in range(len(visits))])
    inner = (theta.log_softmax(-1) * q).sum(-1)
    return torch.autograd.grad((weights[:, None] * visits * inner).sum(), theta)[0]


def by_own_probability(pi, visits, q, gamma):
    found = torch.zeros_like(pi)
    for t in range(len(visits)):
        for s, a in np.ndindex(*pi.shape):
            for b in range(pi.shape[1]):
                change = pi[s, a] * (float(a == b) - pi[s, a])
                found[s, b] += gamma**t * visits[t, s] * q[t, s, a] * change
    return found


RIGHT = {
    "discounted_return": horner,
    "state_values": values_by_loops,
    "state_distribution": by_matrix,
    "softmax_derivative": by_outer_product,
    "exact_policy_gradient": by_autograd,
}
WRONG = {
    "discounted_return": {
        "gamma-missing": lambda r, gamma: horner(r, 1.0),
        "gamma-twice": lambda r, gamma: gamma * horner(r, gamma),
        "mean-for-sum": lambda r, gamma: horner(r, gamma) / r.shape[1],
    },
    "state_values": {
        "gamma-missing": lambda p, r, pi, gamma, h: values_by_loops(p, r, pi, 1.0, h),
        "gamma-twice": lambda p, r, pi, gamma, h: values_by_loops(p, r, pi, gamma, h, now=gamma),
        "sum-for-mean": lambda p, r, pi, gamma, h: values_by_loops(p, r, pi, gamma, h, mean=False),
        "missing-bootstrap": values_by_rewards_alone,
        "wrong-sign": lambda p, r, pi, gamma, h: values_by_loops(p, r, pi, gamma, h, sign=-1.0),
    },
    "state_distribution": {"sum-for-mean": without_policy},
    "softmax_derivative": {
        "wrong-sign": lambda pi: -by_outer_product(pi),
        "wrong-action": transposed_probability,
    },
    "exact_policy_gradient": {
        "wrong-sign": lambda pi, d, q, gamma: by_autograd(pi, d, -q, gamma),
        "gamma-missing": lambda pi, d, q, gamma: by_autograd(pi, d, q, 1.0),
        "gamma-twice": lambda pi, d, q, gamma: by_autograd(pi, d, gamma * q, gamma),
        "mean-for-sum": lambda pi, d, q, gamma: by_autograd(pi, d, q, gamma) / len(d),
        "sum-for-mean": by_scores,
        "wrong-action": by_own_probability,
    },
}
"""By exercise: the mistake's name, and how a learner might make it."""

_NO_SAMPLES = (
    "own-sample-in-baseline",
    "mean-over-time",
    "whitening-within-episode",
    "wrong-std-correction",
    "inverted-ratio",
    "wrong-clip-side",
    "leave-one-out-without-factor",
    "other-groups-returns",
)
_ENDS = ("missing-mask", "truncation-as-termination")
_NO_BASELINE = "there is no baseline, no ratio and no deviation in it"
_NO_PADDING = "there is no padding, and p(s'|s,a) says where episodes end"
ELSEWHERE = {
    "discounted_return": {
        _NO_BASELINE: _NO_SAMPLES,
        "rewards are zero after the end, and nothing is bootstrapped": (
            *_ENDS,
            "missing-bootstrap",
        ),
        "no mean is asked for": ("sum-for-mean",),
        "no policy is involved": ("gradient-through-psi", "wrong-action", "wrong-sign"),
    },
    "state_values": {
        _NO_BASELINE: _NO_SAMPLES,
        _NO_PADDING: _ENDS,
        "the sum over states has its probabilities in it": ("mean-for-sum",),
        "no gradient is taken": ("gradient-through-psi", "wrong-action"),
    },
    "state_distribution": {
        _NO_BASELINE: _NO_SAMPLES,
        _NO_PADDING: (*_ENDS, "missing-bootstrap"),
        "probabilities are not discounted": ("gamma-twice", "gamma-missing"),
        "the sum over states has its probabilities in it": ("mean-for-sum",),
        "no gradient is taken": ("gradient-through-psi", "wrong-action", "wrong-sign"),
    },
    "softmax_derivative": {
        _NO_BASELINE: _NO_SAMPLES,
        "a policy's derivative has no time": (
            *_ENDS,
            "missing-bootstrap",
            "gamma-twice",
            "gamma-missing",
        ),
        "there is no sum in it": ("sum-for-mean", "mean-for-sum"),
        "there is no Ψ in it": ("gradient-through-psi",),
    },
    "exact_policy_gradient": {
        _NO_BASELINE: _NO_SAMPLES,
        "d_t and Q_t are given": (*_ENDS, "missing-bootstrap", "gradient-through-psi"),
    },
}
"""By exercise: mistakes that cannot be made in it, by the reason why."""
