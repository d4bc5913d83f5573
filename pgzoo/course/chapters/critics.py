"""Chapter 4: critics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Generator, Tensor

from pgzoo.course.answer import Answer
from pgzoo.course.chapters.baselines import PADDING, REPLICAS
from pgzoo.course.exercise import Exercise
from pgzoo.course.expect import of_shape, same
from pgzoo.course.padding import on_real_steps, ragged, real_steps_of, with_padding

REWARD, VALUE, NEXT, TERMINATED, TRUNCATED, MASK, GAMMA, LAM = range(8)
"""Positions among the arguments: the tensors of a segment, then γ and λ."""
DONE = "only terminated says that nothing follows"
MASKED = "what stands where the mask is false changes nothing on real steps"
ENDS = "a time limit or the end of a row ends the data, not the value"


def _segments(g: Generator) -> Iterator[tuple[Tensor, ...]]:
    """Rows of one to three episodes and a masked step between them, where numbers mean nothing.

    The first row has two resets, the next two have one, any others none. An episode ends in a
    terminal state or by a time limit; a row's last one goes on beyond the row's end, or ends with
    it.
    """
    for rows, steps in ((4, 7), (3, 6), (5, 8)):
        shape = (2, rows, steps)
        at = torch.arange(steps)
        first = torch.randint(1, steps - 3, shape[:2], generator=g)
        first[..., 0] = 1
        terminal = torch.rand(shape[:2], generator=g) < 0.5
        terminal[..., 0], terminal[..., 1] = True, False
        last = at == first.unsqueeze(-1)
        last[:, 0, 4], last[:, 3:] = True, False
        mask = torch.nn.functional.pad(~last[..., :-1], (1, 0), value=True)
        terminated, truncated = last & terminal.unsqueeze(-1), last & ~terminal.unsqueeze(-1)
        truncated[:, 2, -1] = True  # an episode ends where the row does
        reward, value, following = (torch.randn(shape, generator=g) + level for level in (1, 4, 4))
        goes_on = (mask & ~terminated & ~truncated)[..., :-1] & mask[..., 1:]
        following[..., :-1] = torch.where(goes_on, value[..., 1:], following[..., :-1])
        yield (
            *(with_padding(x, mask, 30.0) for x in (reward, value, following)),
            terminated,
            truncated,
            mask,
        )


def _filled(segment: tuple[Any, ...], filler: float) -> tuple[Any, ...]:
    """The same with another number where the mask is false."""
    mask = segment[MASK]
    return (*(with_padding(x, mask, filler) for x in segment[:TERMINATED]), *segment[TERMINATED:])


def _discounted(g: Generator) -> Iterator[tuple[Any, ...]]:
    for segment in _segments(g):
        yield (*segment, 0.7)


def _with_lam(g: Generator) -> Iterator[tuple[Any, ...]]:
    for segment in _segments(g):
        yield (*segment, 0.7, 0.6)


def _by_hand(*columns: list[float]) -> tuple[Tensor, ...]:
    """One row [1, 1, T] from reward, V and V of the next state; it goes on after its end."""
    numbers = [torch.tensor([[column]]) for column in columns]
    mask = torch.ones(numbers[0].shape, dtype=torch.bool)
    return (*numbers, ~mask, ~mask, mask)


def _ended(segment: tuple[Any, ...], position: int) -> tuple[Any, ...]:
    """The same, terminated or truncated at the end of all rows."""
    flag = segment[position].clone()
    flag[..., -1] = True
    return (*segment[:position], flag, *segment[position + 1 :])


def _real(answer: Answer, *args: Any) -> Tensor:
    return on_real_steps(answer(*args), args[MASK])


def _next_values(value: Any, over: Tensor) -> Tensor:
    """V of the next state, 0 where it is over."""
    return torch.where(over, 0, value)


td_errors = Exercise(
    name="td_errors",
    chapter=4,
    task="δ_t = r_t + γ V(s_{t+1}) − V(s_t), where a terminal state is worth 0, [S, N, T].",
    read="what was earned, plus what is still expected, less what was expected",
    cases=_discounted,
    observe=real_steps_of(MASK),
)


@td_errors.property("r = 1, V = 4, V(s') = 10 and γ = 0.5 give δ = 1 + 5 − 4 = 2")
def _td_by_hand(answer: Answer, g: Generator) -> None:
    same(answer(*_by_hand([1.0], [4.0], [10.0]), 0.5), [[[2.0]]])


@td_errors.property("if the step ends in a terminal state, the same numbers give 1 − 4 = −3")
def _td_terminated(answer: Answer, g: Generator) -> None:
    same(answer(*_ended(_by_hand([1.0], [4.0], [10.0]), TERMINATED), 0.5), [[[-3.0]]])


@td_errors.property(
    "a time limit changes nothing: δ = 2", mistake="truncation-as-termination", read=DONE
)
def _td_truncated(answer: Answer, g: Generator) -> None:
    same(answer(*_ended(_by_hand([1.0], [4.0], [10.0]), TRUNCATED), 0.5), [[[2.0]]])


@td_errors.property("it is zero where the mask is false", mistake="missing-mask")
def _td_zero_in_padding(answer: Answer, g: Generator) -> None:
    for segment in _discounted(g):
        found = of_shape(answer(*segment), segment[MASK].shape)
        same(found[~segment[MASK]], torch.zeros(int((~segment[MASK]).sum())), "δ in the padding")


@td_errors.property("it rises one for one with r, by γ with V(s'), and falls one for one with V")
def _td_slopes(answer: Answer, g: Generator) -> None:
    for segment in _discounted(g):
        before = _real(answer, *segment)
        slopes = (1.0, -1.0, 0.7 * ~segment[TERMINATED])
        for position, slope in enumerate(slopes):
            more = (*segment[:position], segment[position] + 1, *segment[position + 1 :])
            expected = torch.where(segment[MASK], torch.as_tensor(slope, dtype=torch.float64), 0.0)
            same(_real(answer, *more) - before, expected, "the change of δ")


def _delta(*s: Any) -> Tensor:
    """TD errors of a segment and γ, zero where the mask is false."""
    target = s[REWARD] + s[GAMMA] * _next_values(s[NEXT], s[TERMINATED])
    return torch.where(s[MASK], target - s[VALUE], 0)


def _as_terminated(*s: Any) -> tuple[Any, ...]:
    """A segment whose episodes that were cut off are taken for terminated."""
    return (*s[:TERMINATED], s[TERMINATED] | s[TRUNCATED], *s[TRUNCATED:])


def _worthless_end(*s: Any) -> tuple[Any, ...]:
    """A segment at whose end the next state is worth nothing."""
    following = s[NEXT].clone()
    following[..., -1] = 0.0
    return (*s[:NEXT], following, *s[TERMINATED:])


td_errors.twin("wrong-sign")(lambda *s: -_delta(*s))
td_errors.twin("truncation-as-termination", read=DONE)(lambda *s: _delta(*_as_terminated(*s)))
td_errors.twin("missing-bootstrap", says="V(s') does not occur in the result.")(
    lambda *s: _delta(*s[:GAMMA], 0.0)
)
td_errors.twin("gamma-missing")(lambda *s: _delta(*s[:GAMMA], 1.0))
td_errors.twin("gamma-twice", says="V(s') was discounted by γ².")(
    lambda *s: _delta(*s[:GAMMA], s[GAMMA] ** 2)
)


def _goes_on(segment: tuple[Any, ...]) -> Tensor:
    """Where the next step of the row belongs to the same episode."""
    on: Tensor = segment[MASK] & ~segment[TERMINATED] & ~segment[TRUNCATED]
    on[..., -1] = False
    return on


def _garbage_does_not_matter(cases: Any) -> Any:
    """A property: what stands where the mask is false changes nothing."""

    def holds(answer: Answer, g: Generator) -> None:
        for segment in cases(g):
            same(
                _real(answer, *segment),
                _real(answer, *_filled(segment, 1e4)),
                "the result on real steps, with other numbers where the mask is false,",
            )

    return holds


bootstrapped_return = Exercise(
    name="bootstrapped_return",
    chapter=4,
    task="The discounted rewards from t to the episode's end, or to where the data end and V(s') "
    "stands for the rest, [S, N, T].",
    read=ENDS,
    cases=_discounted,
    observe=real_steps_of(MASK),
)
bootstrapped_return.property(MASKED, mistake="missing-mask")(_garbage_does_not_matter(_discounted))


@bootstrapped_return.property(
    "with γ = 0.5, rewards 1, 2, 4 and an end in a terminal state give 3, 4, 4"
)
def _return_terminated(answer: Answer, g: Generator) -> None:
    row = _by_hand([1.0, 2.0, 4.0], [9.0, 9.0, 9.0], [9.0, 9.0, 8.0])
    same(answer(*_ended(row, TERMINATED), 0.5), [[[3.0, 4.0, 4.0]]])


@bootstrapped_return.property(
    "if a time limit ends it, in a state worth V = 8, they give 4, 6, 8",
    mistake="truncation-as-termination",
)
def _return_truncated(answer: Answer, g: Generator) -> None:
    row = _by_hand([1.0, 2.0, 4.0], [9.0, 9.0, 9.0], [9.0, 9.0, 8.0])
    same(answer(*_ended(row, TRUNCATED), 0.5), [[[4.0, 6.0, 8.0]]])


@bootstrapped_return.property(
    "and just so if the row ends while the episode goes on", mistake="missing-bootstrap"
)
def _return_of_open_row(answer: Answer, g: Generator) -> None:
    row = _by_hand([1.0, 2.0, 4.0], [9.0, 9.0, 9.0], [9.0, 9.0, 8.0])
    same(answer(*row, 0.5), [[[4.0, 6.0, 8.0]]])


@bootstrapped_return.property(
    "G_t = r_t + γ G_{t+1} within an episode, and r_t + γ V(s') at its end"
)
def _return_recursion(answer: Answer, g: Generator) -> None:
    for segment in _discounted(g):
        found, on = _real(answer, *segment), _goes_on(segment)
        later = found.roll(-1, -1)
        rest = torch.where(on, later, _next_values(segment[NEXT], segment[TERMINATED]))
        same(found, torch.where(segment[MASK], segment[REWARD] + 0.7 * rest, 0))


def _backward(x: Tensor, factor: Tensor) -> Tensor:
    """y_t = x_t + factor_t · y_{t+1}."""
    y = torch.zeros_like(x)
    following = torch.zeros_like(x[..., 0])
    for t in reversed(range(x.shape[-1])):
        following = x[..., t] + factor[..., t] * following
        y[..., t] = following
    return y


def _bootstrapped(*s: Any) -> Tensor:
    on, gamma = _goes_on(s), s[GAMMA]
    end = torch.where(on, 0, gamma * _next_values(s[NEXT], s[TERMINATED]))
    return _backward(torch.where(s[MASK], s[REWARD] + end, 0), gamma * on)


bootstrapped_return.twin("truncation-as-termination", read=DONE)(
    lambda *s: _bootstrapped(*_as_terminated(*s))
)
bootstrapped_return.twin("missing-bootstrap")(lambda *s: _bootstrapped(*_worthless_end(*s)))
bootstrapped_return.twin("gamma-missing")(lambda *s: _bootstrapped(*s[:GAMMA], 1.0))
bootstrapped_return.twin("gamma-twice", says="Every step was discounted by γ².")(
    lambda *s: _bootstrapped(*s[:GAMMA], s[GAMMA] ** 2)
)


@bootstrapped_return.twin(
    "missing-mask", says="The sum ran through the masked step into the next episode."
)
def _return_across(*s: Any) -> Tensor:
    on, gamma = torch.ones_like(s[MASK]), s[GAMMA]
    on[..., -1] = False
    last = torch.where(on, 0, gamma * _next_values(s[NEXT], s[TERMINATED]))
    return _backward(torch.where(s[MASK], s[REWARD] + last, 0), gamma * on)


@bootstrapped_return.twin("wrong-sign")
def _negative_return(*s: Any) -> Tensor:
    return -_bootstrapped(*s)


gae = Exercise(
    name="gae",
    chapter=4,
    task="Σ_l (γλ)^l δ_{t+l}, as far as the episode and the row go, [S, N, T].",
    read="never crosses the end of an episode",
    cases=_with_lam,
    observe=real_steps_of(MASK),
)
gae.property(MASKED, mistake="missing-mask")(_garbage_does_not_matter(_with_lam))


@gae.property("with γ = λ = 0.5, r = 1, 1, V = 2, 4 and V(s') = 4, 8 the sum is 1.25, 1")
def _gae_by_hand(answer: Answer, g: Generator) -> None:
    same(answer(*_by_hand([1.0, 1.0], [2.0, 4.0], [4.0, 8.0]), 0.5, 0.5), [[[1.25, 1.0]]])


@gae.property(
    "a time limit at the end changes nothing", mistake="truncation-as-termination", read=DONE
)
def _gae_truncated(answer: Answer, g: Generator) -> None:
    row = _ended(_by_hand([1.0, 1.0], [2.0, 4.0], [4.0, 8.0]), TRUNCATED)
    same(answer(*row, 0.5, 0.5), [[[1.25, 1.0]]])


@gae.property("a terminal state at the end does: −0.75 + … = 0.25, −3")
def _gae_terminated(answer: Answer, g: Generator) -> None:
    row = _ended(_by_hand([1.0, 1.0], [2.0, 4.0], [4.0, 8.0]), TERMINATED)
    same(answer(*row, 0.5, 0.5), [[[0.25, -3.0]]])


@gae.property("with λ = 0 it is the TD error")
def _gae_lam_0(answer: Answer, g: Generator) -> None:
    for *segment, gamma, _ in _with_lam(g):
        same(_real(answer, *segment, gamma, 0.0), _delta(*segment, gamma))


@gae.property("with λ = 1 it is the bootstrapped return less V")
def _gae_lam_1(answer: Answer, g: Generator) -> None:
    for *segment, gamma, _ in _with_lam(g):
        returns = _bootstrapped(*segment, gamma)
        expected = torch.where(segment[MASK], returns - segment[VALUE], 0)
        same(_real(answer, *segment, gamma, 1.0), expected)


@gae.property("A_t = δ_t + γλ A_{t+1} within an episode, and δ_t at its last step")
def _gae_recursion(answer: Answer, g: Generator) -> None:
    for *segment, gamma, lam in _with_lam(g):
        found = _real(answer, *segment, gamma, lam)
        later = torch.where(_goes_on(tuple(segment)), found.roll(-1, -1), 0)
        same(found, _delta(*segment, gamma) + gamma * lam * later)


def _advantage(*s: Any, trace: float | None = None) -> Tensor:
    """GAE; ``trace`` stands in the place of γλ."""
    gamma, lam = s[GAMMA:]
    return _backward(_delta(*s[:LAM]), (gamma * lam if trace is None else trace) * _goes_on(s))


gae.twin("wrong-sign")(lambda *s: -_advantage(*s))
gae.twin("truncation-as-termination", read=DONE)(lambda *s: _advantage(*_as_terminated(*s)))
gae.twin("missing-bootstrap", read=ENDS)(lambda *s: _advantage(*_worthless_end(*s)))
gae.twin("gamma-missing", says="TD errors were added up with λ^l, not (γλ)^l.")(
    lambda *s: _advantage(*s, trace=s[LAM])
)
gae.twin("gamma-twice", says="TD errors were added up with (γ²λ)^l, not (γλ)^l.")(
    lambda *s: _advantage(*s, trace=s[GAMMA] ** 2 * s[LAM])
)


@gae.twin("missing-mask", says="The sum ran through the masked step into the next episode.")
def _gae_across(*s: Any) -> Tensor:
    return _backward(_delta(*s[:LAM]), torch.full(s[MASK].shape, s[GAMMA] * s[LAM]))


def _loss(answer: Answer, *args: Any) -> tuple[Tensor, ...]:
    """The loss ``[S]``, and its slopes in V and in V of the next state, ``[S, N, T]``."""
    value, slopes = answer.derivatives(*args, of=(VALUE, NEXT))
    return of_shape(value, args[MASK].shape[:1]), *slopes


value_loss = Exercise(
    name="value_loss",
    chapter=4,
    task="The mean over real steps of (V − target)², where the target is a constant, [S].",
    read="the target is a number, not a function of the critic's parameters",
    cases=_discounted,
    observe=_loss,
)


@value_loss.property(MASKED, mistake="missing-mask")
def _loss_without_padding(answer: Answer, g: Generator) -> None:
    for segment in _discounted(g):
        other = _filled(segment, -7.0)
        same(_loss(answer, *segment)[0], _loss(answer, *other)[0], "the loss")


@value_loss.property("r = 1, V = 4, V(s') = 10, γ = 0.5: (4 − 6)² = 4, and (4 − 1)² = 9 if it ends")
def _loss_by_hand(answer: Answer, g: Generator) -> None:
    row = _by_hand([1.0], [4.0], [10.0])
    same(_loss(answer, *row, 0.5)[0], [4.0])
    same(_loss(answer, *_ended(row, TERMINATED), 0.5)[0], [9.0])


@value_loss.property("a time limit changes nothing", mistake="truncation-as-termination", read=DONE)
def _loss_truncated(answer: Answer, g: Generator) -> None:
    row = _ended(_by_hand([1.0], [4.0], [10.0]), TRUNCATED)
    same(_loss(answer, *row, 0.5)[0], [4.0])


@value_loss.property(
    "with δ = 2, 2 in one row, and 0 and a masked step in the other: (4 + 4 + 0)/3 = 8/3"
)
def _steps_count_alike(answer: Answer, g: Generator) -> None:
    reward = torch.tensor([[[2.0, 2.0], [0.0, 9.0]]])
    mask = torch.tensor([[[True, True], [True, False]]])
    zero, never = torch.zeros(1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.bool)
    same(_loss(answer, reward, zero, zero, never, never, mask, 0.5)[0], [8 / 3])


@value_loss.property("the loss is the mean of δ² over a replica's real steps")
def _loss_is_a_mean(answer: Answer, g: Generator) -> None:
    for segment in _discounted(g):
        errors, mask = _delta(*segment), segment[MASK]
        same(_loss(answer, *segment)[0], errors.square().sum((1, 2)) / mask.sum((1, 2)))


@value_loss.property(
    "no gradient goes through the target: its slope in V(s') is zero",
    mistake="gradient-through-psi",
)
def _target_is_constant(answer: Answer, g: Generator) -> None:
    for segment in _discounted(g):
        slope = _loss(answer, *segment)[2]
        same(slope, torch.zeros_like(slope), "the slope in V(s')")


@value_loss.property("its slope in V is −2δ over the number of real steps")
def _slope_in_value(answer: Answer, g: Generator) -> None:
    for segment in _discounted(g):
        count = segment[MASK].sum((1, 2), keepdim=True)
        same(_loss(answer, *segment)[1], -2 * _delta(*segment) / count, "the slope in V")


def _squares(*s: Any, count: Any = None) -> Tensor:
    """Mean of squared TD errors, with the gradient through V alone; ``count``: of what a mean."""
    s = (*s[:NEXT], s[NEXT].detach(), *s[TERMINATED:])
    total = _delta(*s).square().sum((1, 2))
    return total / (s[MASK].sum((1, 2)) if count is None else count)


value_loss.twin("truncation-as-termination", read=DONE)(lambda *s: _squares(*_as_terminated(*s)))
value_loss.twin("missing-bootstrap", says="V(s') does not occur in the target.")(
    lambda *s: _squares(*s[:GAMMA], 0.0)
)
value_loss.twin("gamma-missing")(lambda *s: _squares(*s[:GAMMA], 1.0))
value_loss.twin("gamma-twice", says="V(s') was discounted by γ².")(
    lambda *s: _squares(*s[:GAMMA], s[GAMMA] ** 2)
)
value_loss.twin("sum-for-mean", says="The squares were added up, not averaged.")(
    lambda *s: _squares(*s, count=1)
)
value_loss.twin("missing-mask", says="The mean was taken over all entries, padding included.")(
    lambda *s: _squares(*s, count=s[MASK][0].numel())
)
value_loss.twin("wrong-sign", says="A loss is to be made small; this one is negative.")(
    lambda *s: -_squares(*s)
)


@value_loss.twin("gradient-through-psi", says="The gradient went through V(s') in the target, too.")
def _both_move(*s: Any) -> Tensor:
    total: Tensor = _delta(*s).square().sum((1, 2)) / s[MASK].sum((1, 2))
    return total


def _predictions(g: Generator) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    for rows, steps in ((4, 5), (3, 6), (5, 4)):
        mask = ragged(g, 2, rows, steps=steps)
        target = 5 * torch.randn(mask.shape, generator=g) + 3
        noise = torch.randn(mask.shape, generator=g)
        yield with_padding(0.7 * target + noise + 4, mask), with_padding(target, mask), mask


def _explained(answer: Answer, *args: Tensor) -> Tensor:
    return of_shape(answer(*args), args[2].shape[:1])


explained_variance = Exercise(
    name="explained_variance",
    chapter=4,
    task="1 − Var(target − prediction) / Var(target) over a replica's real steps, [S].",
    read="1 is a perfect critic, 0 is no better than a constant",
    cases=_predictions,
    observe=_explained,
)


@explained_variance.property(PADDING, mistake="missing-mask")
def _explained_without_padding(answer: Answer, g: Generator) -> None:
    for prediction, target, mask in _predictions(g):
        other = (with_padding(x, mask, 1e4) for x in (prediction, target))
        a, b = (_explained(answer, *x, mask) for x in ((prediction, target), other))
        same(a, b, "the result with NaN in the padding")


@explained_variance.property("it is 1 if the prediction is the target, up to a constant")
def _perfect(answer: Answer, g: Generator) -> None:
    for _, target, mask in _predictions(g):
        same(_explained(answer, target + 3, target, mask), torch.ones(2))


@explained_variance.property("it is 0 for a constant, and −3 for minus the target")
def _none_and_negative(answer: Answer, g: Generator) -> None:
    for _, target, mask in _predictions(g):
        same(_explained(answer, torch.full_like(target, 2.0), target, mask), torch.zeros(2))
        same(_explained(answer, -target, target, mask), torch.full((2,), -3.0))


@explained_variance.property("target 0, 2, 4 and prediction 0, 0, 4, in rows of 2 and 1: 2/3")
def _explained_by_hand(answer: Answer, g: Generator) -> None:
    mask = torch.tensor([[[True, True], [True, False]]])
    target, prediction = torch.tensor([[[[0.0, 2.0], [4.0, 0.0]]], [[[0.0, 0.0], [4.0, 0.0]]]])
    same(_explained(answer, prediction, target, mask), [2 / 3])


@explained_variance.property(REPLICAS)
def _explained_apart(answer: Answer, g: Generator) -> None:
    for prediction, target, mask in _predictions(g):
        other = prediction.clone()
        other[0] = 2 * other[0] + 1
        before, after = (_explained(answer, p, target, mask)[1] for p in (prediction, other))
        same(after, before, "the second replica's result, after a change of the first one's,")


def _one_less(
    prediction: Tensor, target: Tensor, mask: Tensor, axes: tuple[int, ...] = (1, 2)
) -> Tensor:
    """1 − Var/Var, with the means taken over these axes."""

    def square(x: Tensor) -> Tensor:
        mean = torch.where(mask, x, 0).sum(axes, keepdim=True) / mask.sum(axes, keepdim=True)
        return torch.where(mask, x - mean, 0).square().sum((1, 2))

    return 1 - square(target - prediction) / square(target)


explained_variance.twin("wrong-sign")(lambda p, y, m: -_one_less(p, y, m))
explained_variance.twin("mean-over-time", says="Variances were taken around every row's own mean.")(
    lambda p, y, m: _one_less(p, y, m, (2,))
)
explained_variance.twin("missing-mask", says="Padding was counted as steps with the value 0.")(
    lambda p, y, m: _one_less(torch.where(m, p, 0), torch.where(m, y, 0), torch.ones_like(m))
)
