# %% [markdown]
# # 6. From language models back to control
#
# GRPO, Dr. GRPO, REINFORCE++ and RLOO were written down for language models: a prompt, some
# responses, a score for each. Underneath they are what this course has built all along: a sampling
# plan and a weight Ψ on the score function. In this chapter they are taken apart, and each part is
# measured against a gradient that is known.
#
# **Afterwards you can**
#
# - translate between prompts, responses and tokens and starts, trajectories and steps;
# - write the advantage functions of public trainers, with ragged masks and prompts in any order;
# - say what dividing by the standard deviation does to the direction of the gradient, and what
#   dividing by the length does, and measure both;
# - say which estimate of a KL divergence has the right value and which has the right gradient, and
#   why these are two different questions;
# - choose between a penalty in the reward and one in the loss.
#
# **You need** chapters 1 to 5: the policy gradient theorem, baselines, leave one out. Of Python:
# tensors with masks. You need not know anything about language models.
#
# **Time**: about an hour.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pgzoo_envs
import torch
from scipy import stats
from scipy.optimize import brentq

import pgzoo
from pgzoo import course, estimators
from pgzoo.agents import AGENTS
from pgzoo.agents.base import at_every_step
from pgzoo.lab import FiniteMDP, exact_gradient, score_gradients, simulate
from pgzoo.policies.networks import Table
from pgzoo.records.intervals import interquartile_mean_interval
from pgzoo.records.style import COLOURS, STYLE
from pgzoo.sampling.collect import collect_episodes

plt.rcParams.update(STYLE)

# %% [markdown]
# ## 1. A dictionary
#
# | language model | here | letter or array |
# |---|---|---|
# | prompt | start state, given by the environment's seed | one of G groups |
# | response, completion, sample | trajectory | row i of N = G·K |
# | number of generations | group size | K |
# | token | action, and with it one step | t |
# | prompt and the tokens so far | state | s_t |
# | response length | length of the trajectory | ℓ |
# | response mask | mask | true on real steps |
# | score of a response | return R, paid as a reward at the last token | |
# | prompt index | number of the group a row belongs to | `index` |
# | reference model | reference policy | π_ref |
#
# Two things are special about a language model. Its transitions are known and deterministic: the
# next state is the state with one more token. And the reward comes at the end: r_t = 0 until the
# last token, which earns the score. With γ = 1, as is usual there, every token has the same
# return-to-go: G_t = R.
#
# Here is a language model that fits in a table. It has two words. At the prompt the first token
# decides whether the answer is *right* or *wrong*. After that, the word "more" goes on and the word
# "end" ends the answer. A right answer scores 1, however long it is. Answers of more than 40 tokens
# are cut off and score nothing.

# %%
PROMPT, RIGHT, WRONG, END = range(4)
NO, YES = 0, 1  # at the prompt
STOP, MORE = 0, 1  # afterwards
transition, reward = np.zeros((4, 2, 4)), np.zeros((4, 2))
transition[PROMPT, NO, WRONG] = transition[PROMPT, YES, RIGHT] = 1
transition[[RIGHT, WRONG], STOP, END] = 1
transition[RIGHT, MORE, RIGHT] = transition[WRONG, MORE, WRONG] = transition[END, :, END] = 1
reward[RIGHT, STOP] = 1  # at the last token
answers = FiniteMDP.from_arrays(transition, reward, start=[1, 0, 0, 0], terminal=[END])

HORIZON = 40
theta = torch.tensor([[0.7, 0.3], [0.25, 0.75], [0.25, 0.75], [0.5, 0.5]]).double().log()
pi = theta.softmax(-1)
few = simulate(answers, pi, horizon=HORIZON, batches=1, episodes=4, group_size=4, seed=1)
longest = int(few.mask.sum(-1).max())
for name in ("action", "reward", "mask"):
    print(name, getattr(few, name)[0, :, :longest].int().numpy(), sep="\n")

# %% [markdown]
# Four responses to one prompt. `mask` is what a trainer calls the response mask, and what stands
# where it is false, the padding, is no token.
#
# An algorithm of this course is five values: sampling plan, Ψ, critic, surrogate, penalty. The table
# has four of them, and how steps are added up; none has a critic. The zoo names them. ("Clipped
# ratio" is chapter 7's; at the first pass over a batch its gradient is the score function's.)

# %%
pd.DataFrame(
    {
        name: {
            "sampling": f"{kind.plan.num_rows} episodes in groups of {kind.plan.group_size}",
            "Ψ": AGENTS[name].formula,
            "surrogate": kind.surrogate.title,
            "steps are": kind().aggregation,
            "KL goes into the": kind.penalty.kl_placement,
        }
        for name in ("rloo", "grpo", "dr-grpo", "reinforce++", "reinforce++-baseline")
        for kind in [AGENTS[name].agent]
    }
).transpose()

# %% [markdown]
# **Question.** A trainer for language models has no environment that is stepped, and no next
# observation. Which parts of `Trajectories` does GRPO need, and what is missing for a critic?
#
# <details><summary>Answer</summary>
#
# GRPO's Ψ needs rewards, mask and group size; its surrogate needs the actions and their
# log-probabilities under the policy that acted. Observations come in only as the policy's input. A
# critic with bootstrapping needs the state after each action; in a language model that is known
# without asking anybody, it is the state with the token appended.
#
# </details>

# %% [markdown]
# ## 2. Advantages, as trainers write them
#
# A trainer holds B responses to several prompts in arrays `[B, L]`, padded to the longest. Batches
# are shuffled and split over machines, so rows of one prompt may stand anywhere in the batch: the
# index says whose they are. Padding may hold anything. As everywhere in this course, padding
# belongs into no sum, no mean and no count.
#
# ### Exercise 1: leave one out, by prompt
#
# RLOO's advantage of a response is its score less the mean score of its prompt's *other*
# responses, at all of its tokens. Write it for arrays as a trainer has them.
#
# A multiplication does not remove what stands in the padding if that is NaN: 0 · NaN is NaN. Use
# `torch.where`, or `masked_fill`.


# %% tags=["exercise", "advantages_by_prompt"]
def advantages_by_prompt(token_level_rewards, response_mask, index):
    """RLOO's advantage at every token.

    Args:
        token_level_rewards: [B, L]; padding may hold anything, NaN included.
        response_mask: bool [B, L], true on the response's tokens.
        index: integers, a NumPy array [B]: the prompt of every row. Every prompt has two rows or
            more, not necessarily as many as another.

    Returns:
        [B, L], the same at all tokens of a response, zero where the mask is false.
    """
    ### BEGIN SOLUTION
    scores = torch.where(response_mask, token_level_rewards, 0).sum(-1)
    together = torch.from_numpy(index[:, None] == index[None, :])  # [B, B]: of the same prompt
    others = (together & ~torch.eye(len(index), dtype=torch.bool)).to(scores.dtype)
    baseline = others @ scores / others.sum(-1)
    return (scores - baseline)[:, None] * response_mask
    ### END SOLUTION


# %%
course.check("advantages_by_prompt", advantages_by_prompt)

# %% [markdown]
# The four responses of section 1, all to one prompt: trajectories and a trainer's arrays are the
# same thing.

# %%
advantages_by_prompt(few.reward[0], few.mask[0], np.zeros(4, dtype=int))[:, :longest]

# %% [markdown]
# Now the whole family. The functions below have the arguments that public trainers use. The first
# three are called as in verl (rewards by token, mask, prompt index), the last as in TRL (one score
# for each response, members of a group adjacent). Look at what differs: a mean with or without the
# own score, a deviation of the group, of the batch, or none.


# %%
def of_prompt(scores, index):
    """Mean and standard deviation of the scores of each row's prompt, [B] each."""
    groups = [scores[torch.from_numpy(index == i)] for i in index]
    return torch.stack([g.mean() for g in groups]), torch.stack([g.std() for g in groups])


def grpo_advantage(token_level_rewards, response_mask, index, epsilon=1e-6, norm_by_std=True):
    """GRPO; without norm_by_std Dr. GRPO."""
    scores = (token_level_rewards * response_mask).sum(-1)
    mean, std = of_prompt(scores, index)
    advantage = (scores - mean) / (std + epsilon) if norm_by_std else scores - mean
    return advantage[:, None] * response_mask


def reinforce_pp_advantage(token_level_rewards, response_mask, gamma=1.0):
    """REINFORCE++: returns-to-go, whitened over all tokens."""
    returns, following = torch.zeros_like(token_level_rewards), 0
    for t in reversed(range(returns.shape[1])):
        following = (token_level_rewards[:, t] + gamma * following) * response_mask[:, t]
        returns[:, t] = following
    real = returns[response_mask]
    return (returns - real.mean()) / (real.var() + 1e-8).sqrt() * response_mask


