"""Make the course's notebooks from their sources.

    python notebooks/build.py             all chapters
    python notebooks/build.py 3           one
    python notebooks/build.py --tables    the tables of README.md and TEACHING.md alone

A chapter is a script in jupytext's percent format, ``sources/N_name.py``. Of it come:

- ``solutions/N_name.ipynb``: executed from top to bottom in a fresh kernel, stored with outputs;
- ``student/N_name.ipynb``: what stands between the markers of a solution is left to the learner.

An exercise is a code cell with the tags ``exercise`` and its name, which holds a solution, and a
later cell that calls ``course.check`` with that name::

    # %% tags=["exercise", "leave_one_out"]
    def leave_one_out(returns, group_size):
        ### BEGIN SOLUTION
        ...
        ### END SOLUTION

    # %%
    course.check("leave_one_out", leave_one_out)
"""

from __future__ import annotations

import copy
import hashlib
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from pgzoo.course.api import recognised_mistakes
from pgzoo.course.chapters import EXERCISES
from pgzoo.course.mistakes import MISTAKES

HERE = Path(__file__).parent
SOURCES, SOLUTIONS, STUDENT = HERE / "sources", HERE / "solutions", HERE / "student"
PAGES = [HERE / "README.md", HERE / "TEACHING.md"]
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
NAME = re.compile(r"\d+_[a-z][a-z0-9_]*")
LEAST_EXERCISES = 4
SECONDS_OF_A_CELL = 300
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"},
}
ADDRESS = re.compile(r"<[\w.]+( object)? at 0x[0-9a-f]+>")
DRAWN = re.compile(r"\bT_[0-9a-f]{5}(?=[_\W])")
RELATIVE_LINK = re.compile(r"\[([^\]]+)\]\(\.\./[^)]*\)")
WIDGET = "application/vnd.jupyter.widget-view+json"
TEMPORARY = re.compile(re.escape(tempfile.gettempdir()) + r"/[\w-]+")


class IllFormedError(Exception):
    """A chapter that no notebooks can be made of; the message says where and why."""


@dataclass(frozen=True)
class Solution:
    """The lines of a cell between two markers, markers included.

    Attributes:
        first: index of the line with the first marker.
        last: index of the line with the second.
        lines: what stands between them.
    """

    first: int
    last: int
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Chapter:
    """A source, read.

    Attributes:
        name: ``N_name``.
        notebook: all its cells, with solutions and markers, without outputs.
    """

    name: str
    notebook: NotebookNode

    def exercises(self) -> dict[str, NotebookNode]:
        """The cells in which learners write, by the exercise's name."""
        return {name_of(cell): cell for cell in self.notebook.cells if is_exercise(cell)}


def sources() -> list[Path]:
    """All sources, in the order of the course."""
    return sorted(SOURCES.glob("*.py"), key=lambda path: (number(path), path.name))


def number(path: Path) -> int:
    """The chapter's number."""
    if not NAME.fullmatch(path.stem):
        raise IllFormedError(f"Expected a source named N_name.py; got {path.name}.")
    return int(path.stem.partition("_")[0])


def is_exercise(cell: NotebookNode) -> bool:
    """Whether learners write in this cell."""
    return "exercise" in cell.metadata.get("tags", [])


def name_of(cell: NotebookNode) -> str:
    """An exercise's name, which is the other tag of its cell."""
    names = [tag for tag in cell.metadata.tags if tag != "exercise"]
    if len(names) != 1 or not names[0].isidentifier():
        raise IllFormedError(
            f'Expected tags=["exercise", "NAME"] with one name; got {cell.metadata.tags}.'
        )
    return names[0]


def checks(cell: NotebookNode, exercise: str) -> bool:
    """Whether a cell calls ``course.check`` on an exercise."""
    call = rf"""\bcheck\(\s*["']{exercise}["']"""
    return cell.cell_type == "code" and re.search(call, cell.source) is not None


def solutions_of(source: str) -> list[Solution]:
    """The solutions in a cell, in order."""
    found, first = [], None
    lines = source.split("\n")
    for index, line in enumerate(lines):
        if line.strip() == BEGIN and first is None:
            first = index
        elif line.strip() == END and first is not None:
            found.append(Solution(first, index, tuple(lines[first + 1 : index])))
            first = None
        elif BEGIN in line or END in line:
            raise IllFormedError(f"`{line.strip()}` has no partner, or is not alone on its line.")
    if first is not None:
        raise IllFormedError(f"`{BEGIN}` has no partner.")
    return found


