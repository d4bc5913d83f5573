"""How good a policy is: undiscounted returns of fresh episodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pgzoo.policies.networks import Network
from pgzoo.sampling.collect import Collector, Policy
from pgzoo.sampling.memory import rows_at_once
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

    Memory is bounded: ``ROWS_AT_ONCE`` episodes are played together, and their returns kept.

    Args:
        collector: of the environment.
        network: the policy's description.
        theta: parameters ``[S, P]``.
        seeds: the replicas' seeds, which fix starts and actions.
        episodes: fresh episodes for each replica.
        greedy: take the most probable action instead of sampling.
        streams: other random numbers than an evaluation's own.
    """
    if streams is None:
        streams = Streams(
            seeds, 0, starts=Purpose.EVALUATION_STARTS, actions=Purpose.EVALUATION_ACTIONS
        )
    sharpness = GREEDY_SHARPNESS if greedy else 1.0
    returns = np.empty((len(seeds), episodes))
    for replicas, rows in rows_at_once(len(seeds), episodes):
        policy = _sharpened(network.bind(theta[replicas]), sharpness)
        some = dataclasses.replace(streams, seeds=streams.seeds[replicas])
        returns[replicas, rows] = collector.returns(episodes, policy, some, rows)
    return returns


def _sharpened(policy: Policy, sharpness: float) -> Policy:
    return policy if sharpness == 1 else lambda obs: policy(obs) * sharpness
