"""Chapter 6: from language models back to control."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from pgzoo.course.answer import Answer
from pgzoo.course.exercise import Args, Exercise
from pgzoo.course.expect import Wrong, close, numbers, of_shape, same
from pgzoo.course.padding import mask_of, with_padding

PADDING = "padding belongs into no sum, no mean and no count"
Index = NDArray[np.int64]


def _normal(g: Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=g, dtype=torch.float64)


# ------------------------------------------------------------------------------ group_standardize


def _groups(g: Generator) -> Iterator[Args]:
    for groups, size, eps in ((2, 3, 1e-6), (3, 2, 0.1), (1, 5, 1e-6), (2, 4, 0.5)):
        level, spread = 10 * _normal(g, 1, groups, 1), _normal(g, 1, groups, 1).exp()
        yield (level + spread * _normal(g, 2, groups, size)).flatten(1), size, eps


group_standardize = Exercise(
    name="group_standardize",
    chapter=6,
    task="R_k less its group's mean, over its group's standard deviation plus eps, [S, N].",
    read="the sample standard deviation, which divides by K − 1, and eps is added to it",
    cases=_groups,
)


group_standardize.keeps_shape("returns")


@group_standardize.property(
    "for returns 1, 2, 6 in one group and eps = 0, mean and deviation are 3 and √7"
)
def _three_by_hand(answer: Answer, g: Generator) -> None:
    expected = torch.tensor([[-2.0, -1.0, 3.0]]) / 7**0.5
    same(answer(torch.tensor([[1.0, 2.0, 6.0]]), 3, 0.0), expected)


@group_standardize.property("for returns 0, 2 and eps = 1 the advantages are ∓1 / (√2 + 1)")
def _eps_by_hand(answer: Answer, g: Generator) -> None:
    expected = torch.tensor([[-1.0, 1.0]]) / (2**0.5 + 1)
    same(answer(torch.tensor([[0.0, 2.0]]), 2, 1.0), expected)


@group_standardize.property("where all returns of a group are equal, nothing is learned from it")
def _no_spread(answer: Answer, g: Generator) -> None:
    same(answer(torch.full((1, 6), 3.0), 3, 1e-6), torch.zeros(1, 6))


@group_standardize.property("without eps, a group in other units, a R + b, gives the same")
def _units(answer: Answer, g: Generator) -> None:
    for returns, size, _ in _groups(g):
        same(answer(5 * returns - 2, size, 0.0), numbers(answer(returns, size, 0.0)))


@group_standardize.property(
    "two groups in each of two rows: 1, 2, 6 and 10, 10, 40; 0, 1, 2 and 5, 7, 9",
    mistake="other-groups-returns",
)
def _four_groups_by_hand(answer: Answer, g: Generator) -> None:
    returns = torch.tensor([[1.0, 2.0, 6.0, 10.0, 10.0, 40.0], [0.0, 1.0, 2.0, 5.0, 7.0, 9.0]])
    centered = torch.tensor([[-2.0, -1.0, 3.0, -1.0, -1.0, 2.0], [-1.0, 0.0, 1.0, -1.0, 0.0, 1.0]])
    deviation = torch.tensor([[7.0, 3.0], [1.0, 1.0]]).sqrt().repeat_interleave(3, -1)
    same(answer(returns, 3, 0.0), centered / deviation)


@group_standardize.property(
    "a group gives the same in the batch as alone", mistake="other-groups-returns"
)
def _groups_apart(answer: Answer, g: Generator) -> None:
    for returns, size, eps in _groups(g):
        groups = returns.reshape(-1, size)
        alone = [numbers(answer(group[None], size, eps))[0] for group in groups]
        same(answer(returns, size, eps), torch.stack(alone).view_as(returns))


def _standardized(x: Tensor, eps: float, variance: Tensor) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (variance.sqrt() + eps)


@group_standardize.twin("wrong-std-correction", says="The variance was divided by K.")
def _over_k(returns: Tensor, group_size: int, eps: float) -> Tensor:
    group = returns.unflatten(-1, (-1, group_size))
    variance = group.var(-1, keepdim=True, correction=0)
    return _standardized(group, eps, variance).flatten(-2)


@group_standardize.twin("sum-for-mean", says="The squares were added up and not averaged.")
def _sum_of_squares(returns: Tensor, group_size: int, eps: float) -> Tensor:
    group = returns.unflatten(-1, (-1, group_size))
    total = group.var(-1, keepdim=True) * (group_size - 1)
    return _standardized(group, eps, total).flatten(-2)


@group_standardize.twin("other-groups-returns", says="Mean and deviation are of the whole batch.")
def _standardized_batch(returns: Tensor, group_size: int, eps: float) -> Tensor:
    return _standardized(returns, eps, returns.var(-1, keepdim=True))


@group_standardize.twin("wrong-sign")
def _mean_less_return(returns: Tensor, group_size: int, eps: float) -> Tensor:
    group = returns.unflatten(-1, (-1, group_size))
    return -_standardized(group, eps, group.var(-1, keepdim=True)).flatten(-2)


# --------------------------------------------------------------------------- advantages_by_prompt


def _responses(g: Generator) -> Iterator[Args]:
    for prompts, lengths in (
        ([7, 4, 7, 4, 7], [3, 1, 2, 4, 4]),
        ([2, 0, 0, 1, 2, 1, 2, 0], [2, 5, 1, 3, 4, 2, 1, 3]),
        ([5, 5, 5, 5], [1, 2, 3, 2]),
    ):
        mask = mask_of(lengths)
        yield _normal(g, *mask.shape), mask, np.array(prompts)


advantages_by_prompt = Exercise(
    name="advantages_by_prompt",
    chapter=6,
    task="Each response's score less the mean of its prompt's others, at all its tokens, [B, L].",
    read="rows of one prompt may stand anywhere in the batch: the index says whose they are",
    cases=_responses,
)


advantages_by_prompt.keeps_shape("rewards")


@advantages_by_prompt.property(
    "prompt 9 with scores 1, 2, 6 and prompt 3 with 0, 10 give −3, −1.5, 4.5 and −10, 10"
)
def _mixed_by_hand(answer: Answer, g: Generator) -> None:
    mask = torch.tensor([[1, 1], [1, 0], [1, 1], [1, 1], [1, 0]]).bool()
    rewards = torch.tensor([[0.0, 1.0], [0.0, 0.0], [1.0, 1.0], [4.0, 2.0], [10.0, 0.0]])
    expected = torch.tensor([-3.0, -10.0, -1.5, 4.5, 10.0])[:, None] * mask
    same(answer(rewards, mask, np.array([9, 3, 9, 9, 3])), expected)


@advantages_by_prompt.property(
    "what stands in the padding changes nothing, and the result is zero there",
    mistake="missing-mask",
    read=PADDING,
)
def _padding_of_rewards(answer: Answer, g: Generator) -> None:
    for rewards, mask, index in _responses(g):
        clean = numbers(answer(torch.where(mask, rewards, 0), mask, index))
        same(clean[~mask], torch.zeros(int((~mask).sum())), "the padding of the result")
        same(answer(with_padding(rewards, mask), mask, index), clean)


@advantages_by_prompt.property(
    "another prompt's rewards change nothing", mistake="other-groups-returns"
)
def _prompts_apart(answer: Answer, g: Generator) -> None:
    for rewards, mask, index in _responses(g):
        own = torch.from_numpy(index == index[0])
        other = torch.where(own[:, None], rewards, 3 * rewards + 1)
        first = numbers(answer(rewards, mask, index))[own]
        same(numbers(answer(other, mask, index))[own], first)


@advantages_by_prompt.property("rows in another order give the same in that order")
def _any_order(answer: Answer, g: Generator) -> None:
    for rewards, mask, index in _responses(g):
        order = torch.randperm(len(index), generator=g)
        moved = answer(rewards[order], mask[order], index[order.numpy()])
        same(moved, numbers(answer(rewards, mask, index))[order])


@advantages_by_prompt.property("a prompt's advantages add up to zero over its responses")
def _zero_sum_of_prompt(answer: Answer, g: Generator) -> None:
    for rewards, mask, index in _responses(g):
        first = numbers(answer(rewards, mask, index))[:, 0]
        total = [first[torch.from_numpy(index == i)].sum() for i in np.unique(index)]
        same(torch.stack(total), torch.zeros(len(total)), "the sum over a prompt")


@advantages_by_prompt.property("it rises one for one with the response's own reward, at any token")
def _own_reward(answer: Answer, g: Generator) -> None:
    for rewards, mask, index in _responses(g):
        more = rewards.clone()
        more[1, 0] += 1.0
        change = numbers(answer(more, mask, index)) - numbers(answer(rewards, mask, index))
        same(change[1][mask[1]], torch.ones(int(mask[1].sum())), "the change")


def _by_prompt(scores: Tensor, index: Index) -> tuple[Tensor, Tensor]:
    """Of every row, its prompt's sum of scores and number of responses."""
    same_prompt = torch.from_numpy(index[:, None] == index).to(scores)
    return same_prompt @ scores, same_prompt.sum(-1)


