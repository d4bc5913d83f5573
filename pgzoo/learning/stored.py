"""Runs from their folders: what only agents and networks can say of a stranger's files.

``records.schema`` has said that they are of the right kinds; here they must make sense together.
Nothing is imported, run or opened because a run's folder names it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from pgzoo.agents import AGENTS
from pgzoo.agents.base import Agent
from pgzoo.agents.custom import Custom
from pgzoo.errors import UsageError
from pgzoo.learning.state import TrainState
from pgzoo.learning.update import Networks
from pgzoo.options import build, flat
from pgzoo.policies.networks import Network
from pgzoo.records.checkpoint import foreign
from pgzoo.records.config import RunConfig
from pgzoo.records.files import damaged
from pgzoo.records.run_folder import CHECKPOINT, CONFIG, RunFolder
from pgzoo.records.schema import expect, in_short


def stored_config(folder: RunFolder) -> RunConfig:
    """A run's configuration, held against its agent.

    Raises:
        UsageError: if the file does not hold one, or no agent can have such options.
    """
    config, path = folder.config(), folder.path / CONFIG
    stored_agent(config, path)
    return config


def stored_agent(config: RunConfig, path: Path) -> Agent:
    """An agent of a configuration's options; a user's own is without its function.

    Args:
        config: from a file.
        path: its name in errors.

    Raises:
        UsageError: if there is no such agent.
    """
    given = config.hyperparameters
    kind: type[Agent] = AGENTS[config.agent].agent if config.agent in AGENTS else Custom
    try:
        agent = build(kind, given)
        missing = flat(agent).keys() - given.keys()
        if missing:
            raise ValueError(f'the option "{min(missing)}" is missing')
        own = config.agent in AGENTS and config.estimator_sha256 is not None
        expect(not own, "estimator_sha256", f"null for {config.agent}", config.estimator_sha256)
    except (UsageError, ValueError) as error:
        raise damaged(path, in_short(error).rstrip(".")) from error
    return agent


def load_state(folder: RunFolder, networks: Networks, device: str) -> TrainState:
    """The last checkpoint, held against the run's agent and the networks that it must be of.

    Raises:
        UsageError: if there is none, or it is damaged.
    """
    checkpoint, config = _checkpoint(folder), folder.config()
    agent = stored_agent(config, folder.path / CONFIG)
    state = TrainState.from_checkpoint(*checkpoint, device)
    try:
        networks.check(state.learners)
        _check_state(state, config, agent)
    except ValueError as error:
        raise foreign(folder.path / CHECKPOINT, error) from error
    return state


def _checkpoint(folder: RunFolder) -> tuple[dict[str, Tensor], dict[str, Any]]:
    checkpoint = folder.load_checkpoint()
    if checkpoint is None:
        raise UsageError(f"{folder.path} has no checkpoint yet. Go on with its training first.")
    return checkpoint


def _check_state(state: TrainState, config: RunConfig, agent: Agent) -> None:
    """Raise a ``ValueError`` for what no training of this agent comes to."""
    learners = state.learners
    referred = agent.penalty is not None and agent.penalty.reference is not None
    for name, part, due in (
        ("critic", learners.critic, agent.critic is not None),
        ("reference", learners.reference, referred),
    ):
        expect((part is not None) == due, name, "there" if due else "absent", part is not None)
    for i, r in enumerate(state.replicas):
        stopped = config.stop_when_solved and r.steps_to_threshold is not None
        over = r.env_steps >= agent.steps or r.failed is not None or stopped
        expect(r.finished == over, f"replicas[{i}].finished", str(over).lower(), r.finished)
    if state.ongoing is not None:
        expect(not agent.plan.complete, "ongoing", "absent", "episodes under way")
        rows = state.ongoing.episode.shape[1]
        expect(rows == agent.plan.num_rows, "ongoing", f"{agent.plan.num_rows} rows", rows)


def policies(folder: RunFolder, network: Network | None = None, at: int | None = None) -> Tensor:
    """Parameters ``[S, P]`` of a run's policies, on the CPU.

    Args:
        folder: the run.
        network: that they must be of, if it is known.
        at: percent of the training after which they are taken, one of the run's snapshots; None:
            the last checkpoint.

    Raises:
        UsageError: if there are none, or they are damaged.
    """
    name = CHECKPOINT
    if at is None:
        theta = _checkpoint(folder)[0]["policy.values"]
    else:
        name, theta = f"the snapshot at {at} percent", folder.load_snapshot(at)
    if network is not None and theta.shape[1] != network.num_params:
        raise foreign(
            folder.path / name,
            f"its policies have {theta.shape[1]} parameters, the network {network.num_params}",
        )
    return theta
