"""The suite under every Python that is at hand, each in a virtual environment of its own.

``python tests/pythons.py [--only 3.12] [PYTEST ARGUMENTS]``; without arguments, the whole suite.
Exits with status 1 if a test failed under one of them.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13", "3.14")
ROOT = Path(__file__).parents[1]
PLACES = ROOT / ".venvs"
ASK = "import sys; print('%d.%d' % sys.version_info[:2])"
MARK = "installed"


def interpreter(version: str) -> Path | None:
    """A Python of this version: on the path, or among those of pyenv."""
    return next((path for path in _candidates(version) if _version_of(path) == version), None)


def _candidates(version: str) -> Iterator[Path]:
    for name in (f"python{version}", "python3"):
        if found := shutil.which(name):
            yield Path(found)
    yield Path(sys.executable)
    if pyenv := shutil.which("pyenv"):
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True).stdout.strip()
        versions = Path(root or ".") / "versions"
        yield from sorted(versions.glob(f"{version}.*/bin/python"), reverse=True)


def _version_of(python: Path) -> str | None:
    try:
        found = subprocess.run([python, "-c", ASK], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() if found.returncode == 0 else None


def environment(version: str, python: Path) -> Path:
    """The interpreter of an environment with pgzoo and its tests; made, or brought up to date."""
    place = PLACES / version
    inside = place / "bin" / "python"
    mark = place / MARK
    wanted = (ROOT / "constraints.txt").read_text() + (ROOT / "setup.cfg").read_text()
    if mark.exists() and mark.read_text() == wanted:
        return inside
    print(f"Installing pgzoo for Python {version} …", flush=True)
    if not inside.exists():
        subprocess.run([python, "-m", "venv", place], check=True)
    subprocess.run(
        [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "-c", ROOT / "constraints.txt", "-e", f"{ROOT}[test]"],
        check=True,
    )  # fmt: skip
    mark.write_text(wanted)
    return inside


def run_suite(python: Path, arguments: list[str]) -> tuple[bool, str]:
    """Run the tests; whether all passed, and pytest's last word."""
    environ = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "envs")))}
    command = [python, "-m", "pytest", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    last = ""
    for line in process.stdout:
        print(line, end="", flush=True)
        last = line.strip() or last
    return process.wait() == 0, re.sub(r"^=+ | =+$", "", last)


def main() -> None:
    """Run the suite under each version, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=VERSIONS)
    chosen, arguments = parser.parse_known_args()
    results = {}
    for version in chosen.only or VERSIONS:
        python = interpreter(version)
        if python is None:
            results[version] = (True, "not found")
            continue
        print(f"Python {version}", flush=True)
        inside = environment(version, python)
        results[version] = run_suite(inside, arguments or ["-n", "2", "--dist", "loadfile"])
    print()
    for version, (_, words) in results.items():
        print(f"Python {version}: {words}")
    sys.exit(0 if all(passed for passed, _ in results.values()) else 1)


if __name__ == "__main__":
    main()
