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
# # 1. The gradient you can compute
#
# Policy-gradient methods estimate a gradient from samples. Before we estimate it, we look at the
# thing itself. On a small enough problem there is nothing to estimate: everything can be written
# down and computed. Afterwards you can
#
# * say what a Markov decision process, a policy, a trajectory, a return and a value are;
# * compute the expected return J(θ) of a policy in two ways, and its gradient in three;
# * derive the policy gradient theorem for a finite horizon, and say where each factor comes from;
# * say what γ^t does in it, and what happens if it is left out, as most code does;
# * climb J, and read off the picture where that is slow.
#
# **Before you begin.** You need expectations and conditional probabilities, Python, and tensors of
# PyTorch: indexing, sums along an axis, `einsum`. No reinforcement learning. About an hour.
#
# **Exercises** are functions with a gap. The cell below each one asks `course.check` about your
# function. It tests what has to hold of every right answer, and names the mistake if it knows it.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

from pgzoo import course
from pgzoo.lab import exact_gradient, expected_return, mdps
from pgzoo.lab.drawing import draw
from pgzoo.policies.networks import Table
from pgzoo.records.style import COLOURS, STYLE

plt.rcParams.update(STYLE)

# %% [markdown]
# ## A machine
#
# A machine is either **cool** or **hot**. Every minute we decide: **pause** or **run**.
#
# * A cool machine that runs pays 2, and is hot afterwards with probability 0.7.
# * A hot machine works faster: running pays 3. But with probability 0.4 it breaks, and that is the
#   end.
# * A pause pays nothing. Afterwards the machine is cool.
#
# This is a **Markov decision process** (MDP): *states* s, *actions* a, and for every state and
# action the probabilities p(s'|s, a) of what comes next and the *reward* r(s, a) it pays. *Markov*
# means: what comes next depends on the present state and action, and not on how we got there.
#
# As arrays: `transition[s, a, s']` is the probability of going on, **and to s'**. What is missing
# to 1 is the probability that this was the end. `start[s]` is the probability of beginning in s.

# %%
COOL, HOT = 0, 1
PAUSE, RUN = 0, 1

transition = torch.zeros(2, 2, 2)
transition[COOL, PAUSE, COOL] = 1.0
transition[COOL, RUN, COOL], transition[COOL, RUN, HOT] = 0.3, 0.7
transition[HOT, PAUSE, COOL] = 1.0
transition[HOT, RUN, HOT] = 0.6

reward = torch.tensor([[0.0, 2.0], [0.0, 3.0]])  # reward[s, a]
start = torch.tensor([1.0, 0.0])
breaks = 1 - transition.sum(-1)  # [s, a]: the probability that the episode ends

machine = mdps.machine()  # pgzoo's laboratory has it as well: the same arrays
assert np.allclose(machine.transition, transition)
assert np.allclose(machine.reward, reward)
draw(machine, ["cool", "hot"], ["pause", "run"])
plt.show()

# %% [markdown]
# A **policy** π says how to act: π(a|s) is the probability of action a in state s. As an array,
# `pi[s, a]`; every row sums to 1. Here is one that tosses a coin.
#
# Playing it gives a **trajectory** s₀, a₀, r₀, s₁, a₁, r₁, … We stop after H steps at the latest,
# the **horizon**. One trajectory is one *episode*.

# %%
coin = torch.full((2, 2), 0.5)
g = torch.Generator().manual_seed(4)

state = COOL
for t in range(12):
    action = torch.multinomial(coin[state], 1, generator=g).item()
    print(f"t = {t:2}: {['cool', 'hot'][state]}, {['pause', 'run'][action]}", end=", ")
    print(f"reward {reward[state, action]:g}")
    chances = torch.cat([transition[state, action], breaks[state, action].view(1)])
    state = torch.multinomial(chances, 1, generator=g).item()
    if state == 2:
        print("broken: the end")
        break

# %% [markdown]
# ## Return and discount
#
# What is an episode worth? The sum of its rewards, where a reward that comes t steps later counts
# γ^t as much. γ between 0 and 1 is the **discount factor**:
#
# $$R = r_0 + \gamma r_1 + \gamma^2 r_2 + \dots = \sum_{t<H} \gamma^t r_t .$$
#
# R is the **return**. With γ = 1 a reward is worth the same whenever it comes. With γ = 0 nothing
# counts but the first one. Rewards after the end are 0.
#
# **Exercise 1.** Many episodes at once: `reward[i, t]` is what episode i paid at step t. The axes
# of this course are N episodes and T steps, in this order.


# %% tags=["exercise", "discounted_return"]
def discounted_return(reward, gamma):
    """The return of every episode.

    reward: [N, T], zero after an episode's end; gamma: a number.
    Returns [N].
    """
    ### BEGIN SOLUTION
    weights = gamma ** torch.arange(reward.shape[-1], dtype=reward.dtype)
    return (weights * reward).sum(-1)
    ### END SOLUTION


