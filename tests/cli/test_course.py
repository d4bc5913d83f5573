import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from pgzoo.cli import main
from pgzoo.course.grading import grade as grading
from pgzoo.course.grading.protections import missing

pytestmark = pytest.mark.skipif(bool(missing()), reason="no protections here")
RIGHT = """
import torch

def leave_one_out(returns, group_size):
    group = returns.unflatten(-1, (-1, group_size))
    others = (group.sum(-1, keepdim=True) - group) / (group_size - 1)
    return (group - others).flatten(-2)
"""


@pytest.fixture(autouse=True)
def _a_class(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("class").mkdir()
    Path("class/[bold]anna.py").write_text(RIGHT)
    Path("class/bob.py").write_text(RIGHT.replace("(group - others)", "(others - group)"))
    Path("class/=carl").mkdir()


def pgzoo(command, status=0):
    result = CliRunner().invoke(main, command.split())
    assert result.exit_code == status, result.output
    return result.output


def test_a_class_is_graded():
    command = "course grade class --chapter 5 --exercise leave_one_out --seed 3 --jobs 1"
    output = pgzoo(f"{command} --out grades.csv")
    assert "[bold]anna.py" in output
    assert "1 unreadable" in output
    assert "3 of 3 submissions, seed 3, protections: files, calls, limits" in output
    lines = Path("grades.csv").read_text().splitlines()
    assert lines[0] == "submission,chapter,exercise,status,mistake,says,file"
    assert [line.split(",")[:5] for line in lines[1:]] == [
        ["'=carl", "5", "leave_one_out", "unreadable", ""],
        ["[bold]anna.py", "5", "leave_one_out", "right", ""],
        ["bob.py", "5", "leave_one_out", "wrong", "wrong-sign"],
    ]
    about = json.loads(Path("grades.json").read_text())
    assert about["seed"] == 3
    assert about["protections"] == ["files", "calls", "limits"]
    assert len(about["times"]) == 3
    pgzoo(f"{command} --out again.csv")
    assert Path("again.csv").read_bytes() == Path("grades.csv").read_bytes()


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("class --out class/grades.csv", "outside class"),
        ("class --out grades.json", "such as grades.csv"),
        ("class --out none/grades.csv", "Cannot write"),
        ("class --out there.csv", "to be free"),
        ("none --out grades.csv", "Expected a folder of submissions"),
        ("class --out grades.csv --chapter 99", "--chapter with exercises, got 99"),
        ("class --out grades.csv --exercise nothing", "Expected an exercise of the course"),
    ],
)
def test_what_can_be_put_right_is_said(command, says):
    Path("there.csv").touch()
    assert says in " ".join(pgzoo(f"course grade {command}", status=2).split())


def test_modules_are_not_looked_for_among_submissions(monkeypatch):
    monkeypatch.syspath_prepend(Path("class").resolve())
    assert "no modules in class" in pgzoo("course grade class --out grades.csv", status=2)


def test_a_missing_protection_is_said(monkeypatch):
    monkeypatch.setattr(grading, "missing", lambda: {"files": "no Landlock"})
    output = " ".join(pgzoo("course grade class --out grades.csv", status=2).split())
    assert "files (it reads no files but Python's): no Landlock" in output
    assert "--without" in output
    assert not Path("grades.csv").exists()


@pytest.fixture
def at_work():
    """A class of four being graded; the last submission waits for ever. And all processes below."""
    Path("class/zoe.py").write_text("import time\ndef leave_one_out(r, k):\n    time.sleep(1000)\n")
    command = "-m pgzoo course grade class --exercise leave_one_out --out grades.csv --jobs 1"
    grader = subprocess.Popen(
        [sys.executable, *command.split(), "--seconds", "1000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + 120
    while not (below := asleep(grader.pid)):
        assert time.monotonic() < until
        time.sleep(0.1)
    yield grader, below
    grader.kill()
    _, alive = psutil.wait_procs(below, timeout=30)
    assert not alive


def asleep(grader):
    """All processes below a grader, once an answer has been at work for a while."""
    below = psutil.Process(grader).children(recursive=True)
    names = [" ".join(p.cmdline()) for p in below]
    answers = [p for p, name in zip(below, names, strict=True) if "grading.nursery" in name]
    if len(answers) < 2 or time.time() - answers[-1].create_time() < 2:
        return []
    return below


def test_interrupted_what_is_graded_is_kept(at_work):
    grader, _ = at_work
    os.killpg(grader.pid, signal.SIGINT)
    output, errors = grader.communicate(timeout=60)
    assert grader.returncode == 130, (output, errors)
    assert "Traceback" not in errors
    assert "Interrupted; the grades up to there are in grades.csv" in errors
    assert "3 of 4 submissions" in output
    assert len(Path("grades.csv").read_text().splitlines()) == 4


def test_killed_it_leaves_nothing_behind(at_work):
    grader, _ = at_work
    grader.kill()
    grader.communicate(timeout=60)
    assert not Path("grades.csv").exists()
