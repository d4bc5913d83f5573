"""The zoo is what the agents' own files register."""

import importlib.util
import inspect
import os
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import pgzoo
from pgzoo import agents
from pgzoo.agents import AGENTS, agent_class, registry
from pgzoo.agents.base import Agent
from pgzoo.errors import UsageError
from pgzoo.estimators import episode_return
from tests.helpers import make_model, make_trajectories

PACKAGE = Path(pgzoo.__file__).parent
OPO = '''
"""OPO (Hao et al. 2025): the optimal baseline where the score's size grows with the length."""

from __future__ import annotations

from dataclasses import dataclass

from pgzoo.agents.base import Agent, at_every_step
from pgzoo.agents.registry import register
from pgzoo.options import option
from pgzoo.sampling.plan import Groups


@register(
    "opo",
    summary="K rollouts from each start, their length-weighted mean the baseline",
    formula="Ψ = R − Σ ℓ R / Σ ℓ",
    year=2025,
    source="Hao et al. 2025",
)
@dataclass(frozen=True, kw_only=True)
class OPO(Agent):
    """REINFORCE with a length-weighted baseline."""

    plan: Groups = Groups(episodes=16, group_size=4, least=2)
    power: float = option(1.0, "of the length", minimum=0, estimate=True)

    in_zoo = ({}, {"power": 2.0})

    def psi(self, t, outputs):
        """R less the group's weighted mean at every step."""
        k = self.plan.group_size
        returns = self.episode_return(t, outputs).unflatten(-1, (-1, k))
        weight = t.mask.sum(-1).unflatten(-1, (-1, k)) ** self.power
        baseline = (weight * returns).sum(-1, keepdim=True) / weight.sum(-1, keepdim=True)
        return at_every_step((returns - baseline).flatten(-2), t)
'''


def output_of(code, folder=PACKAGE.parent):
    """What a fresh interpreter prints that imports from a folder first."""
    environment = {k: v for k, v in os.environ.items() if k != "EAGER_IMPORT"}
    paths = [str(folder), *filter(None, [environment.get("PYTHONPATH")])]
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env=environment | {"PYTHONPATH": os.pathsep.join(paths)},
    )
    return run.stdout.split("\n")


def test_all_agents_are_read_without_torch():
    """And what a user asks of them before anything is trained."""
    code = """
import sys
from pgzoo.agents import AGENTS, agent_class, options_in_order
for name in AGENTS:
    agent_class(name).for_env("CartPole-v1")
    options_in_order(agent_class(name))
print(*sorted(m for m in ("torch", "scipy", "gymnasium", "pandas") if m in sys.modules))
"""
    assert output_of(code)[0] == ""


def test_the_zoo_is_what_the_files_register_in_the_order_of_publication():
    modules = [
        importlib.import_module(f"pgzoo.agents.{m.name}")
        for m in pkgutil.iter_modules(agents.__path__)
    ]
    registered = {
        c
        for m in modules
        for _, c in inspect.getmembers(m, inspect.isclass)
        if issubclass(c, Agent) and "name" in vars(c)
    }
    assert {entry.agent for entry in AGENTS.values()} == registered
    assert len(AGENTS) == len(registered) >= 10
    assert list(AGENTS) == sorted(AGENTS, key=lambda name: (AGENTS[name].year, name))
    assert registry.zoo() == AGENTS
    files = {inspect.getfile(entry.agent) for entry in AGENTS.values()}
    assert len(files) == len(AGENTS), "one file each"


def test_an_agents_file_dropped_into_the_package_is_in_the_zoo(tmp_path):
    copy = tmp_path / "pgzoo"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "agents" / "opo.py").write_text(OPO)
    code = """
from pgzoo.agents import AGENTS, agent_class
print(*AGENTS)
print(AGENTS["opo"].agent.__module__)
print(agent_class("opo").with_options(power=0.5).plan.group_size)
"""
    names, module, group_size, *_ = output_of(code, tmp_path)
    assert names.split() == sorted(
        [*AGENTS, "opo"], key=lambda n: (AGENTS[n].year if n in AGENTS else 2025, n)
    )
    assert (module, group_size) == ("pgzoo.agents.opo", "4")


@pytest.fixture
def opo(tmp_path, monkeypatch):
    """OPO in the zoo of this process, for the length of a test."""
    monkeypatch.setattr(registry, "_REGISTER", dict(registry._REGISTER))
    path = tmp_path / "opo.py"
    path.write_text(OPO)
    spec = importlib.util.spec_from_file_location("opo_of_a_test", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return agent_class("opo")


def test_a_registered_agent_is_like_any_other(opo):
    assert opo.name == "opo"
    assert "opo" in registry.zoo()
    made = opo.with_options(episodes=4, group_size=2, power=2.0)
    t = make_trajectories([[3, 1, 5, 2], [2, 2, 4, 1]])
    psi = made.psi(t, make_model(made).on(t))
    returns, length = episode_return(t.reward, t.mask, 0.99), t.mask.sum(-1)
    by_hand = (9 * returns[0, 0] + 1 * returns[0, 1]) / 10
    torch.testing.assert_close(psi[0, 0, 2], returns[0, 0] - by_hand)
    weighted = (length.double() ** 2).unsqueeze(-1) * psi  # sums to nothing in every group
    assert weighted[..., 0].unflatten(-1, (2, 2)).sum(-1).abs().max() < 1e-12
    with pytest.raises(UsageError, match="Expected `power` of at least 0, got -1"):
        opo.with_options(power=-1.0)
    with pytest.raises(UsageError, match="`group_size` of at least 2"):
        opo.with_options(group_size=1)


def test_the_zoo_is_as_it_was():
    """After the tests above."""
    assert "opo" not in registry.zoo()
    with pytest.raises(UsageError, match="Unknown agent 'opo'"):
        agent_class("opo")
