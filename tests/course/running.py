"""Chapters in fresh kernels, as those who read and those who learn have them."""

from notebooks import build


def runs_from_top_to_bottom(path):
    """A source's solution notebook runs without errors and warnings, and all checks say right."""
    build.solved(build.read(path))


def begins_in_learners_hands(path):
    """The student notebook runs up to the first exercise, whose check finds nothing written."""
    notebook = build.student(build.read(path))
    name = next(build.name_of(cell) for cell in notebook.cells if build.is_exercise(cell))
    check = next(i for i, cell in enumerate(notebook.cells) if build.checks(cell, name))
    notebook.cells = notebook.cells[: check + 1]
    build.execute(notebook)
    said = [build.text_of(output) for output in notebook.cells[-1].outputs]
    assert any(f"{name}: not written" in text for text in said), said
