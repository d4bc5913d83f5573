"""Grade a class of honest and hostile submissions; writes grading.md: what each tried, and got.

Exits with status 1 if anything was harmed or gained, or if grades do not repeat.
"""

from __future__ import annotations

import csv
import inspect
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import jupytext
import psutil

from benchmarks.hostile import HOSTILE
from pgzoo.course.chapters import EXERCISES
from tests.course.matrix import RIGHT, WRONG

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
RESULT = Path(__file__).with_suffix(".md")
SEED = "20261124"
HONEST = {
    "right, the solutions": "all notebooks with their solutions",
    "right, otherwise": "every exercise solved in another way, in Python files",
    "right, one notebook": "a single notebook with one exercise",
    "half finished": "the first chapter solved, the others as they were handed out",
    "nothing done": "the student notebooks, as they were handed out",
    "wrong, first kind": "in every exercise the first of the mistakes that can be made in it",
    "wrong, last kind": "in every exercise the last of them",
    "damaged notebook": "a notebook that breaks off",
    "nothing in it": "an empty folder",
    "a link": "a link to another's submission",
}


def make_honest(folder: Path) -> None:
    """Submissions that mean well."""
    for name in list(HONEST)[:7]:
        (folder / name).mkdir()
    for source in sorted((NOTEBOOKS / "sources").glob("*.py")):
        name = source.with_suffix(".ipynb").name
        student = NOTEBOOKS / "student" / name
        jupytext.write(jupytext.read(source), folder / "right, the solutions" / name)
        shutil.copy(student, folder / "nothing done")
        shutil.copy(student, folder / "half finished")
    shutil.copy(next((folder / "right, the solutions").glob("1_*")), folder / "half finished")
    write_answers(folder / "right, otherwise", dict.fromkeys(RIGHT))
    shutil.rmtree(folder / "right, one notebook")
    first = inspect.getsource(RIGHT["leave_one_out"]).replace("def by_loops", "def leave_one_out")
    write_notebook(folder / "right, one notebook.ipynb", ["import torch", first])
    for name, place in (("wrong, first kind", 0), ("wrong, last kind", -1)):
        mistakes = {e: [m for exercise, m in WRONG if exercise == e] for e in RIGHT}
        write_answers(folder / name, {e: found[place] for e, found in mistakes.items() if found})
    (folder / "damaged notebook").mkdir()
    (folder / "damaged notebook" / "5_leave_one_out.ipynb").write_text('{"cells": [{"cell_typ')
    (folder / "nothing in it").mkdir()
    (folder / "a link").symlink_to(folder / "right, otherwise")


def write_answers(folder: Path, mistakes: dict[str, str | None]) -> None:
    """Answers of the tests, right or with these mistakes, and a file that names them."""
    lines = []
    for exercise, mistake in mistakes.items():
        file = Path(inspect.getfile(RIGHT[exercise]))
        shutil.copy(file, folder / f"chapter_{file.name}")
        found = f"RIGHT[{exercise!r}]" if mistake is None else f"WRONG[{exercise!r}][{mistake!r}]"
        lines += [f"from chapter_{file.stem} import RIGHT, WRONG", f"{exercise} = {found}"]
    (folder / "answers.py").write_text("\n".join(lines) + "\n")


def write_notebook(path: Path, cells: list[str]) -> None:
    """A notebook of code cells."""
    made = [{"cell_type": "code", "source": source, "metadata": {}} for source in cells]
    path.write_text(json.dumps({"cells": made, "metadata": {}, "nbformat": 4}))


def make_hostile(folder: Path, secret: Path, port: int) -> None:
    """Submissions that do not."""
    for name, attempt in HOSTILE.items():
        (folder / name).mkdir()
        (folder / name / "answers.py").write_text(attempt.source(str(secret), port))


@dataclass(frozen=True)
class Graded:
    """What the command wrote, and how long it took."""

    lines: list[dict[str, str]]
    times: dict[str, float]
    table: bytes
    seconds: float


def grade(folder: Path, out: Path) -> Graded:
    """Grade by the command."""
    begun = time.perf_counter()
    command = ["course", "grade", str(folder), "--out", str(out), "--seed", SEED]
    path = [str(ROOT), str(ROOT / "envs"), str(out.parent)]  # the last tells its processes
    env = os.environ | {"PYTHONPATH": os.pathsep.join(path)}
    subprocess.run([sys.executable, "-m", "pgzoo", *command], check=True, cwd=ROOT, env=env)
    seconds = time.perf_counter() - begun
    with out.open(newline="") as file:
        lines = list(csv.DictReader(file))
    times: Counter[str] = Counter()
    for place, spent in json.loads(out.with_suffix(".json").read_text())["times"].items():
        times[place.rpartition(": ")[0]] += spent
    return Graded(lines, dict(times), out.read_bytes(), seconds)


