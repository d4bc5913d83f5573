"""Chapter 1: the gradient you can compute."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from pgzoo.course.answer import Answer
from pgzoo.course.exercise import Args, Exercise
from pgzoo.course.expect import Wrong, numbers, of_shape, same
from pgzoo.lab.exact import FiniteMDP, exact_gradient
from pgzoo.policies.networks import Table


def _process(g: Generator, n: int, actions: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A random transition ``[n, A, n]`` that may end, reward, start and policy."""
    chances = torch.rand(n, actions, n + 1, generator=g) + 0.05
    transition = (chances / chances.sum(-1, keepdim=True))[:, :, :n]
    reward = torch.randn(n, actions, generator=g)
    start = torch.rand(n, generator=g) + 0.05
    pi = (1.5 * torch.randn(n, actions, generator=g)).softmax(-1)
    return transition, reward, start / start.sum(), pi


_SIZES = ((2, 2, 4), (3, 2, 5), (2, 4, 3), (1, 3, 6))
"""States, actions, horizon."""


# -- discounted_return -----------------------------------------------------------------------------


def _rewards(g: Generator) -> Iterator[Args]:
    for episodes, steps, gamma in ((3, 4, 0.9), (1, 6, 0.5), (4, 2, 0.7), (2, 5, 0.99)):
        yield torch.randn(episodes, steps, generator=g), gamma


discounted_return = Exercise(
    name="discounted_return",
    chapter=1,
    task="R = Σ_t γ^t r_t of every episode, [N].",
    read="a reward that comes t steps later counts γ^t as much",
    cases=_rewards,
)


@discounted_return.property("there is one return for every episode")
def _one_for_each(answer: Answer, g: Generator) -> None:
    for reward, gamma in _rewards(g):
        of_shape(answer(reward, gamma), reward.shape[:1])


@discounted_return.property("a reward one step later counts γ, not γ²", mistake="gamma-twice")
def _once_is_enough(answer: Answer, g: Generator) -> None:
    found = numbers(answer(torch.tensor([[0.0, 1.0]]), 0.5))
    if abs(float(found[0]) - 0.25) < 1e-4:
        raise Wrong("Expected 0.5 for γ = 0.5, got 0.25.")


@discounted_return.property("rewards 1, 2, 4 give 3 for γ = 0.5")
def _three_rewards(answer: Answer, g: Generator) -> None:
    same(answer(torch.tensor([[1.0, 2.0, 4.0]]), 0.5), [3.0])


@discounted_return.property(
    "one more reward at step t raises its episode's return by γ^t, no other's"
)
def _weight_of_a_step(answer: Answer, g: Generator) -> None:
    for reward, gamma in _rewards(g):
        before = numbers(answer(reward, gamma))
        for t in range(reward.shape[1]):
            more = reward.clone()
            more[0, t] += 1
            expected = torch.zeros(len(reward))
            expected[0] = gamma**t
            same(numbers(answer(more, gamma)) - before, expected, f"the change for t = {t}")


@discounted_return.property("γ = 1 gives the sum of the rewards, γ = 0 the first of them")
def _ends_of_the_range(answer: Answer, g: Generator) -> None:
    reward = torch.randn(3, 4, generator=g)
    same(answer(reward, 1.0), reward.sum(1))
    same(answer(reward, 0.0), reward[:, 0])


def _weighted(reward: Tensor, gamma: float, first: int = 0) -> Tensor:
    powers = gamma ** torch.arange(first, reward.shape[1] + first)
    return reward * powers


@discounted_return.twin("gamma-missing")
def _plain_sum(reward: Tensor, gamma: float) -> Tensor:
    return reward.sum(1)


_FROM_ONE_ON = "The first one has the factor γ^0 = 1, and each later one has one more factor γ."
_WEIGHTED_WITH_PI = "The mean over the policy's actions weighs each of them with π(a|s)."
_SUM_TO_ONE = (
    "Probabilities of a state sum to 1 whatever θ is: for every b, the derivatives add up to zero "
    "over a. With π(a|s) there they do not."
)


