# %% [markdown]
# # 7. Trust regions
#
# A gradient is true at one point. As soon as a step is taken, the episodes that it was computed from are those of
# another policy, and so far we threw them away. This chapter uses them again: with importance ratios, which make the
# estimate right, and with clipping, which keeps it from going too far. Together with a critic that is PPO.
#
# **Afterwards you can**
#
# - derive the importance ratio of a step and of an episode, and say why the second one is rarely used;
# - show that the surrogate has the gradient of J at the old policy, and what happens as it moves away;
# - say for which steps the clipped surrogate has a gradient, and write it, and the loss of PPO;
# - measure how far an update went, with an estimate of the KL divergence that fits;
# - judge from an experiment how many epochs a batch is good for.
#
# **Before**: chapters 1 to 5 (score function, Ψ, GAE, leave one out). KL divergence, change of measure in an
# expectation; gradients in torch. **Time**: about an hour.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import pgzoo
from pgzoo import course, estimators
from pgzoo.lab import FiniteMDP, exact_gradient, expected_return, mdps, score_gradients, simulate
from pgzoo.policies.networks import Table
from pgzoo.records.style import COLOURS, STYLE

plt.rcParams.update(STYLE)
BLUE, ORANGE, GREEN = COLOURS[:3]

# %% [markdown]
# ## Importance ratios
#
# Write $\pi_{old}$ for the policy that acted and $\pi$ for the one we would like to know about. The probability of
# a whole trajectory $\tau$ is
# $p(s_0)\prod_t \pi(a_t|s_t)\,p(s_{t+1}|s_t,a_t)$. In the quotient of the two policies' probabilities the start and the
# transitions cancel, which is fortunate, since nobody knows them:
#
# $$w(\tau) = \frac{p_\pi(\tau)}{p_{old}(\tau)} = \prod_t \rho_t, \qquad
#   \rho_t = \frac{\pi(a_t|s_t)}{\pi_{old}(a_t|s_t)} = e^{\log\pi(a_t|s_t)-\log\pi_{old}(a_t|s_t)} .$$
#
# For any function f of a trajectory, $E_{old}[w f] = \sum_\tau p_{old}\,\frac{p_\pi}{p_{old}}\, f = E_\pi[f]$, if
# $\pi_{old}(a|s) > 0$ wherever $\pi(a|s) > 0$: what the old policy never does tells nothing. The order
# is easy to confuse and easy to check: the new policy stands above, and the policy that acted below. Rows are
# padded, and an empty step changes no product: its ratio is 1. In the padding anything may stand, NaN too, and
# since 0 · NaN is NaN, it has to be selected away (`torch.where`), not multiplied away.
#
# ### Exercise: `importance_ratio`


# %% tags=["exercise", "importance_ratio"]
def importance_ratio(log_prob, old_log_prob, mask):
    """Ratio of every step, and the weight of every trajectory.

    Args:
        log_prob: log π(a_t|s_t), [S, N, T]; anything, NaN included, where the mask is false.
        old_log_prob: log π_old(a_t|s_t), [S, N, T]; the same.
        mask: true on real steps, [S, N, T].

    Returns:
        (ratio [S, N, T], 1 where the mask is false; weight [S, N], the product over the steps).
    """
    ### BEGIN SOLUTION
    log_ratio = torch.where(mask, log_prob - old_log_prob, 0)
    return log_ratio.exp(), log_ratio.sum(-1).exp()
    ### END SOLUTION


# %%
course.check("importance_ratio", importance_ratio)

# %% [markdown]
# Does it work? Episodes of a uniform policy on a small random MDP tell the return of another policy, which we also
# know exactly. What stands behind a ± in this chapter is two standard errors.

# %%
mdp, states, actions, horizon = mdps.garnet(0, states=6, actions=3), 6, 3, 10
network = Table(states, actions)
old = torch.zeros(1, states * actions, dtype=torch.float64)
direction = exact_gradient(mdp, network, old, horizon=horizon)
direction = direction / direction.norm()


def table(theta):
    """π(a|s) [n, A] of a row of parameters."""
    return theta.view(states, actions).softmax(-1)


t = simulate(mdp, table(old), horizon=horizon, batches=4_000, episodes=16, seed=0)
togo = (t.reward.double() * t.mask).flip(-1).cumsum(-1).flip(-1)
new = old + direction
log_prob = table(new).log()[t.obs, t.action]
ratio, weight = importance_ratio(log_prob, t.log_prob.double(), t.mask)
weighted = (weight * togo[..., 0]).mean(1)
before, after = (expected_return(mdp, network, x, horizon=horizon).item() for x in (old, new))
error = weighted.std().item() / len(weighted) ** 0.5
print(f"J of the old policy {before:.2f}, of the new one {after:.2f}")
print(f"weighted episodes of the old policy: {weighted.mean():.2f} ± {2 * error:.2f}")
assert abs(weighted.mean() - after) < 5 * error

