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
# # 2. The log-derivative trick
#
# Chapter 1 computed ∇J with the transition probabilities in hand. Now they are gone. All we can do
# is play episodes and look. One identity turns the gradient into an average over what we saw.
# Afterwards you can
#
# * turn Σ_a q ∇π into an expectation, and say why the environment's probabilities drop out;
# * say what sampling an action instead of summing over all of them costs in variance;
# * write REINFORCE, with the return of the whole episode and with returns-to-go, and say why the
#   past may be dropped;
# * see one estimate as a draw from a cloud around the truth, and say how the cloud shrinks;
# * write the surrogate loss that autograd differentiates, padding and all, and train CartPole.
#
# **Before you begin.** Chapter 1: MDP, policy, return, value, softmax, ∇J. Of PyTorch also
# autograd: `requires_grad`, `backward`. About an hour.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy import stats

import pgzoo
from pgzoo import course
from pgzoo.lab import exact_gradient, expected_return, mdps, score_gradients, simulate
from pgzoo.policies.networks import Table
from pgzoo.records.intervals import interquartile_mean_interval
from pgzoo.records.style import COLOURS, STYLE

plt.rcParams.update(STYLE)

# %% [markdown]
# ## The trick
#
# The policy gradient theorem has a sum over all actions in every state,
#
# $$\sum_a \nabla\pi(a|s)\, q(s,a).$$
#
# If we play, we do not see all actions. We see one, drawn from π. A sum becomes an average over
# draws if each term carries the probability of being drawn. It does not, so we put it there, by
# multiplying and dividing with it:
#
# $$\nabla\pi(a|s) = \pi(a|s)\, \frac{\nabla\pi(a|s)}{\pi(a|s)} = \pi(a|s)\, \nabla\log\pi(a|s).$$
#
# This is the **log-derivative trick**. With it,
#
# $$\sum_a \nabla\pi(a|s)\, q(s,a) = \sum_a \pi(a|s)\, q(s,a) \nabla\log\pi(a|s)
#   = \mathrm{E}_{a\sim\pi}\bigl[\, q(s,a)\, \nabla\log\pi(a|s) \,\bigr].$$
#
# Draw an action and compute q ∇log π of it: on average, that is the sum. ∇log π(a|s) is called the
# **score function**. It says which way to move θ so that a becomes more probable; q says how much
# we want that.
#
# For a softmax, divide chapter 1's derivative by π(a|s):
#
# $$\frac{\partial\log\pi(a|s)}{\partial\theta(s,b)} = \mathbb 1(a=b) - \pi(b|s).$$
#
# **Exercise 1.** Write it for any number of states at once. The preferences of one state are a row
# `logits[..., :]`; a network will produce such rows later. The dots mean: any leading axes, or
# none.


# %% tags=["exercise", "score_function"]
def score_function(logits, action):
    """∇log π(a|s) of a softmax with respect to its preferences.

    logits: [..., A]; action: the actions that were taken, integers [...].
    Returns [..., A].
    """
    ### BEGIN SOLUTION
    taken = torch.nn.functional.one_hot(action, logits.shape[-1])
    return taken - logits.softmax(-1)
    ### END SOLUTION


# %%
course.check("score_function", score_function)

# %% [markdown]
# The score function has mean zero: Σ_a π(a) ∇log π(a) = Σ_a ∇π(a) = ∇1 = 0. So if q is the same
# for all actions, nothing is to be learned, and on average nothing is. Half of this course rests
# on this line.

# %%
logits = torch.tensor([0.5, -1.0, 0.2])
actions = torch.arange(3)
pi = logits.softmax(-1)
scores = score_function(logits.expand(3, 3), actions)  # one row for each action
print("scores, one row for each action:\n", scores.numpy().round(3))
print("their mean under π:", (pi.unsqueeze(-1) * scores).sum(0).numpy().round(6))
assert (pi @ scores).abs().max() < 1e-6

# %% [markdown]
# ## One state: all actions against one
#
# If the values q of *all* actions are known, there is nothing to draw. Computing the sum is called
# the **all-actions** gradient, or the expected policy gradient. It needs more knowledge, and in
# return has no noise from the draw.
#
# **Exercise 2.** With the softmax, the sum becomes π(b)(q(b) − Σ_a π(a) q(a)) for each preference
# b. You may write that, or the sum itself.