@discounted_return.twin(
    "gamma-twice", says="The first reward was discounted already.", why=_FROM_ONE_ON
)
def _from_gamma_on(reward: Tensor, gamma: float) -> Tensor:
    return _weighted(reward, gamma, first=1).sum(1)


@discounted_return.twin(
    "mean-for-sum",
    says="Discounted rewards were averaged, not added up.",
    why="The return is the sum of what is paid: a reward counts no less in a longer episode.",
)
def _mean_reward(reward: Tensor, gamma: float) -> Tensor:
    return _weighted(reward, gamma).mean(1)


# -- state_values ----------------------------------------------------------------------------------


def _for_values(g: Generator) -> Iterator[Args]:
    for (n, actions, horizon), gamma in zip(_SIZES, (0.9, 0.7, 0.95, 0.6), strict=True):
        transition, reward, _, pi = _process(g, n, actions)
        yield transition, reward, pi, gamma, horizon


state_values = Exercise(
    name="state_values",
    chapter=1,
    task="V_t(s) for t = 0 … H by the backward recursion, [H + 1, n].",
    read="Read it backwards: from V_H follow Q_{H−1} and V_{H−1}, and so on to V_0.",
    cases=_for_values,
)


@state_values.property("there are H + 1 rows, and the last one is zero")
def _nothing_after_the_end(answer: Answer, g: Generator) -> None:
    for args in _for_values(g):
        values = of_shape(answer(*args), (args[-1] + 1, len(args[0])))
        same(values[-1], torch.zeros(len(args[0])), "V_H")


@state_values.property(
    "one state that is left with probability 0.5, actions that pay 1 and 3, a coin and γ = 0.5 "
    "give V = 2.5, 2, 0"
)
def _one_state(answer: Answer, g: Generator) -> None:
    half = torch.full((1, 2, 1), 0.5)
    values = answer(half, torch.tensor([[1.0, 3.0]]), torch.tensor([[0.5, 0.5]]), 0.5, 2)
    same(values, [[2.5], [2.0], [0.0]])


@state_values.property("V_t(s) is the mean over π of r(s,a) + γ Σ p(s'|s,a) V_{t+1}(s')")
def _recursion(answer: Answer, g: Generator) -> None:
    for transition, reward, pi, gamma, horizon in _for_values(g):
        values = of_shape(
            answer(transition, reward, pi, gamma, horizon), (horizon + 1, len(reward))
        )
        following = torch.einsum("sap,tp->tsa", transition.double(), values[1:])
        same(values[:-1], (pi * (reward + gamma * following)).sum(-1))


@state_values.property("V_0 is Σ_t γ^t of the expected reward at step t")
def _forwards(answer: Answer, g: Generator) -> None:
    for transition, reward, pi, gamma, horizon in _for_values(g):
        going_on = torch.einsum("sa,sap->sp", pi, transition)
        expected = sum(
            gamma**t * torch.linalg.matrix_power(going_on, t) @ (pi * reward).sum(-1)
            for t in range(horizon)
        )
        same(numbers(answer(transition, reward, pi, gamma, horizon))[0], expected, "V_0")


def _backwards(horizon: int, step: object, like: Tensor) -> Tensor:
    values = [torch.zeros_like(like[:, 0])]
    for _ in range(horizon):
        values.insert(0, step(values[0]))  # type: ignore[operator]
    return torch.stack(values)


@state_values.twin("gamma-missing")
def _undiscounted_values(p: Tensor, r: Tensor, pi: Tensor, gamma: float, horizon: int) -> Tensor:
    return _backwards(horizon, lambda v: (pi * (r + p @ v)).sum(-1), r)


@state_values.twin(
    "gamma-twice",
    says="The reward of the step itself was discounted, too.",
    why="V_t is counted as of step t: r_t has the factor 1, and what follows has γ.",
)
def _discounted_at_once(p: Tensor, r: Tensor, pi: Tensor, gamma: float, horizon: int) -> Tensor:
    return _backwards(horizon, lambda v: (pi * gamma * (r + p @ v)).sum(-1), r)


