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
# # 4. Critics
#
# A critic is a learned V(s). A critic that was fitted on other data can do no harm as a baseline;
# fitted on the same episodes it contains their own returns (chapter 3). But it can do more than
# that: it can stand in for rewards that were never seen. That removes much more variance, and now
# a wrong critic makes a wrong gradient. Afterwards you can
#
# * derive the TD error, n-step returns and GAE(γ, λ), and say what each takes from the critic;
# * measure bias and variance along λ, for a good critic and for bad ones;
# * say what V must be fitted to, and why its target is detached;
# * treat the end of an episode, a time limit, the end of a row and a reset as the four different
#   things they are, and show what it costs to confuse them;
# * train an actor-critic on LunarLander, and say what a short training can show.
#
# **Before you begin.** Chapters 1 to 3: values and advantages of a finite MDP, the score function,
# baselines, relative variance. From PyTorch: autograd, `detach`, indexing a table with a tensor of
# states. About an hour.

# %%
import math

import matplotlib.pyplot as plt
import numpy as np
import pgzoo_envs
import torch

import pgzoo
from pgzoo import course
from pgzoo.estimators import returns_to_go
from pgzoo.lab import FiniteMDP, exact_gradient, mdps, score_gradients, simulate
from pgzoo.policies.networks import Table
from pgzoo.records.intervals import interquartile_mean_interval
from pgzoo.records.style import COLOURS, STYLE

plt.rcParams.update(STYLE)

# %% [markdown]
# ## The value function
#
# From now on γ < 1, and episodes may go on for as long as they like. Then the value
# $V(s) = E[G_t \mid s_t = s]$ does not depend on t. It solves the Bellman equation
#
# $$V(s) = \sum_a \pi(a|s) \Big( r(s,a) + \gamma \sum_{s'} p(s'|s,a)\, V(s') \Big),
#   \qquad\text{in vectors}\quad V = r_\pi + \gamma P_\pi V ,$$
#
# where the value of a terminal state is 0. That is a system of linear equations. On a small MDP
# we solve it and have the exact V to compare with. `transition[s, a, s']` is, as before, the
# probability of going to s' *and the episode going on*.

# %%
gamma = 0.9


def exact_value(mdp, pi):
    """V [..., n] of policies π(a|s) [..., n, A]."""
    reward, transition = torch.tensor(mdp.reward), torch.tensor(mdp.transition)
    onward = torch.einsum("...sa,sat->...st", pi, transition)  # P_π
    earned = (pi * reward).sum(-1)  # r_π
    identity = torch.eye(len(reward), dtype=torch.float64)
    return torch.linalg.solve(identity - gamma * onward, earned.unsqueeze(-1)).squeeze(-1)


mdp, horizon = mdps.garnet(19), 8
table = Table(*mdp.reward.shape)
theta = torch.randn(1, table.num_params, generator=torch.Generator().manual_seed(5)).double()
pi = theta.view(mdp.reward.shape).softmax(-1)
value = exact_value(mdp, pi)
q = torch.tensor(mdp.reward) + gamma * torch.tensor(mdp.transition) @ value  # q(s, a)
print("V(s):", value.numpy().round(2), "(the last state is terminal)")
assert torch.allclose((pi * q).sum(-1), value)

# %% [markdown]
# ## The TD error
#
# After one step we know a little more than before. We expected $V(s_t)$. We earned $r_t$, and now
# expect $\gamma V(s_{t+1})$. The difference is the **temporal-difference error**
#
# $$\delta_t = r_t + \gamma V(s_{t+1}) - V(s_t) ,$$
#
# what was earned, plus what is still expected, less what was expected. If V is the value of π, its
# mean after action a in state s is
#
# $$E[\delta_t \mid s, a] = \underbrace{r(s,a) + \gamma \textstyle\sum_{s'} p(s'|s,a) V(s')}_{q(s,a)} - V(s)
#   = A(s, a) ,$$
#
# the **advantage**. So Ψ = δ gives the exact gradient on average, like Ψ = G_t, but all the noise
# of later rewards is gone. $V(s_{t+1})$ stands in for them. This is called **bootstrapping**.
#
# Two flags say how a step ended. `terminated`: in a terminal state, after which nothing is
# earned, so $V(s_{t+1})$ is 0 there whatever the critic says. `truncated`: a time limit cut the
# episode off. The state it was cut off in is a state like any other, with a value like any other.
# Of the two, only terminated says that nothing follows.
#
# **Exercise 1.** Write δ. All arrays are [S, N, T] (replicas, rows, steps). A *row* is what one copy of the
# environment went through, in succession; a *segment* is T steps of all rows. Where the mask is false
# there is no step, the numbers there have no meaning, and the result is 0.


