"""The run folder: ``config.json``, ``metrics.csv``, ``checkpoint.safetensors``, ``summary.json``.

``snapshots/`` keeps the policies as they were after 0, 10, … 100 percent of their steps;
``times.csv`` when each iteration was over. Whole files are written beside their place and renamed
into it, so that a reader, or a run killed at any moment, sees the old file or the new one.
``metrics.csv`` only grows; the checkpoint knows how long it was, and resuming cuts off what came
later. All of them, and the event files, are regular files in the folder: links are not followed.
Equal runs have equal files, but for times: those are in ``times.csv``, ``summary.json`` and event
files alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from pgzoo.errors import UsageError
from pgzoo.records import checkpoint, files
from pgzoo.records.columns import check_summary
from pgzoo.records.config import RunConfig, check_format
from pgzoo.records.schema import Digest, conform, signed, verified

CONFIG, METRICS, CHECKPOINT, SUMMARY, TIMES = FILES = (
    "config.json",
    "metrics.csv",
    "checkpoint.safetensors",
    "summary.json",
    "times.csv",
)
SNAPSHOTS = "snapshots"
SEEDS, EVENTS = "seed-*", "events.*"
SNAPSHOT = re.compile(r"(\d{3})\.safetensors")


class FolderTakenError(UsageError):
    """The folder holds another run, maybe one that began an instant before."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"Expected {path} to be free, but it holds another run. Choose another `out`, or go on "
            "with that run by `resume`."
        )


