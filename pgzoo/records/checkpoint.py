"""Files of tensors: the checkpoint of a run and the snapshots of its policies.

Each is one safetensors file: its tensors, and in its header the JSON state, the digest of the run's
configuration and a digest of tensors and state, so that no kill can part them and no file of
another run takes their place. Tensors are on the CPU, wherever they were computed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from pgzoo.errors import UsageError
from pgzoo.records import files
from pgzoo.records.config import FORMAT, RunConfig, check_format
from pgzoo.records.files import damaged
from pgzoo.records.intervals import WINDOW
from pgzoo.records.schema import Header, Replica, State, brief, conform, expect, in_short, quoted

KEY = "pgzoo"
NO_METRICS = hashlib.sha256().hexdigest()
"""The digest of a ``metrics.csv`` that has nothing yet."""
MATRICES = ("values", "mean", "square", "count")
"""What there is of the parameters of a policy or a critic."""
UNDER_WAY = {
    "episode": torch.int64,
    "length": torch.int64,
    "returns": torch.float64,
    "ended": torch.bool,
}
"""What there is of episodes under way for each row of a seed, beside their actions."""
TENSOR = re.compile(
    rf"(policy|critic)\.({'|'.join(MATRICES)})|reference\.values|pending\.(\d|[1-9]\d|100)"
    rf"|ongoing\.({'|'.join(UNDER_WAY)}|actions)"
)
"""Names of tensors in a checkpoint."""


def pack(tensors: Mapping[str, Tensor], state: Mapping[str, Any], config: RunConfig) -> bytes:
    """A file of tensors; equal ones for equal arguments.

    Args:
        tensors: by name, on any device.
        state: whatever else there is to know, as JSON.
        config: of the run that they belong to.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(state, allow_nan=False)
    header = {
        "format": FORMAT,
        "run": config.digest(),
        "state": text,
        "digest": _digest(stored, text),
    }
    # One metadata key: the order of several is not fixed, and equal runs give equal files.
    return safetensors.torch.save(stored, metadata={KEY: json.dumps(header)})


