"""What a command must not do. The tests beside this have a defect for each to find."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.child import Outcome

KINDS = {
    "traceback": "tracebacks and other sudden ends",
    "hang": "hangs",
    "memory": "more memory than allowed",
    "outside": "files outside the folder",
    "inputs": "files changed that were only to be read",
    "control": "control characters in the output",
    "executed": "something of a stranger executed",
    "left": "processes left behind",
    "undetected": "undetected damage",
    "no effect": "options without effect",
    "broken": "cases that the campaign itself could not run",
}
"""Everything that must come to 0, in words."""
TRACES = ("Traceback (most recent call last)", "Exception ignored", "Fatal Python error")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
OUT_OF_MEMORY = ("MemoryError", "can't allocate memory", "std::bad_alloc", "ArrayMemoryError")
PEAK = 4 * 2**30
SUGGESTED = re.compile(r"`(pgzoo [^`]*)`|^\s*(?:Curves: )?(pgzoo .*)$", re.MULTILINE)
OWN_PLACES = ("/dev/", "/proc/")


@dataclass(frozen=True)
class Verdict:
    """Something that must not be.

    Attributes:
        kind: of ``KINDS``.
        detail: what was seen, in a line.
    """

    kind: str
    detail: str


def of_outcome(outcome: Outcome, statuses: Collection[int]) -> list[Verdict]:
    """What the outputs and the end of a command say against it.

    Args:
        outcome: of the command.
        statuses: with which it may end.
    """
    text, found = outcome.text, []
    if outcome.hung:
        return [Verdict("hang", f"nothing ended it in {outcome.seconds:.0f} s")]
    short = any(sign in text for sign in OUT_OF_MEMORY)
    if short or outcome.peak > PEAK:
        found.append(Verdict("memory", f"{outcome.peak / 2**20:.0f} MB; {_last_line(text)}"))
    elif any(sign in text for sign in TRACES):
        found.append(Verdict("traceback", _last_line(text)))
    elif outcome.status < 0 or outcome.status not in statuses:
        stopped = outcome.interrupted and (outcome.status == 130 or "Aborted!" in text)
        if not stopped:
            found.append(Verdict("traceback", f"status {outcome.status}; {_last_line(text)}"))
    if character := CONTROL.search(text.replace("\r\n", "\n")):
        around = text[max(character.start() - 30, 0) : character.end() + 20]
        found.append(Verdict("control", repr(around)))
    if outcome.left_behind:
        found.append(Verdict("left", outcome.left_behind[0]))
    return found


def _last_line(text: str) -> str:
    """The error's own line, and where in pgzoo it came from."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    places = re.findall(r'File "[^"]*/((?:pgzoo|pgzoo_envs)/[^"]*)", line (\d+)', text)
    where = f" ({places[-1][0]}:{places[-1][1]})" if places else ""
    return (lines[-1][:200] if lines else "no output") + where


def of_files(
    place: Path,
    before: Mapping[str, str],
    after: Mapping[str, str],
    outcome: Outcome,
    may_change: Collection[str],
) -> list[Verdict]:
    """What became of files.

    Args:
        place: the case's folder, in which ``work`` is where commands run.
        before: everything in it, by ``folders.snapshot``.
        after: the same when the command has ended.
        outcome: of the command.
        may_change: paths in ``work`` at or below which it may make and change files.
    """
    found = []
    root = os.path.realpath(place)
    elsewhere = [path for path in may_change if ".." in path or path.startswith("/")]
    asked_for = [os.path.realpath(os.path.join(root, "work", path)) for path in elsewhere]
    for path in sorted(outcome.changed):
        inside = path.startswith((root + "/", *OWN_PLACES, *(f"{top}/" for top in asked_for)))
        beside = map(os.path.dirname, asked_for)  # where a folder is made that gets its name later
        if path not in (root, *asked_for, *beside) and not inside:
            found.append(Verdict("outside", path))
    killed = outcome.hung or outcome.status < 0
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) == after.get(path):
            continue
        top, _, rest = path.partition("/")
        if f"{root}/{path}".startswith(tuple(f"{top}/" for top in asked_for)):
            continue
        what = f"{path} {_change(path in before, path in after)}"
        if rest in ("X", "X ") or path.endswith("/X"):
            found.append(Verdict("executed", what))
        elif top != "work":
            if not (killed and top == "tmp"):
                found.append(Verdict("outside", what))
        elif not _below(rest, may_change):
            found.append(Verdict("inputs", what))
    return found


def _change(was: bool, is_there: bool) -> str:
    return "changed" if was and is_there else "made" if is_there else "removed"


def _below(path: str, tops: Collection[str]) -> bool:
    return any(
        path == top or path.startswith(top + "/") or top.startswith(path + "/") for top in tops
    )


def of_suggestions(text: str) -> list[Verdict]:
    """Commands that the output suggests, typed into a shell in which pgzoo does nothing."""
    if "touch X" not in text:
        return []
    found = []
    for match in SUGGESTED.finditer(text):
        command = match[1] or match[2]
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            subprocess.run(
                ["sh", "-c", f"pgzoo() {{ :; }}\n{command}"],
                cwd=folder,
                env={"PATH": os.environ["PATH"]},
                capture_output=True,
                timeout=10,
            )
            if os.listdir(folder):
                found.append(Verdict("executed", f"suggested: {command[:150]}"))
    return found
