"""Is it a function of its own replica's real steps, and of nothing else?

Every probe calls an estimator a few times, on trajectories that differ in what must not count, and
returns how much that changes Ψ on real steps: the largest difference, relative to the root mean
square of Ψ. Zero but for rounding is right; ``matters`` says what is more than rounding.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from pgzoo.agents.custom import checked_psi
from pgzoo.agents.guard import seeded
from pgzoo.lab.check.problems import Psi
from pgzoo.sampling.trajectories import Trajectories

ROUNDING = 1e-3
EXTRA_STEPS = 2


def matters(difference: float) -> bool:
    """Whether it is more than rounding."""
    return not difference < ROUNDING


def psi_of(psi: Psi, t: Trajectories) -> Tensor:
    """Ψ ``[S, N, T]``, float64, zero in the padding; of a copy that may be written to.

    Raises:
        UsageError: for what is no Ψ.
    """
    copy = t.map(lambda x: x.clone(), t.group_size)
    return checked_psi("the estimator", psi(copy), t).double()


def difference(a: Tensor, b: Tensor) -> float:
    """Largest difference, relative to the root mean square of the first."""
    size = a.pow(2).mean().sqrt().clamp(min=1e-6)
    return float((a - b).abs().max() / size)


def earlier_calls(psi: Psi, t: Trajectories, other: Trajectories) -> float:
    """How much Ψ changes if other trajectories were seen in between.

    Global random numbers are the same in both calls, so that randomness is not taken for memory.
    """
    with seeded(0):
        first = psi_of(psi, t)
    psi_of(psi, other)
    with seeded(0):
        return difference(first, psi_of(psi, t))


def randomness(psi: Psi, t: Trajectories) -> float:
    """How much Ψ changes with the state of the global random numbers."""
    with seeded(1):
        first = psi_of(psi, t)
    with seeded(4):
        return difference(first, psi_of(psi, t))


def company(psi: Psi, t: Trajectories) -> float:
    """How much Ψ of the first and of the last replica changes if it is alone."""
    together = psi_of(psi, t)
    ends = (torch.tensor([0]), torch.tensor([len(t.mask) - 1]))
    return max(difference(together[e], psi_of(psi, t.replicas(e))) for e in ends)


def padding(psi: Psi, t: Trajectories, *, nan: bool = False) -> float:
    """How much Ψ changes with what is in the padding, and with how much of it there is.

    Args:
        psi: the estimator.
        t: ragged trajectories.
        nan: fill it with NaN where it is floating-point; else with large numbers.
    """
    steps = t.mask.shape[2]
    found = psi_of(psi, _garbage(_longer(t), nan=nan))[:, :, :steps]
    return difference(psi_of(psi, t), found)


def written_arguments(psi: Psi, t: Trajectories) -> tuple[str, ...]:
    """Names of the tensors that a call changes; for a function in this process.

    Padding is changed, too, if it is written to.
    """
    t = _garbage(t, nan=False)
    copy = t.map(lambda x: x.clone(), t.group_size)
    psi(copy)
    return tuple(
        name
        for name, column in vars(t).items()
        if isinstance(column, Tensor) and not torch.equal(column, getattr(copy, name))
    )


def order_of_rows(psi: Psi, t: Trajectories) -> float:
    """How much Ψ changes if groups, and the members of each, come in the reverse order."""
    backwards = t.map(lambda x: x.flip(1), t.group_size)
    return difference(psi_of(psi, t), psi_of(psi, backwards).flip(1))


def _longer(t: Trajectories) -> Trajectories:
    def pad(x: Tensor) -> Tensor:
        return torch.cat([x, torch.zeros_like(x[:, :, :1]).repeat(1, 1, EXTRA_STEPS)], dim=2)

    return t.map(pad, t.group_size)


def _garbage(t: Trajectories, *, nan: bool) -> Trajectories:
    """With anything where there is no transition; states and actions stay possible ones."""
    generator = torch.Generator().manual_seed(0)

    def spoil(x: Tensor) -> Tensor:
        if x.is_floating_point():
            noise = (
                torch.full_like(x, torch.nan)
                if nan
                else 100 * torch.randn(x.shape, generator=generator, dtype=x.dtype)
            )
        else:
            order = torch.randperm(x.numel(), generator=generator)
            noise = ~x if x.dtype == torch.bool else x.flatten()[order].view(x.shape)
        return torch.where(t.mask, x, noise)

    return dataclasses.replace(t.map(spoil, t.group_size), mask=t.mask)
