"""What properties expect of an answer's values, and what they say if it is not so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

RELATIVE, ABSOLUTE = 1e-4, 1e-6


class Wrong(Exception):  # noqa: N818  (an answer is wrong, the checker has no error)
    """A property does not hold; the text says what was expected and what came."""


class WrongKind(Wrong):
    """What came back is no number, or not of the shape that was asked for: no mistake's doing."""


def numbers(value: Any, what: str = "the result") -> Tensor:
    """A value as a tensor of float64.

    Raises:
        Wrong: for what is no number, tensor, array or list of numbers.
    """
    try:
        if isinstance(value, (list, tuple)):
            return torch.stack([numbers(x, what) for x in value])
        if isinstance(value, (Tensor, np.ndarray, np.number, int, float)):
            return torch.as_tensor(value).detach().double()
    except (TypeError, ValueError, RuntimeError):
        pass
    raise WrongKind(f"Expected {what} to be a tensor of numbers, got {type(value).__name__}.")


def of_shape(value: Any, shape: Sequence[int], what: str = "the result") -> Tensor:
    """A value as float64, of the shape that was asked for.

    Raises:
        Wrong: if it has another one.
    """
    found = numbers(value, what)
    if list(found.shape) != list(shape):
        raise WrongKind(f"Expected {what} of shape {list(shape)}, got {list(found.shape)}.")
    return found


def pair(value: Any, names: str) -> tuple[Any, Any]:
    """Two results, as a tuple, a list, or a tensor or array whose first axis holds the two.

    Raises:
        Wrong: for anything else; ``names`` says what was asked for.
    """
    if isinstance(value, (tuple, list, Tensor, np.ndarray)) and len(value) == 2:
        return value[0], value[1]
    raise Wrong(f"Expected two results, ({names}); got {type(value).__name__}.")


def same(value: Any, expected: Any, what: str = "the result") -> None:
    """Two values agree, to a ten-thousandth of the expected ones' size.

    Raises:
        Wrong: if they do not; the first place where they differ is named.
    """
    wanted = numbers(expected)
    found = of_shape(value, wanted.shape, what)
    differs = ~close(found, wanted)
    if bool(differs.any()):
        place = differs.nonzero()[0].tolist()
        at = f" at {place}" if place else ""
        raise Wrong(
            f"Expected {what}{at} to be {wanted[tuple(place)]:.5g}, got {found[tuple(place)]:.5g}."
        )


def agree(a: Any, b: Any) -> bool:
    """Whether two values are nested alike and have the same numbers."""
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
        return len(a) == len(b) and all(agree(x, y) for x, y in zip(a, b, strict=True))
    try:
        x, y = numbers(a), numbers(b)
    except Wrong:
        return type(a).__name__ == type(b).__name__  # no numbers, both times
    return x.shape == y.shape and bool(close(x, y).all())


def close(found: Tensor, wanted: Tensor) -> Tensor:
    """Entry by entry, whether numbers agree; NaN agrees with NaN."""
    finite = wanted[wanted.isfinite()]
    size = float(finite.abs().max()) if finite.numel() else 0.0
    return torch.isclose(found, wanted, RELATIVE, ABSOLUTE + RELATIVE * size, equal_nan=True)
