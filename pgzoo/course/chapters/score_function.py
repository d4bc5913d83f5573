"""Chapter 2: the log-derivative trick."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot, pad

from pgzoo.course.answer import Answer
from pgzoo.course.exercise import Args, Exercise
from pgzoo.course.expect import Wrong, numbers, of_shape, same

NAN = float("nan")


def _lengths_mask(g: Generator, shape: tuple[int, ...]) -> Tensor:
    """Real steps ``[..., T]`` of episodes of random lengths; the first fills its row."""
    lengths = torch.randint(1, shape[-1] + 1, shape[:-1], generator=g)
    lengths.view(-1)[0] = shape[-1]
    lengths.view(-1)[-1] = max(1, shape[-1] - 2)
    return torch.arange(shape[-1]) < lengths.unsqueeze(-1)


# -- score_function --------------------------------------------------------------------------------

_LEADING = ((4,), (2, 3), (), (2, 1, 5))
"""Axes before the actions'."""


def _choices(g: Generator) -> Iterator[Args]:
    for leading, actions in zip(_LEADING, (3, 2, 4, 3), strict=True):
        logits = torch.randn(*leading, actions, generator=g)
        yield logits, torch.randint(0, actions, leading, generator=g)


score_function = Exercise(
    name="score_function",
    chapter=2,
    task="∇log π(a|s) of a softmax with respect to its preferences, [..., A].",
    read="For a softmax, divide chapter 1's derivative by π(a|s):",
    cases=_choices,
)


@score_function.property(
    "at equal preferences of two actions it is 0.5 for the one taken, else −0.5"
)
def _coin_s_score(answer: Answer, g: Generator) -> None:
    same(answer(torch.zeros(2, 2), torch.tensor([0, 1])), [[0.5, -0.5], [-0.5, 0.5]])


score_function.keeps_shape("logits, whatever axes lead")


@score_function.property(
    "only the entry of the action that was taken is positive", mistake="wrong-action"
)
def _one_positive(answer: Answer, g: Generator) -> None:
    for logits, action in _choices(g):
        found = of_shape(answer(logits, action), logits.shape)
        same(found > 0, one_hot(action, logits.shape[-1]), "where it is positive (1)")


@score_function.property("it is what log π(a|s) changes by when a preference does")
def _change_of_log(answer: Answer, g: Generator) -> None:
    for logits, action in _choices(g):
        shift = 1e-4 * torch.eye(logits.shape[-1], dtype=torch.float64)
        around = logits.double().unsqueeze(-2)  # [..., b, a]
        change = (around + shift).log_softmax(-1) - (around - shift).log_softmax(-1)
        taken = action[..., None, None].expand(*logits.shape, 1)
        same(answer(logits, action), change.gather(-1, taken).squeeze(-1) / 2e-4)


@score_function.property("its mean over π's actions is zero")
def _mean_zero(answer: Answer, g: Generator) -> None:
    for logits, action in _choices(g):
        pi = logits.softmax(-1)
        mean = sum(
            pi[..., a, None] * numbers(answer(logits, torch.full_like(action, a)))
            for a in range(logits.shape[-1])
        )
        same(mean, torch.zeros_like(logits), "the mean")


def _score(logits: Tensor, action: Tensor) -> Tensor:
    return one_hot(action, logits.shape[-1]) - logits.softmax(-1)


@score_function.twin("wrong-sign")
def _away_from_the_action(logits: Tensor, action: Tensor) -> Tensor:
    return -_score(logits, action)


@score_function.twin("wrong-action", says="It is the score of the most probable action.")
def _of_the_most_probable(logits: Tensor, action: Tensor) -> Tensor:
    return _score(logits, logits.argmax(-1))


# -- all_actions_gradient --------------------------------------------------------------------------


def _valued(g: Generator) -> Iterator[Args]:
    for leading, actions in zip(_LEADING, (3, 2, 4, 3), strict=True):
        yield tuple(torch.randn(*leading, actions, generator=g) for _ in range(2))


all_actions_gradient = Exercise(
    name="all_actions_gradient",
    chapter=2,
    task="Σ_a q(a) ∇π(a) of a softmax with respect to its preferences, [..., A].",
    read="the sum becomes π(b)(q(b) − Σ_a π(a) q(a)) for each preference b",
    cases=_valued,
)


@all_actions_gradient.property("a coin with values 1 and 0 gives 0.25 and −0.25")
def _coin_s_values(answer: Answer, g: Generator) -> None:
    same(answer(torch.zeros(2), torch.tensor([1.0, 0.0])), [0.25, -0.25])


