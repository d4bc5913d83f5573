"""Files of tensors: the checkpoint of a run and the snapshots of its policies.

Each is one safetensors file: its tensors, and in its header the JSON state, the digest of the run's
configuration and a digest of tensors and state, so that no kill can part them and no file of
another run takes their place. Tensors are on the CPU, wherever they were computed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from pgzoo.errors import UsageError
from pgzoo.records.config import FORMAT, RunConfig, check_format
from pgzoo.records.files import damaged
from pgzoo.records.shapes import COUNT, TEXT, TRUTH, Kind, check_fields, list_of, or_null

KEY = "pgzoo"
REPLICA = {
    "seed": COUNT,
    "env_steps": COUNT,
    "episodes": COUNT,
    "recent": list_of(Kind("a number", lambda v: isinstance(v, (int, float)))),
    "looked": or_null(COUNT),
    "steps_to_threshold": or_null(COUNT),
    "failed": or_null(TEXT),
    "finished": TRUTH,
}
STATE = {
    "iteration": COUNT,
    "metrics_size": COUNT,
    "replicas": Kind("a list", lambda v: isinstance(v, list)),
}
"""What every state has, and every replica in it; there may be more."""
PER_SEED = re.compile(
    r"(policy|critic|reference|pending)\.|ongoing\.(episode|length|returns|ended)$"
)
"""Names of tensors that have a row for each seed."""


def pack(tensors: Mapping[str, Tensor], state: Mapping[str, Any], config: RunConfig) -> bytes:
    """A file of tensors; equal ones for equal arguments.

    Args:
        tensors: by name, on any device.
        state: whatever else there is to know, as JSON.
        config: of the run that they belong to.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(state)
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
        header = dict(json.loads(_header(content)["__metadata__"][KEY]))
    except unreadable as error:
        raise damaged(path, f"it has no header that pgzoo wrote ({error})") from error
    check_format(header, path)
    try:
        tensors = safetensors.torch.load(content)
        text = header["state"]
        if header["digest"] != _digest(tensors, text):
            raise ValueError("its content does not match its digest")
        state = dict(json.loads(text))
        run = header["run"]
    except unreadable as error:
        raise damaged(path, error) from error
    if run != config.digest():
        raise foreign(path, "it was written with another configuration than config.json holds")
    return tensors, state


def _header(content: bytes) -> Any:
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length])


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def foreign(path: Path, reason: object) -> UsageError:
    """What to say of a file that is in order, but not one of this run's."""
    return UsageError(
        f"{path} does not belong to this run: {reason}. Restore the run's folder from a copy, or "
        "start the run anew elsewhere."
    )


def check_state(state: Mapping[str, Any], tensors: Mapping[str, Tensor], config: RunConfig) -> None:
    """Hold a checkpoint against the configuration of its run.

    Args:
        state: with the fields of ``STATE``, and in each of its replicas those of ``REPLICA``.
        tensors: those whose names match ``PER_SEED`` have a row for each seed.
        config: of the run.

    Raises:
        ValueError: if they do not fit.
    """
    check_fields(state, STATE, others=True)
    for replica in state["replicas"]:
        check_fields(replica, REPLICA, others=True)
    seeds = [replica["seed"] for replica in state["replicas"]]
    if seeds != list(config.seeds):
        raise ValueError(f"expected the seeds {list(config.seeds)}, got {seeds}")
    if "policy.values" not in tensors:
        raise ValueError("it holds no policy")
    for name, tensor in tensors.items():
        if PER_SEED.match(name):
            check_rows(name, tensor, config)


def check_rows(name: str, tensor: Tensor, config: RunConfig) -> None:
    """Make sure that a tensor has one row of finite numbers for each seed.

    Raises:
        ValueError: if not.
    """
    if tensor.ndim == 0 or len(tensor) != len(config.seeds):
        raise ValueError(
            f"expected {name} to have a row for each of {len(config.seeds)} seeds, got the shape "
            f"{list(tensor.shape)}"
        )
    if not tensor.isfinite().all():
        raise ValueError(f"expected {name} to be finite")
