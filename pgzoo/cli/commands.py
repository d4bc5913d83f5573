"""What the command line says in plain text, and the commands that it suggests."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from pgzoo.records.printable import printable

NO_COMMAND = "There is no command to copy: a name has characters that do not show. Rename it first."


def say(text: object, *, err: bool = False) -> None:
    """Print a text, whoever it is from, so that it shows and does nothing else."""
    click.echo(printable(str(text)), err=err)


def command(*words: str | Path) -> str | None:
    """A command to copy. Each word is one for the shell, whatever it holds.

    Args:
        words: of which a path is never taken for an option.

    Returns:
        None if there is a word that does not show as it is, or not on one line.
    """
    texts = [_path(word) if isinstance(word, Path) else word for word in words]
    return shlex.join(texts) if all(map(str.isprintable, texts)) else None


def _path(path: Path) -> str:
    text = str(path)
    return f"./{text}" if text.startswith("-") else text


def agent_words(name: str) -> list[str]:
    """An agent as an argument, which a name that begins like an option is not by itself."""
    return ["--", name] if name.startswith("-") else [name]