# %% tags=["exercise", "td_errors"]
def td_errors(reward, value, next_value, terminated, truncated, mask, gamma):
    """δ_t = r_t + γ V(s_{t+1}) − V(s_t), where a terminal state is worth 0.

    reward, value, next_value: r_t, V(s_t), V(s_{t+1}), [S, N, T]
    terminated, truncated: how the step ended, [S, N, T]
    mask: true on real steps, [S, N, T]; elsewhere numbers have no meaning
    result: [S, N, T], zero where the mask is false
    """
    ### BEGIN SOLUTION
    following = torch.where(terminated, 0, next_value)
    return torch.where(mask, reward + gamma * following - value, 0)
    ### END SOLUTION


# %%
course.check("td_errors", td_errors)

# %%
t = simulate(mdp, pi, horizon=horizon, batches=4000, episodes=8, seed=1)
v = value.float()
delta = td_errors(t.reward, v[t.obs], v[t.next_obs], t.terminated, t.truncated, t.mask, gamma)
for s in range(3):
    for a in range(2):
        here = delta[t.mask & (t.obs == s) & (t.action == a)]
        error = here.std() / len(here) ** 0.5
        print(f"state {s}, action {a}: advantage {q[s, a] - value[s]:+.3f}", end=", ")
        print(f"mean TD error {here.mean():+.3f} ± {error:.3f}")
        assert abs(here.mean() - (q[s, a] - value[s])) < 5 * error + 1e-4

# %% [markdown]
# **Question 1.** Let the critic be wrong by the same number everywhere: V(s) + 5. Is Ψ = δ still
# unbiased? And Ψ = G_t − $V(s_t)$ − 5?
#
# <details><summary>Answer</summary>
#
# δ becomes δ + 5γ − 5 on all steps but the terminal ones, where it becomes δ − 5. On the former a
# constant is added, which is a baseline. On the terminal ones another constant is added: whether
# an episode ends depends on the action, so this is a bias. Without terminal states there would be
# none. The next cell measures it. G_t − $V(s_t)$ − 5 is unbiased: here V is only a baseline.
#
# </details>

# %%
shifted = v + 5.0
lifted = td_errors(
    t.reward, shifted[t.obs], shifted[t.next_obs], t.terminated, t.truncated, t.mask, gamma
)
change = score_gradients(t, lifted - delta, pi).flatten(1)
z = change.mean(0) / (change.std(0) / len(change) ** 0.5).clamp(min=1e-9)
print("change of the mean estimate, in standard errors:", z[:6].numpy().round(1))
assert z.abs().max() > 10

# %% [markdown]
# **Fitted on what?** As a baseline, a critic may know everything but the episodes that it is
# subtracted in. The cell fits a table to the returns of the same eight episodes, and to those of
# eight others.

# %%
whole = returns_to_go(t.reward, t.mask, gamma)
where = torch.nn.functional.one_hot(t.obs, len(value)) * t.mask.unsqueeze(-1)  # [S, N, T, n]
table_v = (where * whole.unsqueeze(-1)).sum((1, 2)) / where.sum((1, 2)).clamp(min=1)  # [S, n]
within = exact_gradient(mdp, table, theta, horizon=horizon, gamma=gamma)[0]
scales = {}
for name, fitted_v in (("the same", table_v), ("other", table_v.roll(1, 0))):
    b = fitted_v.gather(1, t.obs.flatten(1)).view(t.obs.shape)
    weighted = gamma ** torch.arange(horizon) * (whole - b)
    along = score_gradients(t, weighted, pi).flatten(1) @ within / within.square().sum()
    scales[name] = along.mean(), along.std() / len(along) ** 0.5
    print(f"V of {name:8} episodes: {scales[name][0]:.3f} ± {scales[name][1]:.3f} of the gradient")
assert scales["the same"][0] < 0.9
assert abs(scales["other"][0] - 1) < 5 * scales["other"][1]

# %% [markdown]
# ## More steps
#
# One real reward and an estimate of everything else: if the critic is bad, so is δ. We may wait n
# steps before we ask it:
#
# $$A^{(n)}_t = r_t + \gamma r_{t+1} + \dots + \gamma^{n-1} r_{t+n-1} + \gamma^n V(s_{t+n}) - V(s_t)
#   = \sum_{l<n} \gamma^l\, \delta_{t+l} .$$
#
# The second form is a telescope: the $+\gamma^{l+1} V(s_{t+l+1})$ of one term meets the
# $-\gamma^{l+1} V(s_{t+l+1})$ of the next one, and only the first and the last are left.
#
# With n as large as possible the critic is asked once, where the data end. Of a step there are four
# kinds:
#
# | the step … | then what follows is worth |
# |---|---|
# | ends in a terminal state (`terminated`) | 0 |
# | is cut off by a time limit (`truncated`) | $V(s_{t+1})$ |
# | is the last one of the row, the episode goes on | $V(s_{t+1})$ |
# | is followed by a step of the same episode | what follows there |
#
# In short: a time limit or the end of a row ends the data, not the value.
#
# **Exercise 2.** Write the return with this end, for all t, backward from the last step. In a row
# there may be several episodes, with a masked step between them (more on that below).


