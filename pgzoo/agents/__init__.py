"""The zoo: one short file per algorithm, and the registry that names them.

The registry holds text only, so that ``pgzoo list`` needs neither torch nor the agents.
"""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgzoo.errors import UsageError

if TYPE_CHECKING:
    from pgzoo.agents.base import Agent


@dataclass(frozen=True)
class Entry:
    """Where an agent lives and how it is introduced."""

    module: str
    class_name: str
    summary: str
    formula: str
    source: str


AGENTS = {
    "reinforce": Entry(
        "pgzoo.agents.reinforce",
        "Reinforce",
        "Monte Carlo policy gradient",
        "Ψ = G_t",
        "Williams 1992",
    ),
    "reinforce-baseline": Entry(
        "pgzoo.agents.reinforce_baseline",
        "ReinforceBaseline",
        "REINFORCE with a batch mean, per-time-step mean, learned V(s) or optimal constant",
        "Ψ = G_t − b",
        "Williams 1992; Greensmith et al. 2004",
    ),
}


def agent_class(name: str) -> type[Agent]:
    """The agent of that name.

    Raises:
        UsageError: for an unknown name, with near ones.
    """
    if name not in AGENTS:
        near = difflib.get_close_matches(name, AGENTS, n=2, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(f"Unknown agent {name!r}. {hint}Agents: {', '.join(AGENTS)}.")
    entry = AGENTS[name]
    return getattr(importlib.import_module(entry.module), entry.class_name)
