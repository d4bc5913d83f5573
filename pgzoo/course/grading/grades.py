"""Grades as a table: what spreadsheets show is what was found, and never a formula."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pgzoo.records import files

COLUMNS = ("submission", "chapter", "exercise", "status", "mistake", "says", "file")
UNREADABLE = "unreadable"
LONGEST = 600


@dataclass(frozen=True)
class Grade:
    """What a submission is worth in an exercise.

    Attributes:
        submission: its name.
        chapter: number of the exercise's notebook.
        exercise: its name.
        status: right, wrong, not written, failed, timed out or unreadable.
        says: why, for the learner.
        mistake: its name in the catalogue, where it was recognised.
        file: of the submission, where the function was found.
        seconds: that grading took.
    """

    submission: str
    chapter: int
    exercise: str
    status: str
    says: str
    mistake: str = ""
    file: str = ""
    seconds: float = 0.0


def write_grades(path: Path, grades: Sequence[Grade], setting: dict[str, Any]) -> None:
    """Write the table, and beside it as JSON how, and in how much time, it came about.

    Equal submissions, graded with the same seed, give the same table to the last byte.

    Args:
        path: of the table; the other file has the same name with the ending ``.json``.
        grades: its lines.
        setting: what to say of how it came about.

    Raises:
        UsageError: if they cannot be written.
    """
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(COLUMNS)
    for grade in grades:
        values = asdict(grade)
        lines.writerow([_cell(values[column]) for column in COLUMNS])
    times = {f"{g.submission}: {g.exercise}": round(g.seconds, 3) for g in grades}
    about = json.dumps(setting | {"times": times}, indent=1, ensure_ascii=False)
    try:
        files.write_text(path.with_suffix(".json"), about + "\n")
        files.write_text(path, text.getvalue())
    except OSError as error:
        raise files.cannot_write(path, error) from error


def _cell(value: Any) -> Any:
    """A text that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value.lstrip().startswith(("=", "+", "-", "@")):
        return "'" + value
    return value
