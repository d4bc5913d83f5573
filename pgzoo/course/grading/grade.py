"""Grading: every answer of every submission in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

from pgzoo_envs import available_processors

from pgzoo import __version__
from pgzoo.course.api import exercise_called
from pgzoo.course.chapters import EXERCISES
from pgzoo.course.exercise import Exercise, examine
from pgzoo.course.grading.grades import LONGEST, UNREADABLE, Grade
from pgzoo.course.grading.protections import PROTECTIONS, end_with_parent, missing
from pgzoo.course.grading.remote import EndedError, GradingError, Nursery, RemoteAnswer
from pgzoo.course.grading.submissions import Submission, read_submission
from pgzoo.course.handout import handout_files
from pgzoo.course.result import FAILED, NOT_WRITTEN, Result
from pgzoo.errors import UsageError
from pgzoo.records.printable import on_one_line


@dataclass(frozen=True)
class Setting:
    """How a class is graded.

    Attributes:
        exercises: their names.
        seed: of the random cases; learners must not know it before.
        seconds: of processor time for each answer.
        without: protections that this machine lacks and the teacher does without.
    """

    exercises: tuple[str, ...]
    seed: int
    seconds: int = 10
    without: frozenset[str] = frozenset()

    @property
    def protections(self) -> tuple[str, ...]:
        """Names of those that learners' processes are locked in with."""
        return tuple(p for p in PROTECTIONS if p not in self.without)

    def about(self) -> dict[str, Any]:
        """What to keep beside the grades."""
        return {
            "version": __version__,
            "seed": self.seed,
            "seconds": self.seconds,
            "protections": list(self.protections),
        }


def make_setting(
    chapter: int | None = None,
    exercise: str | None = None,
    seed: int | None = None,
    seconds: int = 10,
    without: Sequence[str] = (),
) -> Setting:
    """A setting, once it is sure that it can be kept.

    Args:
        chapter: all exercises of this one; None: of all.
        exercise: name of the only one; None: all.
        seed: of the random cases; None: one is drawn.
        seconds: of processor time for each answer.
        without: protections to do without, if they are missing.

    Raises:
        UsageError: if there are no such exercises, or other protections are missing.
    """
    drawn = secrets.randbelow(1 << 32) if seed is None else seed
    lacking = check_protections(without)
    return Setting(exercises_of(chapter, exercise), drawn, seconds, lacking)


def check_place(out: Path, submissions: Path) -> None:
    """Make sure that grades can be written where no submission lies, and that none is imported.

    Raises:
        UsageError: if not.
    """
    if any(Path(p).resolve().is_relative_to(submissions.resolve()) for p in sys.path):
        raise UsageError(
            f"Expected Python to look for no modules in {submissions}, but it does, so submissions "
            "could take the place of modules. Change to another folder."
        )
    if out.exists() or out.with_suffix(".json").exists():
        raise UsageError(
            f"Expected {out} to be free, but it, or the JSON file beside it, is there. Choose "
            "another `out`."
        )
    if out.suffix == ".json" or out.resolve().is_relative_to(submissions.resolve()):
        raise UsageError(
            f"Expected `out` to be a table outside {submissions}, such as grades.csv; got {out}."
        )
    if not os.access(out.resolve().parent, os.W_OK):
        raise UsageError(f"Cannot write to {out.parent}. Choose a writable `out`.")


def exercises_of(chapter: int | None = None, exercise: str | None = None) -> tuple[str, ...]:
    """Names of the exercises of a chapter, of a single one, or of the course.

    Raises:
        UsageError: if there are none.
    """
    if exercise is not None:
        exercise_called(exercise)
    chosen = tuple(
        name
        for name, e in EXERCISES.items()
        if chapter in (None, e.chapter) and exercise in (None, name)
    )
    if not chosen:
        raise UsageError(
            f"Expected a `chapter` with exercises, got {chapter}. There are: "
            f"{', '.join(sorted({str(e.chapter) for e in EXERCISES.values()}))}."
        )
    return chosen


def check_protections(without: Sequence[str] = ()) -> frozenset[str]:
    """Make sure that nothing is missing but what the teacher does without.

    Returns:
        What is missing.

    Raises:
        UsageError: if anything else is.
    """
    lacking = missing()
    if not hasattr(os, "fork"):
        raise UsageError("Expected a system with fork(), such as Linux, to grade on; got none.")
    if find_spec("IPython") is None:
        raise UsageError(
            "Expected IPython, which reads notebooks' cells, but it is not installed. Give "
            "pip install 'pgzoo[grade]'."
        )
    if not_said := [name for name in lacking if name not in without]:
        words = "; ".join(f"{name} ({PROTECTIONS[name]}): {lacking[name]}" for name in not_said)
        raise UsageError(
            f"Expected all protections against hostile submissions, but this machine lacks {words}."
            " Grade on a machine that has them, or name each that you do `without`."
        )
    return frozenset(lacking)


