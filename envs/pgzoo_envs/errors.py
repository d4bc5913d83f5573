"""Errors that a user can put right."""


class EnvError(ValueError):
    """An environment that does not exist, cannot be made, or cannot be used here."""