def _scores(rewards: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, rewards, 0).sum(-1)


@advantages_by_prompt.twin("own-sample-in-baseline")
def _prompt_mean(rewards: Tensor, mask: Tensor, index: Index) -> Tensor:
    scores = _scores(rewards, mask)
    total, count = _by_prompt(scores, index)
    return (scores - total / count)[:, None] * mask


@advantages_by_prompt.twin("leave-one-out-without-factor")
def _others_over_k(rewards: Tensor, mask: Tensor, index: Index) -> Tensor:
    scores = _scores(rewards, mask)
    total, count = _by_prompt(scores, index)
    return (scores - (total - scores) / count)[:, None] * mask


@advantages_by_prompt.twin("sum-for-mean", says="The others' scores were added up, not averaged.")
def _sum_of_other_scores(rewards: Tensor, mask: Tensor, index: Index) -> Tensor:
    scores = _scores(rewards, mask)
    total, _ = _by_prompt(scores, index)
    return (2 * scores - total)[:, None] * mask


def _leave_one_out(scores: Tensor, mask: Tensor, index: Index) -> Tensor:
    total, count = _by_prompt(scores, index)
    return (scores - (total - scores) / (count - 1))[:, None] * mask


@advantages_by_prompt.twin("wrong-sign")
def _baseline_less_score(rewards: Tensor, mask: Tensor, index: Index) -> Tensor:
    return -_leave_one_out(_scores(rewards, mask), mask, index)


