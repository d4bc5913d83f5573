# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # 8. The comparison
#
# Seven chapters have built ten methods. This one asks which of them is better, and when an answer
# to that can be believed. Afterwards you can
#
# - say why a comparison of single runs says nothing, and show it;
# - give an interval for where an agent's runs end, and a test of whether two agents differ, and say
#   what each of them assumes;
# - use runs that never reached a threshold, instead of dropping them;
# - tell a smaller variance from a shorter gradient, and test a popular claim about variance on
#   several policies;
# - read the TensorBoard dashboards, and write down for each of the ten methods how it samples, what
#   it multiplies the score function with, and what it maximises.
#
# **You need** chapters 1 to 7; of probability: expectation, variance, quantiles, the idea of a test
# and its p-value; of torch: sorting, indexing with an array, boolean masks. **Time:** an hour and a
# quarter. All cells together run for about a minute.

# %%
from itertools import combinations
from math import comb
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Image, Markdown, display
from scipy import stats

import pgzoo
from pgzoo import course, estimators, lab
from pgzoo.agents import AGENTS, agent_class, place_in_zoo
from pgzoo.records.intervals import common_curve, interquartile_mean, interquartile_mean_band
from pgzoo.records.significance import holm
from pgzoo.records.style import LOOKS, STYLE

plt.rcParams.update(STYLE)
rng = np.random.default_rng(0)

# %% [markdown]
# ## 8.1 One seed says nothing
#
# A *training run* of an agent draws the first parameters, the starts of all episodes and all
# actions at random, from its seed. Forty seeds of one agent are forty runs that differ in nothing
# else. Here they are: REINFORCE with a baseline on CartPole, 30,000 environment steps each, with a
# small network. That is a fraction of what the agent needs to solve it. A short budget is a
# question of its own (who is ahead *after 30,000 steps?*), and nothing in this chapter answers
# another one.

# %%
TRAINING = {"env": "CartPole-v1", "steps": 30_000, "hidden": (32, 32)}
run = pgzoo.train("reinforce-baseline", seeds=40, progress=False, **TRAINING)
returns = np.array(run.summary["eval_mean"])  # of each trained policy, over 100 fresh episodes
print(f"{len(returns)} runs of one agent end between {returns.min():.0f} and {returns.max():.0f}")

# %% [markdown]
# **Question.** Two people train *the same agent*, one seed each, and compare where their runs end.
# In what share of all pairs of seeds do the two mean returns differ by more than 40? And if each takes
# the mean of three seeds, or of ten?
#
# <details><summary>Answer</summary>
#
# The next cell counts: with single seeds more than four in ten, with three seeds each still more
# than one in ten, with ten each fewer than one in ten. A paper that finds its method 40 ahead on
# one seed has found what one gets from comparing a method with itself.
#
# </details>

# %%
apart = {}
for n in (1, 3, 10):
    order = np.array([rng.permutation(40)[: 2 * n] for _ in range(4000)])
    apart[n] = abs(returns[order[:, :n]].mean(1) - returns[order[:, n:]].mean(1))
far = {n: (x > 40).mean() for n, x in apart.items()}
print({f"seeds each: {n}": f"{share:.1%} more than 40 apart" for n, share in far.items()})
assert far[1] > 0.4
assert far[3] > 0.1 > far[10]

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
last = run.metrics.groupby("seed").return_last_100.last()
shown = {last.idxmax(): "new method?", last.idxmin(): "baseline?"}
for seed, rows in run.metrics.groupby("seed"):
    colour = {"new method?": "#117733", "baseline?": "#D55E00"}.get(shown.get(seed), "#bbbbbb")
    left.plot(
        rows.env_steps / 1000,
        rows.return_last_100,
        color=colour,
        label=shown.get(seed),
        lw=2.5 if seed in shown else 0.8,
        zorder=3 if seed in shown else 2,
    )
left.set(xlabel="environment steps, thousands", ylabel="return, mean of the last 100 episodes")
left.set_title("Forty runs of one and the same agent")
left.legend()
for (n, x), look in zip(apart.items(), LOOKS, strict=False):
    right.hist(
        x,
        bins=np.arange(0, 165, 5),
        density=True,
        histtype="step",
        color=look.colour,
        ls=look.line,
        lw=2,
        label=f"{n} seed{'s' if n > 1 else ''} each",
    )
right.set(xlabel="difference of the mean returns of two sets of seeds", ylabel="density")
right.set_title("How far the agent is from itself")
right.legend()
plt.show()

# %% [markdown]
# ## 8.2 The unit is the training run
#
# More episodes do not help. A trained policy's own mean return can be measured as precisely as one
# likes by playing more episodes; where *the next seed* ends stays as uncertain as it was. Let
# $\mu_s$ be the mean return of the policy that seed $s$ ends with, $\sigma_\text{run}^2$ the
# variance of $\mu_s$ over seeds and $\sigma_\text{ep}^2$ that of an episode's return around
# $\mu_s$. The mean over $S$ seeds of $E$ episodes each has the variance
#
# $$\frac{\sigma_\text{run}^2}{S} + \frac{\sigma_\text{ep}^2}{S\,E}.$$
#
# Only $S$ makes both terms small. A test that takes all $S E$ episodes for independent reports the
# variance $(\sigma_\text{run}^2 + \sigma_\text{ep}^2)/(S E)$ instead, which is too small by a
# factor of $E$ in the first term. What that does is seen by comparing the agent with itself:
# twenty of its seeds, dealt at random to two sets of ten, over and over. A test at 5% should find a
# difference in 5% of the deals.

# %%
episodes = run.evaluate(episodes=30).to_numpy()  # [E, S]: 30 fresh episodes of each policy
pooled, by_run = [], []
for _ in range(400):
    order = rng.permutation(40)
    a, b = episodes[:, order[:10]], episodes[:, order[10:20]]
    pooled.append(stats.ttest_ind(a.ravel(), b.ravel()).pvalue)
    by_run.append(stats.ttest_ind(a.mean(0), b.mean(0)).pvalue)
false = {"episodes": np.mean(np.array(pooled) < 0.05), "runs": np.mean(np.array(by_run) < 0.05)}
print("p < 0.05 with this unit:", {unit: f"{x:.0%} of deals" for unit, x in false.items()})
assert false["episodes"] > 0.2
assert false["runs"] < 0.1

# %% [markdown]
# With the episode as the unit the agent "significantly differs" from itself in a large share of the
# deals. **The unit is the training run**, and each run enters every statistic as one number.
#
# ## 8.3 The interquartile mean, and its interval
#
# Which one number for many runs? The mean follows every outlier: one run of ten that fails moves it
# by a tenth of everything. The median throws away most of what was paid for. The *interquartile
# mean* is between the two. Of the $n$ runs, sorted,
#
# $$\text{IQM} = \frac{1}{n - 2\lfloor n/4\rfloor}
#   \sum_{i=\lfloor n/4\rfloor + 1}^{n-\lfloor n/4\rfloor} x_{(i)},$$
#
# so the lowest n // 4 and the highest n // 4 of the runs are left out, and the rest is averaged.
# Of eight runs 0, 1, 2, 3, 5, 8, 13, 100 the two lowest and the two highest go, and it is
# (2 + 3 + 5 + 8)/4 = 4.5; the median is 4.
#
# ### Exercise 1
#
# Runs may have finished different numbers of episodes: rows of returns are padded, and a mask says
# which places hold an episode. What stands in the padding may be anything, NaN included. First each
# run becomes one number, its mean over its own episodes; then comes the interquartile mean.


