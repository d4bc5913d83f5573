"""Estimators that are right, and others that are wrong, each written in its own way.

``RIGHT`` maps a name to a function and options of ``pgzoo.check``; ``WRONG`` also to the names of
the mistakes of which one must be found. ``make`` gives a function without memory of earlier checks.
"""

from __future__ import annotations

import numpy as np
import torch

from pgzoo import estimators as e

GAMMA = {"gamma": 0.9}


def rewards(t):
    return torch.where(t.mask, t.reward, 0)


def returns(t):
    return rewards(t).sum(-1)


def to_go(t, gamma=1.0):
    return e.returns_to_go(t.reward, t.mask, gamma)


def spread(figure, t):
    return figure.unsqueeze(-1).expand(t.mask.shape)


def groups(t):
    return returns(t).unflatten(-1, (-1, t.group_size))


def others(t):
    """Returns of the others, ``[S, G, K, K − 1]``."""
    g = groups(t)
    k = g.shape[-1]
    pick = torch.tensor([[j for j in range(k) if j != i] for i in range(k)])
    return g[..., pick]


def powers(t, gamma=0.9):
    return gamma ** torch.arange(t.mask.shape[-1])


# Right


def noise_of_rng(t, rng):
    return to_go(t) + rng.randn(t.reward.shape)


def rewards_of_some(t, rng):
    """Each counts with probability one half, and then twice."""
    count = 2 * (rng.rand(t.reward.shape) < 0.5)
    return (rewards(t) * count).flip(-1).cumsum(-1).flip(-1)


def baseline_of_one_other(t, rng):
    """Drawn for every replica and member."""
    k = t.group_size
    shift = 1 + rng.randint(k - 1, len(t.reward), 1, 1)
    one = (torch.arange(k) + shift) % k
    g = groups(t)
    return spread((g - g.gather(-1, one.expand_as(g))).flatten(1), t)


def whole_return(t):
    return spread(returns(t), t)


def reward_to_go(t):
    r = rewards(t)
    return r.flip(-1).cumsum(-1).flip(-1)


def loops(t):
    psi = torch.zeros(t.mask.shape)
    reward, mask = t.reward.numpy(), t.mask.numpy()
    for s, i in np.ndindex(*reward.shape[:2]):
        total = 0.0
        for step in reversed(range(reward.shape[2])):
            if mask[s, i, step]:
                total += float(reward[s, i, step])
                psi[s, i, step] = total
    return psi


def in_numpy(t):
    r = np.where(t.mask.numpy(), t.reward.numpy(), 0.0)
    return torch.from_numpy(np.cumsum(r[:, :, ::-1], axis=2)[:, :, ::-1].copy())


def rloo(t):
    return spread((groups(t) - others(t).mean(-1)).flatten(1), t)


def rloo_by_the_factor(t):
    g = groups(t)
    k = t.group_size
    return spread((k / (k - 1) * (g - g.mean(-1, keepdim=True))).flatten(1), t)


def rloo_per_step(t):
    return e.leave_one_out_per_step(to_go(t), t.mask, t.group_size)


def mean_of_all_other_rows(t):
    r = returns(t)
    return spread(r - (r.sum(-1, keepdim=True) - r) / (r.shape[-1] - 1), t)


def median_of_the_others(t):
    return spread((groups(t) - others(t).median(-1).values).flatten(1), t)


def best_of_the_others(t):
    return spread((groups(t) - others(t).max(-1).values).flatten(1), t)


def neighbour(t):
    r = returns(t)
    return spread(r - r.roll(1, 1), t)


def some_constant(t):
    return (to_go(t) - 1.5) * t.mask


def falling_baseline(t):
    return to_go(t) - 0.5 * (6 - torch.arange(t.mask.shape[-1]))


def by_state(t):
    return to_go(t) - 0.5 * t.obs


def table_of_the_others(t):
    """Mean return-to-go of the other rows wherever they were in the same state."""
    g, m = to_go(t), t.mask.float()
    here = torch.nn.functional.one_hot(t.obs, int(t.obs.max()) + 1) * m.unsqueeze(-1)
    total, count = (here * g.unsqueeze(-1)).sum(2), here.sum(2)
    total, count = (x.sum(1, keepdim=True) - x for x in (total, count))
    table = total / count.clamp(min=1)
    return (g - (here * table.unsqueeze(2)).sum(-1)) * m


def halves(t):
    """Even rows have the mean of the odd ones as baseline, and odd ones that of the even."""
    r = returns(t)
    b = torch.empty_like(r)
    b[:, ::2], b[:, 1::2] = r[:, 1::2].mean(1, keepdim=True), r[:, ::2].mean(1, keepdim=True)
    return spread(r - b, t)


def mean_of_another_group(t):
    g = groups(t)
    return spread((g - g.roll(1, 1).mean(-1, keepdim=True)).flatten(1), t)