# %% tags=["exercise", "bootstrapped_return"]
def bootstrapped_return(reward, value, next_value, terminated, truncated, mask, gamma):
    """Discounted rewards from t to the end of the episode, or of the data and γ^n V for the rest.

    The arguments are those of td_errors.
    result: [S, N, T]; where the mask is false whatever you like
    """
    ### BEGIN SOLUTION
    result = torch.zeros_like(reward)
    later = next_value[..., -1]  # what follows the row's last step
    for t in reversed(range(reward.shape[-1])):
        cut = truncated[..., t] | ~mask[..., t]
        later = torch.where(cut, next_value[..., t], later)
        later = torch.where(terminated[..., t], 0, later)
        later = reward[..., t] + gamma * later
        result[..., t] = later
    return result
    ### END SOLUTION


# %%
course.check("bootstrapped_return", bootstrapped_return)

# %% [markdown]
# **A missing bootstrap.** Suppose the last line of the table is forgotten for the row's end: what follows
# is counted as nothing. How wrong are the targets? The mean of n rewards from state s on is
# $\sum_{k<n} (\gamma P_\pi)^k r_\pi$, and what it lacks to V is $(\gamma P_\pi)^n V$. So we compute it.

# %%
onward = torch.einsum("sa,sat->st", pi, torch.tensor(mdp.transition))
earned = (pi * torch.tensor(mdp.reward)).sum(-1)
steps = range(13)
seen = torch.zeros(4, dtype=torch.float64)
without, lacking = [], []
for n in steps:
    without.append(seen[0].item())
    lacking.append((torch.linalg.matrix_power(gamma * onward, n) @ value)[0].item())
    seen = seen + torch.linalg.matrix_power(gamma * onward, n) @ earned
fig, ax = plt.subplots(figsize=(7, 3.3))
ax.plot(steps, np.add(without, lacking), "o-", color=COLOURS[2], label="n rewards, then γⁿ V")
ax.plot(steps, without, "s-", color=COLOURS[4], label="n rewards, then nothing")
ax.set(xlabel="rewards n before the row ends", ylabel="mean target of state 0", ylim=(0, None))
ax.set_title("A sum that stops early is not the value")
ax.legend()
plt.show()
assert np.allclose(np.add(without, lacking), value[0])
assert without[4] < 0.75 * value[0]

# %% [markdown]
# With the bootstrap the mean target is V for every n. Without it, four rewards are
# not even three quarters of it. In a segment of T steps, the last step has n = 1, the one before
# n = 2: the later half of every segment is told that the world ends soon.

# %% [markdown]
# ## GAE: a mean of all n
#
# Small n lean on the critic, large n on noisy rewards. Instead of choosing one, take a weighted
# mean of all, with weights that fall exponentially, $(1-\lambda)\lambda^{n-1}$ for n = 1, 2, …
# They sum to 1.
#
# $$A^\lambda_t = (1-\lambda) \sum_{n \ge 1} \lambda^{n-1} A^{(n)}_t
#   = (1-\lambda) \sum_{n \ge 1} \lambda^{n-1} \sum_{l<n} \gamma^l \delta_{t+l}
#   = \sum_{l \ge 0} \gamma^l \delta_{t+l} \, (1-\lambda) \sum_{n > l} \lambda^{n-1} .$$
#
# The last sum is geometric: $(1-\lambda)(\lambda^l + \lambda^{l+1} + \dots) = \lambda^l$. What
# remains is the **generalised advantage estimate** of Schulman et al. (2016),
#
# $$A^\lambda_t = \sum_{l \ge 0} (\gamma\lambda)^l\, \delta_{t+l}
#   \qquad\text{or}\qquad A^\lambda_t = \delta_t + \gamma\lambda\, A^\lambda_{t+1} .$$
#
# λ = 0 is the TD error, λ = 1 the bootstrapped return less V. If the data end after
# m steps, the weights of all n ≥ m go to n = m, and the sum simply stops.
#
# **Where does it stop?** At the end of the row, and at the end of an episode, by whichever flag: the
# next step belongs to another episode. So `terminated` has two effects (V(s') is 0, and the sum
# stops) and `truncated` has one (the sum stops). The sum never crosses the end of an episode.
#
# **Exercise 3.** Write it.