def reinforce_pp_baseline_advantage(token_level_rewards, response_mask, index):
    """REINFORCE++-baseline: the group's mean, then whitened over all tokens."""
    centered = grpo_advantage(token_level_rewards, response_mask, index, norm_by_std=False)
    real = centered[response_mask]
    return (centered - real.mean()) / (real.var() + 1e-8).sqrt() * response_mask


def grpo_advantage_of_groups(rewards, num_generations, scale_rewards="group"):
    """GRPO [B], deviation of the group or of the batch, or none: Dr. GRPO."""
    groups = rewards.view(-1, num_generations)
    scale = {"group": groups.std(1, keepdim=True), "batch": rewards.std(), "none": torch.ones(1)}
    eps = 0 if scale_rewards == "none" else 1e-4
    return ((groups - groups.mean(1, keepdim=True)) / (scale[scale_rewards] + eps)).flatten()


# %% [markdown]
# Twelve responses to three prompts in a random order, of one to seven tokens:

# %%
rng = np.random.default_rng(0)
index = rng.permutation(np.repeat([40, 7, 19], 4))
lengths = torch.from_numpy(rng.integers(1, 8, size=12))
response_mask = torch.arange(7) < lengths[:, None]
scores = torch.from_numpy(rng.normal(size=12)).round(decimals=2)
token_level_rewards = torch.zeros(12, 7).double()
token_level_rewards[torch.arange(12), lengths - 1] = scores
pd.DataFrame({"prompt": index, "tokens": lengths, "score": scores})

# %% [markdown]
# pgzoo's estimators expect members of a group to be adjacent. So the rows are sorted by prompt, and
# the result is put back in the trainer's order. Then all numbers agree.

# %%
order = torch.from_numpy(np.argsort(index, kind="stable"))
back = order.argsort()
sorted_scores, sorted_mask = scores[order][None], response_mask[order]


def in_trainers_order(advantage):
    """An advantage of each sorted row [1, B] at every token, rows as the trainer has them."""
    return (advantage[0, :, None] * sorted_mask)[back]


centered = estimators.group_center(sorted_scores, 4)[0, :, None] * sorted_mask
batch = token_level_rewards, response_mask
agree = {
    "GRPO": (
        grpo_advantage(*batch, index),
        in_trainers_order(estimators.group_standardize(sorted_scores, 4, eps=1e-6)),
    ),
    "Dr. GRPO": (grpo_advantage(*batch, index, norm_by_std=False), centered[back]),
    "RLOO": (
        advantages_by_prompt(*batch, index),
        in_trainers_order(estimators.leave_one_out(sorted_scores, 4)),
    ),
    "REINFORCE++": (
        reinforce_pp_advantage(*batch, gamma=0.9),
        estimators.whiten(estimators.returns_to_go(*batch, 0.9), response_mask),
    ),
    "REINFORCE++-baseline": (
        reinforce_pp_baseline_advantage(*batch, index),
        estimators.whiten(centered, sorted_mask)[back],
    ),
    "GRPO, adjacent": (
        grpo_advantage_of_groups(scores[order], 4),
        estimators.group_standardize(sorted_scores, 4, eps=1e-4)[0],
    ),
    "Dr. GRPO, adjacent": (
        grpo_advantage_of_groups(scores[order], 4, "none"),
        estimators.group_center(sorted_scores, 4)[0],
    ),
}
for name, (trainers, ours) in agree.items():
    print(f"{name:21} largest difference {float((trainers - ours).abs().max()):.0e}")
    torch.testing.assert_close(trainers, ours, rtol=1e-9, atol=1e-9)

# %% [markdown]
# Two details that are easily missed, both from the code of trainers. A prompt with a single
# response has no deviation and no others; trainers take 0 for the mean and 1 for the deviation, so
# that the response keeps its plain score. And ε differs: 1e-6 here, 1e-4 there, which matters only
# for a group whose scores are nearly the same.
#
# **Question.** A colleague sums `token_level_rewards` over the tokens *without* the mask. Their
# trainer works. When does it stop working?
#
# <details><summary>Answer</summary>
#
# As soon as anything but zero stands in the padding. Many trainers fill it with zeros, so nothing
# happens. A per-token KL penalty changes that: log π − log π_ref is computed for padding tokens
# too, and if it is not masked *there*, every response pays for its padding, short ones most.
#
# </details>

# %% [markdown]
# ## 3. Dividing by the standard deviation
#
# ### Exercise 2: GRPO's advantage
#
# In a group of K returns, GRPO subtracts the mean and divides by the standard deviation. It is the
# sample standard deviation, which divides by K − 1, and eps is added to it (to the deviation, not
# to the variance).


# %% tags=["exercise", "group_standardize"]
def group_standardize(returns, group_size, eps):
    """GRPO's advantage.

    Args:
        returns: [S, N], members of a group adjacent.
        group_size: K, a divisor of N.
        eps: added to the standard deviation.

    Returns:
        [S, N].
    """
    ### BEGIN SOLUTION
    groups = returns.unflatten(-1, (-1, group_size))
    mean = groups.mean(-1, keepdim=True)
    std = groups.std(-1, keepdim=True)
    return ((groups - mean) / (std + eps)).flatten(-2)
    ### END SOLUTION


# %%
course.check("group_standardize", group_standardize)

# %% [markdown]
# ### What it does to the direction
#
# J is a mean over starts. With d(s) the probability of a start and $J_s$ the expected return from it,
#
# $$J(\theta) = \sum_s d(s)\, J_s(\theta), \qquad \nabla J = \sum_s d(s)\, \nabla J_s .$$
#
# Let $\sigma_s > 0$ be the standard deviation of R from start s. The samples come from the policy that
# is differentiated, and the terms of all steps are summed (the division by the length is left out
# here; it is section 4's). In a large group the sample's mean and deviation are those of the start.
# So the expectation of the estimate with GRPO's Ψ is
#
# $$E\Big[\frac{R - \text{mean}}{\text{std}} \sum_t \nabla\log\pi_\theta(a_t|s_t)\Big]
#   \;\longrightarrow\; \sum_s d(s)\, \frac{\nabla J_s}{\sigma_s} \qquad (K \to \infty).$$
#
# Every start is reweighted by 1/σ_s. That is no constant: another combination of the same gradients
# is, in general, **another direction**. Only where all starts have the same σ_s is it merely
# another length.
#
# Here is a problem where the direction turns. There are two prompts. On both, action 1 pays one
# more than action 0. But the second one has a noisy grader: a coin adds 5 or takes 5.

# %%
CLEAR, NOISY, HEADS, TAILS, OVER = range(5)
transition, reward = np.zeros((5, 2, 5)), np.zeros((5, 2))
transition[NOISY, :, [HEADS, TAILS]] = 0.5
transition[[CLEAR, HEADS, TAILS, OVER], :, OVER] = 1
reward[[CLEAR, NOISY]] = [0, 1]
reward[HEADS], reward[TAILS] = 5, -5
prompts = FiniteMDP.from_arrays(transition, reward, start=[0.5, 0.5, 0, 0, 0], terminal=[OVER])

pi = torch.full((5, 2), 0.5).double()
truth = exact_gradient(prompts, Table(5, 2), torch.zeros(1, 10), horizon=2).view(5, 2)
pd.DataFrame(truth, ["clear", "noisy", "heads", "tails", "over"], ["action 0", "action 1"])

# %% [markdown]
# Both prompts have the same gradient: action 1 is better by one, and chance does not change that.
# Now 4,000 estimates of each kind, from 4 groups of 8 each, and what is known about them:
# the direction of their mean, its scale ⟨mean, ∇J⟩/‖∇J‖², their relative variance (variance over the
# squared length of the mean), and the direction of a single one. The mean's direction comes with
# twice its standard error, from 20 parts of 200 estimates.


# %%
def cosine(a, b):
    """Of vectors in the last axis."""
    return torch.nn.functional.cosine_similarity(a, b, dim=-1)


def describe(estimates, truth):
    """Of gradient estimates [M, n, A]: direction, relative variance, direction of a single one."""
    g, exact = estimates.flatten(1), truth.flatten()
    mean = g.mean(0)
    parts = cosine(g.unflatten(0, (20, -1)).mean(1), exact)
    return {
        "cos(mean, ∇J)": float(cosine(mean, exact)),
        "± 2 standard errors": float(2 * parts.std() / 20**0.5),
        "scale": float(mean @ exact / (exact @ exact)),
        "relative variance": float(g.var(0).sum() / mean.square().sum()),
        "cos(single, ∇J)": float(cosine(g, exact).mean()),
    }


