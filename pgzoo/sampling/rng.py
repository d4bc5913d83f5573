"""Random numbers for a function of all replicas: each row from its own replica's stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pgzoo.errors import UsageError
from pgzoo.sampling.seeding import Purpose, Streams


class Rng:
    """Draws for the S replicas of a batch; the first axis of what is drawn is theirs.

    Row s is a function of (replica's seed, iteration, number of the call) alone. The last axis is
    drawn outermost, so that a number ``[s, n, t]`` does not depend on how far steps are padded
    either. Equal batches give equal numbers: one is made anew for every call of a function. With
    fewer rows, all rows get other numbers; so diagnostics while training, which leave out rows,
    overestimate the variance of noise (some threefold with eight blocks), the laboratory does not.

    Args:
        streams: the replicas' seeds, and the iteration.
        device: where the numbers go.
    """

    def __init__(self, streams: Streams, device: torch.device | str = "cpu") -> None:
        self._streams, self._device, self._calls = streams, device, 0

    def rand(self, *shape: int | Sequence[int]) -> Tensor:
        """Uniform in [0, 1), ``[S, …]``, as ``torch.rand``: ``rng.rand(t.reward.shape)``."""
        return self._draw(shape, lambda g, size: g.random(size, np.float32))

    def randn(self, *shape: int | Sequence[int]) -> Tensor:
        """Standard normal, ``[S, …]``, as ``torch.randn``."""
        return self._draw(shape, lambda g, size: g.standard_normal(size, np.float32))

    def randint(self, high: int, *shape: int | Sequence[int]) -> Tensor:
        """Integers from 0 to ``high`` − 1, ``[S, …]``, as ``torch.randint``."""
        return self._draw(shape, lambda g, size: g.integers(high, size=size))

    def randperm(self, n: int) -> Tensor:
        """A permutation of 0 … n − 1 for each replica, ``[S, n]``, as ``torch.randperm``."""
        return self._draw((len(self._streams.seeds), n), lambda g, _: g.permutation(n))

    def _draw(
        self,
        shape: Sequence[int | Sequence[int]],
        draw: Callable[[np.random.Generator, tuple[int, ...]], Any],
    ) -> Tensor:
        wanted = _flat(shape)
        seeds, key = self._streams.seeds, (Purpose.PSI, self._streams.iteration, self._calls)
        if wanted[:1] != (len(seeds),):
            raise UsageError(
                f"Expected rng to be asked for a shape whose first axis is that of the "
                f"{len(seeds)} replicas, as in rng.rand(t.reward.shape); got {list(wanted)}."
            )
        self._calls += 1
        sequences = (np.random.SeedSequence(seed, spawn_key=key) for seed in seeds)
        size = wanted[:0:-1]
        drawn: NDArray = np.stack([draw(np.random.default_rng(s), size) for s in sequences])
        backwards = drawn.transpose(0, *range(drawn.ndim - 1, 0, -1))
        return torch.from_numpy(np.ascontiguousarray(backwards)).to(self._device)


def _flat(shape: Sequence[int | Sequence[int]]) -> tuple[int, ...]:
    """``(3, 4)`` and ``((3, 4),)`` alike, as torch takes them."""
    if len(shape) == 1 and isinstance(shape[0], Sequence):
        return tuple(shape[0])
    return tuple(int(n) for n in shape)  # type: ignore[arg-type]