@state_values.twin(
    "sum-for-mean",
    says="Actions were added up without their probabilities.",
    why=_WEIGHTED_WITH_PI,
)
def _sum_over_actions(p: Tensor, r: Tensor, pi: Tensor, gamma: float, horizon: int) -> Tensor:
    return _backwards(horizon, lambda v: (r + gamma * p @ v).sum(-1), r)


@state_values.twin(
    "missing-bootstrap",
    says="What follows the step was counted as nothing.",
    why="The value of an action has a part γ Σ p(s'|s,a) V_{t+1}(s') for it.",
)
def _one_step_only(p: Tensor, r: Tensor, pi: Tensor, gamma: float, horizon: int) -> Tensor:
    return _backwards(horizon, lambda v: (pi * r).sum(-1), r)


@state_values.twin(
    "wrong-sign",
    says="What follows the step was subtracted.",
    why="What is paid later is earned as well, only discounted.",
)
def _future_as_a_cost(p: Tensor, r: Tensor, pi: Tensor, gamma: float, horizon: int) -> Tensor:
    return _backwards(horizon, lambda v: (pi * (r - gamma * p @ v)).sum(-1), r)


# -- state_distribution ----------------------------------------------------------------------------


def _for_visits(g: Generator) -> Iterator[Args]:
    for n, actions, horizon in (*_SIZES, (2, 3, 1)):
        transition, _, start, pi = _process(g, n, actions)
        yield transition, start, pi, horizon


state_distribution = Exercise(
    name="state_distribution",
    chapter=1,
    task="d_t(s) for t = 0 … H − 1, forwards from the start, [H, n].",
    read="the probability that the episode still goes on at step t and is in state s",
    cases=_for_visits,
)


@state_distribution.property("there are H rows, and the first one is the start")
def _begins_at_the_start(answer: Answer, g: Generator) -> None:
    for transition, start, pi, horizon in _for_visits(g):
        visits = of_shape(answer(transition, start, pi, horizon), (horizon, len(start)))
        same(visits[0], start, "d_0")


@state_distribution.property("a state that is left with probability 0.5 gives 1, 0.5, 0.25")
def _halving(answer: Answer, g: Generator) -> None:
    half, coin = torch.full((1, 2, 1), 0.5), torch.tensor([[0.5, 0.5]])
    same(answer(half, torch.ones(1), coin, 3), [[1.0], [0.5], [0.25]])


@state_distribution.property("no row sums to more than 1; all sum to 1 if no episode can end")
def _probabilities(answer: Answer, g: Generator) -> None:
    for transition, start, pi, horizon in _for_visits(g):
        total = numbers(answer(transition, start, pi, horizon)).sum(-1)
        if bool((total > 1 + 1e-4).any()):
            raise Wrong(f"Expected no sum above 1, got {total.max():.5g}.")
        endless = transition / transition.sum(-1, keepdim=True)
        same(numbers(answer(endless, start, pi, horizon)).sum(-1), torch.ones(horizon), "the sums")


@state_distribution.property("d_{t+1}(s') is Σ_s d_t(s) Σ_a π(a|s) p(s'|s,a)")
def _one_step_on(answer: Answer, g: Generator) -> None:
    for transition, start, pi, horizon in _for_visits(g):
        visits = of_shape(answer(transition, start, pi, horizon), (horizon, len(start)))
        chosen = visits.unsqueeze(-1) * pi
        same(visits[1:], torch.einsum("tsa,sap->tp", chosen, transition.double())[:-1])


@state_distribution.twin(
    "sum-for-mean",
    says="Actions were added up without their probabilities.",
    why=_WEIGHTED_WITH_PI,
)
def _all_actions_at_once(p: Tensor, start: Tensor, pi: Tensor, horizon: int) -> Tensor:
    visits = [start]
    for _ in range(horizon - 1):
        visits.append(torch.einsum("s,sap->p", visits[-1], p))
    return torch.stack(visits)


# -- softmax_derivative ----------------------------------------------------------------------------


def _policies(g: Generator) -> Iterator[Args]:
    for n, actions, _ in _SIZES:
        yield ((1.5 * torch.randn(n, actions, generator=g)).softmax(-1),)