@advantages_by_prompt.twin(
    "mean-for-sum", says="A response's score is the mean of its tokens' rewards, not their sum."
)
def _mean_reward(rewards: Tensor, mask: Tensor, index: Index) -> Tensor:
    return _leave_one_out(_scores(rewards, mask) / mask.sum(-1), mask, index)


@advantages_by_prompt.twin("missing-mask", read=PADDING)
def _padded_scores(rewards: Tensor, mask: Tensor, index: Index) -> Tensor:
    return _leave_one_out(rewards.sum(-1), mask, index)


@advantages_by_prompt.twin(
    "other-groups-returns", says="The baseline is over the whole batch, whatever the prompt."
)
def _one_prompt(rewards: Tensor, mask: Tensor, index: Index) -> Tensor:
    return _leave_one_out(_scores(rewards, mask), mask, np.zeros_like(index))


# ------------------------------------------------------------------------------- whitened_returns


def _discounted(g: Generator) -> Iterator[Args]:
    for lengths, gamma in (([3, 1, 4], 0.5), ([2, 5], 0.9), ([1, 3, 2, 6], 0.7)):
        mask = mask_of(lengths)
        yield _normal(g, *mask.shape), mask, gamma


whitened_returns = Exercise(
    name="whitened_returns",
    chapter=6,
    task="G_t of every token, whitened over all real tokens of the batch, [B, L].",
    read="mean and variance are over all real tokens of the batch",
    cases=_discounted,
)


