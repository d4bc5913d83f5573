# %% [markdown]
# # 5. Leave one out
#
# A baseline may be anything that does not depend on the action. Chapter 3 took a mean over the batch, chapter 4
# a learned critic. There is a third way, which needs no network: start K episodes from the same state, and let
# each be judged by the K − 1 others.
#
# **Afterwards you can**
#
# - write the leave-one-out advantage (RLOO), and prove that it is unbiased;
# - say what becomes of the gradient if a rollout is part of its own baseline, and by which factor;
# - write the same estimate as differences of pairs, and recognise it as a sample covariance;
# - split a variance into a part between starts and a part within a start, and tell from it whether groups pay;
# - treat groups whose members end at different times.
#
# **Before**: chapters 1 to 3 (the score function, Ψ, why a baseline keeps the mean). Expectation, variance,
# covariance, independence; torch tensors with `sum`, `mean`, `unflatten`. **Time**: about an hour.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pgzoo_envs
import torch

import pgzoo
from pgzoo import course, estimators
from pgzoo.lab import exact_gradient, mdps, score_gradients, simulate
from pgzoo.policies.networks import Table
from pgzoo.records.style import COLOURS, STYLE

plt.rcParams.update(STYLE)
BLUE, ORANGE, GREEN = COLOURS[:3]

# %% [markdown]
# ## K rollouts from one start
#
# A batch of N episodes is made of G groups of K, so N = G·K. The members of a group are adjacent rows and start
# in the same state $s_0$; after that each goes its own way, with actions of its own. In training of language
# models a start is a prompt, and the members are the answers that were sampled for it.
#
# Write $R_k$ for the return of member k and $S_k = \sum_t \nabla\log\pi_\theta(a_{k,t}|s_{k,t})$ for the sum of
# its score functions. With the whole return as Ψ at every step, the estimate of one group is
#
# $$\hat g = \frac1K\sum_{k=1}^K (R_k - b_k)\, S_k .$$
#
# In RLOO, *REINFORCE leave-one-out*, the baseline of member k is the mean of the other K − 1:
#
# $$b_k = \frac{1}{K-1}\sum_{j\ne k} R_j, \qquad \Psi_k = R_k - b_k .$$
#
# The idea is older than its name. Kool, van Hoof & Welling (2019) use it for routes of a travelling salesman,
# Ahmadian et al. (2024) for language models.

# %% [markdown]
# ### Exercise: `leave_one_out`
#
# `returns` has shape `[S, N]`: S replicas (independent batches), N episodes each, in groups of K adjacent rows.
# Return Ψ for every episode. A loop is right; without one, the sum of the others is the sum of all less one's own.


# %% tags=["exercise", "leave_one_out"]
def leave_one_out(returns, group_size):
    """R_k less the mean of the other members of its group.

    Args:
        returns: of whole episodes, [S, N]; members of a group are adjacent.
        group_size: K, at least 2; it divides N.

    Returns:
        [S, N].
    """
    ### BEGIN SOLUTION
    group = returns.unflatten(1, (-1, group_size))  # [S, G, K]
    others = (group.sum(-1, keepdim=True) - group) / (group_size - 1)
    return (group - others).flatten(1)
    ### END SOLUTION


# %%
course.check("leave_one_out", leave_one_out)

# %% [markdown]
# ## Why it is unbiased, and the group mean is not
#
# Given the start, the K episodes are drawn independently. So $b_k$, which is made of the others, is independent
# of everything that member k does, and
#
# $$E[b_k S_k \mid s_0] = E[b_k \mid s_0]\; E[S_k \mid s_0] = E[b_k \mid s_0]\cdot 0 = 0 .$$
#
# The score function has mean zero in every state that is visited, hence also summed over an episode. The
# baseline takes nothing away from the mean, so $E[\hat g \mid s_0] = E[R S\mid s_0]$, and over the starts
# $E[\hat g] = \nabla J$. Note what was not used: nothing about the policy, the horizon or the rewards, and not
# even that all members share their start. Only that **the others know nothing of my actions**.
#
# Now let the baseline be the mean $\bar R$ over all K members, one's own return included. Then
#
# $$R_k - \bar R = R_k - \frac1K R_k - \frac1K\sum_{j\ne k}R_j
#   = \frac{K-1}{K}R_k - \frac{K-1}{K}\,b_k = \frac{K-1}{K}\,(R_k - b_k).$$
#
# It is the same advantage, shorter by the factor (K − 1)/K. In the mean the gradient is too short by that factor
# and points where it should: it is *biased*, though in the mildest way.
#
# **Predict before you run the cell**: for K = 2, how long is the mean estimate with the group mean as baseline,
# relative to ∇J? And with the leave-one-out baseline?
#
# We measure it on a small random Markov decision process whose gradient is known exactly. What stands behind a ± in
# this chapter is two standard errors.