def estimates_of(psi, groups, group_size=8, batches=4000):
    """Gradient estimates [M, n, A] with Ψ of trajectories of so many groups."""
    t = simulate(
        prompts,
        pi,
        horizon=2,
        batches=batches,
        episodes=groups * group_size,
        group_size=group_size,
        seed=groups,
    )
    return score_gradients(t, psi(t), pi)


def of_returns(advantage):
    """Ψ from an advantage of returns [S, N] in groups of K."""
    return lambda t: at_every_step(
        advantage(estimators.episode_return(t.reward, t.mask, 1.0), t.group_size), t
    )


PSI = {
    "RLOO": of_returns(estimators.leave_one_out),
    "Dr. GRPO": of_returns(estimators.group_center),
    "GRPO's Ψ": of_returns(lambda returns, k: group_standardize(returns, k, 1e-6)),
}
measured = pd.DataFrame(
    {name: describe(estimates_of(psi, groups=4), truth) for name, psi in PSI.items()}
).T
measured.T.round(3)

# %% [markdown]
# RLOO is unbiased. Dr. GRPO points the same way and is shorter by (K − 1)/K = 0.875, as chapter 5
# derived. GRPO's Ψ points elsewhere: by the formula, clear : noisy = 1/0.5 : 1/5.02, so the cosine
# should be near

# %%
sigma = np.array([0.5, (0.25 + 25) ** 0.5])
limit = (1 / sigma).sum() / (2**0.5 * np.linalg.norm(1 / sigma))
print(f"cosine for K → ∞: {limit:.3f}, an angle of {np.degrees(np.arccos(limit)):.0f} degrees")
direction = measured["cos(mean, ∇J)"]
assert abs(direction["GRPO's Ψ"] - limit) < 0.04
assert direction["GRPO's Ψ"] < 0.85
assert direction[["RLOO", "Dr. GRPO"]].min() > 0.99
assert abs(measured.scale["Dr. GRPO"] - 7 / 8) < 0.05

# %% [markdown]
# It is: the estimate has turned by about 40 degrees, away from the noisy prompt. No number of
# samples turns it back.
#
# But look at the last row. A *single* estimate with GRPO's Ψ is closer to ∇J than one of RLOO,
# although its mean is wrong. It turned away from the prompt that brings most of the noise. Bias was
# traded for variance. Which is better depends on the size of the batch.
#
# **Question.** Before you run the next cell: what happens to the two curves of cos(single, ∇J) when
# a batch has 2, 8, 32, 128, 512 groups? Where does each of them end?
#
# <details><summary>Answer</summary>
#
# With more groups the noise averages out, and a single estimate approaches the mean. For RLOO and
# Dr. GRPO that is ∇J: the cosine goes to 1. For GRPO's Ψ it is the turned direction: the cosine
# stops near 0.77. So GRPO's Ψ is ahead on small batches and behind on large ones.
#
# </details>

# %%
numbers = [2, 8, 32, 128, 512]
single = {
    name: [
        cosine(estimates_of(PSI[name], n, batches=400).flatten(1), truth.flatten()) for n in numbers
    ]
    for name in ("Dr. GRPO", "GRPO's Ψ")
}
fig, ax = plt.subplots(figsize=(8, 4))
for (name, cosines), colour, marker in zip(single.items(), COLOURS[:2], "os", strict=True):
    middle = np.array([float(c.mean()) for c in cosines])
    error = np.array([2 * float(c.std()) / len(c) ** 0.5 for c in cosines])
    ax.errorbar(numbers, middle, error, marker=marker, color=colour, label=name, capsize=3)
ax.axhline(limit, color=COLOURS[1], linestyle=":", label="mean of GRPO's Ψ, large K")
ax.set(xscale="log", ylim=(0, 1.02), xlabel="groups of 8 in a batch", ylabel="cos(estimate, ∇J)")
ax.set_xticks(numbers, numbers)
ax.minorticks_off()
ax.set_title("Here, dividing by the std helps small batches and misleads large ones")
ax.legend()
assert single["GRPO's Ψ"][0].mean() > single["Dr. GRPO"][0].mean() + 0.1
assert single["GRPO's Ψ"][-1].mean() < 0.85 < 0.95 < single["Dr. GRPO"][-1].mean()

# %% [markdown]
# Bars are twice the standard error over 400 estimates of the mean cosine.
#
# So "GRPO has less variance" is true here, and "so its gradient is better" is true for small
# batches only. Two prompts that were made to show this are an example, and no general law.
#
# ### Right or wrong: scores of 0 and 1
#
# Where a score is 1 with probability p and 0 otherwise, $\sigma = \sqrt{p(1-p)}$. In a large group
# the gradient of p is divided by that, and
#
# $$\frac{\nabla p}{\sqrt{p(1-p)}} = \nabla\, 2\arcsin\sqrt{p} .$$
#
# So with K → ∞, one pass over each batch and without 1/ℓ, GRPO climbs the mean of $2\arcsin\sqrt p$
# over prompts, not the mean of p (Davis & Recht 2025). It is steep near 0 and near 1: very hard and
# very easy prompts count more. Liu et al. (2025) call this the difficulty bias.
#
# How much of it is there at the K that one can afford? Let m of K responses be right. If m is 0 or K,
# nothing is learned. Else the deviation is $\sqrt{m(K-m)/(K(K-1))}$; a right response has the
# advantage (1 − m/K)/std and a wrong one −(m/K)/std. The mean score function ∇log π of the right ones
# is ∇p/p, that of the wrong ones −∇p/(1 − p). Together, and averaged over m, which is binomial, the
# expected gradient is $w_K(p)\,\nabla p$ with
#
# $$w_K(p) = \frac{1}{K\,p(1-p)} \sum_{m=1}^{K-1} \binom Km p^m (1-p)^{K-m}
#   \sqrt{\frac{m(K-m)(K-1)}{K}} .$$


# %%
def grpo_weight(p, k):
    """w_K(p) exactly: what stands before ∇p in GRPO's expected gradient."""
    m = np.arange(1, k)
    chance = stats.binom.pmf(m, k, np.asarray(p)[..., None])
    return (chance * np.sqrt(m * (k - m) * (k - 1) / k)).sum(-1) / (k * p * (1 - p))


p = np.linspace(0.005, 0.995, 199)
fig, ax = plt.subplots(figsize=(8, 4))
for K, colour, line in zip((2, 3, 4, 8, 16, 64), COLOURS, ("-", "--", "-.") * 2, strict=False):
    ax.plot(p, grpo_weight(p, K), line, color=colour, label=f"K = {K}")
ax.plot(p, 1 / np.sqrt(p * (1 - p)), color="black", lw=1, label="K → ∞: 1/√(p(1−p))")
ax.set(ylim=(0, 8), xlabel="p, probability of a right answer", ylabel="weight of ∇p")
ax.set_title("How much GRPO reweights prompts depends on K")
ax.legend(ncols=2)

flatness = {K: grpo_weight(p, K).max() / grpo_weight(p, K).min() for K in (2, 3, 4, 8, 64)}
print({K: round(float(ratio), 2) for K, ratio in flatness.items()})
assert np.allclose([flatness[2], flatness[3]], 1)
assert 1.02 < flatness[4] < 1.3 < flatness[8] < flatness[64]

# %% [markdown]
# The numbers are largest over smallest weight for p from 0.005 to 0.995. **With K = 2 and K = 3
# there is no reweighting at all**: wherever something is learned the deviation is the same number,
# so it is only a step size. The difficulty bias that is often told of GRPO with right-or-wrong
# scores needs K ≥ 4 to exist, and grows with K.
#
# The formula is checked by brute force, K = 8 and p = 0.05: draw groups, average advantage times
# score function. For a softmax with two actions and the logit θ of the right one, ∇p = p(1 − p) and
# ∇log π is 1 − p for a right answer, −p for a wrong one.

# %%
K, chance = 8, 0.05
right = torch.rand(400_000, K, generator=torch.Generator().manual_seed(0)) < chance
advantage = group_standardize(right.float().flatten()[None], K, 1e-6)[0].view(-1, K)
weights = (advantage * (right.float() - chance)).mean(1) / (chance * (1 - chance))
error = float(weights.std() / len(weights) ** 0.5)
print(f"drawn {weights.mean():.3f} ± {2 * error:.3f}, by the formula {grpo_weight(chance, K):.3f}")
assert abs(weights.mean() - grpo_weight(chance, K)) < 5 * error

# %% [markdown]
# **Question.** With K = 8 and p = 0.05, in how many groups does a trainer with right-or-wrong
# scores learn nothing? What would Dr. GRPO learn from these groups?
#
# <details><summary>Answer</summary>
#
# From groups in which all responses are wrong (0.95⁸ ≈ 0.66) or all right (practically none).
# Two thirds of the work is lost, and Dr. GRPO and RLOO lose the same: R − mean is zero as well.
# That is no bias: in these groups the unbiased estimate *is* zero.
#
# </details>

