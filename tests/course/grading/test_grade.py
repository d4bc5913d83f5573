"""Grades are what the notebook says, whatever comes back from a learner's process."""

import inspect
import sys
from pathlib import Path

import pytest
import torch

from pgzoo.course.answer import AnswerError, Here
from pgzoo.course.api import check
from pgzoo.course.chapters import EXERCISES
from pgzoo.course.grading import grade as grading
from pgzoo.course.grading import protections
from pgzoo.course.grading.grade import (
    Setting,
    check_protections,
    exercises_of,
    grade_class,
    grade_submission,
)
from pgzoo.course.grading.remote import EndedError, Nursery
from pgzoo.errors import UsageError
from tests.course.matrix import RIGHT, WRONG

SEED = 11
CELLS = [*((name, None) for name in RIGHT), *WRONG]


@pytest.mark.parametrize(("exercise", "mistake"), CELLS, ids=str)
def test_the_grade_is_what_the_notebook_says(exercise, mistake, nursery, tmp_path):
    function = RIGHT[exercise] if mistake is None else WRONG[exercise, mistake]
    place = f"RIGHT[{exercise!r}]" if mistake is None else f"WRONG[{exercise!r}][{mistake!r}]"
    (tmp_path / "answers.py").write_text(Path(inspect.getfile(function)).read_text())
    (tmp_path / "main.py").write_text(f"from answers import RIGHT, WRONG\n\n{exercise} = {place}\n")
    (grade,) = grade_submission(tmp_path, Setting((exercise,), SEED), nursery)
    result = check(exercise, function, seed=SEED)
    assert (grade.status, grade.mistake, grade.file) == (
        result.status,
        result.mistake or "",
        "main.py",
    )
    assert grade.says == " ".join(result.says.split("\n"))


def answer_of(nursery, code):
    process = nursery.process()
    answer = process.__enter__()
    found = answer.find({"a.py": code.encode()}, "f", 5)
    assert found["found"], found
    return process, answer


@pytest.fixture
def remote(nursery):
    """Makes an answer of a text that defines f."""
    made = []

    def make(code):
        with_end, answer = answer_of(nursery, code)
        made.append(with_end)
        return answer

    yield make
    for process in made:
        process.__exit__(None, None, None)


def test_derivatives_are_those_of_here(remote):
    code = "def f(x, k, y):\n    return x**k + x.detach() * 3\n"
    names = {}
    exec(code, names)
    x, y = torch.tensor([1.0, 2.0]), torch.ones(3)
    value, gradients = remote(code).derivatives(x, 2, y, of=(0, 2))
    here, own = Here(names["f"]).derivatives(x, 2, y, of=(0, 2))
    assert value.tolist() == here.tolist() == [4.0, 10.0]
    assert [g.tolist() for g in gradients] == [g.tolist() for g in own] == [[2.0, 4.0], [0.0] * 3]


def test_what_was_raised_comes_with_kind_text_and_line(remote):
    answer = remote("def f(x):\n    y = x\n    raise KeyError('gone')\n")
    with pytest.raises(AnswerError) as caught:
        answer(1)
    error = caught.value
    assert (error.kind, error.text, error.line) == ("KeyError", "'gone'", 3)


def test_the_process_lives_on_after_an_error(remote):
    answer = remote("def f(x):\n    return 1 / x\n")
    with pytest.raises(AnswerError):
        answer(0)
    assert answer(2) == 0.5


def test_arguments_are_copies(remote):
    x = torch.ones(2)
    assert remote("def f(x):\n    return x.add_(1)\n")(x).tolist() == [2, 2]
    assert x.tolist() == [1, 1]


def test_random_numbers_are_the_same_every_time(nursery):
    code = "import random, numpy as np, torch\ndef f():\n    return (random.random(),"
    code += " float(np.random.rand()), torch.rand(2), hash('x'))\n"
    found = []
    for _ in range(2):
        process, answer = answer_of(nursery, code)
        found.append(str(answer()))
        process.__exit__(None, None, None)
    assert found[0] == found[1]


def test_a_gradient_of_another_shape_is_no_answer(remote):
    forged = "import pgzoo.course.grading.child as c, torch\ndef f(x):\n"
    forged += (
        "    c._value = lambda *_: {'value': 1, 'gradients': (torch.ones(7),)}\n    return x\n"
    )
    answer = remote(forged)
    answer(torch.ones(2))
    with pytest.raises(EndedError, match="no answer"):
        answer.derivatives(torch.ones(2), of=(0,))


@pytest.mark.parametrize("reply", ["3", "{}", "{'kind': 3, 'text': 'x'}", "{'kind': 'x'}", "None"])
def test_a_reply_of_another_form_is_no_answer(remote, reply):
    code = f"import pgzoo.course.grading.child as c\ndef f():\n    c._value = lambda *_: {reply}\n"
    answer = remote(code)
    answer()
    for _ in range(2):  # it stays what it is
        with pytest.raises(EndedError, match="no answer"):
            answer()