whitened_returns.keeps_shape("rewards")


@whitened_returns.property(
    "responses of 3 and 1 tokens with scores 1 and −1 have mean 0.5 and variance 1 at γ = 1"
)
def _scores_by_hand(answer: Answer, g: Generator) -> None:
    rewards = torch.tensor([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]])
    expected = [[0.5, 0.5, 0.5], [-1.5, 0.0, 0.0]]
    same(answer(rewards, mask_of([3, 1]), 1.0), expected)


@whitened_returns.property("rewards 0, 0, 4 and 1 at γ = 0.5: returns 1, 2, 4 and 1, whitened")
def _discount_by_hand(answer: Answer, g: Generator) -> None:
    rewards = torch.tensor([[0.0, 0.0, 4.0], [1.0, 0.0, 0.0]])
    expected = torch.tensor([[-1.0, 0.0, 2.0], [-1.0, 0.0, 0.0]]) / 2**0.5
    same(answer(rewards, mask_of([3, 1]), 0.5), expected)


@whitened_returns.property(
    "what stands in the padding changes nothing, and the result is zero there",
    mistake="missing-mask",
    read=PADDING,
)
def _padding_of_returns(answer: Answer, g: Generator) -> None:
    for rewards, mask, gamma in _discounted(g):
        clean = numbers(answer(torch.where(mask, rewards, 0), mask, gamma))
        same(clean[~mask], torch.zeros(int((~mask).sum())), "the padding of the result")
        same(answer(with_padding(rewards, mask), mask, gamma), clean)
        wider = answer(*(torch.nn.functional.pad(x, (0, 3)) for x in (rewards, mask)), gamma)
        same(numbers(wider)[:, : mask.shape[1]], clean)


@whitened_returns.property("over all real tokens the mean is 0 and the sample variance 1")
def _white(answer: Answer, g: Generator) -> None:
    for rewards, mask, gamma in _discounted(g):
        real = of_shape(answer(rewards, mask, gamma), mask.shape)[mask]
        same(real.mean(), 0.0, "the mean")
        same(real.var(), 1.0, "the variance")


@whitened_returns.property("where nothing is earned, nothing is learned: zeros give zeros, not NaN")
def _no_variance(answer: Answer, g: Generator) -> None:
    for rewards, mask, gamma in _discounted(g):
        same(answer(torch.zeros_like(rewards), mask, gamma), torch.zeros_like(rewards))


@whitened_returns.property(
    "for a mean m and a deviation s > 0, m + s · result obeys G_t = r_t + γ G_{t+1}"
)
def _recursion(answer: Answer, g: Generator) -> None:
    for rewards, mask, gamma in _discounted(g):
        found = numbers(answer(rewards, mask, gamma))
        goes_on = torch.nn.functional.pad(mask, (0, 1))[:, 1:]
        following = torch.where(goes_on, found.roll(-1, 1), 0)
        terms = torch.stack([1 - gamma * goes_on.double(), found - gamma * following], -1)[mask]
        m_and_s = torch.linalg.lstsq(terms, rewards[mask][:, None]).solution
        same((terms @ m_and_s)[:, 0], rewards[mask], "G_t − γ G_{t+1}")
        if m_and_s[1] <= 0:
            raise Wrong("Expected the result to rise with G_t, but it falls.")


def _returns_to_go(rewards: Tensor, mask: Tensor, gamma: float) -> Tensor:
    columns, total = [], torch.zeros_like(rewards[:, 0])
    for reward, real in zip(rewards.T.flip(0), mask.T.flip(0), strict=True):
        total = torch.where(real, reward + gamma * total, 0)
        columns.append(total)
    return torch.stack(columns[::-1], -1)


def _whitened(returns: Tensor, mask: Tensor, correction: int = 1) -> Tensor:
    real = returns[mask]
    return (returns - real.mean()) / real.std(correction=correction) * mask


