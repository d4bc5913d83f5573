"""What every estimator asks of its arguments: shapes, kinds and ranges, never contents.

Padding may hold anything, so that no value of a tensor is looked at.
"""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor

from pgzoo.errors import UsageError

FLAGS = ("mask", "terminated", "truncated")


def check_tensors(axes: str, /, **tensors: Tensor) -> None:
    """Tensors of one shape: flags true or false, everything else floating-point numbers.

    Args:
        axes: as in ``[..., N, T]``: the dots stand for any number of axes.
        **tensors: by name; the first one's shape is the others'.

    Raises:
        UsageError: for the first of them that is something else.
    """
    shape = None
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise UsageError(f"Expected {name} to be a tensor, got {type(tensor).__name__}.")
        if shape is None:
            shape = tensor.shape
            if len(shape) < axes.count(","):
                raise UsageError(
                    f"Expected {name} {axes}, got {list(shape)}. A leading axis of one is added by "
                    f"{name}[None]."
                )
        elif tensor.shape != shape:
            first = next(iter(tensors))
            raise UsageError(
                f"Expected {name} {axes} of {first}'s shape {list(shape)}, got "
                f"{list(tensor.shape)}."
            )
        if name in FLAGS:
            if tensor.dtype != torch.bool:
                raise UsageError(
                    f"Expected {name} to be true or false, got {tensor.dtype}. Try {name}.bool()."
                )
        elif not tensor.is_floating_point():
            raise UsageError(
                f"Expected {name} to be of floating-point numbers, got {tensor.dtype}. Try "
                f"{name}.float()."
            )


def check_fractions(**numbers: float) -> None:
    """Raise a ``UsageError`` unless all are in [0, 1]."""
    for name, number in numbers.items():
        if not 0 <= number <= 1:
            raise UsageError(f"Expected {name} in [0, 1], got {number}.")


def check_not_negative(**numbers: float) -> None:
    """Raise a ``UsageError`` unless all are finite and at least 0."""
    for name, number in numbers.items():
        if not 0 <= number < inf:
            raise UsageError(f"Expected {name} of at least 0, got {number}.")


def check_clip(clip: float) -> None:
    """Raise a ``UsageError`` unless ε of a clipped ratio is in (0, 1)."""
    if not 0 < clip < 1:
        raise UsageError(f"Expected clip in (0, 1), got {clip}.")


def check_groups(num_rows: int, group_size: int, least: int = 1) -> None:
    """Raise a ``UsageError`` unless groups of that size, at least ``least``, fill the rows."""
    if group_size < least:
        raise UsageError(f"Expected a group size of at least {least}, got {group_size}.")
    if num_rows % group_size:
        raise UsageError(
            f"Expected a number of trajectories that a group size of {group_size} divides, got "
            f"{num_rows}."
        )
