"""Agents as text: ``AGENT:OPTION=VALUE,…`` and ``FILE.py:FUNCTION:OPTION=VALUE,…``."""

from __future__ import annotations

import re

from pgzoo.errors import UsageError
from pgzoo.options import shown

BETWEEN_OPTIONS = re.compile(r",(?=\s*[A-Za-z][\w-]*=)")


def split_text(text: str) -> tuple[str, list[tuple[str, str]]]:
    """An agent's name, and its options with the text of their values, which may hold commas.

    Dashes in the names of options become underscores.

    Raises:
        UsageError: for an option without a value, or one that is there twice.
    """
    if not isinstance(text, str):
        raise UsageError(f"Expected an agent's name as text, got {shown(text)}.")
    if ".py:" in text:
        path, _, rest = text.partition(".py:")
        function, _, rest = rest.partition(":")
        name = f"{path}.py:{function}"
    else:
        name, _, rest = text.partition(":")
    options: list[tuple[str, str]] = []
    for part in BETWEEN_OPTIONS.split(rest) if rest else []:
        key, equals, value = part.partition("=")
        key = key.strip().replace("-", "_")
        if not equals:
            raise UsageError(
                f"Expected options as in {name}:OPTION=VALUE,…; got {part.strip()!r}. Say which "
                "value it has."
            )
        if key in dict(options):
            raise UsageError(f"Expected {name}:{key} once, got it more than once in {text!r}.")
        options.append((key, value.strip()))
    return name, options