# %%
course.check("discounted_return", discounted_return)

# %% [markdown]
# **Question.** An episode pays 1 at every one of infinitely many steps. What is its return for γ =
# 0.9? How many steps does a discount of 0.9 look ahead, roughly?
#
# <details><summary>Answer</summary>
#
# 1 + 0.9 + 0.81 + … = 1/(1 − 0.9) = 10. So the return weighs rewards as if about ten steps counted
# in full: 1/(1 − γ) is called the *effective horizon*. For γ = 0.99 it is 100.
#
# </details>

# %% [markdown]
# ## What a policy is worth, by listing everything
#
# The returns of a policy's episodes differ: chance is in the machine and in the policy. What we
# want to be large is the **expected return**
#
# $$J = \mathrm{E}[R] = \sum_\tau p(\tau)\, R(\tau),$$
#
# a sum over all trajectories τ. The probability of a trajectory is a product: the start, then for
# every step the policy's and the machine's part,
#
# $$p(\tau) = \mathrm{start}(s_0)\; \pi(a_0|s_0)\, p(s_1|s_0, a_0)\;
#   \pi(a_1|s_1)\, p(s_2|s_1, a_1) \cdots$$
#
# Where the machine breaks, the last factor is the probability of that. For few steps we can list
# them all.


# %%
def all_trajectories(horizon):
    """Every trajectory from a cool machine: its states and its actions.

    A broken machine has no last state: then there are as many states as actions.
    """
    going_on, ended = [([COOL], [])], []
    for _ in range(horizon):
        longer = []
        for states, actions in going_on:
            for a in (PAUSE, RUN):
                for s in (COOL, HOT):
                    if transition[states[-1], a, s] > 0:
                        longer.append(([*states, s], [*actions, a]))
                if breaks[states[-1], a] > 0:
                    ended.append((states, [*actions, a]))
        going_on = longer
    return going_on + ended


def probability(states, actions, pi):
    """p(τ) of a trajectory."""
    p = start[states[0]]
    for t, a in enumerate(actions):
        s = states[t]
        broke = t + 1 == len(states)
        p = p * pi[s, a] * (breaks[s, a] if broke else transition[s, a, states[t + 1]])
    return p


# %%
gamma, few = 0.9, 4
trajectories = all_trajectories(few)
probabilities = torch.stack([probability(*tau, coin) for tau in trajectories])
rewards = torch.zeros(len(trajectories), few)
for i, (states, actions) in enumerate(trajectories):
    rewards[i, : len(actions)] = reward[states[: len(actions)], actions]

J_by_listing = (probabilities * discounted_return(rewards, gamma)).sum()
print(f"{len(trajectories)} trajectories, probabilities sum to {probabilities.sum():.6f}")
print(f"J of the coin over {few} steps: {J_by_listing:.4f}")
assert abs(probabilities.sum() - 1) < 1e-5

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
left.hist(discounted_return(rewards, gamma), weights=probabilities, bins=30, color=COLOURS[0])
left.axvline(J_by_listing, color=COLOURS[4], label=f"J = {J_by_listing:.2f}")
left.set(xlabel="return R", ylabel="probability", title="Returns of the coin's episodes, 4 steps")
left.legend()
counts = [len(all_trajectories(h)) for h in range(1, 9)]
right.semilogy(range(1, 9), counts, "o-", color=COLOURS[0])
right.set(xlabel="horizon H", ylabel="trajectories", title="Listing everything does not go far")
growth = counts[-1] / counts[-2]
print(f"{counts[-1]} trajectories for 8 steps; every step more has {growth:.2f} times as many")
assert 2 < growth < 4
plt.show()

# %% [markdown]
# ## What a policy is worth, backwards
#
# There is a way that takes H small steps instead. Let **V_t(s)** be the expected return from step t
# on if the state is s then, counted as of step t: $V_t(s) = \mathrm{E}[r_t + \gamma r_{t+1} + \dots
# \mid s_t = s]$. After the last step nothing comes: V_H(s) = 0. Before that, every action has a
# value, and a state's value is the mean of its actions' values, each weighted with its
# probability:
#
# $$Q_t(s,a) = r(s,a) + \gamma \sum_{s'} p(s'|s,a)\, V_{t+1}(s'), \qquad
#   V_t(s) = \sum_a \pi(a|s)\, Q_t(s,a).$$
#
# Read it backwards: from V_H follow Q_{H−1} and V_{H−1}, and so on to V_0. Then
# J = Σ_s start(s) V_0(s). V is the **value**, Q the **action value**. Their difference is the
# **advantage** A_t(s,a) = Q_t(s,a) − V_t(s): how much better an action is than the policy's mean.
#
# An episode that has ended earns nothing more. The equation knows that: p(s'|s,a) sums to less than
# 1 where it may end.
#
# **Exercise 2.** From here on, n is the number of states and A that of actions. In arrays:
# `transition @ value` is Σ_s' p(s'|s,a) V(s'), of shape [n, A].


