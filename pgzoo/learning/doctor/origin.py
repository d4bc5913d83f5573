"""What a run was begun with: its configuration, and what that needs of this machine."""

from __future__ import annotations

import hashlib
import os
import platform
from importlib.metadata import version
from pathlib import Path

import pgzoo_envs
import torch

from pgzoo.agents import AGENTS
from pgzoo.learning.doctor.findings import Chart
from pgzoo.learning.stored import stored_agent
from pgzoo.learning.trainer import Trainer, describe_env
from pgzoo.policies.networks import Network, make_policy
from pgzoo.records import files
from pgzoo.records.config import LIBRARIES, RunConfig
from pgzoo.records.run_folder import CONFIG


def examine_config(chart: Chart, config: RunConfig) -> None:
    """What the run is, what wrote it, and where its agent comes from."""
    seeds = f"{len(config.seeds)} seed{'s' * (len(config.seeds) > 1)}"
    chart.fine(CONFIG, f"{config.agent} on {config.env}, {config.policy_kind} policy, {seeds}")
    _examine_versions(chart)
    if config.device != "cpu" and not torch.cuda.is_available():
        chart.note("device", f"it was begun on {config.device}, and is computed on the CPU here")
    if config.agent not in AGENTS:
        _examine_estimator(chart, config)


def _examine_versions(chart: Chart) -> None:
    written = files.read_json(chart.folder.path / CONFIG)["versions"]
    here = {"python": platform.python_version(), "pgzoo": version("pgzoo")}
    here |= {name: version(name) for name in LIBRARIES}
    differing = [
        f"{name} {written.get(name, 'unknown')}, here {number}"
        for name, number in here.items()
        if written.get(name) != number
    ]
    if differing:
        chart.note(
            "versions",
            f"it was written by others than are installed ({'; '.join(differing)}): what is "
            "computed from here on may differ in the last digits",
            lacks=("version",) if written.get("pgzoo") != here["pgzoo"] else (),
        )


def examine_environment(chart: Chart, config: RunConfig) -> Network | None:
    """The policies' network, if the run's environment is what it was."""
    part, needed = "environment", ("environment", "picture")
    info = chart.attempt(part, needed, lambda: describe_env(config))
    if info is None:
        return None
    drawn = chart.attempt(part, ("picture",), lambda: pgzoo_envs.renders(config.env))
    if drawn is False:
        chart.note(part, f"{config.env} cannot be drawn", lacks=("picture",))
    elif drawn:
        chart.fine(part, f"{config.env} is installed")
    return chart.attempt(
        CONFIG,
        ("environment",),
        lambda: make_policy(config.policy_kind, info, config.hyperparameters["hidden"]),
    )


def _examine_estimator(chart: Chart, config: RunConfig) -> None:
    """A program of somebody's own; it is compared by its digest, and not run."""
    part, file = "estimator", config.agent.rpartition(":")[0]
    if config.estimator_sha256 is None:
        chart.note(part, "nobody can tell of which program it is", lacks=("source",))
    if not file.endswith(".py"):
        chart.note(
            part,
            f"{config.agent} is a function of its owner's, which has to be given to go on",
            unknown=("estimator",),
        )
        return
    warning = "It is a program of its owner's: read it before it is run"
    if not os.path.lexists(file):
        chart.note(part, f"{file} is not here, seen from this folder", lacks=("estimator",))
        return
    content = chart.attempt(part, ("estimator",), lambda: files.read(Path(file)))
    if content is None:
        return
    if hashlib.sha256(content).hexdigest() == config.estimator_sha256:
        chart.note(part, f"{file} is as it was when the run was begun. {warning}")
    else:
        chart.note(
            part,
            f"{file} has changed since the run was begun; the run goes on with the earlier one "
            f"alone. {warning}",
            lacks=("estimator",),
        )


def make_trainer(chart: Chart, config: RunConfig) -> Trainer | None:
    """What would go on with the run, if it can be made of the configuration."""

    def make() -> Trainer:
        return Trainer(config, stored_agent(config, chart.folder.path / CONFIG), "cpu")

    trainer = chart.attempt(CONFIG, ("trainer",), make)
    if trainer is not None:
        trainer.close()
    return trainer
