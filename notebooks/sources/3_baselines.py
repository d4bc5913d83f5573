# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 3. Baselines
#
# REINFORCE is right on average and hopelessly noisy. The cheapest remedy is to subtract a number
# from every return. Afterwards you can
#
# * prove which numbers may be subtracted without changing the mean of the estimate;
# * recognise two that are subtracted everywhere and may not be: a mean that contains the episode's
#   own return, and a mean over the time of one episode;
# * measure how much variance a baseline removes, and say when it adds some;
# * derive the constant with the least variance, and say why it is not the mean return;
# * tell a scaled gradient (whitening) from a biased one;
# * show on forty seeds that a budget of steps is enough more often with a baseline.
#
# **Before you begin.** Chapters 1 and 2: finite MDPs, returns-to-go, the score function ∇log π, the
# estimate of REINFORCE. From PyTorch: sums along axes, broadcasting, `torch.where`. About an hour.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy import stats

import pgzoo
from pgzoo import course
from pgzoo.estimators import returns_to_go
from pgzoo.lab import exact_gradient, expected_return, mdps, score_gradients, simulate
from pgzoo.policies.networks import Table
from pgzoo.records.intervals import interquartile_mean_interval
from pgzoo.records.significance import holm
from pgzoo.records.style import COLOURS, STYLE

plt.rcParams.update(STYLE)

# %% [markdown]
# ## A constant that changes nothing, and everything
#
# Notation as before: N episodes of at most T steps; $G_t = \sum_{j \ge t} \gamma^{j-t} r_j$ is the
# return from step t on, $R = G_0$. The estimate of one batch is
#
# $$\hat g = \frac1N \sum_i \sum_t \Psi_{i,t}\, \nabla \log \pi(a_{i,t}|s_{i,t}),
# \qquad \Psi_{i,t} = G_{i,t} .$$
#
# Until we come to CartPole γ is 1, so that the factor γ^t of chapter 1 is 1 and the estimate is
# exact on average. We look at the MDP `fork`. Its first action chooses the upper or the lower
# path; the upper one pays 1 at its end. On both paths four more actions pay +1 or −1 each. Every
# episode has five steps.
#
# Let every reward be higher by a constant c. Whatever the policy does, it now earns 5c more. So J
# rises by 5c, and the gradient stays what it was.
#
# **Question 1.** What happens to the *estimate* when c grows? Guess before you run the next cell: is
# the variance of ĝ the same, proportional to c, or to c²? And is it smallest at c = 0?
#
# <details><summary>Answer</summary>
#
# Every Ψ grows by a multiple of c, so ĝ = A + c·B, where B is a random vector with mean zero. The
# variance is a parabola in c. Its minimum is where the returns are near zero on the whole. That is
# at c = 0 only if the rewards happen to be so.
#
# </details>

# %%
fork = mdps.fork(4)
horizon = 5
pi = torch.full(fork.reward.shape, 0.5, dtype=torch.float64)  # π(a|s): a coin
batch = simulate(fork, pi, horizon=horizon, batches=4000, episodes=8, seed=1)
print("trajectories [batches, episodes, steps]:", list(batch.reward.shape))

gradient = exact_gradient(fork, Table(*pi.shape), pi.log().view(1, -1), horizon=horizon)[0]
shifts = np.linspace(-4, 4, 17)
variances, means, z = [], [], []
for c in shifts:
    psi = returns_to_go(batch.reward + float(c), batch.mask, 1.0)
    estimates = score_gradients(batch, psi, pi).flatten(1)  # [batches, entries of the table]
    variances.append(estimates.var(0).sum().item())
    means.append(estimates.mean(0))
    error = (estimates.std(0) / len(estimates) ** 0.5).clamp(min=1e-9)  # standard error
    z.append((means[-1] - gradient) / error)

fig, ax = plt.subplots(figsize=(7, 3.2))
ax.plot(shifts, variances, "o-", color=COLOURS[0], label="Ψ = return-to-go")
ax.axhline(gradient.square().sum(), color=COLOURS[4], label="squared length of the gradient")
ax.set(xlabel="c, added to every reward", ylabel="variance of the estimate")
ax.set_title("A constant that does not change the gradient drowns it in noise")
ax.legend()
plt.show()

errors = torch.stack([m - gradient for m in means]).norm(dim=1) / gradient.norm()
print("‖mean estimate − ∇J‖ / ‖∇J‖ at c = −4, 0, 4:", errors[[0, 8, 16]].numpy().round(3))
assert variances[16] > 10 * variances[8]
assert torch.stack(z).abs().max() < 5  # of the mean's standard errors

# %% [markdown]
# The mean of the estimates is the gradient for every c, up to noise. But at c = 4 the noise is more
# than ten times what it is at c = 0. The price of a constant is paid in samples: to have the same
# error, ten times the variance needs ten times the episodes.
#
# Nobody chooses the level of the rewards with this in mind. So we choose it ourselves, afterwards,
# and subtract a number b, the **baseline**:
#
# $$\Psi_{i,t} = G_{i,t} - b .$$

# %% [markdown]
# ## What may be subtracted
#
# Take one state s and any number b(s). The mean of what is subtracted is
#
# $$\sum_a \pi(a|s)\, b(s)\, \nabla \log \pi(a|s)
#   = b(s) \sum_a \nabla \pi(a|s) = b(s)\, \nabla \underbrace{\sum_a \pi(a|s)}_{1} = 0 .$$
#
# The first step is π ∇log π = ∇π. The last one is all there is to it: probabilities sum to 1,
# whatever θ is. Now let the state be random, too. Given everything that happened *before* action
# $a_t$ was drawn, and everything that happens in *other* episodes, b is a fixed number and the line
# above applies. Averaged over the past it remains zero. So a baseline
# may depend on the state, on the time and on the other episodes, but not on the action
# that it is subtracted for, nor on anything that follows from that action.
#
# The cell checks both: exactly for one state, and on average for a foolish b(s) on a random MDP
# of four states, `garnet`.

