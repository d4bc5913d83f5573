"""``metrics.csv``: one line per iteration and seed. It only grows.

The checkpoint knows how long the file was, and the digest of that much: what comes later is cut off
on resuming, and what came before must be as it was written.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pgzoo.errors import UsageError
from pgzoo.records.checkpoint import NO_METRICS
from pgzoo.records.columns import PROGRESS, WHOLE_NUMBERS, is_column
from pgzoo.records.files import cannot_read, damaged, open_regular
from pgzoo.records.run_folder import METRICS, RunFolder
from pgzoo.records.schema import Count, Figure, conform, quoted

Columns = dict[str, list[Any]]
"""Figures by column, one for each line; NaN where there is none."""


class MetricsFile:
    """``metrics.csv``, open for adding lines.

    Args:
        folder: the run.
        size: length in bytes at the checkpoint to go on from; 0 for a new file.
        digest: SHA-256 of that much, in hexadecimal.

    Raises:
        UsageError: if the file is shorter than that, another one, or not the run's alone.
        OSError: if it cannot be opened.
    """

    def __init__(self, folder: RunFolder, size: int = 0, digest: str = NO_METRICS) -> None:
        self._folder, self._path = folder, folder.path / METRICS
        try:
            descriptor = open_regular(self._path, os.O_RDWR | (0 if size else os.O_CREAT))
        except FileNotFoundError as error:
            raise _too_short(self._path, size, 0) from error
        self._file = os.fdopen(descriptor, "r+b", buffering=0)
        try:
            content = self._checked(size, digest)
            self._file.truncate(size)
            header = next(csv.reader([_decoded(content.split(b"\n", 1)[0])]), [])
        except (UnicodeDecodeError, csv.Error) as error:
            self._file.close()
            raise damaged(self._path, error) from error
        except BaseException:
            self._file.close()
            raise
        self._columns = header or None
        self._digest = hashlib.sha256(content)

    def _checked(self, size: int, digest: str) -> bytes:
        about = os.fstat(self._file.fileno())
        if about.st_nlink > 1:
            raise UsageError(
                f"Expected {self._path} to be a file of the run's own, got one that has another "
                "name elsewhere (a hard link). Put a copy in its place."
            )
        if about.st_size < size:
            raise _too_short(self._path, size, about.st_size)
        return _verified(self._path, self._from_start(size), digest)

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self._file.tell()

    @property
    def digest(self) -> str:
        """SHA-256 of all of it, in hexadecimal."""
        return self._digest.hexdigest()

    def _from_start(self, size: int) -> bytes:
        self._file.seek(0)
        return b"".join(iter(lambda: self._file.read(size - self._file.tell()), b""))

    def lines(self) -> list[dict[str, Any]]:
        """The figures of every line so far; what is empty is left out.

        Raises:
            UsageError: if the file is damaged.
        """
        return as_lines(_parsed(self._path, self._from_start(self.size), self._folder))

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
        self._digest.update(content)

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


def read_metrics(folder: RunFolder, state: Mapping[str, Any] | None = None) -> Columns:
    """What a run wrote up to its last checkpoint.

    Args:
        folder: the run.
        state: of that checkpoint, if it is known already.

    Raises:
        UsageError: if the file is damaged, or does not fit the checkpoint.
    """
    if state is None:
        checkpoint = folder.load_checkpoint()
        state = {"metrics_size": 0} if checkpoint is None else checkpoint[1]
    size, path = state["metrics_size"], folder.path / METRICS
    if size == 0:
        return {}
    try:
        with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
            found = os.fstat(file.fileno()).st_size
            if found < size:
                raise _too_short(path, size, found)
            content = file.read(size)
    except FileNotFoundError as error:
        raise _too_short(path, size, 0) from error
    except OSError as error:
        raise cannot_read(path, error) from error
    columns = _parsed(path, _verified(path, content, state["metrics_digest"]), folder)
    try:
        _check_progress(columns, state)
    except ValueError as error:
        raise damaged(path, error) from error
    return columns


def read_lines(folder: RunFolder, state: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """The same line by line; what is empty is left out."""
    return as_lines(read_metrics(folder, state))


def as_lines(columns: Columns) -> list[dict[str, Any]]:
    """The figures of every line; what is empty is left out."""
    names = list(columns)
    return [
        {k: v for k, v in zip(names, line, strict=True) if v == v}
        for line in zip(*columns.values(), strict=True)
    ]


def _verified(path: Path, content: bytes, digest: str) -> bytes:
    if hashlib.sha256(content).hexdigest() != digest:
        raise damaged(
            path, f"its first {len(content):,} bytes do not match their digest in the checkpoint"
        )
    return content


def _parsed(path: Path, content: bytes, folder: RunFolder) -> Columns:
    try:
        return parse(content, folder.config().seeds)
    except (ValueError, csv.Error) as error:
        raise damaged(path, error) from error


def parse(content: bytes, seeds: Sequence[int]) -> Columns:
    """The file's content, held against what ``columns`` says of it.

    Args:
        content: of whole lines.
        seeds: of the run, in their order.

    Raises:
        ValueError, csv.Error: for a line or a figure that nobody can have written.
    """
    if not content:
        return {}
    if not content.endswith(b"\n"):
        raise ValueError("expected its last line to be whole")
    header, *lines = csv.reader(io.StringIO(content.decode(), newline=""), strict=True)
    _check_header(header)
    for number, line in enumerate(lines, 2):
        if len(line) != len(header):
            raise ValueError(f"line {number} has {len(line)} fields, the first {len(header)}")
    if not lines:
        raise ValueError("it has no line but the columns' names")
    texts = dict(zip(header, zip(*lines, strict=True), strict=True))
    columns = {name: _figures(name, column) for name, column in texts.items()}
    _check_order(columns, seeds)
    return columns


def _check_header(header: Sequence[str]) -> None:
    for name in PROGRESS:
        if name not in header:
            raise ValueError(f"the column {quoted(name)} is missing")
    for i, name in enumerate(header):
        if not is_column(name) or name in header[:i]:
            raise ValueError(f"the column {quoted(name)} is unknown, or there twice")


def _figures(name: str, texts: Sequence[str]) -> list[Any]:
    """A column's figures, NaN where there is none."""
    try:
        if name in WHOLE_NUMBERS:
            return list(conform([int(text) for text in texts], list[Count]))
        figures = [float(text) if text else None for text in texts]
        return [np.nan if x is None else x for x in conform(figures, list[Figure | None])]
    except ValueError as error:
        raise ValueError(f"column {quoted(name)}: {error}") from error