# %%
mdp, horizon = mdps.garnet(0), 5  # 4 states, of which the last ends the episode; 2 actions
theta = torch.tensor([[0.4, -0.3, 0.2, 0.1, -0.5, 0.0, 0.3, -0.2]], dtype=torch.float64)
pi = theta.view(4, 2).softmax(-1)
exact = exact_gradient(mdp, Table(4, 2), theta, horizon=horizon).view(4, 2)


def group_mean(returns, group_size):
    group = returns.unflatten(1, (-1, group_size))
    return (group - group.mean(-1, keepdim=True)).flatten(1)


def scale(advantage, group_size):
    """Length of the mean estimate along the exact gradient, relative to it, and its standard error."""
    t = simulate(
        mdp,
        pi,
        horizon=horizon,
        batches=20_000,
        episodes=16,
        group_size=group_size,
        seed=group_size,
    )
    returns = (t.reward * t.mask).sum(-1)  # γ = 1
    psi = advantage(returns, group_size).unsqueeze(-1).expand(t.mask.shape)
    along = (score_gradients(t, psi, pi) * exact).sum((1, 2)) / exact.square().sum()
    return along.mean().item(), along.std().item() / len(along) ** 0.5


sizes = np.array([2, 4, 8, 16])
found = {
    name: np.array([scale(f, k) for k in sizes])
    for name, f in (("leave one out", leave_one_out), ("group mean", group_mean))
}
for name, values in found.items():
    print(
        name,
        ", ".join(f"K={k}: {m:.3f} ± {2 * e:.3f}" for k, (m, e) in zip(sizes, values, strict=True)),
    )
for k, (own, _), (loo, error) in zip(
    sizes, found["group mean"], found["leave one out"], strict=True
):
    assert abs(loo - 1) < 5 * error  # unbiased, as far as 20,000 batches can tell
    assert abs(own - (k - 1) / k) < 5 * error  # shorter by (K − 1)/K
    assert np.isclose(own / loo, (k - 1) / k)  # on the same episodes: exactly

# %%
fig, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
line = np.linspace(2, 16, 100)
ax.axhline(1, color=BLUE, lw=1)
ax.plot(line, (line - 1) / line, color=ORANGE, lw=1, label="(K − 1)/K")
for (name, values), colour, marker in zip(found.items(), (BLUE, ORANGE), "os", strict=True):
    ax.errorbar(
        sizes,
        values[:, 0],
        2 * values[:, 1],
        color=colour,
        marker=marker,
        ls="",
        capsize=3,
        label=name,
    )
ax.set(
    title="With its own sample in the baseline, the gradient is too short",
    xlabel="rollouts per start, K",
    ylabel="⟨mean estimate, ∇J⟩ / ‖∇J‖²",
    xticks=sizes,
    ylim=(0.4, 1.1),
)
ax.legend(loc="lower right")
plt.show()

# %% [markdown]
# A factor on the gradient is a factor on the step size, and Adam does not even see it. So one who uses the group
# mean (Dr. GRPO, chapter 6) loses little: but with K = 2 in one run and K = 16 in the next, two things have
# changed. And whoever reports a *smaller variance* for the group mean has measured the factor squared.
#
# **Question.** Somebody takes as baseline the mean over *another* group, of another start. Is that biased?
#
# <details><summary>Answer</summary>
#
# No: another group knows nothing of my actions either. Unbiasedness asks for no more. But another start has
# another level of return, and the difference between the two levels is noise in Ψ. A baseline can be
# legitimate and useless. (If the other group is *chosen* by looking at one's own returns, the independence is
# gone, and with it the proof.)
#
# </details>
#
# **Question.** And the mean of the K − 1 others *and* 0, "to be safe", that is their sum divided by K?
#
# <details><summary>Answer</summary>
#
# Still unbiased, since it is made of the others alone. It is the baseline (K − 1)/K · b, which is too small: for
# returns with a high level, a part 1/K of the level remains in Ψ as noise. `course.check` calls it
# *leave-one-out-without-factor*.
#
# </details>

# %% [markdown]
# ## Pairs, and a covariance
#
# The advantage is a mean of differences, $\Psi_k = \frac{1}{K-1}\sum_{j\ne k}(R_k - R_j)$, and so
#
# $$\hat g = \frac1K\sum_k \Psi_k S_k = \frac{1}{K(K-1)}\sum_{k}\sum_{j\ne k}(R_k - R_j)\,S_k .$$
#
# Every pair {j, k} is met twice there: once as $(R_k - R_j)S_k$ and once as $(R_j - R_k)S_j$. Added up,
#
# $$\hat g = \frac{1}{K(K-1)}\sum_{j<k}(R_j - R_k)\,(S_j - S_k)
#   = \binom K2^{-1}\sum_{j<k}\tfrac12 (R_j - R_k)(S_j - S_k):$$
#
# the estimate of a group is the mean over its pairs of half the product of the differences. This is the textbook
# *sample covariance* of R and S, in its form with pairs. There is sense in that: because the score has
# mean zero, the policy gradient is a covariance, $\nabla J = E[R\,S] = \mathrm{Cov}(R, S)$ given the start. RLOO is
# the unbiased sample covariance, which divides by K − 1. The group mean gives the one that divides by K. **The
# factor (K − 1)/K is Bessel's correction.**
#
# ### Exercise: `pairwise_gradient`
#
# Write the estimate with pairs. `scores` holds $S_k$, a vector of P numbers for each episode. Take the mean over the
# groups.