# %% tags=["exercise", "state_values"]
def state_values(transition, reward, pi, gamma, horizon):
    """V_t(s) for t = 0 … H, by the backward recursion.

    transition: [n, A, n]; reward: [n, A]; pi: [n, A]; gamma: a number; horizon: H.
    Returns [H + 1, n]; the last row is zero.
    """
    ### BEGIN SOLUTION
    values = [torch.zeros_like(reward[:, 0])]
    for _ in range(horizon):
        q = reward + gamma * transition @ values[0]
        values.insert(0, (pi * q).sum(-1))
    return torch.stack(values)
    ### END SOLUTION


# %%
course.check("state_values", state_values)

# %% [markdown]
# Both ways have to agree. And now twelve steps are no trouble. From here on, H = 12.

# %%
J_backwards = start @ state_values(transition, reward, coin, gamma, few)[0]
print(f"J over {few} steps: {J_by_listing:.4f} by listing, {J_backwards:.4f} backwards")
assert abs(J_by_listing - J_backwards) < 1e-4

horizon = 12
V = state_values(transition, reward, coin, gamma, horizon)
Q = reward + gamma * torch.einsum("sap,tp->tsa", transition, V[1:])  # [H, n, A]
A = Q - V[:-1].unsqueeze(-1)
print(f"J over {horizon} steps: {start @ V[0]:.4f}")
assert (coin * A).sum(-1).abs().max() < 1e-4  # the mean advantage is zero

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for s, name, colour in ((COOL, "cool", COLOURS[0]), (HOT, "hot", COLOURS[4])):
    left.plot(V[:, s], "o-", color=colour, label=name)
    right.plot(A[:, s, RUN], "o-", color=colour, label=name)
left.set(xlabel="step t", ylabel="V_t(s)", title="The coin's values")
right.set(xlabel="step t", ylabel="A_t(s, run)", title="Advantage of running")
right.axhline(0, color="black", linewidth=0.8)
left.legend()
print(f"advantage of running a hot machine: {A[0, HOT, RUN]:.2f} first, {A[-1, HOT, RUN]:.2f} last")
assert A[0, HOT, RUN] < A[-1, HOT, RUN]
plt.show()

# %% [markdown]
# **Question.** Why is running a hot machine worth so much more at the last step than at the first?
#
# <details><summary>Answer</summary>
#
# At the last step there is no future that a broken machine could cost. At the first one, breaking
# costs all that could have been earned in eleven more steps. The picture also shows that values
# depend on t although the machine does not: what is left to be earned depends on the steps that are
# left.
#
# </details>

# %% [markdown]
# ## Where the policy is: the state distribution
#
# The other half of the theorem is about where a policy goes. Let **d_t(s)** be the probability that
# the episode still goes on at step t and is in state s. It is computed forwards:
#
# $$d_0(s) = \mathrm{start}(s), \qquad
#   d_{t+1}(s') = \sum_s d_t(s) \sum_a \pi(a|s)\, p(s'|s,a).$$
#
# **Exercise 3.** One step is a sum over s and a. `torch.einsum("s,sa,sap->p", …)` writes it in a
# line; loops are right as well.


# %% tags=["exercise", "state_distribution"]
def state_distribution(transition, start, pi, horizon):
    """d_t(s) for t = 0 … H − 1.

    transition: [n, A, n]; start: [n]; pi: [n, A]; horizon: H.
    Returns [H, n].
    """
    ### BEGIN SOLUTION
    visits = [start]
    for _ in range(horizon - 1):
        visits.append(torch.einsum("s,sa,sap->p", visits[-1], pi, transition))
    return torch.stack(visits)
    ### END SOLUTION


# %%
course.check("state_distribution", state_distribution)

# %%
d = state_distribution(transition, start, coin, horizon)
shares = [d[:, COOL], d[:, HOT], 1 - d.sum(-1)]
fig, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
axes.stackplot(
    range(horizon),
    shares,
    labels=["cool", "hot", "broken"],
    colors=["#88CCEE", "#D55E00", "#BBBBBB"],
)
axes.set(xlabel="step t", ylabel="probability", title="Where the coin's machine is")
axes.legend(loc="lower left", frameon=True)
print(f"still going on at the last step: {d[-1].sum():.2f}")
plt.show()

# %% [markdown]
# **Question.** J can be read off d as well, without any V. How?
#
# <details><summary>Answer</summary>
#
# The expected reward at step t is Σ_s d_t(s) Σ_a π(a|s) r(s,a), and it counts γ^t:
#
# $$J = \sum_t \gamma^t \sum_s d_t(s) \sum_a \pi(a|s)\, r(s,a).$$
#
# The next cell checks it. Keep an eye on the γ^t: it will come back in the gradient.
#
# </details>