# %%
assert abs(0.95**8 + 0.05**8 - 0.66) < 0.01

# %% [markdown]
# ## 4. Dividing by the length
#
# Ψ is put on every token of a response. How are the tokens' terms added up? There are three ways,
# and each of them is found in published code:
#
# - `sum`: sum over the tokens of a response, then mean over responses. It is what the policy
#   gradient theorem says: ∇log Π_t π(a_t|s_t) is a sum.
# - `trajectory-mean`: mean over the tokens of a response, then mean over responses. The 1/|o| of
#   GRPO's paper.
# - `step-mean`: mean over all tokens of the batch.
#
# ### Exercise 3: one number of all tokens' terms


# %% tags=["exercise", "aggregate_loss"]
def aggregate_loss(loss, mask, mode):
    """One number of all tokens' terms.

    Args:
        loss: [B, L]; padding may hold anything, NaN included.
        mask: bool [B, L]; every response has a token.
        mode: "sum", "step-mean" or "trajectory-mean".

    Returns:
        a scalar.
    """
    ### BEGIN SOLUTION
    loss = torch.where(mask, loss, 0)
    if mode == "sum":
        return loss.sum(-1).mean()
    if mode == "step-mean":
        return loss.sum() / mask.sum()
    return (loss.sum(-1) / mask.sum(-1)).mean()
    ### END SOLUTION


# %%
course.check("aggregate_loss", aggregate_loss)

# %% [markdown]
# The library has the same as weights of the tokens, so that it can be combined with any Ψ:

# %%
mask = torch.arange(6) < torch.tensor([[2], [6], [3]])
loss = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
for mode in estimators.AGGREGATIONS:
    weighted = (estimators.aggregation_weights(mask, mode) * loss)[mask].sum()
    print(f"{mode:16} {aggregate_loss(loss, mask, mode):+.4f} {weighted:+.4f}")
    torch.testing.assert_close(aggregate_loss(loss, mask, mode), weighted)

# %% [markdown]
# ### The length bias
#
# With 1/ℓ, the expected gradient is $E[\frac{A}{\ell}\sum_t \nabla\log\pi(a_t|s_t)]$, where A is the
# response's advantage. Take the two-word language model of section 1, in the state *wrong answer*. The return
# is decided there: R = 0, whatever follows. So ∇J is zero for the parameters of that state. With
# 1/ℓ it is not zero. A is negative, about −P(right), and in
#
# $$E\Big[\frac{A}{\ell} \sum_t \nabla\log\pi(a_t|s_t) \,\Big|\, \text{wrong}\Big]
#   = A \cdot E\Big[\frac{1}{\ell} \sum_t \nabla\log\pi(a_t|s_t) \,\Big|\, \text{wrong}\Big]$$
#
# the expectation on the right is a covariance, since $\sum_t \nabla\log\pi$ has mean zero. A response that says
# "more" often is long, and its 1/ℓ is small: for the parameter of "more" it is negative.
# Negative times negative is positive: **wrong answers get longer**. For right answers A is positive
# and everything turns around: **right answers get shorter**. (Liu et al. 2025, section 3.1.)
#
# Both are measured on 4,000 batches of 32. The exact gradient is zero in the state *wrong*. In the
# state *right* it is nearly zero: an answer that is cut off scores nothing.

# %%
pi = theta.softmax(-1)
t = simulate(answers, pi, horizon=HORIZON, batches=4000, episodes=32, group_size=8, seed=2)
advantage = at_every_step(
    estimators.group_center(estimators.episode_return(t.reward, t.mask, 1.0), 8), t
)
rows = {}
for mode in estimators.AGGREGATIONS:
    weights = 32 * estimators.aggregation_weights(t.mask, mode)  # score_gradients divides by N
    g = score_gradients(t, advantage * weights, pi)[..., MORE]
    for state, g_s in (("right", g[:, RIGHT]), ("wrong", g[:, WRONG]), ("both", g[:, 1:3].sum(1))):
        rows[mode, state] = {
            "mean gradient of “more”": float(g_s.mean()),
            "± 2 standard errors": float(2 * g_s.std() / len(g_s) ** 0.5),
        }
length_bias = pd.DataFrame(rows).T
length_bias.round(4)

# %%
middle, error = (length_bias[column] for column in length_bias)
exact = exact_gradient(answers, Table(4, 2), theta.view(1, -1), horizon=HORIZON).view(4, 2)
assert exact[WRONG].abs().max() < 1e-12
assert exact[RIGHT].abs().max() < 2e-4
assert (middle["sum"].abs() < 2.5 * error["sum"]).all()
assert middle["trajectory-mean", "wrong"] > 10 * error["trajectory-mean", "wrong"]
assert middle["trajectory-mean", "right"] < -10 * error["trajectory-mean", "right"]
assert abs(middle["trajectory-mean", "both"]) < 2.5 * error["trajectory-mean", "both"]
assert error["step-mean", "wrong"] < middle["step-mean", "wrong"]
assert middle["step-mean", "right"] < -error["step-mean", "right"]
assert middle["step-mean", "wrong"] < 0.1 * middle["trajectory-mean", "wrong"]

# %% [markdown]
# The sum has no bias. `step-mean` has a small one, in the same direction: its divisor, the number of
# tokens in the batch, depends on the responses in it. It is less than a tenth of that of
# `trajectory-mean`, which is large in both states.
#
# Note the row *both*. If the policy cannot tell the two states apart, it has one parameter for
# them, and its gradient is the sum. The two biases cancel, as long as right and wrong answers are
# equally long. So "dividing by the length makes responses longer" is not true as such. Here it does so
# only where the policy *knows* that it is wrong.
#
# What becomes of it in training? Ten replicas with their own samples, plain gradient ascent. Step
# sizes are chosen such that all three learn to be right about equally fast.


# %%
def train(mode, learning_rate, iterations=150, replicas=10):
    """Mean lengths of right and wrong answers, and P(right): [iterations, 3, replicas]."""
    parameters, curve = theta.expand(replicas, -1, -1), []
    for i in range(iterations):
        pi = parameters.softmax(-1)
        length = 1 + 1 / pi[..., STOP]
        curve.append(torch.stack([length[:, RIGHT], length[:, WRONG], pi[:, PROMPT, YES]]))
        t = simulate(
            answers, pi, horizon=HORIZON, batches=replicas, episodes=32, group_size=8, seed=i
        )
        returns = estimators.episode_return(t.reward, t.mask, 1.0)
        psi = at_every_step(estimators.group_center(returns, 8), t)
        psi = psi * 32 * estimators.aggregation_weights(t.mask, mode)
        parameters = parameters + learning_rate * score_gradients(t, psi, pi)
    return torch.stack(curve)


curves = {
    mode: train(mode, rate)
    for mode, rate in (("sum", 0.3), ("step-mean", 1.5), ("trajectory-mean", 1.1))
}
fig, axes = plt.subplots(1, 3, figsize=(9, 3.6), sharex=True)
for (mode, curve), colour, line in zip(curves.items(), COLOURS, ("-", "--", "-."), strict=False):
    for ax, values in zip(axes, curve.unbind(1), strict=True):
        middle, error = values.mean(1), 2.26 * values.std(1) / 10**0.5  # t, 9 degrees of freedom
        ax.plot(middle, line, color=colour, label=mode)
        ax.fill_between(range(len(middle)), middle - error, middle + error, color=colour, alpha=0.2)
for ax, title in zip(axes, ("right answers", "wrong answers", "right or wrong"), strict=True):
    ax.set(title=title, xlabel="iterations", ylabel="expected length / tokens")
axes[0].set_ylim(0, 8)
axes[2].set_ylabel("P(right)")
axes[0].legend()
fig.suptitle("Divided by the length, wrong answers grow and right ones shrink")
fig.tight_layout()

# %%
lengths = {mode: curve[-1, :2] for mode, curve in curves.items()}
for mode, (of_right, of_wrong) in lengths.items():
    low, high = stats.t.interval(0.95, 9, of_wrong.mean(), of_wrong.std() / 10**0.5)
    print(f"{mode:16} right {of_right.mean():4.1f}, wrong {of_wrong.mean():4.1f}", end=" ")
    print(f"[{low:.1f}, {high:.1f}] tokens")
until = {mode: int((curve[:, 2].mean(1) > 0.9).nonzero()[0]) for mode, curve in curves.items()}
print("iterations until P(right) > 0.9:", until)
assert max(until.values()) < 1.4 * min(until.values())
assert lengths["trajectory-mean"][1].min() > 10
assert lengths["trajectory-mean"][0].max() < 4
assert 4 < lengths["sum"].mean(1).min() < lengths["sum"].mean(1).max() < 7

