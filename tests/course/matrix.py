"""All exercises, with right answers and with every mistake of the catalogue."""

import ast
import importlib
from functools import cache
from pathlib import Path

import jupytext

from pgzoo.course.answer import mapped
from pgzoo.course.chapters import CHAPTERS, EXERCISES
from pgzoo.course.mistakes import MISTAKES

SOURCES = sorted((Path(__file__).parents[2] / "notebooks" / "sources").glob("*.py"))
_FILES = [
    importlib.import_module(f"tests.course.answers.{chapter.__name__.rpartition('.')[2]}")
    for chapter in CHAPTERS
]
RIGHT = {name: answer for file in _FILES for name, answer in file.RIGHT.items()}
WRONG = {
    (exercise, mistake): answer
    for file in _FILES
    for exercise, answers in file.WRONG.items()
    for mistake, answer in answers.items()
}
ELSEWHERE = {
    (exercise, mistake): reason
    for file in _FILES
    for exercise, reasons in file.ELSEWHERE.items()
    for reason, mistakes in reasons.items()
    for mistake in mistakes
}
FORGETFUL = "depends-on-earlier-calls"
CELLS = [(exercise, mistake) for exercise in EXERCISES for mistake in MISTAKES]


def drifting(answer):
    """A right answer that grows a little with every call."""
    calls = []

    def drifts(*args):
        calls.append(None)
        return mapped(answer(*args), lambda x: x * (1 + 0.01 * len(calls)))

    return drifts


@cache
def solutions():
    """The notebooks' own answers, by exercise."""
    found = {}
    for source in SOURCES:
        cells = [c for c in jupytext.read(source).cells if c.cell_type == "code"]
        names = {}
        for cell in cells:
            tags = cell.metadata.get("tags", [])
            code = ast.parse(cell.source)
            if "exercise" not in tags:
                code.body = [x for x in code.body if isinstance(x, (ast.Import, ast.ImportFrom))]
            exec(compile(code, str(source), "exec"), names)
            found |= {tag: names[tag] for tag in tags if tag in EXERCISES}
    return found
