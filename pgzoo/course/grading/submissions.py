"""What a class handed in: files as bytes, none of them understood here."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pgzoo.errors import UsageError
from pgzoo.records.files import STRICT
from pgzoo.records.printable import on_one_line

ENDINGS = (".ipynb", ".py")
LARGEST, LARGEST_OF_ALL = 16 << 20, 48 << 20
"""Bytes of a file, and of a submission."""
MOST_ENTRIES = 2000
"""In a submission's folder, subfolders included."""


@dataclass(frozen=True)
class Submission:
    """A learner's notebooks and Python files.

    Attributes:
        name: of the folder or file, printable.
        files: by path in it.
        refused: why files, or all of it, were left out.
    """

    name: str
    files: dict[str, bytes] = field(default_factory=dict)
    refused: tuple[str, ...] = ()


def submissions_in(folder: Path) -> list[Path]:
    """What is in the folder that a class handed in, by name; hidden entries are left out.

    Raises:
        UsageError: if it is no folder that can be read, or empty.
    """
    try:
        found = sorted(p for p in folder.iterdir() if not p.name.startswith((".", "__")))
    except OSError as error:
        raise UsageError(
            f"Expected a folder of submissions, got {folder}: {error.strerror}. Give one that "
            "holds a folder, a notebook or a Python file of each learner."
        ) from error
    if not found:
        raise UsageError(
            f"Expected submissions in {folder}, but there are none. Put a folder, a notebook or a "
            "Python file of each learner into it."
        )
    return found


def read_submission(path: Path) -> Submission:
    """The files of a submission; links are not followed, and sizes are bounded."""
    files: dict[str, bytes] = {}
    refused: list[str] = []
    for place in _entries(path, refused):
        shown = (
            on_one_line(str(place.relative_to(path))) if place != path else on_one_line(path.name)
        )
        try:
            content = _read(place)
        except OSError as error:
            refused.append(f"{shown} cannot be read: {error.strerror}")
            continue
        if sum(map(len, files.values())) + len(content) > LARGEST_OF_ALL:
            refused.append(f"{shown} was left out: the submission is larger than 48 MB")
            break
        if len(content) > LARGEST:
            refused.append(f"{shown} was left out: it is larger than 16 MB")
            continue
        files[shown] = content
    if not files and not refused:
        refused.append("there is no notebook and no Python file in it")
    return Submission(on_one_line(path.name), files, tuple(refused))


def _entries(path: Path, refused: list[str]) -> Iterator[Path]:
    """Regular files with code, in the order of their names."""
    kind = path.lstat().st_mode
    if stat.S_ISLNK(kind):
        refused.append("it is a link, which is not followed; put a copy in its place")
    elif stat.S_ISREG(kind):
        if path.suffix in ENDINGS:
            yield path
        else:
            refused.append("it is no folder, no notebook and no Python file")
    elif stat.S_ISDIR(kind):
        yield from _below(path, refused)
    else:
        refused.append("it is no folder and no regular file")


def _below(folder: Path, refused: list[str]) -> Iterator[Path]:
    seen = 0
    for place, folders, names in os.walk(folder, onerror=lambda e: refused.append(_cannot(e))):
        folders[:] = sorted(f for f in folders if not f.startswith((".", "__")))
        seen += 1 + len(names)
        if seen > MOST_ENTRIES:
            refused.append(f"there are more than {MOST_ENTRIES} files and folders in it")
            return
        for name in sorted(names):
            if name.endswith(ENDINGS) and not name.startswith("."):
                path = Path(place, name)
                if stat.S_ISREG(path.lstat().st_mode):
                    yield path
                else:
                    shown = on_one_line(str(path.relative_to(folder)))
                    refused.append(f"{shown} is no regular file; links are not followed")


def _cannot(error: OSError) -> str:
    return f"a folder in it cannot be read: {error.strerror}"


def _read(path: Path) -> bytes:
    """At most a byte more than is allowed."""
    with os.fdopen(os.open(path, os.O_RDONLY | STRICT), "rb") as file:
        return file.read(LARGEST + 1)