# %% tags=["exercise", "final_return"]
def final_return(returns, mask):
    """The interquartile mean over runs of each run's mean return.

    returns: of episodes, [S, E]: a run in every row. mask: [S, E], true where there is an episode;
    every run has at least one. Of S runs, S // 4 are left out at either end. Returns a number.
    """
    ### BEGIN SOLUTION
    per_run = torch.where(mask, returns, 0.0).sum(-1) / mask.sum(-1)
    quarter = len(per_run) // 4
    middle = per_run.sort().values[quarter : len(per_run) - quarter]
    return middle.mean()
    ### END SOLUTION


# %%
course.check("final_return", final_return)

# %% [markdown]
# How much do the three summaries vary from one set of ten runs to the next? Ten runs are drawn from
# our forty, many times; then again with a tenth of the forty replaced by runs that failed (return
# 10).

# %%
episodes_of_runs = torch.tensor(episodes.T)  # [S, E]
every = torch.ones(episodes_of_runs.shape, dtype=torch.bool)
print(f"interquartile mean of all forty runs: {final_return(episodes_of_runs, every):.1f}")
some_fail = np.where(rng.permutation(40) < 4, 10.0, returns)
summaries = {"mean": np.mean, "median": np.median, "interquartile mean": interquartile_mean}
sets = rng.integers(40, size=(4000, 10))
kinds = {"none failed": returns, "a tenth failed": some_fail}
spread = pd.DataFrame(
    {who: {k: f(x[sets], axis=1).std() for k, f in summaries.items()} for who, x in kinds.items()}
)
spread.index.name = "standard deviation of the …"
assert spread["none failed"].idxmax() == "median"
assert spread["a tenth failed"].idxmax() == "mean"
spread.round(1)

# %% [markdown]
# Where nothing goes wrong the median varies most, where a run fails now and then the mean does. The
# interquartile mean is never the worst of the three. The price: it hides that runs fail. So a
# comparison shows the runs themselves beside it, and how many failed.
#
# **An interval by resampling.** What would ten other seeds have given? The *bootstrap* takes the
# ten that there are for all seeds there could be: draw ten of them with replacement, take the
# interquartile mean, and again, thousands of times. The middle 95% of these means are the
# *percentile interval*. Its idea is simple; does it hold what it promises? Here the truth is known
# if our forty runs are taken for the whole population. So we draw *samples* of 5, 10 and 20 runs
# from them, ask each for its interval, and count how often the truth is inside.
#
# **Question.** Will the percentile interval contain the truth in 95% of the samples of five runs?
#
# <details><summary>Answer</summary>
#
# In fewer. A sample of five runs shows less spread than the population has: its variance with 1/n
# is on average (n − 1)/n of the true one, a fifth too little. And the percentile interval knows
# normal tails only, not the wider ones of Student's t with four degrees of freedom. Both faults
# vanish as n grows. The *expanded* percentile interval (Hesterberg 2015) takes more than the middle
# 95% for few runs, so as to mend both. That is what `pgzoo` prints, from five runs on. Where it
# promises 95% it holds at five runs at least nine in ten (fewer where a little over a quarter of all
# runs fail: five runs may not show one of those).
#
# </details>

# %%
truth = interquartile_mean(returns)
covered = {}
for n in (5, 10, 20):
    samples = rng.choice(returns, (1000, n))  # 1000 samples of n runs
    resamples = samples[:, rng.integers(n, size=(500, n))]  # 500 resamples of each
    ends = np.quantile(interquartile_mean(resamples), (0.025, 0.975), axis=-1)
    band = interquartile_mean_band(samples.T)
    covered[n] = [
        np.mean((low <= truth) & (truth <= high)) for low, high in (ends, (band.low, band.high))
    ]
covered = pd.DataFrame(covered, index=["percentile interval", "expanded, as in pgzoo"]).T
assert covered["percentile interval"][5] < 0.91
assert (covered["expanded, as in pgzoo"] > covered["percentile interval"]).all()
assert (covered["expanded, as in pgzoo"] > 0.89).all()

fig, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
ax.axhline(0.95, color="#333333", lw=1, label="what is promised")
covered.plot(ax=ax, style=["o--", "s-"], color=[LOOKS[4].colour, LOOKS[0].colour])
ax.set(xlabel="runs in a sample", ylabel="share that contains the truth", xticks=(5, 10, 20))
ax.set_ylim(0.8, 1.0)
ax.set_title("Of few runs the plain bootstrap promises too much")
ax.legend(loc="lower right")
plt.show()

# %% [markdown]
# ## 8.4 Six agents, ten seeds
#
# `pgzoo.compare` trains what is missing of each agent, ten seeds each, and asks all statistics of
# this chapter. The ten seeds of REINFORCE with a baseline that it needs are among our forty; a seed
# learns the same whatever trains beside it, so they are reused. Every agent has its own documented
# settings (learning rate, batch, passes over each batch), but all have the same budget.

# %%
contenders = ["reinforce", "reinforce-baseline", "rloo", "grpo", "actor-critic", "ppo"]
found = pgzoo.compare(contenders, reuse=[run.path], progress=False, **TRAINING)
found.table[["runs", "iqm", "iqm_low", "iqm_high", "worst_tenth", "area"]].round(1)

# %%
looks = {name: LOOKS[place_in_zoo(name)] for name in contenders}  # an agent's in all figures
fig, ax = plt.subplots(figsize=(8, 4), layout="constrained")
for outcome in found.outcomes:
    lines = [rows for _, rows in outcome.metrics.groupby("seed")]
    curve = common_curve([x.env_steps for x in lines], [x.return_last_100 for x in lines])
    look = looks[outcome.label]
    ax.plot(curve.steps / 1000, curve.point, color=look.colour, ls=look.line, label=outcome.label)
    ax.fill_between(curve.steps / 1000, curve.low, curve.high, color=look.colour, alpha=0.15, lw=0)
ax.set(xlabel="environment steps of each seed, thousands", ylabel="return, last 100 episodes")
ax.set_title("Ten seeds each: interquartile mean with its 95% band")
ax.legend()
plt.show()

# %% [markdown]
# The bands are pointwise. A curve lags behind its policy, for it averages over the last hundred
# episodes of training; the table's `iqm` is of fresh episodes of the trained policies. Its `area` is
# the mean return over the whole budget, which rewards learning early.
#
# **What a short budget means.** After 30,000 steps REINFORCE and RLOO look hopeless. They are
# *slow*: with the budgets of their documented defaults (and with 64 units a layer and a schedule of
# that length) they get there, too. The repository has that comparison, of all ten agents, and the
# next cell puts it beside ours.

# %%
BENCHMARKS = Path(pgzoo.__file__).parents[1] / "benchmarks"
full = BENCHMARKS / "results" / "CartPole-v1-compared" / "contenders.csv"
here = found.table[["iqm", "budget"]].astype(float).add_suffix(", here")
if full.exists():
    published = pd.read_csv(full).set_index("contender")[["iqm", "budget"]]
    here = here.join(published.add_suffix(", published"))
    assert here["iqm, published"].min() > 450
    assert here["iqm, here"][["reinforce", "rloo"]].max() < 150