# %% tags=["exercise", "all_actions_gradient"]
def all_actions_gradient(logits, q):
    """Σ_a q(a) ∇π(a) of a softmax with respect to its preferences.

    logits: [..., A]; q: [..., A], numbers.
    Returns [..., A].
    """
    ### BEGIN SOLUTION
    pi = logits.softmax(-1)
    value = (pi * q).sum(-1, keepdim=True)
    return pi * (q - value)
    ### END SOLUTION


# %%
course.check("all_actions_gradient", all_actions_gradient)

# %% [markdown]
# How much noise does the draw add? The **variance** of a random vector is here the expected
# squared distance from its mean (the trace of its covariance). With three actions we can compute
# it exactly: go through all draws.
#
# **Question.** Before you run the next cell: add 5 to all three q. What happens to the mean of the
# sampled gradient, and what to its variance?
#
# <details><summary>Answer</summary>
#
# The mean stays: the score has mean zero, and so has 5 times it. The variance does not: every draw
# is now q + 5 times a score, and pushes hard for whichever action was drawn. The pushes cancel on
# average only. The curve is a parabola in the number that is added. Its lowest point is what
# chapter 3 is about.
#
# </details>

# %%
q = torch.tensor([1.0, 0.0, 2.0])
exact = all_actions_gradient(logits, q)
shifts = torch.linspace(-6, 6, 121)
variances = []
for shift in shifts:
    draws = (q + shift).unsqueeze(-1) * scores  # the sampled gradient for each action
    assert torch.allclose(pi @ draws, exact, atol=1e-5)  # the mean is always the same
    variances.append((pi * ((draws - exact) ** 2).sum(-1)).sum())

fig, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
axes.plot(shifts, variances, color=COLOURS[0], label="one sampled action")
axes.axhline(0, color=COLOURS[4], linestyle="--", label="all actions")
axes.set(xlabel="number added to all q", ylabel="variance", title="Same mean, other variance")
axes.legend()
plt.show()
at_zero, lowest = variances[60], min(variances)
print(f"variance as it is {at_zero:.2f}, with 5 added {variances[110]:.1f}, at best {lowest:.2f}")
assert variances[110] > 10 * at_zero > 10 * lowest > 0

# %% [markdown]
# ## A whole episode
#
# Now many steps. Do the same to J itself. It is a sum over trajectories, J = Σ_τ p(τ) R(τ), and the
# trick works on p(τ) as on π:
#
# $$\nabla J = \sum_\tau \nabla p(\tau)\, R(\tau)
#   = \mathrm{E}\bigl[ R\, \nabla\log p(\tau) \bigr].$$
#
# p(τ) is a product of the start, the policy's parts and the environment's parts. Its logarithm is a
# sum, and **only the policy's parts depend on θ**:
#
# $$\nabla\log p(\tau) = \nabla\Bigl(\log\mathrm{start}(s_0) + \sum_t \log\pi(a_t|s_t)
#   + \sum_t \log p(s_{t+1}|s_t,a_t)\Bigr) = \sum_t \nabla\log\pi(a_t|s_t).$$
#
# So here is an estimate that needs no knowledge of the environment. Play an episode; then
#
# $$\hat g = \sum_t \nabla\log\pi(a_t|s_t)\, R, \qquad \mathrm{E}[\hat g] = \nabla J.$$
#
# Every action of a good episode is made more probable, by as much as the episode was good. This is
# **REINFORCE** (Williams 1992), with the *whole return* as weight. Weights on the score function
# are called Ψ in this course: here Ψ_t = R at every step.
#
# We try it on the machine of chapter 1, at one policy. Its exact gradient is known.

# %%
machine, horizon, gamma = mdps.machine(), 12, 0.9
table, objective = Table(2, 2), {"horizon": horizon, "gamma": gamma}
theta = torch.tensor([[-0.5, 0.5], [0.0, 0.0]])  # θ(s, a): cool, hot × pause, run
pi = theta.softmax(-1)
truth = exact_gradient(machine, table, theta.view(1, 4), **objective)
truth = truth.view(2, 2).float()
print("∇J, for running cool and hot:", truth[:, 1].numpy().round(3))

t = simulate(machine, pi, horizon=horizon, batches=1, episodes=4, seed=0)
for what in ("obs", "reward", "mask"):
    print(f"{what}:\n{getattr(t, what)[0].int().numpy()}")

