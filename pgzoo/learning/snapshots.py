"""Snapshots of the policies: each replica's as it is after 0, 10, … 100 percent of its own steps.

So a snapshot does not depend on who trains beside whom. Its file is written when all have come to
it; what the first have left there until then is part of the state between two iterations.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from pgzoo.learning.state import Replica, TrainState

PERCENT_APART = 10


def take_snapshots(
    before: TrainState | None, state: TrainState, budget: int
) -> tuple[TrainState, dict[int, Tensor]]:
    """Keep the policies of replicas that have come to a snapshot.

    Args:
        before: the state an iteration ago; None at the start of the run.
        state: now.
        budget: environment steps of each replica.

    Returns:
        the state with what is pending; and by percent the snapshots that are whole, ``[S, P]``.
    """
    theta = state.learners.policy.values
    now = [passed(r, budget) for r in state.replicas]
    then = [-1] * len(now) if before is None else [passed(r, budget) for r in before.replicas]
    pending = dict(state.pending)
    for percent in range(0, 101, PERCENT_APART):
        new = [i for i, (a, b) in enumerate(zip(then, now, strict=True)) if a < percent <= b]
        if new:
            rows = pending.get(percent, torch.zeros_like(theta))
            index = torch.tensor(new, device=theta.device)
            pending[percent] = rows.index_copy(0, index, theta[index])
    whole = {percent: pending.pop(percent) for percent in list(pending) if percent <= min(now)}
    return dataclasses.replace(state, pending=pending), whole


def passed(replica: Replica, budget: int) -> int:
    """Percent of its own training; who stops early has come to the end of it."""
    return 100 if replica.finished else 100 * replica.env_steps // budget
