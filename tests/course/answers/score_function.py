"""Chapter 2: the log-derivative trick: right answers, and every mistake."""

import torch


def by_autograd(logits, action, sign=1.0):
    leaf = logits.clone().requires_grad_()
    distribution = torch.distributions.Categorical(logits=leaf)
    return torch.autograd.grad(sign * distribution.log_prob(action).sum(), leaf)[0]


def value_by_autograd(logits, q, sign=1.0):
    leaf = logits.clone().requires_grad_()
    (leaf.softmax(-1) * q).sum().backward()
    return sign * leaf.grad


def scores_added_up(logits, q):
    total = torch.zeros_like(logits)
    for a in range(logits.shape[-1]):
        action = torch.full(logits.shape[:-1], a)
        total += q[..., a : a + 1] * by_autograd(logits, action)
    return total


def by_cumsum(reward, mask, gamma):
    """Sums of γ^j r_j from behind, with γ^t taken out again."""
    real = reward.clone()
    real[~mask] = 0.0
    weights = gamma ** torch.arange(reward.shape[-1], dtype=torch.float64)
    sums = (real * weights).flip(-1).cumsum(-1).flip(-1) / weights
    sums[~mask] = 0.0
    return sums.numpy()


def without_a_mask(reward, mask, gamma):
    return by_cumsum(reward, torch.ones_like(mask), gamma)


def cumsum_only(reward, mask, gamma):
    weights = gamma ** torch.arange(reward.shape[-1])
    return (torch.where(mask, reward, 0) * weights).flip(-1).cumsum(-1).flip(-1) * mask


def by_loops(score, psi, mask, over_steps=False, over_episodes=True, padding=False):
    episodes, steps, parameters = score.shape
    total = torch.zeros(parameters)
    for i in range(episodes):
        for t in range(steps):
            if mask[i, t] or padding:
                total = total + psi[i, t] * score[i, t]
    if over_steps:
        return total / mask.sum()
    return total / episodes if over_episodes else total


def by_categorical(logits, action, psi, mask):
    """Padding is left out before anything is computed."""
    log_prob = torch.distributions.Categorical(logits=logits[mask]).log_prob(action[mask])
    return -(psi[mask].detach() * log_prob).sum() / len(mask)


def attached(logits, action, psi, mask):
    log_prob = torch.distributions.Categorical(logits=logits).log_prob(action)
    return -(psi * log_prob * mask).sum(1).mean()


def first_choice(logits, action, psi, mask):
    log_prob = logits.log_softmax(-1).max(-1).values
    return -(psi.detach() * log_prob * mask).sum(1).mean()


def plain_mean(logits, action, psi, mask):
    log_prob = torch.distributions.Categorical(logits=logits[mask]).log_prob(action[mask])
    return -(psi[mask].detach() * log_prob).mean()


def unmasked(logits, action, psi, mask):
    log_prob = torch.distributions.Categorical(logits=logits).log_prob(action)
    return -(psi.detach() * log_prob).sum(1).mean()


RIGHT = {
    "score_function": by_autograd,
    "all_actions_gradient": value_by_autograd,
    "returns_to_go": by_cumsum,
    "policy_gradient_estimate": by_loops,
    "surrogate_loss": by_categorical,
}
WRONG = {
    "score_function": {
        "wrong-sign": lambda logits, a: by_autograd(logits, a, sign=-1.0),
        "wrong-action": lambda logits, a: by_autograd(logits, logits.max(-1).indices),
    },
    "all_actions_gradient": {
        "wrong-sign": lambda logits, q: value_by_autograd(logits, q, sign=-1.0),
        "sum-for-mean": scores_added_up,
        "mean-for-sum": lambda logits, q: value_by_autograd(logits, q) / logits.shape[-1],
    },
    "returns_to_go": {
        "missing-mask": without_a_mask,
        "gamma-missing": lambda r, m, gamma: by_cumsum(r, m, 1.0),
        "gamma-twice": cumsum_only,
    },
    "policy_gradient_estimate": {
        "wrong-sign": lambda score, psi, m: by_loops(-score, psi, m),
        "sum-for-mean": lambda score, psi, m: by_loops(score, psi, m, over_episodes=False),
        "mean-for-sum": lambda score, psi, m: by_loops(score, psi, m, over_steps=True),
        "missing-mask": lambda score, psi, m: by_loops(score, psi, m, padding=True),
    },
    "surrogate_loss": {
        "wrong-sign": lambda *args: -by_categorical(*args),
        "gradient-through-psi": attached,
        "wrong-action": first_choice,
        "mean-for-sum": plain_mean,
        "sum-for-mean": lambda logits, a, psi, m: len(m) * by_categorical(logits, a, psi, m),
        "missing-mask": unmasked,
    },
}
"""By exercise: the mistake's name, and how a learner might make it."""

_NO_BASELINE = (
    "own-sample-in-baseline",
    "mean-over-time",
    "whitening-within-episode",
    "wrong-std-correction",
    "leave-one-out-without-factor",
    "other-groups-returns",
)
_NO_RATIO = ("inverted-ratio", "wrong-clip-side")
_OF_REWARDS = (
    "truncation-as-termination",
    "missing-bootstrap",
    "gamma-twice",
    "gamma-missing",
)
_SHARED = {
    "there is no baseline and no deviation in it": _NO_BASELINE,
    "the policy that acts is the one that learns": _NO_RATIO,
}
ELSEWHERE = {
    "score_function": {
        **_SHARED,
        "one decision has no time": (*_OF_REWARDS, "missing-mask"),
        "there is no sum in it": ("sum-for-mean", "mean-for-sum"),
        "there is no Ψ in it": ("gradient-through-psi",),
    },
    "all_actions_gradient": {
        **_SHARED,
        "one decision has no time": (*_OF_REWARDS, "missing-mask"),
        "all actions are taken": ("wrong-action",),
        "q is given, as a number": ("gradient-through-psi",),
    },
    "returns_to_go": {
        **_SHARED,
        "whole episodes are summed to their end": (
            "truncation-as-termination",
            "missing-bootstrap",
            "mean-for-sum",
            "sum-for-mean",
        ),
        "no policy is involved": ("gradient-through-psi", "wrong-action", "wrong-sign"),
    },
    "policy_gradient_estimate": {
        **_SHARED,
        "Ψ and the scores are given": (*_OF_REWARDS, "gradient-through-psi", "wrong-action"),
    },
    "surrogate_loss": {**_SHARED, "Ψ is given": _OF_REWARDS},
}
"""By exercise: mistakes that cannot be made in it, by the reason why."""
