"""Files of a run: regular ones in its own folder, written whole or not at all, by one process."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pgzoo.errors import UsageError

try:
    import fcntl
except ImportError:  # there is none on Windows
    fcntl = None  # type: ignore[assignment]

# Neither follow a link nor wait for the other end of a pipe.
STRICT = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
DIGITS = 16
MOST_DIGITS = 20
"""Of a whole number in JSON: no field of ours can be longer."""
LONGEST_STEM = 200
"""Of a folder's name, in bytes: file systems allow 255, and a number follows."""
KINDS = {
    stat.S_IFREG: "a regular file",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
}


def check_kind(path: Path, kind: int = stat.S_IFREG) -> None:
    """Make sure that what is at a path, if anything, is no link and no device.

    Args:
        path: in a run's folder.
        kind: ``stat.S_IFREG`` or ``stat.S_IFDIR``.

    Raises:
        UsageError: if it is something else.
    """
    try:
        found = stat.S_IFMT(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if found != kind:
        raise UsageError(
            f"Expected {path} to be {KINDS[kind]} of the run's own, got "
            f"{KINDS.get(found, 'a pipe, socket or device')}. Put a copy of what belongs there in "
            "its place."
        )


def open_regular(path: Path, flags: int) -> int:
    """Open a regular file, following no link.

    Args:
        path: in a run's folder.
        flags: as for ``os.open``.

    Returns:
        the descriptor.

    Raises:
        UsageError: if something else is there.
        OSError: if it cannot be opened.
    """
    check_kind(path)
    return os.open(path, flags | STRICT, 0o666)


def read(path: Path) -> bytes:
    """Content of a regular file.

    Raises:
        UsageError: if it is something else or cannot be read.
    """
    try:
        with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
            return file.read()
    except OSError as error:
        raise cannot_read(path, error) from error


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        UsageError: if it cannot be read, or is not JSON.
    """
    content = read(path)
    try:
        return parse_json(content)
    except ValueError as error:
        raise damaged(path, error) from error


def parse_json(content: bytes | str) -> Any:
    """JSON as a stranger may have written it: each field once, and no number but JSON's own.

    Raises:
        ValueError: if it is not that.
    """
    text = content.decode() if isinstance(content, bytes) else content
    try:
        return json.loads(
            text,
            parse_constant=_refuse,
            parse_int=_integer,
            parse_float=_float,
            object_pairs_hook=_object,
        )
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _integer(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"it has a whole number of {len(text):,} digits")
    return int(text)


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("it has a number that is too large")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it has a field twice")
    return found


def cannot_read(path: Path, error: OSError) -> UsageError:
    """What to say when the operating system refuses to read."""
    return UsageError(
        f"Cannot read {path}: {error.strerror}. It was left as it is; make it readable, then try "
        "again."
    )


def damaged(path: Path, reason: object) -> UsageError:
    """What to say of a file that is not as it was written."""
    return UsageError(
        f"{path} is damaged: {reason}. Restore it from a copy, or start the run anew elsewhere."
    )


def write(path: Path, content: bytes) -> None:
    """Replace a file at once or not at all.

    Raises:
        OSError: if it cannot be written; what was there is still there then.
    """
    with _beside(path, content) as temporary:
        temporary.replace(path)


def write_text(path: Path, text: str) -> None:
    """Replace a file of text in UTF-8, as ``write``; names of files that are no text are escaped.

    Raises:
        OSError: if it cannot be written; what was there is still there then.
    """
    write(path, encoded(text))


def encoded(text: str) -> bytes:
    """Text in UTF-8. A name of a file need not be text: its other bytes are escaped."""
    return text.encode(errors="backslashreplace")


def create(path: Path, content: bytes) -> None:
    """Make a file that is not there yet: of several that try at once, one succeeds.

    No reader sees a part of it, except on file systems without hard links.

    Raises:
        FileExistsError: if there is one.
        OSError: if it cannot be written.
    """
    with _beside(path, content) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:
            _write_new(path, content)


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed while they wrote have left in a folder."""
    for path in folder.glob(".*"):
        if is_leftover(path):
            path.unlink(missing_ok=True)


def is_leftover(path: Path) -> bool:
    """Whether a name is that of a file that a killed process was about to write."""
    return path.match(f".*.{'[0-9a-f]' * DIGITS}.tmp")


@contextmanager
def _beside(path: Path, content: bytes) -> Iterator[Path]:
    """A complete file next to a path, of a name that nobody foresees."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(DIGITS // 2)}.tmp")
    _write_new(temporary, content)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _write_new(path: Path, content: bytes) -> None:
    file = path.open("xb")
    try:
        with file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Keep other processes from doing the same; the system ends it with the process.

    Without effect where the system or the file system has no such locks.

    Args:
        path: a file that is there and that nobody replaces.

    Yields:
        its descriptor.

    Raises:
        UsageError: if it is locked already.
        OSError: if it cannot be opened for writing.
    """
    descriptor = open_regular(path, os.O_RDWR)
    try:
        _lock(descriptor, f"Expected {path.parent} to be at rest, but this run is being trained")
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes from putting their results into a folder meanwhile; as ``locked``.

    What killed ones have left half-written there, or one level below, is removed.

    Raises:
        UsageError: if another one does already.
        OSError: if the folder cannot be opened.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(descriptor, f"Expected {folder} to be at rest, but its results are being made")
        for place in (folder, *folder.glob("*/")):
            if place == folder or not place.is_symlink():
                remove_leftovers(place)
        yield
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether a process keeps others from ``locked``, as far as the system can tell.

    Raises:
        UsageError: if it is no regular file.
        OSError: if it cannot be opened.
    """
    if fcntl is None:
        return False
    descriptor = open_regular(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _lock(descriptor: int, expected: str) -> None:
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"{expected} right now. Wait until that has ended, or stop it."
            ) from error
        except OSError:
            pass  # no locks here


def free_folder(parent: Path, stem: str) -> Path:
    """Make the first of PARENT/STEM-1, -2, … that does not exist; nobody else gets the same.

    Args:
        parent: made if it is not there.
        stem: whatever cannot be in the name of a folder becomes an underscore; what is too long for
            one is cut.

    Raises:
        UsageError: if it cannot be made.
    """
    stem = re.sub(r"[^\w.+-]", "_", stem).encode()[:LONGEST_STEM].decode(errors="ignore")
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            path = parent / f"{stem}-{number}"
            try:
                path.mkdir()
            except FileExistsError:
                continue
            return path
    except OSError as error:
        raise cannot_write(parent, error) from error
    raise AssertionError


def cannot_write(path: Path, error: OSError) -> UsageError:
    """What to say when a folder for results cannot be made."""
    return UsageError(f"Cannot write to {path}: {error.strerror}. Choose a writable `out`.")


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal, such as one with a user's own estimator.

    Raises:
        UsageError: if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise cannot_read(path, error) from error
