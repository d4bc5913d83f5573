"""An exercise: what has to hold of an answer, and what the catalogue's mistakes would give.

An answer is right if all *properties* hold: identities, cases worked by hand, padding that may hold
anything, unbiasedness measured against the exact gradient, learning. Nothing is compared with a
hidden solution, so a right answer may be written in any way. If a property does not hold, the
answer is compared with its *twins*: functions that make a mistake of the catalogue on purpose. The
one that gives the same numbers on random cases names the mistake.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator

from pgzoo.course.answer import Answer, AnswerError, Here
from pgzoo.course.expect import Wrong, WrongKind, agree, of_shape
from pgzoo.course.mistakes import MISTAKES
from pgzoo.course.result import FAILED, NOT_WRITTEN, RIGHT, WRONG, Result

Args = tuple[Any, ...]
Holds = Callable[[Answer, Generator], None]
"""Raises ``Wrong`` unless a property holds; random numbers are drawn from the generator alone."""


@dataclass(frozen=True)
class Property:
    """Something that holds of every right answer.

    Attributes:
        says: what holds, in words; the check is looked through in this order.
        holds: the test of it.
        mistake: what it means if it does not hold and no twin is recognised; of a value that has
            another shape it means nothing.
        read: line of the chapter to read again then.
    """

    says: str
    holds: Holds
    mistake: str | None = None
    read: str | None = None


@dataclass(frozen=True)
class Twin:
    """A function that makes a mistake of the catalogue.

    Attributes:
        function: with the exercise's arguments.
        says: what precisely was done; None: the catalogue's words.
        why: what follows from it here; None: the catalogue's words.
        read: line of the chapter to read again.
    """

    function: Callable[..., Any]
    says: str | None = None
    why: str | None = None
    read: str | None = None


def value_of(answer: Answer, *args: Any) -> Any:
    """What an exercise without gradients compares: the answer's value."""
    return answer(*args)


@dataclass(frozen=True, eq=False)
class Exercise:
    """A function that a learner writes.

    Attributes:
        name: of the function.
        chapter: number of its notebook.
        task: what it computes, in a sentence.
        read: line of the chapter that it follows from, word for word.
        cases: random arguments on which answers are compared with twins; they must tell all twins
            from each other and from a right answer.
        observe: what is compared: by default the value, else gradients, or what is not padding.
        properties: in the order in which they are looked at.
        twins: by name of the mistake.
    """

    name: str
    chapter: int
    task: str
    read: str
    cases: Callable[[Generator], Iterable[Args]]
    observe: Callable[..., Any] = value_of
    properties: list[Property] = field(default_factory=list)
    twins: dict[str, Twin] = field(default_factory=dict)

    def property(
        self, says: str, *, mistake: str | None = None, read: str | None = None
    ) -> Callable[[Holds], Holds]:
        """Decorate a test of something that holds of every right answer."""
        assert mistake is None or mistake in MISTAKES, mistake

        def add(holds: Holds) -> Holds:
            self.properties.append(Property(says, holds, mistake, read))
            return holds

        return add

    def keeps_shape(self, of: str, argument: int = 0) -> None:
        """Add the property that the result has the shape of one of the arguments."""

        @self.property(f"the result has the shape of the {of}")
        def holds(answer: Answer, g: Generator) -> None:
            for args in self.cases(g):
                of_shape(answer(*args), args[argument].shape)

    def twin(
        self,
        mistake: str,
        *,
        says: str | None = None,
        why: str | None = None,
        read: str | None = None,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorate a function that makes a mistake of the catalogue."""
        assert mistake in MISTAKES, mistake
        assert mistake not in self.twins, mistake

        def add(function: Callable[..., Any]) -> Callable[..., Any]:
            self.twins[mistake] = Twin(function, says, why, read)
            return function

        return add


def examine(exercise: Exercise, answer: Answer, seed: int = 0) -> Result:
    """Whether an answer is right, and if not, why.

    Args:
        exercise: what was asked.
        answer: the learner's function.
        seed: of all random cases; the same seed gives the same result.
    """
    args = next(iter(exercise.cases(_generator(exercise, seed))))
    current: Property | None = None
    try:
        first = exercise.observe(answer, *args)
        failed, detail, mistake = None, "", None
        for i, current in enumerate(exercise.properties):
            try:
                current.holds(answer, _generator(exercise, seed, i + 1))
            except Wrong as wrong:
                failed, detail = current, f"{wrong} What has to hold: {current.says}."
                mistake = None if isinstance(wrong, WrongKind) else current.mistake
                break
        if not agree(exercise.observe(answer, *args), first):
            return _wrong(exercise, "depends-on-earlier-calls", "", None)
    except AnswerError as error:
        return _raised(exercise, error, current)
    except Wrong as wrong:  # the value is not even of the kind that can be observed
        return _wrong(exercise, None, str(wrong), None)
    if failed is None:
        return Result(exercise.name, RIGHT, f"All {len(exercise.properties)} properties hold.")
    name = _recognised(exercise, answer, seed)
    if name is not None:
        return _wrong(exercise, name, detail, exercise.twins[name])
    return _wrong(exercise, mistake, detail, failed)


def _recognised(exercise: Exercise, answer: Answer, seed: int) -> str | None:
    """The mistake whose twin gives the same as the answer on all random cases."""
    left = dict(exercise.twins)
    for args in exercise.cases(_generator(exercise, seed)):
        try:
            found = exercise.observe(answer, *args)
        except (AnswerError, Wrong):
            return None
        left = {
            name: twin
            for name, twin in left.items()
            if agree(found, exercise.observe(Here(twin.function), *args))
        }
    return next(iter(left), None)


def _wrong(
    exercise: Exercise, mistake: str | None, detail: str, source: Twin | Property | None
) -> Result:
    words = [detail]
    if mistake is not None:
        known = MISTAKES[mistake]
        says, why = (source.says, source.why) if isinstance(source, Twin) else (None, None)
        words = [says or known.what, why or known.why, detail]
    read = (source.read if source else None) or exercise.read
    return Result(exercise.name, WRONG, " ".join(w for w in words if w), mistake, read)


def _raised(exercise: Exercise, error: AnswerError, during: Property | None) -> Result:
    if error.kind == "NotImplementedError":
        return Result(exercise.name, NOT_WRITTEN, f"Still to be written: {exercise.task}")
    line = f" in line {error.line} of the function" if error.line else ""
    when = f" when this was looked at: {during.says}" if during else ""
    says = f"It raised {error.kind}{line}{when}. {error.text}"
    return Result(exercise.name, FAILED, says.strip(), read=exercise.read)


def _generator(exercise: Exercise, seed: int, stream: int = 0) -> Generator:
    """Random numbers of an exercise and one of its properties."""
    mixed = zlib.crc32(f"{exercise.name} {seed} {stream}".encode())  # torch reads 32 bits
    return torch.Generator().manual_seed(mixed)