# %% [markdown]
# Bands are 95% intervals of the mean over ten replicas. Nobody asked for lengths: they earn nothing
# here. It is the aggregation alone that changes them, from 5 tokens to more than twice as many.
#
# **Question.** Dr. GRPO takes the sum. Does a longer response then get more weight, and is *that* a
# bias?
#
# <details><summary>Answer</summary>
#
# It has more terms, so its part of the gradient tends to be longer. That is no bias: the
# probability of a long response is a product of many factors, and changing it means changing each
# of them. The estimate is unbiased. It may well have more variance.
#
# </details>

# %% [markdown]
# ## 5. Whitening over the batch
#
# REINFORCE++ takes one response for each prompt. It computes the return-to-go of every token and
# whitens it: mean and variance are over all real tokens of the batch. REINFORCE++-baseline
# subtracts the group's mean first.
#
# ### Exercise 4: whitened returns


# %% tags=["exercise", "whitened_returns"]
def whitened_returns(token_level_rewards, response_mask, gamma):
    """Returns-to-go of all tokens, whitened over the batch.

    Args:
        token_level_rewards: [B, L]; padding may hold anything, NaN included.
        response_mask: bool [B, L], true on the first tokens of each row.
        gamma: discount factor.

    Returns:
        (G_t − mean)/√(variance + 1e-8) [B, L], zero where the mask is false. Mean and sample
        variance (n − 1) are over all real tokens of the batch.
    """
    ### BEGIN SOLUTION
    returns = torch.zeros_like(token_level_rewards)
    following = torch.zeros_like(returns[:, 0])
    for step in reversed(range(returns.shape[1])):
        real = response_mask[:, step]
        following = torch.where(real, token_level_rewards[:, step] + gamma * following, 0)
        returns[:, step] = following
    tokens = returns[response_mask]
    return (returns - tokens.mean()) / (tokens.var() + 1e-8).sqrt() * response_mask
    ### END SOLUTION


# %%
course.check("whitened_returns", whitened_returns)

# %% [markdown]
# One divisor for the whole batch does not prefer one prompt to another. So the direction should
# stay. It does not quite, and Hu et al. say it: the bias vanishes as batches grow. How large is it
# before? The two prompts again, one of them with a noisy grader, 400 to 12,800 estimates for each
# number of groups. GRPO's Ψ is there for comparison (the division by the length is left out here
# as well; it is section 4's).