# %% [markdown]
# These are four episodes, as tensors `[S, N, T]`. S counts independent batches, here one; N
# episodes; T steps. `obs` (observations) are the states: 0 is cool, 1 is hot. In code, `t` is such a
# batch of trajectories. Episodes that end early are filled up to the longest, which is called
# **padding**. `mask` is true on real steps. What stands in the padding has no meaning: here zeros,
# elsewhere perhaps anything, even NaN. And NaN · 0 is NaN. So replace what is in the padding,
# `torch.where(mask, x, 0)`, rather than multiply it away.

# %% [markdown]
# ## Dropping the past
#
# In R ∇log π(a_t|s_t) the return contains rewards that were paid *before* a_t was chosen. They
# cannot be its merit. And indeed they may go: for k < t, given everything up to s_t, the reward
# r_k is a fixed number and the score has mean zero, so
#
# $$\mathrm{E}\bigl[ r_k \nabla\log\pi(a_t|s_t) \bigr]
#   = \mathrm{E}\bigl[ r_k\, \mathrm{E}[\nabla\log\pi(a_t|s_t) \mid s_0, a_0, \dots, s_t] \bigr] = 0
#   \quad\text{for } k < t.$$
#
# What stays of R = Σ_k γ^k r_k is what comes from t on, and that is γ^t times the **return-to-go**
#
# $$G_t = r_t + \gamma r_{t+1} + \gamma^2 r_{t+2} + \dots, \qquad
#   \nabla J = \mathrm{E}\Bigl[ \sum_t \gamma^t\, G_t\, \nabla\log\pi(a_t|s_t) \Bigr].$$
#
# There is the γ^t of chapter 1 again, and G_t stands where Q_t stood: its expectation, given s_t
# and a_t, is Q_t(s_t, a_t). In this course the factor is called c_t and is written apart from Ψ_t
# = G_t.
#
# **Exercise 3.** The recursion G_t = r_t + γ G_{t+1} goes backwards, as V did.


# %% tags=["exercise", "returns_to_go"]
def returns_to_go(reward, mask, gamma):
    """G_t = r_t + γ r_{t+1} + γ² r_{t+2} + …, counted from step t.

    reward: [..., T]; mask: bool [..., T], true on real steps; padding may hold anything, even NaN.
    Returns [..., T], zero where the mask is false.
    """
    ### BEGIN SOLUTION
    reward = torch.where(mask, reward, 0)
    returns = torch.zeros_like(reward)
    following = torch.zeros_like(reward[..., 0])
    for t in reversed(range(reward.shape[-1])):
        following = reward[..., t] + gamma * following
        returns[..., t] = following
    return torch.where(mask, returns, 0)
    ### END SOLUTION


# %%
course.check("returns_to_go", returns_to_go)

# %% [markdown]
# Is it true that the past is nothing but noise? We measure E[γ^k r_k ∇log π(a_t|s_t)] for all
# pairs of steps k and t, from many episodes. One component of θ is enough for the picture: running
# hot. Each mean comes with a standard error, and the picture shows mean over standard error,
# called z. Where the true mean is 0, z is nearly a standard normal number: about 95 in
# 100 lie between −2 and 2.


# %%
def all_scores(theta, t):
    """∇log π(a_t|s_t) with respect to the whole table θ, [S, N, T, n, A], zero in the padding."""
    in_state = torch.nn.functional.one_hot(t.obs, len(theta)) * t.mask.unsqueeze(-1)
    return in_state.unsqueeze(-1) * score_function(theta[t.obs], t.action).unsqueeze(-2)


t = simulate(machine, pi, horizon=horizon, batches=1, episodes=100_000, seed=1)
score = all_scores(theta, t)[0, :, :, 1, 1]  # of running hot, [N, T]
discounts = gamma ** torch.arange(horizon)
products = (discounts * t.reward[0]).unsqueeze(1) * score.unsqueeze(2)  # [N, t, k]
z = products.mean(0) / (products.std(0) / len(products) ** 0.5 + 1e-12)

# %%
fig, both = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
panels = (("mean", products.mean(0), 0.4), ("z = mean over standard error", z, 4.0))
for axes, (what, values, most) in zip(both, panels, strict=True):
    image = axes.imshow(values, cmap="PuOr", vmin=-most, vmax=most)
    axes.plot([-0.5, horizon - 0.5], [-0.5, horizon - 0.5], color="black", linewidth=1)
    axes.set(xlabel="reward of step k", ylabel="score of step t")
    axes.grid(False)
    fig.colorbar(image, label=what, location="bottom", shrink=0.8)
