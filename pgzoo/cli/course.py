"""`pgzoo course`: what teachers do."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.progress import track
from rich.table import Table

from pgzoo.cli.commands import say
from pgzoo.cli.streams import interrupted, only_display
from pgzoo.cli.values import PLACE
from pgzoo.options import LARGEST_WHOLE
from pgzoo.records.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgzoo.course.grading.grades import Grade


@click.group()
def course() -> None:
    """The course: hand out its notebooks, and grade what learners made of them."""


@course.command()
@click.argument("out", type=PLACE)
def student(out: Path) -> None:
    """Write the notebooks that learners fill in, and how to begin, to the new folder OUT."""
    from pgzoo.course.handout import write_handout

    only_display()
    for path in write_handout(out):
        say(path)


@course.command()
@click.argument("submissions", metavar="SUBMISSIONS", type=PLACE)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The table; how it came about is put beside it as JSON.",
)
@click.option("--chapter", type=int, help="Only the exercises of this chapter.")
@click.option("--exercise", metavar="NAME", help="Only this exercise.")
@click.option(
    "--seconds",
    type=click.IntRange(1, LARGEST_WHOLE),
    default=10,
    show_default=True,
    help="Processor time for each answer.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, LARGEST_WHOLE),
    help="Submissions at once.  [default: one for each processor]",
)
@click.option(
    "--seed",
    type=click.IntRange(0, LARGEST_WHOLE),
    help="Of the random cases, unknown to learners; the same seed gives the same grades.  "
    "[default: drawn, and shown at the end]",
)
@click.option(
    "--without",
    type=click.Choice(["files", "calls", "limits"]),
    multiple=True,
    help="Do without a protection against hostile submissions that this machine lacks.",
)
def grade(
    submissions: Path,
    out: Path,
    chapter: int | None,
    exercise: str | None,
    seconds: int,
    jobs: int | None,
    seed: int | None,
    without: tuple[str, ...],
) -> None:
    """Grade a class: SUBMISSIONS holds a folder, a notebook or a Python file of each learner."""
    from pgzoo.course.grading import grade as grading
    from pgzoo.course.grading.grades import write_grades
    from pgzoo.course.grading.submissions import submissions_in

    only_display()
    setting = grading.make_setting(chapter, exercise, seed, seconds, without)
    grading.check_place(out, submissions)
    paths = submissions_in(submissions)
    console = Terminal()
    grades: list[list[Grade]] = []
    stopped = False
    try:
        one_by_one = grading.grade_class(paths, setting, jobs)
        for graded in track(one_by_one, "Grading", len(paths), console=console, transient=True):
            grades.append(graded)
    except KeyboardInterrupt:
        stopped = True
    if grades:
        write_grades(out, [g for graded in grades for g in graded], setting.about())
        _print_summary(console, grades)
    console.print(
        f"{len(grades)} of {len(paths)} submissions, seed {setting.seed}, protections: "
        f"{', '.join(setting.protections) or 'none'}",
        highlight=False,
    )
    if stopped:
        kept = f"the grades up to there are in {out}" if grades else "nothing was written"
        interrupted(f"Interrupted; {kept}.")
    console.print(f"Grades: {out}", highlight=False, soft_wrap=True)


def _print_summary(console: Terminal, grades: Sequence[Sequence[Grade]]) -> None:
    table = Table(title="Grades", title_justify="left")
    table.add_column("submission")
    table.add_column("right", justify="right")
    table.add_column("otherwise")
    for graded in grades:
        found = Counter(g.status for g in graded)
        right = found.pop("right", 0)
        rest = ", ".join(f"{count} {status}" for status, count in sorted(found.items()))
        table.add_row(graded[0].submission, f"{right} of {len(graded)}", rest)
    console.print(table)
