"""How good a policy is: undiscounted returns of fresh episodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pgzoo.policies.networks import Network
from pgzoo.sampling.collect import Collector
from pgzoo.sampling.plan import Episodes
from pgzoo.sampling.seeding import Purpose, Streams

EPISODES = 100
GREEDY_SHARPNESS = 1e6


def evaluate(
    collector: Collector,
    network: Network,
    theta: Tensor,
    seeds: Sequence[int],
    *,
    episodes: int = EPISODES,
    greedy: bool = False,
    streams: Streams | None = None,
) -> NDArray[np.float64]:
    """Returns ``[S, episodes]`` of S policies, on starts that training never draws.

    Args:
        collector: of the environment.
        network: the policy's description.
        theta: parameters ``[S, P]``.
        seeds: the replicas' seeds, which fix starts and actions.
        episodes: fresh episodes for each replica.
        greedy: take the most probable action instead of sampling.
        streams: other random numbers than an evaluation's own.
    """
    policy = network.bind(theta)

    def sharp_policy(obs: Tensor) -> Tensor:
        return policy(obs) * GREEDY_SHARPNESS

    if streams is None:
        streams = Streams(
            seeds, 0, starts=Purpose.EVALUATION_STARTS, actions=Purpose.EVALUATION_ACTIONS
        )
    plan = Episodes(episodes=episodes)
    _, finished, _ = collector.collect(plan, sharp_policy if greedy else policy, streams)
    return np.array([f.returns for f in finished])