# %% [markdown]
# ## The price of a product
#
# Unbiased is not enough. If the states do not matter and every step has $E_{old}[\rho^2] = 1+\chi^2$, then
# $E[w] = 1$ and
#
# $$E_{old}[w^2] = \prod_t E_{old}[\rho_t^2] = (1+\chi^2)^T,\qquad \mathrm{Var}\,w = (1+\chi^2)^T - 1 .$$
#
# It grows exponentially with the length of the episode, while the ratio of a single step stays as it is.
#
# **Predict**: a coin that was fair, and should now show heads with probability 0.6. Which share of the information is
# left after 40 tosses? N weighted episodes are worth about $N/E[w^2]$ unweighted ones (the *effective sample size*).

# %%
coin = FiniteMDP.from_arrays(np.ones((1, 2, 1)), np.zeros((1, 2)), np.ones(1))
fair, bent = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.6, 0.4]])
tosses = simulate(coin, fair, horizon=40, batches=1, episodes=200_000, seed=0)
log_ratio = (bent / fair).log()[0][tosses.action].double()
products = log_ratio.cumsum(-1).exp()[0]  # weights of the first T tosses, [N, T]
lengths = np.arange(1, 41)
growth = 1.04**lengths - 1  # E[ρ²] = 0.5 (1.2² + 0.8²) = 1.04
measured = products.var(0).numpy()
np.testing.assert_allclose(measured, growth, rtol=0.1)
print(f"after 40 tosses, N episodes are worth {1 / 1.04**40:.2f} N")
assert len(str(int(1.04**500))) == 9

fig, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
ax.plot(lengths, growth, color=BLUE, lw=1, label="$1.04^T - 1$")
ax.plot(lengths[::3], measured[::3], "o", color=BLUE, ms=5, label="product of T ratios, measured")
ax.plot(lengths, log_ratio.exp()[0].var(0), "-", color=ORANGE, label="ratio of step T alone")
ax.set(
    title="A product of ratios varies exponentially",
    xlabel="steps T",
    ylabel="variance",
    yscale="log",
)
ax.legend(loc="center right")
plt.show()

# %% [markdown]
# On CartPole an episode has up to 500 steps: with the same small change, $1.04^{500}$ has nine digits. Nobody weighs
# whole episodes there.
#
# ## The surrogate
#
# So each step keeps its own ratio only:
#
# $$L(\theta) = E_{old}\Big[\sum_t \rho_t(\theta)\,\Psi_t\Big].$$
#
# Because $\nabla\rho_t = \rho_t\nabla\log\pi(a_t|s_t)$, its gradient is
#
# $$\nabla L(\theta) = E_{old}\Big[\sum_t \rho_t\,\Psi_t\,\nabla\log\pi_\theta(a_t|s_t)\Big]:$$
#
# **the effective weight is ρΨ.** At $\theta_{old}$ all ratios are 1, and for every Ψ that gives an unbiased policy gradient
# $\nabla L = \nabla J$: one step on the surrogate is a step of policy gradient. Further away two things are wrong. The states are those that the *old* policy comes to.
# And $\Psi_t$ says what *its* actions earned from there on. Only the action at t itself is corrected. The bias is
# zero at $\theta_{old}$, and elsewhere, for episodes of more than one step, in general not; in exchange, there is no product.
#
# The sum is over the steps of an episode, and the mean over episodes. A loss in code is mostly a mean over all real steps
# of the batch. On one batch that is the same direction, divided by the number of steps in an episode, in the mean of
# the batch, which is random; so the step is longer or shorter from batch to batch.
#
# Measured: we walk from $\theta_{old}$ along the gradient and compare, at every point, three estimates of ∇J there, from
# the same episodes of the old policy: weight $w$, weight $\rho_t$, and $\rho_t$ where it is not clipped (next section).
# The distance is the divergence KL(π_old ‖ π), in nats (natural logarithms), estimated by *k3*, $\rho - 1 - \log\rho$; the section
# "How far did it go?" derives it. The bias is the length of (mean of n estimates − ∇J). A mean that is right has a length
# as well, by chance: its square is trace/n in the mean (trace: of the estimates' covariance). We subtract that, and a
# bias below $\sqrt{\mathrm{trace}/n}$, the dotted lines, cannot be told from zero.

# %%
psi = estimators.leave_one_out_per_step(togo, t.mask, 16)
distances = np.array([0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0])
found = {"product w": [], "ratio ρ": [], "ratio, clipped at 0.2": []}
divergence, promised = [], []
for distance in distances:
    theta = old + distance * direction
    pi, exact = table(theta), exact_gradient(mdp, network, theta, horizon=horizon)
    log_prob = pi.log()[t.obs, t.action]
    ratio, weight = importance_ratio(log_prob, t.log_prob.double(), t.mask)
    kl = estimators.kl_estimate(t.log_prob.double(), log_prob, "k3")
    divergence.append(estimators.step_mean(kl, t.mask).mean().item())
    weights = (weight.unsqueeze(-1) * psi, ratio * psi, estimators.clipped_weight(ratio, psi, 0.2))
    for name, effective in zip(found, weights, strict=True):
        estimates = score_gradients(t, effective, pi).flatten(1)
        trace = estimates.var(0).sum()
        noise = trace / len(estimates)
        square = (estimates.mean(0) - exact[0]).square().sum() - noise
        bias, floor = (x.clamp(min=0).sqrt() / exact.norm() for x in (square, noise))
        scale = (estimates.mean(0) * exact[0]).sum() / exact.square().sum()
        found[name].append((bias.item(), trace.item(), scale.item(), floor.item()))

