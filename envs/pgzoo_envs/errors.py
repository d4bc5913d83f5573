"""Errors that a user can put right."""

from __future__ import annotations

import traceback


class EnvError(ValueError):
    """An environment that does not exist, cannot be made, fails, or cannot be used here."""


def failed(doing: str, error: BaseException) -> EnvError:
    """The error for an environment that has raised one, with its own traceback in the message.

    Args:
        doing: of which environment, and what it was doing.
        error: as caught where the environment was called.
    """
    trace = error.__traceback__
    own = None if trace is None else trace.tb_next
    lines = traceback.format_exception(type(error), error, own)
    return EnvError(f"{doing} raised an exception:\n{''.join(lines).rstrip()}")
