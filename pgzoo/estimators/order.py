"""Sums and powers that are the same to the last bit, however long the axis is padded.

A replica's result must not depend on its company, and how long its rows are padded does. Processors
add up many numbers in an order that depends on how many there are.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def sum_in_order(x: Tensor, axes: int = 1) -> Tensor:
    """Sum over the last axes, one after the other, so that zeros among them change nothing.

    Args:
        x: ``[..., A]``, or with two axes ``[..., A, B]``.
        axes: how many.

    Returns:
        ``[...]``.
    """
    flat = x.flatten(-axes)
    return flat.cumsum(-1)[..., -1] if flat.shape[-1] else flat.sum(-1)


@lru_cache(maxsize=64)
def powers(base: float, count: int) -> Tensor:
    """1, base, base², …: ``[count]``, float32."""
    return torch.tensor([base**t for t in range(count)], dtype=torch.float32)
