"""What Ψ is made of: how it changes with every reward, action, state and length of one batch.

Each change has a replica of its own, so that all of them are one call. A mistake in Ψ is read off
from here; whether there is one, ``gradient_test`` decides.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pgzoo.lab.check.probes import ROUNDING, difference, matters, psi_of
from pgzoo.lab.check.problems import CheckProblem, Psi
from pgzoo.sampling.trajectories import Trajectories

SMALL, LARGE = 0.02, 50.0
"""Changes of a reward: for slopes, and to see whether anything depends on it at all."""


@dataclass(frozen=True, eq=False)
class Portrait:
    """Ψ on a batch of N rows, with random rewards, and its changes.

    Attributes:
        trajectories: the batch, one replica.
        psi: Ψ ``[N, T]``.
        slopes: ∂Ψ_{i,t} / ∂r_{j,u}, ``[N, T, N, T]``.
        jumps: change of Ψ_{i,t} if r_{j,u} is higher by ``LARGE``, ``[N, T, N, T]``.
        falls: … lower by ``LARGE``.
        tripled: Ψ of three times the rewards, ``[N, T]``.
        ninefold: Ψ of nine times the rewards, ``[N, T]``.
        action: change of Ψ_{i,t} with the action at (j, u), rewards as they were, ``[N, T, N, T]``.
        state: … with the state before the action at (j, u).
        log_prob: … with the log-probability there.
        without_last: change of Ψ_{i,t} without the row's last step, of no reward, ``[N, T]``.
    """

    trajectories: Trajectories
    psi: Tensor
    slopes: Tensor
    jumps: Tensor
    falls: Tensor
    tripled: Tensor
    ninefold: Tensor
    action: Tensor
    state: Tensor
    log_prob: Tensor
    without_last: Tensor

    @property
    def group_size(self) -> int:
        """K."""
        return self.trajectories.group_size

    @cached_property
    def mask(self) -> Tensor:
        """Real steps ``[N, T]``."""
        return self.trajectories.mask[0]

    @property
    def lengths(self) -> Tensor:
        """ℓ of every row ``[N]``."""
        return self.mask.sum(-1)

    @cached_property
    def is_linear(self) -> bool:
        """In rewards, whatever is added to them."""
        far = torch.stack([self.jumps, -self.falls]) / LARGE
        return not (far - self.slopes).abs().max() > ROUNDING * self.slopes.abs().max()

    @cached_property
    def is_homogeneous(self) -> bool:
        """Whether Ψ is in the same units as rewards."""
        return not matters(difference(3 * self.psi, self.tripled))

    @cached_property
    def own(self) -> Tensor:
        """Slopes of Ψ_{i,t} with the row's own rewards r_{i,u}: ``[N, T, T]``."""
        return self.of_own_row(self.slopes)

    @staticmethod
    def of_own_row(effects: Tensor) -> Tensor:
        """``[N, T, N, T]`` → ``[N, T, T]``."""
        return effects.diagonal(dim1=0, dim2=2).permute(2, 0, 1)

    def depends_on(self, effects: Tensor, where: Tensor) -> bool:
        """Whether effects ``[N, T, N, T]`` are there, where ``[N, T, N, T]`` is true."""
        size = self.psi.pow(2).mean().sqrt().clamp(min=1e-6)
        return matters(float((effects * where).abs().max() / size))

    @cached_property
    def relation(self) -> dict[str, Tensor]:
        """Where (j, u) is, seen from (i, t): bool ``[N, T, N, T]`` each.

        own_past, own_now, own_future: in the same row; group: another row of the group; elsewhere:
        in another group.
        """
        rows, steps = self.mask.shape
        i, t = torch.arange(rows).view(-1, 1, 1, 1), torch.arange(steps).view(1, -1, 1, 1)
        j, u = torch.arange(rows).view(1, 1, -1, 1), torch.arange(steps).view(1, 1, 1, -1)
        same, near = i == j, i // self.group_size == j // self.group_size
        real = self.mask[:, :, None, None] & self.mask
        found = {
            "own_past": same & (u < t),
            "own_now": same & (u == t),
            "own_future": same & (u > t),
            "group": near & ~same,
            "elsewhere": ~near,
        }
        return {name: where & real for name, where in found.items()}

    def rewards_count(self, *where: str) -> bool:
        """Whether Ψ depends on rewards that stand in one of these relations to it."""
        return any(
            self.depends_on(change, self.relation[w])
            for w in where
            for change in (self.jumps, self.falls)
        )


