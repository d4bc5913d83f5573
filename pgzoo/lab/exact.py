"""Exact return and exact policy gradient on finite Markov decision processes.

    J(θ) = E[Σ_{t<H} γ^t r_t],   V_h(s) = Σ_a π(a|s) (r(s,a) + γ Σ_s' p(s',on|s,a) V_{h+1}(s'))

backward from V_H = 0 over the true finite horizon H, differentiated by autograd, in float64. Where
an episode that the time limit cut off is worth what follows, V_H is what the policy would earn by
going on for ever, and is held fixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from pgzoo.errors import UsageError
from pgzoo.policies.networks import Network

TOLERANCE = 1e-9
NEUTRAL_WRAPPERS = (TimeLimit, OrderEnforcing, PassiveEnvChecker)
"""They leave observations, actions, rewards and transitions alone."""


@dataclass(frozen=True)
class FiniteMDP:
    """Finitely many states and actions, with all probabilities known.

    Attributes:
        transition: probability of going to s' *and the episode going on*, ``[n, A, n]``. What is
            missing to 1 is the probability that the episode ends.
        reward: expected reward of an action, ``[n, A]``.
        start: distribution of the first state, ``[n]``.
        ending: probability that the episode ends *with s' as its last observation*, ``[n, A, n]``.
            No return and no gradient depends on where; by default it ends where it was.

    Raises:
        ValueError: for shapes that do not match, or what is no distribution.
    """

    transition: NDArray[np.float64]
    reward: NDArray[np.float64]
    start: NDArray[np.float64]
    ending: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        n, num_actions = self.reward.shape
        if self.transition.shape != (n, num_actions, n) or self.start.shape != (n,):
            raise ValueError(
                f"Expected transition [n, A, n] and start [n] for reward {[n, num_actions]}, got "
                f"{list(self.transition.shape)} and {list(self.start.shape)}."
            )
        if not all(np.isfinite(x).all() for x in (self.transition, self.reward, self.start)):
            raise ValueError("Expected finite probabilities and rewards, got some that are not.")
        if (self.transition < 0).any() or (self.transition.sum(-1) > 1 + TOLERANCE).any():
            raise ValueError(
                "Expected transition[s, a] to be probabilities that sum to at most 1 (the rest is "
                f"the end of the episode), got a sum of {self.transition.sum(-1).max():g}."
            )
        if (self.start < 0).any() or abs(self.start.sum() - 1) > TOLERANCE:
            raise ValueError(
                f"Expected start to be a distribution, got a sum of {self.start.sum():g}."
            )
        if self.ending is not None:
            total = self.transition.sum(-1) + self.ending.sum(-1)
            if self.ending.shape != self.transition.shape or (self.ending < 0).any():
                raise ValueError("Expected ending [n, A, n] to be probabilities.")
            if (abs(total - 1) > TOLERANCE).any():
                raise ValueError(
                    "Expected transition[s, a] and ending[s, a] to sum to 1 together, got "
                    f"{total.min():g} … {total.max():g}."
                )

    @classmethod
    def from_arrays(
        cls,
        transition: ArrayLike,
        reward: ArrayLike,
        start: ArrayLike,
        terminal: ArrayLike = (),
    ) -> FiniteMDP:
        """From textbook arrays.

        Args:
            transition: p(s'|s, a), ``[n, A, n]``, each row summing to 1.
            reward: r(s, a) ``[n, A]``, or r(s, a, s') ``[n, A, n]``.
            start: ``[n]``.
            terminal: states in which the episode ends.
        """
        p, r = np.array(transition, dtype=float), np.asarray(reward, dtype=float)
        if (abs(p.sum(-1) - 1) > TOLERANCE).any():
            raise ValueError(
                "Expected every row of transition to sum to 1, got "
                f"{p.sum(-1).min():g} … {p.sum(-1).max():g}."
            )
        expected = (p * r).sum(-1) if r.ndim == 3 else r
        ends = np.asarray(terminal, dtype=int)
        ending = np.zeros_like(p)
        ending[:, :, ends] = p[:, :, ends]
        return cls(p - ending, expected, np.asarray(start, dtype=float), ending)

    @classmethod
    def from_env(cls, env: gym.Env) -> FiniteMDP:
        """From an environment that publishes its transition table, as FrozenLake does.

        Raises:
            UsageError: if it does not, or is wrapped in something that may change what the table
                says.
        """
        inner = env
        while isinstance(inner, gym.Wrapper):
            if not isinstance(inner, NEUTRAL_WRAPPERS):
                raise UsageError(
                    f"Expected an environment as its transition table says, got one wrapped in "
                    f"{type(inner).__name__}, which may change it."
                )
            inner = inner.env
        table: dict[int, dict[int, list[tuple[Any, ...]]]] | None
        table = getattr(env.unwrapped, "P", None)
        start = getattr(env.unwrapped, "initial_state_distrib", None)
        if table is None or start is None:
            name = env.spec.id if env.spec else type(env.unwrapped).__name__
            raise UsageError(
                f"Expected an environment with a transition table (attributes P and "
                f"initial_state_distrib), such as FrozenLake-v1; {name} has none."
            )
        n, num_actions = len(table), len(table[0])
        transition, reward = np.zeros((2, n, num_actions, n)), np.zeros((n, num_actions))
        for state, actions in table.items():
            for action, outcomes in actions.items():
                for probability, following, r, terminated in outcomes:
                    reward[state, action] += probability * r
                    transition[int(terminated), state, action, following] += probability
        going_on, ending = transition
        return cls(going_on, reward, np.asarray(start, dtype=float), ending)

    @property
    def num_states(self) -> int:
        """n."""
        return len(self.start)

    @property
    def num_actions(self) -> int:
        """A."""
        return self.reward.shape[1]

    @property
    def outcomes(self) -> NDArray[np.float64]:
        """What an action may lead to: going on in s', then ending in s'; ``[n, A, 2 n]``."""
        ending = self.ending
        if ending is None:
            rest = np.clip(1 - self.transition.sum(-1), 0, 1)
            ending = rest[:, :, None] * np.eye(self.num_states)[:, None]
        return np.concatenate([self.transition, ending], axis=-1)


def expected_return(
    mdp: FiniteMDP,
    network: Network,
    theta: Tensor,
    *,
    horizon: int,
    gamma: float = 1.0,
    value_at_limit: Tensor | None = None,
) -> Tensor:
    """J(θ) of S policies; differentiable in θ.

    Args:
        mdp: states are the network's observations 0 … n − 1.
        network: from states to action preferences.
        theta: ``[S, P]``; float64 for exact results.
        horizon: steps H after which the episode is cut off.
        gamma: discount factor in [0, 1].
        value_at_limit: what a state is worth in which the episode is cut off, ``[S, n]``; nothing,
            by default.

    Returns:
        ``[S]``.
    """
    pi, transition, reward, start = _tensors(mdp, network, theta)
    value = theta.new_zeros(len(theta), mdp.num_states)
    if value_at_limit is not None:
        value = value_at_limit
    flat = transition.flatten(0, 1).T
    for _ in range(horizon):
        following = (value @ flat).view(-1, *reward.shape)
        value = (pi * (reward + gamma * following)).sum(-1)
    return value @ start


def value_without_limit(mdp: FiniteMDP, network: Network, theta: Tensor, *, gamma: float) -> Tensor:
    """V(s) ``[S, n]`` if episodes went on for ever, with γ below 1; solved for, not iterated."""
    pi, transition, reward, _ = _tensors(mdp, network, theta)
    going_on = torch.einsum("ksa,sat->kst", pi, transition)
    earned = (pi * reward).sum(-1)
    identity = torch.eye(mdp.num_states, dtype=theta.dtype, device=theta.device)
    return torch.linalg.solve(identity - gamma * going_on, earned)


def _tensors(
    mdp: FiniteMDP, network: Network, theta: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """π(a|s) ``[S, n, A]``, and the MDP's transition, reward and start."""
    states = torch.arange(mdp.num_states, device=theta.device).expand(len(theta), -1)
    transition, reward, start = (
        torch.as_tensor(x, dtype=theta.dtype, device=theta.device)
        for x in (mdp.transition, mdp.reward, mdp.start)
    )
    return network.apply(theta, states).softmax(-1), transition, reward, start


def exact_gradient(
    mdp: FiniteMDP,
    network: Network,
    theta: Tensor,
    *,
    horizon: int,
    gamma: float = 1.0,
    continues: bool = False,
) -> Tensor:
    """∇J(θ) ``[S, P]`` in float64; arguments as for ``expected_return``.

    With ``continues``, an episode that is cut off is worth ``value_without_limit``, of which no
    gradient is taken.
    """
    leaf = theta.detach().double().requires_grad_()
    after = None
    if continues:
        after = value_without_limit(mdp, network, leaf.detach(), gamma=gamma)
    total = expected_return(
        mdp, network, leaf, horizon=horizon, gamma=gamma, value_at_limit=after
    ).sum()
    (gradient,) = torch.autograd.grad(total, leaf)
    return gradient