def some_of_the_past(t):
    r = rewards(t)
    return 0.5 * r.sum(-1, keepdim=True) + 0.5 * to_go(t)


def by_the_action_before(t):
    before = torch.nn.functional.pad(t.action, (1, 0))[:, :, :-1]
    return to_go(t) - before


def double_precision(t):
    return to_go(t).double()


def discounted_from_the_start(t):
    return powers(t) * to_go(t, 0.9)


def discounted_whole_return(t):
    return spread((rewards(t) * powers(t)).sum(-1), t)


def discounted_to_go(t):
    return to_go(t, 0.9)


def discounted_rloo(t):
    r = e.episode_return(t.reward, t.mask, 0.9)
    return spread(e.leave_one_out(r, t.group_size), t)


RIGHT = {
    f.__name__: (f, options)
    for f, options in [
        (noise_of_rng, {}),
        (rewards_of_some, {}),
        (baseline_of_one_other, {}),
        (whole_return, {}),
        (reward_to_go, {}),
        (loops, {}),
        (in_numpy, {"group_size": 1}),
        (rloo, {}),
        (rloo_by_the_factor, {"group_size": 4}),
        (rloo_per_step, {}),
        (mean_of_all_other_rows, {"group_size": 1}),
        (median_of_the_others, {}),
        (best_of_the_others, {"group_size": 4}),
        (neighbour, {}),
        (some_constant, {"group_size": 1}),
        (falling_baseline, {}),
        (by_state, {}),
        (table_of_the_others, {}),
        (halves, {"group_size": 1}),
        (mean_of_another_group, {}),
        (some_of_the_past, {}),
        (by_the_action_before, {}),
        (double_precision, {"group_size": 2}),
        (discounted_from_the_start, GAMMA),
        (discounted_whole_return, GAMMA),
        (discounted_to_go, GAMMA),
        (discounted_rloo, GAMMA),
    ]
}


# Wrong


def descent(t):
    return -to_go(t)


def descent_with_baseline(t):
    return -rloo(t)


def mean_of_the_group(t):
    g = groups(t)
    return spread((g - g.mean(-1, keepdim=True)).flatten(1), t)


def mean_of_the_batch(t):
    r = returns(t)
    return spread(r - r.mean(-1, keepdim=True), t)


def mean_at_each_step(t):
    return (to_go(t) - e.time_step_mean_baseline(to_go(t), t.mask)) * t.mask


def mean_of_all_steps(t):
    return (to_go(t) - e.batch_mean_baseline(to_go(t), t.mask)) * t.mask


def median_of_the_group(t):
    g = groups(t)
    return spread((g - g.median(-1, keepdim=True).values).flatten(1), t)


def best_of_the_group(t):
    g = groups(t)
    return spread((g - g.amax(-1, keepdim=True)).flatten(1), t)


def table_with_itself(t):
    """Mean return-to-go of all rows wherever they were in the same state, itself included."""
    g, m = to_go(t), t.mask.float()
    here = torch.nn.functional.one_hot(t.obs, int(t.obs.max()) + 1) * m.unsqueeze(-1)
    table = (here * g.unsqueeze(-1)).sum((1, 2)) / here.sum((1, 2)).clamp(min=1)
    return (g - (here * table[:, None, None]).sum(-1)) * m


def fitted_line(t):
    """A critic a + b t, fitted to the batch by least squares."""
    g, m = to_go(t).double(), t.mask.double()
    time = torch.arange(t.mask.shape[-1]).double().expand(t.mask.shape)
    x = torch.stack([m, time * m], -1).flatten(1, 2)
    b = torch.linalg.lstsq(x, (g * m).flatten(1).unsqueeze(-1), driver="gelsd").solution
    return ((g.flatten(1) - (x @ b).squeeze(-1)).view(g.shape) * m).float()


def mean_of_the_episode(t):
    g, n = to_go(t), t.mask.sum(-1, keepdim=True)
    return (g - g.sum(-1, keepdim=True) / n) * t.mask


def mean_reward_of_the_episode(t):
    n = t.mask.sum(-1, keepdim=True)
    centred = (rewards(t) - rewards(t).sum(-1, keepdim=True) / n) * t.mask
    return centred.flip(-1).cumsum(-1).flip(-1)


def whitened_episode(t):
    g, m = to_go(t), t.mask
    n = m.sum(-1, keepdim=True)
    mean = g.sum(-1, keepdim=True) / n
    variance = ((g - mean).square() * m).sum(-1, keepdim=True) / n
    return (g - mean) / (variance + 1e-8).sqrt()


def no_mask(t):
    return t.reward.flip(-1).cumsum(-1).flip(-1)


def mean_over_padding(t):
    g = to_go(t)
    return g - g.mean((1, 2), keepdim=True)


