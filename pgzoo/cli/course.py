"""`pgzoo course`: what teachers do."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def course() -> None:
    """The course: hand out its notebooks."""


@course.command()
@click.argument("out", type=click.Path(path_type=Path))
def student(out: Path) -> None:
    """Write the notebooks that learners fill in, and how to begin, to the new folder OUT."""
    from pgzoo.course.handout import write_handout

    for path in write_handout(out):
        click.echo(path)