# %% tags=["exercise", "gae"]
def gae(reward, value, next_value, terminated, truncated, mask, gamma, lam):
    """Σ_l (γλ)^l δ_{t+l}, as far as the episode and the row go.

    The arguments are those of td_errors, and λ.
    result: [S, N, T]; where the mask is false whatever you like
    """
    ### BEGIN SOLUTION
    delta = td_errors(reward, value, next_value, terminated, truncated, mask, gamma)
    goes_on = mask & ~terminated & ~truncated
    result = torch.zeros_like(delta)
    later = torch.zeros_like(delta[..., 0])
    for t in reversed(range(delta.shape[-1])):
        later = delta[..., t] + gamma * lam * goes_on[..., t] * later
        result[..., t] = later
    return result
    ### END SOLUTION


# %%
course.check("gae", gae)

# %% [markdown]
# ### The masked step
#
# Vector environments run on. When one of them has ended an episode, its next call of `step`
# ignores the action and returns the first observation of a new episode. That is a row in the
# data, but not a step of any episode. Let us look at one.

# %%
envs = pgzoo_envs.make("CartPole-v1", 1)
obs, _ = envs.reset(seed=[3])
ended = np.array([False])
for step in range(12):
    was_over = ended[0]
    obs, reward, terminated, truncated, _ = envs.step(np.array([1]))  # always to the right
    ended = terminated | truncated
    if ended[0] or was_over:
        print(f"step {step}: reward {reward[0]:.0f}, terminated {bool(terminated[0])}, ", end="")
        print(f"pole's angle afterwards {obs[0][2]:+.2f}", "  <- the reset" * bool(was_over))
    if was_over:
        assert reward[0] == 0
        assert abs(obs[0][2]) <= 0.05
        break
envs.close()

# %% [markdown]
# The observation at the end is the true last one, with the pole fallen; the next
# call brought a fresh start and paid nothing. If this row were taken for a step, a critic would
# learn that a fallen pole leads to a fresh one. `mask` is false there. To see that your `gae`
# keeps two episodes apart, put them into one row and compare with two rows.

# %%
g = torch.Generator().manual_seed(0)
r, w, w_next = (torch.randn(1, 1, 7, generator=g) for _ in range(3))
real = torch.tensor([[[True, True, True, False, True, True, True]]])
over = torch.tensor([[[False, False, True, False, False, False, False]]])
never = torch.zeros_like(over)
one_row = gae(r, w, w_next, over, never, real, 0.9, 0.95)
two_rows = [
    gae(*(x[..., part] for x in (r, w, w_next, over, never, real)), 0.9, 0.95)
    for part in (slice(0, 3), slice(4, 7))
]
assert torch.allclose(one_row[..., :3], two_rows[0])
assert torch.allclose(one_row[..., 4:], two_rows[1])
print("the same advantages, in one row and in two")

# %% [markdown]
# ## Bias and variance along λ
#
# Now we measure. Three critics on one MDP: the exact V; the V of *another* policy, the uniform
# one, as a critic would have it that lags behind; and none, V = 0. The estimates weigh step t
# with
# $\gamma^t A^\lambda_t$ (chapter 1), and the exact gradient is that of an episode whose remainder, where
# the time limit cuts it off, is worth V.
#
# **Question 2.** Which curves will fall with λ, and which will rise? For which critic is there no
# bias at any λ? Is V = 0 with λ = 1 the same as REINFORCE?
#
# <details><summary>Answer</summary>
#
# Variance is larger at λ = 1 than at 0, since more random rewards are in the sum. Bias falls, since less is taken
# from the critic. With the exact V there is no bias for any λ: each $A^{(n)}$ has the mean A(s,
# a). With V = 0 and λ = 1 all rewards are added up and nothing is subtracted: REINFORCE. A small
# bias remains, for what follows a time limit is then worth nothing.
#
# </details>

# %%
gradient = exact_gradient(mdp, table, theta, horizon=horizon, gamma=gamma, continues=True)[0]
uniform = torch.full(pi.shape, 0.5, dtype=torch.float64)
critics = {"exact V": value, "V of the uniform policy": exact_value(mdp, uniform)}
critics["V = 0"] = torch.zeros_like(value)
lams = [0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1.0]
found = {}
for name, critic in critics.items():
    c = critic.float()
    for lam in lams:
        psi = gae(t.reward, c[t.obs], c[t.next_obs], t.terminated, t.truncated, t.mask, gamma, lam)
        weighted = gamma ** torch.arange(horizon) * psi
        estimates = score_gradients(t, weighted, pi).flatten(1) / gradient.norm()
        variance = estimates.var(0).sum().item()
        miss = (estimates.mean(0) - gradient / gradient.norm()).square().sum().item()
        found[name, lam] = max(miss - variance / len(estimates), 0), variance

fig, axes = plt.subplots(1, 3, figsize=(11, 3.4))
for k, name in enumerate(critics):
    bias, variance = np.array([found[name, lam] for lam in lams]).T
    for ax, y in zip(axes, (bias, variance, bias + variance * 8 / 800), strict=True):
        ax.plot(lams, y, "os^"[k] + "-", color=COLOURS[[2, 1, 4][k]], label=name)
