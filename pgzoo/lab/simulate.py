"""Episodes of a finite Markov decision process, and the gradient estimates they give.

What a laboratory for one table needs: many independent batches at once, without environments,
and ∇log π of a softmax table in closed form,

    ∂ log π(a|s) / ∂θ(s, b) = 1(a = b) − π(b|s).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from pgzoo.errors import UsageError
from pgzoo.lab.exact import FiniteMDP
from pgzoo.sampling.seeding import Streams
from pgzoo.sampling.trajectories import Trajectories


def simulate(
    mdp: FiniteMDP,
    pi: Tensor | ArrayLike,
    *,
    horizon: int,
    batches: int,
    episodes: int,
    group_size: int = 1,
    seed: int,
) -> Trajectories:
    """Independent batches of complete episodes, one for each replica.

    Observations are the states' numbers. Padding is zero.

    Args:
        mdp: where.
        pi: the policy that acts, π(a|s) ``[n, A]``, or one for each batch, ``[S, n, A]``.
        horizon: steps H after which an episode is truncated.
        batches: S.
        episodes: N of each batch.
        group_size: K episodes each from the same start; they are adjacent.
        seed: of all random numbers.

    Returns:
        trajectories ``[S, N, H]``.

    Raises:
        UsageError: for a policy that isn't one of this MDP, or groups that don't fill a batch.
    """
    policy = _checked_policy(mdp, pi, batches)
    if episodes % group_size:
        raise UsageError(
            f"Expected groups of `group_size={group_size}` to fill `episodes={episodes}`. Choose "
            "a group size that divides them."
        )
    rng = np.random.default_rng(seed)
    of_batch = np.broadcast_to(np.arange(batches)[:, None] % len(policy), (batches, episodes))
    starts = rng.choice(mdp.num_states, (batches, episodes // group_size), p=mdp.start)
    state = np.repeat(starts, group_size, axis=1)
    alive = np.ones(state.shape, dtype=bool)
    outcome_bounds, action_bounds = mdp.outcomes.cumsum(-1), policy.cumsum(-1)
    steps = []
    for t in range(horizon):
        action = _draw(action_bounds[of_batch, state], rng)
        ended, following = np.divmod(_draw(outcome_bounds[state, action], rng), mdp.num_states)
        terminated = alive & (ended == 1)
        truncated = alive & ~terminated & (t == horizon - 1)
        reward = mdp.reward[state, action]
        log_prob = np.log(policy[of_batch, state, action])
        real = [x * alive for x in (state, following, action, reward)]
        steps.append((*real, terminated, truncated, alive, log_prob * alive))
        alive, state = alive & ~terminated, following
    tensors = dataclasses.fields(Trajectories)[: len(steps[0])]
    names = [f.name for f in tensors]
    stacked = (torch.from_numpy(np.stack(c, axis=-1)) for c in zip(*steps, strict=True))
    columns: dict[str, Any] = dict(zip(names, map(_as_collected, stacked), strict=True))
    streams = Streams([(seed, m) for m in range(batches)])
    return Trajectories(**columns, group_size=group_size, streams=streams)


def score_gradients(trajectories: Trajectories, psi: Tensor, pi: Tensor | ArrayLike) -> Tensor:
    """One gradient estimate of each batch, 1/N Σ_i Σ_t Ψ_{i,t} ∇log π(a_{i,t} | s_{i,t}).

    Args:
        trajectories: ``[S, N, T]``, with the states' numbers as observations.
        psi: Ψ ``[S, N, T]``, with any weights c_t in it, or several, ``[..., S, N, T]``; what is in
            the padding does not count.
        pi: π(a|s) ``[n, A]`` of the softmax table that acted, or ``[S, n, A]``.

    Returns:
        with respect to the table θ: ``[..., S, n, A]``, float64.
    """
    policy = torch.as_tensor(pi, dtype=torch.float64)
    num_states, num_actions = policy.shape[-2:]
    real, several = trajectories.mask, psi.shape[:-3]
    count, episodes = real.shape[:2]
    batch = torch.arange(count).view(-1, 1, 1)
    place = (batch * num_states + trajectories.obs) * num_actions + trajectories.action
    weights = torch.where(real, psi, 0).double().reshape(-1, real.numel())
    taken = weights.new_zeros(len(weights), count * num_states * num_actions)
    taken.index_add_(1, torch.where(real, place, 0).flatten(), weights / episodes)
    taken = taken.view(*several, count, num_states, num_actions)
    total = taken @ policy.new_ones(num_actions)
    return taken - policy * total.unsqueeze(-1)


def _checked_policy(mdp: FiniteMDP, pi: Tensor | ArrayLike, batches: int) -> NDArray[np.float64]:
    """π as ``[1 or S, n, A]``."""
    policy = np.asarray(pi, dtype=float)
    policy = policy[None] if policy.ndim == 2 else policy
    shape = (mdp.num_states, mdp.num_actions)
    if policy.ndim != 3 or policy.shape[1:] != shape or len(policy) not in (1, batches):
        raise UsageError(
            f"Expected `pi` as π(a|s) {list(shape)} or {[batches, *shape]}, got shape "
            f"{list(np.shape(pi))}."
        )
    if (policy <= 0).any() or (abs(policy.sum(-1) - 1) > 1e-6).any():
        raise UsageError(
            "Expected `pi` to be a softmax: positive probabilities of actions that sum to 1 in "
            "every state."
        )
    return policy


def _draw(bounds: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """One index for each row of cumulative probabilities ``[..., k]``."""
    u = rng.random(bounds.shape[:-1])[..., None]
    drawn: NDArray[np.int64] = (u >= bounds[..., :-1]).sum(-1)
    return drawn


def _as_collected(x: Tensor) -> Tensor:
    """With the data type that environments' trajectories have."""
    return x.float() if x.is_floating_point() else x