# %%
discounts = gamma ** torch.arange(horizon)
J_forwards = torch.einsum("t,ts,sa,sa->", discounts, d, coin, reward)
print(f"J: {J_forwards:.4f} forwards, {start @ V[0]:.4f} backwards")
assert abs(J_forwards - start @ V[0]) < 1e-4

# %% [markdown]
# ## A policy with parameters
#
# To improve a policy bit by bit we need parameters that can be moved freely, though probabilities
# must stay positive and sum to 1. The **softmax** does that. Every state and action has a
# *preference* θ(s,a), any number, and
#
# $$\pi_\theta(a|s) = \frac{e^{\theta(s,a)}}{\sum_b e^{\theta(s,b)}} .$$
#
# How do probabilities move with preferences? Preferences of other states change nothing. In the
# same state, by the quotient rule,
#
# $$\frac{\partial \pi(a|s)}{\partial \theta(s,b)}
#   = \pi(a|s)\,\bigl(\mathbb 1(a=b) - \pi(b|s)\bigr).$$
#
# In words: raising the preference for b takes probability from all other actions, in proportion to
# what they have, and gives it to b.
#
# **Exercise 4.** For every state this is a small matrix, A × A. It is the only place where the
# form of the policy enters the gradient: another kind of policy has another derivative, and all
# else stays.


# %% tags=["exercise", "softmax_derivative"]
def softmax_derivative(pi):
    """∂π(a|s)/∂θ(s,b) of a softmax, from its probabilities.

    pi: [n, A].
    Returns [n, A, A]: entry [s, a, b] is the derivative of π(a|s) with respect to θ(s,b).
    """
    ### BEGIN SOLUTION
    identity = torch.eye(pi.shape[-1], dtype=pi.dtype)
    return pi.unsqueeze(-1) * (identity - pi.unsqueeze(-2))
    ### END SOLUTION


# %%
course.check("softmax_derivative", softmax_derivative)

# %% [markdown]
# ## The policy gradient theorem
#
# Now J depends on θ, and we want ∇J: in which direction of θ does it grow fastest? Start from
# V_t(s) = Σ_a π(a|s) Q_t(s,a) and use the product rule. In Q, only V_{t+1} depends on θ:
#
# $$\nabla V_t(s) = \sum_a \nabla\pi(a|s)\, Q_t(s,a)
#   + \gamma \sum_a \pi(a|s) \sum_{s'} p(s'|s,a)\, \nabla V_{t+1}(s').$$
#
# The first term is what changes because we act differently *now*. Call it g_t(s). The second is the
# same question one step later. Average over the start, and use that
# Σ_s d_0(s) Σ_a π(a|s) p(s'|s,a) is d_1(s'):
#
# $$\nabla J = \sum_s d_0(s)\, \nabla V_0(s)
#   = \sum_s d_0(s)\, g_0(s) + \gamma \sum_{s'} d_1(s')\, \nabla V_1(s').$$
#
# For ∇V_1 use the same equation again. Each time there is one more factor γ and one more step of d:
#
# $$\nabla J = \sum_s d_0(s)\, g_0(s) + \gamma \sum_s d_1(s)\, g_1(s)
#   + \gamma^2 \sum_s d_2(s)\, g_2(s) + \dots$$
#
# It ends with ∇V_H = 0. Written as one sum, this is
#
# $$\nabla J(\theta) = \sum_{t<H} \gamma^t \sum_s d_t(s) \sum_a \nabla\pi_\theta(a|s)\, Q_t(s,a).$$
#
# This is the **policy gradient theorem** (Sutton et al. 2000), here for a finite horizon, where
# nothing has to converge. We assumed: finitely many states and actions, a start distribution, p
# and r that do not depend on θ, and a π that can be differentiated.
#
# What is remarkable is what is *not* in it. d_t and Q_t depend on θ too, but ∇d and ∇Q do not
# occur. Each step's question is only: what if I acted differently here, and then went on as
# before?
#
# **Exercise 5.** All factors are given as arrays. Do not forget γ^t: the effect of step t counts
# from the start's point of view.


# %% tags=["exercise", "exact_policy_gradient"]
def exact_policy_gradient(pi, visits, q, gamma):
    """∇J with respect to the softmax preferences, by the policy gradient theorem.

    pi: [n, A]; visits: d_t(s), [H, n]; q: Q_t(s,a), [H, n, A]; gamma: a number.
    Returns [n, A]: the derivative with respect to θ(s,b).
    """
    ### BEGIN SOLUTION
    identity = torch.eye(pi.shape[-1], dtype=pi.dtype)
    derivative = pi.unsqueeze(-1) * (identity - pi.unsqueeze(-2))  # [s, a, b]
    discounts = gamma ** torch.arange(len(visits), dtype=pi.dtype)
    return torch.einsum("t,ts,tsa,sab->sb", discounts, visits, q, derivative)
    ### END SOLUTION