def _check_order(columns: Columns, seeds: Sequence[int]) -> None:
    """Iteration by iteration from 0 on, each seed at its place, until it has no more lines."""
    place = {seed: i for i, seed in enumerate(seeds)}
    unknown = [seed for seed in columns["seed"] if seed not in place]
    if unknown:
        raise ValueError(f"it has lines of seed {unknown[0]}, which the run has not")
    iteration, steps, episodes = (
        np.array(columns[name]) for name in ("iteration", "env_steps", "episodes")
    )
    where = np.array([place[seed] for seed in columns["seed"]])
    by_seed = np.argsort(where, kind="stable")
    same = np.diff(where[by_seed]) == 0
    first = np.concatenate([[True], ~same])
    in_order = (
        (np.diff(iteration) >= 0).all()
        and (np.diff(where)[np.diff(iteration) == 0] > 0).all()
        and (iteration[by_seed][first] == 0).all()
        and (np.diff(iteration[by_seed])[same] == 1).all()
    )
    if not in_order:
        raise ValueError("expected a line for each seed, iteration by iteration; it has others")
    for name, figures in (("env_steps", steps), ("episodes", episodes)):
        if not (np.diff(figures[by_seed])[same] >= 0).all():
            raise ValueError(f"expected {quoted(name)} of a seed never to become less; it does")


def _check_progress(columns: Columns, state: Mapping[str, Any]) -> None:
    """Hold the last line of each seed against the state of the checkpoint."""
    last = {seed: i for i, seed in enumerate(columns["seed"])}
    if columns["iteration"][-1] >= state["iteration"]:
        raise ValueError(
            f"it goes on to iteration {columns['iteration'][-1]}, the checkpoint is of "
            f"{state['iteration']} iterations"
        )
    for replica in state["replicas"]:
        for name in ("env_steps", "episodes"):
            line = last.get(replica["seed"])
            found = 0 if line is None else columns[name][line]
            if found != replica[name]:
                raise ValueError(
                    f"it ends with {found} {name} of seed {replica['seed']}, the checkpoint has "
                    f"{replica[name]}"
                )


def _too_short(path: Path, size: int, found: int) -> UsageError:
    return damaged(path, f"the checkpoint expects at least {size} bytes, found {found}")


def _decoded(content: bytes) -> str:
    return content.decode().rstrip("\r")