fig, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for (name, values), colour, marker in zip(found.items(), COLOURS, "os^", strict=False):
    for ax, value in zip(axes, np.transpose(values)[:2], strict=True):
        ax.plot(divergence[1:], value[1:], color=colour, marker=marker, label=name)
    axes[0].plot(divergence[1:], np.transpose(values)[3, 1:], ":", color=colour, lw=1)
axes[0].set(title="Bias: the product has none", ylabel="‖bias‖ / ‖∇J‖; dotted: its noise")
axes[1].set(
    title="Variance: the product pays for it", ylabel="trace of the covariance", yscale="log"
)
for ax in axes:
    ax.set(xlabel="KL(π_old ‖ π), nats per step", xscale="log")
axes[0].legend()
plt.show()

product, single, clipped = (np.array(v) for v in found.values())
print("at the largest distance: relative bias, variance, mean along ∇J, noise of the bias")
for name, values in found.items():
    print(f"{name:24}", "  ".join(f"{v:7.2f}" for v in values[-1]))
assert np.allclose(product[0], single[0])  # at θ_old they are the same
assert single[-1, 0] > single[1, 0]
assert (product[:, 0] < 3 * product[:, 3]).all()  # no bias that could be seen
assert single[-1, 0] > 5 * single[-1, 3]
assert product[-1, 0] < single[-1, 0]
assert product[-1, 1] > 10 * single[-1, 1]
assert clipped[-1, 0] > 2 * single[-1, 0]
assert clipped[-1, 2] < 0  # it points back

# %% [markdown]
# Look at the third line. Beyond a distance, clipping is *not* a better estimate of the gradient: far out it has lost the
# steps that pushed on, keeps those that pull back, and its mean points against ∇J. That is its purpose. It
# does not correct the gradient, it ends the walk.
#
# The same on any environment, for RLOO and Dr. GRPO with several ε: `pgzoo lab drift --env CartPole-v1`.
#
# **Question.** Ψ is computed once, with the old policy, and then stays as it is for all steps on the batch. What would
# be wrong with computing it anew, by the ratios, for every θ, and differentiating through it?
#
# <details><summary>Answer</summary>
#
# Computing it anew would be legitimate (V-trace and others do), but needs the product of the ratios that
# follow. Differentiating through it would not: the policy gradient theorem multiplies Ψ with ∇log π and has no ∇Ψ.
# Ψ is a number by then, and `detach()` says so.
#
# </details>

# %% [markdown]
# ## Clipping
#
# PPO (Schulman et al. 2017, eq. 7) maximises, for every step,
#
# $$\min\big(\rho\,\Psi,\ \mathrm{clip}(\rho, 1-\varepsilon, 1+\varepsilon)\,\Psi\big),$$
#
# the smaller of the two, so that the surrogate is never more than ρΨ. Go through the cases:
#
# | | ρ < 1 − ε | within | ρ > 1 + ε |
# |---|---|---|---|
# | Ψ > 0: the action was good | ρΨ, *has a gradient* | ρΨ | (1 + ε)Ψ, **flat** |
# | Ψ < 0: the action was bad | (1 − ε)Ψ, **flat** | ρΨ | ρΨ, *has a gradient* |
#
# It is flat where the policy has already moved far *in the direction that Ψ asks for*. Where it has moved the wrong way
# (a good action became rarer, a bad one more frequent), the gradient stays, and leads back. Without the minimum,
# with the clipped ratio alone, this way back would be closed.
#
# ### Exercise: `clipped_surrogate`
#
# Return the surrogate of every step, to be *maximised*. It will be differentiated by `log_prob`. Nothing may flow into
# `psi`, even if it requires a gradient, as it does when a critic has computed it.


# %% tags=["exercise", "clipped_surrogate"]
def clipped_surrogate(log_prob, old_log_prob, psi, clip):
    """min(ρΨ, clip(ρ, 1−ε, 1+ε)Ψ) of every step.

    Args:
        log_prob: log π(a_t|s_t), [S, N, T], which may require a gradient.
        old_log_prob: log π_old(a_t|s_t), [S, N, T].
        psi: Ψ, [S, N, T], taken as constants.
        clip: ε.

    Returns:
        [S, N, T].
    """
    ### BEGIN SOLUTION
    ratio = (log_prob - old_log_prob).exp()
    psi = psi.detach()
    return torch.minimum(ratio * psi, ratio.clamp(1 - clip, 1 + clip) * psi)
    ### END SOLUTION


# %%
course.check("clipped_surrogate", clipped_surrogate)