# %%
course.check("exact_policy_gradient", exact_policy_gradient)

# %% [markdown]
# A function that has it all together, for a policy given by θ:


# %%
def pieces(theta):
    """π, d and Q of the policy with preferences θ."""
    pi = theta.softmax(-1)
    V = state_values(transition, reward, pi, gamma, horizon)
    Q = reward + gamma * torch.einsum("sap,tp->tsa", transition, V[1:])
    return pi, state_distribution(transition, start, pi, horizon), Q


def expected(theta):
    """J(θ)."""
    return start @ state_values(transition, reward, theta.softmax(-1), gamma, horizon)[0]


def gradient(theta):
    """∇J(θ)."""
    return exact_policy_gradient(*pieces(theta), gamma)


# %% [markdown]
# Is the theorem true? Three ways to the same four numbers:
#
# * the theorem;
# * **finite differences**: change one preference by ±ε, and see what J does;
# * `pgzoo.lab.exact_gradient`, which lets PyTorch differentiate the backward recursion.

# %%
theta = torch.tensor([[0.5, -0.2], [0.1, 0.8]])
by_theorem = gradient(theta)

epsilon = 1e-2
by_differences = torch.zeros_like(theta)
for s in (COOL, HOT):
    for a in (PAUSE, RUN):
        step = torch.zeros_like(theta)
        step[s, a] = epsilon
        by_differences[s, a] = (expected(theta + step) - expected(theta - step)) / (2 * epsilon)

table = Table(2, 2)  # a policy of two states and two actions; its θ is a row [1, 4]
by_autograd = exact_gradient(machine, table, theta.view(1, 4), horizon=horizon, gamma=gamma)

print("theorem     ", by_theorem.flatten().numpy().round(3))
print("differences ", by_differences.flatten().numpy().round(3))
print("pgzoo.lab   ", by_autograd.flatten().numpy().round(3))
assert torch.allclose(by_theorem, by_differences, atol=1e-3)
assert torch.allclose(by_theorem.flatten(), by_autograd.flatten().float(), atol=1e-4)

# %% [markdown]
# **Question.** In each state the two numbers are each other's negative. Why must they be?
#
# <details><summary>Answer</summary>
#
# Adding the same number to all preferences of a state does not change the softmax, so it does not
# change J. The derivative in that direction is the sum of the state's entries, and it is zero. So
# two actions in a state have one degree of freedom, and this machine's policies have two in all:
# one for cool, one for hot. That is why we can draw all of them in a plane.
#
# </details>
#
# **Question.** In the theorem, replace Q_t(s,a) by Q_t(s,a) − 100. What changes? What if the
# number depends on s?
#
# <details><summary>Answer</summary>
#
# Nothing, both times: Σ_a ∇π(a|s) b(s) = b(s) ∇ Σ_a π(a|s) = b(s) ∇1 = 0. With b = V_t this says
# that the advantage may stand in the place of Q. The cell below tries it. Chapter 3 is about what
# this is good for.
#
# </details>

# %%
pi, d, Q = pieces(theta)
V = (pi * Q).sum(-1, keepdim=True)
for what, q in (("Q", Q), ("Q − 100", Q - 100), ("Q − V", Q - V)):
    print(f"{what:8}", exact_policy_gradient(pi, d, q, gamma).flatten().numpy().round(3))
    assert torch.allclose(exact_policy_gradient(pi, d, q, gamma), by_theorem, atol=1e-3)

# %% [markdown]
# The theorem also says how much each *moment* contributes. In the figure below, each bar is one
# step's part of ∂J/∂θ(s, run), for a policy that nearly always runs a cool machine and tosses a
# coin for a hot one. With the derivative of exercise 4, Σ_a ∇π(a|s) Q_t(s,a) is π(b|s) A_t(s,b)
# for each preference θ(s,b): the sum over a leaves Q_t(s,b) − V_t(s).
#
# Watch the hot machine: early steps say *pause*, late steps say *run*. A policy that cannot look at
# the clock has to strike a balance.

# %%
theta = torch.tensor([[-1.5, 1.5], [0.0, 0.0]])
pi, d, Q = pieces(theta)
A = Q - (pi * Q).sum(-1, keepdim=True)
parts = discounts.view(-1, 1) * d * pi[:, RUN] * A[:, :, RUN]  # [t, s], for θ(s, run)
assert torch.allclose(parts.sum(0), gradient(theta)[:, RUN], atol=1e-4)
assert parts[1, HOT] < 0 < parts[-1, HOT]

