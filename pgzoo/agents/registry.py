"""The register of the zoo: every agent's own file enters it here."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from pgzoo.errors import UsageError

if TYPE_CHECKING:
    from pgzoo.agents.base import Agent

A = TypeVar("A", bound="type[Agent]")


@dataclass(frozen=True)
class Entry:
    """How an agent is introduced.

    Attributes:
        name: on the command line and in Python.
        agent: the class.
        summary: what it is, in a line.
        formula: its Ψ, or its gradient.
        year: of the first publication.
        source: papers.
    """

    name: str
    agent: type[Agent]
    summary: str
    formula: str
    year: int
    source: str


_REGISTER: dict[str, Entry] = {}


def register(name: str, *, summary: str, formula: str, year: int, source: str) -> Callable[[A], A]:
    """Enter an agent's class into the zoo; arguments as for ``Entry``."""

    def enter(agent: A) -> A:
        _REGISTER[name] = Entry(name, agent, summary, formula, year, source)
        agent.name = name
        return agent

    return enter


def zoo() -> dict[str, Entry]:
    """All agents by name, in the order of their publication."""
    return dict(sorted(_REGISTER.items(), key=lambda item: (item[1].year, item[0])))


def entry_of(name: str) -> Entry:
    """An agent of the zoo.

    Raises:
        UsageError: for an unknown name, with near ones.
    """
    if name in _REGISTER:
        return _REGISTER[name]
    near = difflib.get_close_matches(name, _REGISTER, n=2, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    raise UsageError(
        f"Unknown agent {name!r}. {hint}Agents: {', '.join(zoo())}; or FILE.py:FUNCTION for an "
        "estimator of yours."
    )
