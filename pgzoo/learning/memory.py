"""Whether what is asked for fits into memory at all."""

from __future__ import annotations

import math

import psutil
import torch
from pgzoo_envs import EnvInfo

from pgzoo.agents.base import Agent
from pgzoo.errors import UsageError
from pgzoo.learning.update import Networks
from pgzoo.sampling.plan import Segments

BYTES_OF_PARAMETER = 9 * 4
"""Value and two moments of Adam, in float32: before an iteration, of its replicas, and after it."""
BYTES_BESIDE_OBSERVATIONS = 19
"""Of a transition: action, reward, log-probability, and three truth values."""


def check_memory(
    agent: Agent, networks: Networks, env: EnvInfo, replicas: int, device: str
) -> None:
    """Raise a ``UsageError`` if a run surely needs more memory than there is.

    What is counted is the least that any run needs: parameters, and a batch whose episodes all end
    at once. So whatever could be trained is not refused.

    Args:
        agent: the algorithm.
        networks: whose parameters each replica has.
        env: what it learns in.
        replicas: how many learn side by side.
        device: where the parameters are.
    """
    learned = [n.num_params for n in (networks.policy, networks.critic) if n is not None]
    parameters = BYTES_OF_PARAMETER * replicas * sum(learned)
    steps = agent.plan.segment_steps if isinstance(agent.plan, Segments) else 1
    size = 4 * math.prod(env.observation_space.shape or (2,))
    transitions = replicas * agent.plan.num_rows * steps
    batch = transitions * (2 * size + BYTES_BESIDE_OBSERVATIONS)
    needed, free = parameters + batch, free_memory(device)
    if needed <= free:
        return
    what, remedy = f"{parameters // BYTES_OF_PARAMETER:,} parameters", "Give smaller `hidden`"
    if batch > parameters:
        what, remedy = f"batches of at least {transitions:,} steps", "Give smaller batches"
    raise UsageError(
        f"Expected a run that fits into memory, but {what} would need at least "
        f"{in_gigabytes(needed)} GB, and {device} has {in_gigabytes(free)} GB free. {remedy}, or "
        "fewer `seeds`."
    )


def free_memory(device: str = "cpu") -> int:
    """Bytes that can be had on a device; of the CPU's memory, with what it may swap out."""
    if device != "cpu":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available + psutil.swap_memory().free)


def in_gigabytes(count: int) -> str:
    """Bytes, as a number of gigabytes."""
    return f"{count // 10**9:,}" if count >= 10**10 else f"{count / 1e9:.1f}"
