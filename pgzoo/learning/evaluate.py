"""How good a policy is: undiscounted returns of fresh episodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pgzoo_envs
from numpy.typing import NDArray
from torch import Tensor

from pgzoo.policies.networks import Network
from pgzoo.sampling.collect import collect_episodes, finished_episodes
from pgzoo.sampling.seeding import Purpose, generators, start_seeds

EPISODES = 100
GREEDY_SHARPNESS = 1e6


def evaluate(
    network: Network,
    theta: Tensor,
    env_id: str,
    seeds: Sequence[int],
    *,
    episodes: int = EPISODES,
    greedy: bool = False,
    max_episode_steps: int | None = None,
    discretise: bool = False,
) -> NDArray[np.float64]:
    """Returns ``[S, episodes]`` of S policies, on starts that training never draws.

    Args:
        network: the policy's description.
        theta: parameters ``[S, P]``.
        env_id: environment.
        seeds: the replicas' seeds, which fix starts and actions.
        episodes: fresh episodes for each replica.
        greedy: take the most probable action instead of sampling.
        max_episode_steps: time limit in place of the registered one.
        discretise: whether the policy acts on discretised observations.
    """
    policy = network.bind(theta)

    def sharp_policy(obs: Tensor) -> Tensor:
        return policy(obs) * GREEDY_SHARPNESS

    envs = pgzoo_envs.make(
        env_id,
        len(seeds) * episodes,
        max_episode_steps=max_episode_steps,
        discretise=discretise,
    )
    try:
        trajectories = collect_episodes(
            envs,
            sharp_policy if greedy else policy,
            start_seeds(seeds, episodes, 0, purpose=Purpose.EVALUATION_STARTS),
            generators(seeds, Purpose.EVALUATION_ACTIONS),
            device=theta.device,
        )
    finally:
        envs.close()
    return np.array([finished.returns for finished in finished_episodes(trajectories)])
