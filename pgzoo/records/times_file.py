"""``times.csv``: when each iteration of a run was over. It is apart, since times never repeat."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence

from pgzoo.records import files
from pgzoo.records.run_folder import TIMES, RunFolder
from pgzoo.records.schema import brief

HEADER = ("iteration", "seconds")
LINE = re.compile(r"([0-9]{1,18}),([0-9]{1,18}\.[0-9]{4})")


class TimesFile:
    """``times.csv``, open for adding lines.

    Args:
        folder: the run.
        iterations: done at the checkpoint to go on from; what is there of later ones is cut off.

    Attributes:
        seconds: that these iterations took, over all sessions.

    Raises:
        UsageError: if the file is damaged, or not the run's own.
        OSError: if it cannot be written.
    """

    def __init__(self, folder: RunFolder, iterations: int) -> None:
        path = folder.path / TIMES
        kept = _read(folder, before=iterations)
        self.seconds = kept[-1][1] if kept else 0.0
        write_times(folder, kept)
        self._file = os.fdopen(files.open_regular(path, os.O_WRONLY | os.O_APPEND), "ab", 0)

    def append(self, iteration: int, seconds: float) -> None:
        """Add when an iteration was over, in seconds since the run began."""
        self._file.write(_text([(iteration, seconds)]))

    def sync(self) -> None:
        """Make sure that what was appended is on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_times(folder: RunFolder, before: float = math.inf) -> list[tuple[int, float]]:
    """Iterations, and in how many seconds since the run began each was over.

    Args:
        folder: the run.
        before: the iteration up to which they are of interest; what follows may be anything.

    Raises:
        UsageError: if the file is damaged, or not the run's own.
    """
    folder.check_times()
    return _read(folder, before)


def _read(folder: RunFolder, before: float) -> list[tuple[int, float]]:
    """The lines before an iteration; the rest of the file may be anything.

    A process that was killed may have left a part of a line at the end.
    """
    path = folder.path / TIMES
    if not os.path.lexists(path):
        return []
    header, *texts = files.read(path).decode(errors="replace").split("\n")
    lines: list[tuple[int, float]] = []
    try:
        if header != ",".join(HEADER):
            raise ValueError(f"expected its first line to be {','.join(HEADER)}")
        for i, text in enumerate(texts[:-1], 2):
            found, last = LINE.fullmatch(text), lines[-1] if lines else (-1, 0.0)
            if last[0] == before - 1:
                break
            if found is None:
                raise ValueError(f"line {i} is {brief(text)}, no iteration and seconds")
            number, seconds = int(found[1]), float(found[2])
            if number >= before:
                break
            if number <= last[0] or seconds < last[1]:
                raise ValueError(f"line {i} is of an earlier iteration or time than the one before")
            lines.append((number, seconds))
    except ValueError as error:
        raise files.damaged(path, error) from error
    return lines


def write_times(folder: RunFolder, lines: Sequence[tuple[int, float]]) -> None:
    """Replace the file.

    Raises:
        UsageError: if what is there is not the run's own.
        OSError: if it cannot be written.
    """
    files.check_kind(folder.path / TIMES)
    files.write(folder.path / TIMES, ",".join(HEADER).encode() + b"\n" + _text(lines))


def _text(lines: Sequence[tuple[int, float]]) -> bytes:
    return "".join(f"{number},{seconds:.4f}\n" for number, seconds in lines).encode()