all_actions_gradient.keeps_shape("logits")


@all_actions_gradient.property("the same number added to all values changes nothing")
def _level_of_values(answer: Answer, g: Generator) -> None:
    for logits, q in _valued(g):
        same(answer(logits, q + 3.0), answer(logits, q))


@all_actions_gradient.property("it is what Σ_a π(a) q(a) changes by when a preference does")
def _change_of_value(answer: Answer, g: Generator) -> None:
    for logits, q in _valued(g):
        shift = 1e-4 * torch.eye(logits.shape[-1], dtype=torch.float64)
        around = logits.double().unsqueeze(-2)  # [..., b, a]
        change = (around + shift).softmax(-1) - (around - shift).softmax(-1)
        same(answer(logits, q), (change * q.unsqueeze(-2)).sum(-1) / 2e-4)


@all_actions_gradient.twin("wrong-sign")
def _worse_actions_up(logits: Tensor, q: Tensor) -> Tensor:
    pi = logits.softmax(-1)
    return pi * ((pi * q).sum(-1, keepdim=True) - q)


@all_actions_gradient.twin(
    "sum-for-mean",
    says="q ∇log π was summed over actions without their probabilities.",
    why="The mean over the policy's actions weighs each of them with π(a).",
)
def _sum_of_scores(logits: Tensor, q: Tensor) -> Tensor:
    return q - logits.softmax(-1) * q.sum(-1, keepdim=True)


@all_actions_gradient.twin(
    "mean-for-sum",
    says="q ∇π was averaged over actions, not added up.",
    why="In ∇π the probabilities are contained already: it is a sum.",
)
def _mean_over_actions(logits: Tensor, q: Tensor) -> Tensor:
    return -_worse_actions_up(logits, q) / logits.shape[-1]


# -- returns_to_go ---------------------------------------------------------------------------------


def _episodes(g: Generator) -> Iterator[Args]:
    for shape, gamma in (((3, 5), 0.9), ((2, 2, 4), 0.7), ((6,), 0.5), ((1, 3), 0.95)):
        mask = _lengths_mask(g, shape)
        garbage = 30 + 30 * torch.rand(shape, generator=g)
        yield torch.where(mask, torch.randn(shape, generator=g), garbage), mask, gamma


def _on_real_steps(answer: Answer, reward: Tensor, mask: Tensor, gamma: float) -> Any:
    return of_shape(answer(reward, mask, gamma), mask.shape)[mask]


returns_to_go = Exercise(
    name="returns_to_go",
    chapter=2,
    task="G_t = r_t + γ r_{t+1} + … of every step, zero in the padding, [..., T].",
    read="The recursion G_t = r_t + γ G_{t+1} goes backwards, as V did.",
    cases=_episodes,
    observe=_on_real_steps,
)


returns_to_go.keeps_shape("rewards, whatever axes lead")


@returns_to_go.property("G_t does not depend on rewards before t", read="what comes from t on")
def _blind_to_the_past(answer: Answer, g: Generator) -> None:
    for reward, mask, gamma in _episodes(g):
        more = reward.clone()
        more[..., 0] += 5.0
        later = mask[..., 1:]
        after = of_shape(answer(more, mask, gamma), mask.shape)[..., 1:][later]
        same(after, of_shape(answer(reward, mask, gamma), mask.shape)[..., 1:][later])


@returns_to_go.property("a reward one step later counts γ, not γ²", mistake="gamma-twice")
def _once_is_enough(answer: Answer, g: Generator) -> None:
    found = numbers(answer(torch.tensor([0.0, 1.0]), torch.tensor([True, True]), 0.5))
    if abs(float(found[0]) - 0.25) < 1e-4:
        raise Wrong("Expected 0.5 for γ = 0.5, got 0.25.")


@returns_to_go.property("rewards 1, 2, 4 give 3, 4, 4 for γ = 0.5")
def _three_returns(answer: Answer, g: Generator) -> None:
    reward, mask = torch.tensor([[1.0, 2.0, 4.0]]), torch.ones(1, 3, dtype=torch.bool)
    same(answer(reward, mask, 0.5), [[3.0, 4.0, 4.0]])


@returns_to_go.property("where a step follows, G_t = r_t + γ G_{t+1}; at the last, G_t = r_t")
def _backward_recursion(answer: Answer, g: Generator) -> None:
    for reward, mask, gamma in _episodes(g):
        found = of_shape(answer(reward, mask, gamma), mask.shape)
        real = torch.where(mask, found, 0)
        expected = reward + gamma * pad(real[..., 1:], (0, 1))
        same(found[mask], expected[mask], "G on real steps")