titles = ("bias²", "variance, 8 episodes", "bias² + variance, 800 episodes")
for ax, title in zip(axes, titles, strict=True):
    ax.set(xlabel="λ", title=title, ylim=(0, None))
axes[0].set_ylabel("relative to ‖∇J‖²")
axes[2].set(yscale="log", ylim=(0.005, 1))
axes[1].legend(loc="upper left")
fig.suptitle("λ trades the critic's bias for the rewards' noise")
fig.tight_layout()
plt.show()

for episodes in (8, 80, 800):  # variance falls as 1/N
    best = {}
    for name in critics:
        errors = [
            bias + variance * 8 / episodes for bias, variance in (found[name, k] for k in lams)
        ]
        best[name] = lams[int(np.argmin(errors))]
    print(f"λ with the least error at {episodes:3} episodes:", best)
    if episodes == 8:
        assert best["V = 0"] <= 0.4
assert best["exact V"] == 0 < best["V = 0"]
assert all(found["exact V", lam][0] < 0.01 for lam in lams)
assert found["V = 0", 0.0][0] > 0.2 > 0.1 > found["V = 0", 1.0][0]
assert found["V of the uniform policy", 0.0][0] > 3 * found["V of the uniform policy", 0.8][0]
for name in critics:
    assert found[name, 1.0][1] > 1.5 * found[name, 0.0][1]

# %% [markdown]
# The exact critic has no bias. Here its variance is least at λ = 0, so λ = 0 is best,
# whatever the batch. For the others it depends on N. With eight episodes the noise is larger than any
# bias, and here even a critic that knows nothing is best used at a small λ. Variance falls as 1/N with more episodes (and over many
# updates it averages out). Bias stays. So the more data there are, the less should be taken from
# a bad critic.
#
# **Question 3.** On which of the three critics would you expect the *direction* of the mean estimate
# to be wrong at λ = 0? In which way would a bias without a wrong direction be harmless?
#
# <details><summary>Answer</summary>
#
# See the next cell. A mere scale would be absorbed by the step size, as in chapter 3. A wrong
# direction is not.
#
# </details>

# %%
for name, critic in critics.items():
    c = critic.float()
    for lam in (0.0, 1.0):
        psi = gae(t.reward, c[t.obs], c[t.next_obs], t.terminated, t.truncated, t.mask, gamma, lam)
        mean = score_gradients(t, gamma ** torch.arange(horizon) * psi, pi).mean(0).flatten()
        cosine = (mean @ gradient / mean.norm() / gradient.norm()).item()
        print(
            f"{name:24} λ = {lam:.0f}: {np.degrees(np.arccos(min(cosine, 1))):4.1f}° off the gradient"
        )
        if name == "V = 0":
            assert (cosine < 0.95) == (lam == 0)

# %% [markdown]
# ## What V is fitted to
#
# A critic is fitted by regression: $V(s_t)$ towards a target. The target can be the return
# (unbiased, noisy) or one that bootstraps, $r_t + \gamma V(s_{t+1})$, or anything between,
# $A^\lambda_t + V(s_t)$. With a bootstrap, V occurs twice in the squared error
#
# $$\big(V(s_t) - [\,r_t + \gamma V(s_{t+1})\,]\big)^2 ,$$
#
# and yet only the first is moved: the target is a number, not a function of the critic's
# parameters. In PyTorch it is detached. Why? Suppose we minimised the whole thing, in both. The
# mean of δ² is
#
# $$E[\delta^2 \mid s] = \big(E[\delta \mid s]\big)^2 + \operatorname{Var}[\delta \mid s] .$$
#
# The first term is zero at the true V. The second is not, and it can be made smaller, by values of
# the *next* states that are more alike than the truth. So minimising δ² converges to values that are nearer to each other than the truth. (Sutton and
# Barto discuss it as the naive residual-gradient algorithm, section 11.5.)
#
# **Exercise 4.** Write the loss: the mean over a replica's real steps, with the gradient through $V(s_t)$
# alone.


# %% tags=["exercise", "value_loss"]
def value_loss(reward, value, next_value, terminated, truncated, mask, gamma):
    """Mean over real steps of (V(s_t) − target)², the target r_t + γ V(s_{t+1}) held fixed.

    The arguments are those of td_errors.
    result: [S], one loss for each replica
    """
    ### BEGIN SOLUTION
    target = reward + gamma * torch.where(terminated, 0, next_value)
    square = torch.where(mask, value - target.detach(), 0).square()
    return square.sum((1, 2)) / mask.sum((1, 2))
    ### END SOLUTION


# %%
course.check("value_loss", value_loss)


# %% [markdown]
# We fit a table by both, ten seeds each, on fresh episodes in every iteration.


