"""Chapter 3: baselines."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial

import torch
from torch import Generator, Tensor

from pgzoo.course.answer import Answer
from pgzoo.course.exercise import Exercise
from pgzoo.course.expect import Wrong, of_shape, same
from pgzoo.course.padding import mask_of, on_real_steps, ragged, real_steps_of, with_padding
from pgzoo.lab import FiniteMDP, exact_gradient, expected_return, score_gradients, simulate
from pgzoo.lab.mdps import fork, garnet
from pgzoo.policies.networks import Table
from pgzoo.sampling.trajectories import Trajectories

PADDING = (
    "what stands in the padding may be anything, even NaN (NaN · 0 is NaN: put zeros there with "
    "torch.where(mask, x, 0))"
)


def _batches(g: Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Returns-to-go ``[S, N, T]`` with NaN in the padding, and masks."""
    for rows, steps in ((4, 5), (3, 4), (6, 3), (2, 6)):
        mask = ragged(g, 2, rows, steps=steps)
        x = 3 * torch.randn(mask.shape, generator=g) - 4
        yield with_padding(x, mask), mask


def _padding_is_not_read(answer: Answer, g: Generator) -> None:
    for x, mask in _batches(g):
        other = with_padding(x, mask, 1e4)
        same(
            on_real_steps(answer(x, mask), mask),
            on_real_steps(answer(other, mask), mask),
            "the result on real steps, with NaN in the padding,",
        )


def _replicas_are_apart(answer: Answer, g: Generator) -> None:
    for x, mask in _batches(g):
        more = x.clone()
        more[0] = more[0] * 2 + 1
        before, after = (on_real_steps(answer(v, mask), mask)[1] for v in (x, more))
        same(after, before, "the second replica's result, after a change of the first one's,")


REPLICAS = "a replica's result does not depend on another replica (axis 0)"


advantage_over_others = Exercise(
    name="advantage_over_others",
    chapter=3,
    task="G_t less the mean return-to-go of all real steps of the other episodes, [S, N, T].",
    read="the mean over all real steps of the other episodes",
    cases=_batches,
    observe=real_steps_of(1),
)
advantage_over_others.property(PADDING, mistake="missing-mask")(_padding_is_not_read)


@advantage_over_others.property(
    "for episodes with returns-to-go (3, 1), (6, 2, 1) and (5) the baselines are 3.5, 3 and 2.6"
)
def _others_by_hand(answer: Answer, g: Generator) -> None:
    mask = mask_of([[2, 3, 1]])
    returns = torch.tensor([[[3.0, 1.0, 0.0], [6.0, 2.0, 1.0], [5.0, 0.0, 0.0]]])
    expected = [[[-0.5, -2.5, 0], [3.0, -1.0, -2.0], [2.4, 0, 0]]]
    same(on_real_steps(answer(returns, mask), mask), expected)


@advantage_over_others.property(
    "Ψ_t rises one for one with the episode's own G_t, and with no other number of the episode"
)
def _own_return_counts_once(answer: Answer, g: Generator) -> None:
    for returns, mask in _batches(g):
        more = returns.clone()
        more[:, 0, 1] += 1.0
        before, after = (on_real_steps(answer(x, mask), mask)[:, 0] for x in (returns, more))
        expected = torch.zeros_like(before)
        expected[:, 1] = 1.0
        same(after - before, expected, "the change of Ψ")


@advantage_over_others.property("one number added to all returns changes nothing")
def _level_goes_out(answer: Answer, g: Generator) -> None:
    for returns, mask in _batches(g):
        before, after = (on_real_steps(answer(x, mask), mask) for x in (returns, returns + 7))
        same(after, before)


advantage_over_others.property(REPLICAS)(_replicas_are_apart)


