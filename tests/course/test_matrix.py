"""Exercise × mistake: right answers pass, every mistake that can be made is called by its name."""

import pytest
import torch

from pgzoo.course import MISTAKES, check
from pgzoo.course.answer import Here, mapped
from pgzoo.course.chapters import EXERCISES
from pgzoo.course.exercise import examine
from tests.course.matrix import (
    CELLS,
    ELSEWHERE,
    FORGETFUL,
    RIGHT,
    SOURCES,
    WRONG,
    drifting,
    solutions,
)


@pytest.mark.parametrize("name", EXERCISES)
def test_the_notebook_s_solution_passes(name):
    assert check(name, solutions()[name]).passed, check(name, solutions()[name])


@pytest.mark.parametrize("name", EXERCISES)
def test_another_right_answer_passes(name):
    for seed in (0, 1, 2):
        assert check(name, RIGHT[name], seed=seed).passed, check(name, RIGHT[name], seed=seed)


@pytest.mark.parametrize(("name", "mistake"), CELLS)
def test_a_mistake_is_called_by_its_name(name, mistake):
    if mistake == FORGETFUL:
        answer = drifting(RIGHT[name])
    elif (name, mistake) in WRONG:
        assert (name, mistake) not in ELSEWHERE
        answer = WRONG[name, mistake]
    else:
        assert ELSEWHERE[name, mistake]
        return
    result = check(name, answer, seed=1)
    assert result.status == "wrong", result
    assert result.mistake == mistake, result


@pytest.mark.parametrize("name", EXERCISES)
def test_a_check_names_no_mistake_that_is_said_not_to_be_possible(name):
    twins = set(EXERCISES[name].twins)
    assert twins <= {mistake for exercise, mistake in WRONG if exercise == name}


def test_every_mistake_is_made_somewhere():
    assert {mistake for _, mistake in WRONG} | {FORGETFUL} == set(MISTAKES)


@pytest.mark.parametrize("name", EXERCISES)
def test_what_is_to_be_read_again_stands_in_the_chapter(name):
    exercise = EXERCISES[name]
    (source,) = (s for s in SOURCES if s.name.startswith(f"{exercise.chapter}_"))
    lines = " ".join(line.removeprefix("#").strip() for line in source.read_text().split("\n"))
    parts = [*exercise.properties, *exercise.twins.values()]
    for read in {exercise.read} | {p.read for p in parts if p.read}:
        assert read in lines, f"{read!r} is not in {source.name}"


class Remembered:
    """What a right answer gave to the arguments of one seed, whatever is asked afterwards."""

    def __init__(self, answer):
        self.answer, self.known = answer, {"value": {}, "derivatives": {}}

    def __call__(self, *args):
        return self._recall("value", args, lambda: self.answer(*args))

    def derivatives(self, *args, of):
        question = (*args, list(of))
        return self._recall("derivatives", question, lambda: self.answer.derivatives(*args, of=of))

    def _recall(self, kind, question, ask):
        key = repr(mapped(question, lambda x: (x.shape, torch.as_tensor(x).numpy().tobytes())))
        known = self.known[kind]
        if self.answer is not None:
            known[key] = ask()
        return known[key] if key in known else next(iter(known.values()))


@pytest.mark.parametrize("name", EXERCISES)
def test_returning_what_the_examples_show_is_no_answer(name):
    remembered = Remembered(Here(RIGHT[name]))
    assert examine(EXERCISES[name], remembered, seed=5).passed
    remembered.answer = None
    assert examine(EXERCISES[name], remembered, seed=5).passed
    assert not examine(EXERCISES[name], remembered, seed=6).passed