def test_a_process_has_no_environment_of_the_grader_s(nursery, tmp_path, monkeypatch):
    monkeypatch.setenv("TOKEN", "secret")
    code = "import os\ndef leave_one_out(r, k):\n    raise ValueError(sorted(os.environ))\n"
    (tmp_path / "a.py").write_text(code)
    with Nursery(2) as fresh:
        (grade,) = grade_submission(tmp_path, Setting(("leave_one_out",), 0), fresh)
    assert "PYTHONPATH" in grade.says
    assert "TOKEN" not in grade.says


@pytest.mark.parametrize(
    ("content", "status", "says"),
    [
        (b"\x7fELF\xff\x00garbage", "unreadable", "a.py"),
        (b"def leave_one_out(:", "unreadable", "SyntaxError"),
        (b"x = 1", "not written", "no function leave_one_out"),
        (b"leave_one_out = 3", "not written", "no function leave_one_out"),
        (b"leave_one_out = undefined()", "failed", "NameError"),
        (b"def leave_one_out(r, k): raise NotImplementedError", "not written", "Still to be"),
        (b"import nothing\ndef leave_one_out(r, k): return nothing", "failed", "ModuleNotFound"),
        (
            b"def leave_one_out(r, k): raise ValueError('=1\\x1b[2J\\n' + 'x' * 9999)",
            "failed",
            "\\x1b",
        ),
    ],
)
def test_a_line_with_the_reason(nursery, tmp_path, content, status, says):
    (tmp_path / "a.py").write_bytes(content)
    (grade,) = grade_submission(tmp_path, Setting(("leave_one_out",), 0), nursery)
    assert (grade.status, says in grade.says) == (status, True), grade
    assert len(grade.says) < 1000
    assert grade.says.isprintable()


def test_nothing_handed_in_has_a_line_for_each_exercise(nursery, tmp_path):
    names = exercises_of()
    grades = grade_submission(tmp_path, Setting(names, 0), nursery)
    assert [g.exercise for g in grades] == list(names)
    assert {g.status for g in grades} == {"unreadable"}


def test_a_value_that_breaks_a_checker_fails_alone(nursery, tmp_path, monkeypatch):
    def breaks(*_):
        raise OverflowError("too much")

    monkeypatch.setattr(grading, "examine", breaks)
    (tmp_path / "a.py").write_text("def leave_one_out(r, k): return r")
    (grade,) = grade_submission(tmp_path, Setting(("leave_one_out",), 0), nursery)
    assert (grade.status, "OverflowError: too much" in grade.says) == ("failed", True)


def test_exercises_of_a_chapter_or_one():
    assert exercises_of() == tuple(EXERCISES)
    assert exercises_of(5) == tuple(n for n, e in EXERCISES.items() if e.chapter == 5)
    assert exercises_of(exercise="leave_one_out") == ("leave_one_out",)
    with pytest.raises(UsageError, match="`chapter` with exercises, got 99"):
        exercises_of(99)
    with pytest.raises(UsageError, match="Did you mean leave_one_out"):
        exercises_of(exercise="leave_one")


def test_a_missing_protection_is_refused_unless_it_is_named(monkeypatch):
    monkeypatch.setattr(grading, "missing", lambda: {"files": "no Landlock", "calls": "no library"})
    with pytest.raises(UsageError, match=r"lacks files \(.*\): no Landlock; calls .*no library"):
        check_protections()
    with pytest.raises(UsageError, match="lacks calls"):
        check_protections(["files"])
    assert check_protections(["files", "calls"]) == {"files", "calls"}
    assert Setting((), 0, without=frozenset({"files", "calls"})).protections == ("limits",)


def test_what_this_machine_has_is_not_done_without(monkeypatch):
    monkeypatch.setattr(grading, "missing", dict)
    assert check_protections(["files"]) == frozenset()


def test_other_systems_lack_all(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert protections.missing().keys() == protections.PROTECTIONS.keys()


def test_a_process_that_cannot_be_locked_in_grades_nobody(nursery, tmp_path):
    with Nursery(2, ["limits", "files", "calls"]) as open_to_all, open_to_all.process() as answer:
        code = "import os\ndef f():\n    return os.getpid()"
        assert answer.find({"a.py": code.encode()}, "f", 1)["found"]
        assert answer() > 0  # without protections, too
    with pytest.raises(UsageError, match="refused"), Nursery(1 << 70) as one, one.process():
        pytest.fail("it was not locked in")


RIGHT_ONE = Path(__file__).parents[1] / "answers" / "leave_one_out.py"


def test_the_same_grades_with_any_number_of_jobs(tmp_path):
    for name in ("a", "b", "c"):
        code = f"from answers import by_loops as leave_one_out  # {name}\n"
        (tmp_path / name).mkdir()
        (tmp_path / name / "answers.py").write_text(RIGHT_ONE.read_text())
        (tmp_path / name / "x.py").write_text(code)
    (tmp_path / "b" / "x.py").write_text("def leave_one_out(r, k): return r")
    setting = Setting(("leave_one_out",), 5, 5)
    paths = [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    for jobs in (1, 2):
        grades = [g for graded in grade_class(paths, setting, jobs) for g in graded]
        found = [(g.submission, g.status) for g in grades]
        assert found == [("a", "right"), ("b", "wrong"), ("c", "right")]