def portrait(psi: Psi, problem: CheckProblem, seed: int = 0) -> Portrait:
    """Draw one.

    Args:
        psi: from trajectories to Ψ.
        problem: its ragged trajectories are the sitter; rewards are random numbers instead.
        seed: of both.
    """
    generator = torch.Generator().manual_seed(seed)
    t = problem.draw(1, seed)
    rows, steps = t.mask.shape[1:]
    noise = (0.5 + torch.randn(t.mask.shape, generator=generator)) * t.mask
    t = dataclasses.replace(t, reward=noise)
    one_each = torch.eye(rows * steps).view(-1, rows, steps) * t.mask
    lengths = t.mask[0].sum(-1)
    last = one_each.view(rows, steps, rows, steps)[torch.arange(rows), lengths - 1]
    last = last * (lengths > 1).view(-1, 1, 1)
    unpaid = noise * (1 - last)
    variants = [
        _with(t, reward=noise),
        _with(t, reward=noise + SMALL * one_each),
        _with(t, reward=noise + LARGE * one_each),
        _with(t, reward=noise - LARGE * one_each),
        _with(t, reward=3 * noise),
        _with(t, reward=9 * noise),
        _with(t, action=(t.action + one_each.long()) % problem.mdp.num_actions),
        _other_state(t, one_each.long(), problem.mdp.num_states),
        _with(t, log_prob=t.log_prob - one_each),
        _with(t, reward=unpaid),
        _without(_with(t, reward=unpaid), last.bool()),
    ]
    together = _joined(variants)
    found = psi_of(psi, together).split([len(v.mask) for v in variants])
    base, small, high, low, tripled, ninefold, action, state, log_prob, paid, cut = found

    def effects(changed: Tensor) -> Tensor:
        return (changed - base).permute(1, 2, 0).unflatten(-1, (rows, steps)) * t.mask[0][
            ..., None, None
        ]

    return Portrait(
        t,
        base[0],
        effects(small) / SMALL,
        effects(high),
        effects(low),
        tripled[0],
        ninefold[0],
        effects(action),
        effects(state),
        effects(log_prob),
        ((cut - paid) * ~last.bool()).diagonal().T,
    )


def _with(t: Trajectories, **columns: Tensor) -> Trajectories:
    """As many replicas as the new columns have, otherwise the same."""
    count = max(len(c) for c in columns.values())
    all_columns: dict[str, Any] = {
        name: x.expand(count, *x.shape[1:]) for name, x in vars(t).items() if isinstance(x, Tensor)
    }
    streams = t.streams and t.streams.of([0] * count)
    return Trajectories(**(all_columns | columns), group_size=t.group_size, streams=streams)


def _other_state(t: Trajectories, where: Tensor, states: int) -> Trajectories:
    """Another state before the action, ``where`` is one; the observation after the step before."""
    before = torch.nn.functional.pad(where[:, :, 1:], (0, 1))
    return _with(t, obs=(t.obs + where) % states, next_obs=(t.next_obs + before) % states)


def _without(t: Trajectories, last: Tensor) -> Trajectories:
    """Without these last steps ``[N, N, T]``: the time limit was a step earlier."""
    before = torch.nn.functional.pad(last[:, :, 1:], (0, 1))
    return dataclasses.replace(
        t,
        mask=t.mask & ~last,
        terminated=t.terminated & ~last,
        truncated=(t.truncated & ~last) | before,
    )


def _joined(parts: list[Trajectories]) -> Trajectories:
    """All replicas of all of them."""
    columns: dict[str, Any] = {
        name: torch.cat([getattr(p, name) for p in parts])
        for name, value in vars(parts[0]).items()
        if isinstance(value, Tensor)
    }
    known = parts[0].streams
    seeds = [s for p in parts if p.streams is not None for s in p.streams.seeds]
    streams = known and dataclasses.replace(known, seeds=seeds)
    return Trajectories(**columns, group_size=parts[0].group_size, streams=streams)