def read(path: Path) -> Chapter:
    """Read a source and see that it is well formed.

    Raises:
        IllFormedError: for a chapter that breaks the rules of this file's head.
    """
    number(path)
    notebook = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent")
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    taken: set[str] = set()
    for index, cell in enumerate(notebook.cells):
        try:
            check_cell(cell)
            cell.id = identity(cell, taken)
            cell.metadata.pop("lines_to_next_cell", None)
        except IllFormedError as error:
            raise IllFormedError(f"{path.name}, {where(index, cell)}: {error}") from None
    chapter = Chapter(path.stem, notebook)
    try:
        check_chapter(chapter)
    except IllFormedError as error:
        raise IllFormedError(f"{path.name}: {error}") from None
    nbformat.validate(notebook)
    return chapter


def where(index: int, cell: NotebookNode) -> str:
    """A cell in words."""
    start = cell.source.strip().partition("\n")[0]
    return f"cell {index + 1} (`{start}`)"


def check_cell(cell: NotebookNode) -> None:
    """See that a cell holds something, and solutions stand in exercises and nowhere else."""
    if not cell.source.strip():
        raise IllFormedError("Expected a cell to hold something.")
    if cell.metadata.get("title"):
        raise IllFormedError(
            f"`{cell.metadata.title}` stands on the line of the cell's mark, where it is lost."
        )
    has_solution = bool(solutions_of(cell.source))
    if is_exercise(cell):
        name_of(cell)
        if cell.cell_type != "code":
            raise IllFormedError("Expected an exercise to be a code cell.")
        if not has_solution:
            raise IllFormedError(f"Expected an exercise to hold `{BEGIN}` … `{END}`.")
        if f"def {name_of(cell)}(" not in cell.source:
            raise IllFormedError(f"Expected an exercise to define its function {name_of(cell)}.")
    elif has_solution:
        raise IllFormedError('A solution stands in a cell without tags=["exercise", "NAME"].')


def check_chapter(chapter: Chapter) -> None:
    """See that exercises are enough, are checked, and give nothing away."""
    cells = chapter.notebook.cells
    names = [name_of(cell) for cell in cells if is_exercise(cell)]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise IllFormedError(f"More than one exercise is named {', '.join(sorted(twice))}.")
    if len(names) < LEAST_EXERCISES:
        raise IllFormedError(
            f"Expected at least {LEAST_EXERCISES} exercises; found {len(names)}: {names}."
        )
    for name, cell in chapter.exercises().items():
        if not any(checks(later, name) for later in cells[cells.index(cell) + 1 :]):
            raise IllFormedError(
                f'No cell after exercise {name} calls course.check("{name}", {name}).'
            )
    title(chapter.notebook)
    for name, solution in leaks(chapter):
        raise IllFormedError(
            f"The solution of exercise {name} can be read elsewhere in the student notebook:\n"
            + "\n".join(solution.lines)
        )


def leaks(chapter: Chapter) -> Iterator[tuple[str, Solution]]:
    """Solutions all of whose lines learners are shown somewhere."""
    shown = {line.strip() for cell in student(chapter).cells for line in cell.source.splitlines()}
    for name, cell in chapter.exercises().items():
        for solution in solutions_of(cell.source):
            lines = {line.strip() for line in solution.lines} - {""}
            code = {line for line in lines if not line.startswith("#")}
            if not code:
                raise IllFormedError(f"The solution of exercise {name} is empty.")
            if code <= shown:
                yield name, solution


def identity(cell: NotebookNode, taken: set[str]) -> str:
    """A cell's id: an exercise's name, or a digest of its text; new to those taken, and noted."""
    digest = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
    base = name_of(cell) if is_exercise(cell) else digest
    found, again = base, 1
    while found in taken:
        again += 1
        found = f"{base}-{again}"
    taken.add(found)
    return found