def _sums(returns: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns without padding, their sums over time and the lengths, ``[S, N, 1]``."""
    real = torch.where(mask, returns, 0)
    return real, real.sum(-1, keepdim=True), mask.sum(-1, keepdim=True)


OWN_SAMPLE = "with its own sample in the baseline, the estimate is"
OVER_TIME = "It is computed from the episode's own rewards, those after $a_t$ included."


@advantage_over_others.twin("own-sample-in-baseline", read=OWN_SAMPLE)
def _mean_of_all(returns: Tensor, mask: Tensor) -> Tensor:
    real, total, count = _sums(returns, mask)
    return real - total.sum(1, keepdim=True) / count.sum(1, keepdim=True)


@advantage_over_others.twin("mean-over-time", read=OVER_TIME)
def _own_mean_over_time(returns: Tensor, mask: Tensor) -> Tensor:
    real, total, count = _sums(returns, mask)
    return real - total / count


@advantage_over_others.twin(
    "missing-mask", says="The mean was divided by the number of all entries, padding included."
)
def _padding_counted(returns: Tensor, mask: Tensor) -> Tensor:
    real, total, _ = _sums(returns, mask)
    others = mask.shape[1] - 1
    return real - (total.sum(1, keepdim=True) - total) / (others * mask.shape[2])


@advantage_over_others.twin("sum-for-mean", says="The others' returns were added up, not averaged.")
def _sum_of_others(returns: Tensor, mask: Tensor) -> Tensor:
    real, total, _ = _sums(returns, mask)
    return real - (total.sum(1, keepdim=True) - total)


@advantage_over_others.twin(
    "leave-one-out-without-factor",
    says="The others' sum was divided by the number of all steps, the own ones included.",
)
def _over_all_steps(returns: Tensor, mask: Tensor) -> Tensor:
    real, total, count = _sums(returns, mask)
    return real - (total.sum(1, keepdim=True) - total) / count.sum(1, keepdim=True)


@advantage_over_others.twin("wrong-sign")
def _baseline_less_return(returns: Tensor, mask: Tensor) -> Tensor:
    real, total, count = _sums(returns, mask)
    others, steps = (x.sum(1, keepdim=True) - x for x in (total, count))
    return others / steps - real


time_step_baseline = Exercise(
    name="time_step_baseline",
    chapter=3,
    task="The mean of G_t over the other episodes that reached step t, [S, N, T]; 0 if none did.",
    read="at every step, the mean over the other episodes that reached it",
    cases=_batches,
    observe=real_steps_of(1),
)
time_step_baseline.property(PADDING, mistake="missing-mask")(_padding_is_not_read)


@time_step_baseline.property(
    "for episodes with returns-to-go (3, 1), (6, 2, 1) and (5) it is (5.5, 2), (4, 1, 0) and (4.5)"
)
def _time_steps_by_hand(answer: Answer, g: Generator) -> None:
    mask = mask_of([[2, 3, 1]])
    returns = torch.tensor([[[3.0, 1.0, 0.0], [6.0, 2.0, 1.0], [5.0, 0.0, 0.0]]])
    expected = [[[5.5, 2.0, 0], [4.0, 1.0, 0.0], [4.5, 0, 0]]]
    same(on_real_steps(answer(returns, mask), mask), expected)


@time_step_baseline.property(
    "it does not depend on the episode's own returns", mistake="own-sample-in-baseline"
)
def _own_returns_do_not_matter(answer: Answer, g: Generator) -> None:
    for returns, mask in _batches(g):
        more = returns.clone()
        more[:, 0] = more[:, 0] * 3 + 1
        before, after = (on_real_steps(answer(x, mask), mask)[:, 0] for x in (returns, more))
        same(after, before, "the episode's baseline, after a change of its own returns,")


@time_step_baseline.property("another episode's G_t goes into it at step t alone")
def _shares(answer: Answer, g: Generator) -> None:
    for returns, mask in _batches(g):
        more = returns.clone()
        more[:, 0, 1] += 1.0
        before, after = (on_real_steps(answer(x, mask), mask)[:, 1:] for x in (returns, more))
        expected = torch.zeros_like(before)
        others = (mask[:, :, 1].sum(1, keepdim=True) - 1).clamp(min=1)
        expected[:, :, 1] = mask[:, 1:, 1] / others
        same(after - before, expected, "the change")


time_step_baseline.property(REPLICAS)(_replicas_are_apart)


def _at_steps(returns: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns without padding, their sums over episodes and how many there are, ``[S, 1, T]``."""
    real = torch.where(mask, returns, 0)
    return real, real.sum(1, keepdim=True), mask.sum(1, keepdim=True)


@time_step_baseline.twin("own-sample-in-baseline", read=OWN_SAMPLE)
def _all_at_this_step(returns: Tensor, mask: Tensor) -> Tensor:
    _, total, count = _at_steps(returns, mask)
    return (total / count.clamp(min=1)).expand(mask.shape)


@time_step_baseline.twin("mean-over-time", read=OVER_TIME)
def _mean_of_own_steps(returns: Tensor, mask: Tensor) -> Tensor:
    _, total, count = _sums(returns, mask)
    return (total / count).expand(mask.shape)


@time_step_baseline.twin(
    "missing-mask", says="The sum was divided by N − 1, whoever reached the step."
)
def _over_all_others(returns: Tensor, mask: Tensor) -> Tensor:
    real, total, _ = _at_steps(returns, mask)
    return (total - real) / (mask.shape[1] - 1)


@time_step_baseline.twin("sum-for-mean")
def _total_of_others(returns: Tensor, mask: Tensor) -> Tensor:
    real, total, _ = _at_steps(returns, mask)
    return total - real


@time_step_baseline.twin(
    "leave-one-out-without-factor",
    says="The others' sum was divided by the number of all who reached the step, the own episode "
    "included.",
)
def _others_over_all(returns: Tensor, mask: Tensor) -> Tensor:
    real, total, count = _at_steps(returns, mask)
    return (total - real) / count.clamp(min=1)


@time_step_baseline.twin("wrong-sign")
def _negative_baseline(returns: Tensor, mask: Tensor) -> Tensor:
    real, total, count = _at_steps(returns, mask)
    return (real - total) / (count - 1).clamp(min=1)


def _scored(g: Generator) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Returns ``[S, N]``, score functions ``[S, N, T, P]`` with NaN in the padding, and masks."""
    for rows, steps, size in ((4, 5, 3), (6, 3, 2), (3, 4, 4)):
        mask = ragged(g, 2, rows, steps=steps)
        scores = torch.randn(*mask.shape, size, generator=g)
        returns = 2 * torch.randn(mask.shape[:2], generator=g) + 5
        yield returns, with_padding(scores, mask), mask


optimal_constant = Exercise(
    name="optimal_constant",
    chapter=3,
    task="The constant b that minimises the mean of ‖(R − b) Σ_t ∇log π‖² over the batch, [S].",
    read="an episode counts as much as the square of its score function",
    cases=_scored,
)


@optimal_constant.property("there is one constant for each replica (axis 0)")
def _one_constant_each(answer: Answer, g: Generator) -> None:
    for returns, scores, mask in _scored(g):
        of_shape(answer(returns, scores, mask), returns.shape[:1])


@optimal_constant.property(PADDING, mistake="missing-mask")
def _scores_in_padding(answer: Answer, g: Generator) -> None:
    for returns, scores, mask in _scored(g):
        other = with_padding(scores, mask, 1e4)
        a, b = (of_shape(answer(returns, x, mask), returns.shape[:1]) for x in (scores, other))
        same(a, b, "the result with NaN in the padding")


@optimal_constant.property(
    "two episodes of one step with R = 1 and 4, ∇log π = (1, 0) and (1, 1): b = (1·1 + 4·2)/3 = 3"
)
def _constant_by_hand(answer: Answer, g: Generator) -> None:
    scores = torch.tensor([[[[1.0, 0.0]], [[1.0, 1.0]]]])
    same(answer(torch.tensor([[1.0, 4.0]]), scores, torch.ones(1, 2, 1, dtype=torch.bool)), [3.0])


@optimal_constant.property(
    "no other constant has a smaller mean of ‖(R − b) Σ_t ∇log π‖²",
    read="Sum them over an episode's real steps *before* you square.",
)
def _nothing_is_better(answer: Answer, g: Generator) -> None:
    for returns, scores, mask in _scored(g):
        square = with_padding(scores, mask, 0.0).double().sum(2).square().sum(-1)
        b = of_shape(answer(returns, scores, mask), returns.shape[:1]).unsqueeze(-1)

        def loss(b: Tensor, returns: Tensor = returns, square: Tensor = square) -> Tensor:
            return ((returns - b).square() * square).mean(-1)

        for step in (-0.01, 0.01):
            better = loss(b + step) < loss(b)
            if bool(better.any()):
                at = float(b[better][0])
                raise Wrong(
                    f"b = {at:.5g} is not the best constant: {at + step:.5g} is better. "
                    "Were the score functions summed over an episode before they were squared?"
                )


@optimal_constant.twin("mean-for-sum", says="The score functions of an episode were averaged.")
def _mean_of_scores(returns: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
    total = with_padding(scores, mask, 0.0).sum(2) / mask.sum(2, keepdim=True)
    square = total.square().sum(-1)
    return (returns * square).sum(-1) / square.sum(-1)


@optimal_constant.twin(
    "sum-for-mean", says="A sum over episodes stands above the line, and a mean below it."
)
def _sum_over_mean(returns: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
    square = with_padding(scores, mask, 0.0).sum(2).square().sum(-1)
    return (returns * square).sum(-1) / square.mean(-1)


@optimal_constant.twin("wrong-sign")
def _negative_constant(returns: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
    square = with_padding(scores, mask, 0.0).sum(2).square().sum(-1)
    return -(returns * square).sum(-1) / square.sum(-1)


whiten = Exercise(
    name="whiten",
    chapter=3,
    task="(Ψ − mean) / √(variance + 1e-8) over all real steps of a replica's batch, [S, N, T].",
    read="over all real steps of the replica's batch",
    cases=_batches,
    observe=real_steps_of(1),
)
whiten.property(PADDING, mistake="missing-mask")(_padding_is_not_read)


@whiten.property("more padding changes nothing", mistake="missing-mask")
def _one_more_column(answer: Answer, g: Generator) -> None:
    for psi, mask in _batches(g):
        longer = torch.nn.functional.pad(psi, (0, 1), value=torch.nan)
        wider = torch.nn.functional.pad(mask, (0, 1))
        found = on_real_steps(answer(longer, wider), wider)[..., :-1]
        same(found, on_real_steps(answer(psi, mask), mask), "the result with one more column")


@whiten.property("Ψ = 1, 3 in one episode and 5 in another become −1, 0 and 1")
def _whiten_by_hand(answer: Answer, g: Generator) -> None:
    mask = mask_of([[2, 1]])
    psi = torch.tensor([[[1.0, 3.0], [5.0, 0.0]]])
    same(on_real_steps(answer(psi, mask), mask), [[[-1.0, 0.0], [1.0, 0.0]]])


@whiten.property("over the real steps of every replica, the mean is 0 and the sample variance 1")
def _mean_and_variance(answer: Answer, g: Generator) -> None:
    for psi, mask in _batches(g):
        white = on_real_steps(answer(psi, mask), mask)
        for replica, real in zip(white, mask, strict=True):
            same(replica[real].mean(), 0.0, "the mean")
            same(replica[real].var(correction=1), 1.0, "the variance")


@whiten.property("the result lies on a rising straight line over Ψ")
def _straight_line(answer: Answer, g: Generator) -> None:
    for psi, mask in _batches(g):
        white = on_real_steps(answer(psi, mask), mask)
        for before, after, real in zip(psi, white, mask, strict=True):
            same(torch.corrcoef(torch.stack([before[real], after[real]]))[0, 1], 1.0, "correlation")


@whiten.property("where all Ψ are equal the result is 0: 1e-8 stands under the root")
def _constant_batch(answer: Answer, g: Generator) -> None:
    mask = mask_of([[2, 3]])
    same(on_real_steps(answer(torch.full(mask.shape, 2.0), mask), mask), torch.zeros(mask.shape))
    small = torch.tensor([[[1e-4, -1e-4, 0.0]]])
    expected = [[[2**-0.5, -(2**-0.5), 0.0]]]
    same(answer(small, torch.ones(1, 1, 3, dtype=torch.bool)), expected, "Ψ of the size of 1e-4")


whiten.property(REPLICAS)(_replicas_are_apart)


def _white(psi: Tensor, mask: Tensor, axes: tuple[int, ...], correction: int) -> Tensor:
    """Standardised over these axes."""
    count = mask.sum(axes, keepdim=True)
    mean = torch.where(mask, psi, 0).sum(axes, keepdim=True) / count
    centered = torch.where(mask, psi - mean, 0)
    square = centered.square().sum(axes, keepdim=True)
    return centered / (square / (count - correction).clamp(min=1) + 1e-8).sqrt()


@whiten.twin("whitening-within-episode")
def _each_episode(psi: Tensor, mask: Tensor) -> Tensor:
    return _white(psi, mask, (2,), 1)


@whiten.twin("wrong-std-correction")
def _over_n(psi: Tensor, mask: Tensor) -> Tensor:
    return _white(psi, mask, (1, 2), 0)


@whiten.twin("missing-mask", says="Padding was counted as steps with Ψ = 0.")
def _zeros_counted(psi: Tensor, mask: Tensor) -> Tensor:
    return _white(torch.where(mask, psi, 0), torch.ones_like(mask), (1, 2), 1)


@whiten.twin("sum-for-mean", says="The squares were added up, not averaged.")
def _without_count(psi: Tensor, mask: Tensor) -> Tensor:
    white = _white(psi, mask, (1, 2), 1)
    return white / (mask.sum((1, 2), keepdim=True) - 1).sqrt()


@whiten.twin("wrong-sign")
def _mean_less_psi(psi: Tensor, mask: Tensor) -> Tensor:
    return -_white(psi, mask, (1, 2), 1)


def _episodes(g: Generator, rows: int = 4, steps: int = 4) -> Trajectories:
    """Complete episodes of random rewards, with NaN in the padding."""
    mask = ragged(g, 2, rows, steps=steps)
    number = torch.randint(5, (*mask.shape[:2], steps + 1), generator=g)
    last = mask & ~torch.nn.functional.pad(mask[..., 1:], (0, 1))
    reward = torch.randn(mask.shape, generator=g) + 3
    return Trajectories(
        obs=number[..., :-1],
        next_obs=number[..., 1:],
        action=torch.randint(2, mask.shape, generator=g),
        reward=with_padding(reward, mask),
        terminated=last,
        truncated=torch.zeros_like(mask),
        mask=mask,
        log_prob=with_padding(torch.full(mask.shape, 0.5).log(), mask),
    )


def _with_gamma(g: Generator) -> Iterator[tuple[Trajectories, float]]:
    for gamma in (0.5, 0.8):
        yield _episodes(g), gamma


def _psi(answer: Answer, t: Trajectories, gamma: float) -> Tensor:
    return on_real_steps(answer(t, gamma), t.mask)


def _with_reward(t: Trajectories, reward: Tensor) -> Trajectories:
    return dataclasses.replace(t, reward=reward)


def _response(answer: Answer, t: Trajectories, gamma: float) -> Tensor:
    """How Ψ_t of each replica's first episode answers to its own reward at step j, ``[T, S, T]``.

    The baseline does not show in it unless it depends on the episode itself.
    """
    before = _psi(answer, t, gamma)[:, 0]
    changes = []
    for j in range(t.mask.shape[2]):
        reward = t.reward.clone()
        reward[:, 0, j] += 1.0
        changes.append(_psi(answer, _with_reward(t, reward), gamma)[:, 0] - before)
    return torch.stack(changes)


def _powers(steps: int, gamma: float) -> Tensor:
    """γ^(j − t) for j ≥ t, else 0: ``[T, T]``, j first."""
    lag = torch.arange(steps).unsqueeze(-1) - torch.arange(steps)
    return torch.where(lag >= 0, gamma ** lag.clamp(min=0).double(), 0)


my_baseline_psi = Exercise(
    name="my_baseline_psi",
    chapter=3,
    task="Ψ = G_t − b, [S, N, T], with a baseline of your choice: unbiased, of little variance.",
    read="may depend on the state, on the time and on the other episodes, but not on the action",
    cases=_with_gamma,
    observe=_response,
)


@my_baseline_psi.property("a change of the first replica's rewards changes nothing in the second")
def _replicas_learn_apart(answer: Answer, g: Generator) -> None:
    for t, gamma in _with_gamma(g):
        reward = t.reward.clone()
        reward[0] = 2 * reward[0] + 1
        before, after = (_psi(answer, x, gamma)[1] for x in (t, _with_reward(t, reward)))
        same(after, before, "the second replica's Ψ, after a change of the first one's rewards,")


@my_baseline_psi.property(PADDING, mistake="missing-mask")
def _rewards_in_padding(answer: Answer, g: Generator) -> None:
    for t, gamma in _with_gamma(g):
        other = _with_reward(t, with_padding(t.reward, t.mask, 1e4))
        same(_psi(answer, t, gamma), _psi(answer, other, gamma), "Ψ, with NaN in the padding,")


@my_baseline_psi.property(
    "Ψ of an episode does not always have the mean 0 and the deviation 1",
    mistake="whitening-within-episode",
)
def _not_whitened(answer: Answer, g: Generator) -> None:
    t = _episodes(g, steps=5)
    psi = _psi(answer, t, 0.8)[:, 0]
    for correction in (0, 1):
        if bool((psi.std(-1, correction=correction) - 1).abs().max() < 0.01):
            raise Wrong("Every episode's Ψ has the deviation 1.")


@my_baseline_psi.property(
    "Ψ of an episode does not always add up to zero", mistake="mean-over-time", read=OVER_TIME
)
def _not_centered(answer: Answer, g: Generator) -> None:
    t = _episodes(g, steps=5)
    if bool(_psi(answer, t, 0.8).sum(-1).abs().max() < 1e-3):
        raise Wrong("The Ψ of every episode add up to zero, however good the episode was.")


@my_baseline_psi.property("a greater reward makes Ψ greater", mistake="wrong-sign")
def _reward_helps(answer: Answer, g: Generator) -> None:
    t = _episodes(g, rows=40)
    change = _response(answer, t, 0.8)[0, :, 0]
    if bool((change <= 0).all()):
        raise Wrong(f"One more at the first step changed its Ψ by {float(change[0]):.3g}.")


@my_baseline_psi.property("Ψ is not rescaled: a reward that is one more adds 1 to its own Ψ")
def _not_rescaled(answer: Answer, g: Generator) -> None:
    t, gamma = _episodes(g, rows=40), 0.5
    found = _response(answer, _with_reward(t, 10 * t.reward), gamma).mean(1)
    own, before = float(found[1, 1]), float(found[1, 0])
    if abs(own - 1) > 0.2 and abs(before - gamma * own) < 0.1 * abs(own):
        raise Wrong(f"Ψ was rescaled: one more at step 1 adds {own:.3g} to its own Ψ.")


@my_baseline_psi.property(
    "in Ψ_t the reward at step t counts 1, and the next one γ at least", mistake="gamma-twice"
)
def _discounted_enough(answer: Answer, g: Generator) -> None:
    found = _response(answer, _episodes(g, rows=40), 0.5).mean(1)
    if float(found[1, 1]) < 0.8:
        raise Wrong(f"The reward at step 1 counts {float(found[1, 1]):.3g} in its own Ψ.")
    if float(found[1, 0]) < 0.4:
        raise Wrong(f"With γ = 0.5 the reward at step 1 counts {float(found[1, 0]):.3g} in Ψ_0.")


@my_baseline_psi.property("… and the next one γ at most", mistake="gamma-missing")
def _not_discounted_too_little(answer: Answer, g: Generator) -> None:
    found = _response(answer, _episodes(g, rows=40), 0.5).mean(1)
    if float(found[1, 0]) > 0.6:
        raise Wrong(f"With γ = 0.5 the reward at step 1 counts {float(found[1, 0]):.3g} in Ψ_0.")


@my_baseline_psi.property(
    "from step t on, the reward at step j counts exactly γ^(j − t) in the episode's own Ψ_t: none "
    "of it is in b",
    mistake="own-sample-in-baseline",
)
def _own_rewards_exactly(answer: Answer, g: Generator) -> None:
    for gamma in (0.5, 0.8):
        t = _episodes(g, rows=3)
        expected = _powers(t.mask.shape[2], gamma).unsqueeze(1)
        found = torch.where(expected > 0, _response(answer, t, gamma), 0)  # b may know the past
        same(found, expected.expand(found.shape), "the change of Ψ_t by r_j (at [j, replica, t])")


HORIZON, DISCOUNT, BATCHES, MDPS = 6, 0.9, 4_000, (8, 2, 19)


def _policy(mdp: FiniteMDP) -> Tensor:
    """Some table θ ``[1, n·A]`` that is neither uniform nor nearly certain."""
    return torch.randn(1, mdp.reward.size, generator=torch.Generator().manual_seed(5)).double()


def _estimates(answer: Answer, mdp: FiniteMDP, seed: int) -> tuple[Tensor, Tensor]:
    """Gradient estimates of an answer and of Ψ = G_t, ``[batches, n·A]``."""
    pi = _policy(mdp).view(mdp.reward.shape).softmax(-1)
    t = simulate(mdp, pi, horizon=HORIZON, batches=BATCHES, episodes=4, seed=seed)
    to_go = _returns_to_go(t, _powers(HORIZON, DISCOUNT))
    both = torch.stack([_psi(answer, t, DISCOUNT), to_go])
    own, plain = score_gradients(t, DISCOUNT ** torch.arange(HORIZON) * both, pi).flatten(2)
    return own, plain


def _a_seed(g: Generator) -> int:
    return int(torch.randint(2**31, (), generator=g))


@my_baseline_psi.property(
    f"on three small MDPs, the mean of {BATCHES:,} gradient estimates is the exact gradient"
)
def _unbiased(answer: Answer, g: Generator) -> None:
    for mdp in map(garnet, MDPS):
        own, _ = _estimates(answer, mdp, _a_seed(g))
        table = Table(*mdp.reward.shape)
        exact = exact_gradient(mdp, table, _policy(mdp), horizon=HORIZON, gamma=DISCOUNT)[0]
        error = own.std(0) / BATCHES**0.5
        z = (own.mean(0) - exact) / error.clamp(min=1e-9)
        if float(z.abs().max()) > 6:
            k = int(z.abs().argmax())
            raise Wrong(
                f"The exact gradient has {exact[k]:.4f} where your estimates have "
                f"{own.mean(0)[k]:.4f} ± {error[k]:.4f} on average."
            )


@my_baseline_psi.property(
    "on the first of them, their variance is less than half of that of Ψ = G_t"
)
def _less_variance(answer: Answer, g: Generator) -> None:
    own, plain = _estimates(answer, garnet(MDPS[0]), _a_seed(g))
    share = float(own.var(0).sum() / plain.var(0).sum())
    if share > 0.5:
        raise Wrong(f"The variance is {share:.2f} of what it is without a baseline.")


ITERATIONS, STEP_SIZE, SEEDS, ENOUGH, GAINED = 50, 0.3, 200, 105, 0.5


@my_baseline_psi.property(
    f"on `fork`, every reward 6 higher, {ITERATIONS} iterations of 4 episodes with step size "
    f"{STEP_SIZE} gain {GAINED:.0%} of what can be gained on at least {ENOUGH} of {SEEDS} seeds"
)
def _learns(answer: Answer, g: Generator) -> None:
    mdp = fork(4)
    mdp = dataclasses.replace(mdp, reward=mdp.reward + 6.0)
    size, table, seed = mdp.reward.shape, Table(*mdp.reward.shape), _a_seed(g)
    worth = partial(expected_return, mdp, table, horizon=HORIZON, gamma=DISCOUNT)
    theta = torch.zeros(SEEDS, mdp.reward.size, dtype=torch.float64)
    for i in range(ITERATIONS):
        pi = theta.view(-1, *size).softmax(-1).clamp(min=1e-9)
        t = simulate(mdp, pi, horizon=HORIZON, batches=SEEDS, episodes=4, seed=seed + i)
        psi = DISCOUNT ** torch.arange(HORIZON) * _psi(answer, t, DISCOUNT)
        theta = theta + STEP_SIZE * score_gradients(t, psi, pi).flatten(1)
    best = torch.tensor(mdp.reward).argmax(-1)
    best[0] = 0  # the upper path
    most = worth(1e3 * torch.nn.functional.one_hot(best, size[1]).double().view(1, -1))
    least = worth(torch.zeros_like(theta[:1]))
    reached = int(((worth(theta) - least) / (most - least) >= GAINED).sum())
    if reached < ENOUGH:
        raise Wrong(f"{reached} of {SEEDS} seeds gained {GAINED:.0%} of it.")


def _returns_to_go(t: Trajectories, weights: Tensor) -> Tensor:
    reward = torch.where(t.mask, t.reward, 0).double()
    return torch.einsum("snj,jt->snt", reward, weights)


@my_baseline_psi.twin("wrong-sign")
def _turned(t: Trajectories, gamma: float) -> Tensor:
    return -_returns_to_go(t, _powers(t.mask.shape[2], gamma))


@my_baseline_psi.twin("gamma-missing")
def _undiscounted(t: Trajectories, gamma: float) -> Tensor:
    return _returns_to_go(t, _powers(t.mask.shape[2], 1.0))


@my_baseline_psi.twin(
    "gamma-twice", says="The reward at step j was given γ^j in all Ψ_t, where it has γ^(j − t)."
)
def _from_the_start(t: Trajectories, gamma: float) -> Tensor:
    steps = t.mask.shape[2]
    return _returns_to_go(t, _powers(steps, gamma)) * gamma ** torch.arange(steps)


@my_baseline_psi.twin("mean-over-time", read=OVER_TIME)
def _less_own_mean(t: Trajectories, gamma: float) -> Tensor:
    to_go = _returns_to_go(t, _powers(t.mask.shape[2], gamma))
    real, total, count = _sums(to_go, t.mask)
    return real - total / count


@my_baseline_psi.twin("own-sample-in-baseline", read=OWN_SAMPLE)
def _less_mean_of_all(t: Trajectories, gamma: float) -> Tensor:
    to_go = _returns_to_go(t, _powers(t.mask.shape[2], gamma))
    _, total, count = _at_steps(to_go, t.mask)
    return to_go - total / count.clamp(min=1)
