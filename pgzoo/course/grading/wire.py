"""Plain data as bytes and back, between processes of which one is not to be trusted.

A message is a JSON text and a safetensors file: what is read is data, nothing is unpickled or
executed, and sizes are known before anything is read. What is no plain data travels as the name of
its class.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import time
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from pgzoo.sampling.trajectories import Trajectories

LENGTHS = struct.Struct("!II")
MOST_TEXT, MOST_TENSORS = 1 << 19, 1 << 26
"""Bytes of a message's two parts."""
MOST_NUMBERS = 1 << 24
"""In a tensor; a dimension of length 0 counts as one of length 1."""
LONGEST_NAME = 100


class Malformed(Exception):  # noqa: N818  (it says what a message is)
    """A message is not what ``pack`` makes, or too large."""


class Foreign:
    """What stands for an object that is no plain data; its class has the object's class's name."""


def pack(data: Any) -> bytes:
    """A message.

    Args:
        data: plain data.

    Raises:
        Malformed: if it is too large, or of numbers that cannot be sent.
    """
    tensors: dict[str, Tensor] = {}
    try:
        text = json.dumps(_tree(data, tensors)).encode()
        blob = safetensors.torch.save(tensors)
    except (TypeError, ValueError, KeyError, RuntimeError, RecursionError) as error:
        raise Malformed(f"it cannot be sent: {error}") from error
    _check_lengths(len(text), len(blob))
    return LENGTHS.pack(len(text), len(blob)) + text + blob


def unpack(text: bytes, blob: bytes) -> Any:
    """The plain data of a message.

    Raises:
        Malformed: if it holds anything else.
    """
    try:
        tensors = safetensors.torch.load(blob)
        for tensor in tensors.values():
            if math.prod(max(1, d) for d in tensor.shape) > MOST_NUMBERS:
                raise ValueError("a tensor is too large")
        return _data(json.loads(text), tensors)
    except (safetensors.SafetensorError, ValueError, LookupError, TypeError) as error:
        raise Malformed(f"it is no message: {error}") from error
    except (RuntimeError, AttributeError, OverflowError, RecursionError) as error:
        raise Malformed(f"it is no message: {error}") from error


class Channel:
    """One end of a conversation.

    Args:
        end: of a socket pair.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    def send(self, data: Any, patience: float | None = None) -> None:
        """Send plain data.

        Args:
            data: it.
            patience: seconds that the other end may take to read it; None: any time.

        Raises:
            TimeoutError: if it takes longer.
            OSError: if there is nobody at the other end.
            Malformed: for what cannot be sent.
        """
        message = pack(data)
        self._socket.settimeout(patience)
        self._socket.sendall(message)

    def receive(self, patience: float | None = None) -> Any:
        """Wait for plain data.

        Args:
            patience: seconds for all of it; None: any time.

        Raises:
            TimeoutError: if it takes longer.
            OSError: if there is nobody at the other end.
            Malformed: if what comes is something else.
        """
        until = None if patience is None else time.monotonic() + patience
        lengths = LENGTHS.unpack(self._read(LENGTHS.size, until))
        _check_lengths(*lengths)
        text, blob = (self._read(length, until) for length in lengths)
        return unpack(text, blob)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _read(self, length: int, until: float | None) -> bytes:
        found = bytearray()
        while len(found) < length:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            part = self._socket.recv(min(length - len(found), 1 << 20))
            if not part:
                raise ConnectionResetError("the other end is gone")
            found += part
        return bytes(found)


def _check_lengths(text: int, blob: int) -> None:
    if text > MOST_TEXT or blob > MOST_TENSORS:
        raise Malformed(f"it is too large: {text + blob:,} bytes")


def _tree(data: Any, tensors: dict[str, Tensor]) -> Any:
    """Data as JSON, with the names of tensors, which are put into the dictionary."""

    def stored(tensor: Tensor) -> str:
        name = str(len(tensors))
        _check_lengths(0, tensor.nbytes + sum(x.nbytes for x in tensors.values()))
        tensors[name] = tensor.detach().as_subclass(Tensor).cpu().clone().contiguous()
        return name

    if data is None or isinstance(data, (bool, str)):
        return data
    if isinstance(data, np.generic):
        return {"scalar": stored(torch.from_numpy(np.array(data)))}
    if isinstance(data, int):
        return int(data)
    if isinstance(data, float):
        return float(data)
    if isinstance(data, Tensor):
        return {"tensor": stored(data)}
    if isinstance(data, np.ndarray):
        return {"array": stored(torch.from_numpy(np.array(data)))}
    if isinstance(data, Trajectories):
        content = {k: _tree(v, tensors) for k, v in vars(data).items() if k != "streams"}
        return {"trajectories": content}
    if isinstance(data, tuple):
        return {"tuple": [_tree(x, tensors) for x in data]}
    if isinstance(data, list):
        return [_tree(x, tensors) for x in data]
    if isinstance(data, dict) and all(isinstance(k, str) for k in data):
        return {"dict": {str(k): _tree(v, tensors) for k, v in data.items()}}
    name = type(data).__name__[:LONGEST_NAME]
    return {"foreign": name if str.isidentifier(name) else object.__name__}


def _data(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of ``_tree``."""
    if isinstance(tree, list):
        return [_data(x, tensors) for x in tree]
    if not isinstance(tree, dict):
        return tree
    ((kind, content),) = tree.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "array":
        return tensors[content].numpy()
    if kind == "scalar":
        return tensors[content].numpy()[()]
    if kind == "tuple":
        return tuple(_data(x, tensors) for x in content)
    if kind == "dict":
        return {k: _data(v, tensors) for k, v in content.items()}
    if kind == "trajectories":
        return Trajectories(**{k: _data(v, tensors) for k, v in content.items()})
    if kind == "foreign" and len(content) <= LONGEST_NAME and str.isidentifier(content):
        return type(content, (Foreign,), {})()
    raise ValueError(f"there is a {kind} in it")