# %%
pi = torch.full((5, 2), 0.5).double()
PSI["REINFORCE++-baseline"] = lambda t: estimators.whiten(PSI["Dr. GRPO"](t), t.mask)
numbers = [2, 4, 8, 16, 32, 64]
fig, ax = plt.subplots(figsize=(8, 4))
turned = {}
for name, colour, marker in zip(
    ("Dr. GRPO", "GRPO's Ψ", "REINFORCE++-baseline"), COLOURS, "os^", strict=False
):
    turned[name] = [
        describe(estimates_of(PSI[name], n, batches=25_600 // n), truth) for n in numbers
    ]
    middle, error = (
        [x[column] for x in turned[name]] for column in ("cos(mean, ∇J)", "± 2 standard errors")
    )
    ax.errorbar(numbers, middle, error, marker=marker, color=colour, label=name, capsize=3)
ax.set(xscale="log", xlabel="groups of 8 in a batch", ylabel="cos(mean estimate, ∇J)")
ax.set_xticks(numbers, numbers)
ax.minorticks_off()
ax.set_title("Whitening turns the gradient too, if a batch has few groups")
ax.legend()
whitened = [x["cos(mean, ∇J)"] for x in turned["REINFORCE++-baseline"]]
assert whitened[0] < np.cos(np.radians(30)) < 0.99 < whitened[-1]
assert turned["GRPO's Ψ"][-1]["cos(mean, ∇J)"] < 0.85

# %% [markdown]
# Whitening over the batch is biased as well, but otherwise than GRPO: the bias goes away as batches
# grow. The batch's deviation depends on which prompts happen to be in it. A batch with more clear
# prompts has a small deviation and gets a long gradient, one with more noisy prompts a short one.
# With many groups all batches have the same deviation, and what is left is a step size. So
# "unbiased" is true in the limit, and a batch of a few prompts is not that limit. With two groups,
# as in the zoo's defaults, the direction is off by more than 30 degrees here.
#
# REINFORCE++ itself, with the function you wrote, and as many responses as two groups have:


# %%
def reinforce_pp(t):
    """Ψ of all batches, one after the other."""
    return torch.stack([whitened_returns(r, m, 1.0) for r, m in zip(t.reward, t.mask, strict=True)])


one_each = describe(estimates_of(reinforce_pp, groups=16, group_size=1, batches=12_800), truth)
eight_each = turned["REINFORCE++-baseline"][numbers.index(2)]
table = {"REINFORCE++, 16 × 1": one_each, "REINFORCE++-baseline, 2 × 8": eight_each}
pd.DataFrame(table).round(3)

# %%
assert one_each["cos(mean, ∇J)"] > 0.96 > 0.87 > eight_each["cos(mean, ∇J)"]

# %% [markdown]
# Both batches have 16 responses. With 16 prompts of one response each, the mix of prompts varies
# less from batch to batch than with 2 prompts of eight responses. The direction is nearly right.
#
# **Question.** REINFORCE++ subtracts the mean of the batch, which contains the token's own return.
# Chapter 5 called that a baseline with its own sample. Does it merely shorten the gradient?
#
# <details><summary>Answer</summary>
#
# The mean is over tokens, so the own response has weight $\ell_i/\Sigma\ell$ in it. Where all
# responses are equally long this shortens the gradient by 1/N. Where they are not it turns it, too:
# on the two-word model wrong answers are pushed to grow and right ones to shrink, by an amount that
# falls as 1/N. With many responses it is small.
#
# </details>
#
# Here it is measured: the gradient with the batch's mean, less the gradient with the mean over the
# tokens of the *other* responses, which is a baseline without bias. Nothing is divided by a
# deviation. The gradient of "more" should be zero, as in section 4.

# %%
pi, rows = theta.softmax(-1), {}
for n in (8, 16, 64):
    t = simulate(answers, pi, horizon=HORIZON, batches=80_000 // n, episodes=n, seed=n)
    returns, length = estimators.episode_return(t.reward, t.mask, 1.0), t.mask.sum(-1)
    own = length / length.sum(-1, keepdim=True)
    mean = (own * returns).sum(-1, keepdim=True)
    others = (mean - own * returns) / (1 - own)
    g = score_gradients(t, at_every_step(others - mean, t), pi)[:, [RIGHT, WRONG], MORE]
    rows[f"N = {n}"] = [*g.mean(0).tolist(), *(2 * g.std(0) / len(g) ** 0.5).tolist()]
columns = ["right: more", "wrong: more", "± 2 standard errors, right", "…, wrong"]
own_response = pd.DataFrame(rows, columns).T
own_response.round(5)

# %%
of_right, of_wrong, *errors = (own_response[column] for column in columns)
assert (of_right < -3 * errors[0]).all()
assert (of_wrong > 3 * errors[1]).all()
for bias in (of_right, of_wrong):
    assert 1.4 < bias["N = 8"] / bias["N = 16"] < 2.2
    assert 5 < bias["N = 8"] / bias["N = 64"] < 9

# %% [markdown]
# ## 6. Staying near a reference
#
# A policy that is trained to please a grader may forget everything else. So trainers subtract
# β KL(π ‖ π_ref), where π_ref is the policy before training. In every state,
#
# $$\mathrm{KL}(\pi \,\|\, \pi_\text{ref})
#   = \sum_a \pi(a|s)\, \big(\log\pi(a|s) - \log\pi_\text{ref}(a|s)\big) .$$
#
# Over a vocabulary of 100,000 tokens and for every token of a response that sum is expensive, so it
# is estimated from the token that was sampled. There are two places for it.
#
# ### In the reward
#
# log π − log π_ref of the sampled token is an unbiased estimate of the divergence. Put into the
# reward, every token pays β (log π − log π_ref), and the last one earns the score. The rest is any
# algorithm you like.
#
# ### Exercise 5: penalised rewards


# %% tags=["exercise", "kl_penalized_rewards"]
def kl_penalized_rewards(scores, log_prob, ref_log_prob, response_mask, beta):
    """Rewards of all tokens, with the penalty in them.

    Args:
        scores: [B], one for each response.
        log_prob: log π of the sampled tokens, [B, L]; padding may hold anything, NaN included.
        ref_log_prob: log π_ref of the same tokens, [B, L].
        response_mask: bool [B, L], true on the first tokens of each row.
        beta: weight of the penalty.

    Returns:
        [B, L], zero where the mask is false.
    """
    ### BEGIN SOLUTION
    penalty = beta * (log_prob - ref_log_prob)
    rewards = torch.where(response_mask, -penalty, 0)
    last = response_mask.sum(-1) - 1
    rewards[torch.arange(len(scores)), last] += scores
    return rewards
    ### END SOLUTION


# %%
course.check("kl_penalized_rewards", kl_penalized_rewards)

# %% [markdown]
# ### Three estimates of the same number
#
# Let $r = \pi_\text{ref}(a|s)/\pi(a|s)$ for a sampled a. J. Schulman's note (2020) has three estimates:
#
# $$k_1 = -\log r = \log\pi - \log\pi_\text{ref}, \qquad
#   k_2 = \tfrac12 (\log r)^2, \qquad k_3 = r - 1 - \log r .$$
#
# E[k1] = KL by definition. E[k3] = KL as well, because $E[r] = \sum_a \pi\,\pi_\text{ref}/\pi = 1$.
# And k3 ≥ 0, because log r ≤ r − 1. k2 is not unbiased, but close where r is near 1.
#
# With eight tokens nothing needs to be sampled. Let π_ref be some softmax, and let π be further and
# further away from it: means and standard deviations of a single sample's estimate, exactly.

# %%
g = torch.Generator().manual_seed(3)
ref_logits, towards = torch.randn(2, 8, generator=g).double()
distance = torch.linspace(0.02, 4, 200)[:, None]
log_ref = ref_logits.log_softmax(-1)
log_pi = (ref_logits + distance * towards).log_softmax(-1)
chance = log_pi.exp()
kl = (chance * (log_pi - log_ref)).sum(-1)
estimate = {
    k: estimators.kl_estimate(log_pi, log_ref.expand_as(log_pi), k) for k in ("k1", "k2", "k3")
}
mean = {k: (chance * x).sum(-1) for k, x in estimate.items()}
deviation = {k: (chance * (x - mean[k][:, None]) ** 2).sum(-1).sqrt() for k, x in estimate.items()}

fig, axes = plt.subplots(1, 2, figsize=(9, 3.8))
for k, colour, line in zip(estimate, COLOURS, ("-", "--", "-."), strict=False):
    axes[0].plot(kl, mean[k], line, color=colour, label=f"E[{k}]")
    axes[1].plot(kl, deviation[k], line, color=colour, label=k)
axes[0].set(ylabel="mean / nats", title="k1 and k3 have the right mean")
axes[1].set(ylabel="standard deviation / nats", yscale="log", title="k3 varies less only nearby")
for ax in axes:
    ax.set(xlabel="KL(π ‖ π_ref) / nats")
    ax.legend()
fig.tight_layout()
torch.testing.assert_close(mean["k1"], kl)
torch.testing.assert_close(mean["k3"], kl)
crossing = float(kl[deviation["k3"] > deviation["k1"]].min())
print(f"k3 varies more than k1 from KL = {crossing:.2f} nats on")
assert deviation["k3"][0] < 0.1 * deviation["k1"][0]
assert deviation["k3"][-1] > 2 * deviation["k1"][-1]

# %% [markdown]
# "k3 is unbiased and has less variance than k1" is true near the reference. Further away it is
# false: where π has become small and π_ref has not, r is huge, and a rare token makes the estimate.
#
# ### In the loss: the value is not the point
#
# The other place is the loss: average β k over the tokens, and let the optimiser differentiate it.
# Then the value of k is never used. What counts is its gradient, with the samples held fixed. And
# the gradient of an unbiased estimate is not an unbiased estimate of the gradient. The samples come
# from π, so that
#
# $$\nabla E_\pi[k] = E_\pi[\nabla k] + E_\pi[k\, \nabla\log\pi] ,$$
#
# and automatic differentiation of a sampled k sees the first term only. Term by term, with
# E[∇log π] = 0:
#
# $$\begin{aligned}
# E[\nabla k_1] &= E[\nabla\log\pi] = 0, \\
# E[\nabla k_2] &= E[(\log\pi - \log\pi_\text{ref})\, \nabla\log\pi]
#   = \nabla\, \mathrm{KL}(\pi \,\|\, \pi_\text{ref}), \\
# E[\nabla k_3] &= E[(1 - r)\, \nabla\log\pi] = -\sum_a \pi_\text{ref}\, \nabla\log\pi
#   = \nabla\, \mathrm{KL}(\pi_\text{ref} \,\|\, \pi).
# \end{aligned}$$
#
# - **k1**: no penalty at all, only noise.
# - **k2**: what was asked for. (It is the formula above for k = k1, whose first term is zero.)
# - **k3**: the gradient of k3 is, on average, that of KL(π_ref ‖ π), the *other* divergence.
#
# **Question.** Which of the three would you put into the loss if you want KL(π ‖ π_ref)? Which one
# does GRPO's paper put there?
#
# <details><summary>Answer</summary>
#
# k2, the one whose value is biased. GRPO's paper (Shao et al. 2024, eq. 4) takes k3 and says that
# it is an unbiased estimate. It is, as a value.
#
# </details>
#
# ### Exercise 6: a term with the right gradient
#
# Write a term for every token such that its gradient, averaged over tokens sampled from π, is
# ∇KL(π ‖ π_ref). Its value does not matter. There is more than one way.


# %% tags=["exercise", "kl_surrogate"]
def kl_surrogate(log_prob, ref_log_prob):
    """A term whose expected gradient is that of KL(π ‖ π_ref).

    Args:
        log_prob: log π of the sampled tokens, [B, L], to be differentiated.
        ref_log_prob: log π_ref of the same tokens, [B, L].

    Returns:
        [B, L].
    """
    ### BEGIN SOLUTION
    log_ratio = log_prob - ref_log_prob
    return log_ratio.square() / 2
    ### END SOLUTION


# %%
course.check("kl_surrogate", kl_surrogate)

# %% [markdown]
# Your term beside k1, k2 and k3. The expected gradient is a sum over eight tokens, with the
# probabilities of the samples held fixed; it is compared with the gradients of both divergences.


# %%
def expected_gradient(term, logits):
    """E_π[∇term] with respect to the logits, the samples held fixed."""
    logits = logits.clone().requires_grad_()
    log_prob = logits.log_softmax(-1)
    (log_prob.detach().exp() * term(log_prob, log_ref)).sum().backward()
    return logits.grad


terms = {
    k: lambda log_prob, log_ref, k=k: estimators.kl_estimate(log_prob, log_ref, k)
    for k in estimators.KL_ESTIMATORS
} | {"yours": kl_surrogate}
logits = ref_logits + 1.5 * towards
pi_here, pi_ref = logits.softmax(-1), log_ref.exp()
reverse = pi_here * ((log := logits.log_softmax(-1) - log_ref) - (pi_here * log).sum())
forward = pi_here - pi_ref
gradients = {name: expected_gradient(term, logits) for name, term in terms.items()}
pd.DataFrame(
    {
        name: {
            "length": float(x.norm()),
            "cos with ∇KL(π ‖ π_ref)": float(cosine(x, reverse)),
            "cos with ∇KL(π_ref ‖ π)": float(cosine(x, forward)),
        }
        for name, x in gradients.items()
    }
).T.round(3)

# %%
assert gradients["k1"].norm() < 1e-12
torch.testing.assert_close(gradients["k2"], reverse)
torch.testing.assert_close(gradients["yours"], reverse)
torch.testing.assert_close(gradients["k3"], forward)

# %% [markdown]
# There are more ways. Let sg(x), stop gradient, be the number x without its gradient, `x.detach()`.
# Multiplied by the ratio ρ = π/sg(π), which is 1 and whose gradient is ∇log π, k3 gets the term back that automatic differentiation did not see: ρ k3 has the value of k3 *and* the
# right gradient.


# %%
def both_right(log_prob, log_ref):
    """Value k3, expected gradient ∇KL(π ‖ π_ref)."""
    ratio = (log_prob - log_prob.detach()).exp()
    return ratio * estimators.kl_estimate(log_prob, log_ref, "k3")


torch.testing.assert_close(expected_gradient(both_right, logits), reverse)

# %% [markdown]
# (The gradients of both divergences are the derived formulas: π (k1 − KL) and π − π_ref, with
# respect to the logits of a softmax. The direction of k1 is that of rounding errors.)
#
# ### Where they lead
#
# Let each token earn a score, and climb E[score] − β · penalty with each of the terms. Both
# divergences have optima in closed form, from the derivative with a Lagrange multiplier λ for
# $\sum_a \pi(a) = 1$:
#
# $$\mathrm{KL}(\pi\,\|\,\pi_\text{ref}):\; \pi \propto \pi_\text{ref}\, e^{\text{score}/\beta},
#   \qquad \mathrm{KL}(\pi_\text{ref}\,\|\,\pi):\;
#   \pi = \frac{\beta\, \pi_\text{ref}}{\lambda - \text{score}} .$$

# %%
score, beta = torch.randn(8, generator=g).double(), 0.5
reverse_optimum = (log_ref + score / beta).softmax(-1)
top = float(score.max())
level = brentq(lambda x: float((beta * pi_ref / (x - score)).sum()) - 1, top + 1e-9, top + 10)
forward_optimum = beta * pi_ref / (level - score)

found = {}
for name, term in terms.items():
    logits = ref_logits.clone()
    for _ in range(3000):
        pi_here = logits.softmax(-1)
        climb = pi_here * (score - (pi_here * score).sum())
        logits = logits + 0.5 * (climb - beta * expected_gradient(term, logits))
    found[name] = logits.softmax(-1)

fig, ax = plt.subplots(figsize=(9, 4))
place = np.arange(8)
ax.bar(place - 0.3, pi_ref, 0.28, color="0.8", label="π_ref")
ax.bar(place, reverse_optimum, 0.28, color=COLOURS[7], label="optimum, KL(π ‖ π_ref)")
ax.bar(place + 0.3, forward_optimum, 0.28, color=COLOURS[3], label="optimum, KL(π_ref ‖ π)")
for (name, x), marker, colour in zip(found.items(), "oDs*", (*COLOURS[:3], "black"), strict=True):
    shift = 0.3 if name == "k3" else 0
    ax.plot(place + shift, x, marker, color=colour, ms=5, label=f"found with {name}")
ax.set_xticks(place, [f"{x:+.1f}" for x in score])
ax.set(xlabel="score of the token", ylabel="probability")
ax.set_title("k2 finds the optimum that was asked for, k3 another, k1 forgets the reference")
ax.legend(fontsize=8)
torch.testing.assert_close(found["k2"], reverse_optimum, atol=1e-3, rtol=0)
torch.testing.assert_close(found["yours"], reverse_optimum, atol=1e-3, rtol=0)
torch.testing.assert_close(found["k3"], forward_optimum, atol=1e-3, rtol=0)
assert found["k1"].max() > 0.98

# %% [markdown]
# The two optima are different policies. KL(π_ref ‖ π) is infinite if π gives up a token that π_ref
# uses: it keeps everything alive, but pays little for a favourite. Neither is wrong. But who writes
# k3 into the loss and β KL(π ‖ π_ref) into the paper has described another algorithm.
#
# ### Reward or loss: who pays for the future?
#
# There is another difference, and it does not depend on the estimate. Over a whole response the
# divergence is $E[\sum_t k_{1,t}]$, and its gradient is, as for any reward,
#
# $$E\Big[\sum_t \nabla\log\pi(a_t|s_t) \sum_{j\ge t} k_{1,j}\Big] .$$
#
# In the reward, a token pays for its own divergence *and for what it leads to*. In the loss, with
# k2, its weight is $k_{1,t}$ alone: only its own. Take a policy that is equal to the reference at the
# prompt and on right answers, but on wrong answers it rambles on, and the reference would not.
# Should the *first* token pay for that?

# %%
reference = theta.clone()
reference[WRONG] = torch.tensor([0.8, 0.2]).double().log()
pi, log_ratio = theta.softmax(-1), theta.log_softmax(-1) - reference.log_softmax(-1)


def divergence(theta):
    """KL over whole responses, by backward recursion; differentiable."""
    log_pi, value = theta.log_softmax(-1), torch.zeros(4).double()
    for _ in range(HORIZON):
        step = log_pi - reference.log_softmax(-1) + torch.from_numpy(answers.transition) @ value
        value = (log_pi.exp() * step).sum(-1)
    return value[PROMPT]


leaf = theta.clone().requires_grad_()
divergence(leaf).backward()
t = simulate(answers, pi, horizon=HORIZON, batches=2000, episodes=32, seed=5)
of_tokens = log_ratio[t.obs, t.action].float() * t.mask
ways = {
    "reward, Σ_{j≥t} k1_j": estimators.returns_to_go(of_tokens, t.mask, 1.0),
    "loss with k2, k1_t": of_tokens,
}
columns = {"exact": leaf.grad[[PROMPT, RIGHT, WRONG], [YES, MORE, MORE]]}
for name, psi in ways.items():
    x = score_gradients(t, psi, pi)[:, [PROMPT, RIGHT, WRONG], [YES, MORE, MORE]]
    place, _, weight = name.partition(", ")
    columns[f"in the {place}: {weight}"] = x.mean(0)
    columns[f"± 2 standard errors, {place}"] = 2 * x.std(0) / 2000**0.5
paid = pd.DataFrame(columns, ["prompt: right", "right: more", "wrong: more"])
paid.T.round(4)

# %%
exact, in_reward, error, in_loss, error_in_loss = (paid[column] for column in paid)
assert ((in_reward - exact).abs() < 2.5 * error + 1e-6).all()
assert abs(in_loss.iloc[0]) < 1e-6 < 0.1 < -exact.iloc[0]
assert in_loss.iloc[2] + 2 * error_in_loss.iloc[2] < exact.iloc[2]

# %% [markdown]
# These are gradients of the divergence, to be descended. The penalty in the reward has all of them
# right. The first is negative: choosing the right answer lowers the divergence, because it avoids
# the rambling. The penalty in the loss gives zero there, since at the prompt itself both policies
# agree, and too little at *wrong: more*, where a step also leads to further steps.
#
# **Question.** GRPO with the penalty in the reward: Ψ = (R − β Σ k1 − mean)/std. What does a larger
# β do if all scores of a group are equal? And if the penalty is in the loss?
#
# <details><summary>Answer</summary>
#
# In the reward: the scores cancel, and the group's returns differ by their penalties alone.
# Divided by their deviation, they are as large as any others: β cancels as well, however small it
# is. In the loss, β is what stands before the gradient, and there is no division. So β means two
# different things.
#
# </details>
#
# ## 7. Control again
#
# Nothing in these methods is about language. The same code learns CartPole: the start is the
# prompt, an action is a token, and each step pays 1, so the score of a "response" is its length.
# Ten seeds each, 30,000 steps, the zoo's defaults.

# %%
names = ["rloo", "grpo", "dr-grpo", "reinforce++"]
runs = {
    name: pgzoo.train(
        name, env="CartPole-v1", seeds=10, steps=30_000, diagnostics=0, progress=False
    )
    for name in names
}
fig, axes = plt.subplots(2, 2, figsize=(9, 8), sharex=True, sharey=True)
for run, ax in zip(runs.values(), axes.flat, strict=True):
    run.plot(ax)
fig.tight_layout()

# %%
returns = {name: np.array(run.summary["eval_mean"]) for name, run in runs.items()}
pd.Series(
    {name: str(interquartile_mean_interval(x)) for name, x in returns.items()},
    name="return: interquartile mean [95% interval]",
).to_frame()

# %% [markdown]
# All of them learn: their intervals are far above what untrained policies get, about 20. Which is
# best after 30,000 steps is another question, and one that ten seeds, one environment and step sizes
# tuned for longer runs do not answer; chapter 8 has the statistics for it.

# %%
assert all(interquartile_mean_interval(x).low > 60 for x in returns.values())
untrained = [run.metrics.query("iteration == 0").return_mean.mean() for run in runs.values()]
assert 15 < min(untrained) < max(untrained) < 30

# %% [markdown]
# What does the division by the std do to the direction here? On CartPole every start looks like every
# other. Are their σ_s alike, too? Here are 200 episodes from each of eight starts, with three of the
# policies that GRPO had after 30% of its training.

# %%
seeds = np.repeat(np.arange(8), 200)[None]
deviations = {}
for seed in range(3):
    policy = runs["grpo"].policy(seed=seed, at=30)
    t = collect_episodes(
        pgzoo_envs.make("CartPole-v1", seeds.size),
        lambda obs, policy=policy: torch.from_numpy(policy.probabilities(obs[0])).log()[None],
        seeds,
        [np.random.default_rng(seed)],
    )
    returns = estimators.episode_return(t.reward, t.mask, 1.0).view(8, 200)
    deviations[f"policy {seed}"] = returns.double().std(1).numpy()
deviations = pd.DataFrame(deviations, [f"σ of start {i}" for i in range(8)]).T
deviations.round(1)

# %%
assert (deviations.max(axis=1) / deviations.min(axis=1)).max() > 1.6

# %% [markdown]
# They are not: on one of these policies the largest is more than one and a half times the smallest.
# So 1/σ_s does weigh the starts differently. The laboratory measures what becomes of the direction, on the
# same policies: Dr. GRPO, GRPO without the 1/ℓ, and GRPO.
#
# **Question.** The task is the same from every start. What do you expect of the directions of the
# three? And of their relative variances?
#
# <details><summary>Answer</summary>
#
# Dr. GRPO is unbiased up to the length of the gradient. Without 1/ℓ, GRPO weighs the starts. That
# turns the gradient only if the starts' gradients ∇J_s differ in direction, and what helps to
# balance the pole from one start should help from another: it should point nearly the same way.
# With 1/ℓ, long episodes, which are the good ones, count less per step, so the direction may turn.
# The relative variance may go either way: dividing by a deviation that is itself an estimate adds
# noise, but it damps the groups with the largest returns.
#
# </details>

# %%
labs = {
    f"policy {seed}": pgzoo.measure(
        ["dr-grpo", "grpo:aggregation=sum", "grpo"],
        run=runs["grpo"],
        at=30,
        replica=seed,
        estimates=80,
        trajectories=32,
        group_size=8,
        progress=False,
    ).table
    for seed in range(3)
}
columns = ["relative_variance", "direction", "direction_low", "direction_high", "scale", "verdict"]
lab = pd.concat(labs)[columns]
lab.round(4)

# %%
assert lab.direction_low.min() > 0.9

# %% [markdown]
# `direction` is the cosine of the mean with the true gradient, with its 95% interval. On these
# policies all intervals lie above 0.9: the division by the std is nearly a step size, although the
# starts have different σ_s, and even 1/ℓ turns the gradient only a little. Three policies of one
# moment of one environment say no more than that. Where the gradients of the starts differ as much
# as those of prompts may, section 3 applies.
#
# ### A reference policy
#
# A reference on CartPole: ten policies of little training, one for each seed. Then GRPO for 20,000
# steps, without a penalty and with β = 3 in the loss, by each of the three estimates. The
# derivation predicts: k2 and k3 hold the policy at the reference, k1 does not.

# %%
reference_run = pgzoo.train(
    "reinforce-baseline",
    env="CartPole-v1",
    seeds=10,
    steps=8_000,
    diagnostics=0,
    progress=False,
)
held = {
    "β = 0": {},
    "k2, β = 0.3": {"kl_coef": 0.3, "kl_estimator": "k2"},
    "k1, β = 3": {"kl_coef": 3.0, "kl_estimator": "k1"},
    "k2, β = 3": {"kl_coef": 3.0, "kl_estimator": "k2"},
    "k3, β = 3": {"kl_coef": 3.0, "kl_estimator": "k3"},
}
runs = {
    name: pgzoo.train(
        "grpo",
        env="CartPole-v1",
        seeds=10,
        steps=20_000,
        diagnostics=0,
        progress=False,
        **({"reference": reference_run.path, **options} if options else {}),
    )
    for name, options in held.items()
}

# %% [markdown]
# How far from the reference do they end? KL(π ‖ π_ref) is computed over both actions, no estimate
# needed, and averaged over 2,000 states around the upright position.

# %%
g = torch.Generator().manual_seed(0)
obs = (torch.randn(2000, 4, generator=g) * torch.tensor([0.5, 0.5, 0.05, 0.5])).numpy()


def mean_divergence(run, seed):
    """KL(π ‖ π_ref) of a seed's policy."""
    p, q = (r.policy(seed=seed).probabilities(obs) for r in (run, reference_run))
    return float((p * np.log(p / q)).sum(-1).mean())


results = {"reference": (np.array(reference_run.summary["eval_mean"]), np.zeros(10))} | {
    name: (
        np.array(run.summary["eval_mean"]),
        np.array([mean_divergence(run, seed) for seed in range(10)]),
    )
    for name, run in runs.items()
}
fig, ax = plt.subplots(figsize=(8, 4))
for (name, (y, x)), colour, marker in zip(results.items(), COLOURS, "os^DvP", strict=False):
    ax.plot(x, y, marker, color=colour, label=name, alpha=0.8)
ax.set_xscale("symlog", linthresh=1e-3)
ax.set(xlabel="mean KL(π ‖ π_ref) / nats", ylabel="return", xlim=(-2e-4, 0.4), ylim=(0, None))
ax.set_title("k2 and k3 hold a policy at its reference, k1 does not")
ax.legend(title="ten seeds each")
pd.DataFrame(
    {
        name: {
            "return [95% interval]": str(interquartile_mean_interval(y)),
            "KL, median over seeds": f"{np.median(x):.4f}",
        }
        for name, (y, x) in results.items()
    }
).transpose()

# %%
interval = {name: interquartile_mean_interval(y) for name, (y, _) in results.items()}
far = {name: np.median(x) for name, (_, x) in results.items()}
assert far["k2, β = 3"] < far["k2, β = 0.3"] < far["β = 0"]
assert max(far["k2, β = 3"], far["k3, β = 3"]) < 0.1 * far["k1, β = 3"]
assert far["k1, β = 3"] > 0.5 * far["β = 0"]
assert interval["k2, β = 3"].high < interval["β = 0"].low
assert interval["k3, β = 3"].high < interval["β = 0"].low
assert interval["k1, β = 3"].point < interval["β = 0"].point
assert interval["k1, β = 3"].high > interval["β = 0"].low - 20
assert AGENTS["grpo"].agent().surrogate.epochs == 4
assert max(abs(interval[k].point - interval["reference"].point) for k in list(held)[3:]) < 25

# %% [markdown]
# As predicted. As far as staying near the reference goes, k1 in the loss with β = 3 might as well
# not be there. With k2 and k3 the policies stay where the reference is, and their returns with them.
# That k2 and k3 look alike here is no contradiction: close to the reference both divergences are
# ½ Σ π (log r)² to second order.
#
# **Question.** The expected gradient of k1 is zero. Is it harmless, then, to leave it in the loss?
#
# <details><summary>Answer</summary>
#
# Not in theory. Its expectation is zero, its variance is not: β ∇log π is added for every token,
# whatever the reward was. It is a gradient estimate with noise added to it. In the table, the return
# with k1 is lower than the one without a penalty, but the two intervals touch, or nearly so: ten
# seeds hint at harm and do not settle it. (And after the first of GRPO's four
# passes over a batch, the samples no longer come from π, so that even the mean is only nearly zero.)
#
# </details>
#
# ## What to remember
#
# | method | Ψ | what is special | what was measured |
# |---|---|---|---|
# | RLOO | R − mean of the others | | unbiased |
# | Dr. GRPO | R − group mean | sum over tokens | direction right, shorter by (K − 1)/K |
# | GRPO | (R − group mean)/std | starts weighted by 1/σ_s | on two prompts another direction, less noise; on CartPole hardly another |
# | | | 1/ℓ | wrong answers grow, right ones shrink |
# | REINFORCE++ | G_t, whitened | one divisor for the batch | direction right for large batches |
# | KL in the reward | k1 | a token pays for what follows | the exact gradient |
# | KL in the loss | k1: nothing; k2: KL(π ‖ π_ref); k3: KL(π_ref ‖ π) | a token pays for itself | |
#
# Three beliefs that did not survive: that dividing by the std always reweights prompts (with right
# or wrong scores and K ≤ 3 it does not); that k3 has less variance than k1 (only near the
# reference); and that the best estimate of a KL is the best one to differentiate.
#
# ## Further reading
#
# - Z. Shao et al. (2024), *DeepSeekMath*, section 4.1: GRPO. arXiv 2402.03300
# - Z. Liu et al. (2025), *Understanding R1-Zero-like training: a critical perspective*, section 3:
#   both biases, Dr. GRPO. arXiv 2503.20783
# - J. Hu et al. (2025), *REINFORCE++: stabilizing critic-free policy optimization with global
#   advantage normalization*. arXiv 2501.03262
# - A. Ahmadian et al. (2024), *Back to basics: revisiting REINFORCE style optimization for learning
#   from human feedback in LLMs*: RLOO. arXiv 2402.14740
# - D. M. Ziegler et al. (2019), *Fine-tuning language models from human preferences*, section 2: KL
#   in the reward. arXiv 1909.08593
# - J. Schulman (2020), *Approximating KL divergence*, a note on his web page: k1, k2, k3.
# - Y. Tang and R. Munos (2025), *On a few pitfalls in KL divergence gradient estimation for RL*.
#   arXiv 2506.09477
# - D. Davis and B. Recht (2025), *What is the objective of reasoning with reinforcement learning?*
#   arXiv 2510.13651
# - Advantage functions as trainers write them: `verl/trainer/ppo/core_algos.py` in verl,
#   `trl/trainer/grpo_trainer.py` in TRL.