def unpack(
    content: bytes, config: RunConfig, path: Path
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and state, the inverse of ``pack``.

    Args:
        content: of the file.
        config: of the run that it must belong to.
        path: its name in errors.

    Raises:
        UsageError: if it was truncated or edited, or belongs to another run or another pgzoo.
    """
    unreadable = (safetensors.SafetensorError, ValueError, LookupError, TypeError, RuntimeError)
    try:
        found = files.parse_json(_header(content)["__metadata__"][KEY])
    except unreadable as error:
        raise damaged(path, f"it has no header that pgzoo wrote ({in_short(error)})") from error
    if isinstance(found, dict):
        check_format(found, path)
    try:
        header: Header = conform(found, Header)
        tensors = safetensors.torch.load(content)
        if header.digest != _digest(tensors, header.state):
            raise ValueError("its content does not match its digest")
        state = files.parse_json(header.state)
        if not isinstance(state, dict):
            raise ValueError("its state is no JSON object")
    except unreadable as error:
        raise damaged(path, in_short(error)) from error
    if header.run != config.digest():
        raise foreign(path, "it was written with another configuration than config.json holds")
    return tensors, state


def _header(content: bytes) -> Any:
    length = int.from_bytes(content[:8], "little")
    return files.parse_json(content[8 : 8 + length])


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def foreign(path: Path, reason: object) -> UsageError:
    """What to say of a file that is in order, but not one of this run's."""
    return UsageError(
        f"{path} does not belong to this run: {reason}. Restore the run's folder from a copy, or "
        "start the run anew elsewhere."
    )


def check_state(state: Mapping[str, Any], tensors: Mapping[str, Tensor], config: RunConfig) -> None:
    """Hold a checkpoint against the schema, and against the configuration of its run.

    What its networks and its agent must say of it is for ``learning.loop.load_state``.

    Args:
        state: as ``schema.State``.
        tensors: of the names ``TENSOR``.
        config: of the run.

    Raises:
        ValueError: if they do not fit.
    """
    found: State = conform(state, State)
    seeds = [replica.seed for replica in found.replicas]
    if seeds != list(config.seeds):
        raise ValueError(f"expected the seeds {_few(config.seeds)}, got {_few(seeds)}")
    empty = found.metrics_digest == NO_METRICS
    expect(empty == (found.metrics_size == 0), "metrics_digest", "that of its size", empty)
    for i, r in enumerate(found.replicas):
        name = f"replicas[{i}]"
        window = min(r.episodes, WINDOW)
        expect(len(r.recent) == window, f"{name}.recent", f"{window} returns", len(r.recent))
        looked, reached = r.looked or 0, r.steps_to_threshold or 0
        expect(looked <= r.episodes, f"{name}.looked", f"at most {r.episodes}", looked)
        expect(reached <= r.env_steps, f"{name}.steps_to_threshold", f"≤ {r.env_steps}", reached)
        expect(r.finished or r.failed is None, f"{name}.finished", "true, as it failed", False)
        begun = bool(r.env_steps or r.episodes)
        expect(found.iteration > 0 or not begun, f"{name}.env_steps", "0 at first", r.env_steps)
    _check_tensors(tensors, found.replicas)


def _check_tensors(tensors: Mapping[str, Tensor], replicas: Sequence[Replica]) -> None:
    seeds = len(replicas)
    for name in tensors:
        if TENSOR.fullmatch(name) is None:
            raise ValueError(f"it holds {quoted(name)}, which is unknown")
    if "policy.values" not in tensors:
        raise ValueError("it holds no policy")
    for part in ("policy", "critic"):
        if any(name.startswith(f"{part}.") for name in tensors):
            _check_parameters(part, tensors, seeds)
    width = tensors["policy.values"].shape[1]
    for name, tensor in tensors.items():
        if name.startswith(("reference.", "pending.")):
            check_rows(name, tensor, (seeds, width))
    if any(name.startswith("ongoing.") for name in tensors):
        _check_ongoing(tensors, replicas)


def _check_parameters(part: str, tensors: Mapping[str, Tensor], seeds: int) -> None:
    """A matrix of parameters and Adam's moments of its gradient."""
    values, mean, square, count = (_tensor(tensors, f"{part}.{name}") for name in MATRICES)
    check_rows(f"{part}.values", values, (seeds, None))
    check_rows(f"{part}.mean", mean, values.shape)
    check_rows(f"{part}.square", square, values.shape)
    check_rows(f"{part}.count", count, (seeds, 1))
    for name, tensor in ((f"{part}.square", square), (f"{part}.count", count)):
        expect(bool((tensor >= 0).all()), name, "at least 0", tensor.min().item())
    expect(bool((count == count.floor()).all()), f"{part}.count", "whole numbers", "others")


def _check_ongoing(tensors: Mapping[str, Tensor], replicas: Sequence[Replica]) -> None:
    """Episodes under way: rows of each seed, and the actions of all of them one after another."""
    rows, seeds = _tensor(tensors, "ongoing.length").shape[1:2], len(replicas)
    for name, kind in UNDER_WAY.items():
        check_rows(f"ongoing.{name}", _tensor(tensors, f"ongoing.{name}"), (seeds, *rows), kind)
    length, ended = tensors["ongoing.length"], tensors["ongoing.ended"]
    for name, known in (("episode", "episodes"), ("length", "env_steps")):
        for row, replica in zip(tensors[f"ongoing.{name}"].tolist(), replicas, strict=True):
            most = getattr(replica, known)
            expect(min(row) >= 0, f"ongoing.{name}", "at least 0", min(row))
            expect(max(row) <= most, f"ongoing.{name}", f"at most {most}", max(row))
    actions = _tensor(tensors, "ongoing.actions")
    total = sum(length.ravel().tolist())
    whole = not (actions.is_floating_point() or actions.is_complex() or actions.dtype == torch.bool)
    expect(whole, "ongoing.actions", "whole numbers", str(actions.dtype))
    expect(
        actions.shape == (total,),
        "ongoing.actions",
        f"{total} actions, as ongoing.length says",
        list(actions.shape),
    )
    least = min(actions.tolist(), default=0)
    expect(least >= 0, "ongoing.actions", "at least 0", least)
    expect(bool((length > 0)[ended].all()), "ongoing.length", "above 0 where it ended", 0)


def _tensor(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in tensors:
        raise ValueError(f"{quoted(name)} is missing")
    return tensors[name]


def check_rows(
    name: str, tensor: Tensor, shape: Sequence[int | None], kind: torch.dtype = torch.float32
) -> None:
    """Make sure that a tensor is a matrix of finite numbers, with a row for each seed.

    Args:
        name: of the tensor.
        tensor: from a file.
        shape: that it must have; None: any length above 0.
        kind: of its numbers.

    Raises:
        ValueError: if not.
    """
    found, expected = list(tensor.shape), ["above 0" if n is None else n for n in shape]
    fits = len(found) == len(shape) == 2 and min(found) > 0
    if not fits or any(n not in (None, m) for m, n in zip(found, shape, strict=True)):
        raise ValueError(
            f"expected {name} to have a row for each seed, of the shape "
            f"[{', '.join(map(str, expected))}]; got the shape {found}"
        )
    if tensor.dtype != kind:
        raise ValueError(f"expected {name} to be of {kind}, got {tensor.dtype}")
    if not tensor.isfinite().all():
        raise ValueError(f"expected {name} to be finite")


def _few(seeds: Sequence[int]) -> str:
    """Seeds in an error's words, if they are few."""
    return brief(list(seeds))