softmax_derivative = Exercise(
    name="softmax_derivative",
    chapter=1,
    task="∂π(a|s)/∂θ(s,b) of a softmax from its probabilities, [n, A, A].",
    read="raising the preference for b takes probability from all other actions",
    cases=_policies,
)


@softmax_derivative.property(
    "probabilities 0.25 and 0.75 give 0.1875 on the diagonal, else −0.1875"
)
def _quarter(answer: Answer, g: Generator) -> None:
    same(answer(torch.tensor([[0.25, 0.75]])), [[[0.1875, -0.1875], [-0.1875, 0.1875]]])


@softmax_derivative.property("probabilities sum to 1 whatever θ is, so Σ_a ∂π(a|s)/∂θ(s,b) = 0")
def _sums_stay(answer: Answer, g: Generator) -> None:
    for (pi,) in _policies(g):
        found = of_shape(answer(pi), (*pi.shape, pi.shape[1]))
        same(found.sum(1), torch.zeros_like(pi), "the sum over a")


@softmax_derivative.property("it is what π changes by when θ(s,b) does")
def _differences(answer: Answer, g: Generator) -> None:
    for (pi,) in _policies(g):
        shift = 1e-4 * torch.eye(pi.shape[1], dtype=torch.float64)
        theta = pi.double().log().unsqueeze(1)  # [n, b, a]
        change = (theta + shift).softmax(-1) - (theta - shift).softmax(-1)
        same(answer(pi), change.transpose(1, 2) / 2e-4)


@softmax_derivative.twin(
    "wrong-sign", why="Raising the preference for an action makes it more probable, others less."
)
def _downwards(pi: Tensor) -> Tensor:
    return pi.unsqueeze(-1) * (pi.unsqueeze(-2) - torch.eye(pi.shape[1]))


@softmax_derivative.twin(
    "wrong-action", says="π(a|s) was subtracted where π(b|s) stands.", why=_SUM_TO_ONE
)
def _own_probability(pi: Tensor) -> Tensor:
    return pi.unsqueeze(-1) * (torch.eye(pi.shape[1]) - pi.unsqueeze(-1))


# -- exact_policy_gradient -------------------------------------------------------------------------


def _for_gradient(g: Generator) -> Iterator[Args]:
    for (n, actions, horizon), gamma in zip(_SIZES, (0.9, 0.7, 0.95, 0.6), strict=True):
        *_, pi = _process(g, n, actions)
        visits = torch.rand(horizon, n, generator=g)
        yield pi, visits, torch.randn(horizon, n, actions, generator=g), gamma


exact_policy_gradient = Exercise(
    name="exact_policy_gradient",
    chapter=1,
    task="∇J = Σ_t γ^t Σ_s d_t(s) Σ_a ∇π(a|s) Q_t(s,a), [n, A].",
    read="Do not forget γ^t: the effect of step t counts from the start's point of view.",
    cases=_for_gradient,
)


@exact_policy_gradient.property("a coin whose first side is worth 1, at one step: 0.25 and −0.25")
def _one_toss(answer: Answer, g: Generator) -> None:
    coin, q = torch.tensor([[0.5, 0.5]]), torch.tensor([[[1.0, 0.0]]])
    same(answer(coin, torch.ones(1, 1), q, 0.9), [[0.25, -0.25]])


@exact_policy_gradient.property("two such steps: 0.25 (1 + γ)")
def _two_tosses(answer: Answer, g: Generator) -> None:
    coin, q = torch.tensor([[0.5, 0.5]]), torch.tensor([[[1.0, 0.0]]])
    same(answer(coin, torch.ones(2, 1), q.expand(2, 1, 2), 0.5), [[0.375, -0.375]])


@exact_policy_gradient.property("the entries of a state sum to zero")
def _entries_sum_to_zero(answer: Answer, g: Generator) -> None:
    for args in _for_gradient(g):
        found = of_shape(answer(*args), args[0].shape)
        same(found.sum(-1), torch.zeros(len(found)), "the sum over actions")