else:
    print("The published comparison is in benchmarks/ of the repository, which is not here.")
here.round(0)

# %%
found.plot("final_returns")

# %% [markdown]
# ## 8.5 Is the difference real?
#
# Two agents A and B, with $m$ and $n$ runs. Two different things are wanted: *how often* is a run
# of A better than one of B, and could that be *chance*?
#
# **How often.** The probability of improvement is P(A > B) + ½ P(A = B). It is estimated by the
# share of the $m\,n$ pairs of runs in which A's is better, ties counted half. It only reads the
# order of the returns, so no outlier moves it, and it means the same on every environment. The
# count of these pairs is Mann and Whitney's (1947) $U$.
#
# ### Exercise 2


# %% tags=["exercise", "probability_of_improvement"]
def probability_of_improvement(a, b):
    """P(A > B) + ½ P(A = B), estimated from runs.

    a: final returns of A, [m]. b: those of B, [n]. Returns a number.
    """
    ### BEGIN SOLUTION
    better = (a[:, None] > b).double().mean()
    equal = (a[:, None] == b).double().mean()
    return better + equal / 2
    ### END SOLUTION


# %%
course.check("probability_of_improvement", probability_of_improvement)

# %%
final = {o.label: torch.tensor(o.returns) for o in found.outcomes}
pairs = found.pairs.set_index(["first", "second"])
for (a, b), line in pairs.iterrows():
    assert abs(probability_of_improvement(final[a], final[b]) - line.probability) < 1e-9
found.plot("probability_matrix")

# %% [markdown]
# **By chance?** Suppose that A and B were one and the same: all $m + n$ runs are from one
# distribution. Then which of them were called A's is arbitrary, and every way to deal them out is
# equally likely. So: deal them out in other ways, take the difference of the means each time, and
# see how many deals are as far from zero as what was seen,
#
# p = (1 + number of deals at least as extreme as what was seen) / (1 + number of deals).
#
# The 1 is what was seen itself: it is one of the deals. Without it p could be 0, which nobody can
# know from a finite number of deals (Phipson & Smyth 2010). No normal distribution, no equal
# variances, no large samples are assumed; under the hypothesis p ≤ 0.05 has a probability of at
# most 5%, with three runs as with thirty.
#
# ### Exercise 3
#
# The deals are given as rows of positions in the pooled runs: `torch.cat([a, b])[deals[i]]` are the
# runs in another order, of which the first $m$ go to A. "As extreme" is meant in both directions.
# Means of equal runs may differ by rounding: count a deal that comes within 10⁻⁹ of what was seen.


# %% tags=["exercise", "permutation_p_value"]
def permutation_p_value(a, b, deals):
    """Two-sided p-value of the permutation test of the difference of means.

    a: [m]. b: [n]. deals: [B, m + n], a permutation of 0 … m + n − 1 in every row. Drawn at random
    they may contain the one that was seen, and p stays valid; in a full list it is left out.
    Returns a number.
    """
    ### BEGIN SOLUTION
    m = len(a)
    dealt = torch.cat([a, b])[deals]
    apart = (dealt[:, :m].mean(-1) - dealt[:, m:].mean(-1)).abs()
    seen = (a.mean() - b.mean()).abs()
    return (1 + (apart >= seen - 1e-9).sum()) / (1 + len(deals))
    ### END SOLUTION


# %%
course.check("permutation_p_value", permutation_p_value)

# %% [markdown]
# Fed with returns, it is a test of means. Fed with *ranks*, it is the Mann–Whitney test: the sum of
# A's ranks among all runs is $m(m+1)/2 + U$, so the mean ranks of A and B are
# $(m + n)(\hat P - \frac12)$ apart, $\hat P$ being the probability of improvement: a deal is as
# extreme in the one as in the other. The next cell does both for every pair, and holds the second
# against the exact p-values of `pgzoo.compare`.

# %%
deals = torch.rand(20_000, 20, generator=torch.Generator().manual_seed(0)).argsort(-1)
tests = []
for a, b in combinations(contenders, 2):
    ranks = torch.tensor(stats.rankdata(torch.cat([final[a], final[b]])))
    improvement = probability_of_improvement(final[a], final[b])
    assert abs(ranks[:10].mean() - ranks[10:].mean() - 20 * (improvement - 0.5)) < 1e-9
    tests.append(
        {
            "pair": f"{a} and {b}",
            "means": float(permutation_p_value(final[a], final[b], deals)),
            "ranks": float(permutation_p_value(ranks[:10], ranks[10:], deals)),
            "pgzoo": pairs.p[a, b] if (a, b) in pairs.index else pairs.p[b, a],
        }
    )
tests = pd.DataFrame(tests).set_index("pair")
assert (abs(tests.ranks - tests.pgzoo) < 0.02).all()
tests.round(5)

# %% [markdown]
# **Question.** With three runs of each agent, what is the smallest p-value that this test can give?
# With how many can it fall below 0.05?
#
# <details><summary>Answer</summary>
#
# Without ties there are $\binom{6}{3} = 20$ ways to deal six runs out, and the two most extreme of
# them (all the best to A, all the best to B) are equally extreme: p is never below 2/20 = 0.1. By
# this test three seeds decide nothing at 5%, however large the difference; a t-test could, but it
# assumes normal returns, which three runs cannot show. With four it is 2/70, enough for one
# comparison. The next cell has the table. (If B of the ways are drawn at random, p estimates that of
# all ways, and is itself never below 1/(B + 1).)
#
# </details>

# %%
least = {n: 2 / comb(2 * n, n) for n in (3, 4, 5, 7, 10)}
print("least p-value:", {f"{n} and {n} runs": f"{p:.2g}" for n, p in least.items()})
assert least[3] == 0.1
assert least[4] < 0.05 < 45 * least[5]
assert 45 * least[7] < 0.05

# %% [markdown]
# **Many comparisons.** Ten agents make 45 pairs. If all were the same and the tests independent, some
# pair would fall below 0.05 with probability $1 - 0.95^{45}$, which is 90%. Holm's (1979) correction
# holds the probability of *any* false decision at 5%: sort the $k$ p-values and multiply the
# smallest by $k$, the next by $k - 1$, and so on; none may be smaller than one before it. We can
# watch it work on the agent that we know to be one: its forty seeds, dealt to four "agents" of ten.

# %%
any_false = np.zeros(2)
for _ in range(400):
    four = returns[rng.permutation(40)].reshape(4, 10)
    p = np.array(
        [stats.mannwhitneyu(a, b, method="asymptotic").pvalue for a, b in combinations(four, 2)]
    )
    any_false += [p.min() <= 0.05, holm(p).min() <= 0.05]
any_false /= 400
print(f"some pair of six 'differs': {any_false[0]:.0%} uncorrected, {any_false[1]:.0%} by Holm")
assert any_false[0] > 0.12
assert any_false[1] < 0.09
assert 1 - 0.95**45 > 0.9

# %% [markdown]
# That is what stands behind the sentences of a comparison. They are never stronger than their
# numbers: what is not decided is *undecided*, which is not the same as *equal*, and beside it stands
# how many more seeds would tell a difference that matters.

