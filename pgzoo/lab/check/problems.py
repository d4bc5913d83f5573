"""Small MDPs on which the expectation of every Ψ that is linear in rewards is known exactly.

What a reward r_u adds to the gradient at step t, as a table over states and actions, is

    C[t, u](s, a) = E[1(s_t = s) (1(a_t = a) − π(a|s)) r_u]
                  = P(s_t = s) π(a|s) (q_{u−t}(s, a) − Σ_b π(b|s) q_{u−t}(s, b)),

where q_l(s, a) is the mean reward l steps after action a in state s. It is zero for u < t. So
Ψ_t = Σ_u w[t, u] r_u gives, at step t, an estimate with the mean Σ_u w[t, u] C[t, u].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from pgzoo.errors import UsageError
from pgzoo.lab.exact import FiniteMDP
from pgzoo.lab.mdps import contexts, corridor, fork, garnet
from pgzoo.lab.simulate import score_gradients, simulate
from pgzoo.sampling import memory
from pgzoo.sampling.trajectories import Trajectories

FEWEST_BATCHES = 100
"""That are drawn at once, however large they are."""
NUMBERS_PER_EPISODE = 400
"""In memory for an episode here: weights of some twenty control variates at each step."""
Psi = Callable[[Trajectories], Tensor]
"""From trajectories to Ψ ``[S, N, T]``. All that is asked of it is to be called."""


@dataclass(frozen=True, eq=False)
class CheckProblem:
    """A frozen softmax table on a small MDP, and what a batch is made of.

    The parameters are those of a table over steps *and* states, θ[t, s, a]: whoever estimates
    the gradient of every MDP without bias does so here, and mistakes show at their step.

    Attributes:
        name: short.
        mdp: where.
        pi: π(a|s) ``[n, A]``, float64.
        horizon: time limit T.
        episodes: N of a batch.
        group_size: K.
    """

    name: str
    mdp: FiniteMDP
    pi: Tensor
    horizon: int
    episodes: int
    group_size: int

    def draw(self, batches: int, seed: int) -> Trajectories:
        """Independent batches, one for each replica: trajectories ``[S, N, T]``."""
        return simulate(
            self.mdp,
            self.pi,
            horizon=self.horizon,
            batches=batches,
            episodes=self.episodes,
            group_size=self.group_size,
            seed=seed,
        )

    def estimates(self, trajectories: Trajectories, psi: Tensor) -> Tensor:
        """Gradient estimates of all batches, step by step, float64.

        Args:
            trajectories: ``[S, N, T]``.
            psi: Ψ ``[S, N, T]``, or several, ``[..., S, N, T]``.

        Returns:
            ``[..., S, T, n, A]``.
        """
        states = self.mdp.num_states
        moments = states * torch.arange(self.horizon)
        by_step = dataclasses.replace(trajectories, obs=trajectories.obs + moments)
        found = score_gradients(by_step, psi, self.pi.repeat(self.horizon, 1))
        return found.unflatten(-2, (self.horizon, states))

    @cached_property
    def occupancy(self) -> Tensor:
        """P(s_t = s, the episode goes on), ``[T, n]``."""
        transition = torch.from_numpy(self.mdp.transition)
        there, steps = torch.from_numpy(self.mdp.start), []
        for _ in range(self.horizon):
            steps.append(there)
            there = torch.einsum("s,sa,sat->t", there, self.pi, transition)
        return torch.stack(steps)

    @cached_property
    def reward_after(self) -> Tensor:
        """q_l(s, a), the mean reward l steps after an action, ``[T, n, A]``."""
        transition = torch.from_numpy(self.mdp.transition)
        q, lags = torch.from_numpy(self.mdp.reward), []
        for _ in range(self.horizon):
            lags.append(q)
            q = transition @ (self.pi * q).sum(-1)
        return torch.stack(lags)

    @cached_property
    def credit(self) -> Tensor:
        """C ``[T, T, n, A]``."""
        q = self.reward_after
        advantage = q - (self.pi * q).sum(-1, keepdim=True)
        out = q.new_zeros(self.horizon, *q.shape)
        for t in range(self.horizon):
            there = self.occupancy[t].unsqueeze(-1) * self.pi
            out[t, t:] = there * advantage[: self.horizon - t]
        return out

    def gradient(self, weights: Tensor) -> Tensor:
        """Mean estimate ``[T, n, A]`` of Ψ_t = Σ_u w[t, u] r_u, with w ``[T, T]``."""
        return torch.einsum("tu,tusa->tsa", weights.double(), self.credit)


def from_the_start(horizon: int, gamma: float) -> Tensor:
    """w[t, u] = γ^u for u ≥ t: the gradient of J = E Σ_u γ^u r_u."""
    powers = gamma ** torch.arange(horizon, dtype=torch.float64)
    return powers.expand(horizon, -1).triu()


def from_each_step(horizon: int, gamma: float) -> Tensor:
    """w[t, u] = γ^(u − t) for u ≥ t: returns-to-go without c_t = γ^t."""
    steps = torch.arange(horizon, dtype=torch.float64)
    return (gamma ** (steps - steps.unsqueeze(-1)).clamp(min=0)).triu()


def check_problems(group_size: int = 8, episodes: int | None = None) -> tuple[CheckProblem, ...]:
    """Six that between them have what estimators stumble over.

    Ragged and equal lengths, ends by a terminal state and by a time limit, one start and several,
    returns of either sign, two and three actions, two and three groups in a batch.

    Args:
        group_size: K.
        episodes: N of a batch; by default two or three groups, or 8 and 12 single episodes.

    Raises:
        UsageError: for groups that don't fill a batch.
    """
    if group_size < 1:
        raise UsageError(f"Expected `group_size` of at least 1, got {group_size}.")
    if episodes is not None and (episodes % group_size or episodes < 2):
        raise UsageError(
            f"Expected groups of `group_size={group_size}` to fill `episodes={episodes}`, at least "
            "two episodes. Choose a group size that divides them."
        )
    memory.check_batch(FEWEST_BATCHES * (episodes or 3 * group_size), 1, NUMBERS_PER_EPISODE)
    few = 2 * group_size if group_size > 1 else 8
    more = 3 * group_size if group_size > 1 else 12
    cases = (
        ("garnet", garnet(11), 5, few),
        ("three actions", garnet(12, 4, 3), 4, more),
        ("corridor", corridor(4), 6, few),
        ("contexts", contexts((-1.0, 0.5, 2.0)), 1, more),
        ("fork", fork(2), 3, few),
        ("endless", _endless(13), 4, more),
    )
    return tuple(
        CheckProblem(name, mdp, _policy(mdp, i), horizon, episodes or n, group_size)
        for i, (name, mdp, horizon, n) in enumerate(cases)
    )


def _endless(seed: int) -> FiniteMDP:
    """Three states without an end: the time limit ends every episode."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(3), (3, 2))
    return FiniteMDP.from_arrays(p, rng.normal(-1.0, 1.0, (3, 2)), np.full(3, 1 / 3))


def _policy(mdp: FiniteMDP, seed: int) -> Tensor:
    """Neither uniform nor nearly certain."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.dirichlet(np.full(mdp.num_actions, 6.0), mdp.num_states))