@exact_policy_gradient.property("adding b_t(s) to Q_t(s,a) changes nothing")
def _level_of_q(answer: Answer, g: Generator) -> None:
    for pi, visits, q, gamma in _for_gradient(g):
        level = torch.randn(*visits.shape, 1, generator=g)
        same(answer(pi, visits, q + level, gamma), answer(pi, visits, q, gamma))


@exact_policy_gradient.property("with an MDP's d and Q it is the exact gradient of its J")
def _is_the_gradient(answer: Answer, g: Generator) -> None:
    for (n, actions, horizon), gamma in zip(_SIZES, (0.9, 0.7, 0.95, 0.6), strict=True):
        p, r, start, pi = (x.double() for x in _process(g, n, actions))
        mdp = FiniteMDP(p.numpy(), r.numpy(), (start / start.sum()).numpy())
        exact = exact_gradient(
            mdp, Table(n, actions), pi.log().view(1, -1), horizon=horizon, gamma=gamma
        )
        powers = [
            torch.linalg.matrix_power(torch.einsum("sa,sap->sp", pi, p), t) for t in range(horizon)
        ]
        rewards = torch.stack([gamma**t * x @ (pi * r).sum(-1) for t, x in enumerate(powers)])
        to_go = [rewards[: horizon - 1 - t].sum(0) for t in range(horizon)]
        q = torch.stack([r + gamma * p @ v for v in to_go])
        visits = torch.stack([start @ x for x in powers])
        same(answer(pi.float(), visits.float(), q.float(), gamma), exact.view(n, actions))


def _by_advantage(pi: Tensor, visits: Tensor, q: Tensor, gamma: float, first: int = 0) -> Tensor:
    """Each step's part, ``[H, n, A]``."""
    weights = gamma ** torch.arange(first, len(visits) + first)
    advantage = q - (pi * q).sum(-1, keepdim=True)
    return weights.view(-1, 1, 1) * visits.unsqueeze(-1) * pi * advantage


@exact_policy_gradient.twin("wrong-sign")
def _descent(pi: Tensor, visits: Tensor, q: Tensor, gamma: float) -> Tensor:
    return -_by_advantage(pi, visits, q, gamma).sum(0)


@exact_policy_gradient.twin("gamma-missing", says="The factor γ^t was left out.")
def _all_steps_alike(pi: Tensor, visits: Tensor, q: Tensor, gamma: float) -> Tensor:
    return _by_advantage(pi, visits, q, 1.0).sum(0)


@exact_policy_gradient.twin(
    "gamma-twice", says="The first step was discounted already.", why=_FROM_ONE_ON
)
def _one_power_more(pi: Tensor, visits: Tensor, q: Tensor, gamma: float) -> Tensor:
    return _by_advantage(pi, visits, q, gamma, first=1).sum(0)


@exact_policy_gradient.twin(
    "mean-for-sum",
    says="Steps were averaged, not added up.",
    why="J is a sum over the steps, and so is its gradient.",
)
def _mean_step(pi: Tensor, visits: Tensor, q: Tensor, gamma: float) -> Tensor:
    return _by_advantage(pi, visits, q, gamma).mean(0)


@exact_policy_gradient.twin(
    "sum-for-mean",
    says="∇π(a|s) was divided by π(a|s), as if actions were to be added up without their "
    "probabilities.",
    why="The theorem adds up ∇π(a|s) Q_t(s,a) itself.",
)
def _score_for_derivative(pi: Tensor, visits: Tensor, q: Tensor, gamma: float) -> Tensor:
    weights = gamma ** torch.arange(len(visits))
    each = q - pi * q.sum(-1, keepdim=True)
    return torch.einsum("t,ts,tsb->sb", weights, visits, each)


@exact_policy_gradient.twin(
    "wrong-action", says="π(a|s) was subtracted where π(b|s) stands.", why=_SUM_TO_ONE
)
def _own_probability_in_sum(pi: Tensor, visits: Tensor, q: Tensor, gamma: float) -> Tensor:
    weights = gamma ** torch.arange(len(visits))
    each = pi * q - (pi * pi * q).sum(-1, keepdim=True)
    return torch.einsum("t,ts,tsb->sb", weights, visits, each)