def _row_means(x: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, x, 0).sum(-1, keepdim=True) / mask.sum(-1, keepdim=True)


@whitened_returns.twin("missing-mask", read=PADDING)
def _padding_counted(rewards: Tensor, mask: Tensor, gamma: float) -> Tensor:
    returns = _returns_to_go(rewards, mask, gamma)
    return (returns - returns.mean()) / returns.std() * mask


@whitened_returns.twin("whitening-within-episode")
def _row_by_row(rewards: Tensor, mask: Tensor, gamma: float) -> Tensor:
    returns = _returns_to_go(rewards, mask, gamma)
    centered = (returns - _row_means(returns, mask)) * mask
    variance = centered.square().sum(-1, keepdim=True) / (mask.sum(-1, keepdim=True) - 1).clamp(1)
    return centered / (variance + 1e-8).sqrt()


@whitened_returns.twin("mean-over-time")
def _row_means_subtracted(rewards: Tensor, mask: Tensor, gamma: float) -> Tensor:
    returns = _returns_to_go(rewards, mask, gamma)
    centered = (returns - _row_means(returns, mask)) * mask
    return centered / centered[mask].std()


@whitened_returns.twin("gamma-missing")
def _undiscounted(rewards: Tensor, mask: Tensor, gamma: float) -> Tensor:
    return _whitened(_returns_to_go(rewards, mask, 1.0), mask)


@whitened_returns.twin("gamma-twice")
def _discounted_twice(rewards: Tensor, mask: Tensor, gamma: float) -> Tensor:
    late = rewards * gamma ** torch.arange(rewards.shape[1])
    return _whitened(_returns_to_go(late, mask, gamma), mask)


@whitened_returns.twin("wrong-std-correction")
def _over_n(rewards: Tensor, mask: Tensor, gamma: float) -> Tensor:
    return _whitened(_returns_to_go(rewards, mask, gamma), mask, correction=0)


@whitened_returns.twin("wrong-sign")
def _mean_less_returns(rewards: Tensor, mask: Tensor, gamma: float) -> Tensor:
    return -_whitened(_returns_to_go(rewards, mask, gamma), mask)


# --------------------------------------------------------------------------- kl_penalized_rewards


def _scored(g: Generator) -> Iterator[Args]:
    for lengths, beta in (([3, 1, 4], 0.1), ([2, 5], 0.5), ([1, 3, 2], 2.0)):
        mask = mask_of(lengths)
        scores, log_prob = _normal(g, len(lengths)), -_normal(g, *mask.shape).exp()
        yield scores, log_prob, log_prob + _normal(g, *mask.shape), mask, beta


kl_penalized_rewards = Exercise(
    name="kl_penalized_rewards",
    chapter=6,
    task="Rewards of all tokens: the score at the last one, less β (log π − log π_ref), [B, L].",
    read="every token pays β (log π − log π_ref), and the last one earns the score",
    cases=_scored,
)


kl_penalized_rewards.keeps_shape("log-probabilities", argument=1)


@kl_penalized_rewards.property("log π = −1, −2 under log π_ref = −3, −2, score 5, β = ½: −1, 5")
def _penalty_by_hand(answer: Answer, g: Generator) -> None:
    policy, reference = torch.tensor([[-1.0, -2.0, 0.0]]), torch.tensor([[-3.0, -2.0, 0.0]])
    mask = torch.tensor([[True, True, False]])
    found = answer(torch.tensor([5.0]), policy, reference, mask, 0.5)
    same(found, [[-1.0, 5.0, 0.0]])


@kl_penalized_rewards.property(
    "what stands in the padding changes nothing, and the result is zero there",
    mistake="missing-mask",
    read=PADDING,
)
def _padding_of_penalty(answer: Answer, g: Generator) -> None:
    for scores, log_prob, reference, mask, beta in _scored(g):
        clean = numbers(answer(scores, log_prob, reference, mask, beta))
        same(clean[~mask], torch.zeros(int((~mask).sum())), "the padding of the result")
        spoilt = (with_padding(x, mask) for x in (log_prob, reference))
        same(answer(scores, *spoilt, mask, beta), clean)


