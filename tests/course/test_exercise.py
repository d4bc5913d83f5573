"""What a check says of answers that are right, wrong, missing or broken."""

import numpy as np
import pytest
import torch

import pgzoo
from pgzoo.course import check
from pgzoo.course.answer import AnswerError, Here
from pgzoo.course.exercise import Exercise, examine
from pgzoo.course.expect import Wrong, agree, of_shape, same
from pgzoo.course.mistakes import MISTAKES
from tests.course.answers.comparison import WRONG as COMPARISON
from tests.course.answers.leave_one_out import RIGHT, group_mean

right = RIGHT["leave_one_out"]


def test_a_right_answer():
    result = check("leave_one_out", right)
    assert result.passed
    assert result.mistake is None
    assert repr(result).startswith("✓ leave_one_out: right")


def test_a_mistake_is_named_and_explained():
    result = check("leave_one_out", group_mean)
    assert (result.status, result.mistake) == ("wrong", "own-sample-in-baseline")
    assert "(K − 1)/K" in result.says
    assert "got -2" in result.says
    assert "own-sample-in-baseline" in result._repr_html_()


def test_why_a_mistake_is_one_may_be_the_exercise_s_own_words():
    result = check(
        "probability_of_improvement", COMPARISON["probability_of_improvement"]["wrong-sign"]
    )
    assert result.mistake == "wrong-sign"
    assert "1 minus what it should be" in result.says
    assert MISTAKES["wrong-sign"].why not in result.says


def test_an_unknown_mistake_says_what_does_not_hold():
    result = check("leave_one_out", lambda r, k: r * 3)
    assert (result.status, result.mistake) == ("wrong", None)
    assert "What has to hold" in result.says


def test_nothing_written_yet():
    def leave_one_out(returns, group_size):
        raise NotImplementedError("leave_one_out: your lines here")

    result = check("leave_one_out", leave_one_out)
    assert result.status == "not written"


def test_an_exception_is_told_with_its_line():
    def leave_one_out(returns, group_size):
        group = returns.unflatten(-1, (-1, group_size))
        return group.center()

    result = check("leave_one_out", leave_one_out)
    assert result.status == "failed"
    assert "AttributeError in line 3" in result.says


@pytest.mark.parametrize("value", [None, "three", [], {"a": 1}, torch.zeros(7), np.zeros((2, 0))])
def test_whatever_comes_back_is_wrong_and_no_error(value):
    result = check("leave_one_out", lambda r, k: value)
    assert (result.status, result.mistake) == ("wrong", None)


def test_numbers_of_any_kind_are_taken():
    assert check("leave_one_out", lambda r, k: right(r, k).numpy()).passed
    assert check("leave_one_out", lambda r, k: right(r, k).float()).passed
    assert check("leave_one_out", lambda r, k: right(r, k).tolist()).passed


def test_an_answer_may_write_to_its_arguments():
    def in_place(returns, group_size):
        returns -= 0.0
        advantage = right(returns, group_size)
        returns.zero_()
        return advantage

    assert check("leave_one_out", in_place).passed


def test_chance_is_no_answer():
    result = check("leave_one_out", lambda r, k: right(r, k) + torch.randn(r.shape))
    assert result.mistake == "depends-on-earlier-calls"


def test_an_unknown_exercise():
    with pytest.raises(pgzoo.UsageError, match="Did you mean leave_one_out"):
        check("leave_out", right)
    with pytest.raises(pgzoo.UsageError, match="the function leave_one_out itself"):
        check("leave_one_out", right(torch.zeros(1, 2), 2))


def test_the_same_seed_gives_the_same_verdict():
    assert check("leave_one_out", group_mean, seed=4) == check("leave_one_out", group_mean, seed=4)


def test_derivatives_by_hand():
    answer = Here(lambda x, y, k: (x**2 * y.detach()).sum() * k)
    x, y = torch.tensor([1.0, 3.0]), torch.tensor([2.0, 5.0])
    value, (dx, dy) = answer.derivatives(x, y, 2, of=(0, 1))
    assert value.item() == 2 * (2 + 45)
    assert dx.tolist() == [8.0, 60.0]
    assert dy.tolist() == [0.0, 0.0]
    assert not x.requires_grad


def test_a_value_that_cannot_be_differentiated_is_the_answer_s_error():
    def overwrites(x):
        y = x.exp()
        total = y.sum()
        y.add_(1)
        return total

    with pytest.raises(AnswerError, match="inplace"):
        Here(overwrites).derivatives(torch.ones(2), of=(0,))


def test_a_wrong_shape_is_no_mistake_of_the_catalogue():
    exercise = Exercise("twice", 1, "2 x", "", lambda g: [(torch.ones(3),)])

    @exercise.property("it is twice its argument", mistake="missing-mask")
    def _twice(answer, g):
        same(answer(torch.ones(3)), [2.0, 2.0, 2.0])

    assert examine(exercise, Here(lambda x: x + 1)).passed
    assert examine(exercise, Here(lambda x: x)).mistake == "missing-mask"
    assert examine(exercise, Here(lambda x: x.sum())).mistake is None


def test_numbers_agree_to_a_ten_thousandth():
    same([1.00005, 2.0], torch.tensor([1.0, 2.0]))
    with pytest.raises(Wrong, match=r"at \[1\] to be 2, got 2.1"):
        same([1.0, 2.1], torch.tensor([1.0, 2.0]))
    with pytest.raises(Wrong, match=r"of shape \[3\], got \[2\]"):
        of_shape([1.0, 2.0], [3])
    assert agree((1.0, [2.0]), (1.0, [2.0]))
    assert not agree(1.0, (1.0,))
    assert not agree(float("nan"), 0.0)
    assert agree(float("nan"), float("nan"))


def test_all_exercises_are_listed():
    table = pgzoo.course.exercises()
    assert {"chapter", "exercise", "task", "mistakes"} <= set(table)
    assert table.chapter.is_monotonic_increasing