def solution(chapter: Chapter) -> NotebookNode:
    """The notebook with solutions and without markers, not executed."""
    notebook = copy.deepcopy(chapter.notebook)
    for cell in filter(is_exercise, notebook.cells):
        lines = cell.source.split("\n")
        cell.source = "\n".join(line for line in lines if line.strip() not in (BEGIN, END))
    return notebook


def student(chapter: Chapter) -> NotebookNode:
    """The notebook in which learners write."""
    notebook = copy.deepcopy(chapter.notebook)
    for cell in filter(is_exercise, notebook.cells):
        lines = cell.source.split("\n")
        for found in reversed(solutions_of(cell.source)):
            indent = lines[found.first].partition("#")[0]
            stub = f'{indent}raise NotImplementedError("{name_of(cell)}: your lines here")'
            lines[found.first : found.last + 1] = [stub]
        cell.source = "\n".join(lines)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = RELATIVE_LINK.sub(r"\1", cell.source)  # a hand-out stands by itself
    return notebook


@dataclass(frozen=True)
class Execution:
    """What running a notebook took.

    Attributes:
        seconds: all of it, the kernel's start included.
        slowest: the cell that took longest, in words.
    """

    seconds: float
    slowest: str


def execute(notebook: NotebookNode) -> Execution:
    """Run all cells in a fresh kernel and keep their outputs in the notebook.

    Raises:
        CellExecutionError: for an error in a cell; it has the traceback.
    """
    began: dict[int, float] = {}
    took: dict[int, float] = {}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(
            notebook,
            timeout=SECONDS_OF_A_CELL,
            kernel_name="python3",
            extra_arguments=["--log-level=ERROR"],
            resources={"metadata": {"path": folder}},
            record_timing=False,
            coalesce_streams=True,
            store_widget_state=False,
            on_cell_execute=lambda cell, cell_index: began.update({cell_index: time.monotonic()}),
            on_cell_executed=lambda cell, cell_index, execute_reply: took.update(
                {cell_index: time.monotonic() - began[cell_index]}
            ),
        ).execute()
    notebook.metadata = nbformat.from_dict(METADATA)
    slowest = max(took, key=took.__getitem__)
    cell = where(slowest, notebook.cells[slowest])
    return Execution(time.monotonic() - started, f"{took[slowest]:.1f} s in {cell}")


def text_of(output: NotebookNode) -> str:
    """What an output says in plain text."""
    return output.get("text", "") + output.get("data", {}).get("text/plain", "")


def check_solved(notebook: NotebookNode) -> None:
    """See that ``course.check`` accepts every exercise's answer.

    Raises:
        IllFormedError: for an exercise that no output calls right.
    """
    texts = [text_of(output) for cell in notebook.cells for output in cell.get("outputs", [])]
    for name in map(name_of, filter(is_exercise, notebook.cells)):
        if not any(f"{name}: right" in text for text in texts):
            said = [text for text in texts if f"{name}: " in text]
            raise IllFormedError(f"The solution of exercise {name} is not right: {said}")


def check_outputs(notebook: NotebookNode) -> None:
    """See that outputs are worth storing.

    Raises:
        IllFormedError: for warnings, and for addresses, which differ from run to run.
    """
    for index, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            data, text = output.get("data", {}), text_of(output)
            if output.get("name") == "stderr":
                raise IllFormedError(f"{where(index, cell)} writes to stderr:\n{output.text}")
            if ADDRESS.search(text) and not set(data) - {"text/plain"}:
                raise IllFormedError(f"{where(index, cell)} shows an address: {text}")


def tidy(notebook: NotebookNode) -> None:
    """Take out of the outputs what is new in every run.

    That is bars, names of temporary folders, addresses, and the names that pandas draws for tables.
    """
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if WIDGET not in o.get("data", {})]
            for output in cell.outputs:
                for text in (output, output.get("data", {})):
                    for kind in text.keys() & {"text", "text/plain", "text/html"}:
                        text[kind] = DRAWN.sub(f"T_{cell.id}", TEMPORARY.sub("…", text[kind]))
                data = output.get("data", {})
                if set(data) - {"text/plain"} and "text/plain" in data:  # shown otherwise
                    data["text/plain"] = ADDRESS.sub("<…>", data["text/plain"])


