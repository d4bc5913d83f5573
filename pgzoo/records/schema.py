"""What the files of a run may hold: kinds of values, and data from a file held against them.

Whoever wrote a file may be a stranger. A digest says that it is as it was written; that it makes
sense, only the schema says: types, ranges and lengths are in the annotations here and in
``RunConfig``, and what no annotation can say is in the ``check`` of whoever knows the rest.
"""

from __future__ import annotations

import hashlib
import json
import re
import reprlib
import sys
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from pgzoo.options import MOST_SEEDS

WHOLE, FINITE = 2**63 - 1, sys.float_info.max
LARGEST_FIGURE = 1e300
"""Of results, so that they can be added, subtracted and drawn."""
LONGEST_REASON = 400
POLICY_KINDS = ("mlp", "linear", "tabular")
# Control characters, halves of surrogate pairs, and what turns the direction of writing.
CONTROL = r"\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
PRINTABLE, LINES = rf"^[^{CONTROL}]+\Z", rf"^(?:[^{CONTROL}]|[\n\t])*\Z"
DEVICE, HEXADECIMAL = r"^(cpu|cuda|mps)(:\d{1,3})?\Z", r"^[0-9a-f]{64}\Z"
ONE_OF_POLICIES = rf"^({'|'.join(POLICY_KINDS)})\Z"

Count = Annotated[int, Meta(ge=0, le=WHOLE)]
Positive = Annotated[int, Meta(ge=1, le=WHOLE)]
Number = Annotated[float, Meta(ge=-FINITE, le=FINITE)]
Figure = Annotated[float, Meta(ge=-LARGEST_FIGURE, le=LARGEST_FIGURE)]
Amount = Annotated[float, Meta(ge=0, le=LARGEST_FIGURE)]
Share = Annotated[float, Meta(ge=0, le=1)]
Name = Annotated[str, Meta(min_length=1, max_length=5_000, pattern=PRINTABLE)]
Text = Annotated[str, Meta(max_length=20_000, pattern=LINES)]
Digest = Annotated[str, Meta(pattern=HEXADECIMAL)]
Device = Annotated[str, Meta(pattern=DEVICE)]
PolicyKind = Annotated[str, Meta(pattern=ONE_OF_POLICIES)]
Seeds = Annotated[tuple[Count, ...], Meta(min_length=1, max_length=MOST_SEEDS)]
Integer = Annotated[int, Meta(ge=-WHOLE, le=WHOLE)]
# Never a list and text with a pattern in one union: msgspec 0.22 then reads memory that is not its.
Setting = bool | Integer | Number | str | tuple[Integer, ...] | None
"""A value among the hyperparameters, text to be a ``Text``; what it may be is for the agent."""

WORDS = {
    PRINTABLE: "without control characters",
    LINES: "without control characters",
    DEVICE: "such as cpu or cuda",
    HEXADECIMAL: "of 64 hexadecimal digits",
    ONE_OF_POLICIES: f"among {', '.join(POLICY_KINDS)}",
}
KINDS = {
    "int": "a whole number",
    "float": "a finite number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a JSON object",
    "null": "null",
}


_BRIEF = reprlib.Repr()
_BRIEF.maxstring = _BRIEF.maxother = 80
brief = _BRIEF.repr
"""A value of a stranger's in an error's words: escaped, and not too long."""


class Strict(Struct, forbid_unknown_fields=True):
    """A JSON object of exactly these fields."""


class Replica(Strict):
    """A replica in the state of a checkpoint."""

    seed: Count
    env_steps: Count
    episodes: Count
    recent: tuple[Figure, ...]
    looked: Count | None
    steps_to_threshold: Count | None
    failed: Text | None
    finished: bool


class State(Strict):
    """The state of a checkpoint: what ``TrainState.to_checkpoint`` says beside tensors."""

    iteration: Count
    replicas: tuple[Replica, ...]
    metrics_size: Count
    metrics_digest: Digest


class Header(Strict):
    """What a file of tensors says of itself."""

    format: Positive
    run: Digest
    state: str
    digest: Digest