# %%
ends = [v for v in found.verdicts if "threshold" not in v and "reached" not in v]
print(*ends, sep="\n\n")
assert any(v.startswith("ppo ends higher than reinforce:") for v in ends)
assert any(v.startswith("actor-critic ends higher than rloo:") for v in ends)

# %% [markdown]
# Two remarks on what is *not* said here. Runs are not paired by seed: seed 3 of one agent and seed 3
# of another share the starts of their first episodes and nothing that lasts. And the test asks
# whether both agents' runs are from one distribution; two agents of equal worth whose runs scatter
# differently can be told apart, too. Hence the interval of the probability of improvement beside it.
#
# ## 8.6 Steps to a threshold are censored
#
# "How many steps does it need to reach a return of 100?" Some runs have not reached it when their
# budget ends; others are stopped for another reason. **A run that was stopped says that it takes more
# steps than it trained**, no more and no less: its value is *censored*. Three ways to go wrong:
#
# | what is done with a run that was stopped unsolved | it is read as |
# |---|---|
# | it is dropped | as if only the runs that solved it existed: the worst agent may look fastest |
# | where it was stopped counts as where it solved it | as if a cut were an end |
# | it counts as a run that never solves it | as if nothing followed the cut |
#
# The second and the third are old acquaintances: `truncated` read as `terminated`, and a segment
# without bootstrap (chapter 4). What helps is the same, too: what would have followed is estimated
# from those who went on. Let $t_1 < t_2 < \dots$ be the steps at which some run solved it, $d_i$
# how many did at $t_i$, and $n_i$ how many were *known* to be unsolved just before: those with a
# step of at least $t_i$, solved or stopped. The share of runs that have not solved it by step $t$ is
# a product of conditional shares (Kaplan & Meier 1958),
#
# $$\hat S(t) = \prod_{i:\,t_i \le t} \Bigl(1 - \frac{d_i}{n_i}\Bigr).$$
#
# By hand: four runs with steps 10, 20, 30, 40, of which those at 10 and 30 solved it. Then
# $\hat S(35) = (1 - \frac14)(1 - \frac12) = 0.375$. The run that was stopped at 20 is in $n_1 = 4$,
# and no longer in $n_2 = 2$.
#
# One assumption is behind it: no run was stopped *because of how it did*. Those that went on stand for
# those that were stopped. Where somebody stops the runs that look bad, no formula mends that.
#
# ### Exercise 4


# %% tags=["exercise", "share_unsolved"]
def share_unsolved(steps, solved, at):
    """Kaplan and Meier's estimate of the share of runs that have not solved it by a step.

    steps: at which each run solved it or was stopped, [S]. solved: which of the two, [S], bool.
    at: a number of steps; a run that solved it at this very step has solved it. Returns a number.
    """
    ### BEGIN SOLUTION
    share = torch.tensor(1.0)
    for t in steps[solved & (steps <= at)].unique():
        known = (steps >= t).sum()
        share = share * (1 - (solved & (steps == t)).sum() / known)
    return share
    ### END SOLUTION


# %%
course.check("share_unsolved", share_unsolved)

# %% [markdown]
# A test with known truth: of our forty runs we know when each one's last hundred episodes first
# averaged 100. Now pretend that each run was stopped at a random step, as if a computer had been
# needed for something else, and estimate from what is left. One such accident says little, so there
# are fifty, and the figure has the averages of the estimates.

# %%
curve = run.metrics
crossed = curve[curve.return_last_100 >= 100].groupby("seed").env_steps.min().reindex(range(40))
first = torch.tensor(crossed.fillna(np.inf).to_numpy())
grid = torch.arange(15_000, 28_000, 500)
kinds = ["Kaplan and Meier", "counted as solved", "counted as never", "dropped"]
estimates = {kind: [] for kind in kinds}
for _ in range(50):
    stop = torch.tensor(rng.uniform(14_000, 30_000, 40))
    steps, solved = torch.minimum(first, stop), first <= stop
    estimates[kinds[0]].append([float(share_unsolved(steps, solved, float(t))) for t in grid])
    as_counted = (steps, torch.where(solved, steps, torch.inf), steps[solved])
    for kind, counted in zip(kinds[1:], as_counted, strict=True):
        estimates[kind].append([float((counted > t).double().mean()) for t in grid])
average = {kind: np.mean(x, axis=0) for kind, x in estimates.items()}
truth = np.array([float((first > t).double().mean()) for t in grid])
bias = {kind: float(abs(x - truth).mean()) for kind, x in average.items()}
print({kind: f"{b:.3f} off on average" for kind, b in bias.items()})
assert 2 * bias["Kaplan and Meier"] < min(b for k, b in bias.items() if k != "Kaplan and Meier")

fig, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
ax.step(grid / 1000, truth, where="post", color="#000000", lw=4, alpha=0.35, label="nobody stopped")
for (kind, shares), look in zip(average.items(), LOOKS, strict=False):
    label = kind if kind == kinds[0] else f"stopped runs {kind}"
    ax.step(grid / 1000, shares, where="post", label=label, color=look.colour, ls=look.line)
ax.set(xlabel="environment steps, thousands", ylabel="share that has not reached 100")
ax.set_title("Runs stopped at random: one estimate follows the truth")
ax.legend()
plt.show()

# %% [markdown]
# In a comparison the runs are stopped because the budget ends. Then all that is known is known up to
# the *common* budget, and there everything is compared. Here are our six agents. All runs are
# stopped at the same step, after everything that is shown: so Kaplan and Meier's estimate is the
# plain share here.

# %%
fig, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
grid = torch.arange(10_000, 30_001, 250)
reached = {}
for outcome in found.outcomes:
    m, look = outcome.metrics, looks[outcome.label]
    crossed = m[m.return_last_100 >= 100].groupby("seed").env_steps.min().reindex(outcome.seeds)
    first = torch.tensor(crossed.fillna(np.inf).to_numpy())
    steps, solved = first.clamp(max=30_000), first <= 30_000
    reached[outcome.label] = int(solved.sum())
    shares = [float(share_unsolved(steps, solved, float(t))) for t in grid]
    assert np.allclose(shares, [(first > t).double().mean() for t in grid])
    ax.step(grid / 1000, shares, where="post", color=look.colour, ls=look.line, label=outcome.label)
ax.set(xlabel="environment steps, thousands", ylabel="share that has not reached 100")
ax.set_title("How soon runs reach a return of 100")
ax.legend(loc="lower left")
plt.show()
print("runs of ten that reached it within 30,000 steps:", reached)
assert reached["ppo"] == reached["actor-critic"] == 10
assert reached["reinforce"] < 8