both[0].set_title("What rewards say about actions …")
both[1].set_title("… and below the line, only noise")
plt.show()
past = z[torch.ones_like(z).tril(-1).bool()]
print(f"largest |z| of {len(past)} pairs in the past: {past.abs().max():.1f}; at k = t: ", end="")
print(z.diagonal()[1:].numpy().round(1))
assert past.abs().max() < 4.5 < 20 < z.diagonal()[1:].min()

# %% [markdown]
# **Question.** At t = 0 the row is empty. Why? And why are there negative numbers to the right of
# the line?
#
# <details><summary>Answer</summary>
#
# An episode starts cool, so at t = 0 there is no score of running *hot*. Right of the line is the
# future: running a hot machine may break it, and then later rewards are missing. Running hot lowers
# them, and the estimate notices. These must stay.
#
# </details>

# %% [markdown]
# Same mean, then; what about the variance? Three estimates from the same episodes:
#
# * the whole return R at every step;
# * the return-to-go, γ^t G_t;
# * all actions: in every state that was visited, Σ_a Q_t(s_t,a) ∇π(a|s_t), with the exact Q.
#   Nobody has that in practice. It shows what is left when neither the action drawn nor what came
#   after it adds noise: where the episode went.
#
# `score_gradients` of pgzoo's laboratory computes 1/N Σ_i Σ_t Ψ ∇log π for many batches at once.
# With one episode in each batch, every result is the estimate of one episode.

# %%
t = simulate(machine, pi, horizon=horizon, batches=40_000, episodes=1, seed=2)
to_go = discounts * returns_to_go(t.reward, t.mask, gamma)
whole = to_go[..., :1].expand_as(to_go)  # R = G_0

V, action_values = torch.zeros(2), []
for _ in range(horizon):  # chapter 1: backwards
    q = torch.from_numpy(machine.reward + gamma * machine.transition @ V.double().numpy()).float()
    V = (pi * q).sum(-1)
    action_values.insert(0, q)
Q = torch.stack(action_values)  # [T, n, A]
J = expected_return(machine, table, theta.double().view(1, 4), **objective)
assert abs(V[0] - J.item()) < 1e-4

in_each = all_actions_gradient(theta.expand_as(Q), Q) * discounts.view(-1, 1, 1)  # [T, n, A]
visited = torch.nn.functional.one_hot(t.obs, 2) * t.mask.unsqueeze(-1)
estimates = {
    "whole return": score_gradients(t, whole, pi),
    "return-to-go": score_gradients(t, to_go, pi),
    "all actions, exact Q": torch.einsum("snti,tia->sia", visited.float(), in_each),
}

# %%
blocks, variance, half = 20, {}, {}
for name, estimate in estimates.items():
    estimate = estimate.flatten(1).float()
    error = (estimate.mean(0) - truth.flatten()) / (estimate.std(0) / len(estimate) ** 0.5)
    variance[name] = estimate.view(blocks, -1, 4).var(1).sum(-1)  # in each of 20 blocks
    print(f"{name:21} mean off by at most {error.abs().max():.1f} standard errors, ", end="")
    half[name] = stats.t.ppf(0.975, blocks - 1) * variance[name].std() / blocks**0.5
    print(f"variance {variance[name].mean():.3g} ± {half[name]:.2g}")
    assert error.abs().max() < 4.5

assert variance["whole return"].mean() > 1.3 * variance["return-to-go"].mean()
assert variance["return-to-go"].mean() > 2 * variance["all actions, exact Q"].mean()

# %%
fig, axes = plt.subplots(figsize=(7, 2.4), layout="constrained")
means = [v.mean() for v in variance.values()]
colours = [COLOURS[0], COLOURS[4], COLOURS[2]]
axes.barh(list(variance), means, xerr=list(half.values()), color=colours, capsize=4)
axes.set(
    xlabel="variance of one episode's estimate, with 95% interval", title="Same mean, less noise"
)
axes.invert_yaxis()
plt.show()

# %% [markdown]
# Here dropping the past costs nothing: no bias, and less variance. It is often presented as the
# first *variance reduction*; how much it gives depends on how much of the return lies in the past.
# It is no law: with two steps and r₁ = −r₀, where a₀ decides r₀, the whole return is 0 and its
# estimate has no variance at all, while G₁ = r₁ has some. Measure.

