"""``pgzoo.course.check``: a learner's function against an exercise."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pgzoo.course.answer import Here
from pgzoo.course.chapters import EXERCISES
from pgzoo.course.exercise import Exercise, examine
from pgzoo.course.result import Result
from pgzoo.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd


def check(exercise: str, function: Callable[..., Any], *, seed: int = 0) -> Result:
    """Whether a function solves an exercise; if not, which mistake it makes.

    Args:
        exercise: its name, as in ``exercises()``.
        function: the learner's.
        seed: of the random cases.

    Returns:
        The verdict, which shows itself in a notebook.

    Raises:
        UsageError: for an unknown exercise, or what cannot be called.
    """
    found = exercise_called(exercise)
    if not callable(function):
        raise UsageError(
            f"Expected the function {exercise} itself, as in check({exercise!r}, {exercise}); got "
            f"{type(function).__name__}."
        )
    return examine(found, Here(function), seed)


def exercise_called(name: str) -> Exercise:
    """An exercise by its name.

    Raises:
        UsageError: if there is none.
    """
    if name not in EXERCISES:
        near = get_close_matches(name, EXERCISES, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(
            f"Expected an exercise of the course, got {name!r}.{hint} There are: "
            f"{', '.join(EXERCISES)}."
        )
    return EXERCISES[name]


def exercises() -> pd.DataFrame:
    """All exercises, in the course's order: chapter, name, task, and the mistakes recognised."""
    import pandas as pd

    lines = [
        {
            "chapter": e.chapter,
            "exercise": e.name,
            "task": e.task,
            "mistakes": ", ".join(recognised_mistakes(e)),
        }
        for e in EXERCISES.values()
    ]
    return pd.DataFrame(lines, columns=["chapter", "exercise", "task", "mistakes"])


def recognised_mistakes(exercise: Exercise) -> list[str]:
    """Names of the catalogue that a check of this exercise can come to."""
    named = {p.mistake for p in exercise.properties if p.mistake} | set(exercise.twins)
    return sorted(named | {"depends-on-earlier-calls"})