# %% tags=["exercise", "pairwise_gradient"]
def pairwise_gradient(returns, scores, group_size):
    """The mean over the groups of 1/(K(K − 1)) Σ_{j<k} (R_j − R_k)(S_j − S_k).

    Args:
        returns: [S, N]; members of a group are adjacent.
        scores: [S, N, P].
        group_size: K, at least 2; it divides N.

    Returns:
        [S, P].
    """
    ### BEGIN SOLUTION
    r = returns.unflatten(1, (-1, group_size))  # [S, G, K]
    s = scores.unflatten(1, (-1, group_size))  # [S, G, K, P]
    products = (r[..., :, None] - r[..., None, :])[..., None] * (
        s[..., :, None, :] - s[..., None, :, :]
    )  # [S, G, K, K, P], every pair twice
    return products.sum((2, 3)).mean(1) / (2 * group_size * (group_size - 1))
    ### END SOLUTION


# %%
course.check("pairwise_gradient", pairwise_gradient)

# %% [markdown]
# Three ways to the same numbers: the advantages, the pairs, and NumPy's covariance.

# %%
g = torch.Generator().manual_seed(0)
returns, scores = torch.randn(1, 6, generator=g), torch.randn(1, 6, 2, generator=g)
by_advantage = (leave_one_out(returns, 6).unsqueeze(-1) * scores).mean(1)
by_pairs = pairwise_gradient(returns, scores, 6)
by_numpy = np.cov(returns[0].numpy(), scores[0].T.numpy())[0, 1:]
print(by_advantage[0].numpy(), by_pairs[0].numpy(), by_numpy)
assert np.allclose(by_advantage, by_pairs)
assert np.allclose(by_numpy, by_pairs)

# %% [markdown]
# **Question.** All members of a group earn the same. What does the group contribute to the gradient? What if, with
# rewards of 0 and 1 alone, the task is solved by almost every rollout?
#
# <details><summary>Answer</summary>
#
# Nothing: all differences are zero. With almost every rollout a success, most groups are of this kind, and the
# work that went into them is wasted. Trainers of language models filter such prompts or draw others. It may
# be one reason why a policy that has solved CartPole hardly moves any more; we have not measured that here.
#
# </details>

# %% [markdown]
# ## What a shared start buys
#
# It decides nothing about the mean (the proof did not need it). It decides about the variance. Think of returns as
#
# $$R = v(s_0) + \text{rest}, \qquad v(s_0) = E[R\mid s_0],\qquad
#   \mathrm{Var}\,R = \underbrace{\mathrm{Var}\,v(s_0)}_{\text{between starts}} +
#   \underbrace{E\,\mathrm{Var}(R\mid s_0)}_{\text{within a start}} .$$
#
# If the members of a group share their start, the level $v(s_0)$ cancels in $R_k - b_k$: what is left of the
# variance is the part within. With independent starts the part between stays in Ψ. How large are the parts?
#
# From groups both can be estimated. Within: the sample variance of each group (divided by K − 1), averaged.
# Between: the group means scatter, but not only because of $v(s_0)$: the variance of the group means is too large
# by the variance within, divided by K. That has to be subtracted:
#
# $$\widehat{\text{between}} = \frac{1}{G-1}\sum_{g}(\bar R_g - \bar R)^2 - \frac1K\,\widehat{\text{within}} .$$
#
# ### Exercise: `between_within_variance`
#
# Both estimates are unbiased, so *between* may come out negative when it is small: leave it so.


# %% tags=["exercise", "between_within_variance"]
def between_within_variance(returns, group_size):
    """Variance of the return between starts and within a start.

    Args:
        returns: [S, N], at least two groups; members of a group are adjacent.
        group_size: K, at least 2; it divides N.

    Returns:
        (between [S], within [S]), unbiased estimates both.
    """
    ### BEGIN SOLUTION
    group = returns.unflatten(1, (-1, group_size))  # [S, G, K]
    within = group.var(-1).mean(-1)
    between = group.mean(-1).var(-1) - within / group_size
    return between, within
    ### END SOLUTION


# %%
course.check("between_within_variance", between_within_variance)

# %% [markdown]
# Now two environments. `reset(seed=[...])` takes a seed for each row, and equal seeds mean equal starts: a cart
# within 5 cm of the middle on CartPole; the terrain, the first push and the engine's noise on LunarLander. We let a
# policy that chooses actions at random play K = 4 episodes from each of many starts.
#
# **Predict**: on which of the two does the start decide more?
#
# The share of the start is an estimate, and a noisy one: with 40 starts of LunarLander it may well come out at 0.1 or
# at 0.4. The starts are what was drawn at random, so they are drawn again, with replacement, for a 95% interval
# (the *bootstrap*; chapter 8 says more).

