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
    "all-actions": Entry(
        "pgzoo.agents.all_actions",
        "AllActions",
        "expected policy gradient with a learned q̂ for every action",
        "Σ_a q̂(s,a) ∇π(a|s)",
        "Sutton & Barto 13.2–13.3; Asadi et al. 2017; Ciosek & Whiteson 2018",
    ),
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
    "actor-critic": Entry(
        "pgzoo.agents.actor_critic",
        "ActorCritic",
        "advantage actor-critic, bootstrapping from a learned V(s)",
        "Ψ = GAE(γ, λ)",
        "Sutton et al. 1999; Schulman et al. 2016",
    ),
    "rloo": Entry(
        "pgzoo.agents.rloo",
        "RLOO",
        "K rollouts from each start, each one's baseline the mean of the others",
        "Ψ = R − mean of the others",
        "Kool et al. 2019; Ahmadian et al. 2024",
    ),
    "grpo": Entry(
        "pgzoo.agents.grpo",
        "GRPO",
        "returns standardised within their group, clipped ratio, mean over each trajectory",
        "Ψ = (R − group mean) / group std",
        "Shao et al. 2024",
    ),
    "dr-grpo": Entry(
        "pgzoo.agents.dr_grpo",
        "DrGRPO",
        "GRPO without division by std and by length",
        "Ψ = R − group mean",
        "Liu et al. 2025",
    ),
    "reinforce++": Entry(
        "pgzoo.agents.reinforce_pp",
        "ReinforcePP",
        "one rollout per start, returns whitened over the batch, clipped ratio",
        "Ψ = whiten(G_t)",
        "Hu et al. 2025",
    ),
    "reinforce++-baseline": Entry(
        "pgzoo.agents.reinforce_pp_baseline",
        "ReinforcePPBaseline",
        "group mean subtracted, then whitened over the batch, clipped ratio",
        "Ψ = whiten(R − group mean)",
        "Hu et al. 2025",
    ),
    "ppo": Entry(
        "pgzoo.agents.ppo",
        "PPO",
        "several epochs of minibatches with the clipped ratio and a learned V(s)",
        "Ψ = standardised GAE(γ, λ)",
        "Schulman et al. 2017",
    ),
}


def entry_of(name: str) -> Entry:
    """How an agent is introduced; ``AGENTS`` has those of the zoo."""
    if ".py:" in name:
        return Entry(name, name, "an estimator of yours", f"Ψ = {name}", "your file")
    return AGENTS[name]


def agent_class(name: str) -> type[Agent]:
    """The agent of that name; ``FILE.py:FUNCTION`` makes one of a user's estimator.

    Raises:
        UsageError: for an unknown name, with near ones.
    """
    if ".py:" in name:
        from pgzoo.agents.custom import custom_agent

        return custom_agent(name)
    if name.endswith(".py"):
        raise UsageError(
            f"Expected FILE.py:FUNCTION, got {name!r}: which of its functions is the estimator?"
        )
    if name not in AGENTS:
        near = difflib.get_close_matches(name, AGENTS, n=2, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(
            f"Unknown agent {name!r}. {hint}Agents: {', '.join(AGENTS)}; or "
            "FILE.py:FUNCTION for an estimator of yours."
        )
    entry = AGENTS[name]
    return getattr(importlib.import_module(entry.module), entry.class_name)