@kl_penalized_rewards.property("without a penalty, β = 0, only the last token earns anything")
def _no_penalty(answer: Answer, g: Generator) -> None:
    for scores, log_prob, reference, mask, _ in _scored(g):
        found = numbers(answer(scores, log_prob, reference, mask, 0.0))
        last = mask.sum(-1, keepdim=True) - 1
        expected = torch.zeros_like(found).scatter(1, last, scores[:, None])
        same(found, expected)


@kl_penalized_rewards.property("a response's rewards add up to its score less β Σ_t k1")
def _total(answer: Answer, g: Generator) -> None:
    for scores, log_prob, reference, mask, beta in _scored(g):
        total = numbers(answer(scores, log_prob, reference, mask, beta)).sum(-1)
        paid = torch.where(mask, log_prob, 0).sum(-1) - torch.where(mask, reference, 0).sum(-1)
        same(total, scores - beta * paid, "the sum")


@kl_penalized_rewards.property("a token pays for itself alone")
def _own_penalty(answer: Answer, g: Generator) -> None:
    for scores, log_prob, reference, mask, beta in _scored(g):
        likelier = log_prob.clone()
        likelier[:, 0] += 1.0
        change = numbers(answer(scores, likelier, reference, mask, beta)) - numbers(
            answer(scores, log_prob, reference, mask, beta)
        )
        expected = torch.zeros_like(change)
        expected[:, 0] = -beta
        same(change, expected, "the change")


def _rewards(scores: Tensor, penalty: Tensor, mask: Tensor) -> Tensor:
    last = mask.sum(-1, keepdim=True) - 1
    return torch.where(mask, -penalty, 0).scatter_add(1, last, scores[:, None])


@kl_penalized_rewards.twin(
    "wrong-sign",
    says="The penalty was added: log π_ref − log π stands where log π − log π_ref does.",
)
def _bonus(
    scores: Tensor, log_prob: Tensor, reference: Tensor, mask: Tensor, beta: float
) -> Tensor:
    return _rewards(scores, -beta * (log_prob - reference), mask)


@kl_penalized_rewards.twin("missing-mask", read=PADDING)
def _score_in_padding(
    scores: Tensor, log_prob: Tensor, reference: Tensor, mask: Tensor, beta: float
) -> Tensor:
    return _rewards(scores, beta * (log_prob - reference), torch.ones_like(mask))


@kl_penalized_rewards.twin(
    "mean-for-sum", says="A response's penalty was divided by the number of its tokens."
)
def _penalty_per_token(
    scores: Tensor, log_prob: Tensor, reference: Tensor, mask: Tensor, beta: float
) -> Tensor:
    return _rewards(scores, beta * (log_prob - reference) / mask.sum(-1, keepdim=True), mask)


# ----------------------------------------------------------------------------------- kl_surrogate


def _two_policies(g: Generator) -> Iterator[Args]:
    for states, actions in ((1, 5), (3, 2), (4, 7)):
        yield tuple(_normal(g, states, actions).log_softmax(-1) for _ in range(2))


def _slope(answer: Answer, *args: Tensor) -> Tensor:
    """The derivative of each entry by its own log π."""
    return answer.derivatives(*args, of=(0,))[1][0]


kl_surrogate = Exercise(
    name="kl_surrogate",
    chapter=6,
    task="A term for every token whose expected gradient is that of KL(π ‖ π_ref), [B, L].",
    read="the gradient of an unbiased estimate is not an unbiased estimate of the gradient",
    cases=_two_policies,
    observe=_slope,
)


@kl_surrogate.property("there is one term for every token")
def _shape_of_terms(answer: Answer, g: Generator) -> None:
    for args in _two_policies(g):
        of_shape(answer(*args), args[0].shape)