# %% [markdown]
# ### Exercise: `effective_weight`
#
# What stands before ∇log π in its gradient? By the table: ρΨ where the surrogate is ρΨ, and 0 where it is flat. Write it
# without differentiating.


# %% tags=["exercise", "effective_weight"]
def effective_weight(ratio, psi, clip):
    """The weight of ∇log π in the gradient of the clipped surrogate.

    Args:
        ratio: ρ, [S, N, T].
        psi: Ψ, [S, N, T].
        clip: ε.

    Returns:
        [S, N, T].
    """
    ### BEGIN SOLUTION
    too_far_up = (psi > 0) & (ratio > 1 + clip)
    too_far_down = (psi < 0) & (ratio < 1 - clip)
    return torch.where(too_far_up | too_far_down, 0, ratio * psi)
    ### END SOLUTION


# %%
course.check("effective_weight", effective_weight)

# %% [markdown]
# The two belong together: the derivative of the one by log π is the other.

# %%
rho = torch.linspace(0.4, 1.8, 281, dtype=torch.float64)
fig, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for sign, colour, dashes in ((1.0, BLUE, "-"), (-1.0, ORANGE, "--")):
    log_rho = rho.log().requires_grad_()
    value = clipped_surrogate(log_rho, torch.zeros_like(rho), sign * torch.ones_like(rho), 0.2)
    value.sum().backward()
    by_hand = effective_weight(rho, sign * torch.ones_like(rho), 0.2)
    apart = (rho - 1).abs().sub(0.2).abs() > 1e-6  # at the corners there are two slopes
    assert torch.allclose(log_rho.grad[apart], by_hand[apart])
    axes[0].plot(
        rho, value.detach(), dashes, color=colour, label="Ψ = +1" if sign > 0 else "Ψ = −1"
    )
    axes[1].plot(rho, by_hand, dashes, color=colour)
for ax, title, quantity in (
    (axes[0], "Surrogate: flat where it went far enough", "min(ρΨ, clip(ρ)Ψ)"),
    (axes[1], "Effective weight: two of four sides are 0", "weight of ∇log π"),
):
    ax.axvspan(0.8, 1.2, color="grey", alpha=0.15, lw=0)
    ax.set(title=title, xlabel="ratio ρ; grey: 1 ± ε", ylabel=quantity)
axes[0].legend()
plt.show()

# %% [markdown]
# **Question.** In the very first step on a fresh batch, what does clipping do?
#
# <details><summary>Answer</summary>
#
# Nothing: all ratios are 1. With one epoch (one pass over the batch) and one minibatch (all its steps at once) PPO is an actor-critic whose ε is never used. Clipping
# can matter from the second step on.
#
# </details>
#
# **Question.** Does clipping keep the ratios between 1 − ε and 1 + ε?
#
# <details><summary>Answer</summary>
#
# No, though it is often said. It removes the gradient of a step that is outside. But the step that carried it there was
# taken as a whole, with its step size; and the parameters are shared: the gradients of other steps, and the
# momentum of the optimiser, carry it further. The next experiment counts.
#
# </details>
#
# ## Many steps on one batch
#
# What clipping is worth shows when a batch is used again and again. 200 batches; on each, gradient ascent on the
# surrogate, with and without clipping, and the *true* return of the policy that it leads to. Four times: on a corridor
# (step left, step right, a goal at the end) and on the random MDP from above, with two episodes in a batch and with
# sixteen.
#
# **Predict** before you run it: in which of the four does clipping help, and what does it help?


# %%
def ascend(mdp, horizon, episodes, clip, steps=200, batches=200):
    """True J after every 10 steps [., S], KL per step at the end, and the share of ratios outside 1 ± 0.2."""
    n, a = mdp.num_states, mdp.num_actions
    theta = torch.zeros(batches, n * a, dtype=torch.float64, requires_grad=True)
    uniform = torch.full((n, a), 1 / a, dtype=torch.float64)
    t = simulate(mdp, uniform, horizon=horizon, batches=batches, episodes=episodes, seed=1)
    togo = (t.reward.double() * t.mask).flip(-1).cumsum(-1).flip(-1)
    psi = estimators.whiten(estimators.leave_one_out_per_step(togo, t.mask, episodes), t.mask)
    batch, old_log_prob = torch.arange(batches).view(-1, 1, 1), t.log_prob.double()
    optimiser, returns = torch.optim.SGD([theta], lr=1.0), []
    for step in range(steps + 1):
        log_prob = theta.view(-1, n, a).log_softmax(-1)[batch, t.obs, t.action]
        ratio, _ = importance_ratio(log_prob, old_log_prob, t.mask)
        surrogate = clipped_surrogate(log_prob, old_log_prob, psi, clip) if clip else ratio * psi
        if step % 10 == 0:
            policies = theta.detach()
            returns.append(expected_return(mdp, Table(n, a), policies, horizon=horizon).numpy())
        optimiser.zero_grad()
        (-estimators.step_mean(surrogate, t.mask).sum()).backward()
        optimiser.step()
    kl = estimators.kl_estimate(old_log_prob, log_prob.detach(), "k3")
    outside = ((ratio - 1).abs() > 0.2)[t.mask].double().mean().item()
    return np.stack(returns), estimators.step_mean(kl, t.mask).mean().item(), outside


