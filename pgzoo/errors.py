"""Errors that a user can put right."""


class UsageError(ValueError):
    """Wrong input: the message says what was expected, what was given, and what to do.

    The command line prints it without a traceback and exits with status 2.
    """