class Summary(Strict):
    """``summary.json``, but for its digests: what ``columns.run_summary`` says of a run."""

    agent: Name
    env: Name
    policy_kind: PolicyKind
    seeds: Seeds
    iterations: Count
    env_steps_per_seed: tuple[Count, ...]
    wall_seconds: Amount
    steps_per_second: Amount
    threshold: Figure | None
    eval_episodes: Annotated[int, Meta(ge=2, le=WHOLE)]
    eval_mean: tuple[Figure | None, ...]
    eval_std: tuple[Amount | None, ...]
    eval_standard_error: tuple[Amount | None, ...]
    solved: tuple[bool | None, ...]
    solved_interval: tuple[Share, Share] | None
    steps_to_threshold: tuple[Count | None, ...]
    failed: tuple[Text | None, ...]


def conform(data: Any, kind: Any, name: str = "") -> Any:
    """Data from a file, as what it must be.

    Args:
        data: as JSON gave it.
        kind: annotated type, or a ``Strict`` object.
        name: of the field that it comes from, for errors.

    Raises:
        ValueError: which field, what was expected, what is there.
    """
    try:
        return msgspec.convert(data, kind, strict=True)
    except msgspec.ValidationError as error:
        raise ValueError(_in_words(str(error), data, name)) from error


def check_names(data: Any, names: Iterable[str]) -> None:
    """Make sure that data is a JSON object with exactly these fields.

    Raises:
        ValueError: if not.
    """
    if not isinstance(data, dict):
        raise ValueError(f"expected a JSON object, got {brief(data)}")
    names = list(names)
    for name in data:
        if name not in names:
            raise ValueError(f"{quoted(name)} is unknown; there are {', '.join(names)}")
    for name in names:
        if name not in data:
            raise ValueError(f"{quoted(name)} is missing")


def expect(condition: bool, name: str, expected: str, got: Any) -> None:
    """Raise a ``ValueError`` in the words of ``conform`` unless a condition holds."""
    if not condition:
        raise ValueError(f"expected {quoted(name)} to be {expected}; got {brief(got)}")


def in_short(error: Exception) -> str:
    """What others say of a stranger's file, on one line and no longer than that."""
    text = " ".join(str(error).split())
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]} …"


def digest_of(data: Any) -> str:
    """SHA-256 of JSON data, whatever the order of the fields.

    Raises:
        ValueError: for what is no JSON.
    """
    text = json.dumps(data, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def signed(data: Mapping[str, Any]) -> dict[str, Any]:
    """An object with the digest of its content as last field."""
    return {**data, "digest": digest_of(data)}


def verified(data: Any) -> dict[str, Any]:
    """The inverse of ``signed``.

    Raises:
        ValueError: if the digest is another one.
    """
    if not isinstance(data, dict):
        raise ValueError(f"expected a JSON object, got {brief(data)}")
    if "digest" not in data:
        raise ValueError('"digest" is missing')
    content = {k: v for k, v in data.items() if k != "digest"}
    if data["digest"] != digest_of(content):
        raise ValueError("its content does not match its digest, so it was edited or damaged")
    return content


def quoted(name: Any) -> str:
    """A field's name as JSON has it. Backticks are for options, which fields are not."""
    return f'"{brief(name)[1:-1]}"' if isinstance(name, str) else brief(name)


def _in_words(error: str, data: Any, name: str) -> str:
    """What msgspec says of data, with the value that is there."""
    what, _, place = error.rpartition(" - at ")
    if not what:
        what, place = place, ""
    for step, number in re.findall(r"\.(\w+)|\[(\d+)\]", place):
        name += f"[{number}]" if number else f"{'.' * bool(name)}{step}"
        data = data[int(number) if number else step]
    if field := re.match(r"Object (missing required|contains unknown) field `(.*)`", what, re.S):
        full = f"{name}.{field[2]}" if name else field[2]
        return f"{quoted(full)} is {'missing' if 'missing' in field[1] else 'unknown'}"
    got = f"; got {brief(data)}"
    if place.endswith("...]`"):  # a value or a key of an object, whose name is not said
        name, got = f"{name}[…]", ""
    what = re.sub(r"^Expected |, got `.*`$", "", what)
    for pattern, words in WORDS.items():
        what = what.replace(f"matching regex {pattern!r}", words)
    what = re.sub(r"`(.+?)`", lambda kinds: _kinds_in_words(kinds[1]), what)
    return f"expected {quoted(name)} to be {what}{got}" if name else f"expected {what}{got}"


def _kinds_in_words(kinds: str) -> str:
    return " or ".join(KINDS.get(kind, kind) for kind in kinds.split(" | "))
