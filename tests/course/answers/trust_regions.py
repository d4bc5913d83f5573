"""Chapter 7: trust regions: right answers, and every mistake."""

import numpy as np
import torch
from torch.distributions import Categorical


def ratios(new, old, mask, product=lambda ratio, mask: np.prod(ratio, axis=2)):
    """Quotients of probabilities, in NumPy."""
    quotient = np.exp(new.numpy()) / np.exp(old.numpy())
    ratio = np.where(mask.numpy(), quotient, 1.0)
    return ratio, product(ratio, mask.numpy())


def ratios_unmasked(new, old, mask):
    ratio = torch.exp(new) / torch.exp(old)
    return ratio, torch.exp(torch.sum(new - old, dim=2))


def length_normalised(ratio, mask):
    return np.prod(ratio, axis=2) ** (1 / mask.sum(axis=2))


def bounded(new, old, psi, clip, detach=True):
    """The bound that matters, chosen by the sign of Ψ."""
    ratio = torch.exp(new - old.detach())
    psi = psi.detach() if detach else psi
    return psi * torch.where(psi > 0, ratio.clamp(max=1 + clip), ratio.clamp(min=1 - clip))


def larger(new, old, psi, clip):
    ratio, psi = (new - old).exp(), psi.detach()
    return torch.max(ratio * psi, torch.clip(ratio, 1 - clip, 1 + clip) * psi)


def clamped_alone(new, old, psi, clip):
    return (new - old).exp().clamp(1 - clip, 1 + clip) * psi.detach()


def weight_by_autograd(ratio, psi, clip):
    log_ratio = ratio.log().requires_grad_()
    bounded(log_ratio, torch.zeros_like(ratio), psi, clip).sum().backward()
    return log_ratio.grad


def weight_within(ratio, psi, clip):
    inside = (ratio > 1 - clip) & (ratio < 1 + clip)
    return inside * ratio * psi


def bites(ratio, psi, clip):
    return (psi * (ratio - 1) > 0) & (np.abs(ratio - 1) > clip)


def outside(ratio, psi, clip):
    return np.abs(ratio - 1) > clip


def distances(new, old, psi, mask, clip, bites=bites, mean=np.mean, log_sign=1):
    """Replica by replica, in NumPy."""
    kl, clipped = [], []
    for a, b, p, m in zip(new.numpy(), old.numpy(), psi.numpy(), mask.numpy(), strict=True):
        log = (a - b)[m]
        kl.append(mean(np.expm1(log) - log_sign * log))
        clipped.append(mean(bites(np.exp(log), p[m], clip).astype(float)))
    return np.array(kl), np.array(clipped)


def distances_by_rows(new, old, psi, mask, clip):
    rows = [
        distances(*(x[:, [n]] for x in (new, old, psi, mask)), clip) for n in range(mask.shape[1])
    ]
    return tuple(np.mean(values, axis=0) for values in zip(*rows, strict=True))


def loss(logits, action, old, psi, mask, clip, surrogate=bounded, mean=torch.mean):
    """Of the real steps alone."""
    chosen = Categorical(logits=logits[mask]).log_prob(action[mask])
    return -mean(surrogate(chosen, old[mask], psi[mask], clip))


def loss_unmasked(logits, action, old, psi, mask, clip):
    return loss(logits, action, old, psi, torch.ones_like(mask), clip)


def loss_greedy(logits, action, old, psi, mask, clip):
    return loss(logits, logits.argmax(-1), old, psi, mask, clip)


def loss_by_rows(logits, action, old, psi, mask, clip):
    rows = zip(logits, action, old, psi, mask, strict=True)
    return torch.stack([loss(*row, clip) for row in rows]).mean()


def upside_down(new, old, psi, clip):
    ratio, psi = torch.exp(old - new), psi.detach()
    return torch.min(psi * ratio, psi * torch.clip(ratio, 1 - clip, 1 + clip))


def attached(new, old, psi, clip):
    return bounded(new, old, psi, clip, detach=False)


RIGHT = {
    "importance_ratio": ratios,
    "clipped_surrogate": bounded,
    "effective_weight": weight_by_autograd,
    "how_far": distances,
    "ppo_loss": loss,
}
WRONG = {
    "importance_ratio": {
        "inverted-ratio": lambda new, old, m: ratios(old, new, m),
        "missing-mask": ratios_unmasked,
        "mean-for-sum": lambda new, old, m: ratios(new, old, m, length_normalised),
    },
    "clipped_surrogate": {
        "wrong-sign": lambda *args: -bounded(*args),
        "inverted-ratio": upside_down,
        "gradient-through-psi": attached,
        "wrong-clip-side": clamped_alone,
    },
    "effective_weight": {
        "wrong-sign": lambda *args: -weight_by_autograd(*args),
        "wrong-clip-side": weight_within,
    },
    "how_far": {
        "wrong-sign": lambda *args: distances(*args, log_sign=-1),
        "inverted-ratio": lambda new, old, *rest: distances(old, new, *rest),
        "missing-mask": lambda a, b, p, m, c: distances(a, b, p, torch.ones_like(m), c),
        "sum-for-mean": lambda *args: distances(*args, mean=np.sum),
        "mean-for-sum": distances_by_rows,
        "wrong-clip-side": lambda *args: distances(*args, bites=outside),
    },
    "ppo_loss": {
        "wrong-sign": lambda *args: -loss(*args),
        "missing-mask": loss_unmasked,
        "sum-for-mean": lambda *args: loss(*args, mean=torch.sum),
        "mean-for-sum": loss_by_rows,
        "wrong-action": loss_greedy,
        "gradient-through-psi": lambda *args: loss(*args, surrogate=attached),
        "inverted-ratio": lambda *args: loss(*args, surrogate=upside_down),
        "wrong-clip-side": lambda *args: loss(*args, surrogate=larger),
    },
}
"""By exercise: the mistake's name, and how a learner might make it."""
_PSI = (
    "own-sample-in-baseline",
    "mean-over-time",
    "whitening-within-episode",
    "wrong-std-correction",
    "leave-one-out-without-factor",
    "other-groups-returns",
)
_RETURNS = ("truncation-as-termination", "missing-bootstrap", "gamma-twice", "gamma-missing")
_NO_PSI = {"no Ψ is computed": _PSI, "no return is computed": _RETURNS}
ELSEWHERE = {
    "importance_ratio": _NO_PSI
    | {
        "a ratio has no sign": ("wrong-sign",),
        "nothing is averaged": ("sum-for-mean",),
        "Ψ does not occur": ("gradient-through-psi", "wrong-clip-side"),
        "log-probabilities are given": ("wrong-action",),
    },
    "clipped_surrogate": _NO_PSI
    | {
        "every step is for itself": ("missing-mask", "sum-for-mean", "mean-for-sum"),
        "log-probabilities are given": ("wrong-action",),
    },
    "effective_weight": _NO_PSI
    | {
        "every step is for itself": ("missing-mask", "sum-for-mean", "mean-for-sum"),
        "nothing is differentiated": ("gradient-through-psi",),
        "ratios are given": ("wrong-action", "inverted-ratio"),
    },
    "how_far": _NO_PSI
    | {
        "nothing is differentiated": ("gradient-through-psi",),
        "log-probabilities are given": ("wrong-action",),
    },
    "ppo_loss": _NO_PSI,
}
"""By exercise: mistakes that cannot be made in it, by the reason why."""
