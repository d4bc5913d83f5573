"""What gets installed is what is here: every module, every marker, every dependency."""

import ast
import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest
from setuptools import Distribution

ROOT = Path(__file__).parents[1]
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")
IMPORTED_AS = {"pillow": "PIL", "ipython": "IPython"}
PACKAGES = {"pgzoo": ROOT, "pgzoo_envs": ROOT / "envs"}
HANDED_OUT = ROOT / "notebooks" / "student"


def on_disk(*patterns):
    """Files of both packages, as they are found once installed."""
    return {
        path.relative_to(root).as_posix()
        for package, root in PACKAGES.items()
        for pattern in patterns
        for path in (root / package).rglob(pattern)
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A folder with what setuptools would put into a wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        distribution = Distribution({"script_name": "setup.py"})
        distribution.parse_config_files()
        command = distribution.get_command_obj("build_py")
        command.build_lib = str(folder)
        command.ensure_finalized()
        command.run()
    return folder


def test_a_wheel_holds_every_module_and_what_type_checkers_need(wheel):
    files = {p.relative_to(wheel).as_posix() for p in wheel.rglob("*") if p.is_file()}
    found = {file for file in files if not file.startswith("pgzoo/course/student/")}
    assert {"pgzoo/py.typed", "pgzoo_envs/py.typed", "pgzoo/__init__.pyi"} <= found
    assert "pgzoo/compare/report.html" in found
    assert found == on_disk("*.py", "*.pyi", "*.html", "py.typed")


def test_a_wheel_hands_out_the_student_notebooks(wheel, tmp_path):
    code = f"from pgzoo.course.handout import *; write_handout(Path({str(tmp_path / 'out')!r}))"
    subprocess.run([sys.executable, "-c", code], cwd=wheel, env={"PYTHONPATH": "."}, check=True)
    handed = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert handed == {path.name: path.read_bytes() for path in HANDED_OUT.iterdir()}


def test_what_is_imported_is_declared():
    extras = SETUP["options.extras_require"]
    wanted = [SETUP["options"]["install_requires"], *(extras[x] for x in ("ray", "mp4", "grade"))]
    dependencies = "\n".join(wanted).split()
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
