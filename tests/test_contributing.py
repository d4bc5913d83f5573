"""The guide's example is an agent that works, and its test one that passes."""

import re
import sys
from pathlib import Path
from types import ModuleType

from pgzoo.agents import agent_class, registry

GUIDE = Path(__file__).parents[1] / "CONTRIBUTING.md"


def test_the_example_of_an_estimator(monkeypatch):
    agent, test = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.setattr(registry, "_REGISTER", dict(registry._REGISTER))
    module = ModuleType("pgzoo.agents.group_median")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(agent, vars(module))
    assert agent_class("group-median").for_env("CartPole-v1", group_size=4).plan.group_size == 4
    names = {}
    exec(test, names)
    names["test_psi_of_group_median_by_hand"]()