def write(notebook: NotebookNode, path: Path) -> None:
    """Store a notebook, whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".partial")
    nbformat.write(notebook, partial)
    partial.replace(path)


def solved(chapter: Chapter) -> tuple[NotebookNode, Execution]:
    """The solution notebook with its outputs.

    Raises:
        IllFormedError: for an error in a cell, a warning, or an answer that is not right.
    """
    notebook = solution(chapter)
    try:
        execution = execute(notebook)
    except CellExecutionError as error:
        broken = [
            where(index, cell)
            for index, cell in enumerate(notebook.cells)
            if any(output.output_type == "error" for output in cell.get("outputs", []))
        ]
        raise IllFormedError(f"{chapter.name}, {', '.join(broken)} fails:\n{error}") from None
    tidy(notebook)
    try:
        check_outputs(notebook)
        check_solved(notebook)
    except IllFormedError as error:
        raise IllFormedError(f"{chapter.name}: {error}") from None
    return notebook, execution


def build(path: Path) -> Execution:
    """Make both notebooks of a source."""
    chapter = read(path)
    write(student(chapter), STUDENT / f"{chapter.name}.ipynb")
    notebook, execution = solved(chapter)
    write(notebook, SOLUTIONS / f"{chapter.name}.ipynb")
    return execution


def title(notebook: NotebookNode) -> str:
    """A chapter's title: its first heading."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("# "):
            return cell.source.partition("\n")[0].removeprefix("# ").strip()
    raise IllFormedError("Expected a cell that begins with the chapter's title, as in `# Title`.")


def table_of_chapters() -> str:
    """The chapters and their exercises, for the course's page."""
    lines = ["| chapter | exercises |", "|---|---|"]
    for path in sources():
        chapter = read(path)
        exercises = ", ".join(f"`{name}`" for name in chapter.exercises())
        link = f"[{title(chapter.notebook)}]({SOLUTIONS.name}/{chapter.name}.ipynb)"
        lines.append(f"| {link} | {exercises} |")
    return "\n".join(lines)


def list_of_exercises() -> str:
    """What every exercise asks, when it is right and which mistakes it knows, for teachers."""
    titles = {number(path): title(read(path).notebook) for path in sources()}
    lines = []
    for exercise in EXERCISES.values():
        if exercise.chapter in titles:
            lines += [f"### {titles.pop(exercise.chapter)}", ""]
        mistakes = ", ".join(f"`{name}`" for name in recognised_mistakes(exercise))
        lines += [f"**`{exercise.name}`** {exercise.task}", ""]
        lines += [f"- {held.says}" for held in exercise.properties]
        lines += [f"- mistakes with a name: {mistakes}", ""]
    return "\n".join(lines).strip()


def list_of_mistakes() -> str:
    """The catalogue, for teachers."""
    return "\n".join(f"- **`{m.name}`** {m.what} {m.why}" for m in MISTAKES.values())


TABLES = {
    "chapters": table_of_chapters,
    "exercises": list_of_exercises,
    "mistakes": list_of_mistakes,
}


def with_tables(page: str) -> str:
    """A page's text with what the code can say put between its markers."""
    for name, text in TABLES.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
        if begin in page:
            before, rest = page.split(begin)
            page = f"{before}{begin}{text()}\n{end}{rest.split(end)[1]}"
    return page


@click.command()
@click.argument("chapters", nargs=-1, type=int)
@click.option("--tables", is_flag=True, help="The tables of the pages alone.")
def main(chapters: tuple[int, ...], tables: bool) -> None:
    """Make the notebooks of CHAPTERS, by number, or of all, and the tables of the pages."""
    failed = False
    try:
        wanted = chapters or tuple(map(number, [] if tables else sources()))
        chosen = [path for path in sources() if number(path) in wanted]
    except IllFormedError as error:
        raise click.ClickException(str(error)) from None
    missing = set(chapters) - {number(path) for path in chosen}
    if missing:
        raise click.ClickException(f"No source has the number {sorted(missing)}.")
    for path in chosen:
        try:
            execution = build(path)
            click.echo(f"{path.stem}: {execution.seconds:.1f} s; at most {execution.slowest}")
        except IllFormedError as error:
            click.echo(str(error), err=True)
            failed = True
    if failed:
        sys.exit(1)
    try:
        for page in PAGES:
            page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
    except IllFormedError as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
