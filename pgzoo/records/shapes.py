"""What JSON from a file may be: kinds of values in words, and data held against them."""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kind:
    """A kind of JSON value.

    Attributes:
        words: as in "Expected … to be *a whole number*".
        fits: whether a value is of the kind.
    """

    words: str
    fits: Callable[[Any], bool]


def is_whole(value: Any) -> bool:
    """Whether a value is an integer, and not a truth value."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a number that a float can hold, finite, and not a truth value."""
    return (is_whole(value) or isinstance(value, float)) and abs(value) <= sys.float_info.max


TEXT = Kind("text", lambda v: isinstance(v, str))
TRUTH = Kind("true or false", lambda v: isinstance(v, bool))
NUMBER = Kind("a finite number", is_number)
COUNT = Kind("a whole number from 0 to 2^63 − 1", lambda v: is_whole(v) and 0 <= v < 2**63)
POSITIVE = Kind("a whole number from 1 to 2^63 − 1", lambda v: is_whole(v) and 0 < v < 2**63)


def or_null(kind: Kind) -> Kind:
    """The kind, or nothing."""
    return Kind(f"{kind.words} or null", lambda v: v is None or kind.fits(v))


def one_of(*values: str) -> Kind:
    """One of these words."""
    return Kind(f"one of {', '.join(values)}", lambda v: isinstance(v, str) and v in values)


def list_of(kind: Kind, length: int | None = None) -> Kind:
    """A list whose entries are all of a kind, of a given length or of any."""
    words = f"a list, each entry {kind.words}"
    if length is not None:
        words = f"a list of {length}, each entry {kind.words}"
    return Kind(
        words,
        lambda v: isinstance(v, list) and length in (None, len(v)) and all(map(kind.fits, v)),
    )


def check_fields(data: Any, kinds: Mapping[str, Kind], *, others: bool = False) -> None:
    """Hold data against the fields that it must have.

    Args:
        data: as JSON gave it.
        kinds: by the name of a field.
        others: whether it may have more than these.

    Raises:
        ValueError: for data that is no object, or a field missing, unknown or of another kind.
    """
    if not isinstance(data, dict):
        raise ValueError(f"expected a JSON object, got {reprlib.repr(data)}")
    for name in data:
        if name not in kinds and not others:
            raise ValueError(f"{_quoted(name)} is unknown; there are {', '.join(kinds)}")
    for name, kind in kinds.items():
        if name not in data:
            raise ValueError(f"{_quoted(name)} is missing")
        if not kind.fits(data[name]):
            got = reprlib.repr(data[name])
            raise ValueError(f"expected {_quoted(name)} to be {kind.words}; got {got}")


def _quoted(name: Any) -> str:
    """A field's name as JSON has it. Backticks are for options, which fields are not."""
    return f'"{reprlib.repr(name)[1:-1]}"' if isinstance(name, str) else reprlib.repr(name)
