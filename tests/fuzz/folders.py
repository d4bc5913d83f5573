"""The ground a case stands on: small run folders, users' files, and what must stay as it is."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

RIGHT = """
def reward_to_go(t):
    return t.reward.flip(-1).cumsum(-1).flip(-1) * t.mask
"""
WRONG = """
import sys
import torch

calls = 0
not_a_function = 3

def short(t):
    return t.reward[..., 0]

def raising(t):
    raise KeyError("\\x1b[31mred\\x1b[0m $(touch X)")

def late(t):
    global calls
    calls += 1
    if calls > 2:
        raise ValueError("late")
    return t.reward

def nan(t):
    return t.reward / 0 * 0

def whole(t):
    return t.reward.long()

def nothing(t):
    pass

def leaving(t):
    sys.exit(3)

def of_two(t, outputs):
    return t.reward

def in_place(t):
    t.reward.zero_()
    return t.reward

def random(t):
    return torch.randn_like(t.reward)

class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no text")

def unprintable(t):
    raise Unprintable

def recursive(t):
    return recursive(t)
"""
BROKEN = "def broken(:\n"
RAISING = "raise RuntimeError('at import')\n"
STRANGER = "open('X', 'w').close()\ndef psi(t):\n    open('X', 'w').close()\n    return t.reward\n"
"""Nothing that reads a run folder may run this."""
FILES = {
    "right.py": RIGHT,
    "wrong.py": WRONG,
    "broken.py": BROKEN,
    "raising.py": RAISING,
    "torch.py": STRANGER,
    "file.txt": "text\n",
    "table.csv": "a,b\n1,2\n",
}
"""Users' files; one is named as a library that pgzoo imports."""
SUBMISSIONS = {"ann.py": "def f(): pass\n", "bob.ipynb": "{}", "cleo.ipynb": "not JSON"}
TINY: dict[str, Any] = {"seeds": 2, "steps": 160, "hidden": (4,), "progress": False}


def _run(agent: str, *, stop_after: int | None = None, **options: Any) -> Callable[[Path], None]:
    """What makes a run folder; with ``stop_after``, one that was interrupted then."""

    def make(folder: Path) -> None:
        import pgzoo

        done = 0

        def callback(_: Any) -> bool:
            nonlocal done
            done += 1
            return done == stop_after

        chosen = {"env": "CartPole-v1"} | TINY | options
        if "reference" in options:
            chosen["reference"] = str(folder.parent / options["reference"])
        chosen = {k: v for k, v in chosen.items() if v is not None}
        pgzoo.train(agent, out=folder, callback=callback, **chosen)

    return make


def _comparison(folder: Path) -> None:
    import pgzoo

    pgzoo.compare(
        ["reinforce", "rloo"], env="CartPole-v1", out=folder, diagnostics=0, reuse=[], **TINY
    )


def _own(folder: Path) -> None:
    """A run of a user's file, named as from the folder in which commands are run."""
    (folder.parent / "right.py").write_text(RIGHT)
    here = Path.cwd()
    os.chdir(folder.parent)
    try:
        _run("right.py:reward_to_go", stop_after=2, episodes=2)(folder)
    finally:
        os.chdir(here)


MAKERS: dict[str, Callable[[Path], None]] = {
    "plain": _run("reinforce", episodes=4, diagnostics=3),
    "other": _run("reinforce", episodes=4, learning_rate=0.01, diagnostics=0),
    "critic": _run("reinforce-baseline", baseline="value", episodes=4),
    "segments": _run("ppo", envs=2, segment_steps=8, stop_after=3),
    "reference": _run("rloo", reference="plain", kl_coef=0.1, episodes=4, group_size=2,
                      stop_after=1),
    "tabular": _run("actor-critic", env="FrozenLake-v1", policy="tabular", hidden=None,
                    envs=2, segment_steps=8, stop_after=4),
    "groups": _run("grpo", episodes=4, group_size=2, tensorboard_seeds=True),
    "own": _own,
    "comparison": _comparison,
}  # fmt: skip
"""Run folders by name; the others than ``plain`` may need it."""
AGENTS = {
    "plain": "reinforce",
    "other": "reinforce",
    "critic": "reinforce-baseline",
    "segments": "ppo",
    "reference": "rloo",
    "tabular": "actor-critic",
    "groups": "grpo",
    "own": "right.py:reward_to_go",
}
COMPLETE = ("plain", "other", "critic", "groups")
ALIASES = {
    "$(touch X)": "plain",
    "red\x1b[31m": "plain",
    "-dash": "plain",
    "[bold]run[/bold]": "plain",
    "ünï cødé": "segments",
    "a;touch X": "segments",
    "it's": "segments",
    "back`touch X`tick": "plain",
}
"""Run folders under other names."""
PLACES = ("folder", "file.txt", "table.csv", "link", "loop", "fifo", "dangling", "\udcff", "locked")
"""What else there is in a case's folder, made by ``set_up``."""


def make_all(library: Path, do: Callable[[Callable[[], None]], Any]) -> None:
    """Make every run folder that there is not yet.

    Args:
        library: where.
        do: calls a function in a process of its own.
    """
    for name, make in MAKERS.items():
        if not (library / name).exists():
            do(lambda make=make, name=name: make(library / name))  # type: ignore[misc]
            complete = (library / name / "summary.json").exists()
        assert complete == (name in COMPLETE), f"{name} is not as it should be"


def set_up(place: Path, library: Path, words: Iterable[str]) -> Path:
    """Make a case's folder, with the run folders that its words name.

    Returns:
        the folder in which its commands run.
    """
    work, outside = place / "work", place / "outside"
    work.mkdir(parents=True)
    outside.mkdir()
    for name in ("home", "tmp"):
        (place / name).mkdir()
    (outside / "secret.txt").write_text("secret\n")
    (outside / "folder").mkdir()
    for name, text in FILES.items():
        (work / name).write_text(text)
    (work / "folder").mkdir()
    (work / "link").symlink_to("folder")
    (work / "loop").symlink_to("loop")
    (work / "dangling").symlink_to("nowhere")
    os.mkfifo(work / "fifo")
    with contextlib.suppress(OSError):
        (work / "\udcff").write_text("not UTF-8\n")
    together = "\n".join(words)
    if "class" in together:
        (work / "class").mkdir()
        for name, text in SUBMISSIONS.items():
            (work / "class" / name).write_text(text)
    for name, source in (dict.fromkeys(MAKERS) | ALIASES).items():
        if name in together:
            shutil.copytree(library / (source or name), work / name, symlinks=True)
    return work


def snapshot(folder: Path) -> dict[str, str]:
    """What a folder holds: kind and content of everything, by its path in it."""
    found: dict[str, str] = {}
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = os.path.join(parent, name)
            found[os.path.relpath(path, folder)] = _about(path)
    return found


def _about(path: str) -> str:
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        return f"link to {os.readlink(path)}"
    if stat.S_ISREG(mode):
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    return f"kind {stat.S_IFMT(mode):o}"