# %% [markdown]
# ## An estimate is a draw
#
# One episode is a noisy witness, so we take N and average:
#
# $$\nabla J(\theta) \approx \hat g
#   = \frac1N \sum_{i=1}^N \sum_t c_t\, \Psi_{i,t}\, \nabla\log\pi(a_{i,t}|s_{i,t}).$$
#
# Mark the two sums. Over the steps of an episode it *is* a sum: the logarithm of a product. Over
# episodes it is a *mean*: an expectation. Mixing them up is one of the most frequent mistakes.
#
# **Exercise 4.** `score[i, t]` is ∇log π(a_{i,t}|s_{i,t}), a vector of P numbers, and `psi[i, t]`
# its weight, c_t included.


# %% tags=["exercise", "policy_gradient_estimate"]
def policy_gradient_estimate(score, psi, mask):
    """1/N Σ_i Σ_t Ψ_{i,t} ∇log π(a_{i,t}|s_{i,t}).

    score: [N, T, P]; psi: [N, T]; mask: bool [N, T], true on real steps; padding may hold anything,
    even NaN.
    Returns [P].
    """
    ### BEGIN SOLUTION
    weighted = psi.unsqueeze(-1) * score
    return torch.where(mask.unsqueeze(-1), weighted, 0).sum(1).mean(0)
    ### END SOLUTION


# %%
course.check("policy_gradient_estimate", policy_gradient_estimate)

# %%
t = simulate(machine, pi, horizon=horizon, batches=1, episodes=8, seed=3)
psi = discounts * returns_to_go(t.reward, t.mask, gamma)
mine = policy_gradient_estimate(all_scores(theta, t)[0].flatten(-2), psi[0], t.mask[0])
print("estimate from 8 episodes:", mine.view(2, 2)[:, 1].numpy().round(3))
print("the truth:               ", truth[:, 1].numpy().round(3))
assert torch.allclose(mine, score_gradients(t, psi, pi).flatten().float(), atol=1e-4)

# %% [markdown]
# That was one draw. Here are many, each from a batch of its own, for three sizes of batch.


# %%
def estimates_from(episodes, batches, seed):
    """Independent estimates of ∇J with N episodes each, [batches, 4]."""
    t = simulate(machine, pi, horizon=horizon, batches=batches, episodes=episodes, seed=seed)
    psi = discounts * returns_to_go(t.reward, t.mask, gamma)
    return score_gradients(t, psi, pi).flatten(1).float()


fig, each = plt.subplots(1, 3, figsize=(9, 3.4), sharex=True, sharey=True, layout="constrained")
wrong_way = {}
for axes, n in zip(each, (4, 32, 256), strict=True):
    found = estimates_from(n, 500, seed=n)
    wrong_way[n] = ((found @ truth.flatten()) < 0).float().mean().item()
    axes.scatter(found[:, 1], found[:, 3], s=6, alpha=0.4, color=COLOURS[0], label="estimates")
    axes.plot(*found.mean(0)[[1, 3]], "X", color=COLOURS[1], markersize=12, label="their mean")
    axes.plot(*truth[:, 1], "P", color=COLOURS[4], markersize=8, label="exact ∇J")
    axes.plot(0, 0, "+", color="black", markersize=10)
    axes.set(xlabel="∂J/∂θ(cool, run)", title=f"N = {n}")
each[0].set_ylabel("∂J/∂θ(hot, run)")
each[-1].legend(loc="lower right", frameon=True)
plt.show()
for n, share in wrong_way.items():
    print(f"N = {n:3}: {share:.1%} of the estimates point more than 90° away from ∇J")
assert wrong_way[4] > 0.2 > wrong_way[32] > 0.02 > wrong_way[256]

# %% [markdown]
# The cloud sits around the truth: REINFORCE is *unbiased*. Single estimates may be far away, and
# with small batches many point the wrong way. That is no mistake in the code. Gradient ascent
# still works, since the steps' errors cancel in the long run, provided that steps are small.
#
# **Question.** How does the typical error depend on N? How many times as many episodes make it ten
# times smaller?
#
# <details><summary>Answer</summary>
#
# The variance of a mean of N independent terms is 1/N of a term's. The error is its root: 1/√N.
# Ten times less error takes a hundred times as many episodes. That is why it pays to think about
# variance.
#
# </details>

