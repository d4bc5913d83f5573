"""Values of options: as users write them, as messages show them, and how large they may be."""

from __future__ import annotations

from typing import Any

LONGEST = 80
"""Characters of what was given, in a message."""
LONGEST_NAME, LONGEST_PATH = 255, 4_095
"""Bytes that file systems have room for."""
MOST_SEEDS, LARGEST_SEED = 10_000, 2**63 - 1
LARGEST_WHOLE = 2**31 - 1
"""Of whole numbers whose option states no other limit: what counts and indices are computed in."""
SMALLEST, LARGEST = 1e-9, 1e9
"""Of numbers that are computed with, but for 0. A weight of 0.01, as policies start with, does not
notice less in float32; and what is much more has no finite square there once it met a gradient."""


def written(value: Any) -> str:
    """An option's value as a user writes it, the inverse of ``Option.parse``."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if value is None:
        return "none"
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return str(value)


def plain(value: Any) -> Any:
    """A Python scalar, if the value is one of NumPy's or torch's; else the value."""
    return value.item() if getattr(value, "shape", None) == () else value


def shown(value: Any) -> str:
    """Anything that a user gave, in few characters, for messages."""
    try:
        text = repr(value)
    except Exception:  # a whole number of more digits than Python writes, or a stranger's object
        text = f"one of {type(value).__name__} that cannot be written"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 20]}… ({len(text):,} characters)"


def number_in_words(value: float) -> str:
    """A number in a message, whatever its size."""
    if isinstance(value, float):
        return f"{value:g}"
    return f"{value:,}" if abs(value) <= 10**18 else shown(value)


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number, which a truth value is not."""
    return isinstance(value, int) and not isinstance(value, bool)
