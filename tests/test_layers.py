"""The house: which package may know of which, and what it costs to come in."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLAG = re.compile(r"(?<!-)--[a-z]")
LAYERS = (
    "cli",
    "course",
    "compare",
    "lab",
    "learning",
    "agents",
    "policies",
    "sampling",
    "estimators",
    "records",
    "options",
    "errors",
)
"""From top to bottom; imports point down."""


def imports(path):
    """Dotted names of what a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{name.name}" for name in node.names)


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_down(layer):
    place = ROOT / "pgzoo" / layer
    files = list(place.glob("**/*.py")) if place.is_dir() else [place.with_suffix(".py")]
    assert files
    allowed = LAYERS[LAYERS.index(layer) :]
    for file in files:
        for name in imports(file):
            if name.startswith("pgzoo."):
                package = name.split(".")[1]
                if package in LAYERS:
                    assert package in allowed, f"{file} imports {name}"


def test_nothing_is_flat_but_the_entrance():
    flat = {p.name for p in (ROOT / "pgzoo").glob("*.py")}
    assert flat == {"__init__.py", "__main__.py", "errors.py"}
    packages = {p.parent.name for p in (ROOT / "pgzoo").glob("*/__init__.py")}
    assert packages | {"errors"} == set(LAYERS)


def test_environments_know_nothing_of_pgzoo():
    for file in (ROOT / "envs").glob("**/*.py"):
        assert not [n for n in imports(file) if n.split(".")[0] == "pgzoo"], file
        assert not FLAG.search(file.read_text()), f"{file} names a flag"


def test_flags_are_the_command_line_s_affair():
    for file in (ROOT / "pgzoo").glob("**/*.py"):
        if file.parent.name != "cli":
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    assert not FLAG.search(node.value), (file, node.value)
                    assert "`pgzoo " not in node.value, (file, node.value)


def modules_after(code):
    code += "; import sys; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split("\n")[-2].split())


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import pgzoo", {"torch", "numpy", "gymnasium", "pandas"}),
        ("import pgzoo.agents", {"torch", "gymnasium", "numpy"}),
        ("import pgzoo.lab", {"tensorboard", "matplotlib", "pandas"}),
        ("import pgzoo; pgzoo.train", {"matplotlib", "pandas"}),
    ],
)
def test_what_is_heavy_is_loaded_when_it_is_used(code, absent):
    assert not absent & modules_after(code)
