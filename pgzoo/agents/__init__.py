"""The zoo: one short file per algorithm.

Every module of this package is imported here, and an algorithm's file registers it: adding one is
adding a file. None of them needs torch to be read.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from pgzoo.agents.base import Agent, options_in_order, training_default
from pgzoo.agents.custom import custom_agent, is_file_and_function
from pgzoo.agents.registry import Entry, entry_of, zoo

__all__ = [
    "AGENTS",
    "Agent",
    "Entry",
    "agent_class",
    "entry_of",
    "options_in_order",
    "place_in_zoo",
    "training_default",
]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

AGENTS = zoo()
"""Name to entry, in the order of publication."""


def place_in_zoo(name: str) -> int:
    """An agent's number in the zoo; that of a user's own estimator comes after all."""
    return list(AGENTS).index(name) if name in AGENTS else len(AGENTS)


def agent_class(name: str | Callable[..., Any]) -> type[Agent]:
    """The agent of that name; a function, or ``FILE.py:FUNCTION``, makes one of a user's Ψ.

    Raises:
        UsageError: for an unknown name, or a function that cannot be had.
    """
    if callable(name) or is_file_and_function(name):
        return custom_agent(name)
    return entry_of(name).agent