corridor = mdps.corridor(5)
fig, axes = plt.subplots(2, 2, figsize=(9, 7.6), layout="constrained", sharey="row")
end, best, kl, outside = {}, {}, {}, {}
for ax, (title, world, limit, episodes) in zip(
    axes.flat,
    (
        ("Corridor, 2 episodes", corridor, 20, 2),
        ("Corridor, 16 episodes", corridor, 20, 16),
        ("Random MDP, 2 episodes", mdp, horizon, 2),
        ("Random MDP, 16 episodes", mdp, horizon, 16),
    ),
    strict=True,
):
    for clip, colour in ((None, ORANGE), (0.2, BLUE)):
        curve, kl[title, clip], outside[title, clip] = ascend(world, limit, episodes, clip)
        steps = 10 * np.arange(len(curve))
        label = f"clipped, ε = {clip}" if clip else "not clipped"
        ax.plot(steps, curve.mean(1), color=colour, label=f"{label}: mean")
        ax.fill_between(
            steps, *np.quantile(curve, [0.1, 0.9], axis=1), color=colour, alpha=0.2, lw=0
        )
        end[title, clip], best[title, clip] = curve[-1], curve.mean(1).max()
    ax.set(title=title, xlabel="gradient steps on one batch", ylabel="true J of the policy")
fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
fig.suptitle("200 batches: their mean, and the middle eight tenths of them")
plt.show()

# %%
worst = {case: np.quantile(values, 0.1) for case, values in end.items()}
for case, values in end.items():
    print(
        f"{case[0]:24} ε = {case[1]}: mean {values.mean():6.2f}, worst tenth below {worst[case]:6.2f}, "
        f"KL {kl[case]:.3f}, ratios outside 1 ± 0.2: {outside[case]:.0%}"
    )
titles = list(dict.fromkeys(title for title, _ in end))
gain = {x: end[x, None].mean() - end[x, 0.2].mean() for x in titles}  # of not clipping, in the mean
safe = {x: worst[x, 0.2] - worst[x, None] for x in titles}  # of clipping, in the worst tenth
corridor_2, corridor_16, random_2, random_16 = titles
assert best[corridor_2, None] > end[corridor_2, None].mean() + 0.1  # it rises, and falls again
for title in titles[1:]:  # there alone
    assert best[title, None] < end[title, None].mean() + 0.1
    assert gain[title] > 0.3  # in the mean, not clipping is better
assert gain[corridor_2] < 0.1
assert safe[corridor_2] > 0.3
assert safe[random_2] > 1  # in the worst tenth, clipping is better
assert safe[corridor_16] < 0
assert safe[random_16] < -1  # and here it is worse
assert min(share for (_, clip), share in outside.items() if clip) > 0.3  # ratios stay outside
assert max(value for (_, clip), value in kl.items() if clip) < 0.06  # the walk is short
assert min(value for (_, clip), value in kl.items() if not clip) > 0.5

# %% [markdown]
# Three things that are often said differently:
#
# - Clipping is an insurance, not a better direction. With two episodes in a batch the worst tenth of the policies is far
#   better with clipping, on both MDPs. With sixteen the worst tenth is better *without* it: the batch tells enough, and
#   clipping only ends the walk early. In the mean, ascent without clipping is better in three of the four cases. Only on the
#   corridor with two episodes does it first improve the policy and then spoil it.
# - It does not keep the ratios in the interval: a large share of them is outside at the end.
# - It does keep the walk short, because a step that has gone far enough asks for nothing any more: the KL after 200 steps is
#   a few hundredths with clipping, and one to two nats without.

# %% [markdown]
# ## How far did it go?
#
# The distance between two policies is measured by $KL(\pi_{old}\,\|\,\pi) = E_{old}[\log\pi_{old}(a|s) - \log\pi(a|s)]$, in
# nats per step. From actions of the old policy it can be estimated. Let $r = \rho = \pi/\pi_{old}$:
#
# - $k_1 = -\log r$. Its mean is the divergence, by definition; single values may be negative.
# - $k_2 = \frac12(\log r)^2$. Never negative, and biased.
# - $k_3 = r - 1 - \log r$. Since $E_{old}[r] = 1$, we added a term of mean zero to $k_1$: unbiased. And $r - 1\ge\log r$, so
#   it is never negative either.
#
# (Schulman 2020. In chapter 6 the actions came from π itself, and r stood the other way round.) With three
# actions nothing has to be sampled: mean and deviation are sums.

# %%
policy_old = np.array([0.5, 0.3, 0.2])
rows = []
for shift in (0.1, 0.3, 1.0, 2.0, 4.0):
    policy_new = policy_old * np.exp([shift, 0, -shift])
    policy_new /= policy_new.sum()
    r = policy_new / policy_old
    kl = (policy_old * -np.log(r)).sum()
    estimates = np.array([-np.log(r), 0.5 * np.log(r) ** 2, r - 1 - np.log(r)])
    mean = (policy_old * estimates).sum(1)
    deviation = np.sqrt((policy_old * (estimates - mean[:, None]) ** 2).sum(1))
    rows.append((kl, *mean / kl, *deviation / kl))
    assert np.isclose(mean[0], kl)
    assert np.isclose(mean[2], kl)