@returns_to_go.property(
    "NaN in the padding changes nothing",
    mistake="missing-mask",
    read="And NaN · 0 is NaN.",
)
def _any_padding(answer: Answer, g: Generator) -> None:
    for reward, mask, gamma in _episodes(g):
        clean = _on_real_steps(answer, torch.where(mask, reward, 0), mask, gamma)
        same(_on_real_steps(answer, torch.where(mask, reward, NAN), mask, gamma), clean)


@returns_to_go.property("it is zero where the mask is false", mistake="missing-mask")
def _zero_in_padding(answer: Answer, g: Generator) -> None:
    for reward, mask, gamma in _episodes(g):
        padding = of_shape(answer(reward, mask, gamma), mask.shape)[~mask]
        same(padding, torch.zeros_like(padding), "the padding")


def _discounted_sums(reward: Tensor, gamma: float) -> Tensor:
    """G by a matrix of powers, padding read as rewards."""
    steps = torch.arange(reward.shape[-1])
    ahead = steps - steps.unsqueeze(-1)
    return (reward.unsqueeze(-2) * torch.where(ahead >= 0, gamma ** ahead.clamp(min=0), 0.0)).sum(
        -1
    )


@returns_to_go.twin("missing-mask", read="What stands in the padding has no meaning")
def _padding_as_rewards(reward: Tensor, mask: Tensor, gamma: float) -> Tensor:
    return _discounted_sums(reward, gamma)


@returns_to_go.twin("gamma-missing")
def _without_discount(reward: Tensor, mask: Tensor, gamma: float) -> Tensor:
    return _discounted_sums(torch.where(mask, reward, 0), 1.0)


@returns_to_go.twin(
    "gamma-twice",
    says="Rewards were discounted from the episode's start, not from step t: that is γ^t G_t.",
    read="In this course the factor is called c_t and is written apart from Ψ_t = G_t.",
)
def _discounted_from_the_start(reward: Tensor, mask: Tensor, gamma: float) -> Tensor:
    weights = gamma ** torch.arange(reward.shape[-1])
    return weights * _discounted_sums(torch.where(mask, reward, 0), gamma)


# -- policy_gradient_estimate ----------------------------------------------------------------------


def _batches(g: Generator) -> Iterator[Args]:
    for episodes, steps, parameters in ((3, 4, 2), (2, 5, 3), (5, 3, 1), (4, 6, 4)):
        mask = _lengths_mask(g, (episodes, steps))
        score = torch.randn(episodes, steps, parameters, generator=g)
        psi = 1 + torch.randn(episodes, steps, generator=g)
        yield torch.where(mask.unsqueeze(-1), score, 3.0), torch.where(mask, psi, 10.0), mask


policy_gradient_estimate = Exercise(
    name="policy_gradient_estimate",
    chapter=2,
    task="1/N Σ_i Σ_t Ψ_{i,t} ∇log π(a_{i,t}|s_{i,t}), [P].",
    read="Over the steps of an episode it *is* a sum: the logarithm of a product.",
    cases=_batches,
)


@policy_gradient_estimate.property("there is one number for each parameter")
def _one_for_each_parameter(answer: Answer, g: Generator) -> None:
    for score, psi, mask in _batches(g):
        of_shape(answer(score, psi, mask), score.shape[2:])


def _three_steps(answer: Answer) -> Tensor:
    psi = torch.tensor([[2.0, 3.0, 4.0]])
    return of_shape(answer(torch.ones(1, 3, 1), psi, torch.ones(1, 3, dtype=torch.bool)), (1,))


@policy_gradient_estimate.property(
    "the steps of one episode are added up, not averaged", mistake="mean-for-sum"
)
def _steps_add_up(answer: Answer, g: Generator) -> None:
    if abs(float(_three_steps(answer)) - 3.0) < 1e-4:
        raise Wrong("Scores 1, 1, 1 with Ψ = 2, 3, 4 should give 9, and gave 3.")


@policy_gradient_estimate.property(
    "every score has its own step's weight: scores 1, 1, 1 with Ψ = 2, 3, 4 give 9"
)
def _weights_step_by_step(answer: Answer, g: Generator) -> None:
    same(_three_steps(answer), [9.0])


@policy_gradient_estimate.property(
    "every episode twice gives the same: it is a mean over episodes",
    mistake="sum-for-mean",
    read="Over episodes it is a *mean*: an expectation.",
)
def _mean_over_episodes(answer: Answer, g: Generator) -> None:
    for batch in _batches(g):
        same(answer(*(torch.cat([x, x]) for x in batch)), answer(*batch))


