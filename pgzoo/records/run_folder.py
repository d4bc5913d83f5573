"""The run folder: ``config.json``, ``metrics.csv``, ``checkpoint.safetensors``, ``summary.json``.

``snapshots/`` keeps the policies as they were after 0, 10, … 100 percent of the run.

Whole files are written beside their place and renamed into it, so that a reader, or a run killed at
any moment, sees the old file or the new one. A checkpoint is one safetensors file: its tensors, and
in its header the JSON state and a digest of both, so that no kill can part them. ``metrics.csv``
only grows; the checkpoint knows how long it was, and resuming cuts off what came later.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, Self

import safetensors
import safetensors.torch
from torch import Tensor

from pgzoo.errors import UsageError

CONFIG, METRICS, CHECKPOINT, SUMMARY = (
    "config.json",
    "metrics.csv",
    "checkpoint.safetensors",
    "summary.json",
)
SNAPSHOTS = "snapshots"
LIBRARIES = ("torch", "numpy", "gymnasium", "scipy")


@dataclass(frozen=True)
class RunConfig:
    """All that is needed to repeat a run."""

    agent: str
    env: str
    policy: str
    seeds: tuple[int, ...]
    device: str
    max_episode_steps: int | None
    stop_when_solved: bool
    hyperparameters: dict[str, Any]
    diagnostics: int = 0
    compare_estimators: bool = False

    def to_json(self) -> dict[str, Any]:
        """As in ``config.json``, with the versions that are installed."""
        versions = {"python": platform.python_version(), "pgzoo": version("pgzoo")}
        versions |= {name: version(name) for name in LIBRARIES}
        return dataclasses.asdict(self) | {"versions": versions}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of ``to_json``."""
        optional = {f.name for f in dataclasses.fields(cls) if f.default is not dataclasses.MISSING}
        names = [f.name for f in dataclasses.fields(cls) if f.name not in optional - data.keys()]
        fields = {name: data[name] for name in names}
        hyperparameters = {
            k: tuple(v) if isinstance(v, list) else v for k, v in data["hyperparameters"].items()
        }
        return cls(**fields | {"seeds": tuple(data["seeds"]), "hyperparameters": hyperparameters})