fig, both = plt.subplots(1, 2, figsize=(9, 3), sharey=True, layout="constrained")
for s, axes in enumerate(both):
    axes.bar(range(horizon), parts[:, s], color=COLOURS[(0, 4)[s]])
    axes.axhline(0, color="black", linewidth=0.8)
    total = parts[:, s].sum()
    axes.set(xlabel="step t", title=f"{['Cool', 'Hot'][s]}: the parts of {total:+.2f}")
both[0].set_ylabel("part of ∂J/∂θ(s, run)")
plt.show()

# %% [markdown]
# ## Climbing
#
# **Gradient ascent** walks uphill: θ ← θ + α ∇J(θ), with a small step size α. Plus, since J is to
# grow. (Optimisers of PyTorch go downhill and are given −J.)


# %%
def climb(theta, direction, steps, step_size=0.5):
    """The θ along a walk, [steps + 1, n, A]."""
    walk = [theta]
    for _ in range(steps):
        walk.append(walk[-1] + step_size * direction(walk[-1]))
    return torch.stack(walk)


walk = climb(torch.zeros(2, 2), gradient, steps=400)
returns = torch.stack([expected(theta) for theta in walk])
print(f"J: {returns[0]:.3f} at first, {returns[-1]:.3f} after {len(walk) - 1} steps")
assert (returns.diff() > -1e-5).all()  # never down: the step size is small enough

# %% [markdown]
# How good is that? There are four policies without chance: pause or run, in either state. And there
# is the best policy that may look at the clock: go backwards as in exercise 2, but take the largest
# Q instead of the mean.

# %%
print("J of the policies without chance:")
best_fixed = -1.0
for cool in (PAUSE, RUN):
    for hot in (PAUSE, RUN):
        fixed = torch.eye(2)[[cool, hot]]  # [s, a]
        J = start @ state_values(transition, reward, fixed, gamma, horizon)[0]
        best_fixed = max(best_fixed, J)
        print(f"  cool: {['pause', 'run'][cool]:5}  hot: {['pause', 'run'][hot]:5}  {J:.3f}")

V, when_hot = torch.zeros(2), []
for _ in range(horizon):
    Q = reward + gamma * transition @ V
    V = Q.amax(-1)
    when_hot.insert(0, ["pause", "run"][Q[HOT].argmax()])
print("best for a hot machine, step by step:", *when_hot)
assert when_hot[0] == "pause"
assert when_hot[-1] == "run"
print(f"J of the climber {returns[-1]:.3f}; with a clock, the best is {start @ V:.3f}")
assert best_fixed + 0.05 < returns[-1] < start @ V

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
left.plot(returns, color=COLOURS[0], label="gradient ascent")
left.axhline(best_fixed, color=COLOURS[1], linestyle="--", label="best without chance")
left.axhline(start @ V, color=COLOURS[2], linestyle=":", label="best with a clock")
left.set(xlabel="step of ascent", ylabel="J", title="Return along the ascent")
left.legend()
right.plot(walk.softmax(-1)[:, COOL, RUN], color=COLOURS[0], label="cool")
right.plot(walk.softmax(-1)[:, HOT, RUN], color=COLOURS[4], label="hot")
right.set(
    xlabel="step of ascent",
    ylabel="π(run | s)",
    title="The policy along the ascent",
    ylim=(0, 1.02),
)
right.legend()
plt.show()

# %% [markdown]
# Two things are worth a second look. The climber is better than every policy without chance: it
# runs a hot machine *sometimes*. The best policy with a clock lets it pause early and run late;
# without one, chance is the best it can do. It is often said that an optimal policy needs no
# randomness. That holds for policies that see the whole state, and for a finite horizon the clock
# is a part of the state.
#
# And the last part of the way is slow. The next section shows why.

# %% [markdown]
# ## The field
#
# A policy of this machine is a point in the plane: how much more we prefer to run than to pause,
# when cool and when hot. With x = θ(cool, run) − θ(cool, pause) and y likewise for hot, at every
# point the gradient is an arrow.

# %%
x, y = torch.meshgrid(torch.linspace(-5, 9, 113), torch.linspace(-5, 5, 81), indexing="xy")
plane = torch.stack([-x / 2, x / 2, -y / 2, y / 2], -1).view(-1, 4)  # θ of every point, [S, 4]
heights = expected_return(machine, table, plane, horizon=horizon, gamma=gamma).view(x.shape)
arrows = exact_gradient(machine, table, plane, horizon=horizon, gamma=gamma).view(*x.shape, 2, 2)
path = walk[:, :, RUN] - walk[:, :, PAUSE]
lengths = arrows.flatten(2).norm(dim=-1)  # of the arrows, row by row of the figure
assert (lengths[:, 0] < 0.4 * lengths[:, 40]).all()  # at x = −5 and x = 0
assert heights[:, 0].max() < heights[:, 40].min()  # J is lower there

