"""What gets installed is what is here: every module, every marker, every dependency."""

import ast
import configparser
import re
import sys
from pathlib import Path

import pytest
from setuptools import Distribution

ROOT = Path(__file__).parents[1]
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")
IMPORTED_AS = {"pillow": "PIL"}
PACKAGES = {"pgzoo": ROOT, "pgzoo_envs": ROOT / "envs"}


def on_disk(*patterns):
    """Files of both packages, as they are found once installed."""
    return {
        path.relative_to(root).as_posix()
        for package, root in PACKAGES.items()
        for pattern in patterns
        for path in (root / package).rglob(pattern)
    }


def in_wheel():
    """What setuptools would put into a wheel."""
    distribution = Distribution({"script_name": "setup.py"})
    distribution.parse_config_files()
    command = distribution.get_command_obj("build_py")
    command.ensure_finalized()
    outputs = map(Path, command.get_outputs(include_bytecode=False))
    return {path.relative_to(command.build_lib).as_posix() for path in outputs}


def test_a_wheel_holds_every_module_and_what_type_checkers_need(monkeypatch):
    monkeypatch.chdir(ROOT)
    found = in_wheel()
    assert {"pgzoo/py.typed", "pgzoo_envs/py.typed", "pgzoo/__init__.pyi"} <= found
    assert "pgzoo/compare/report.html" in found
    assert found == on_disk("*.py", "*.pyi", "*.html", "py.typed")


def test_what_is_imported_is_declared():
    extras = SETUP["options.extras_require"]
    dependencies = f"{SETUP['options']['install_requires']} {extras['ray']} {extras['mp4']}".split()
    declared = {re.split(r"[\[<>=~! ]", d)[0].replace("-", "_") for d in dependencies}
    imported = set()
    for package, root in PACKAGES.items():
        for path in (root / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    imported.add(node.module)
    third_party = {name.partition(".")[0] for name in imported} - sys.stdlib_module_names
    assert third_party - PACKAGES.keys() <= {IMPORTED_AS.get(d, d) for d in declared}


@pytest.mark.parametrize(
    ("document", "pattern"),
    [("CITATION.cff", r"^version: (.*)$"), ("CHANGELOG.md", r"^## \[(\d.*)\]$")],
)
def test_documents_name_the_version_that_is_packaged(document, pattern):
    text = (ROOT / document).read_text(encoding="utf-8")
    assert re.search(pattern, text, re.MULTILINE).group(1) == SETUP["metadata"]["version"]
