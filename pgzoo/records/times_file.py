"""``times.csv``: when each iteration of a run was over. It is apart, since times never repeat."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Sequence

from pgzoo.records import files
from pgzoo.records.run_folder import TIMES, RunFolder

HEADER = ("iteration", "seconds")


class TimesFile:
    """``times.csv``, open for adding lines.

    Args:
        folder: the run.
        iterations: done at the checkpoint to go on from; what is there of later ones is cut off.

    Attributes:
        seconds: that these iterations took, over all sessions.

    Raises:
        UsageError: if the file is not the run's own.
        OSError: if it cannot be written.
    """

    def __init__(self, folder: RunFolder, iterations: int) -> None:
        path = folder.path / TIMES
        kept = [line for line in read_times(folder) if line[0] < iterations]
        self.seconds = kept[-1][1] if kept else 0.0
        write_times(folder, kept)
        self._file = os.fdopen(files.open_regular(path, os.O_WRONLY | os.O_APPEND), "ab", 0)

    def append(self, iteration: int, seconds: float) -> None:
        """Add when an iteration was over, in seconds since the run began."""
        self._file.write(_text([(iteration, seconds)]))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_times(folder: RunFolder) -> list[tuple[int, float]]:
    """Iterations, and in how many seconds since the run began each was over.

    As far as the file says so: no result depends on it.

    Raises:
        UsageError: if the file is not the run's own.
    """
    path = folder.path / TIMES
    if not os.path.lexists(path):
        return []
    lines: list[tuple[int, float]] = []
    text = files.read(path).decode(errors="replace")
    for line in csv.reader(io.StringIO(text.replace("\0", ""))):
        try:
            number, seconds = int(line[0]), float(line[1])
        except (ValueError, IndexError):
            continue  # the header, or what a crash left
        if math.isfinite(seconds) and seconds >= (lines[-1][1] if lines else 0):
            lines.append((number, seconds))
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