# %%
members = 4


def play(env, probabilities, starts, seed=0):
    """Returns [1, N] of a policy that chooses with fixed probabilities; groups share their start."""
    rng = np.random.default_rng(seed)
    envs = pgzoo_envs.make(env, starts * members)
    envs.reset(seed=np.repeat(np.arange(starts), members).tolist())
    returns, alive = np.zeros(starts * members), np.ones(starts * members, dtype=bool)
    while alive.any():
        actions = rng.choice(len(probabilities), starts * members, p=probabilities)
        _, reward, terminated, truncated, _ = envs.step(actions)
        returns += reward * alive
        alive &= ~(terminated | truncated)
    envs.close()
    return torch.from_numpy(returns)[None]


played = {
    "CartPole-v1": play("CartPole-v1", [0.5, 0.5], starts=1_000),
    "LunarLander-v3": play("LunarLander-v3", [0.25] * 4, starts=200),
}
share, low, high = {}, {}, {}
g = torch.Generator().manual_seed(0)
for env, returns in played.items():
    groups = returns.view(-1, members)
    drawn = torch.randint(len(groups), (1_000, len(groups)), generator=g)
    batches = torch.cat([returns, groups[drawn].flatten(1)])  # the first one is the real one
    between, within = between_within_variance(batches, members)
    shares = between / (between + within)
    share[env] = shares[0].item()
    low[env], high[env] = np.quantile(shares[1:], [0.025, 0.975])
    print(
        f"{env}, {len(groups)} starts: between {between[0]:.1f}, within {within[0]:.1f}, "
        f"share of the start {share[env]:.2f} [{low[env]:.2f}, {high[env]:.2f}]"
    )
assert abs(share["CartPole-v1"]) < 0.06
assert high["CartPole-v1"] < 0.1
assert 0.1 < share["LunarLander-v3"] < 0.35
assert low["LunarLander-v3"] > 0.05

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for ax, (env, returns) in zip(axes, played.items(), strict=True):
    groups = returns.view(-1, members)[:200]
    groups = groups[groups.mean(1).argsort()]
    ax.plot(np.arange(len(groups)), groups, "o", color=BLUE, ms=2, alpha=0.5)
    ax.plot(np.arange(len(groups)), groups.mean(1), "-", color=ORANGE, label="mean of the start")
    ax.set(
        title=f"{env}: share of the start {share[env]:.2f} [{low[env]:.2f}, {high[env]:.2f}]",
        xlabel="200 starts, sorted by the mean of their rollouts",
        ylabel="return of a rollout",
    )
axes[0].legend(loc="upper left")
plt.show()

# %% [markdown]
# The line of the means rises on both: it is sorted, and with four rollouts a mean is noisy. Only the estimate
# that subtracts this noise tells the two apart. On CartPole the share of the start is a few hundredths, so small
# that it takes a thousand starts to tell it from 0; on LunarLander it is about a fifth of the variance, for the members share the terrain and
# the noise of the engine as well.

# %% [markdown]
# ## What a shared start costs
#
# Here many texts stop: shared starts remove variance from the baseline, so groups must be better. There is
# another side. N episodes in groups of K have only N/K starts. Let us count everything. Write $r = R - v(s_0)$ and
# $g(s_0) = E[r S\mid s_0]$, the gradient of a start. Put $R_k = v + r_k$ into the estimate of one group:
#
# $$\hat g = \frac1K\sum_k r_k S_k - \frac{1}{K(K-1)}\sum_{k}\sum_{j\ne k} r_j S_k .$$
#
# Given the start, the first sum has the variance $\frac1K \mathrm{Var}(rS)$. (The variance of a vector is the trace
# of its covariance.) In the second every $r_j$ and $S_k$ has mean zero and $j\ne k$ are independent, so that only
# equal and swapped pairs have something in common: its variance is
# $\frac{1}{K(K-1)}\left(\mathrm{Var}(r)\,E\|S\|^2 + \|g(s_0)\|^2\right)$. The two sums are uncorrelated. Then come
# the starts: $\hat g$ has the mean $g(s_0)$, which differs from start to start, and all K members have the same.
# Averaged over N/K groups, and multiplied by N to compare at an equal number of episodes,
#
# $$N\,\mathrm{Var} = \underbrace{W}_{E\,\mathrm{Var}(rS|s_0)} +
#   \frac{1}{K-1}\underbrace{B}_{E[\mathrm{Var}(r|s_0)E(\|S\|^2|s_0)+\|g(s_0)\|^2]} +
#   K\underbrace{D}_{\mathrm{Var}\,g(s_0)} .$$
#
# - **W** remains with the perfect baseline $v(s_0)$.
# - **B/(K − 1)** is the price of estimating the baseline from K − 1 others. Large groups make it small.
# - **K·D** is the price of few starts: what a start says about the gradient is said K times. Large groups make it
#   large.
#
# So there is a best K, $1 + \sqrt{B/D}$, and it is not "as large as possible". With *independent* starts the same
# formula holds with all episodes from one "start", the mixture: $D = 0$, but W and B then contain the variance
# of the returns between starts.
#
# Check it on the smallest example there is: a bandit with three contexts, equally likely. Action 1 earns 1 more than
# action 0; the context adds its level. The policy is uniform. By hand:
# $r=\pm\frac12$, $S = \pm(-\frac12, \frac12)$, so $rS$ is always $(-\frac14, \frac14)$ and $W=0$,
# $B=\frac14\cdot\frac12+\frac18=\frac14$, $D = \frac18-\frac1{24}=\frac1{12}$. With independent starts, writing V for
# the variance of the levels, $W=\frac12(V+\frac14)-\frac1{24}$ and $B=\frac12(V+\frac14)+\frac1{24}$.