def grade_class(
    submissions: Sequence[Path], setting: Setting, jobs: int | None = None
) -> Iterator[list[Grade]]:
    """Grade submissions, in their order.

    Args:
        submissions: folders, notebooks or Python files.
        setting: how.
        jobs: submissions at once; None: one for each processor.

    Yields:
        The grades of one submission, by exercise.

    Raises:
        UsageError: if a grading process dies.
    """
    count = min(jobs or available_processors(), len(submissions))
    pool = ProcessPoolExecutor(
        count, multiprocessing.get_context("spawn"), _begin, (setting.seconds, setting.without)
    )
    before = set(multiprocessing.active_children())
    complete = False
    try:
        yield from pool.map(_grade_path, submissions, [setting] * len(submissions))
        complete = True
    except BrokenProcessPool as error:
        raise UsageError(
            "A grading process was killed. If memory is short, give fewer `jobs`."
        ) from error
    finally:
        if not complete:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - before:
                process.kill()
        pool.shutdown()


_nursery: Nursery


def _begin(seconds: int, without: frozenset[str]) -> None:
    """Once in each grading process; its nursery ends with it."""
    global _nursery
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that began them
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()
    _nursery = Nursery(seconds, tuple(without))


def _grade_path(path: Path, setting: Setting) -> list[Grade]:
    return grade_submission(path, setting, _nursery)


def grade_submission(path: Path, setting: Setting, nursery: Nursery) -> list[Grade]:
    """The grades of one submission.

    Args:
        path: a folder, a notebook or a Python file.
        setting: how.
        nursery: where the processes for its answers come from.
    """
    try:
        submission = read_submission(path)
    except OSError as error:
        submission = Submission(on_one_line(path.name), {}, (f"it cannot be read: {error}",))
    return [_timed(EXERCISES[name], submission, setting, nursery) for name in setting.exercises]


def _timed(exercise: Exercise, submission: Submission, setting: Setting, nursery: Nursery) -> Grade:
    begun = time.perf_counter()
    grade = _grade(exercise, submission, setting, nursery)
    seconds = time.perf_counter() - begun
    return replace(grade, says=_line(grade.says), file=_line(grade.file), seconds=seconds)


def _line(text: str) -> str:
    """A text as a line that can be shown anywhere, and is not too long."""
    line = " ".join(on_one_line(part) for part in text.split("\n") if part.strip())
    return line if len(line) <= LONGEST else line[:LONGEST] + " …"


def _grade(exercise: Exercise, submission: Submission, setting: Setting, nursery: Nursery) -> Grade:
    def grade(status: str, says: str, mistake: str | None = None, file: str = "") -> Grade:
        place = (submission.name, exercise.chapter, exercise.name)
        return Grade(*place, status, says, mistake or "", file)

    if not submission.files:
        return grade(UNREADABLE, "; ".join(submission.refused))
    files = {p: content for p, content in submission.files.items() if not _elsewhere(p, exercise)}
    with nursery.process() as answer:
        try:
            found = answer.find(files, exercise.name, exercise.chapter)
            notes = "; ".join([*found["notes"], *submission.refused])
            if files and not found["readable"]:
                return grade(UNREADABLE, notes)
            if not found["found"]:
                status = FAILED if found["notes"] else NOT_WRITTEN
                return grade(status, f"There is no function {exercise.name} in it. {notes}")
            result = _examine(exercise, answer, setting.seed)
        except EndedError as ended:
            return grade(ended.status, ended.says)
    says = result.says if result.status != FAILED or not notes else f"{result.says} {notes}"
    return grade(result.status, says, result.mistake, found["file"])


def _elsewhere(path: str, exercise: Exercise) -> bool:
    """Whether a file is a notebook of another chapter, where the function may be given."""
    name = PurePosixPath(path).name
    return any(
        name.startswith(notebook.stem) and not notebook.stem.startswith(f"{exercise.chapter}_")
        for notebook in handout_files()
        if notebook.suffix == ".ipynb"
    )


def _examine(exercise: Exercise, answer: RemoteAnswer, seed: int) -> Result:
    """The verdict; whatever a value does to the checker is a failure of that value alone.

    Raises:
        EndedError: if the answer's process is gone.
    """
    try:
        result = examine(exercise, answer, seed)
    except GradingError:
        raise
    except Exception as error:
        says = f"Its value could not be judged ({type(error).__name__}: {error})."
        result = Result(exercise.name, FAILED, says)
    if answer.ended is not None:
        raise answer.ended
    return result
