"""How much memory there is, and how much is sampled at once, so that it suffices.

Replicas, and where nothing but returns is asked for also rows, are taken some at a time: what one
gets does not depend on which others are beside it. What surely does not fit is refused before
training begins (``check_run``). How long episodes are is only known while they run. So a batch has
a greatest length, at which there is an error that can be mended in place of a process that the
system ends (``check_batch``).
"""

from __future__ import annotations

import math
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil
import torch
from pgzoo_envs import EnvInfo

from pgzoo.errors import UsageError
from pgzoo.sampling.plan import Plan, Segments

ROWS_AT_ONCE = 4096
"""Rows whose episodes are run together where there are more. Learning from 4,096 episodes of 500
steps takes 1.4 GB with an mlp of 64,64; parts of fewer would be slower than the whole."""
BYTES = 4
BYTES_OF_RETURN = 3 * 8
"""Of an episode of which nothing else is kept: its return, that in a table, its start's seed."""
SHARE = 4
"""A batch may take one part in so many of the machine's memory, by ``numbers_per_step``. On
CartPole with an mlp of 64,64 learning takes 1.1 times as much as is counted, and a diagnosis of the
gradient 1.6 times, or 2.3 where estimators are compared."""
LEAST_NUMBERS = 16
CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Of a container, in either version."""
BYTES_OF_PARAMETER = 9 * BYTES
"""Value and two moments of Adam: before an iteration, of its replicas, and after it."""
BYTES_BESIDE_OBSERVATIONS = 19
"""Of a transition: action, reward, log-probability, and three truth values."""


def parts(count: int, most: int) -> list[slice]:
    """Consecutive parts of about equal size, at most ``most`` each, or three.

    Equal parts have the same environments one after the other; so there may be more than needed.
    A part of one is avoided, for a network with layers of odd width rounds differently for it.
    """
    least = -(-count // most)
    number = next((n for n in range(least, 2 * least) if count % n == 0), least)
    number = max(1, min(number, count // 2))
    return [slice(count * i // number, count * (i + 1) // number) for i in range(number)]


def replicas_at_once(replicas: int, rows: int) -> list[slice]:
    """Parts of the replicas whose complete batches of so many rows are sampled one by one."""
    return parts(replicas, max(1, ROWS_AT_ONCE // rows))


def rows_at_once(replicas: int, rows: int) -> list[tuple[slice, slice]]:
    """Parts of replicas, and of the rows of each, that are sampled one by one."""
    of_rows = parts(rows, ROWS_AT_ONCE // 2)
    longest = max(s.stop - s.start for s in of_rows)
    return [(r, s) for r in replicas_at_once(replicas, longest) for s in of_rows]


def numbers_per_step(width: int, num_actions: int) -> int:
    """Numbers in memory for one step of a batch, its gradient and its diagnosis included.

    Args:
        width: numbers that go through the networks for one observation.
        num_actions: A.
    """
    return width + LEAST_NUMBERS + 4 * num_actions


@cache
def of_machine() -> int:
    """Bytes of this machine's memory, or of the container's part of it."""
    known = [psutil.virtual_memory().total]
    for path in CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # there is none, or it is "max"
            known.append(int(path.read_text()))
    return int(min(known))


def free(device: str = "cpu") -> int:
    """Bytes that can be had on a device; of the CPU's memory, with what it may swap out."""
    if device != "cpu":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available + psutil.swap_memory().free)


def gigabytes(count: float) -> str:
    """Bytes as a number of gigabytes, in words."""
    return f"{count / 1e9:.1f}" if count < 1e10 else f"{count / 1e9:,.0f}"


def check_run(plan: Plan, env: EnvInfo, parameters: int, replicas: int, device: str) -> None:
    """Make sure that a run may fit into what is free.

    What is counted is the least that any run needs: parameters, and a batch whose episodes all end
    at once. So whatever could be trained is not refused.

    Args:
        plan: how it samples.
        env: what it learns in.
        parameters: that each replica learns.
        replicas: how many learn side by side.
        device: where the parameters are.

    Raises:
        UsageError: if it surely needs more.
    """
    steps = plan.segment_steps if isinstance(plan, Segments) else 1
    transitions = replicas * plan.num_rows * steps
    observation = BYTES * math.prod(env.observation_space.shape or (2,))
    batch = transitions * (2 * observation + BYTES_BESIDE_OBSERVATIONS)
    learned = BYTES_OF_PARAMETER * replicas * parameters
    needed, there = learned + batch, free(device)
    if needed <= there:
        return
    what, remedy = f"{replicas * parameters:,} parameters", "Give smaller `hidden`"
    if batch > learned:
        what, remedy = f"batches of at least {transitions:,} steps", "Give smaller batches"
    raise UsageError(
        f"Expected a run that fits into memory, but {what} would need at least "
        f"{gigabytes(needed)} GB, and {device} has {gigabytes(there)} GB free. {remedy}, or "
        "fewer `seeds`."
    )


def check_returns(replicas: int, episodes: int) -> None:
    """Make sure that there is room for the returns of so many episodes of each replica.

    Raises:
        UsageError: if they take more than their share of memory.
    """
    size, machine = replicas * episodes * BYTES_OF_RETURN, of_machine()
    if size * SHARE > machine:
        most = machine // (SHARE * BYTES_OF_RETURN * replicas)
        raise UsageError(
            f"Expected at most {most:,} `episodes` of {replicas:,} policies, got {episodes:,}: "
            f"their returns take {gigabytes(size)} of this machine's {gigabytes(machine)} GB."
        )


def check_batch(rows: int, steps: int, numbers: int) -> None:
    """Make sure that a batch of so many rows and steps may be gone on with.

    Args:
        rows: of all replicas together.
        steps: of the longest, so far.
        numbers: for each step, as ``numbers_per_step`` counts them.

    Raises:
        UsageError: if it takes more than its share of memory.
    """
    size, machine = rows * steps * numbers * BYTES, of_machine()
    if size * SHARE > machine and steps <= 1:
        raise UsageError(
            f"Expected a batch that fits into memory, got one of {rows:,} episodes. Learning from "
            f"a step of each takes {gigabytes(size)} of this machine's {gigabytes(machine)} GB. "
            "Give fewer episodes to a batch."
        )
    if size * SHARE > machine:
        raise UsageError(
            f"Expected episodes that end before a batch of {rows:,} outgrows memory, got some that "
            f"go on after {steps:,} steps. Learning from so many steps takes {gigabytes(size)} to "
            f"{gigabytes(2 * size)} of this machine's {gigabytes(machine)} GB. Give a smaller "
            "`max_episode_steps`, or fewer episodes to a batch."
        )