# %%
uniform = torch.full((4, 2), 0.5, dtype=torch.float64)


def episodes_times_variance(levels, group_size, shared):
    t = simulate(
        mdps.contexts(levels),
        uniform,
        horizon=1,
        batches=10_000,
        episodes=16,
        group_size=group_size if shared else 1,
        seed=group_size,
    )
    psi = leave_one_out(t.reward.sum(-1), group_size).unsqueeze(-1)
    return 16 * score_gradients(t, psi, uniform).var(0).sum().item()


ks = np.array([2, 4, 8, 16])
line, curves = np.linspace(2, 16, 100), {}
fig, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for ax, levels in zip(axes, ((0.0, 0.0, 0.0), (-10.0, 0.0, 10.0)), strict=True):
    v = np.var(levels)
    w, b = 0.5 * (v + 0.25) - 1 / 24, 0.5 * (v + 0.25) + 1 / 24
    for shared, colour, marker, predicted in (
        (True, BLUE, "o", lambda k: 0.25 / (k - 1) + k / 12),
        (False, ORANGE, "s", lambda k, w=w, b=b: w + b / (k - 1)),
    ):
        measured = [episodes_times_variance(levels, k, shared) for k in ks]
        np.testing.assert_allclose(measured, predicted(ks), rtol=0.1)
        ax.plot(line, predicted(line), color=colour, lw=1)
        curves[shared, v] = measured
        label = "shared starts" if shared else "independent starts"
        ax.plot(ks, measured, color=colour, marker=marker, ls="", label=f"{label}, measured")
    ax.set(
        title=f"Levels of the contexts: {', '.join(f'{x:g}' for x in levels)}",
        xlabel="rollouts per start, K, of 16 episodes",
        ylabel="N · variance of the estimate",
        xticks=ks,
        yscale="log",
    )
axes[0].legend()
plt.show()

less = {v: np.divide(curves[False, v], curves[True, v]) for shared, v in curves if shared}
for v, gain in less.items():
    print(f"variance of levels {v:.1f}: independent over shared {gain.round(2)}")
assert (less[0.0] < 1).all()
assert less[max(less)][0] > 100
assert 20 < less[max(less)][-1] < 30

at = {k: 1 / 4 / (k - 1) + k / 12 for k in range(2, 17)}  # shared starts, levels 0, 0, 0
assert min(at, key=at.get) == 3
assert np.isclose(at[2], at[4])
assert np.isclose(at[2], at[3] * (1 + 1 / 9))

# %% [markdown]
# The lines are the formula, the points are measured, and the cell fails if they are more than a tenth apart. Left:
# the start says nothing about the level of the return, and sharing it only costs. Right: it says nearly
# everything, and sharing takes away a factor of more than a hundred at K = 2, and of about 25 at K = 16. **Groups are not better or worse: it depends on what the
# start decides.**
#
# **Question.** On the left, with shared starts, which K is best?
#
# <details><summary>Answer</summary>
#
# $1+\sqrt{B/D} = 1+\sqrt{3}\approx 2.7$, and K is a whole number. The formula gives $\frac5{12}$ at K = 2, $\frac38$ at 3
# and $\frac5{12}$ at 4. So 3; 2 and 4 are equal, a ninth above it. At 16 the price of few starts rules: all episodes of a batch then know one context alone.
#
# </details>
#
# And on CartPole, where the start decides next to nothing of the random policy's return? We train RLOO with ten seeds, take
# seed 0 after a tenth of its training, and measure both ways of starting at the same number of episodes.

# %%
run = pgzoo.train("rloo", env="CartPole-v1", seeds=10, steps=100_000, diagnostics=0, progress=False)
lab = pgzoo.measure(
    ["rloo:starts=shared", "rloo:starts=independent"],
    run=run,
    at=10,
    trajectories=8,
    estimates=1_200,
    reference_estimates=100,
    progress=False,
)
ratio = lab.measurement.compare("rloo:starts=shared", "rloo:starts=independent", "variance")
interval = ratio.interval
print(
    f"variance, shared over independent: {interval.point:.2f} [{interval.low:.2f}, {interval.high:.2f}]"
)
assert interval.high > 1  # if anything, a loss
assert interval.low > 0.9  # no gain worth the name