@policy_gradient_estimate.property(
    "NaN in the padding, of scores or of Ψ, changes nothing",
    mistake="missing-mask",
    read="And NaN · 0 is NaN.",
)
def _no_padding_in_it(answer: Answer, g: Generator) -> None:
    for score, psi, mask in _batches(g):
        dirty = torch.where(mask.unsqueeze(-1), score, NAN), torch.where(mask, psi, NAN), mask
        clean = torch.where(mask.unsqueeze(-1), score, 0), torch.where(mask, psi, 0), mask
        same(answer(*dirty), answer(*clean))


@policy_gradient_estimate.property("each step adds Ψ/N times its score, each padding nothing")
def _what_a_step_adds(answer: Answer, g: Generator) -> None:
    for score, psi, mask in _batches(g):
        i, t = mask.nonzero()[0].tolist()
        without = psi.clone()
        without[i, t] = 0
        change = numbers(answer(score, psi, mask)) - numbers(answer(score, without, mask))
        same(change, psi[i, t] * score[i, t] / len(mask), "what a step adds")
        nothing = torch.where(mask, 0, psi)
        same(answer(score, nothing, mask), torch.zeros(score.shape[-1]), "what padding adds")


def _weighted_scores(score: Tensor, psi: Tensor, mask: Tensor) -> Tensor:
    return score * (psi * mask).unsqueeze(-1)


@policy_gradient_estimate.twin("wrong-sign")
def _descending(score: Tensor, psi: Tensor, mask: Tensor) -> Tensor:
    return -_weighted_scores(score, psi, mask).sum(1).mean(0)


@policy_gradient_estimate.twin("sum-for-mean", read="Over episodes it is a *mean*: an expectation.")
def _sum_over_episodes(score: Tensor, psi: Tensor, mask: Tensor) -> Tensor:
    return _weighted_scores(score, psi, mask).sum((0, 1))


@policy_gradient_estimate.twin("mean-for-sum", says="All steps of the batch were averaged.")
def _mean_over_all_steps(score: Tensor, psi: Tensor, mask: Tensor) -> Tensor:
    return _weighted_scores(score, psi, mask).sum((0, 1)) / mask.sum()


@policy_gradient_estimate.twin("missing-mask", read="What stands in the padding has no meaning")
def _padding_as_steps(score: Tensor, psi: Tensor, mask: Tensor) -> Tensor:
    return (score * psi.unsqueeze(-1)).sum(1).mean(0)


# -- surrogate_loss --------------------------------------------------------------------------------


def _decisions(g: Generator) -> Iterator[Args]:
    for episodes, steps, actions in ((3, 4, 3), (2, 5, 2), (4, 3, 4), (1, 6, 3)):
        mask = _lengths_mask(g, (episodes, steps))
        logits = torch.randn(episodes, steps, actions, generator=g)
        action = torch.randint(0, actions, mask.shape, generator=g)
        psi = 1 + torch.randn(episodes, steps, generator=g)
        yield logits, action, torch.where(mask, psi, 20.0), mask


def _gradients(answer: Answer, *args: Any) -> Any:
    """With respect to logits and Ψ; of the loss itself only that it is one number."""
    loss, gradients = answer.derivatives(*args, of=(0, 2))
    of_shape(loss, (), "the loss")
    return gradients


surrogate_loss = Exercise(
    name="surrogate_loss",
    chapter=2,
    task="The scalar −1/N Σ_i Σ_t Ψ log π(a|s), to be differentiated, with Ψ as a number.",
    read="Autograd differentiates a scalar, so we need a scalar whose gradient is −ĝ",
    cases=_decisions,
    observe=_gradients,
)


@surrogate_loss.property(
    "a coin, one step, Ψ = 2: the gradient is −1 for the action taken and 1 for the other"
)
def _one_decision(answer: Answer, g: Generator) -> None:
    args = torch.zeros(1, 1, 2), torch.tensor([[0]]), torch.tensor([[2.0]])
    logits, _ = _gradients(answer, *args, torch.ones(1, 1, dtype=torch.bool))
    same(logits, [[[-1.0, 1.0]]], "the gradient")


@surrogate_loss.property(
    "the steps of one episode are added up: the same step twice has the same gradient twice",
    mistake="mean-for-sum",
    read="Over the steps of an episode it *is* a sum: the logarithm of a product.",
)
def _loss_adds_steps_up(answer: Answer, g: Generator) -> None:
    args = torch.zeros(1, 2, 2), torch.zeros(1, 2, dtype=torch.long), torch.full((1, 2), 2.0)
    logits, _ = _gradients(answer, *args, torch.ones(1, 2, dtype=torch.bool))
    same(logits, [[[-1.0, 1.0], [-1.0, 1.0]]], "the gradient")