# %%
def squared_td_error(reward, value, next_value, terminated, truncated, mask, gamma):
    """The same without detach."""
    target = reward + gamma * torch.where(terminated, 0, next_value)
    return torch.where(mask, value - target, 0).square().sum((1, 2)) / mask.sum((1, 2))


def fitted(loss, iterations=400, seeds=10):
    """V(s) [iterations, seeds, n] by gradient descent."""
    v, s, path = torch.zeros(seeds, len(pi)), torch.arange(seeds).view(-1, 1, 1), []
    for i in range(iterations):
        v = v.requires_grad_()
        x = simulate(mdp, pi, horizon=horizon, batches=seeds, episodes=16, seed=100 + i)
        per_seed = loss(
            x.reward, v[s, x.obs], v[s, x.next_obs], x.terminated, x.truncated, x.mask, gamma
        )
        (slope,) = torch.autograd.grad(per_seed.sum(), v)
        v = v.detach() - 0.3 * slope
        path.append(v.clone())
    return torch.stack(path)


fits = {
    "target detached": fitted(value_loss),
    "gradient through the target": fitted(squared_td_error),
}
fig, ax = plt.subplots(figsize=(7.5, 3.4))
for k, (name, path) in enumerate(fits.items()):
    error = (path - value.float()).norm(dim=-1) / value.norm()  # [iterations, seeds]
    ax.plot(error, color=COLOURS[[2, 4][k]], alpha=0.25, linewidth=0.8)
    ax.plot(error.mean(1), color=COLOURS[[2, 4][k]], label=name)
ax.set(xlabel="iterations", ylabel="‖V − exact V‖ / ‖exact V‖", ylim=(0, 1))
ax.set_title("With a gradient through the target, V converges to something else")
ax.legend()
plt.show()
for name, path in fits.items():
    print(f"{name:28}", path[-100:].mean((0, 1)).numpy().round(2))
print(f"{'exact V':28}", value.numpy().round(2))
last = {name: (path[-100:].mean((0, 1)) - value.float()).norm() for name, path in fits.items()}
assert last["target detached"] < 0.25 * last["gradient through the target"]

many = simulate(mdp, pi, horizon=horizon, batches=1, episodes=50_000, seed=7)
onehot = torch.nn.functional.one_hot
after = onehot(many.next_obs, len(value)) * ~many.terminated.unsqueeze(-1)
coefficients = (onehot(many.obs, len(value)) - gamma * after)[many.mask]  # δ = r − coefficients · V
least = torch.linalg.lstsq(
    coefficients, many.reward[many.mask].unsqueeze(-1), driver="gelsd"
).solution.flatten()
print(f"{'least mean of δ²':28}", least.numpy().round(2))
naive = fits["gradient through the target"][-100:].mean((0, 1))
assert torch.allclose(naive, least, atol=0.3)

# %% [markdown]
# Thin lines are seeds. The second critic is finished, and wrong.
#
# ### How good is a critic?
#
# The usual figure is the **explained variance**, 1 − Var(target − prediction) / Var(target), over
# all real steps. 1 is a perfect critic, 0 is no better than a constant, and it can be negative. (1 is
# perfect up to a constant: V + 5 of Question 1 has the same figure, and a biased gradient.)
#
# **Exercise 5.** Write it.


# %% tags=["exercise", "explained_variance"]
def explained_variance(prediction, target, mask):
    """1 − Var(target − prediction) / Var(target) over all real steps of each replica.

    prediction, target: [S, N, T]; padding may hold anything
    mask: true on real steps, [S, N, T]
    result: [S]
    """

    ### BEGIN SOLUTION
    def variance(x):
        count = mask.sum((1, 2), keepdim=True)
        mean = torch.where(mask, x, 0).sum((1, 2), keepdim=True) / count
        return torch.where(mask, x - mean, 0).square().sum((1, 2)) / count.flatten()

    return 1 - variance(target - prediction) / variance(target)
    ### END SOLUTION


# %%
course.check("explained_variance", explained_variance)

# %% [markdown]
# **Question 4.** The exact V predicts returns. What is its explained variance: 1, or less?

# %%
corridor = mdps.corridor(6)
coin = torch.full(corridor.reward.shape, 0.5, dtype=torch.float64)
explained = {}
for name, problem, policy in (("garnet", mdp, pi), ("corridor", corridor, coin)):
    long = simulate(problem, policy, horizon=200, batches=1, episodes=2000, seed=6)
    returns = returns_to_go(long.reward, long.mask, gamma)
    exact = exact_value(problem, policy).float()
    noise = torch.randn(len(exact), generator=torch.Generator().manual_seed(0))
    for kind, critic in (("exact V", exact), ("V + noise", exact + 0.3 * exact.std() * noise)):
        explained[name, kind] = explained_variance(critic[long.obs], returns, long.mask).item()
        print(f"{name:8} {kind:10} {explained[name, kind]:+.2f}")
    lifted_by_5 = explained_variance(exact[long.obs] + 5, returns, long.mask).item()
    assert abs(lifted_by_5 - explained[name, "exact V"]) < 1e-4
