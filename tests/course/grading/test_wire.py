import json
import socket
import struct
import threading

import numpy as np
import pytest
import safetensors.torch
import torch

from pgzoo.course.grading.wire import (
    LENGTHS,
    MOST_NUMBERS,
    MOST_TENSORS,
    MOST_TEXT,
    Channel,
    Foreign,
    Malformed,
    pack,
    unpack,
)
from pgzoo.sampling.trajectories import Trajectories
from tests.helpers import make_trajectories


def there_and_back(data):
    message = pack(data)
    text, blob = LENGTHS.unpack(message[: LENGTHS.size])
    rest = message[LENGTHS.size :]
    assert len(rest) == text + blob
    return unpack(rest[:text], rest[text:])


def same(a, b):
    assert type(a) is type(b)
    if isinstance(a, torch.Tensor):
        return (
            a.dtype == b.dtype
            and a.shape == b.shape
            and torch.equal(a.nan_to_num(), b.nan_to_num())
        )
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and bool(((a == b) | (a != a)).all())
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, Trajectories):
        return same(vars(a), vars(b))
    return a == b


@pytest.mark.parametrize(
    "data",
    [
        None,
        True,
        3,
        -(2**40),
        0.1,
        float("inf"),
        'σ \x00 " ',
        (),
        [1, (2.0, "x"), None],
        {"a": {"b": (1,)}},
        torch.randn(2, 3, dtype=torch.float64),
        torch.randn(2, 3).t(),
        torch.randn(3).expand(2, 3),
        torch.tensor(float("nan")),
        torch.zeros(0, 4),
        torch.tensor([True, False]),
        torch.tensor([1, 2], dtype=torch.int16),
        torch.randn(3, requires_grad=True).detach(),
        np.arange(6.0).reshape(2, 3)[:, ::2],
        np.float32(0.5),
        np.int64(3),
        make_trajectories([[2, 3]]),
    ],
    ids=lambda data: type(data).__name__,
)
def test_plain_data_come_back_as_they_were(data):
    assert same(there_and_back(data), data)


def test_tensors_that_share_memory_are_sent_apart():
    x = torch.arange(3.0)
    a, b = there_and_back((x, x[1:]))
    assert a.tolist() == [0, 1, 2]
    assert b.tolist() == [1, 2]


def test_a_gradient_s_graph_and_a_subclass_stay_behind():
    class Own(torch.Tensor):
        pass

    x = torch.ones(2, requires_grad=True) * 2
    found = there_and_back(x)
    assert not found.requires_grad
    assert type(there_and_back(torch.ones(2).as_subclass(Own))) is torch.Tensor


@pytest.mark.parametrize("data", [object(), lambda x: x, {1: 2}, iter(())])
def test_of_what_is_no_plain_data_the_name_of_its_class_is_sent(data):
    found = there_and_back(data)
    assert isinstance(found, Foreign)
    name = type(data).__name__
    assert type(found).__name__ == (name if name.isidentifier() else "object")


@pytest.mark.parametrize(
    "data",
    ["x" * MOST_TEXT, torch.zeros(MOST_TENSORS + 1, dtype=torch.uint8), {"a": 1 << 20_000}],
    ids=["text", "tensor", "number"],
)
def test_what_is_too_large_is_not_sent(data):
    with pytest.raises(Malformed):
        pack(data)


def blob(**tensors):
    return safetensors.torch.save(tensors)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (b"", b""),
        (b"{", blob()),
        (b"\xff", blob()),
        (b"1", b"garbage"),
        (b"1", struct.pack("<Q", 2**62) + b"{}"),
        (b"{}", blob()),
        (b'{"tensor": "0"}', blob()),
        (b'{"tensor": []}', blob()),
        (b'{"pickle": "x"}', blob()),
        (b'{"tuple": 3}', blob()),
        (b'{"dict": [1]}', blob()),
        (b'{"foreign": "=1+1"}', blob()),
        (b'{"foreign": 3}', blob()),
        (b'{"trajectories": {"__class__": 1}}', blob()),
        (b"[" * 100_000, blob()),
        (b"9" * 5000, blob()),
        (b'{"tensor": "0"}', blob(**{"0": torch.zeros(MOST_NUMBERS + 1, 0)})),
    ],
)
def test_what_is_no_message_is_refused(text, content):
    with pytest.raises(Malformed):
        unpack(text, content)


def test_lengths_are_looked_at_before_anything_is_read():
    here, there = socket.socketpair()
    there.sendall(LENGTHS.pack(2**32 - 1, 2**32 - 1) + b"x")
    with here, there, pytest.raises(Malformed, match="too large"):
        Channel(here).receive(1.0)


def test_patience_is_for_the_whole_message():
    here, there = socket.socketpair()
    message = pack("x" * 100)
    stop = threading.Event()

    def drip():
        for i in range(len(message) - 1):
            if stop.wait(0.05):
                return
            there.sendall(message[i : i + 1])

    dripping = threading.Thread(target=drip)
    dripping.start()
    with here, there:
        with pytest.raises(TimeoutError):
            Channel(here).receive(0.3)
        stop.set()
        dripping.join()


def test_a_reader_that_does_not_read_is_not_waited_for():
    here, there = socket.socketpair()
    with here, there, pytest.raises(TimeoutError):
        Channel(here).send(torch.zeros(1 << 22), 0.2)


def test_messages_are_json_and_safetensors():
    message = pack({"x": torch.ones(2)})
    text, _ = LENGTHS.unpack(message[: LENGTHS.size])
    assert json.loads(message[LENGTHS.size :][:text]) == {"dict": {"x": {"tensor": "0"}}}
