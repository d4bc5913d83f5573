"""What is to be known of one option, and whether a value is one of its values."""

from __future__ import annotations

import difflib
import itertools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pgzoo.errors import UsageError
from pgzoo.options.needs import Need
from pgzoo.options.values import (
    LARGEST,
    LARGEST_WHOLE,
    LONGEST_NAME,
    LONGEST_PATH,
    MOST_SEEDS,
    SMALLEST,
    is_whole,
    number_in_words,
    plain,
    shown,
)

BOUNDS = {
    "minimum": "of at least {}",
    "above": "above {}",
    "maximum": "at most {}",
    "below": "below {}",
}
WORDS = {"yes": True, "true": True, "no": False, "false": False}
KINDS: dict[Any, str] = {
    bool: "yes or no",
    int: "a whole number",
    int | None: "a whole number",
    float: "a number",
    tuple[int, ...]: "whole numbers with commas between",
}


@dataclass(frozen=True)
class Option:
    """What is to be known of an option.

    Attributes:
        name: unique within its agent.
        default: of the part that holds it.
        description: what it does.
        kind: its declared type.
        bounds: of ``BOUNDS``, with the limit.
        estimate: whether it changes the estimate, and not training alone.
        part_of: the option, and its value, that this one exists with; None: always.
        needs: what it changes nothing without.
    """

    name: str
    default: Any
    description: str
    kind: Any
    bounds: Mapping[str, float]
    estimate: bool = False
    part_of: tuple[str, str] | None = None
    needs: tuple[Need, ...] = ()

    @property
    def choices(self) -> tuple[str, ...] | None:
        """The values of a ``Literal``, else None."""
        return get_args(self.kind) if get_origin(self.kind) is Literal else None

    def check(self, value: Any) -> None:
        """Raise a ``UsageError`` unless the value is of the declared kind and in range."""
        expected = f"Expected `{self.name}`"
        if self.choices is not None:
            if not isinstance(value, str) or value not in self.choices:
                got = shown(value)
                near = difflib.get_close_matches(got.strip("'"), self.choices, n=1)
                hint = f" Did you mean {near[0]}?" if near else ""
                raise UsageError(f"{expected} among {', '.join(self.choices)}; got {got}.{hint}")
            return
        if self.kind == tuple[int, ...]:
            if not isinstance(value, tuple) or not all(is_whole(n) and n > 0 for n in value):
                raise UsageError(f"{expected} to be positive whole numbers, got {shown(value)}.")
            if value and max(value) > LARGEST_WHOLE:
                raise UsageError(f"{expected} of at most {LARGEST_WHOLE:,}, got {shown(value)}.")
        elif self.kind in (int, float) or (self.kind == int | None and value is not None):
            self._check_number(value)
        elif self.kind is bool and not isinstance(value, bool):
            raise UsageError(f"{expected} to be true or false, got {shown(value)}.")
        elif self.kind == str | None and not (value is None or isinstance(value, str)):
            raise UsageError(f"{expected} to be text, got {shown(value)}.")
        elif value == "":
            raise UsageError(f"{expected} to be text, got an empty one. Leave it out for none.")

    def _check_number(self, value: Any) -> None:
        expected = f"Expected `{self.name}`"
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise UsageError(f"{expected} to be a number, got {shown(value)}.")
        if self.kind is not float and not is_whole(value):
            raise UsageError(f"{expected} to be a whole number, got {shown(value)}.")
        inside = {
            "minimum": lambda bound: value >= bound,
            "above": lambda bound: value > bound,
            "maximum": lambda bound: value <= bound,
            "below": lambda bound: value < bound,
        }
        if not all(inside[k](b) for k, b in self.bounds.items()) or value != value:  # NaN
            raise UsageError(f"{expected} {self.range_in_words()}, got {number_in_words(value)}.")
        self._check_limits(value)

    def _check_limits(self, value: float) -> None:
        """Raise a ``UsageError`` for what is in range, but not to be computed with."""
        expected, got = f"Expected `{self.name}`", f"got {number_in_words(value)}"
        if self.kind is not float:
            most: float = self.bounds.get("maximum", LARGEST_WHOLE)
            if abs(value) > most:
                raise UsageError(f"{expected} of at most {number_in_words(most)}, {got}.")
        elif not (value == 0 or SMALLEST <= abs(value) <= LARGEST):
            most = self.bounds.get("maximum", self.bounds.get("below", LARGEST))
            zero = "" if "above" in self.bounds else ", or 0"
            raise UsageError(
                f"{expected} between {SMALLEST:g} and {most:g}{zero}, {got}: beyond that, float32 "
                "changes nothing or overflows."
            )

    def plain(self, value: Any) -> Any:
        """A value as configurations hold it, from what Python and its libraries call the same.

        Scalars of NumPy and torch become Python's, lists tuples, paths text, and whole numbers of
        an option that is a fraction fractions. Whether it is a value of the option is for
        ``check``.
        """
        value = plain(value)
        if self.kind == tuple[int, ...]:
            value = value.tolist() if hasattr(value, "tolist") else value
            return tuple(map(plain, value)) if isinstance(value, (list, tuple)) else value
        if self.kind is float and is_whole(value) and abs(value) <= LARGEST:
            return float(value)
        return str(value) if self.kind == str | None and isinstance(value, Path) else value

    def parse(self, text: str) -> Any:
        """The value that a user writes as this text; whether it is in range is for ``check``.

        Raises:
            UsageError: if it is no value of the option's kind.
        """
        if self.choices is not None:
            self.check(text)
            return text
        if self.kind == str | None:
            return None if text.lower() == "none" else text
        try:
            if self.kind == tuple[int, ...]:
                return tuple(int(width) for width in text.split(","))
            if self.kind == int | None:
                return None if text.lower() == "none" else int(text)
            return WORDS[text.lower()] if self.kind is bool else self.kind(text)
        except (ValueError, KeyError) as error:
            raise UsageError(
                f"Expected `{self.name}` to be {KINDS[self.kind]}, got {shown(text)}."
            ) from error

    def range_in_words(self) -> str:
        """As in "between 0 and 1"."""
        if {"minimum", "maximum"} <= self.bounds.keys():
            low, high = self.bounds["minimum"], self.bounds["maximum"]
            return f"between {number_in_words(low)} and {number_in_words(high)}"
        texts = [BOUNDS[k].format(number_in_words(bound)) for k, bound in self.bounds.items()]
        return " and ".join(texts) or "to be a finite number"


