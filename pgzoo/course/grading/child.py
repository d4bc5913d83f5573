"""A learner's process: it finds one function of a submission, and calls it when it is asked.

Whatever the learner's code does to this process, it can send no more than data.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from pgzoo.course.answer import AnswerError, Here
from pgzoo.course.grading.definitions import find
from pgzoo.course.grading.wire import Channel, Malformed

LONGEST_TEXT, MOST_NOTES = 2000, 20
TAKEN = "Grading takes imports, definitions, and assignments in which nothing is called."


def serve(channel: Channel) -> None:
    """Answer the grader until it hangs up. Random numbers are the same every time."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    wanted = channel.receive()
    files = {path: content.tobytes() for path, content in wanted["files"].items()}
    found = find(files, wanted["name"], wanted["chapter"])
    channel.send(
        {
            "found": found.function is not None,
            "file": found.file,
            "notes": [_short(note) for note in found.notes[:MOST_NOTES]],
            "readable": found.readable,
        }
    )
    while True:
        _reply(channel, found.function, channel.receive())


def _reply(channel: Channel, function: Any, request: Mapping[str, Any]) -> None:
    """Answer one request: with a value, or with what was raised."""
    try:
        channel.send(_value(Here(function), request))
    except AnswerError as error:
        hint = f" ({TAKEN})" if error.kind == NameError.__name__ else ""
        channel.send(_raised(error.kind, error.text + hint, error.line))
    except Malformed as error:
        channel.send(_raised("ValueError", f"The grader cannot take the value: {error}."))
    except (Exception, SystemExit) as error:
        channel.send(_raised(type(error).__name__, str(error)))


def _value(answer: Here, request: Mapping[str, Any]) -> dict[str, Any]:
    if "of" not in request:
        return {"value": answer(*request["args"])}
    value, gradients = answer.derivatives(*request["args"], of=request["of"])
    return {"value": value, "gradients": gradients}


def _raised(kind: str, text: str, line: int | None = None) -> dict[str, Any]:
    return {"kind": _short(kind), "text": _short(text), "line": line}


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + " …"