# %% [markdown]
# For this policy on CartPole shared starts do not pay: the interval excludes a gain of more than a tenth. "RLOO lowers the
# variance because the rollouts share their start" is a sentence about environments, and not true of this policy here.
# It is one policy of one seed at one moment, and so are the measurements on CartPole that follow.
# The README of pgzoo has more moments of training, with the same result.

# %% [markdown]
# ## Common random numbers
#
# Sharing what is random between things that are compared is an old trick of simulation (Glasserman & Yao 1992).
# It serves a second purpose: to compare two *policies*. The difference of their mean returns has the variance
#
# $$\mathrm{Var}(\bar A - \bar B) = \mathrm{Var}\,\bar A + \mathrm{Var}\,\bar B - 2\,\mathrm{Cov}(\bar A, \bar B),$$
#
# and if both play from the same seeds, the covariance is positive where a kind start is kind to both. Let a second
# policy play LunarLander that fires the main engine less often.

# %%
starts = 200
a = played["LunarLander-v3"].view(starts, members).mean(1)
b = play("LunarLander-v3", [0.3, 0.25, 0.2, 0.25], starts, seed=1).view(starts, members).mean(1)
paired = (a - b).var().item() / starts
unpaired = (a.var() + b.var()).item() / starts
print(
    f"difference {(a - b).mean():.1f}; standard error {paired**0.5:.1f} with equal seeds, "
    f"{unpaired**0.5:.1f} as if they were others"
)
assert paired < unpaired

# %%
fig, ax = plt.subplots(figsize=(4.6, 4.2), layout="constrained")
ax.plot(a, b, "o", color=BLUE, ms=4, alpha=0.6)
ends = [min(a.min(), b.min()), max(a.max(), b.max())]
ax.plot(ends, ends, color="grey", lw=1, label="equal returns")
ax.set(
    title="A kind start is kind to both policies",
    xlabel="mean return of a start, uniform policy",
    ylabel="mean return of a start, less main engine",
)
ax.legend()
plt.show()

# %% [markdown]
# The films of pgzoo use the same trick: all panels start from the same state and draw their actions with the same
# random numbers, so that what you see differ are the policies.

# %%
run.film(seed=0, at=(0, 10, 50), seconds=4)

# %% [markdown]
# ## Ragged groups: one baseline for each step
#
# What was earned before step t is no fault of the action at t, so chapter 2 replaced R by the return-to-go
# $G_t$. Its baseline should then be for step t, too: the mean of the others' $G_{j,t}$. But episodes end at
# different times, and at step t some members of the group may be over: only members whose episode is still going on
# at step t count. Where there is none, nothing is subtracted.
#
# $$\Psi_{k,t} = G_{k,t} - \frac{1}{n_{k,t}}\sum_{j\ne k,\ j \text{ alive at } t} G_{j,t}$$
#
# It stays unbiased by the same proof: how many others are alive, and what they earn, is their own affair. (The proof
# is for γ = 1; with γ < 1 return-to-go needs the factor $c_t = \gamma^t$, as chapter 1 showed.)
#
# ### Exercise: `leave_one_out_per_step`
#
# `returns` are returns-to-go, `mask` is true on real steps. What stands in the padding may be anything, even NaN, and
# since 0 · NaN is NaN, multiplication by the mask does not remove it: `torch.where(mask, returns, 0)` does.


# %% tags=["exercise", "leave_one_out_per_step"]
def leave_one_out_per_step(returns, mask, group_size):
    """G_{k,t} less the mean of the other members that are still going on at t.

    Args:
        returns: returns-to-go, [S, N, T]; anything, NaN included, where the mask is false.
        mask: true on real steps, [S, N, T].
        group_size: K, at least 2; it divides N.

    Returns:
        [S, N, T], zero where the mask is false; the return-to-go itself where no other goes on.
    """
    ### BEGIN SOLUTION
    g = torch.where(mask, returns, 0).unflatten(1, (-1, group_size))  # [S, G, K, T]
    real = mask.unflatten(1, (-1, group_size))
    others = real.sum(2, keepdim=True) - real.long()
    baseline = (g.sum(2, keepdim=True) - g) / others.clamp(min=1)
    return torch.where(real, g - baseline, 0).flatten(1, 2)
    ### END SOLUTION


# %%
course.check("leave_one_out_per_step", leave_one_out_per_step)

# %% [markdown]
# On the small MDP: is it unbiased, and how much variance does it save?