@surrogate_loss.property(
    "two equal episodes share the gradient of one: it is a mean over episodes",
    mistake="sum-for-mean",
    read="Over episodes it is a *mean*: an expectation.",
)
def _loss_averages_episodes(answer: Answer, g: Generator) -> None:
    for args in _decisions(g):
        once, _ = _gradients(answer, *args)
        twice, _ = _gradients(answer, *(torch.cat([x, x]) for x in args))
        same(twice, torch.cat([once, once]) / 2, "the gradient")


@surrogate_loss.property("the gradient is zero in the padding", mistake="missing-mask")
def _no_gradient_in_padding(answer: Answer, g: Generator) -> None:
    for *args, mask in _decisions(g):
        logits, _ = _gradients(answer, *args, mask)
        same(logits[~mask], torch.zeros_like(logits[~mask]), "the gradient in the padding")


@surrogate_loss.property(
    "with Ψ = 1, descent raises the preference for the action that was taken, and no other",
    mistake="wrong-action",
)
def _raises_the_action(answer: Answer, g: Generator) -> None:
    for logits, action, psi, mask in _decisions(g):
        found, _ = _gradients(answer, logits, action, torch.ones_like(psi), mask)
        raised = (found < 0)[mask]
        same(raised, one_hot(action, logits.shape[-1])[mask], "where the gradient is negative (1)")


@surrogate_loss.property("the gradient of a step's logits is −Ψ/N (1(a = b) − π(b|s))")
def _weighted_score(answer: Answer, g: Generator) -> None:
    for logits, action, psi, mask in _decisions(g):
        found, _ = _gradients(answer, logits, action, psi, mask)
        expected = -psi.unsqueeze(-1) * _score(logits, action) / len(mask)
        same(found[mask], expected[mask], "the gradient")


@surrogate_loss.property(
    "no gradient goes through Ψ",
    mistake="gradient-through-psi",
    read="So get used to it: `psi.detach()`.",
)
def _psi_is_a_number(answer: Answer, g: Generator) -> None:
    for args in _decisions(g):
        _, psi = _gradients(answer, *args)
        same(psi, torch.zeros_like(psi), "the gradient with respect to Ψ")


def _terms(logits: Tensor, action: Tensor, psi: Tensor, mask: Tensor) -> Tensor:
    taken = logits.log_softmax(-1).gather(-1, action.unsqueeze(-1)).squeeze(-1)
    return -psi * taken * mask


@surrogate_loss.twin("wrong-sign")
def _ascended_by_descent(logits: Tensor, action: Tensor, psi: Tensor, mask: Tensor) -> Tensor:
    return -_terms(logits, action, psi.detach(), mask).sum(1).mean()


@surrogate_loss.twin("gradient-through-psi", read="So get used to it: `psi.detach()`.")
def _psi_not_detached(logits: Tensor, action: Tensor, psi: Tensor, mask: Tensor) -> Tensor:
    return _terms(logits, action, psi, mask).sum(1).mean()


@surrogate_loss.twin("wrong-action", says="The most probable action was taken for the one taken.")
def _most_probable_action(logits: Tensor, action: Tensor, psi: Tensor, mask: Tensor) -> Tensor:
    return _terms(logits, logits.argmax(-1), psi.detach(), mask).sum(1).mean()


@surrogate_loss.twin(
    "mean-for-sum",
    says="All steps of the batch were averaged.",
    read="Over the steps of an episode it *is* a sum: the logarithm of a product.",
)
def _loss_per_step(logits: Tensor, action: Tensor, psi: Tensor, mask: Tensor) -> Tensor:
    return _terms(logits, action, psi.detach(), mask).sum() / mask.sum()


@surrogate_loss.twin("sum-for-mean", read="Over episodes it is a *mean*: an expectation.")
def _loss_of_all(logits: Tensor, action: Tensor, psi: Tensor, mask: Tensor) -> Tensor:
    return _terms(logits, action, psi.detach(), mask).sum()


@surrogate_loss.twin("missing-mask", read="What stands in the padding has no meaning")
def _loss_of_padding(logits: Tensor, action: Tensor, psi: Tensor, mask: Tensor) -> Tensor:
    return _terms(logits, action, psi.detach(), torch.ones_like(mask)).sum(1).mean()
