"""Errors that a user can put right."""


class EnvError(ValueError):
    """An environment that does not exist, cannot be made, or that pgzoo cannot use."""