# %%
t = simulate(mdp, pi, horizon=horizon, batches=20_000, episodes=16, group_size=8, seed=0)
variance = {}
togo = (t.reward * t.mask).flip(-1).cumsum(-1).flip(-1)
whole = leave_one_out(togo[..., 0], 8).unsqueeze(-1).expand(t.mask.shape)
for name, psi in (
    ("G_t, no baseline", togo),
    ("R less the others' mean", whole),
    ("G_t less the others' mean at t", leave_one_out_per_step(togo, t.mask, 8)),
):
    estimates = score_gradients(t, psi, pi)
    along = (estimates * exact).sum((1, 2)) / exact.square().sum()
    error = along.std() / len(along) ** 0.5
    print(
        f"{name:32} scale {along.mean():.3f} ± {2 * error:.3f}   variance {estimates.var(0).sum():.3f}"
    )
    assert abs(along.mean() - 1) < 5 * error
    variance[name] = estimates.var(0).sum().item()
none, whole, per_step = variance.values()
assert per_step < none < whole

# %% [markdown]
# On CartPole, for the untrained policy:

# %%
lab = pgzoo.measure(
    ["reinforce", "rloo", "rloo:reward_to_go=yes"],
    run=run,
    at=0,
    trajectories=16,
    estimates=600,
    reference_estimates=3_000,
    progress=False,
)
lower = lab.measurement.compare("rloo:reward_to_go=yes", "rloo", "relative_variance").interval
print(
    f"relative variance, per step over whole: {lower.point:.2f} [{lower.low:.2f}, {lower.high:.2f}]"
)
assert lower.high < 1
past = lab.measurement.compare("rloo", "reinforce", "relative_variance").interval
print(f"relative variance, rloo over reinforce: {past.point:.2f} [{past.low:.2f}, {past.high:.2f}]")
assert past.low > 1
table = lab.table
fig, ax = plt.subplots(figsize=(7, 2.6), layout="constrained")
arms = (
    table.relative_variance - table.relative_variance_low,
    table.relative_variance_high - table.relative_variance,
)
ax.errorbar(
    table.relative_variance,
    ["G_t, no baseline", "R less others", "G_t less others at t"],
    xerr=arms,
    color=BLUE,
    marker="o",
    ls="",
    capsize=3,
)
ax.set(
    title="CartPole, untrained: the past costs more than a baseline saves",
    xlabel="relative variance of an estimate from 16 episodes, with its 95% interval",
)
ax.set_ylim(2.5, -0.5)
plt.show()

# %% [markdown]
# "RLOO has less variance than REINFORCE" is not true here: look at the first two lines of the small MDP, and of CartPole. Two
# things differ between them. `rloo` takes the whole return less a baseline, `reinforce` the return-to-go without
# any, and what the baseline takes away is less than what the rewards of the past put in. The two ideas go
# together: per step, and to go. (Whether a baseline lowers the variance when nothing else differs is another question,
# which chapter 3 answers.)

# %% [markdown]
# **Question.** A member that is over could also count as a return-to-go of 0, so that one always divides by
# K − 1. Is that biased? On CartPole, where the survivors are much alike, which of the two should vary less?
#
# <details><summary>Answer</summary>
#
# It is unbiased as well: still made of the others alone. "The dead say nothing about step t, so their zeros can only
# spoil the baseline" sounds convincing. Measure it before you believe it.
#
# </details>


# %%
def togo_of(t):
    return estimators.returns_to_go(t.reward, t.mask, 1.0)


def the_living(t):
    """The mean of those that are still going on."""
    return leave_one_out_per_step(togo_of(t), t.mask, 8)


def all_others(t):
    """The mean of all others, where those that are over count as 0."""
    g = togo_of(t).unflatten(1, (-1, 8))
    return (g - (g.sum(2, keepdim=True) - g) / 7).flatten(1, 2) * t.mask


lab = pgzoo.measure(
    [all_others, the_living],
    run=run,
    at=10,
    trajectories=16,
    estimates=400,
    reference_estimates=400,
    progress=False,
)
one, other = lab.table.index
found = lab.measurement.compare(one, other, "relative_variance").interval
print(
    f"relative variance, all others over the living: {found.point:.2f} [{found.low:.2f}, {found.high:.2f}]"
)
assert found.high < 1.05

# %% [markdown]
# The mean of the living is not better for this policy; if anything it is worse. Late in an episode only few others are left, and a
# mean over few is noisy (the B/(K − 1) of above). Dividing by K − 1 all the same makes the baseline too small, and
# less noisy. Both are baselines, and which is better is a question for the laboratory, not for good sense.

# %% [markdown]
# ## Training
#
# Last, the estimator as one function from trajectories to Ψ, which the trainer takes as it is.
#
# ### Exercise: `rloo_psi`
#
# `trajectories` has `reward` and `mask` of shape `[S, N, T]`, and `group_size`. Return Ψ for every step, with the
# discounted return $R=\sum_t\gamma^t r_t$: Ψ is the same number at all steps of an episode. You may use
# your functions from above. Padding may hold anything; what you return there does not matter.


