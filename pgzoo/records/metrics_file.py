"""``metrics.csv``: one line per iteration and seed. It only grows."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from pgzoo.errors import UsageError
from pgzoo.records.files import damaged, open_regular
from pgzoo.records.run_folder import METRICS, RunFolder


class MetricsFile:
    """``metrics.csv``, open for adding lines.

    Args:
        folder: the run.
        size: length in bytes at the checkpoint to go on from; 0 for a new file.

    Raises:
        UsageError: if the file is shorter than that, or not the run's alone.
        OSError: if it cannot be opened.
    """

    def __init__(self, folder: RunFolder, size: int = 0) -> None:
        self._path = folder.path / METRICS
        try:
            descriptor = open_regular(self._path, os.O_RDWR | (0 if size else os.O_CREAT))
        except FileNotFoundError as error:
            raise _too_short(self._path, size, 0) from error
        self._file = os.fdopen(descriptor, "r+b", buffering=0)
        try:
            self._check(size)
            self._file.truncate(size)
            header = next(csv.reader([self._decoded(self._from_start().readline())]))
        except BaseException:
            self._file.close()
            raise
        self._columns = header or None
        self._file.seek(size)

    def _check(self, size: int) -> None:
        about = os.fstat(self._file.fileno())
        if about.st_nlink > 1:
            raise UsageError(
                f"Expected {self._path} to be a file of the run's own, got one that has another "
                "name elsewhere (a hard link). Put a copy in its place."
            )
        if about.st_size < size:
            raise _too_short(self._path, size, about.st_size)
        self._file.seek(max(size - 1, 0))
        if size and self._file.read(1) != b"\n":
            raise damaged(self._path, f"the checkpoint expects a line to end after {size} bytes")

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self._file.tell()

    def _from_start(self) -> io.FileIO:
        self._file.seek(0)
        return self._file

    def _decoded(self, content: bytes) -> str:
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise damaged(self._path, error) from error

    def lines(self) -> list[dict[str, Any]]:
        """The figures of every line so far; what is empty is left out.

        Raises:
            UsageError: if the file is damaged.
        """
        lines = csv.DictReader(io.StringIO(self._decoded(self._from_start().read())))
        try:
            return [
                {k: float(v) for k, v in line.items() if _is_number(v)}
                | {"seed": int(line["seed"])}
                for line in lines
            ]
        except (ValueError, TypeError, KeyError, csv.Error) as error:
            raise damaged(self._path, f"expected a seed in every line ({error})") from error

    def append(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Add lines; the first one decides the columns.

        Raises:
            UsageError: for a line with other columns.
            OSError: if the disk is full.
        """
        lines = list(lines)
        if not lines:
            return
        if self._columns is None:
            self._columns = list(lines[0])
        for line in lines:
            if other := line.keys() ^ set(self._columns):
                raise UsageError(
                    f"Expected every line of {self._path} to have the same columns; not all have "
                    f"{', '.join(sorted(other))}. Go on with the pgzoo that began this run."
                )
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns)
        if self.size == 0:
            writer.writeheader()
        writer.writerows(lines)
        content = text.getvalue().encode()
        if self._file.write(content) < len(content):
            raise OSError(28, "No space left on device")

    def sync(self) -> None:
        """Make sure that what was appended is on the disk.

        Raises:
            UsageError: if another program has changed or replaced the file meanwhile.
            OSError: if the disk is full.
        """
        os.fsync(self._file.fileno())
        ours = os.fstat(self._file.fileno())
        there = self._path.lstat() if os.path.lexists(self._path) else None
        if there is None or not os.path.samestat(ours, there) or ours.st_size != self.size:
            raise damaged(self._path, "another program changed it while the run was being trained")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_lines(folder: RunFolder, size: int) -> list[dict[str, Any]]:
    """The figures of every line of a run at rest, as ``MetricsFile.lines``."""
    with closing(MetricsFile(folder, size)) as file:
        return file.lines()


def _too_short(path: Path, size: int, found: int) -> UsageError:
    return damaged(path, f"the checkpoint expects at least {size} bytes, found {found}")


def _is_number(text: Any) -> bool:
    try:
        float(text)
    except (ValueError, TypeError):
        return False
    return True