assert 0 < explained["garnet", "exact V"] < 0.3
assert explained["garnet", "exact V"] < explained["corridor", "V + noise"]
assert explained["corridor", "V + noise"] < explained["corridor", "exact V"] < 0.9

# %% [markdown]
# <details><summary>Answer</summary>
#
# Less, and it may be far less. V(s) is the *mean* return from s on; the return itself is random,
# and no function of the state can know it. The best possible value is the share of the returns'
# variance that the state determines. A low explained variance may mean a bad critic or noisy
# returns: on `garnet` even the exact V explains little, on `corridor` a wrong one explains more.
# Compare critics on the same data.
#
# </details>
#
# ## Truncation is not termination
#
# Many training loops have the line `done = terminated or truncated`, and then bootstrap with
# `(1 - done)`. What does it do? It says that after the time limit nothing is earned. The critic
# learns values of a world that ends there; the policy learns for that world.
#
# Here is a small one. In each of four states you may *spend*: +1, and back to state 0. Or *save*:
# nothing now, and on to the next state. In the last state saving pays 5, again and again. There
# are no terminal states. For training, episodes start anywhere and are cut off after **two**
# steps.

# %%
SPEND, SAVE = 0, 1
transition, reward = np.zeros((4, 2, 4)), np.zeros((4, 2))
transition[:, SPEND, 0] = 1.0
reward[:, SPEND] = 1.0
for s in range(4):
    transition[s, SAVE, min(s + 1, 3)] = 1.0
reward[3, SAVE] = 5.0
savings = FiniteMDP.from_arrays(transition, reward, np.full(4, 0.25))
always = torch.eye(2, dtype=torch.float64)
for name, action in (("always spend", SPEND), ("always save", SAVE)):
    print(f"{name:12} V(s) =", exact_value(savings, always[action].expand(4, 2)).numpy().round(1))

# %% [markdown]
# To save is worth far more from every state. We train a table as actor and a table
# as critic, with your `gae`, in two ways that differ in one line. Ten seeds each; the policies'
# true worth is computed, not sampled.


# %%
def train_saver(treat_as_terminal, first_seed, iterations=150, seeds=10):
    """Worth of the policy [iterations, seeds], final V [seeds, n], and π(save|s) [seeds, n]."""
    theta = torch.zeros(seeds, 4, 2, dtype=torch.float64)
    v, s, worth = torch.zeros(seeds, 4), torch.arange(seeds).view(-1, 1, 1), []
    for i in range(iterations):
        pi = theta.softmax(-1).clamp(min=1e-6)
        x = simulate(savings, pi, horizon=2, batches=seeds, episodes=16, seed=first_seed + i)
        done = x.terminated | x.truncated if treat_as_terminal else x.terminated
        psi = gae(x.reward, v[s, x.obs], v[s, x.next_obs], done, x.truncated, x.mask, gamma, 0.9)
        theta = theta + 0.3 * score_gradients(x, psi, pi)
        visits, errors = torch.zeros(seeds, 4), torch.zeros(seeds, 4)
        place = (s.expand(x.obs.shape), x.obs)
        visits.index_put_(place, torch.ones_like(psi), accumulate=True)
        errors.index_put_(place, psi, accumulate=True)
        v = v + 0.3 * errors / visits.clamp(min=1)  # towards the target A + V
        worth.append(exact_value(savings, pi) @ torch.tensor(savings.start))
    return torch.stack(worth), v, pi[..., SAVE]


results = {
    "only terminated ends the value": train_saver(treat_as_terminal=False, first_seed=1000),
    "terminated or truncated": train_saver(treat_as_terminal=True, first_seed=2000),
}
fig, ax = plt.subplots(figsize=(7.5, 3.4))
for k, (name, (worth, _, _)) in enumerate(results.items()):
    ax.plot(worth, color=COLOURS[[2, 4][k]], alpha=0.3, linewidth=0.8)
    ax.plot(worth.mean(1), color=COLOURS[[2, 4][k]], label=name)
ax.set(xlabel="iterations", ylabel="true worth of the policy", ylim=(0, None))
ax.set_title("One word in one line decides what is learned; ten seeds each")
ax.legend(loc="lower right")
plt.show()
for name, (worth, v, save) in results.items():
    print(f"{name:32} worth {worth[-1].min():.1f} … {worth[-1].max():.1f}", end="; ")
    print("mean V", v.mean(0).numpy().round(1), "π(save)", save.mean(0).numpy().round(2))
right, wrong = (worth[-1] for worth, _, _ in results.values())
assert right.min() > 1.2 * wrong.max()
assert results["terminated or truncated"][2][:, 0].max() < 0.2

assert math.comb(20, 10) == 184_756

