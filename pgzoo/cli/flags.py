"""Options as a command line writes them."""

from __future__ import annotations

import re

MENTION = re.compile(r"`([a-z][a-z_]*)(?:=([^`]*))?`")


def flag(name: str) -> str:
    """``group_size`` as ``--group-size``."""
    return "--" + name.replace("_", "-")


def with_flags(text: str) -> str:
    """A message that names options in backticks, with flags in their place.

    `group_size` becomes --group-size, `episodes=16` becomes --episodes 16, and `standardize=no`
    becomes --no-standardize.
    """

    def written(match: re.Match[str]) -> str:
        name, value = match.groups()
        if value in ("yes", "no"):
            return flag(name) if value == "yes" else flag(f"no_{name}")
        return flag(name) if value is None else f"{flag(name)} {value}"

    return MENTION.sub(written, text)