# %% [markdown]
# (The *first of many looks* at a noisy average comes early by luck. `steps_to_threshold` in a run's
# summary therefore counts a crossing only if 200 fresh episodes confirm it. The shortcut above does
# not.)
#
# ## 8.7 A folk claim about variance
#
# > REINFORCE has the highest variance, RLOO less, GRPO and REINFORCE++ less still while staying
# > unbiased.
#
# Sentences like this one are found in many posts and some papers. To test it we have to say what is
# meant. Let $\hat g \in \mathbb R^P$ be a method's estimate from one batch. Its *variance* is the
# trace of its covariance, $\mathrm{tr}\,\mathrm{Cov}\,\hat g = E\lVert\hat g - E\hat g\rVert^2$.
# A method that multiplies every estimate by $c$ multiplies that by $c^2$. GRPO and REINFORCE++ divide
# by a standard deviation of returns and average over steps: their $c$ may be a thousandth, their
# variance a millionth, and nothing is gained, because an optimiser like Adam divides by the
# gradient's size anyway. What survives rescaling is the *relative variance*,
#
# $$\frac{\mathrm{tr}\,\mathrm{Cov}\,\hat g}{\lVert E\hat g\rVert^2},$$
#
# noise in units of signal. From $M$ independent estimates with mean $\bar g$, the trace is the sum
# over the entries of their sample variances, with $M - 1$ below. The signal needs more care:
#
# $$E\lVert\bar g\rVert^2 = \lVert E\hat g\rVert^2 + E\lVert\bar g - E\hat g\rVert^2
#   = \lVert E\hat g\rVert^2 + \frac{\mathrm{tr}\,\mathrm{Cov}\,\hat g}{M}.$$
#
# ‖mean‖² is on average larger than ‖E ĝ‖², by variance / M, for the mean has noise of its own. Left
# in, it makes every method look better than it is, and the noisier ones most: the ratio of the two
# expectations never exceeds $M$.
#
# **Question.** By what factor do the variance and the relative variance change if all rewards are
# paid in cents instead of euros? And for GRPO?
#
# <details><summary>Answer</summary>
#
# With Ψ = G or R − baseline the gradient is a hundred times as long: the variance grows by 10,000,
# the relative variance not at all. GRPO divides by the group's standard deviation, which grows by
# 100 as well: nothing changes. So a table of raw variances compares units of money.
#
# </details>
#
# ### Exercise 5
#
# If less than nothing is left of the signal, noise hides it: the relative variance is infinite then.


# %% tags=["exercise", "relative_variance"]
def relative_variance(estimates):
    """Trace of the covariance over the squared length of the expectation.

    estimates: M independent ones, [M, P]. Both the trace and what is left of ‖mean‖² without its
    own noise are unbiased figures. Infinite where the latter is not positive. Returns a number.
    """
    ### BEGIN SOLUTION
    variance = estimates.var(0).sum()
    signal = estimates.mean(0).square().sum() - variance / len(estimates)
    return variance / signal if signal > 0 else torch.tensor(torch.inf)
    ### END SOLUTION


# %%
course.check("relative_variance", relative_variance)

# %% [markdown]
# On a small MDP the truth is cheap: 20,000 estimates in a corridor, by REINFORCE in its plainest
# form, Ψ = R. From ten of them at a time, what does the ratio say with the mean's own noise left in,
# and without it?

# %%
corridor = lab.mdps.corridor(8)
uniform = torch.full((corridor.num_states, corridor.num_actions), 1 / corridor.num_actions)
batch = lab.simulate(corridor, uniform, horizon=30, batches=20_000, episodes=4, seed=0)
psi = estimators.episode_return(batch.reward, batch.mask, gamma=1.0)[..., None] * batch.mask
many = lab.score_gradients(batch, psi, uniform).flatten(1)  # [M, P]
true = float(relative_variance(many))
tens = many.unflatten(0, (-1, 10))  # [2000, 10, P]
left_in = tens.var(1).sum(-1) / tens.mean(1).square().sum(-1)
own = torch.stack([relative_variance(x) for x in tens])
variance = tens.var(1).sum(-1)
pooled = variance.sum() / (tens.mean(1).square().sum(-1) - variance / 10).sum()
print(f"true: {true:.1f}; ten at a time: {left_in.mean():.1f} with the mean's own noise in it")
print(f"without it: pooled {pooled:.1f}; one by one {own.isinf().double().mean():.0%} are infinite")
assert left_in.mean() < 0.4 * true
assert own.isinf().any()
assert abs(pooled / true - 1) < 0.15

# %% [markdown]
# Left in, the noise of the mean hides most of what there is to see. Taken out, ten estimates say
# little by themselves, and the *average of ratios* is not even finite. Pooled over many tens,
# Σ variance / Σ (‖mean‖² − variance/M), they say the right thing: **pool sums, never average
# ratios.**
#
# ### The test
#
# A claim about methods is about *policies*: of one frozen policy it may hold by chance. So we take
# six seeds of the run above at three moments of training each, and measure all methods on every
# policy, with 16 trajectories per estimate in groups of eight. The **training seed is the unit**: for
# each pair and moment there are six log-ratios of relative variances, one a seed, and Student's
# interval of their mean. Holm corrects over all twelve comparisons.
#
# That is an average of (logarithms of) ratios, after all. Here every ratio rests on 60 estimates of
# one policy, and variance/M is nearly always a small part of ‖mean‖². And policies differ in truth, so each counts
# once.

# %%
WHOLE = "reinforce:whole_return=yes"  # Ψ = R at every step; plain reinforce has Ψ = G_t
claims = {
    "RLOO / REINFORCE with R": ("rloo", WHOLE),
    "RLOO / REINFORCE with G_t": ("rloo", "reinforce"),
    "GRPO / RLOO": ("grpo", "rloo"),
    "REINFORCE++ / RLOO": ("reinforce++", "rloo"),
}
moments, lines, noise = (0, 30, 60), [], []
for at in moments:
    for seed in range(6):
        measured = pgzoo.measure(
            [WHOLE, "reinforce", "rloo", "grpo", "reinforce++"],
            run=run,
            replica=seed,
            at=at,
            trajectories=16,
            estimates=60,
            reference_estimates=20,
            critic_trajectories=16,
            progress=False,
        )
        numbers = measured.table[["variance", "relative_variance"]]
        noise.extend(1 / (1 + 60 / numbers.relative_variance))  # variance/M over ‖mean‖²
        for claim, (a, b) in claims.items():
            ratio = numbers.loc[a] / numbers.loc[b]
            lines.append(
                {
                    "at": at,
                    "seed": seed,
                    "claim": claim,
                    "raw": ratio.variance,
                    "relative": ratio.relative_variance,
                }
            )
ratios = pd.DataFrame(lines)
print(f"variance/M over ‖mean‖²: median {np.median(noise):.0%}, at most {max(noise):.0%}")
assert np.isfinite(ratios[["raw", "relative"]]).all(axis=None)
assert np.quantile(noise, 0.95) < 0.3
assert max(noise) < 0.8

# %% [markdown]
# (`measure` also fits a critic and samples a reference gradient, for figures that are not asked for
# here; they are kept small.)


# %%
def interval_over_seeds(x):
    """Geometric mean of six seeds' ratios, its 95% interval, and the p-value of a ratio of one."""
    logs = np.log(x)
    half = stats.t.ppf(0.975, len(x) - 1) * logs.sem()
    point = logs.mean()
    return pd.Series({"ratio": point, "low": point - half, "high": point + half}).map(np.exp)


groups = ratios.groupby(["claim", "at"], sort=False)
table = groups.relative.apply(interval_over_seeds).unstack()
table["p"] = groups.relative.apply(lambda x: stats.ttest_1samp(np.log(x), 0).pvalue)
table["p"] = holm(table.p)
decided = np.where(table.ratio < 1, "less", "MORE")
table["so it is"] = np.where(table.p < 0.05, decided, "undecided")
table["of raw variances"] = groups.raw.median()
table = table.loc[list(claims)]
table.style.format("{:.2f}", subset=["ratio", "low", "high"]).format(
    "{:.2g}", subset=["p", "of raw variances"]
)