class RunFolder:
    """A folder that holds one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: int | None = None

    @classmethod
    def create(cls, path: Path, config: RunConfig) -> Self:
        """Make the folder and write its configuration; one alone of several at once succeeds.

        Raises:
            FolderTakenError: if it holds a run already.
            UsageError: if it cannot be written.
        """
        try:
            content = json.dumps(config.to_json(), indent=2).encode()
        except ValueError as error:
            raise UsageError(f"Cannot make this run: {error}. Give a value that fits.") from error
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(os.path.lexists(path / name) for name in (*FILES, SNAPSHOTS)):
                raise FolderTakenError(path)
        except OSError as error:
            raise files.cannot_write(path, error) from error
        try:
            files.create(path / CONFIG, content)
        except FileExistsError as error:
            raise FolderTakenError(path) from error
        except OSError as error:
            raise files.cannot_write(path, error) from error
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """An existing run.

        Raises:
            UsageError: if the folder is not one.
        """
        if not os.path.lexists(path / CONFIG):
            raise UsageError(
                f"Expected a run folder, but {path} has no {CONFIG}. Give the folder of a run, "
                "such as runs/reinforce-CartPole-v1-1."
            )
        return cls(path)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Be the only one who trains this run, for as long as the context lasts.

        Raises:
            UsageError: if another process trains it, or if one of its files is a link.
            OSError: if the folder cannot be written.
        """
        self.check_files()
        with files.locked(self.path / CONFIG) as self._held:
            try:
                files.remove_leftovers(self.path)
                files.remove_leftovers(self.path / SNAPSHOTS)
                yield
            finally:
                self._held = None

    @property
    def in_place(self) -> bool:
        """Whether the folder that is being trained is still where it was; True if none is."""
        try:
            return self._held is None or os.path.samestat(
                os.fstat(self._held), (self.path / CONFIG).lstat()
            )
        except OSError:
            return False

    def check_files(self) -> None:
        """Make sure that what training writes to are files and folders of the run's own.

        Raises:
            UsageError: if one is a link or something else.
        """
        for name in FILES:
            files.check_kind(self.path / name)
        with_events = {path.parent for path in self.path.glob(f"*/{EVENTS}")}
        for folder in {self.path / SNAPSHOTS, *self.path.glob(SEEDS), *with_events}:
            files.check_kind(folder, stat.S_IFDIR)
        for pattern in (f"{SNAPSHOTS}/*.safetensors", EVENTS, f"*/{EVENTS}"):
            for path in self.path.glob(pattern):
                files.check_kind(path)

    @property
    def has_seed_curves(self) -> bool:
        """Whether every seed is a TensorBoard run of its own."""
        return any(self.path.glob(SEEDS))

    @property
    def has_checkpoint(self) -> bool:
        """Whether training has begun."""
        return os.path.lexists(self.path / CHECKPOINT)

    def config(self) -> RunConfig:
        """The run's configuration.

        Raises:
            UsageError: if the file does not hold one.
        """
        path = self.path / CONFIG
        data = files.read_json(path)
        if isinstance(data, dict):
            check_format(data, path)
        try:
            return RunConfig.from_json(data)
        except ValueError as error:
            raise files.damaged(path, error) from error

    @cached_property
    def _config(self) -> RunConfig:
        """The configuration that this process works with, whatever becomes of the file."""
        return self.config()

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write ``summary.json``; with it ``times.csv`` is closed, too.

        Raises:
            OSError: if it cannot be written.
        """
        content = signed({**summary, "times_digest": self._digest_of_times()})
        files.write(self.path / SUMMARY, json.dumps(content, indent=2, allow_nan=False).encode())

    def summary(self) -> dict[str, Any] | None:
        """The finished run's summary without digests, else None.

        Raises:
            UsageError: if the file does not hold one.
        """
        found = self._summary()
        return None if found is None else found[0]

    def check_times(self) -> None:
        """Make sure that ``times.csv`` of a finished run is as its summary says.

        Raises:
            UsageError: if not.
        """
        found = self._summary()
        if found is not None and found[1] != self._digest_of_times():
            raise files.damaged(
                self.path / TIMES, f"it does not match its digest in {SUMMARY}, so it was edited"
            )

    def _summary(self) -> tuple[dict[str, Any], str] | None:
        """The summary, and the digest of ``times.csv`` that is with it."""
        path = self.path / SUMMARY
        if not os.path.lexists(path):
            return None
        data = files.read_json(path)
        try:
            found = verified(data)
            times: str = conform(found.pop("times_digest", None), Digest, "times_digest")
            check_summary(found, self.config())
        except ValueError as error:
            raise files.damaged(path, error) from error
        return found, times

    def _digest_of_times(self) -> str:
        path = self.path / TIMES
        content = files.read(path) if os.path.lexists(path) else b""
        return hashlib.sha256(content).hexdigest()

    def save_checkpoint(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Replace the checkpoint.

        Args:
            tensors: by name.
            state: whatever else there is to know, as JSON; see ``checkpoint.check_state``.

        Raises:
            OSError: if it cannot be written.
        """
        files.write(self.path / CHECKPOINT, checkpoint.pack(tensors, state, self._config))

    def load_checkpoint(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors, on the CPU, and state of the last checkpoint; None before the first.

        Raises:
            UsageError: if the file is truncated, was edited, or does not fit the configuration.
        """
        path = self.path / CHECKPOINT
        if not os.path.lexists(path):
            return None
        config = self.config()
        tensors, state = checkpoint.unpack(files.read(path), config, path)
        try:
            checkpoint.check_state(state, tensors, config)
        except ValueError as error:
            raise checkpoint.foreign(path, error) from error
        return tensors, state

    def save_snapshot(self, percent: int, theta: Tensor) -> None:
        """Keep the policies' parameters ``[S, P]`` as they are after a part of their steps.

        Raises:
            UsageError: if the folder of snapshots is a link.
            OSError: if it cannot be written.
        """
        path = self._snapshot(percent)
        files.check_kind(path.parent, stat.S_IFDIR)
        path.parent.mkdir(exist_ok=True)
        files.write(path, checkpoint.pack({"theta": theta}, {}, self._config))

    def snapshots(self) -> list[int]:
        """Percentages at which there is a snapshot, ascending.

        Raises:
            UsageError: if the folder of snapshots is a link.
        """
        folder = self.path / SNAPSHOTS
        files.check_kind(folder, stat.S_IFDIR)
        found = (SNAPSHOT.fullmatch(path.name) for path in folder.glob("*"))
        return sorted(int(match[1]) for match in found if match is not None)

    def load_snapshot(self, percent: int) -> Tensor:
        """Parameters ``[S, P]``, on the CPU.

        Raises:
            UsageError: if there is no such snapshot, it is damaged, or it is of another run.
        """
        found = self.snapshots()
        if percent not in found:
            known = ", ".join(map(str, found)) or "none"
            raise UsageError(
                f"Expected a snapshot of {self.path} at {percent} percent; there are: {known}."
            )
        path, config = self._snapshot(percent), self.config()
        theta = checkpoint.unpack(files.read(path), config, path)[0].get("theta")
        try:
            if theta is None:
                raise ValueError("it holds no policy")
            checkpoint.check_rows("theta", theta, (len(config.seeds), None))
        except ValueError as error:
            raise checkpoint.foreign(path, error) from error
        return theta

    def _snapshot(self, percent: int) -> Path:
        return self.path / SNAPSHOTS / f"{percent:03d}.safetensors"