# %%
sizes = [4, 8, 16, 32, 64, 128, 256]
errors = []
for n in sizes:
    distance = estimates_from(n, 400, seed=900 + n) - truth.flatten()
    errors.append((distance**2).sum(-1).mean().sqrt().item())
slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
print(f"the error falls like N to the power {slope:.3f}")
assert abs(slope + 0.5) < 0.05

fig, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
axes.loglog(sizes, errors, "o", color=COLOURS[0], label="measured, 400 batches each")
axes.loglog(sizes, [errors[0] * (4 / n) ** 0.5 for n in sizes], color=COLOURS[4], label="1/√N")
axes.axhline(truth.norm(), color="black", linestyle=":", label="length of ∇J")
axes.set(
    xlabel="episodes N", ylabel="typical error (rms)", title="Ten times better costs a hundredfold"
)
axes.legend()
plt.show()

# %% [markdown]
# ## The surrogate: a loss whose gradient this is
#
# With a network, nobody writes the score function by hand. Autograd differentiates a scalar, so we
# need a scalar whose gradient is −ĝ (minus, since optimisers descend):
#
# $$L(\theta) = -\frac1N \sum_i \sum_t \Psi_{i,t}\, \log\pi_\theta(a_{i,t}|s_{i,t}),
#   \qquad \nabla L = -\hat g,$$
#
# **if Ψ is a constant number in it**. L is called a *surrogate*: it stands in for J to be
# differentiated, at this θ and with these episodes. It is not −J, and its value has no meaning.
#
# Where Ψ is computed from rewards, no gradient could flow through it. In chapter 4 it will be
# computed by a network that is trained as well; then a missing `detach` lets gradient flow into
# that network, and another quantity is descended. So get used to it: `psi.detach()`.
#
# **Exercise 5.** `torch.gather` picks the entries of the actions that were taken, as does indexing;
# `torch.distributions.Categorical` is fine as well.


# %% tags=["exercise", "surrogate_loss"]
def surrogate_loss(logits, action, psi, mask):
    """The scalar whose gradient with respect to the logits' parameters is −ĝ.

    logits: [N, T, A]; action: integers [N, T]; psi: [N, T], through which no gradient may go;
    mask: bool [N, T], true on real steps; padding may hold any finite number.
    Returns a scalar.
    """
    ### BEGIN SOLUTION
    log_probs = logits.log_softmax(-1)
    taken = log_probs.gather(-1, action.unsqueeze(-1)).squeeze(-1)
    weighted = torch.where(mask, psi.detach() * taken, 0)
    return -weighted.sum(1).mean(0)
    ### END SOLUTION


# %%
course.check("surrogate_loss", surrogate_loss)

# %% [markdown]
# Autograd on the loss, and your estimate of exercise 4, on the same eight episodes:

# %%
leaf = theta.clone().requires_grad_()
t = simulate(machine, pi, horizon=horizon, batches=1, episodes=8, seed=3)
psi = discounts * returns_to_go(t.reward, t.mask, gamma)
loss = surrogate_loss(leaf[t.obs[0]], t.action[0], psi[0], t.mask[0])
loss.backward()
print("minus the loss's gradient:", -leaf.grad[:, 1].numpy().round(4))
print("the estimate:             ", mine.view(2, 2)[:, 1].numpy().round(4))
assert torch.allclose(-leaf.grad.flatten(), mine, atol=1e-4)

# %% [markdown]
# **Question.** In supervised learning you watch the loss fall. What would you expect to see of
# this one along a training that works? And with 10 subtracted from every return?
#
# <details><summary>Answer</summary>
#
# Nothing you can rely on. Each batch has a loss of its own: its episodes are drawn from the policy
# of the moment, and Ψ with them. What falls in supervised learning is one function; these are as
# many functions as iterations. The next cells show the loss as it is, and with 10 subtracted from
# every return, for the same training. Watch the return instead.
#
# </details>
#
# That is REINFORCE. Here it is in full, on the machine, for ten seeds, with 16 episodes for each
# step. Since the machine is known, we can say exactly how good the policy is after every step.