def checked(name: str, value: Any, kind: Any = int, **bounds: float) -> Any:
    """An argument that is no option of a part, as ``option`` would have it.

    Args:
        name: of the argument.
        value: what was given for it.
        kind: its type.
        bounds: of ``BOUNDS``.

    Raises:
        UsageError: if it is of another kind, or out of range.
    """
    known = Option(name, None, "", kind, bounds)
    value = known.plain(value)
    known.check(value)
    return value


def several(name: str, values: Any, most: int = MOST_SEEDS) -> list[Any]:
    """The items of a list, or of whatever else yields some; no more than these are asked for.

    Raises:
        UsageError: for what is none, or has too many.
    """
    is_one = isinstance(values, (str, bytes, Path)) or not isinstance(values, Iterable)
    if is_one or getattr(values, "shape", None) == ():
        raise UsageError(f"Expected a list of `{name}`, got {shown(values)}.")
    items = list(itertools.islice(values, most + 1))
    if len(items) > most:
        raise UsageError(f"Expected at most {most:,} `{name}`, got more.")
    return items


def checked_path(name: str, value: Any) -> Path:
    """A path that may or may not be there.

    Raises:
        UsageError: for what can be none.
    """
    if not isinstance(value, (str, Path)) or value == "" or "\0" in str(value):
        raise UsageError(f"Expected `{name}` to be a path, got {shown(value)}.")
    path = Path(value)
    longest = max((len(os.fsencode(part)) for part in path.parts), default=0)
    if longest > LONGEST_NAME or len(os.fsencode(path)) > LONGEST_PATH:
        raise UsageError(
            f"Expected `{name}` to be a path of at most {LONGEST_PATH:,} bytes, each name in it of "
            f"at most {LONGEST_NAME}; got {shown(str(value))}."
        )
    return path
