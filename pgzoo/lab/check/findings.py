"""What is said of an estimator, by stable names.

Where the course's catalogue knows a mistake, it has the catalogue's name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pgzoo.lab.check.portrait import Portrait


@dataclass(frozen=True)
class Finding:
    """One thing about an estimator.

    Attributes:
        name: stable.
        text: a sentence.
        evidence: figures it rests on, by name.
        refuses: whether it makes the estimator wrong; a remark otherwise.
    """

    name: str
    text: str
    evidence: dict[str, float] = field(default_factory=dict)
    refuses: bool = True


def remarks(portrait: Portrait) -> Iterator[Finding]:
    """What costs variance and no more."""
    if portrait.rewards_count("own_past"):
        yield Finding(
            "looks-at-the-past",
            "looks at the past: Ψ_t contains rewards from before step t. Their mean contribution "
            "is zero, their variance is not.",
            refuses=False,
        )
    if portrait.group_size > 1 and portrait.rewards_count("elsewhere"):
        yield Finding(
            "other-groups-returns",
            "Ψ contains returns of other groups, which began elsewhere and say nothing of what "
            "this start allows.",
            refuses=False,
        )