# %%
theta = torch.randn(3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
theta.requires_grad_()
probabilities = theta.softmax(0)
subtracted = torch.zeros(3, dtype=torch.float64)
for a in range(3):
    (score,) = torch.autograd.grad(theta.log_softmax(0)[a], theta)  # ∇log π(a)
    subtracted += probabilities[a].detach() * 7.0 * score
print("Σ_a π(a|s) · 7 · ∇log π(a|s) =", subtracted.numpy().round(12))
assert subtracted.abs().max() < 1e-12

# %%
mdp, horizon = mdps.garnet(8), 6
table = Table(*mdp.reward.shape)
theta = torch.randn(1, table.num_params, generator=torch.Generator().manual_seed(5)).double()
pi = theta.view(mdp.reward.shape).softmax(-1)
gradient = exact_gradient(mdp, table, theta, horizon=horizon)[0].view(pi.shape)
t = simulate(mdp, pi, horizon=horizon, batches=4000, episodes=8, seed=2)
returns = returns_to_go(t.reward, t.mask, 1.0)
print(f"episodes have {t.mask.sum(-1).float().mean():.1f} of at most {horizon} steps on average")


def measured(psi, t=t, pi=pi, gradient=gradient):
    """Scale, its standard error, cosine and relative variance of estimates with these weights Ψ.

    The scale is ⟨mean estimate, ∇J⟩ / ‖∇J‖², which is 1 without bias.
    """
    estimates = score_gradients(t, psi, pi).flatten(1)
    mean, g = estimates.mean(0), gradient.flatten()
    along = estimates @ g / (g @ g)
    return {
        "scale": along.mean().item(),
        "±": (along.std() / len(along) ** 0.5).item(),
        "cosine": (mean @ g / mean.norm() / g.norm()).item(),
        "relative variance": (estimates.var(0).sum() / mean.square().sum()).item(),
    }


foolish = torch.tensor([3.0, -2.0, 5.0, 7.0])[t.obs]  # a number for each state
for name, psi in {"Ψ = G_t": returns, "Ψ = G_t − b(s), b foolish": returns - foolish}.items():
    m = measured(psi)
    print(f"{name:28} scale {m['scale']:.3f} ± {m['±']:.3f}, cosine {m['cosine']:.4f}")
    assert abs(m["scale"] - 1) < 5 * m["±"]
    assert m["cosine"] > 0.99

# %% [markdown]
# Both point along the gradient, with the scale 1 up to the standard error. (In this chapter, the
# number after ± is one standard error; where other chapters print two, they say so.)
#
# **Question 2.** Which of these may be subtracted from $G_t$? (a) the reward $r_{t-1}$ of the step
# before; (b) the reward $r_t$; (c) V of the *next* state; (d) the return of the episode that was
# played before this one; (e) the number of steps that this episode will last.
#
# <details><summary>Answer</summary>
#
# (a) and (d) may: they are fixed before $a_t$ is drawn. (b), (c) and (e) may not: they are
# consequences of $a_t$. Subtracting $r_t$, for one, takes the effect of $a_t$ on $r_t$ out of the
# gradient.
#
# </details>

# %% [markdown]
# ## The mean of the others
#
# A natural baseline is the mean return of the batch: what is better than usual is reinforced, what
# is worse is discouraged. In code, rows are padded to the longest episode, and `mask[s, i, t]` is
# true on real steps. Axis 0 counts S **replicas**, independent batches side by side. A baseline for
# episode i is then the mean over all real steps of the other episodes:
#
# $$b_i = \frac{\sum_{j \ne i} \sum_t G_{j,t}}{\sum_{j \ne i} \ell_j},
#   \qquad \ell_j \text{ the number of real steps of episode } j .$$
#
# **Exercise 1.** Write Ψ with this baseline. Sums over all episodes less the own one give the sums
# over the others, without a loop. Padding may hold anything, even NaN, and NaN · 0 is NaN: put
# zeros there first, with `torch.where(mask, x, 0)`.


# %% tags=["exercise", "advantage_over_others"]
def advantage_over_others(returns, mask):
    """G_t less the mean return-to-go of all real steps of the other episodes.

    returns: G_t, [S, N, T], N ≥ 2; padding may hold anything
    mask: true on real steps, [S, N, T]
    result: Ψ, [S, N, T]; in the padding whatever you like
    """
    ### BEGIN SOLUTION
    total = torch.where(mask, returns, 0).sum(-1)  # [S, N], of each episode
    steps = mask.sum(-1)
    others = total.sum(-1, keepdim=True) - total
    other_steps = steps.sum(-1, keepdim=True) - steps
    return returns - (others / other_steps).unsqueeze(-1)
    ### END SOLUTION


# %%
course.check("advantage_over_others", advantage_over_others)

# %%
noise = {}
for name, psi in {"G_t": returns, "G_t − b": advantage_over_others(returns, t.mask)}.items():
    m = measured(psi)
    noise[name] = m["relative variance"]
    print(f"Ψ = {name:8} scale {m['scale']:.3f} ± {m['±']:.3f}", end=", ")
    print(f"relative variance {m['relative variance']:.2f}")
    assert abs(m["scale"] - 1) < 5 * m["±"]
assert 0.2 < noise["G_t − b"] / noise["G_t"] < 0.33

# %% [markdown]
# *Relative variance* is the variance of one batch's estimate over the squared length of its mean.
# At 1, noise and signal are equally long. The baseline made it about a fourth, and the scale is
# still 1.
#
# ### Why the *others*?
#
# Most code subtracts the mean of the whole batch, the episode's own return included. For whole
# returns R, and the same weight for all steps of an episode, this is easy to follow:
#
# $$R_i - \frac1N \sum_j R_j
#   = R_i - \frac1N R_i - \frac{N-1}N \cdot \frac1{N-1}\sum_{j\ne i} R_j
#   = \frac{N-1}N \Big( R_i - \text{mean of the others} \Big) .$$
#
# The term in brackets is unbiased. So with its own sample in the baseline, the estimate is
# $(N-1)/N$ of the gradient on average: a batch of two gives half of it. The direction is right, the
# length is not.
#
# For returns-to-go and a mean at each time step, it is a little worse. Of the $n_t$ episodes that
# reach step t, each has its own return with weight $1/n_t$ in the mean: late steps, which few
# episodes reach, are scaled down more than early ones, and the direction changes as well.
#
# **Question 3.** A batch has N = 8 episodes. Is the error of 1/8 a problem for an optimiser like
# Adam, which divides each step by the running root mean square of recent gradients? And for somebody who compares the lengths of gradients between N = 2 and N = 64?
#
# <details><summary>Answer</summary>
#
# Adam divides a constant factor out again, so it hardly matters to it: that is
# why the mistake goes unnoticed for years. Whoever compares lengths sees a gradient that seems to
# double as N grows. And in chapter 6, KL penalties are added to the gradient: then the factor
# decides how much they weigh.
#
# </details>

# %%
sizes = [2, 3, 4, 8, 16]
rows = []
for n in sizes:
    some = simulate(mdp, pi, horizon=horizon, batches=120_000 // n, episodes=n, seed=10 + n)
    whole = returns_to_go(some.reward, some.mask, 1.0)[..., :1].expand(some.mask.shape)
    others = (whole.sum(1, keepdim=True) - whole) / (n - 1)
    everyone = whole.mean(1, keepdim=True)
    rows.append([measured(whole - b, some) for b in (others, everyone)])

fig, ax = plt.subplots(figsize=(7, 3.4))
for k, name in enumerate(["mean of the other episodes", "mean of all episodes, the own included"]):
    ax.errorbar(
        sizes,
        [row[k]["scale"] for row in rows],
        [1.96 * row[k]["±"] for row in rows],
        fmt="os"[k],
        color=COLOURS[[2, 4][k]],
        capsize=3,
        label=name,
    )
fine = np.linspace(2, 16, 100)
ax.plot(fine, (fine - 1) / fine, color=COLOURS[4], linewidth=1, label="(N − 1)/N")
ax.axhline(1, color=COLOURS[2], linewidth=1)
ax.set(xlabel="episodes N of a batch", ylabel="scale of the mean estimate", ylim=(0.4, 1.15))
ax.set_title("A baseline that contains its own sample shortens the gradient")
ax.legend()
plt.show()
for n, (a, b) in zip(sizes, rows, strict=True):
    assert abs(a["scale"] - 1) < 5 * a["±"]
    assert abs(b["scale"] - (n - 1) / n) < 5 * b["±"]
    assert b["cosine"] > 0.99

# %% [markdown]
# Bars are 95% intervals. The measured scales lie on the curve, and the cosine with the gradient is
# above 0.99 throughout.

# %% [markdown]
# ## A baseline for each time step
#
# Returns-to-go fall with time: at the last step there is one reward left to be had, at the first
# one all of them. One number for all steps is too low for early steps and too high for late ones.
# A baseline may depend on time, so let it:
#
# $$b_{i,t} = \frac{\sum_{j \ne i,\; \ell_j > t} G_{j,t}}{\#\{j \ne i : \ell_j > t\}} ,$$
#
# at every step, the mean over the other episodes that reached it. At a step that no other episode
# reached there is nothing to compare with, and b is 0.
#
# **Exercise 2.** This time return the baseline itself.


# %% tags=["exercise", "time_step_baseline"]
def time_step_baseline(returns, mask):
    """For every step, the mean return-to-go of the other episodes that reached it; else 0.

    returns: G_t, [S, N, T]; padding may hold anything
    mask: true on real steps, [S, N, T]
    result: b, [S, N, T]; in the padding whatever you like
    """
    ### BEGIN SOLUTION
    real = torch.where(mask, returns, 0)
    others = real.sum(1, keepdim=True) - real
    count = mask.sum(1, keepdim=True) - mask.long()
    return others / count.clamp(min=1)
    ### END SOLUTION


# %%
course.check("time_step_baseline", time_step_baseline)

# %% [markdown]
# ## A mean over time is no baseline
#
# There is another mean that looks just as natural, and it is in many tutorials: the mean of
# $G_t$ *over the steps of the same episode*. For an episode of ℓ steps,
#
# $$\Psi_t = G_t - \frac1\ell \sum_k G_k .$$
#
# It is computed from the episode's own rewards, those after $a_t$ included. So nothing that was
# said above applies. What does it do? Let all episodes have ℓ steps, and γ = 1. An earlier $G_k$,
# k ≤ t, is $G_t$ plus rewards of the past, which add nothing on average. So the weight of step t
# is, up to noise,
#
# $$G_t - \frac1\ell\Big((t+1)\, G_t + \sum_{k>t} G_k\Big)
#   = \frac1\ell \sum_{k>t} (G_t - G_k)
#   = \frac1\ell \sum_{k>t} \sum_{t \le j < k} r_j
#   = \sum_{j \ge t} \Big(1 - \frac{j+1}{\ell}\Big)\, r_j .$$
#
# A reward at step j counts $1 - (j+1)/\ell$ in place of 1. The last reward of an episode counts
# **nothing**. On average this is REINFORCE for another objective, in which late rewards are worth
# less and the last one is worthless. More episodes do not help: it is the mean that is wrong.
#
# **Question 4.** In `fork` the first action decides whether +1 is paid at the *end* of the path. What
# will REINFORCE with a mean over time learn about the first action? And in an MDP whose episodes
# have one step?
#
# <details><summary>Answer</summary>
#
# Nothing, as long as the actions on both paths are played alike. The +1 comes with the last reward,
# which counts 0. With one step the mean over time is $G_0$ itself, and Ψ is always 0.
#
# </details>

# %%
horizon_of_fork = 5
coin = torch.full(fork.reward.shape, 0.5, dtype=torch.float64)
of_fork = exact_gradient(fork, Table(*coin.shape), coin.log().view(1, -1), horizon=5)[0]
many = simulate(fork, coin, horizon=5, batches=4000, episodes=16, seed=3)
g = returns_to_go(many.reward, many.mask, 1.0)
over_time = g - g.sum(-1, keepdim=True) / many.mask.sum(-1, keepdim=True)
choices = {
    "exact gradient": of_fork.view(coin.shape)[:, 0],
    "mean over the other episodes": score_gradients(
        many, g - time_step_baseline(g, many.mask), coin
    ).mean(0)[:, 0],
    "mean over time": score_gradients(many, over_time, coin).mean(0)[:, 0],
}
places = ["fork", *(f"upper {k}" for k in range(1, 5)), *(f"lower {k}" for k in range(1, 5))]
fig, ax = plt.subplots(figsize=(9, 3.4))
for k, (name, values) in enumerate(choices.items()):
    ax.bar(
        np.arange(9) + 0.27 * (k - 1), values[:9], 0.25, color=COLOURS[[10, 2, 4][k]], label=name
    )
ax.set_xticks(range(9), places)
ax.set_ylabel("∂J / ∂θ(s, action 0)")
ax.set_title("With a mean over time, the decision that matters is not learned")
ax.legend(loc="upper right", fontsize=9)
ax.set_ylim(0, 0.36)
plt.show()
error = score_gradients(many, over_time, coin)[:, 0, 0].std().item() / 4000**0.5
print(
    f"at the fork: exact {choices['exact gradient'][0]:.3f}, mean over time "
    f"{choices['mean over time'][0]:.4f} ± {error:.4f}"
)
assert abs(choices["mean over time"][0]) < 5 * error
proper = score_gradients(many, g - time_step_baseline(g, many.mask), coin)[:, 0, 0]
assert abs(proper.mean() - 0.25) < 5 * proper.std() / 4000**0.5
expected = 1 - torch.arange(2, 6) / 5  # 1 − (t + 1)/5 for t = 1 … 4
late = choices["mean over time"][1:5] / choices["exact gradient"][1:5]
print("on the upper path, relative to the exact gradient:", late.numpy().round(2))
assert np.allclose(late, expected, atol=0.05)

# %% [markdown]
# At the fork the estimate is zero on average, where the exact gradient has 0.25.
# Along the path, the gradient at step t is scaled by 1 − (t + 1)/5: the last action is not learned at
# all.
#
# What does a training make of it? 200 seeds, from the coin. The best policy earns 5.


# %%
def trained_on_fork(weights, iterations=300, seeds=200, episodes=4, step_size=0.3):
    """J, and the probability of the upper path, [seeds] each, after training with weights Ψ."""
    softmax_table = Table(*fork.reward.shape)
    theta = torch.zeros(seeds, softmax_table.num_params, dtype=torch.float64)
    for i in range(iterations):
        p = theta.view(seeds, *fork.reward.shape).softmax(-1).clamp(min=1e-9)
        x = simulate(fork, p, horizon=5, batches=seeds, episodes=episodes, seed=i)
        psi = weights(returns_to_go(x.reward, x.mask, 1.0), x.mask)
        theta = theta + step_size * score_gradients(x, psi, p).flatten(1)
    upper = theta.view(seeds, *fork.reward.shape).softmax(-1)[:, 0, 0]
    return expected_return(fork, softmax_table, theta, horizon=5), upper


trained_with = {
    "mean over time": lambda g, mask: g - g.sum(-1, keepdim=True) / mask.sum(-1, keepdim=True),
    "mean of the others at step t": lambda g, mask: g - time_step_baseline(g, mask),
}
ends = {name: trained_on_fork(weights) for name, weights in trained_with.items()}
for name, (worth, upper) in ends.items():
    print(f"{name:29} J = {worth.mean():.2f} ± {worth.std() / len(worth) ** 0.5:.2f}", end="; ")
    print(f"upper path with π > 0.9: {(upper > 0.9).sum()} seeds", end=", ")
    print(f"with π < 0.1: {(upper < 0.1).sum()}")
(worth, upper), (proper_worth, _) = ends.values()
assert 3 < worth.mean() < 3.7 < 4.8 < proper_worth.mean()
assert min((upper > 0.9).sum(), (upper < 0.1).sum()) > 40

# %% [markdown]
# With the mean over time the actions along a path are learned, all but the last. As
# soon as they are better known on one path than on the other, that path pays more, and the choice is
# settled in its favour, whichever it is. The +1 has no say in it.
#
# *Whitening within an episode*, $(G_t - \text{mean over time})/\text{std over time}$, is the same
# mistake, and one more: every episode's weights then have mean 0 and deviation 1, however good or
# bad the episode was.

# %%
real = torch.where(t.mask, returns, 0)
mean_in_time = real.sum(-1, keepdim=True) / t.mask.sum(-1, keepdim=True)
centred = torch.where(t.mask, returns - mean_in_time, 0)
degrees = (t.mask.sum(-1, keepdim=True) - 1).clamp(min=1)
within = centred / (centred.square().sum(-1, keepdim=True) / degrees + 1e-8).sqrt()
for name, psi in {"mean over time": centred, "whitened within": within}.items():
    m = measured(psi)
    print(f"{name:16} scale {m['scale']:.2f}, cosine {m['cosine']:.3f}", end=", ")
    print(f"relative variance {m['relative variance']:.1f}")
assert (
    m["relative variance"]
    > 3 * measured(advantage_over_others(returns, t.mask))["relative variance"]
)

# %% [markdown]
# On this other MDP the direction survives, but the signal is so much weakened that the relative
# variance is far above that of a proper baseline.

# %% [markdown]
# ## How much variance does each one remove?
#
# The best known baseline is the value function: $b = V_t(s)$, the mean return from state s at
# step t on. Where π and the MDP are known it can be computed, backward from the end (chapter 1).
# We compare five weights on four MDPs. In `contexts` an episode has a single step; its start
# decides whether the return is about −10, 0 or 10, and the action moves it by 1.


# %%
def values(mdp, pi, horizon):
    """V_t(s) [T, n]: backward from V = 0 at the time limit."""
    v, by_step = torch.zeros(len(pi), dtype=torch.float64), []
    for _ in range(horizon):
        v = (pi * (torch.tensor(mdp.reward) + torch.tensor(mdp.transition) @ v)).sum(-1)
        by_step.insert(0, v)
    return torch.stack(by_step)


problems = {"garnet 8": (mdp, 6), "garnet 2": (mdps.garnet(2), 6), "fork": (fork, 5)}
problems["contexts"] = (mdps.contexts(), 1)
found = {}
for name, (problem, steps) in problems.items():
    size = Table(*problem.reward.shape)
    theta = torch.randn(1, size.num_params, generator=torch.Generator().manual_seed(5)).double()
    p = theta.view(problem.reward.shape).softmax(-1)
    exact = exact_gradient(problem, size, theta, horizon=steps)[0]
    some = simulate(problem, p, horizon=steps, batches=10_000, episodes=8, seed=4)
    g = returns_to_go(some.reward, some.mask, 1.0)
    weights = {
        "R at every step": g[..., :1].expand(g.shape),
        "G_t": g,
        "G_t − mean of the others": advantage_over_others(g, some.mask),
        "G_t − theirs at step t": g - time_step_baseline(g, some.mask),
        "G_t − V_t(s)": g - values(problem, p, steps)[torch.arange(steps), some.obs],
    }
    found[name] = {k: measured(psi, some, p, exact) for k, psi in weights.items()}

fig, axes = plt.subplots(1, 4, figsize=(11, 3), sharey=True)
for ax, (name, by_psi) in zip(axes, found.items(), strict=True):
    ax.barh(list(by_psi), [m["relative variance"] for m in by_psi.values()], color=COLOURS[:5])
    ax.set(title=name, xlabel="relative variance")
axes[0].invert_yaxis()
fig.suptitle(
    "What a baseline removes depends on the problem; on garnet 2 and contexts it adds some"
)
fig.tight_layout()
plt.show()
for name, by_psi in found.items():
    print(f"{name:10}", {k: round(m["relative variance"], 2) for k, m in by_psi.items()})
relative = {
    name: [m["relative variance"] for m in by_psi.values()] for name, by_psi in found.items()
}
assert relative["garnet 8"][2] < 0.4 * relative["garnet 8"][1]
assert relative["garnet 2"][3] > 1.1 * relative["garnet 2"][1]
assert relative["garnet 2"][4] > relative["garnet 2"][1]
assert relative["contexts"][2] > relative["contexts"][1] > 20 * relative["contexts"][4]

# %% [markdown]
# `garnet 8` was chosen because it shows a large effect, and `garnet 2` because it shows the opposite.
# What is the rule? The same on twenty random MDPs, `garnet` 0 to 19:

# %%
levels, shares = [], []
for k in range(20):
    problem = mdps.garnet(k)
    theta = torch.randn(1, 8, generator=torch.Generator().manual_seed(5)).double()
    p = theta.view(problem.reward.shape).softmax(-1)
    some = simulate(problem, p, horizon=6, batches=5000, episodes=8, seed=4)
    g = returns_to_go(some.reward, some.mask, 1.0)
    several = [
        g,
        advantage_over_others(g, some.mask),
        g - time_step_baseline(g, some.mask),
        g - values(problem, p, 6)[torch.arange(6), some.obs],
    ]
    variance = torch.stack([score_gradients(some, w, p).flatten(1).var(0).sum() for w in several])
    levels.append(g[..., 0].mean().item())
    shares.append(variance[1:] / variance[0])
shares = torch.stack(shares)  # [garnets, baselines]

fig, ax = plt.subplots(figsize=(7.5, 3.6))
names = ["mean of the others", "theirs at step t", "V_t(s)"]
for k, name in enumerate(names):
    ax.plot(levels, shares[:, k], "os^"[k], color=COLOURS[[1, 2, 10][k]], label=name, alpha=0.8)
ax.axhline(1, color=COLOURS[4], linewidth=1)
ax.set(xlabel="mean return R of the garnet", ylabel="variance, as a share of that of G_t")
ax.set(ylim=(0, None))
ax.set_title("Above the line a baseline adds variance; it does so where returns are near zero")
ax.legend()
plt.show()
adds = (shares > 1).sum(0).tolist()
time_helps = (shares[:, 1] < shares[:, 0]).sum().item()
print("adds variance on … of 20:", dict(zip(names, adds, strict=True)))
print(
    f"the baseline for each time step is better than the mean of the others on {time_helps} of 20"
)
print("largest mean returns: garnet", np.argsort(levels)[:-3:-1])
assert 6 <= adds[0] <= 10
assert 1 <= adds[2] <= 5
assert 3 <= time_helps <= 7
assert set(np.argsort(levels)[-2:]) == {8, 19}

# %% [markdown]
# Three lessons, two of them against popular belief.
#
# * Where returns are far from zero, any baseline helps. `garnet 8` and `garnet 19` (chapter 4 uses
#   it) have the largest returns of the twenty, so they flatter baselines. There a baseline that
#   knows the time helps more than one that does not. In general it does not: it is better on 5 of
#   the 20. At every step it is a mean of fewer numbers.
# * **A baseline can add variance.** The mean of the others does so on 8 of the 20. Returns are near
#   zero there: there is little to remove. Part of what is added is the noise of a mean of seven
#   other episodes; part remains with the exact V, which adds variance on 3 of the 20: it is not the
#   best baseline (next section). The same on `contexts`: the others' mean is about 0 and has noise
#   of its own.
# * What a baseline must know is what decides the level of the return. On `contexts` that is the
#   state: V(s) removes almost everything, means over episodes nothing. When V is unknown, it can be
#   learned (chapter 4), or episodes can be compared that share their start (chapter 5).

# %% [markdown]
# ## The constant with the least variance
#
# Let $B_i = \sum_t \nabla\log\pi(a_{i,t}|s_{i,t})$ be the score function of a whole episode. With
# weights R − b, an episode contributes $(R - b)\,B$. Its mean does not depend on b. So its
# variance, the trace of its covariance, is least where
#
# $$E\big[\|(R-b)B\|^2\big] = E\big[R^2\|B\|^2\big] - 2b\,E\big[R\,\|B\|^2\big] + b^2\,E\big[\|B\|^2\big]$$
#
# is least. That is a parabola in b. Its derivative vanishes at
#
# $$b^* = E[R\,\|B\|^2] \,/\, E[\|B\|^2] .$$
#
# It is a mean of returns, but a *weighted* one: an episode counts as much as the square of its
# score function. Unlikely actions have long score functions, so their returns count more.
# Greensmith, Bartlett and Baxter (2004) derive such a constant, for the average reward of a process
# that does not end.
#
# **Exercise 3.** Estimate b* from a batch. The score functions are given step by step. Sum them over
# an episode's real steps *before* you square.


# %% tags=["exercise", "optimal_constant"]
def optimal_constant(returns, scores, mask):
    """The constant b that minimises the batch's mean of ‖(R − b) Σ_t ∇log π‖².

    returns: R, [S, N]
    scores: ∇log π(a_t|s_t), [S, N, T, P]; padding may hold anything
    mask: true on real steps, [S, N, T]
    result: b, [S], one for each replica
    """
    ### BEGIN SOLUTION
    total = torch.where(mask.unsqueeze(-1), scores, 0).sum(2)  # B, [S, N, P]
    square = total.square().sum(-1)
    return (returns * square).sum(-1) / square.sum(-1)
    ### END SOLUTION


# %%
course.check("optimal_constant", optimal_constant)

# %%
onehot = torch.nn.functional.one_hot
num_states, num_actions = pi.shape
row = onehot(t.action, num_actions) - pi[t.obs].float()  # of a softmax table: 1(a = b) − π(b|s)
state = onehot(t.obs, num_states)
scores = (state.unsqueeze(-1) * row.unsqueeze(-2)).flatten(-2)  # in row s; [S, N, T, n·A]
whole = returns[..., 0]  # R, [S, N]
everything = [x.flatten(0, 1).unsqueeze(0) for x in (whole, scores, t.mask)]  # one large batch
best, usual = optimal_constant(*everything).item(), whole.mean().item()

constants = np.linspace(-2, 20, 45)
curve = [
    score_gradients(t, (whole - float(b)).unsqueeze(-1).expand(t.mask.shape), pi)
    .flatten(1)
    .var(0)
    .sum()
    .item()
    for b in constants
]
fig, ax = plt.subplots(figsize=(7, 3.2))
ax.plot(constants, curve, color=COLOURS[0])
for b, name, colour in ((usual, "mean return", COLOURS[4]), (best, "b*", COLOURS[2])):
    ax.axvline(b, color=colour, linestyle="--", label=f"{name} = {b:.1f}")
ax.set(xlabel="constant b", ylabel="variance of the estimate", ylim=(0, None))
ax.set_title("Ψ = R − b: the best constant is not the mean return")
ax.legend()
plt.show()
print(f"least variance on the grid at b = {constants[np.argmin(curve)]:.1f}")
assert abs(constants[np.argmin(curve)] - best) < 0.6

# %% [markdown]
# ### V is not the best baseline
#
# It is often said that V(s) is the baseline with the least variance. It is not, in general. The
# derivation above, for one state and one step, gives the best b(s): a mean of q(s, a) weighted with
# π(a|s) ‖∇log π(a|s)‖², and V(s) is weighted with π(a|s) alone. With two actions the
# weights are exchanged, and as one action becomes certain V and b* move to opposite ends.

# %%
q, p = torch.tensor([1.0, 3.0]), torch.tensor([0.9, 0.1])
scores = torch.eye(2) - p  # ∇log π(a) of a softmax, one row for each action
weight = p * scores.square().sum(-1)
value, best = p @ q, (weight @ q) / weight.sum()
for name, b in (("0", 0.0), ("V", value), ("b*", best)):
    terms = (q - b).unsqueeze(-1) * scores  # what the estimate is, for each action
    variance = (p @ (terms - p @ terms).square().sum(-1)).item()
    print(f"b = {name:3} variance of one sample {variance:.4f}")
print(f"V = {value:.2f}, b* = {best:.2f}")
assert variance < 1e-10
assert torch.isclose(best, p.flip(0) @ q)

# %% [markdown]
# With b* nothing is left of the variance: both actions give the *same* estimate, which is then the
# gradient itself. V leaves some. For two actions, b* has the probabilities exchanged:
# $b^* = \pi(1)\,q(0) + \pi(0)\,q(1)$. In practice V is used all the same. It is easier to learn, and
# near a uniform policy the two are alike.

# %% [markdown]
# ## Whitening
#
# Many implementations go on to divide by the standard deviation. To **whiten** Ψ is to subtract the
# mean and divide by the deviation, both taken
# over all real steps of the replica's batch:
#
# $$\tilde\Psi = \frac{\Psi - \text{mean}}{\sqrt{\text{variance} + 10^{-8}}}, \qquad
#   \text{variance} = \frac1{n-1}\sum (\Psi - \text{mean})^2 ,$$
#
# with n the number of real steps. The division by n − 1, in place of n, makes the variance unbiased
# (Bessel's correction). The 10⁻⁸ keeps the result finite where all Ψ are equal.
#
# **Exercise 4.** Write it. Over *all* steps and episodes of a replica, but never over replicas, and
# not over one episode.


# %% tags=["exercise", "whiten"]
def whiten(psi, mask):
    """(Ψ − mean) / √(variance + 1e-8) over all real steps of each replica.

    psi: [S, N, T]; padding may hold anything
    mask: true on real steps, [S, N, T]
    result: [S, N, T]; in the padding whatever you like
    """
    ### BEGIN SOLUTION
    count = mask.sum((1, 2), keepdim=True)
    mean = torch.where(mask, psi, 0).sum((1, 2), keepdim=True) / count
    centred = torch.where(mask, psi - mean, 0)
    variance = centred.square().sum((1, 2), keepdim=True) / (count - 1)
    return centred / (variance + 1e-8).sqrt()
    ### END SOLUTION


# %%
course.check("whiten", whiten)

# %%
noise = {}
for name, psi in {
    "batch mean of the others": advantage_over_others(returns, t.mask),
    "whitened": whiten(returns, t.mask),
}.items():
    m = measured(psi)
    noise[name] = m["relative variance"]
    print(f"{name:26} scale {m['scale']:.3f}, cosine {m['cosine']:.4f}", end=", ")
    print(f"relative variance {m['relative variance']:.2f}")
assert m["scale"] < 0.4
assert m["cosine"] > 0.99
assert noise["whitened"] > 0.95 * noise["batch mean of the others"]

# %% [markdown]
# Whitening shortens the gradient a lot and hardly turns it. Its raw variance is
# therefore tiny, and that means nothing: a tenth of the gradient has a hundredth of the variance.
# *Relative* variance tells the two apart, and there whitening is no better than the mean that it
# subtracts. Its use is another one: whatever the units of reward, a step has about the same
# length.

# %% [markdown]
# ## A budget that is enough more often with a baseline
#
# Does less variance learn faster? CartPole pays 1 for every step that a pole is kept upright, at
# most 500. All returns are positive: there is a constant to be removed. We train on 20,000 steps,
# with small batches of four episodes. *Enough* is a mean return of at least 400 in 100 fresh episodes
# after training. All settings are the same but Ψ. (In training, pgzoo divides Ψ by its root mean
# square, so that all gradients are of a size. And Ψ is discounted here, γ = 0.99; the
# factor γ^t is left out, as chapter 1 says of most code.) We take forty seeds; below it is shown what ten would
# have said.


# %%
def no_baseline(t):
    return returns_to_go(t.reward, t.mask, 0.99)


def others_mean(t):
    return advantage_over_others(returns_to_go(t.reward, t.mask, 0.99), t.mask)


def mean_over_time(t):
    g = returns_to_go(t.reward, t.mask, 0.99)
    return g - g.sum(-1, keepdim=True) / t.mask.sum(-1, keepdim=True)


def trained(psi):
    return pgzoo.train(
        psi, env="CartPole-v1", seeds=40, steps=20_000, episodes=4, diagnostics=0, progress=False
    )


runs = {f.__name__: trained(f) for f in (no_baseline, others_mean, mean_over_time)}
finals = {name: np.array(run.summary["eval_mean"]) for name, run in runs.items()}
enough = {name: int((final >= 400).sum()) for name, final in finals.items()}
for name, final in finals.items():
    interval = interquartile_mean_interval(final)
    print(
        f"{name:15} enough on {enough[name]} of 40 seeds; mean return {interval.point:.0f}", end=" "
    )
    print(f"[{interval.low:.0f}, {interval.high:.0f}]")
assert enough["others_mean"] >= 22 > 20 >= max(enough["no_baseline"], enough["mean_over_time"])

# %%
fig, axes = plt.subplots(1, 3, figsize=(11, 3.6), width_ratios=[1, 1, 0.9])
for ax, name in zip(axes, ["no_baseline", "others_mean"], strict=False):
    runs[name].plot(ax)
    ax.set_title(f"Ψ: {name}, forty seeds")
    ax.set(ylim=(0, 320), xticks=[0, 10_000, 20_000])
for k, final in enumerate(finals.values()):
    interval = interquartile_mean_interval(final)
    axes[2].plot(np.full(40, k), final, "o", color=COLOURS[k], alpha=0.3)
    axes[2].plot([k + 0.2] * 2, [interval.low, interval.high], color=COLOURS[k])
    axes[2].plot(k + 0.2, interval.point, "s", color=COLOURS[k])
axes[2].axhline(400, color=COLOURS[4], linewidth=1)
axes[2].set_xticks(range(3), [name.replace("_", "\n") for name in finals])
axes[2].set(title="after training", ylabel="mean return, fresh episodes", xlim=(-0.4, 2.6))
fig.tight_layout()
plt.show()

# %% [markdown]
# Brackets are 95% intervals of the interquartile mean over forty seeds: the mean of the middle half of
# the seeds, which single very good or very bad runs cannot move. The line is at 400. What may be
# said?
#
# **Paired or unpaired?** Seed 3 has the same initial policy and the same first starts in all runs.
# It is tempting to compare seed by seed, and to hope that the noise they share cancels. It
# cancels only if a seed that is good for one is good for the other. We can look: the rank
# correlation over seeds. And beside it a test that does not use pairs, that of Mann and Whitney: does
# a run of the one kind beat one of the other kind more often than half of the time? There are three
# pairs of methods, so the p-values are corrected for three tests (Holm).

# %%
a, b = finals["no_baseline"], finals["others_mean"]
correlation = stats.spearmanr(a, b).statistic
uncertain = np.tanh(1.96 / np.sqrt(len(a) - 3))  # of a correlation near 0, by Fisher's z
print(f"rank correlation over seeds {correlation:+.2f}, uncertain by about ±{uncertain:.1f}")
pairs = [
    ("others_mean", "no_baseline"),
    ("others_mean", "mean_over_time"),
    ("mean_over_time", "no_baseline"),
]
tests = [stats.mannwhitneyu(finals[x], finals[y]) for x, y in pairs]
corrected = holm([test.pvalue for test in tests])
for (x, y), test, p_value in zip(pairs, tests, corrected, strict=True):
    print(
        f"{x} beats {y} with probability {test.statistic / 40**2:.2f}, p = {p_value:.2g}", end=": "
    )
    print("decided" if p_value < 0.05 else "not decided")
tens = [stats.mannwhitneyu(b[k : k + 10], a[k : k + 10]).pvalue for k in (0, 10, 20, 30)]
print("the first pair with ten seeds at a time, uncorrected:", np.array(tens).round(3))
assert min(tens) < 0.05 < max(tens)
assert corrected[0] < 0.01
assert corrected[1] < 0.01
assert corrected[2] > 0.05

# %% [markdown]
# After the first update the runs see different states, draw different actions, and share nothing
# any more; the correlation is small beside its own uncertainty. So the runs are taken as independent,
# and tested as such. Ten seeds are too few for this difference: the four tens do not agree whether it
# is there. Pairing is for noise that is truly shared: the *same trajectories* weighed with
# two different Ψ, as in all measurements above. `pgzoo.compare` does it in this way, and chapter 8
# says more.
#
# **Question 5.** `mean_over_time` is biased. Did it fail to learn on CartPole? Why does the mistake
# survive in tutorials?
#
# <details><summary>Answer</summary>
#
# Look at its line above: it learns, but no better than without a baseline, as far as forty seeds can
# tell, and worse than with a proper one. All rewards of CartPole are 1, so what is learned is to last
# longer, and actions that are many steps before the end still get a positive weight, those just
# before the fall a negative one. On `fork` it does not learn which path to take: it learns the
# actions along a path, and commits to either. A method that trains CartPole is not thereby correct:
# measure it against an exact gradient.
#
# </details>

# %% [markdown]
# ## Your own
#
# **Exercise 5.** Write Ψ = G_t − b with a baseline of your choice, from trajectories to weights. The
# checker measures it. The mean of thousands of gradient estimates must be the exact gradient. The
# variance must be less than half of that without a baseline. And it must *learn* what REINFORCE
# without a baseline does not: on `fork` with every reward 6 higher, 50 iterations of 4 episodes
# must gain half of what can be gained, on 105 of 200 seeds. Do not rescale. This is what the
# checker says of Ψ = G_t:

# %%
course.check("my_baseline_psi", lambda t, gamma: returns_to_go(t.reward, t.mask, gamma))


# %% tags=["exercise", "my_baseline_psi"]
def my_baseline_psi(trajectories, gamma):
    """Ψ = G_t − b, unbiased and of little variance; without the factor γ^t.

    trajectories: complete episodes, tensors [S, N, T]: reward, mask (true on real steps), obs,
        action, …; padding may hold anything. In some of the checker's batches N is 3.
    gamma: discount factor
    result: Ψ, [S, N, T]; in the padding whatever you like
    """
    ### BEGIN SOLUTION
    t = trajectories
    g = torch.zeros_like(t.reward)
    following = torch.zeros_like(t.reward[..., 0])
    for k in reversed(range(t.reward.shape[-1])):
        following = torch.where(t.mask[..., k], t.reward[..., k], 0) + gamma * following
        g[..., k] = following
    return g - time_step_baseline(g, t.mask)
    ### END SOLUTION


# %%
course.check("my_baseline_psi", my_baseline_psi)


# %%
def mine(t):
    return my_baseline_psi(t, 0.99)


run = pgzoo.train(
    mine,
    env="CartPole-v1",
    seeds=10,
    steps=20_000,
    episodes=4,
    diagnostics=0,
    progress=False,
)
interval = interquartile_mean_interval(run.summary["eval_mean"])
print(f"yours: {interval.point:.0f} [{interval.low:.0f}, {interval.high:.0f}]")
run.film(seed=0, at=(0, 100), seconds=4)

# %% [markdown]
# ## What to remember
#
# * E[b ∇log π] = 0 for every b that the action cannot influence. Probabilities sum to 1; nothing
#   else is needed.
# * With its own sample in the mean, an estimate is (N − 1)/N of the gradient. With a mean over the
#   time of one episode it is the gradient of something else.
# * A baseline removes what it knows of the level of the return, and adds its own noise.
# * The best constant is a weighted mean return; V(s) is good, not best.
# * Raw variance falls when a gradient is merely shortened. Compare relative variances.
#
# ## Further reading
#
# * R. J. Williams (1992), *Simple statistical gradient-following algorithms for connectionist
#   reinforcement learning*, Machine Learning 8: REINFORCE, with a baseline from the start.
# * E. Greensmith, P. L. Bartlett, J. Baxter (2004), *Variance reduction techniques for gradient
#   estimates in reinforcement learning*, JMLR 5: baselines as control variates; the optimal
#   constant for their average-reward estimate (GPOMDP).
# * P. Dayan (1990), *Reinforcement comparison*, Connectionist Models Summer School, pp. 45–51: derives
#   an optimal comparison term, which is not the mean reward that Sutton had used.
# * R. S. Sutton, A. G. Barto (2018), *Reinforcement Learning: An Introduction*, 2nd edition,
#   section 13.4: REINFORCE with baseline.
# * M. Straka, *Deep Reinforcement Learning* (NPFL139), Charles University Prague: an assignment
#   whose budget of episodes is probably too little without a baseline.
# * J. Peters, S. Schaal (2008), *Reinforcement learning of motor skills with policy gradients*,
#   Neural Networks 21: optimal baselines for each component of the gradient.