class RunFolder:
    """A folder that holds one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, config: RunConfig) -> Self:
        """Make the folder and write its configuration.

        Raises:
            UsageError: if it cannot be written, or holds a run already.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            if (path / CONFIG).exists():
                raise UsageError(
                    f"Expected {path} to be free, but it holds another run. Choose another --out, "
                    f"or continue that run with --resume {path}."
                )
            folder = cls(path)
            folder._write(CONFIG, json.dumps(config.to_json(), indent=2).encode())
        except OSError as error:
            raise UsageError(
                f"Cannot write the run folder {path}: {error.strerror}. Choose a writable --out."
            ) from error
        return folder

    @classmethod
    def open(cls, path: Path) -> Self:
        """An existing run.

        Raises:
            UsageError: if the folder is not one.
        """
        if not (path / CONFIG).is_file():
            raise UsageError(
                f"Expected a run folder, but {path} has no {CONFIG}. "
                "Give the folder that `pgzoo run` printed, such as runs/reinforce-CartPole-v1-1."
            )
        return cls(path)

    @property
    def has_metrics(self) -> bool:
        """Whether an iteration was completed."""
        path = self.path / METRICS
        return path.exists() and path.stat().st_size > 0

    def config(self) -> RunConfig:
        """The run's configuration.

        Raises:
            UsageError: if the file does not hold one.
        """
        try:
            return RunConfig.from_json(json.loads((self.path / CONFIG).read_text()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{self.path / CONFIG} is damaged: expected the JSON object that `pgzoo run` "
                f"wrote, got {type(error).__name__}: {error}. Restore it, or start a new run."
            ) from error

    def _write(self, name: str, content: bytes) -> None:
        """Replace a file at once or not at all."""
        temporary = (self.path / name).with_name(f".{Path(name).name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path / name)
        finally:
            temporary.unlink(missing_ok=True)

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write ``summary.json``."""
        self._write(SUMMARY, json.dumps(summary, indent=2).encode())

    def summary(self) -> dict[str, Any] | None:
        """The finished run's summary, else None."""
        path = self.path / SUMMARY
        return json.loads(path.read_text()) if path.is_file() else None

    def save_checkpoint(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Replace the checkpoint.

        Args:
            tensors: by name.
            state: whatever else there is to know, as JSON.
        """
        self._write_tensors(CHECKPOINT, tensors, state)

    def load_checkpoint(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and state of the last checkpoint; None before the first.

        Raises:
            UsageError: if the file is truncated or was edited.
        """
        return self._read_tensors(CHECKPOINT) if (self.path / CHECKPOINT).exists() else None

    def save_snapshot(self, percent: int, theta: Tensor) -> None:
        """Keep the policies' parameters ``[S, P]`` as they are after a part of the run."""
        (self.path / SNAPSHOTS).mkdir(exist_ok=True)
        self._write_tensors(f"{SNAPSHOTS}/{percent:03d}.safetensors", {"theta": theta}, {})

    def snapshots(self) -> list[int]:
        """Percentages at which there is a snapshot, ascending."""
        return sorted(int(p.stem) for p in (self.path / SNAPSHOTS).glob("[0-9]*.safetensors"))

    def load_snapshot(self, percent: int) -> Tensor:
        """Parameters ``[S, P]``.

        Raises:
            UsageError: if there is no such snapshot, or it is damaged.
        """
        found = self.snapshots()
        if percent not in found:
            known = ", ".join(map(str, found)) or "none"
            raise UsageError(
                f"Expected a snapshot of {self.path} at {percent} percent; there are: {known}."
            )
        return self._read_tensors(f"{SNAPSHOTS}/{percent:03d}.safetensors")[0]["theta"]

    def _write_tensors(self, name: str, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        text = json.dumps(state)
        header = json.dumps({"state": text, "digest": _digest(tensors, text)})
        # One metadata key: the order of several is not fixed, and equal runs give equal files.
        self._write(name, safetensors.torch.save(tensors, metadata={"pgzoo": header}))

    def _read_tensors(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        path = self.path / name
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                header = json.loads(file.metadata()["pgzoo"])
                tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
            text = header["state"]
            if header["digest"] != _digest(tensors, text):
                raise ValueError("its content does not match its digest")
            return tensors, json.loads(text)
        except (safetensors.SafetensorError, ValueError, KeyError, TypeError, OSError) as error:
            raise UsageError(
                f"{path} is damaged: {error}. Expected an unchanged checkpoint written by pgzoo. "
                "Restore the file from a copy, or start the run again with another --out."
            ) from error


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class MetricsFile:
    """``metrics.csv``: one row per iteration and replica.

    Args:
        folder: the run.
        size: length in bytes at the checkpoint to go on from; 0 for a new file.

    Raises:
        UsageError: if the file is shorter than that.
    """

    def __init__(self, folder: RunFolder, size: int = 0) -> None:
        path = folder.path / METRICS
        found = path.stat().st_size if path.exists() else 0
        if found < size:
            raise UsageError(
                f"{path} is damaged: the checkpoint expects at least {size} bytes, found {found}. "
                "Restore the file from a copy, or start the run again with another --out."
            )
        self._file: IO[bytes] = path.open("r+b" if path.exists() else "w+b", buffering=0)
        self._file.truncate(size)
        self._file.seek(size)

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self._file.tell()

    def latest(self) -> dict[int, dict[str, float]]:
        """The figures in the last row of every seed."""
        self._file.seek(0)
        rows = csv.DictReader(io.StringIO(self._file.read().decode()))
        return {int(r["seed"]): {k: float(v) for k, v in r.items() if _is_number(v)} for r in rows}

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows; the first ones decide the columns."""
        text = io.StringIO()
        writer: csv.DictWriter[str] | None = None
        for row in rows:
            if writer is None:
                writer = csv.DictWriter(text, list(row))
                if self.size == 0:
                    writer.writeheader()
            writer.writerow(row)
        content = text.getvalue().encode()
        if self._file.write(content) < len(content):
            raise OSError(28, "No space left on device")

    def sync(self) -> None:
        """Make sure that what was appended is on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