print("    KL   mean/KL of k1, k2, k3    deviation/KL of k1, k2, k3")
for kl, *values in rows:
    print(
        f"{kl:6.3f}   " + "  ".join(f"{v:5.2f}" for v in values[:3]),
        "    ",
        "  ".join(f"{v:6.2f}" for v in values[3:]),
    )
assert rows[0][6] < rows[0][4] / 5  # near: k3 varies far less than k1
assert abs(rows[0][2] - 1) < 0.1 < abs(rows[-1][2] - 1)  # k2 is good near, and biased far away

rare_old, rare_new = np.array([0.98, 0.02]), np.array([0.5, 0.5])
r = rare_new / rare_old
k1, k3 = (
    np.sqrt((rare_old * (k - (rare_old * k).sum()) ** 2).sum())
    for k in (-np.log(r), r - 1 - np.log(r))
)
print(f"an action of 2 % that becomes one of 50 %: deviation of k1 {k1:.2f}, of k3 {k3:.2f}")
assert k3 > 2 * k1

# %% [markdown]
# Near the old policy, where PPO should be, k3 is better by far: it is small like the square of log r, k1 like log r itself.
# Far away that can turn over: if an action that was rare becomes frequent, r is huge now and then, and k3 varies more than k1. "k3 has
# the lower variance" is a statement about small steps.
#
# ### Exercise: `how_far`
#
# The two figures that PPO is watched by: KL(π_old ‖ π) by k3, and the share of steps where clipping bites (the two flat
# fields of the table); both are means over the real steps of a replica. Much code counts |ρ − 1| > ε instead, and so
# counts steps that still have a gradient.


# %% tags=["exercise", "how_far"]
def how_far(log_prob, old_log_prob, psi, mask, clip):
    """KL(π_old ‖ π) in nats per step, and the share of steps where clipping bites.

    Args:
        log_prob: log π(a_t|s_t), [S, N, T]; anything, NaN included, where the mask is false.
        old_log_prob: log π_old(a_t|s_t), [S, N, T]; the same.
        psi: Ψ, [S, N, T]; the same.
        mask: true on real steps, [S, N, T].
        clip: ε.

    Returns:
        (kl [S], clipped [S]).
    """
    ### BEGIN SOLUTION
    log_ratio = torch.where(mask, log_prob - old_log_prob, 0)
    ratio = log_ratio.exp()
    bites = ((psi > 0) & (ratio > 1 + clip)) | ((psi < 0) & (ratio < 1 - clip))
    steps = mask.sum((1, 2))
    kl = (ratio - 1 - log_ratio).sum((1, 2)) / steps  # 0 in the padding
    return kl, (bites & mask).sum((1, 2)) / steps
    ### END SOLUTION


# %%
course.check("how_far", how_far)

# %% [markdown]
# How does the step size decide the distance? For a small step α along g,
#
# $$KL(\pi_{\theta}\,\|\,\pi_{\theta+\alpha g}) \approx \tfrac12\,\alpha^2\, g^\top F g, \qquad
#   F = E[\nabla\log\pi\,\nabla\log\pi^\top],$$
#
# with F the Fisher information per step. The divergence grows with the *square* of the step: half the learning rate is
# a quarter of the distance. And a wanted distance δ gives the step: $\alpha = \sqrt{2\delta/g^\top F g}$.
# TRPO (Schulman et al. 2015) does this along $s = F^{-1}g$ instead of g: $\alpha = \sqrt{2\delta/s^\top F s}$, then a line
# search. Trainers with a target for the KL stop the epochs, or change the learning rate, when it is passed.

# %%
along = direction.view(states, actions)
centred = along - (table(old) * along).sum(-1, keepdim=True)  # g·∇log π(a|s), for all s and a
curvature = centred[t.obs, t.action][t.mask].square().mean().item()  # gᵀFg, per step
alphas = np.geomspace(0.05, 3, 12)
measured = []
for alpha in alphas:
    log_prob = table(old + alpha * direction).log()[t.obs, t.action]
    kl, _ = how_far(log_prob, t.log_prob.double(), psi, t.mask, 0.2)
    measured.append(kl.mean().item())
predicted = 0.5 * alphas**2 * curvature
near = alphas < 0.5
np.testing.assert_allclose(np.array(measured)[near], predicted[near], rtol=0.15)

fig, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
ax.plot(alphas, predicted, color=BLUE, lw=1, label="½ α² gᵀFg")
ax.plot(alphas, measured, "o", color=ORANGE, label="measured by k3")
ax.axhline(0.01, color="grey", lw=1, ls="--")
ax.axvline(
    (2 * 0.01 / curvature) ** 0.5, color="grey", lw=1, ls="--", label="step for a target of 0.01"
)
ax.set(
    title="Half the step is a quarter of the distance",
    xlabel="step α along the gradient",
    ylabel="KL(π_old ‖ π), nats per step",
    xscale="log",
    yscale="log",
)
ax.legend()
plt.show()