def remaining_steps(t):
    """T is the length of the longest episode of all replicas."""
    return to_go(t) - 0.5 * (t.mask.shape[-1] - torch.arange(t.mask.shape[-1]))


def finished_episodes_alone(t):
    return to_go(t) * (t.terminated & t.mask).any(-1, keepdim=True)


def no_reward_at_the_limit(t):
    return e.returns_to_go(t.reward * ~t.truncated, t.mask, 1.0)


def gamma_twice(t):
    return powers(t) * (rewards(t) * powers(t)).flip(-1).cumsum(-1).flip(-1)


def gamma_squared(t):
    return to_go(t, 0.81)


def gamma_missing(t):
    return to_go(t)


def gamma_unasked(t):
    return to_go(t, 0.9)


def times_the_rows(t):
    return to_go(t) * t.mask.shape[1]


def by_the_rows(t):
    return to_go(t) / t.mask.shape[1]


def by_the_length(t):
    return to_go(t) / t.mask.sum(-1, keepdim=True)


def by_all_steps(t):
    return rloo(t) / t.mask.sum((1, 2), keepdim=True)


def group_standardised(t):
    return spread(e.group_standardize(returns(t), t.group_size), t)


def grpo_with_the_other_std(t):
    g = groups(t)
    centred = g - g.mean(-1, keepdim=True)
    return spread((centred / (g.std(-1, correction=0, keepdim=True) + 1e-4)).flatten(1), t)


def std_of_the_others(t):
    x = others(t)
    return spread(((groups(t) - x.mean(-1)) / (1 + x.std(-1))).flatten(1), t)


def whitened_batch(t):
    return e.whiten(to_go(t), t.mask)


def rms_of_one(t):
    g = to_go(t)
    return g / e.root_mean_square(g, t.mask)


def one_action_alone(t):
    return to_go(t) * (t.action == 0)


def value_of_the_action(t):
    """Mean return-to-go of the other rows wherever they took the same action."""
    g, m = to_go(t), t.mask.float()
    taken = torch.nn.functional.one_hot(t.action, int(t.action.max()) + 1) * m.unsqueeze(-1)
    total, count = (taken * g.unsqueeze(-1)).sum(2), taken.sum(2)
    total, count = (x.sum(1, keepdim=True) - x for x in (total, count))
    return (g - (taken * (total / count.clamp(min=1)).unsqueeze(2)).sum(-1)) * m


def by_the_next_state(t):
    return to_go(t) - t.next_obs


def by_its_length(t):
    return to_go(t) - 0.3 * t.mask.sum(-1, keepdim=True)


def inverted_ratio(t):
    return to_go(t) * (-t.log_prob).exp()


def entropy_bonus(t):
    return to_go(t) - 0.3 * t.log_prob


def clipped_rewards(t):
    return e.returns_to_go(t.reward.clamp(-0.5, 0.5), t.mask, 1.0)


def clipped_advantage(t):
    return rloo(t).clamp(-0.5, 0.5)


def clipped_at_thirty(t):
    """Which no return of the small MDPs reaches."""
    return rloo(t).clamp(-30, 30)


def winners_alone(t):
    return rloo(t).clamp(min=0)


def ranks(t):
    k = t.group_size
    return spread((groups(t).argsort(-1).argsort(-1) / (k - 1) - 0.5).flatten(1), t)


def signs(t):
    return rloo(t).sign()


def soft_weights(t):
    return spread((groups(t).softmax(-1) * t.group_size - 1).flatten(1), t)


def without_the_factor(t):
    """The mean of the group again, as a sum of the others."""
    g = groups(t)
    k = t.group_size
    return spread(((k - 1) / k * g - (g.sum(-1, keepdim=True) - g) / k).flatten(1), t)


def factor_too_many(t):
    return rloo(t) * t.group_size / (t.group_size - 1)


def returns_of_another_group(t):
    return spread(groups(t).roll(1, 1).flatten(1), t)


def so_far(t):
    return rewards(t).cumsum(-1)


def next_step_s(t):
    return torch.nn.functional.pad(to_go(t), (0, 1))[:, :, 1:]


def immediate(t):
    return rewards(t)


def first_step_alone(t):
    return to_go(t) * (torch.arange(t.mask.shape[-1]) == 0)


def twice(t):
    return 2 * to_go(t)


def nothing(t):
    return torch.zeros_like(t.reward)


def mean_of_the_replicas(t):
    r = returns(t)
    return spread(r - r.mean((0, 1), keepdim=True), t)


def one_std_for_all(t):
    return rloo(t) / (1 + returns(t).std())


def in_place(t):
    t.reward.mul_(t.mask)
    return to_go(t)


def writes_the_mask(t):
    g = to_go(t)
    t.mask[:, :, -1] = False
    return g


