"""Digests made to fit again, as a stranger does who knows how run folders are written."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from pgzoo.records.config import RunConfig

KEY = "pgzoo"
Headed = tuple[dict[str, Tensor], dict[str, Any]]


def read_tensors(path: Path) -> Headed:
    """Tensors of a file and what it says of itself.

    Raises:
        ValueError, LookupError: if it is damaged.
    """
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][KEY])
    return safetensors.torch.load(content), header


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write such a file with the digest of its content."""
    header = dict(header) | {"digest": _of_tensors(tensors, str(header.get("state")))}
    write_unsigned(path, tensors, header)


def write_unsigned(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write such a file, whatever its header says."""
    content = safetensors.torch.save(dict(tensors), metadata={KEY: json.dumps(header)})
    path.write_bytes(content)


def _of_tensors(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode(errors="surrogatepass"))
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def sign(folder: Path) -> None:
    """Make every digest of a run folder fit what it is of, as far as that can be had."""
    for step in (_config, _metrics, _times):
        with contextlib.suppress(ValueError, LookupError, TypeError, OSError, RuntimeError):
            step(folder)


def _config(folder: Path) -> None:
    data = _signed(folder / "config.json")
    run = RunConfig.from_json({k: v for k, v in data.items() if k != "digest"}).digest()
    for path in (folder / "checkpoint.safetensors", *(folder / "snapshots").glob("*.safetensors")):
        tensors, header = read_tensors(path)
        write_tensors(path, tensors, header | {"run": run})


def _metrics(folder: Path) -> None:
    content = (folder / "metrics.csv").read_bytes()

    def changed(state: dict[str, Any]) -> None:
        state["metrics_size"] = len(content)
        if "metrics_digest" in state:
            state["metrics_digest"] = _sha(content)

    _change_state(folder / "checkpoint.safetensors", changed)


def _change_state(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    tensors, header = read_tensors(path)
    state = json.loads(header["state"])
    change(state)
    write_tensors(path, tensors, header | {"state": json.dumps(state)})


def _times(folder: Path) -> None:
    path = folder / "summary.json"
    data = json.loads(path.read_text())
    if "times_digest" in data:
        data["times_digest"] = _sha((folder / "times.csv").read_bytes())
        path.write_text(json.dumps(data))
    _signed(path)


def _signed(path: Path) -> dict[str, Any]:
    """A JSON file's content, its own digest made to fit if it has one."""
    data: dict[str, Any] = json.loads(path.read_text())
    if "digest" in data:
        rest = {k: v for k, v in data.items() if k != "digest"}
        data["digest"] = _sha(json.dumps(rest, sort_keys=True).encode())
        path.write_text(json.dumps(data))
    return data


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