# %% [markdown]
# **Question.** A run of PPO shows a KL of 0.02 per step; you would like 0.005. By which factor do you change the
# learning rate, and why is that only a first guess?
#
# <details><summary>Answer</summary>
#
# By one half, if the divergence is quadratic in the step. It is a guess because there are many steps in an
# iteration, with Adam's scaling, and clipping holds back the larger ones more than the smaller ones.
#
# </details>
#
# ## PPO
#
# All pieces are there. PPO repeats:
#
# 1. run on for a segment of T steps in each of N environments;
# 2. Ψ = GAE with a learned V (chapter 4), often standardised over the minibatch;
# 3. several *epochs*: shuffle the steps, deal them out into minibatches, and for each take one step of Adam on the
#    clipped surrogate, while V is fitted to its targets.
#
# The optimiser descends, so the loss is minus the mean of the surrogate over the real steps.
#
# ### Exercise: `ppo_loss`
#
# One minibatch of one learner: the network's outputs for all actions, and what is needed of the batch.


# %% tags=["exercise", "ppo_loss"]
def ppo_loss(logits, action, old_log_prob, psi, mask, clip):
    """The loss whose gradient a step of PPO descends.

    Args:
        logits: the policy's preferences, [N, T, A]; they require a gradient.
        action: that was taken, whole numbers [N, T].
        old_log_prob: log π_old(a_t|s_t), [N, T]; anything, NaN included, where the mask is false.
        psi: Ψ, [N, T], taken as constants; the same.
        mask: true on real steps, [N, T].
        clip: ε.

    Returns:
        a single number, [].
    """
    ### BEGIN SOLUTION
    log_probs = logits.log_softmax(-1)
    log_prob = log_probs.gather(-1, action.unsqueeze(-1)).squeeze(-1)
    ratio = (log_prob - old_log_prob)[mask].exp()
    psi = psi.detach()[mask]
    return -torch.minimum(ratio * psi, ratio.clamp(1 - clip, 1 + clip) * psi).mean()
    ### END SOLUTION


# %%
course.check("ppo_loss", ppo_loss)

# %% [markdown]
# With it, PPO is a page. Here without a critic, Ψ by leave one out, on the random MDP: 20 batches of 16 episodes, four
# epochs of four minibatches on each.

# %%
theta = old.clone().requires_grad_()
optimiser, generator = torch.optim.Adam([theta], lr=0.05), torch.Generator().manual_seed(0)
returns = []
for iteration in range(20):
    returns.append(expected_return(mdp, network, theta.detach(), horizon=horizon).item())
    batch = simulate(
        mdp, table(theta.detach()), horizon=horizon, batches=1, episodes=16, seed=iteration
    )
    togo = (batch.reward * batch.mask).flip(-1).cumsum(-1).flip(-1)
    psi = estimators.whiten(estimators.leave_one_out_per_step(togo, batch.mask, 16), batch.mask)
    for _ in range(4):  # epochs
        for rows in torch.randperm(16, generator=generator).view(4, 4):  # minibatches
            obs, *rest = (
                x[0, rows] for x in (batch.obs, batch.action, batch.log_prob, psi, batch.mask)
            )
            optimiser.zero_grad()
            ppo_loss(theta.view(states, actions)[obs], *rest, 0.2).backward()
            optimiser.step()
print("exact J before every fourth batch:", np.round(returns[::4], 2))
assert returns[-1] > 2 * returns[0]

# %% [markdown]
# ## One epoch or many
#
# CartPole, ten seeds, 25,000 steps each: 1, 4 and 10 epochs on every batch, and 10 epochs with ε = 0.99, which clips
# next to nothing (ratios above 1.99).
#
# **Predict** the order at the end.

# %%
chosen = {
    "1 epoch": {"epochs": 1},
    "4 epochs": {"epochs": 4},
    "10 epochs": {"epochs": 10},
    "10 epochs, ε = 0.99": {"epochs": 10, "clip": 0.99},
}
common = {"env": "CartPole-v1", "seeds": 10, "steps": 25_000, "diagnostics": 0, "progress": False}
runs = {name: pgzoo.train("ppo", **options, **common) for name, options in chosen.items()}
for name, run in runs.items():
    s = run.summary
    print(f"{name:20} {np.sort(s['eval_mean']).round()}")

# %%
fig, axes = plt.subplots(2, 2, figsize=(9, 7.6), layout="constrained", sharex=True, sharey=True)
for ax, (name, run) in zip(axes.flat, runs.items(), strict=True):
    run.plot(ax).set_title(f"PPO, {name}")
