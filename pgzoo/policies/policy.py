"""One trained policy, to act with."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray
from pgzoo_envs import Discretiser
from torch import Tensor

from pgzoo.errors import UsageError
from pgzoo.policies.networks import Network
from pgzoo.sampling.collect import sample_actions


class Policy:
    """A policy of one seed, with random numbers of its own.

    Args:
        network: from observations to action preferences.
        theta: parameters ``[P]``.
        observation_space: of the environment.
        discretiser: turns its observations into the network's, if those are states.
        seed: of the sampled actions.
    """

    def __init__(
        self,
        network: Network,
        theta: Tensor,
        observation_space: spaces.Box | spaces.Discrete,
        discretiser: Discretiser | None = None,
        seed: int = 0,
    ) -> None:
        self.theta = theta
        self._forward = network.bind(theta.unsqueeze(0))
        self._space, self._discretiser = observation_space, discretiser
        self._generator = np.random.default_rng(seed)

    def act(
        self,
        obs: ArrayLike,
        *,
        greedy: bool = False,
        generator: np.random.Generator | None = None,
    ) -> int | NDArray[np.int64]:
        """An action for an observation, or ``[B]`` for a batch ``[B, *obs]``.

        Args:
            obs: as the environment gives it.
            greedy: the most probable action instead of a sampled one.
            generator: of random numbers in place of the policy's own.
        """
        logits, single = self._logits(obs)
        if greedy:
            action = logits.argmax(-1)
        else:
            numbers = (generator or self._generator).random(len(logits), np.float32)
            uniform = torch.from_numpy(numbers)
            action, _ = sample_actions(logits, uniform.to(logits.device))
        actions: NDArray[np.int64] = action.cpu().numpy()
        return int(actions[0]) if single else actions

    def probabilities(self, obs: ArrayLike) -> NDArray[np.float32]:
        """π(·|s): ``[A]`` for an observation, ``[B, A]`` for a batch ``[B, *obs]``."""
        logits, single = self._logits(obs)
        pi: NDArray[np.float32] = logits.softmax(-1).cpu().numpy()
        return pi[0] if single else pi

    @torch.no_grad()
    def _logits(self, obs: ArrayLike) -> tuple[Tensor, bool]:
        """Preferences ``[B, A]``, and whether there was one observation alone."""
        array, shape = np.asarray(obs), self._space.shape or ()
        single = array.shape == shape
        if not single and array.shape[1:] != shape:
            raise UsageError(
                f"Expected an observation of shape {list(shape)}, or a batch [B, …] of them; got "
                f"{list(array.shape)}."
            )
        batch = array[np.newaxis] if single else array
        if self._discretiser is not None:
            batch = self._discretiser(batch)
        return self._forward(torch.from_numpy(batch).to(self.theta.device).unsqueeze(0))[0], single

    def __repr__(self) -> str:
        return f"Policy({len(self.theta)} parameters, observations {self._space})"