def noise(t):
    return to_go(t) + torch.randn(t.mask.shape)


def numpy_noise(t):
    return to_go(t) - np.random.random()


def noise_of_its_own(t):
    return to_go(t) - torch.from_numpy(np.random.default_rng().random(t.mask.shape)).float()


def running_mean():
    seen = []

    def psi(t):
        baseline = sum(seen) / len(seen) if seen else 0.0
        seen.append(float(returns(t).mean()))
        return spread(returns(t) - baseline, t)

    return psi


WRONG = {
    f.__name__: (f, options, set(names.split()))
    for f, options, names in [
        (descent, {}, "wrong-sign"),
        (descent_with_baseline, {}, "wrong-sign"),
        (mean_of_the_group, {}, "own-sample-in-baseline"),
        (mean_of_the_batch, {"group_size": 1}, "own-sample-in-baseline"),
        (mean_at_each_step, {}, "own-sample-in-baseline"),
        (mean_of_all_steps, {"group_size": 1}, "own-sample-in-baseline"),
        (median_of_the_group, {}, "own-sample-in-baseline"),
        (best_of_the_group, {"group_size": 4}, "own-sample-in-baseline"),
        (without_the_factor, {"group_size": 4}, "own-sample-in-baseline"),
        (table_with_itself, {}, "own-sample-in-baseline"),
        (fitted_line, {"group_size": 1}, "own-sample-in-baseline"),
        (mean_of_the_episode, {}, "mean-over-time"),
        (mean_reward_of_the_episode, {}, "mean-over-time"),
        (whitened_episode, {}, "whitening-within-episode"),
        (no_mask, {}, "missing-mask"),
        (mean_over_padding, {"group_size": 1}, "missing-mask"),
        (remaining_steps, {}, "missing-mask"),
        (finished_episodes_alone, {}, "truncation-as-termination"),
        (no_reward_at_the_limit, {}, "truncation-as-termination"),
        (gamma_twice, GAMMA, "gamma-twice"),
        (gamma_squared, GAMMA, "gamma-twice"),
        (gamma_missing, GAMMA, "gamma-missing"),
        (gamma_unasked, {}, "gamma-unasked"),
        (times_the_rows, {}, "sum-for-mean"),
        (by_the_rows, {}, "mean-for-sum"),
        (by_the_length, {}, "mean-for-sum"),
        (by_all_steps, {}, "mean-for-sum"),
        (group_standardised, {}, "whitening-within-group"),
        (grpo_with_the_other_std, {"group_size": 4}, "whitening-within-group"),
        (std_of_the_others, {}, "whitening-within-group"),
        (whitened_batch, {"group_size": 1}, "whitening-over-the-batch"),
        (rms_of_one, {}, "whitening-over-the-batch"),
        (one_action_alone, {}, "weighted-by-the-action"),
        (value_of_the_action, {}, "baseline-depends-on-the-action"),
        (by_the_next_state, {}, "baseline-depends-on-the-future"),
        (by_its_length, {}, "baseline-depends-on-the-future"),
        (inverted_ratio, {}, "depends-on-log-prob"),
        (entropy_bonus, {}, "depends-on-log-prob"),
        (clipped_rewards, {}, "not-linear-in-rewards"),
        (clipped_advantage, {}, "not-linear-in-rewards"),
        (clipped_at_thirty, {}, "not-linear-in-rewards"),
        (winners_alone, {}, "episodes-left-out"),
        (ranks, {}, "not-linear-in-rewards"),
        (signs, {}, "not-linear-in-rewards"),
        (soft_weights, {"group_size": 4}, "not-linear-in-rewards"),
        (factor_too_many, {}, "rescaled"),
        (twice, {"group_size": 1}, "rescaled"),
        (returns_of_another_group, {}, "rewards-do-not-count"),
        (so_far, {}, "looks-at-the-past"),
        (next_step_s, {}, "off-by-one"),
        (immediate, {}, "immediate-reward"),
        (first_step_alone, {}, "steps-weighted"),
        (nothing, {}, "zero"),
        (mean_of_the_replicas, {}, "depends-on-other-replicas"),
        (one_std_for_all, {}, "depends-on-other-replicas"),
        (in_place, {}, "changes-its-arguments"),
        (writes_the_mask, {}, "changes-its-arguments"),
        (noise, {}, "random-by-itself"),
        (numpy_noise, {"group_size": 1}, "random-by-itself"),
        (noise_of_its_own, {}, "depends-on-earlier-calls"),
        (running_mean, {}, "depends-on-earlier-calls"),
    ]
}


def make(name):
    """The function of that name, and the options of ``pgzoo.check`` with which it is asked."""
    function, options, *_ = (RIGHT | WRONG)[name]
    return (function() if function is running_mean else function), options
