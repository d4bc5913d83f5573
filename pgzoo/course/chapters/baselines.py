"""Chapter 3: baselines."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from pgzoo.course.answer import Answer
from pgzoo.course.exercise import Args, Exercise
from pgzoo.course.expect import Wrong, numbers, of_shape, same
from pgzoo.course.padding import mask_of, on_real_steps, ragged, real_steps_of, with_padding

PADDING = (
    "what stands in the padding may be anything, even NaN (NaN · 0 is NaN: put zeros there with "
    "torch.where(mask, x, 0))"
)


def _batches(g: Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Returns-to-go ``[S, N, T]`` with NaN in the padding, and masks."""
    for rows, steps in ((4, 5), (3, 4), (6, 3), (2, 6)):
        mask = ragged(g, 2, rows, steps=steps)
        x = 3 * torch.randn(mask.shape, generator=g, dtype=torch.float64) - 4
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


_REPLICAS = "a replica's result does not depend on another replica (axis 0)"


advantage_over_others = Exercise(
    name="advantage_over_others",
    chapter=3,
    task="G_t less the mean return-to-go of all real steps of the other episodes, [S, N, T].",
    read="the mean over all real steps of the *other* episodes",
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


advantage_over_others.property(_REPLICAS)(_replicas_are_apart)


def _sums(returns: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns without padding, their sums over time and the lengths, ``[S, N, 1]``."""
    real = torch.where(mask, returns, 0)
    return real, real.sum(-1, keepdim=True), mask.sum(-1, keepdim=True)


@advantage_over_others.twin("own-sample-in-baseline")
def _mean_of_all(returns: Tensor, mask: Tensor) -> Tensor:
    real, total, count = _sums(returns, mask)
    return real - total.sum(1, keepdim=True) / count.sum(1, keepdim=True)


@advantage_over_others.twin("mean-over-time")
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
    read="the mean of $G_{j,t}$ over the other episodes $j$ that reached step $t$",
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


@time_step_baseline.property("another episode's G_t goes into it at step t alone, with a fair share")
def _shares(answer: Answer, g: Generator) -> None:
    for returns, mask in _batches(g):
        more = returns.clone()
        more[:, 0, 1] += 1.0
        before, after = (on_real_steps(answer(x, mask), mask)[:, 1:] for x in (returns, more))
        expected = torch.zeros_like(before)
        others = (mask[:, :, 1].sum(1, keepdim=True) - 1).clamp(min=1)
        expected[:, :, 1] = mask[:, 1:, 1] / others
        same(after - before, expected, "the change")


time_step_baseline.property(_REPLICAS)(_replicas_are_apart)


def _at_steps(returns: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns without padding, their sums over episodes and how many there are, ``[S, 1, T]``."""
    real = torch.where(mask, returns, 0)
    return real, real.sum(1, keepdim=True), mask.sum(1, keepdim=True)


@time_step_baseline.twin("own-sample-in-baseline")
def _all_at_this_step(returns: Tensor, mask: Tensor) -> Tensor:
    _, total, count = _at_steps(returns, mask)
    return (total / count.clamp(min=1)).expand(mask.shape)


@time_step_baseline.twin("mean-over-time")
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
        scores = torch.randn(*mask.shape, size, generator=g, dtype=torch.float64)
        returns = 2 * torch.randn(mask.shape[:2], generator=g, dtype=torch.float64) + 5
        yield returns, with_padding(scores, mask), mask


optimal_constant = Exercise(
    name="optimal_constant",
    chapter=3,
    task="The constant b that minimises the mean of ‖(R − b) Σ_t ∇log π‖² over the batch, [S].",
    read="$b^* = E[R\\,\\|B\\|^2] \\,/\\, E[\\|B\\|^2]$",
    cases=_scored,
)


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


@optimal_constant.property("no other constant has a smaller mean of ‖(R − b) Σ_t ∇log π‖²")
def _nothing_is_better(answer: Answer, g: Generator) -> None:
    for returns, scores, mask in _scored(g):
        square = with_padding(scores, mask, 0.0).sum(2).square().sum(-1)
        b = of_shape(answer(returns, scores, mask), returns.shape[:1]).unsqueeze(-1)

        def loss(b: Tensor, returns: Tensor = returns, square: Tensor = square) -> Tensor:
            return ((returns - b).square() * square).mean(-1)

        for step in (-0.01, 0.01):
            if bool((loss(b + step) < loss(b)).any()):
                raise Wrong(f"b = {b[0, 0]:.5g} is not the best constant; b {step:+g} is better.")


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


@whiten.property("what is larger stays larger")
def _order_stays(answer: Answer, g: Generator) -> None:
    for psi, mask in _batches(g):
        white = on_real_steps(answer(psi, mask), mask)
        for before, after, real in zip(psi, white, mask, strict=True):
            order = before[real].argsort()
            if bool((after[real][order].diff() < -1e-6).any()):
                raise Wrong("A larger Ψ became a smaller one.")


@whiten.property("where all Ψ are equal the result is 0: 1e-8 stands under the root")
def _constant_batch(answer: Answer, g: Generator) -> None:
    mask = mask_of([[2, 3]])
    same(on_real_steps(answer(torch.full(mask.shape, 2.0), mask), mask), torch.zeros(mask.shape))
    small = torch.tensor([[[1e-4, -1e-4, 0.0]]], dtype=torch.float64)
    expected = [[[2**-0.5, -(2**-0.5), 0.0]]]
    same(answer(small, torch.ones(1, 1, 3, dtype=torch.bool)), expected, "Ψ of the size of 1e-4")


whiten.property(_REPLICAS)(_replicas_are_apart)


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