fig, axes = plt.subplots(figsize=(9, 5.5), layout="constrained")
contours = axes.contourf(x, y, heights, 20, cmap="cividis")
some = slice(4, None, 8)
axes.quiver(
    x[some, some], y[some, some], arrows[some, some, COOL, RUN], arrows[some, some, HOT, RUN],
    color="white",
)  # fmt: skip
axes.plot(path[:, 0], path[:, 1], color=COLOURS[4], linewidth=2.5, label="400 steps of ascent")
axes.set(xlabel="preference for running, cool", ylabel="preference for running, hot")
axes.set_title("J over all policies, and its gradient")
axes.legend(loc="upper right", frameon=True)
fig.colorbar(contours, label="J")
plt.show()

# %% [markdown]
# On the left the arrows become short though J is at its lowest there. A softmax that is sure of
# itself hardly moves: every derivative has the factor π(a|s), and an action that is hardly ever
# taken is hardly ever reconsidered. On the right the same factor makes them short, beside there being
# little left to be gained. So the last part of the way takes ever longer (Mei et al. 2020).
#
# **Question.** Someone starts at x = y = −6: running has probability 0.0025. Before you run the
# next cell: how many times as many steps as from the coin do you expect until J reaches 8?
#
# <details><summary>Answer</summary>
#
# The gradient for cool has the factor π(run) π(pause): 0.25 for the coin, about 0.0025 here. So at
# first it is about a hundredth. But it grows as running does, so it takes fewer than a hundred
# times as many steps. The cell counts.
#
# </details>

# %%
sure = torch.tensor([[3.0, -3.0], [3.0, -3.0]])
assert abs(sure.softmax(-1)[COOL, RUN] - 0.0025) < 1e-4
steps_needed = {}
for name, theta in (("the coin", torch.zeros(2, 2)), ("sure of pausing", sure)):
    steps = 0
    while expected(theta) < 8:
        theta = theta + 0.05 * gradient(theta)
        steps += 1
    steps_needed[name] = steps
    print(f"from {name}: {steps} steps")
assert 20 < steps_needed["sure of pausing"] / steps_needed["the coin"] < 100

# %% [markdown]
# ## What γ^t is for, and what happens without it
#
# Most code that is called policy gradient does not have the factor γ^t. It discounts *within* Q_t,
# but gives all steps the same weight:
#
# $$B(\theta) = \sum_{t<H} \sum_s d_t(s) \sum_a \nabla\pi(a|s)\, Q_t(s,a).$$
#
# It is often said that this only rescales, or that it is the gradient of something else that is as
# good. We can look. Your own function gives B: with γ = 1 *there*, while Q is discounted by 0.9.


# %%
def without_gamma_t(theta):
    """B(θ): the direction that most code follows."""
    return exact_policy_gradient(*pieces(theta), gamma=1.0)


theta = torch.tensor([[-1.5, 1.5], [0.2, -0.2]])
true, other = gradient(theta), without_gamma_t(theta)
cosine = torch.cosine_similarity(true.flatten(), other.flatten(), dim=0)
print("∇J, for running cool and hot:", true[:, RUN].numpy().round(3))
print("B,  for running cool and hot:", other[:, RUN].numpy().round(3))
print(f"cosine of the angle between them: {cosine:.3f}")
assert true[HOT, RUN] * other[HOT, RUN] < 0

# %% [markdown]
# At this policy, they do not even agree on whether a hot machine should run more or less: ∇J says
# less, B says more. Without γ^t late steps count in full, and late steps say *run*.
#
# Is B the gradient of *some* function, perhaps of J without discount? There is a test. If B = ∇F,
# then walking along any path changes F by ∫ B·dθ, and round a closed path that is zero. We walk
# round a circle in the plane of the figure. There θ(s, run) is half the coordinate and θ(s, pause)
# minus that, and B's two entries of a state are each other's negative, too. So B·dθ is B for
# running, times what the coordinate changes by.

# %%
angle = torch.linspace(0, 2 * torch.pi, 401)[:-1]
circle = 1.5 * torch.stack([angle.cos(), angle.sin()], -1)  # (x, y) of each point
forward = 1.5 * torch.stack([-angle.sin(), angle.cos()], -1) * (angle[1] - angle[0])
around = {}
for name, direction in (("∇J", gradient), ("B", without_gamma_t)):
    field = torch.stack(
        [
            direction(torch.tensor([[-px / 2, px / 2], [-py / 2, py / 2]]))[:, RUN]
            for px, py in circle
        ]
    )
    around[name] = (field * forward).sum().item()
    print(f"once round the circle, {name}: {around[name]:+.4f}")
assert abs(around["∇J"]) < 1e-3 < 0.1 < abs(around["B"])