# %% [markdown]
# All ten seeds of the one are above all ten of the other: if both were equally
# good, that would happen with probability 2/184,756, which is two over the number of ways to choose
# ten of twenty. (The two ways use different random numbers.) The wrong critic believes that nothing lies
# beyond two steps, so state 0 never learns to save. The data were the same kind of data; the
# mistake is in the bookkeeping.
#
# **Question 5.** CartPole is cut off after 500 steps, and most people use γ = 0.99. Would you expect the
# wrong line to do as much harm there?
#
# <details><summary>Answer</summary>
#
# I would expect less. V looks ahead about 1/(1 − γ) = 100 steps, so most states have no limit in view. And the
# action that is best is the same with and without what lies beyond: to keep the pole upright. The
# critic is still wrong near the limit. It learns that good states are sometimes worth nothing, and
# nothing in the observation says when. With a short limit, or a task in which what pays comes late,
# it matters. That a mistake does little harm on CartPole is no evidence that it is none.
#
# </details>
#
# There is a case in which the time limit *is* the task: "earn as much as you can in two steps".
# Then an episode that is cut off is worth nothing more, the step number belongs into the state,
# and J is the other objective of the laboratory (`limit="ends"`). What is wrong is to mean the
# one and code the other.

# %% [markdown]
# ## LunarLander
#
# A lander is to come down on a pad, with three engines. The way down to the pad is worth 100 to 140
# in all, landing another 100, crashing −100, and firing costs a little. An episode has some hundred
# steps, and the landing comes at its end: a long way for credit to travel.
#
# pgzoo's `actor-critic` is what this chapter derived: segments of running environments, V(s) by
# λ-returns, Ψ = GAE. Ten seeds, 60,000 steps each, is what fits into this hour. The documented
# training has ten times as many steps (the README shows its results). The step sizes below are
# twice the documented ones, chosen on other seeds for so short a training. What can ten short
# runs show?

# %%
run = pgzoo.train(
    "actor-critic",
    env="LunarLander-v3",
    seeds=10,
    steps=60_000,
    learning_rate=6e-3,
    critic_learning_rate=4e-3,
    diagnostics=0,
    progress=False,
)
fig, ax = plt.subplots(figsize=(7, 3.4))
run.plot(ax)
plt.show()
early = run.metrics[run.metrics.env_steps <= 6_000].groupby("seed").return_last_100.last()
after = np.array(run.summary["eval_mean"])
interval = interquartile_mean_interval(after)
print("mean return up to step 6,000, seed by seed:", early.to_numpy().round().astype(int))
print("of 100 fresh episodes after training:      ", after.round().astype(int))
print(
    f"interquartile mean {interval.point:.0f} [{interval.low:.0f}, {interval.high:.0f}]", end=", "
)
print(f"solved (200): {sum(run.summary['solved'])} of 10")
assert sum(run.summary["solved"]) < 5
assert (after > early).sum() >= 9

# %%
run.film(seed=0, at=(0, 100), seconds=6)

# %% [markdown]
# The film shows the untrained policy beside the trained one, in an episode with the same start.
#
# What may be said: nearly every seed is better after training than in its first 6,000 steps, and the
# interval above is that of their mean return. What may *not* be said: that this agent solves
# LunarLander, or that it is better than another one. And the order of two agents at 60,000 steps need
# not be their order at 600,000. Chapter 8 compares agents as it should be done.

# %% [markdown]
# ## What to remember
#
# * The mean TD error of the exact V is the advantage. GAE is the exponentially weighted mean of
#   n-step advantages, and a sum of TD errors with (γλ)^l.
# * As a baseline, a critic that was fitted on other data cannot bias the gradient. Where it stands in
#   for rewards it can.
# * λ trades that bias for variance. Which λ is best depends on the critic and on the batch.
# * The critic's target is a number: detach it.
# * Only `terminated` ends the value. `truncated` and the end of a row end the data, and a reset is
#   no step at all.
#
# ## Further reading
#
# * R. S. Sutton, A. G. Barto (2018), *Reinforcement Learning: An Introduction*, 2nd edition:
#   chapter 6 (TD), chapter 7 (n-step), 11.5 (gradient through the target), 13.5 (actor-critic).
# * J. Schulman, P. Moritz, S. Levine, M. Jordan, P. Abbeel (2016), *High-dimensional continuous
#   control using generalized advantage estimation*, ICLR, arXiv 1506.02438: equations 11–16.
# * F. Pardo, A. Tavakoli, V. Levdik, P. Kormushev (2018), *Time limits in reinforcement learning*,
#   ICML, arXiv 1712.00378: when a time limit is part of the task, and when it is not.
# * R. S. Sutton, D. McAllester, S. Singh, Y. Mansour (1999), *Policy gradient methods for
#   reinforcement learning with function approximation*, NIPS: when a learned critic leaves the
#   gradient exact.