# %% tags=["exercise", "rloo_psi"]
def rloo_psi(trajectories, gamma=0.99):
    """Ψ of RLOO: R_k less the mean of the others, at every step.

    Args:
        trajectories: complete episodes [S, N, T], in groups of trajectories.group_size.
        gamma: discount factor of the return R = Σ γ^t r_t.

    Returns:
        [S, N, T]; anything where the mask is false.
    """
    ### BEGIN SOLUTION
    t = trajectories
    discount = gamma ** torch.arange(t.mask.shape[-1])
    returns = (torch.where(t.mask, t.reward, 0) * discount).sum(-1)
    return leave_one_out(returns, t.group_size).unsqueeze(-1).expand(t.mask.shape)
    ### END SOLUTION


# %%
course.check("rloo_psi", rloo_psi)

# %% [markdown]
# `pgzoo.check` asks the same question of any Ψ that you may ever write, on small MDPs whose gradients are known: is its
# mean ∇J? First yours, with groups of 8. **Predict** what it says of the one below, whose baseline is the group mean.

# %%
pgzoo.check(rloo_psi, gamma=0.99, group_size=8)


# %%
def group_mean_psi(t):
    """Ψ with one's own return in the baseline."""
    returns = (torch.where(t.mask, t.reward, 0) * 0.99 ** torch.arange(t.mask.shape[-1])).sum(-1)
    return group_mean(returns, t.group_size).unsqueeze(-1).expand(t.mask.shape)


wrong = pgzoo.check(group_mean_psi, gamma=0.99, group_size=8)
assert not wrong.passed
wrong

# %% [markdown]
# It is told by its scale: 7/8 is (K − 1)/K. By the way, the remark on the right one, that Ψ looks at the past, is what the
# section on ragged groups was about.

# %% [markdown]
# Ten seeds with your Ψ, groups of 8, 16 episodes a batch. It is the zoo's RLOO: the trained policies agree.

# %%
options = {
    "env": "CartPole-v1",
    "seeds": 10,
    "steps": 100_000,
    "group_size": 8,
    "lr_schedule": "linear",
    "diagnostics": 0,
    "progress": False,
}
mine = pgzoo.train(rloo_psi, **options)
difference = np.subtract(mine.summary["eval_mean"], run.summary["eval_mean"])
print("mean return of each seed, mine less the zoo's:", difference.round(1))
assert abs(np.median(difference)) < 10  # the same but for rounding, which training magnifies

# %%
independent = pgzoo.train("rloo", starts="independent", **options)
fig, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained", sharey=True)
for ax, r, title in ((axes[0], run, "shared starts"), (axes[1], independent, "independent starts")):
    r.plot(ax).set_title(f"RLOO, {title}, 10 seeds")
plt.show()

# %% [markdown]
# Do they differ? The unit is the training run (chapter 8): ten returns of trained policies on each side, the
# interquartile mean with its 95% interval, and a permutation test.

# %%
verdict = pgzoo.compare(
    ["rloo", "rloo:starts=independent"],
    env="CartPole-v1",
    seeds=10,
    steps=100_000,
    diagnostics=0,
    reuse=[run.path, independent.path],
    progress=False,
)
print(verdict.verdicts[0])
verdict.table[["runs", "iqm", "iqm_low", "iqm_high"]].round(1)

# %% [markdown]
# A difference in variance of the gradient need not be one in learning that ten seeds can show: the verdict says
# what is decided and how many more seeds it would take.
#
# ## What to keep
#
# - Whatever is made of the other rollouts alone is an unbiased baseline. The mean of the others is RLOO.
# - The group mean is the same estimate times (K − 1)/K: the sample covariance that divides by K.
# - $N\,\mathrm{Var} = W + B/(K-1) + K D$: a larger group has a better baseline and fewer starts.
# - A shared start pays where it decides the level of the return. On LunarLander that is about a fifth of the variance, and
#   sharing may pay; the gradient's variance was measured on CartPole alone, where sharing did not pay.
# - Where episodes end at different times, a step's baseline is made of the others at the same step.
#
# ## Further reading
#
# - W. Kool, H. van Hoof, M. Welling: *Buy 4 REINFORCE samples, get a baseline for free!* ICLR workshop on deep
#   reinforcement learning meets structured prediction, 2019. Leave one out, on routes.
# - A. Ahmadian et al.: *Back to basics: revisiting REINFORCE-style optimization for learning from human
#   feedback in LLMs*, 2024, [arXiv:2402.14740](https://arxiv.org/abs/2402.14740). RLOO for language models.
# - A. Mnih, D. Rezende: *Variational inference for Monte Carlo objectives*, ICML 2016,
#   [arXiv:1602.06725](https://arxiv.org/abs/1602.06725). The other samples as a baseline, for another objective.
# - P. Glasserman, D. D. Yao: *Some guidelines and guarantees for common random numbers*, Management Science 38
#   (6), 1992.
# - W. Hoeffding: *A class of statistics with asymptotically normal distribution*, Annals of Mathematical
#   Statistics 19 (3), 1948. Means over pairs, and their variance.
# - The code: [`pgzoo/agents/rloo.py`](../../pgzoo/agents/rloo.py),
#   [`pgzoo/estimators/groups.py`](../../pgzoo/estimators/groups.py).