# %%
seeds, iterations, step_size = 10, 120, 0.05
thetas = torch.zeros(seeds, 2, 2)
returns, losses = [], []
for iteration in range(iterations):
    exact = expected_return(machine, table, thetas.double().flatten(1), **objective)
    returns.append(exact)
    t = simulate(
        machine, thetas.softmax(-1), horizon=horizon, batches=seeds, episodes=16, seed=iteration
    )
    psi = discounts * returns_to_go(t.reward, t.mask, gamma)
    leaf = thetas.clone().requires_grad_()
    per_seed = [
        surrogate_loss(leaf[s][t.obs[s]], t.action[s], psi[s], t.mask[s]) for s in range(seeds)
    ]
    sum(per_seed).backward()  # each θ_s gets the gradient of its own loss
    shifted = [
        surrogate_loss(leaf[s][t.obs[s]], t.action[s], psi[s] - 10 * discounts, t.mask[s])
        for s in range(seeds)
    ]
    thetas = thetas - step_size * leaf.grad
    losses.append(torch.stack([sum(per_seed), sum(shifted)]).detach() / seeds)
returns, losses = torch.stack(returns), torch.stack(losses)

# %%
exact_theta, exact_returns = torch.zeros(1, 4, dtype=torch.float64), []
for _ in range(iterations):
    J = expected_return(machine, table, exact_theta, **objective)
    exact_returns.append(J.item())
    slope = exact_gradient(machine, table, exact_theta, **objective)
    exact_theta = exact_theta + step_size * slope

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
left.plot(returns, color=COLOURS[0], alpha=0.4, linewidth=1)
left.plot(exact_returns, color=COLOURS[4], linestyle="--", label="with the exact gradient")
left.plot([], color=COLOURS[0], label="ten seeds of REINFORCE")
left.set(xlabel="iteration", ylabel="J (exact)", title="Noisy steps climb nearly as well")
left.legend()
right.plot(losses[:, 0], color=COLOURS[0], label="as it is")
right.plot(losses[:, 1], color=COLOURS[2], label="with 10 subtracted from returns")
right.set(
    xlabel="iteration", ylabel="surrogate loss", title="The loss falls, or rises: as you like"
)
right.legend()
plt.show()
half = stats.t.ppf(0.975, seeds - 1) * returns[-1].std() / seeds**0.5
print(
    f"J after {iterations} iterations: {returns[-1].mean():.2f} ± {half:.2f} over ten seeds, ",
    end="",
)
print(f"{exact_returns[-1]:.2f} with the exact gradient")
assert abs(returns[-1].mean() - exact_returns[-1]) < 0.15
assert returns[-1].min() > returns[0].max() + 1.5
first, last = losses[:20].mean(0), losses[-20:].mean(0)
assert first[0] > last[0] + 1
assert first[1] < last[1] - 1

# %% [markdown]
# ## CartPole
#
# A pole stands on a cart, and you push the cart left or right, 50 times a second. Every step pays a
# reward of one, until the pole has fallen or 500 steps are over. There is no array of transitions
# here: the state is four real numbers. So the policy is a network that turns them into two
# preferences.
#
# `pgzoo.train` takes a function from trajectories to Ψ, here yours. It trains ten seeds side by
# side, which are ten independent networks, and gives each of them 100,000 steps. A batch
# has 16 episodes, and γ = 1. Some things beside the formula serve training alone: Ψ is divided by
# its root mean square in the batch, and the sum by the number of steps in it, so that one step size
# suits all; an estimate that is too long is cut to a greatest length; the optimiser is Adam, and
# its step size falls from step to step. Divisors and cut are common to the whole batch: they change
# the length of an estimate, not its direction.


# %%
def whole_return(trajectories):
    """Ψ = R at every step."""
    returns = returns_to_go(trajectories.reward, trajectories.mask, 1.0)
    return returns[..., :1].expand_as(returns)


def return_to_go(trajectories):
    """Ψ = G_t."""
    return returns_to_go(trajectories.reward, trajectories.mask, 1.0)


settings = {"env": "CartPole-v1", "seeds": 10, "steps": 100_000, "lr_schedule": "linear"}
quiet = {"progress": False, "diagnostics": 0}
run_whole = pgzoo.train(whole_return, **settings, **quiet)
run_to_go = pgzoo.train(return_to_go, **settings, **quiet)
assert run_to_go.config.hyperparameters["episodes"] == 16

# %%
fig, both = plt.subplots(1, 2, figsize=(10, 3.8), sharey=True, layout="constrained")
for axes, run in zip(both, (run_whole, run_to_go), strict=True):
    run.plot(axes)
