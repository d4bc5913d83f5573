"""Sampling plans: what a batch is made of. Training and laboratory hand one to ``collect``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Literal

from pgzoo.errors import UsageError
from pgzoo.options import above_one, check_options, option


@dataclass(frozen=True, kw_only=True)
class Episodes:
    """N complete episodes from independent starts."""

    episodes: int = option(16, "complete episodes N of each seed in an iteration", minimum=1)

    title: ClassVar[str] = "episodes"
    group_size: ClassVar[int] = 1
    complete: ClassVar[bool] = True
    unit: ClassVar[str] = "trajectory"

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def num_rows(self) -> int:
        """Rows N of a batch, for each replica."""
        return self.episodes

    @property
    def least_steps(self) -> int:
        """Steps that a batch has at least, for each replica: an episode has one."""
        return self.episodes

    def of_episodes(self, episodes: int) -> Episodes:
        """The same manner of sampling, with another number of complete episodes."""
        return Episodes(episodes=episodes)


@dataclass(frozen=True, kw_only=True)
class Groups:
    """N complete episodes in groups of K, whose members are compared with each other.

    Attributes:
        least: smallest K that the method's formula allows.
    """

    episodes: int = option(16, "complete episodes N of each seed in an iteration", minimum=1)
    group_size: int = option(
        8, "members K of a group; divides `episodes`", minimum=1, estimate=True
    )
    starts: Literal["shared", "independent"] = option(
        "shared",
        "the members of a group start from one state (same environment seed), or each from its own",
        estimate=True,
        needs=above_one("group_size"),
    )

    least: int = 1

    title: ClassVar[str] = "groups of K episodes"
    complete: ClassVar[bool] = True
    unit: ClassVar[str] = "group"

    def __post_init__(self) -> None:
        check_options(self)
        if self.group_size < self.least:
            raise UsageError(
                f"Expected `group_size` of at least {self.least}, for a member is compared with "
                f"the others of its group; got {self.group_size}."
            )
        if self.episodes % self.group_size:
            raise UsageError(
                f"Expected `group_size` to divide `episodes={self.episodes}`, got "
                f"{self.group_size}. Try `episodes={self.group_size * 2}`."
            )

    @property
    def num_rows(self) -> int:
        """Rows N of a batch, for each replica."""
        return self.episodes

    @property
    def least_steps(self) -> int:
        """Steps that a batch has at least, for each replica: an episode has one."""
        return self.episodes

    def of_episodes(self, episodes: int) -> Groups:
        """The same manner of sampling, with another number of complete episodes."""
        return dataclasses.replace(self, episodes=episodes)


@dataclass(frozen=True, kw_only=True)
class Segments:
    """T steps of each of N environments that run on from one iteration to the next."""

    envs: int = option(8, "environments N of each seed", minimum=1)
    segment_steps: int = option(32, "steps T of each environment in an iteration", minimum=1)

    title: ClassVar[str] = "segments"
    group_size: ClassVar[int] = 1
    complete: ClassVar[bool] = False
    unit: ClassVar[str] = "segment"

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def num_rows(self) -> int:
        """Rows N of a batch, for each replica."""
        return self.envs

    @property
    def least_steps(self) -> int:
        """Steps that a batch has at least, for each replica: every second one may be a reset."""
        return self.envs * -(-self.segment_steps // 2)

    def of_episodes(self, episodes: int) -> Episodes:
        """Complete episodes in place of segments."""
        return Episodes(episodes=episodes)


Plan = Episodes | Groups | Segments