@kl_surrogate.property("it depends on log π")
def _depends(answer: Answer, g: Generator) -> None:
    for args in _two_policies(g):
        if not _slope(answer, *args).any():
            raise Wrong("The gradient is zero: nothing in it depends on log π.")


def _three_tokens(g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """A policy's and a reference's log-probabilities of three tokens, and ∇KL by the logits."""
    log_prob, reference = (_normal(g, 3).log_softmax(-1) for _ in range(2))
    pi, log_ratio = log_prob.exp(), log_prob - reference
    return log_prob, reference, pi * (log_ratio - (pi * log_ratio).sum())


def _over_all_batches(answer: Answer, log_prob: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes of all batches of 2 × 2 tokens, ``[A⁴, 2, 2]``, and the expected gradient ``[A]``.

    So a term may well depend on the other tokens' samples.
    """
    actions = torch.arange(len(log_prob))
    tokens = torch.cartesian_prod(*[actions] * 4).view(-1, 2, 2)
    slopes = torch.stack([numbers(_slope(answer, log_prob[a], reference[a])) for a in tokens])
    chance = log_prob[tokens].sum((1, 2)).exp()[:, None, None, None]
    score = torch.eye(len(log_prob))[tokens] - log_prob.exp()
    return slopes, (chance * slopes[..., None] * score).sum(0).mean((0, 1))


@kl_surrogate.property(
    "where a baseline is subtracted, the whole of ∇KL is left, not (K − 1)/K of it",
    mistake="own-sample-in-baseline",
)
def _no_own_sample(answer: Answer, g: Generator) -> None:
    log_prob, reference, gradient = _three_tokens(g)
    slopes, found = _over_all_batches(answer, log_prob, reference)
    centered = slopes.sum((1, 2)).abs().max() < 1e-4 * slopes.abs().max()
    for share in (1 / 2, 3 / 4):  # of two tokens, and of four
        if centered and bool(close(found, share * gradient).all()):
            raise Wrong(f"The expected gradient is {share} ∇KL(π ‖ π_ref).")


@kl_surrogate.property(
    "averaged over batches of 2 × 2 tokens sampled from π, the terms' mean has the gradient "
    "∇KL(π ‖ π_ref)"
)
def _gradient_of_kl(answer: Answer, g: Generator) -> None:
    log_prob, reference, gradient = _three_tokens(g)
    _, found = _over_all_batches(answer, log_prob, reference)
    if not found.abs().max() > 1e-6:
        raise Wrong(
            "The expected gradient is zero: E[∇log π] = 0, so a constant weight on ∇log π "
            "has no direction."
        )
    same(found, gradient, "the expected gradient")


@kl_surrogate.twin("wrong-sign")
def _minus_k2(log_prob: Tensor, reference: Tensor) -> Tensor:
    return -(log_prob - reference).square() / 2


@kl_surrogate.twin(
    "own-sample-in-baseline",
    says="The mean that was subtracted from log π − log π_ref contains the token's own.",
    why="A baseline may depend on other tokens' samples only: E[b ∇log π] = 0 needs it.",
)
def _less_mean_of_response(log_prob: Tensor, reference: Tensor) -> Tensor:
    weight = (log_prob - reference).detach()
    return (weight - weight.mean(-1, keepdim=True)) * log_prob


@kl_surrogate.twin(
    "inverted-ratio",
    says="This is k3, or its like: its expected gradient is that of KL(π_ref ‖ π).",
    read="the gradient of k3 is, on average, that of KL(π_ref ‖ π)",
)
def _k3(log_prob: Tensor, reference: Tensor) -> Tensor:
    log_ratio = reference - log_prob
    return log_ratio.exp() - 1 - log_ratio


@kl_surrogate.twin(
    "gradient-through-psi", says="log π − log π_ref, the weight of ∇log π, was differentiated too."
)
def _weight_not_detached(log_prob: Tensor, reference: Tensor) -> Tensor:
    return (log_prob - reference) * log_prob


# --------------------------------------------------------------------------------- aggregate_loss


MODES = ("sum", "step-mean", "trajectory-mean")


def _losses(g: Generator) -> Iterator[Args]:
    for lengths in ([3, 1, 4], [2, 5]):
        mask = mask_of(lengths)
        x = _normal(g, *mask.shape)
        for mode in MODES:
            yield x, mask, mode


aggregate_loss = Exercise(
    name="aggregate_loss",
    chapter=6,
    task="One number of all tokens' terms: sum, step-mean or trajectory-mean.",
    read="sum over the tokens of a response, then mean over responses",
    cases=_losses,
)


@aggregate_loss.property("the result is one number")
def _one_number(answer: Answer, g: Generator) -> None:
    for args in _losses(g):
        of_shape(answer(*args), [])


@aggregate_loss.property(
    "responses with terms 1, 2, 3 and 10: the sum is 8, the step mean 4, the trajectory mean 6"
)
def _means_by_hand(answer: Answer, g: Generator) -> None:
    x = torch.tensor([[1.0, 2.0, 3.0], [10.0, 0.0, 0.0]])
    for mode, expected in zip(MODES, (8.0, 4.0, 6.0), strict=True):
        same(answer(x, mask_of([3, 1]), mode), expected, f"the {mode}")


@aggregate_loss.property(
    "what stands in the padding changes nothing, nor how much there is of it",
    mistake="missing-mask",
    read=PADDING,
)
def _padding_of_terms(answer: Answer, g: Generator) -> None:
    for x, mask, mode in _losses(g):
        clean = numbers(answer(torch.where(mask, x, 0), mask, mode))
        same(answer(with_padding(x, mask), mask, mode), clean, f"the {mode}")
        wider = (torch.nn.functional.pad(y, (0, 3)) for y in (x, mask))
        same(answer(*wider, mode), clean, f"the {mode}")


@aggregate_loss.property("a batch twice over gives the same as once")
def _twice(answer: Answer, g: Generator) -> None:
    for x, mask, mode in _losses(g):
        once = numbers(answer(x, mask, mode))
        same(answer(torch.cat([x, x]), torch.cat([mask, mask]), mode), once, f"the {mode}")


@aggregate_loss.property("a term counts 1/B, 1/Σℓ and 1/(B ℓ)")
def _weights(answer: Answer, g: Generator) -> None:
    for x, mask, mode in _losses(g):
        more = x.clone()
        more[0, 0] += 1.0
        change = numbers(answer(more, mask, mode)) - numbers(answer(x, mask, mode))
        rows, length = len(mask), int(mask[0].sum())
        counts = dict(zip(MODES, (rows, int(mask.sum()), rows * length), strict=True))
        same(change, 1 / counts[mode], f"a term's weight in the {mode}")


def _aggregated(x: Tensor, mask: Tensor, mode: str) -> Tensor:
    x = torch.where(mask, x, 0)
    if mode == "sum":
        return x.sum(-1).mean()
    if mode == "step-mean":
        return x.sum() / mask.sum()
    return (x.sum(-1) / mask.sum(-1)).mean()


@aggregate_loss.twin("missing-mask", read=PADDING)
def _all_entries(x: Tensor, mask: Tensor, mode: str) -> Tensor:
    return _aggregated(x, torch.ones_like(mask), mode)


@aggregate_loss.twin("sum-for-mean", says="`sum` adds up all responses and is not their mean.")
def _sum_of_all(x: Tensor, mask: Tensor, mode: str) -> Tensor:
    return _aggregated(x, mask, mode) * (len(mask) if mode == "sum" else 1)


@aggregate_loss.twin("mean-for-sum", says="`sum` is the mean over a response's tokens.")
def _mean_of_all(x: Tensor, mask: Tensor, mode: str) -> Tensor:
    return _aggregated(x, mask, "trajectory-mean" if mode == "sum" else mode)


@aggregate_loss.twin("wrong-sign")
def _negative(x: Tensor, mask: Tensor, mode: str) -> Tensor:
    return -_aggregated(x, mask, mode)
