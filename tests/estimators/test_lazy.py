"""What is loaded when, seen from a fresh interpreter."""

import importlib
import inspect
import os
import pkgutil
import subprocess
import sys

import pytest

from pgzoo import estimators


def loaded_after(code):
    """Which of the package's modules, and whether torch, there are after running some code."""
    code += "\nimport sys\nprint(*(m for m in sys.modules if m.startswith(('pgzoo', 'torch'))))"
    environment = {k: v for k, v in os.environ.items() if k != "EAGER_IMPORT"}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    return set(run.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import pgzoo.estimators",
        "from pgzoo import estimators; estimators.Aggregation, estimators.KL_ESTIMATORS",
        "from pgzoo import estimators; dir(estimators)",
    ],
)
def test_names_need_no_torch(code):
    assert "torch" not in loaded_after(code)


def test_a_function_loads_its_own_module():
    loaded = loaded_after("from pgzoo import estimators; estimators.leave_one_out")
    assert {"torch", "pgzoo.estimators.groups"} <= loaded
    assert "pgzoo.estimators.surrogates" not in loaded


def test_every_name_resolves():
    for name in estimators.__all__:
        assert getattr(estimators, name) is not None


def test_every_public_function_of_the_modules_is_offered():
    modules = {m.name for m in pkgutil.iter_modules(estimators.__path__)} - {"checks", "sums"}
    found = [
        name
        for module in sorted(modules)
        for name, f in vars(importlib.import_module(f"pgzoo.estimators.{module}")).items()
        if inspect.isfunction(f) and f.__module__.endswith(f".{module}") and name[0] != "_"
    ]
    offered = [n for n in estimators.__all__ if inspect.isfunction(getattr(estimators, n))]
    assert sorted(found) == sorted(offered)


def test_no_other_name():
    with pytest.raises(AttributeError, match="leave_two_out"):
        estimators.leave_two_out  # noqa: B018
