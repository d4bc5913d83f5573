"""A few hundred cases, in a process of their own: forks and threads do not mix."""

import subprocess
import sys
from collections import Counter

from tests.fuzz.campaign import Tally
from tests.fuzz.cases import Result, quoted
from tests.fuzz.verdicts import KINDS, Verdict

SEED = 13


def test_a_few_hundred_cases_do_no_harm():
    cases = ["--lines=100", "--files=90", "--options=10"]
    found = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", f"--seed={SEED}", "--jobs=1", *cases],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert found.returncode == 0, found.stdout + found.stderr


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