# %%
fig, ax = plt.subplots(figsize=(9, 4), layout="constrained")
for k, at in enumerate(moments):
    for row, claim in enumerate(claims):
        y = row + 0.22 * (k - 1)
        seeds = ratios[(ratios["at"] == at) & (ratios.claim == claim)].relative
        ax.plot(seeds, [y] * 6, "o", ms=4, alpha=0.35, color=LOOKS[k].colour)
        point, low, high = table.loc[(claim, at), ["ratio", "low", "high"]]
        ax.errorbar(
            point,
            y,
            xerr=[[point - low], [high - point]],
            fmt="D",
            capsize=4,
            color=LOOKS[k].colour,
            label=f"after {at}% of training" if row == 0 else None,
        )
ax.axvline(1, color="#333333", lw=1)
ax.set(xscale="log", yticks=range(4), yticklabels=claims, ylim=(3.6, -0.6))
ax.set_xticks([0.2, 0.5, 1, 2], ["0.2", "0.5", "1", "2"])
ax.minorticks_off()
ax.set_xlabel("ratio of relative variances: six policies, geometric mean and its 95% interval")
ax.set_title("RLOO against REINFORCE: less with R; with G_t more before training, then undecided")
fig.legend(loc="outside lower center", ncols=3)
plt.show()

# %%
for at in moments:
    assert table.loc[("RLOO / REINFORCE with R", at)].high < 1
    assert table.loc[("REINFORCE++ / RLOO", at)].high < 1
against_to_go = table.loc["RLOO / REINFORCE with G_t"]
assert against_to_go.low[0] > 1
assert (against_to_go["so it is"][[30, 60]] == "undecided").all()
assert table.loc[("GRPO / RLOO", 0)].high < 1
assert table.loc[["GRPO / RLOO", "REINFORCE++ / RLOO"], "of raw variances"].max() < 1e-3

# %% [markdown]
# What is left of the claim:
#
# - **"REINFORCE has the highest variance, RLOO less"** holds against REINFORCE with the *whole return*
#   R at every step, as language-model papers write it, where the only reward comes at the end. It
#   does not hold against REINFORCE with the return-to-go G_t, which every textbook has: on the
#   untrained policies RLOO's relative variance is the *larger* one. Two things differ: R less the
#   others' mean keeps the noise of rewards that came before the action, which G_t leaves out; and a
#   batch in groups of eight has two starts where sixteen independent episodes have sixteen.
# - **"GRPO and REINFORCE++ less still"**: their *raw* variance is less than a thousandth of RLOO's, and
#   that says nothing, for it is the square of a shorter gradient. In relative variance REINFORCE++ is
#   below RLOO on these policies, too; it has the return-to-go. GRPO is below at the start; later the
#   interval decides, in the table.
# - **"while staying unbiased"** has not been looked at yet: section 8.9 does.
#
# All of this is about CartPole, policies of one agent early in training, N = 16 and K = 8. The
# repository's `benchmarks/claims.md` tests the same claim with 400 estimates a policy on CartPole and
# 100 on LunarLander, N = 32, on six policies of two training runs. Its counts, read from the file:

# %%
report = BENCHMARKS / "claims.md"
if report.exists():
    part = report.read_text(encoding="utf-8").split("## Verdict")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in part.splitlines() if line.startswith("| ")]
    head, *lines = [[cell.strip() for cell in row] for row in rows]
    claimed = pd.DataFrame(lines, columns=head).set_index("")
    quoted = claimed["in all"].rename("of six policies")
    display(quoted.to_frame())
    assert "true" not in quoted["grpo is unbiased"]
    to_go = "RLOO less than REINFORCE (G_t): relative variance"
    assert quoted[to_go] == "3 undecided, 2 true, 1 false"
    assert claimed.loc[to_go].str.startswith("true (0.045").sum() == 1  # a factor of twenty
    assert "1 false" in quoted["REINFORCE++ less than RLOO: relative variance"]
else:
    print("The full experiment is in benchmarks/claims.md of the repository, which is not here.")

# %% [markdown]
# There RLOO against G_t is refuted on one policy, confirmed on two (on one by a factor of about
# twenty), undecided on three. And REINFORCE++ below RLOO is refuted on one, a half-trained policy on
# CartPole: what *our* eighteen policies say turns round on another one. That is why a claim about methods needs several policies, and why the answer "in
# general" may be: it depends.
#
# ## 8.8 Reading the dashboards
#
# `pgzoo tensorboard` shows every run under `runs/`, or those of a comparison, side by side: one line
# per agent in every chart, over environment steps per seed. There are three sections, in the order of
# three questions.
#
# | section | question | charts | what to look for |
# |---|---|---|---|
# | `Learning` | how well? | return with the ends of its interval, success rate, steps per episode | do intervals part, and for how long? |
# | `gradient` | how good is the estimate? | relative variance, the same as if a batch had 1,000 steps, noise scale, cosine between halves, length | is noise what holds it up? |
# | `why` | what explains that? | quantiles of Ψ and of effective weights, explained variance, entropy, KL of an update, clipping, step size | which part of the method is at work? |
#
# The *noise scale* is the number of trajectories at which noise equals signal (McCandlish et al.
# 2018): a batch far below it is mostly noise. Relative variance of *a batch* favours agents with large
# batches; the chart for 1,000 steps puts all on one footing.
#
# The charts are in event files in each run's folder, and can be read without a browser. The next cell
# does that for the comparison above, and draws one chart of each section.

# %%
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

events = {o.label: EventAccumulator(str(o.runs[0])).Reload() for o in found.outcomes}
tags = events["ppo"].Tags()["tensors"]
sections = pd.Series([t.partition("/")[0] for t in tags if "/" in t]).value_counts()
print("charts of ppo:", sections.to_dict())
assert {"Learning", "gradient", "why"} <= set(sections.index)

charts = {
    "Learning/return": "return",
    "gradient/relative_variance_of_1000_steps": "relative variance\nof 1,000 steps",
    "why/entropy": "entropy, nats",
}
fig, axes = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained")
for ax, (tag, label) in zip(axes, charts.items(), strict=True):
    for agent, source in events.items():
        curve, look = source.Tensors(tag), looks[agent]
        ax.plot(
            [e.step / 1000 for e in curve],
            [e.tensor_proto.float_val[0] for e in curve],
            color=look.colour,
            ls=look.line,
            label=agent,
        )
    ax.set(xlabel="environment steps, thousands", ylabel=label)
    ax.set_title(tag.partition("/")[0])
axes[1].set_yscale("log")
last = {k: x.Tensors(list(charts)[1])[-1].tensor_proto.float_val[0] for k, x in events.items()}
assert last["ppo"] >= 10
assert found.table.iqm["ppo"] > 490
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
plt.show()

# %% [markdown]
# Relative variances end at 10, the top edge: that or more, the infinite included. Look at PPO: it is
# ahead on the left, and at the edge in the middle. PPO's policy is nearly at its best by then: little
# gradient is left, so noise in units of signal is large for any method. A high relative variance may
# mean success. The charts are of *different policies*, each agent's own at that moment. That is why
# the laboratory freezes one policy for all.
#
# The event files hold pictures as well, such as the learning curve seed by seed, which the *Images*
# page shows:

# %%
(picture,) = events["grpo"].Images("with figures/learning curve, seed by seed")
Image(picture.encoded_image_string, width=560)

# %% [markdown]
# **Question.** In the dashboard of a run the return has stopped rising, relative variance is at the
# top edge, `why/entropy` is near zero. Another run's return has stopped rising at relative variance
# 0.3 and `why/clip_fraction` 0.4. What would you try first in each?
#
# <details><summary>Answer</summary>
#
# The first policy is nearly deterministic: hardly an action is ever another one, so there is hardly a
# gradient to be seen in the noise. More trajectories would not bring exploration back; an entropy
# bonus, a smaller step size or an earlier stop would have kept it. In the second the gradient is seen
# clearly, and two fifths of the steps are clipped away: it wants smaller steps or fewer passes over
# each batch.
#
# </details>
#
# ## 8.9 The table of all methods
#
# Chapter 2 ended the derivation with one formula, and every method since has been a choice in it:
#
# $$\nabla J(\theta) \approx \sum_i w_i \sum_t \nabla\log\pi_\theta(a_{i,t}\mid s_{i,t}).$$
#
# Let us derive what four of them put in. All sample $N$ trajectories; trajectory $i$ has $\ell_i$ steps
# and the return $R_i$, and the policy is still the one that sampled (ρ = 1). Summing over a
# trajectory's steps and averaging over trajectories gives one factor, averaging over the steps as
# well the other:
#
# w_i = Ψ_i / N, and Ψ_i / (N ℓ_i) where the steps of a trajectory are averaged.
#
# | method | Ψ | steps of a trajectory |
# |---|---|---|
# | `reinforce` with the whole return | $R_i$ | summed |
# | `rloo` | $R_i$ − mean of the group's other $K-1$ | summed |
# | `dr-grpo` | $R_i$ − mean of the group's $K$ | summed |
# | `grpo` | ($R_i$ − mean of the group's $K$) / std of the group (Bessel) | averaged |
#
# ### Exercise 6


# %% tags=["exercise", "method_weight"]
def method_weight(returns, lengths, group_size, method):
    """What multiplies ∇log π of each step of a trajectory in a method's estimate, at ρ = 1.

    returns: R, [S, N], members of a group adjacent. lengths: steps ℓ of each trajectory, [S, N].
    method: "reinforce", "rloo", "dr-grpo" or "grpo", as in the table; no eps beside the std.
    Returns [S, N].
    """
    ### BEGIN SOLUTION
    n = returns.shape[-1]
    group = returns.unflatten(-1, (-1, group_size))
    advantage = group - group.mean(-1, keepdim=True)
    psi = {
        "reinforce": group,
        "rloo": advantage * group_size / (group_size - 1),
        "dr-grpo": advantage,
        "grpo": advantage / group.std(-1, keepdim=True),
    }[method].flatten(-2)
    return psi / (n * lengths) if method == "grpo" else psi / n
    ### END SOLUTION


# %%
course.check("method_weight", method_weight)

# %% [markdown]
# Your function against the agents themselves, on eight trajectories of a corridor. An agent says
# `psi`, its Ψ at every step, and `step_weights`, how steps are added up.

# %%
short, coin = lab.mdps.corridor(), torch.full((5, 2), 0.5)
batch = lab.simulate(short, coin, horizon=40, batches=1, episodes=8, group_size=4, seed=1)
all_returns = estimators.episode_return(batch.reward, batch.mask, gamma=1.0)
lengths = batch.mask.sum(-1)
weights = {}
for name in ("reinforce", "rloo", "dr-grpo", "grpo"):
    own = {"whole_return": True} if name == "reinforce" else {"group_size": 4}
    agent = agent_class(name).with_options(episodes=8, gamma=1.0, **own)
    weights[name] = method_weight(all_returns, lengths, 4, name)
    theirs = (agent.psi(batch, None) * agent.step_weights(batch))[..., 0]
    assert torch.allclose(theirs, weights[name].float(), rtol=1e-4, atol=1e-6), name

fig, axes = plt.subplots(1, 4, figsize=(10, 3), layout="constrained", sharex=True)
ticks = [f"{r:.1f}\n{n}" for r, n in zip(all_returns[0], lengths[0], strict=True)]
for ax, (name, w) in zip(axes, weights.items(), strict=True):
    ax.bar(range(8), w[0], color=LOOKS[place_in_zoo(name)].colour)
    ax.axhline(0, color="#333333", lw=1)
    ax.axvline(3.5, color="#333333", lw=1, ls=":")
    ax.set_title(name)
    ax.set_xticks(range(8), ticks, fontsize=7)
axes[0].set_ylabel("weight of every step")
fig.supxlabel("trajectories of two groups of four: return, and length below it", fontsize=10)
plt.show()
assert (weights["reinforce"] < 0).sum() > 4
assert torch.allclose(weights["rloo"], weights["dr-grpo"] * 4 / 3)
assert weights["grpo"].clamp(max=0).abs().sum() < 0.5 * weights["grpo"].clamp(min=0).sum()

# %% [markdown]
# Each panel has its own scale: only proportions within a panel count. Without a baseline nearly all
# that was done is discouraged, the better of it less. RLOO and Dr. GRPO are one picture, 4/3 apart.
# GRPO takes from the long trajectories, which here are the bad ones: hardly anything is discouraged
# any more, though in RLOO's weights as much is discouraged as encouraged.

# %% [markdown]
# Now the whole zoo. Each agent's file (linked below; the links work in the repository) registers its
# name, its Ψ and its source, and names its sampling plan, surrogate, critic and penalty. So the table need not be written by hand: it is *read*. What
# remains to be derived is the last factor, what a surrogate makes of Ψ once θ has left the
# $\theta_\text{old}$ that sampled (chapter 7):
#
# | surrogate | effective weight of $\nabla\log\pi_\theta(a_t\mid s_t)$ |
# |---|---|
# | score function, $\Psi\log\pi$ | Ψ |
# | clipped ratio, $\min(\rho\Psi, \mathrm{clip}(\rho, 1-\epsilon, 1+\epsilon)\Psi)$ | ρΨ inside the trust region, 0 where clipping bites |
# | expected gradient, $\sum_a \pi(a)\Psi(a)$ | every action: π(a) Ψ(a) on $\nabla\log\pi(a\mid s)$ |
#
# ### The experiment of each row
#
# A pond of nine fields, one of them a hole; steps cost 0.1, the hole 1, the goal pays 1; now and then
# one slips. Its transition table is known, so the gradient is exact, and each agent gets 200 estimates
# from 32 episodes each at the uniform policy. So does GRPO without 1/ℓ, its steps summed.
#
# **Question.** Which of the ten will be *unbiased*, which only *rescaled*, and which point in *another
# direction*? Write down your guess before you run the cell.
#
# <details><summary>Answer</summary>
#
# Unbiased: REINFORCE, RLOO, and REINFORCE with the mean return at each step as baseline, but for the
# own sample in that mean: at a step that n episodes reach, it keeps (n − 1)/n, near 1 as long as many
# are still going on. Rescaled: Dr. GRPO by (K − 1)/K = 7/8, and REINFORCE++ and its variant by a
# scale that is common to the batch (common, but itself random and computed from the same episodes,
# which is a small bias in direction; with these numbers it is not seen). Another direction: GRPO, which
# divides by lengths that differ from trajectory to trajectory (and by a std that differs from group to
# group); actor-critic
# and PPO, which trust a fitted V(s): at every step a little (λ < 1), and where the time limit ends an
# episode, though the objective counts nothing after it; all-actions, which puts all its trust in q̂.
#
# </details>

