"""What is read from the command line."""

from __future__ import annotations

import re
from typing import Any

import click

from pgzoo.errors import UsageError

MOST_SEEDS = 10_000
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
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if match is None:
            raise UsageError(
                f"Expected {option} as non-negative whole numbers and ranges, such as 0-9 or "
                f"0,3,5-7; got {text!r}."
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UsageError(f"Expected {option} ranges to rise, got {part.strip()!r}.")
        if last - first >= MOST_SEEDS:
            raise UsageError(
                f"Expected at most {MOST_SEEDS:,} numbers for {option}, got {part.strip()!r}."
            )
        seeds += range(first, last + 1)
    repeated = sorted({s for s in seeds if seeds.count(s) > 1})
    if repeated:
        raise UsageError(f"Expected {option} without repetition, got {repeated[0]} more than once.")
    return tuple(seeds)


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
            self.fail(f"expected {self.name} such as {self._example}; got {value!r}.", param, ctx)


WIDTHS = Numbers("widths", "64,64")
"""Widths of hidden layers."""