plt.show()

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
watched = {
    "kl_old_policy": "KL(π_old ‖ π), nats per step",
    "clip_fraction": "share of steps clipped",
}
mean = {
    name: run.metrics.groupby("iteration")[["env_steps", *watched]].mean()
    for name, run in runs.items()
}
for ax, (column, label) in zip(axes, watched.items(), strict=True):
    for (name, m), colour in zip(mean.items(), COLOURS[:3] + COLOURS[4:5], strict=True):
        ax.plot(m.env_steps, m[column], color=colour, label=name)
    ax.set(xlabel="environment steps of each seed", ylabel=label)
axes[0].set(title="How far an iteration goes", yscale="log", ylim=(1e-4, 2))
axes[1].set(title="Where clipping bites")
axes[1].legend()
plt.show()
kl = {name: m.kl_old_policy.mean() for name, m in mean.items()}
assert kl["1 epoch"] < kl["4 epochs"] < kl["10 epochs, ε = 0.99"]
assert kl["10 epochs, ε = 0.99"] > 10 * kl["10 epochs"]
assert kl["10 epochs"] < 2 * kl["4 epochs"]
print(f"KL, 10 epochs over 4: {kl['10 epochs'] / kl['4 epochs']:.2f}")

# %% [markdown]
# (All fall at the end because the learning rate does.) With ε = 0.2 ten epochs go less than twice as far as four: clipping
# ends the walk. Without it, they go more than ten times as far.
#
# What does that do to a policy? The worst and the best of the ten seeds that were trained without clipping, from the same
# start:

# %%
loose = runs["10 epochs, ε = 0.99"]
order = np.argsort(loose.summary["eval_mean"])
loose.film(seed=[int(order[0]), int(order[-1])], at=100, seconds=3)

# %%
labels = [f"ppo:{','.join(f'{k}={v}' for k, v in options.items())}" for options in chosen.values()]
verdict = pgzoo.compare(labels, reuse=[r.path for r in runs.values()], **common)
ends = verdict.table[["iqm", "iqm_low", "iqm_high"]]
assert ends.iqm_low["ppo:epochs=10"] > ends.iqm_high["ppo:epochs=1"]
loosest = "ppo:epochs=10,clip=0.99"
for better in ("ppo", "ppo:epochs=10"):  # 4 epochs are the default
    assert any(v.startswith(f"{better} ends higher than {loosest}:") for v in verdict.verdicts)
assert ends.iqm["ppo:epochs=1"] > ends.iqm[loosest]  # no more than that is decided
assert np.sum(np.less(loose.summary["eval_mean"], 400)) > 5
print("\n".join(v for v in verdict.verdicts if "higher" in v))
ends.round(1)

# %% [markdown]
# Within 25,000 steps, ten epochs end higher than one: the same data, used more often. Without clipping the same ten
# epochs end lower than 4 and 10 clipped epochs; against 1 epoch it only seems so. Most of their seeds are lost, that is,
# end below a mean return of 400. **Many epochs and clipping belong together**: the
# one makes use of the data, the other makes that safe. This holds for this environment and this budget; pgzoo's own
# defaults are 4 epochs on CartPole and 2 on LunarLander.
#
# ## What to keep
#
# - $\rho = \pi/\pi_{old}$; the product over an episode is exact, and varies exponentially.
# - The surrogate $\sum_t\rho_t\Psi_t$ has the gradient of J at $\theta_{old}$, and elsewhere, for
#   episodes of more than one step, in general a bias. Its effective weight is ρΨ.
# - Clipped, the weight is 0 on two of four sides: where the policy has gone far in the direction of Ψ.
# - Clipping ends the walk. It neither corrects the gradient nor keeps ratios in an interval.
# - KL per step says how far it went; near the old policy k3 is the estimate to take; it grows with the square of the step.
#
# ## Further reading
#
# - J. Schulman, F. Wolski, P. Dhariwal, A. Radford, O. Klimov: *Proximal policy optimization algorithms*, 2017,
#   [arXiv:1707.06347](https://arxiv.org/abs/1707.06347), eq. 7.
# - J. Schulman, S. Levine, P. Moritz, M. Jordan, P. Abbeel: *Trust region policy optimization*, ICML 2015,
#   [arXiv:1502.05477](https://arxiv.org/abs/1502.05477). The bound behind the surrogate, and steps by the Fisher
#   information.
# - S. Kakade, J. Langford: *Approximately optimal approximate reinforcement learning*, ICML 2002. The surrogate and its
#   error.
# - J. Schulman: [*Approximating KL divergence*](http://joschu.net/blog/kl-approx.html), 2020. k1, k2, k3.
# - Y. Wang, H. He, X. Tan: *Truly proximal policy optimization*, UAI 2019,
#   [arXiv:1903.07940](https://arxiv.org/abs/1903.07940). Clipping does not bound the ratio.
# - L. Engstrom et al.: *Implementation matters in deep policy gradients: a case study on PPO and TRPO*, ICLR 2020,
#   [arXiv:2005.12729](https://arxiv.org/abs/2005.12729).
# - The code: [`pgzoo/agents/ppo.py`](../../pgzoo/agents/ppo.py),
#   [`pgzoo/estimators/surrogates.py`](../../pgzoo/estimators/surrogates.py).
