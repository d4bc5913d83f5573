"""What other options must be for one to change anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pgzoo.errors import UsageError
from pgzoo.options.values import written


@dataclass(frozen=True)
class Need:
    """What other options must be for one to change anything.

    Attributes:
        names: of the other options.
        words: what they must be, as messages say it.
        holds: whether their values, in that order, are such.
    """

    names: tuple[str, ...]
    words: str
    holds: Callable[..., bool]

    def check(self, name: str, values: Mapping[str, Any]) -> None:
        """Raise a ``UsageError`` if an option was given that changes nothing.

        Args:
            name: of that option.
            values: of the others; what is not known is not judged.
        """
        if not values.keys() >= set(self.names) or self.holds(*(values[n] for n in self.names)):
            return
        got = " and ".join(f"`{other}={written(values[other])}`" for other in self.names)
        raise UsageError(
            f"Expected {self.words} with `{name}`, got {got}: without it there is nothing that "
            f"`{name}` would change."
        )


def equal_to(name: str, value: str | bool) -> Need:
    """Another option must have one value."""
    return Need((name,), f"`{name}={written(value)}`", lambda v: bool(v == value))


def present(name: str) -> Need:
    """Another option must be anything but none."""
    return Need((name,), f"`{name}`", lambda v: v is not None)


def below(name: str, bound: float) -> Need:
    """Another option must be less."""
    return Need((name,), f"`{name}` below {bound:g}", lambda v: bool(v < bound))


def above_one(*names: str) -> Need:
    """One of other options must be more than 1."""
    words = f"{' or '.join(f'`{name}`' for name in names)} above 1"
    return Need(names, words, lambda *values: max(values) > 1)