plt.show()

# %% [markdown]
# Each thin line is a seed. The band is a 95% interval for the mean of the middle half of the
# seeds, the *interquartile mean*. A line is a mean over the last 100 episodes, so it lags behind a
# policy that improves. What is the final policy worth? For each seed, 100 fresh episodes. And a
# rank test (Mann–Whitney): p is how often two lists would be at least so far apart in order if both
# came from the same distribution.

# %%
final = {"whole return": run_whole, "return-to-go": run_to_go}
final = {name: np.array(run.summary["eval_mean"]) for name, run in final.items()}
for name, values in final.items():
    found = interquartile_mean_interval(values)
    print(f"{name:13}", np.sort(values).round().astype(int))
    print(f"{'':13} interquartile mean {found.point:.0f} [{found.low:.0f}, {found.high:.0f}]")
p = stats.mannwhitneyu(final["return-to-go"], final["whole return"]).pvalue
print(f"the same distribution? p = {p:.5f}")
assert p < 0.01
assert np.median(final["return-to-go"]) > np.median(final["whole return"]) + 50
assert np.median(final["return-to-go"]) < 495

# %% [markdown]
# One line of mathematics, and at this step size the same number of steps buys a far better policy.
# By the section above, dropping the past leaves the mean of the estimate as it is. What it takes
# away is noise.
#
# And yet of the better ones half are not near 500. Chapter 3 goes on from here.
#
# A film of one seed, untrained, after a fifth of the training, and trained:

# %%
run_to_go.film(seed=0, at=(0, 20, 100), seconds=5)

# %% [markdown]
# **Question.** Someone trains one seed of either. How often would they find the whole return
# better? Guess from the two lists above, then look at what the cell below says.
#
# <details><summary>Answer</summary>
#
# A seed of each is a pair; the cell counts the pairs in which the order is the other way round. It
# is not often here, where the difference is large. For smaller differences one seed is next to a
# coin. That is why everything in this course has ten seeds and an interval.
#
# </details>

# %%
reversed_order = (final["whole return"][:, None] > final["return-to-go"]).mean()
print(f"pairs of seeds in which the whole return is better: {reversed_order:.0%}")
assert reversed_order < 0.3

# %% [markdown]
# **Question.** Your code runs, the return rises, and you have forgotten the mask. How would you
# notice?
#
# <details><summary>Answer</summary>
#
# By training perhaps never: padding adds noise or a bias, and learning still works somewhat. By
# property at once: change what stands in the padding, and see whether the result changes. That is
# what `course.check` does, and what your own tests should do.
#
# </details>

# %% [markdown]
# ## What you have
#
# | | Ψ_t | c_t | needs |
# |---|---|---|---|
# | all actions | Σ_a Q_t(s_t,a) ∇π(a\|s_t) instead of a score | γ^t | Q of every action |
# | REINFORCE, whole return | R | 1 | an episode |
# | REINFORCE, return-to-go | G_t | γ^t | an episode |
#
# In pgzoo, the file [`pgzoo/agents/reinforce.py`](../../pgzoo/agents/reinforce.py) is the last two
# lines: `psi` is what you wrote. `gamma_t` switches c_t on; it is off in training, for the reason
# that chapter 1's last questions give.
#
# ## Further reading
#
# * R. J. Williams, *Simple Statistical Gradient-Following Algorithms for Connectionist
#   Reinforcement Learning*, Machine Learning 8, 1992: REINFORCE.
# * R. S. Sutton & A. G. Barto, *Reinforcement Learning: An Introduction*, 2nd ed. 2018: sections
#   13.2 and 13.3, all actions and REINFORCE.
# * K. Ciosek & S. Whiteson, *Expected Policy Gradients*, AAAI 2018, arXiv:1706.05374, and C. Allen
#   et al., *Mean Actor Critic*, 2017, arXiv:1709.00503: all actions with a learned q.
# * J. Schulman, N. Heess, T. Weber & P. Abbeel, *Gradient Estimation Using Stochastic Computation
#   Graphs*, NeurIPS 2015, arXiv:1506.05254: surrogates in general.
# * S. Mohamed, M. Rosca, M. Figurnov & A. Mnih, *Monte Carlo Gradient Estimation in Machine
#   Learning*, JMLR 21, 2020, arXiv:1906.10652: the score function beside its alternatives.
