"""What is read from the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from pgzoo.errors import UsageError
from pgzoo.options import LARGEST_SEED, MOST_SEEDS, checked_path, shown

POLICIES = {
    "mlp": "tanh network with the widths of --hidden",
    "linear": "one matrix from observation to action preferences",
    "tabular": "a table over states; over bins of CartPole's and LunarLander's observations",
}


def parse_seeds(text: str, option: str = "--seeds") -> tuple[int, ...]:
    """Seeds as in ``0-9`` or ``0,3,5-7``.

    Args:
        text: what the user gave.
        option: for what, as errors call it.

    Raises:
        UsageError: for anything malformed, empty, negative or repeated.
    """
    seeds: dict[int, None] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if match is None:
            raise UsageError(
                f"Expected {option} as non-negative whole numbers and ranges, such as 0-9 or "
                f"0,3,5-7; got {shown(text)}."
            )
        ends = [end for end in match.groups() if end is not None]
        if max(map(len, ends)) > len(str(LARGEST_SEED)) or max(map(int, ends)) > LARGEST_SEED:
            raise UsageError(
                f"Expected numbers of at most {LARGEST_SEED:,} for {option}, got "
                f"{shown(part.strip())}."
            )
        first, last = int(ends[0]), int(ends[-1])
        if last < first:
            raise UsageError(f"Expected {option} ranges to rise, got {shown(part.strip())}.")
        if last - first >= MOST_SEEDS:
            raise UsageError(
                f"Expected at most {MOST_SEEDS:,} numbers for {option}, got {shown(part.strip())}."
            )
        further = range(first, last + 1)
        repeated = next((s for s in further if s in seeds), None)
        if repeated is not None:
            raise UsageError(
                f"Expected {option} without repetition, got {repeated} more than once."
            )
        seeds |= dict.fromkeys(further)
        if len(seeds) > MOST_SEEDS:
            raise UsageError(
                f"Expected at most {MOST_SEEDS:,} numbers for {option}, got {shown(text)}."
            )
    return tuple(seeds)


class Place(click.ParamType):
    """A path, there or not."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """A path, unless it can be none."""
        name = param.name if isinstance(param, click.Option) else None
        return checked_path(name or (param.human_readable_name if param else "path"), value)


PLACE = Place()


class Numbers(click.ParamType):
    """Whole numbers between commas.

    Args:
        name: what they are, in the plural.
        example: some of them.
    """

    def __init__(self, name: str, example: str) -> None:
        self.name, self._example = name, example

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Numbers between commas."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(n) for n in value.split(","))
        except ValueError:
            given = shown(value)
            self.fail(f"expected {self.name} such as {self._example}; got {given}.", param, ctx)


WIDTHS = Numbers("widths", "64,64")
"""Widths of hidden layers."""
