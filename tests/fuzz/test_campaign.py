"""A few hundred cases, in a process of their own: forks and threads do not mix."""

import subprocess
import sys
from collections import Counter

import pytest

from tests.fuzz.campaign import Tally
from tests.fuzz.cases import Result, quoted
from tests.fuzz.verdicts import KINDS, Verdict

SEED = 13


@pytest.mark.parametrize(
    "cases", [("--lines=130",), ("--files=130", "--options=20")], ids=["lines", "files"]
)
def test_a_few_hundred_cases_do_no_harm(cases):
    none = [f"--{kind}=0" for kind in ("lines", "files", "options")]
    found = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", f"--seed={SEED}", "--jobs=1", *none, *cases],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_a_case_is_the_same_again():
    names = ["files/3", "files/4", "lines/3", "files/3"]
    command = [sys.executable, "-m", "tests.fuzz", "--seed=5", "--jobs=1", "--show"]
    command += [f"--case={name}" for name in names]
    lines = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    shown = [line for line in lines if line.partition("  ")[0] in names]
    assert len(shown) >= 4
    assert len(set(shown)) < len(shown)
    assert len({line for line in shown if line.startswith("files/3 ")}) == 1


def test_the_tally_counts_cases_and_what_was_found():
    tally = Tally()
    tally.add("lines/1", Result("pgzoo x", "status 2", ()))
    assert tally.clean
    twice = (Verdict("traceback", "a"), Verdict("traceback", "b"))
    tally.add("files/1", Result("damage", "status 1", twice))
    assert not tally.clean
    assert tally.ended == Counter({("lines", "status 2"): 1, ("files", "status 1"): 1})
    assert f"| **{KINDS['traceback']}** | **1** | **0** |" in tally.table()


def test_a_command_line_is_quoted_for_a_shell():
    words = ["a b", "\x1b[31m", "it's", "$(touch X)", "\udcff", "", "ψ"]
    script = quoted(words).replace("pgzoo", "printf '%s\\0'", 1)
    printed = subprocess.run(["bash", "-c", script], capture_output=True).stdout
    assert printed.decode(errors="surrogateescape").split("\0")[:-1] == words
