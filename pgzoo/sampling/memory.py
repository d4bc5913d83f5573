"""How much is sampled at once, so that memory is bounded.

Replicas, and where nothing but returns is asked for also rows, are taken some at a time: what one
gets does not depend on which others are beside it. How long episodes are is only known while they
run. So a batch has a greatest length, at which there is an error that can be mended in place of a
process that the system ends.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from pathlib import Path

from pgzoo.errors import UsageError

ROWS_AT_ONCE = 4096
"""Rows whose episodes are run together where there are more. Padded to the longest, 4,096 episodes
of 500 steps take 1.3 GB with what training computes of them; with fewer at once it is slower."""
BYTES = 4
SHARE = 2
"""A batch and what is computed of it may take one part in so many of the machine's memory; the rest
is for parameters, environments and other programs."""
UNKNOWN = 4 * 2**30
"""Memory of a machine that does not say."""
LEAST_NUMBERS = 16
CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Of a container, in either version."""


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
    try:
        known = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (AttributeError, ValueError, OSError):  # not every system has them
        known = [UNKNOWN]
    for path in CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # there is none, or it is "max"
            known.append(int(path.read_text()))
    return min(known)


def most_steps(rows: int, numbers: int) -> int:
    """Steps that episodes in so many rows may have, with so many numbers for each of them."""
    return max(1, of_machine() // SHARE // (rows * numbers * BYTES))


def exceeded(rows: int, steps: int, numbers: int) -> UsageError:
    """What to say of a batch that has had most steps, and not all of whose episodes are over."""
    size, machine = rows * steps * numbers * BYTES / 2**30, of_machine() / 2**30
    return UsageError(
        f"Expected episodes that end before a batch of {rows} takes half of the memory, got some "
        f"that go on after {steps:,} steps, which with what is computed of them take {size:.1f} of "
        f"{machine:.1f} GB. Give a smaller `max_episode_steps`, or fewer episodes to a batch."
    )
