"""Chapters with even numbers are executed; the others in a file beside, so that two run at once."""

import pytest

from notebooks import build
from tests.course.running import begins_in_learners_hands, runs_from_top_to_bottom

CHAPTERS = [path for path in build.sources() if build.number(path) % 2 == 0]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_the_solution_notebook(path, one_thread):
    runs_from_top_to_bottom(path)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_the_student_notebook(path, one_thread):
    begins_in_learners_hands(path)