# %% [markdown]
# ∇J comes back to where it was. B does not: it is *not the gradient of any function*, neither of
# the discounted return nor of any other. Nota & Thomas (2020) prove that in general
# this direction is the gradient of no function; this machine is one more example. And where does it lead? We start at the end of the
# ascent, and follow B from there.

# %%
away = climb(walk[-1], without_gamma_t, steps=400)
returns_away = torch.stack([expected(theta) for theta in away])
end, other_end = walk[-1].softmax(-1)[HOT, RUN], away[-1].softmax(-1)[HOT, RUN]
print(f"after ∇J: J = {returns[-1]:.3f}, a hot machine runs with probability {end:.2f}")
print(f"then B:   J = {returns_away[-1]:.3f}, a hot machine runs with probability {other_end:.2f}")
assert returns_away[-1] < returns[-1] - 0.05
assert other_end > end + 0.15

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
left.plot(returns, color=COLOURS[0], label="along ∇J")
left.plot(range(400, 801), returns_away, color=COLOURS[4], linestyle="--", label="then along B")
left.set(xlabel="step", ylabel="J", ylim=(8.8, 9.06), title="Steps along B lead downhill")
left.legend(loc="lower right")
path_away = away[:, :, RUN] - away[:, :, PAUSE]
right.contourf(x, y, heights, np.linspace(8.4, 9.05, 14), cmap="cividis", extend="min")
right.plot(path[:, 0], path[:, 1], color="white", label="along ∇J")
right.plot(path_away[:, 0], path_away[:, 1], color=COLOURS[4], linestyle="--", label="then along B")
right.set(xlabel="preference for running, cool", ylabel="… hot", xlim=(0, 9), ylim=(-3, 3))
right.set_title("From the top down the side")
right.legend(loc="upper right", labelcolor="white")
plt.show()

# %% [markdown]
# So leaving out γ^t is not a matter of scale. Here it loses little, since both policies are good.
# Nota & Thomas construct a case in which it ends at the worst policy.
#
# **Question.** Why does practically all code leave it out?
#
# <details><summary>Answer</summary>
#
# With γ^t, late steps hardly count: for γ = 0.99, step 500 has a weight below 0.007 (the cell
# below asserts it). An agent that plays episodes of 500 steps would learn next to nothing from the second half, though we usually
# *do* want good behaviour there. In practice the goal is J without discount, and γ < 1 in Q is a
# means to reduce variance, at the price of a bias. Seen that way, leaving γ^t out is a reasonable
# choice. But then B is an approximation of ∇J for γ = 1, not the gradient of the discounted J. In
# pgzoo the factor is an option (`gamma_t`), off for training.
#
# </details>
#
# **Question.** For which γ is there no difference between ∇J and B? For which policies does it not
# matter where one ends?
#
# <details><summary>Answer</summary>
#
# For γ = 1, since all γ^t are 1 (and for episodes of one step). And where one policy is best at every state *and step* at once:
# then under that policy no action has a positive advantage at any t, and no weighting of the
# steps changes that. Weights matter where steps disagree, as they do here for a hot machine.
#
# </details>

# %%
assert 0.99**500 < 0.007
assert abs(1 / (1 - 0.9) - 10) < 1e-9
assert abs(1 / (1 - 0.99) - 100) < 1e-9

# %% [markdown]
# ## What you have
#
# | | formula | computed |
# |---|---|---|
# | value | V_t(s) = Σ_a π(a\|s) Q_t(s,a) | backwards |
# | state distribution | d_t(s) | forwards |
# | expected return | J = Σ_s start(s) V_0(s) | by either |
# | gradient | ∇J = Σ_t γ^t Σ_s d_t(s) Σ_a ∇π(a\|s) Q_t(s,a) | from both |
#
# All of it needed p(s'|s,a), for every state and action. In CartPole, which chapter 2 trains, a state
# is four real numbers: there is no such array. What you can do is play. Chapter 2 turns the sums into
# expectations, and expectations into averages over episodes.
#
# ## Further reading
#
# * R. S. Sutton & A. G. Barto, *Reinforcement Learning: An Introduction*, 2nd ed. 2018: chapter 3
#   on MDPs, section 13.2 on the policy gradient theorem.
# * R. S. Sutton, D. McAllester, S. Singh & Y. Mansour, *Policy Gradient Methods for Reinforcement
#   Learning with Function Approximation*, NeurIPS 1999 (published 2000), theorem 1.
# * C. Nota & P. S. Thomas, *Is the Policy Gradient a Gradient?*, AAMAS 2020, arXiv:1906.07073.
# * P. S. Thomas, *Bias in Natural Actor-Critic Algorithms*, ICML 2014: the missing γ^t.
# * J. Mei, C. Xiao, C. Szepesvári & D. Schuurmans, *On the Global Convergence Rates of Softmax
#   Policy Gradient Methods*, ICML 2020, arXiv:2005.06392: how long a softmax that is sure of
#   itself takes.
