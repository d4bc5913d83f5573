"""What lies in notebooks/: sources are well formed, and their notebooks are of today."""

import nbformat
import pytest

from notebooks import build
from pgzoo.course.chapters import EXERCISES

SOURCES = build.sources()
each_chapter = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)


def stored(folder, path):
    return nbformat.read(folder / f"{path.stem}.ipynb", as_version=4)


@each_chapter
def test_the_student_notebook_is_that_of_its_source(path):
    assert stored(build.STUDENT, path) == build.student(build.read(path)), "make notebooks"


@each_chapter
def test_the_solution_notebook_is_that_of_its_source(path):
    found, expected = stored(build.SOLUTIONS, path), build.solution(build.read(path))
    assert [(c.id, c.source) for c in found.cells] == [(c.id, c.source) for c in expected.cells]


@each_chapter
def test_the_solution_notebook_is_whole(path):
    notebook = stored(build.SOLUTIONS, path)
    build.check_outputs(notebook)
    build.check_solved(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not any(o.output_type == "error" for cell in code for o in cell.outputs)


def test_every_notebook_has_a_source():
    names = {path.stem for path in SOURCES}
    for folder in (build.SOLUTIONS, build.STUDENT):
        assert {path.stem for path in folder.glob("*.ipynb")} == names


@each_chapter
def test_exercises_are_those_that_are_checked(path):
    checked = [e.name for e in EXERCISES.values() if e.chapter == build.number(path)]
    assert sorted(build.read(path).exercises()) == sorted(checked)


@pytest.mark.parametrize("page", build.PAGES, ids=lambda page: page.name)
def test_tables_are_of_today(page):
    text = page.read_text(encoding="utf-8")
    assert build.with_tables(text) == text, "make notebooks"
    assert "<!-- end of" in text