def failures(graded: Graded, again: Graded, untouched: dict[str, bool]) -> list[str]:
    """What should not have happened."""
    found = [f"not untouched: {what}" for what, kept in untouched.items() if not kept]
    if graded.table != again.table:
        found.append("the second time, grades were others")
    for line in graded.lines:
        attempt = HOSTILE.get(line["submission"])
        if attempt and line["exercise"] == "leave_one_out" and line["status"] != attempt.status:
            found.append(f"{line['submission']}: {line['status']}, expected {attempt.status}")
        if line["submission"] in list(HONEST)[:2] and line["status"] != "right":
            found.append(f"{line['submission']}, {line['exercise']}: {line['status']}")
        if line["submission"].startswith("wrong") and line["status"] == "right":
            found.append(f"{line['submission']}, {line['exercise']}: right")
    return found


def report(graded: Graded, untouched: dict[str, bool]) -> str:
    """The page."""
    names = list(graded.times)
    honest = sorted(
        (n for n in names if kind(n) in HONEST), key=lambda n: list(HONEST).index(kind(n))
    )
    middle = statistics.median(graded.times.values())
    text = (
        f"`python -m benchmarks.grading` on {platform.machine()}, Linux {platform.release()}, "
        f"{os.cpu_count()} processors: {len(names)} submissions, {len(honest)} of them honest, in "
        f"{len(EXERCISES)} exercises; {graded.seconds:.0f} s in all, half of the submissions less "
        f"than {middle:.1f} s each. An answer may take 10 s of processor time. Graded twice with "
        "one seed, the tables were the same to the last byte. Afterwards untouched: "
        f"{', '.join(untouched)}."
    )
    head = [
        "# A class, graded",
        "",
        textwrap.fill(text, 100),
        "",
        "## Honest submissions",
        "",
        "| submission | what it is | grades | seconds |",
        "|---|---|---|---:|",
    ]
    for name in honest:
        counts = Counter(g["status"] for g in graded.lines if g["submission"] == name)
        grades = ", ".join(f"{count} {status}" for status, count in counts.most_common())
        head.append(f"| {name} | {HONEST[kind(name)]} | {grades} | {graded.times[name]:.1f} |")
    head += [
        "",
        "## Hostile submissions",
        "",
        textwrap.fill(
            "Each answers `leave_one_out`. Those that want to do harm would be right, had they "
            "done it; those that want a grade are wrong, and try to pass all the same. Seconds "
            "are for all exercises; in the others there is nothing to find.",
            100,
        ),
        "",
        "| submission | what it tries | grade | what the grade says | seconds |",
        "|---|---|---|---|---:|",
    ]
    for line in graded.lines:
        name = line["submission"]
        if name in HOSTILE and line["exercise"] == "leave_one_out":
            cells = [name, HOSTILE[name].tries, line["status"], shortened(line["says"])]
            head.append(f"| {' | '.join(cells)} | {graded.times[name]:.1f} |")
    return "\n".join(head) + "\n"


def kind(name: str) -> str:
    """What ``HONEST`` calls a submission."""
    return name.removesuffix(".ipynb")


def shortened(text: str, most: int = 110) -> str:
    """A text for a cell of a table."""
    text = text if len(text) <= most else text[:most].rsplit(" ", 1)[0] + " …"
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


@click.command()
def main() -> None:
    with tempfile.TemporaryDirectory() as place, socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        secret, folder = Path(place, "secret", "solutions.py"), Path(place, "class")
        folder.mkdir()
        secret.parent.mkdir()
        secret.write_text("right")
        make_honest(folder)
        make_hostile(folder, secret, server.getsockname()[1])
        before = state(folder, secret)
        graded, again = (grade(folder, Path(place, f"grades-{i}.csv")) for i in (1, 2))
        after = state(folder, secret)
        untouched = {what: before[what] == after[what] for what in before}
        try:
            server.accept()
            untouched["a port that was listened on"] = False
        except BlockingIOError:
            untouched["a port that was listened on"] = True
        untouched["the machine's processes"] = not left_over(place)
    wrong = failures(graded, again, untouched)
    if not wrong:
        RESULT.write_text(report(graded, untouched))
    click.echo("\n".join(wrong) or f"Nobody was harmed, nothing was gained: {RESULT}")
    sys.exit(bool(wrong))


def state(folder: Path, secret: Path) -> dict[str, Any]:
    """What no submission may change."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    return {
        "a file beside the submissions": (secret.read_text(), secret.stat().st_mode),
        "the submissions": [(str(p), p.read_bytes(), p.stat().st_mtime) for p in files],
        "Python's own files": Path(os.__file__).read_bytes(),
    }


def left_over(place: str) -> list[str]:
    """Processes that should have ended with the command."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if place in process.environ().get("PYTHONPATH", ""):
                found.append(process.name())
    return found


if __name__ == "__main__":
    main()
