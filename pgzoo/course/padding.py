"""Rows of different lengths: random masks, padding that holds anything, what counts of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from pgzoo.course.expect import of_shape


def mask_of(lengths: Tensor | list[Any]) -> Tensor:
    """Real steps ``[..., N, T]`` of rows of these lengths ``[..., N]``."""
    count = torch.as_tensor(lengths)
    return torch.arange(int(count.max())) < count.unsqueeze(-1)


def ragged(g: Generator, *shape: int, steps: int) -> Tensor:
    """A mask ``[*shape, T]`` of rows of one step to T; the first row of each replica is full."""
    lengths = torch.randint(1, steps, shape, generator=g)
    lengths[..., 0] = steps
    return mask_of(lengths)


def with_padding(x: Tensor, mask: Tensor, filler: float = torch.nan) -> Tensor:
    """The same with a filler where the mask is false; ``x`` may have further axes."""
    return torch.where(mask.view(*mask.shape, *[1] * (x.ndim - mask.ndim)), x, filler)


def on_real_steps(value: Any, mask: Tensor) -> Tensor:
    """A result of the mask's shape, with zero where the mask is false.

    Raises:
        Wrong: for another shape.
    """
    return torch.where(mask, of_shape(value, mask.shape), 0)


def real_steps_of(position: int) -> Callable[..., Tensor]:
    """What is to be observed of an answer whose argument there is the mask."""

    def observe(answer: Callable[..., Any], *args: Any) -> Tensor:
        return on_real_steps(answer(*args), args[position])

    return observe