# %%
import gymnasium

gymnasium.register(
    "Pond-v0",
    entry_point="gymnasium.envs.toy_text.frozen_lake:FrozenLakeEnv",
    kwargs={
        "desc": ["SFF", "FFH", "FFG"],  # start, frozen, hole, goal
        "success_rate": 0.8,
        "reward_schedule": (1.0, -1.0, -0.1),  # goal, hole, any other step
    },
    max_episode_steps=20,
)
GRPO_SUMMED = "grpo:aggregation=sum"
pond = pgzoo.measure(
    [*AGENTS, GRPO_SUMMED], env="Pond-v0", policy="tabular", estimates=200, progress=False
)
assert pond.measurement.reference == "exact"

# %%
EFFECTIVE = {
    "score function": "Ψ",
    "clipped ratio": "ρΨ, or 0 where clipped",
    "expected gradient": "π(a)Ψ(a), every a",
}
methods = []
for name, entry in AGENTS.items():
    agent = entry.agent()
    methods.append(
        {
            "agent": f"[`{name}`](../../{entry.agent.__module__.replace('.', '/')}.py)",
            "source": entry.source,
            "sampling": agent.plan.title,
            "Ψ": entry.formula.replace("|", "\\|"),
            "effective weight": EFFECTIVE[agent.surrogate.title],
            "steps": agent.aggregation,
            "surrogate": agent.surrogate.title,
            "critic": "–" if agent.critic is None else "yes",
            "KL": "–" if agent.penalty is None else f"in the {agent.penalty.kl_placement}",
        }
    )
lines = [" | ".join(cells) for cells in (methods[0], *(row.values() for row in methods))]
Markdown("\n".join([lines[0], "---|" * len(methods[0]), *lines[1:]]))

# %%
figures = pond.table.filter(regex="^(relative_variance|direction|scale|verdict)")
figures.style.format(precision=3)

# %%
pond.plot()

# %%
verdicts = pond.table.verdict
assert verdicts["reinforce"] == verdicts["rloo"] == "unbiased"
assert verdicts["dr-grpo"] == verdicts["reinforce++"] == "same direction, rescaled"
assert verdicts[GRPO_SUMMED] == "same direction, rescaled"
assert verdicts["grpo"] == verdicts["all-actions"] == verdicts["ppo"] == "another direction"
assert abs(pond.table.scale["dr-grpo"] / pond.table.scale["rloo"] - 7 / 8) < 1e-3
assert pond.table.relative_variance.idxmin() == "all-actions"
assert pond.table.direction.idxmin() == "all-actions"
for a, b in (("rloo", "reinforce"), ("grpo", "rloo"), ("actor-critic", "reinforce-baseline")):
    ratio = pond.measurement.compare(a, b)  # paired: the same trajectories where plans are equal
    low, high = ratio.interval.low, ratio.interval.high
    print(f"relative variance, {a} over {b}: {ratio.interval.point:.2f} [{low:.2f}, {high:.2f}]")
    assert high < 1
front = ("ppo", "actor-critic")
for a in front:
    for b in set(contenders) - set(front):
        assert any(v.startswith(f"{a} ends higher than {b}:") for v in ends)

# %% [markdown]
# Read the last columns together. The smallest relative variance by far belongs to all-actions, and no
# other estimate points so far from the gradient: low variance *and* a wrong direction, since what was
# sampled of the actions has been replaced by what a critic believes. GRPO's relative variance is a little
# below RLOO's, and its direction is another one. So the third part of the folk claim, "while staying
# unbiased", is false for GRPO. On this pond it is 1/ℓ that does it: without it
# (`grpo:aggregation=sum`) no turn is found. 1/std turns the gradient where starts differ, as in
# chapter 6. And on this pond RLOO *does* have less variance than REINFORCE with G_t, which on
# untrained CartPole policies it had not: which is less depends on the problem, too. (Every episode on
# the pond starts from the same field, so that groups cost nothing.)
#
# Is bias bad, then? Section 8.4 has two agents in front whose gradient is biased here, PPO and
# actor-critic: what they give up in direction may be what they gain in noise, and PPO in several
# passes over each batch. Neither variance nor bias is the aim. Learning is, and it is measured in runs.
#
# **Question.** Your advisor has a new method: on three seeds it ends at 480, RLOO at 455, and "its
# gradient has a tenth of the variance". List what you would ask.
#
# <details><summary>Answer</summary>
#
# How many seeds would a decision take: three can give no p-value below 0.1 by a permutation test. The
# runs themselves, not the two means. Were both tuned, on other seeds than these, with equal care? At which budget, and was
# it fixed before looking? How many methods and environments were tried and not shown (Holm)? A tenth of
# the *relative* variance, or is the gradient shorter? On how many policies, at which moments of
# training? Is it unbiased; and if not, in which direction is it wrong?
#
# </details>
#
# ## Further reading
#
# - R. Agarwal, M. Schwarzer, P. S. Castro, A. Courville, M. G. Bellemare: *Deep Reinforcement Learning
#   at the Edge of the Statistical Precipice*, NeurIPS 2021, arXiv:2108.13264. Interquartile means,
#   performance profiles, probability of improvement.
# - P. Henderson et al.: *Deep Reinforcement Learning that Matters*, AAAI 2018, arXiv:1709.06560. The
#   same code with two sets of five seeds.
# - C. Colas, O. Sigaud, P.-Y. Oudeyer: *How Many Random Seeds?*, 2018, arXiv:1806.08295.
# - A. Patterson, S. Neumann, M. White, A. White: *Empirical Design in Reinforcement Learning*,
#   arXiv:2304.01315.
# - T. Hesterberg: *What Teachers Should Know about the Bootstrap*, The American Statistician 69, 2015,
#   arXiv:1411.5279. Section 5.3: the expanded percentile interval.
# - H. B. Mann, D. R. Whitney: *On a Test of Whether one of Two Random Variables is Stochastically
#   Larger than the Other*, The Annals of Mathematical Statistics 18, 1947.
# - B. Phipson, G. K. Smyth: *Permutation P-values Should Never Be Zero*, 2010, arXiv:1603.05766.
# - E. L. Kaplan, P. Meier: *Nonparametric Estimation from Incomplete Observations*, Journal of the
#   American Statistical Association 53, 1958.
# - S. Holm: *A Simple Sequentially Rejective Multiple Test Procedure*, Scandinavian Journal of
#   Statistics 6, 1979.
# - S. McCandlish, J. Kaplan, D. Amodei et al.: *An Empirical Model of Large-Batch Training*, 2018,
#   arXiv:1812.06162. The noise scale.
# - A. Ahmadian et al.: *Back to Basics*, 2024, arXiv:2402.14740 (RLOO); Z. Shao et al.: *DeepSeekMath*,
#   2024, arXiv:2402.03300 (GRPO); Z. Liu et al.: *Understanding R1-Zero-Like Training*, 2025,
#   arXiv:2503.20783 (Dr. GRPO); J. Hu et al.: *REINFORCE++*, 2025, arXiv:2501.03262.
