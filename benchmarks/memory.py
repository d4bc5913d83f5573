"""Peak memory and time of what once took all there is, now and in an earlier version.

Each case is a command of its own process; its peak is what the system says of it at its end.

    python benchmarks/memory.py --before FOLDER     # a checkout of an earlier pgzoo
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click

HERE = Path(__file__).parent
TABLE = HERE / "memory.md"
MOST_SECONDS = 3_600
BEYOND = 2**31 - 1


@dataclass(frozen=True)
class Case:
    """A command line.

    Attributes:
        title: what it does.
        words: of the command; RUN stands for a folder of its own.
        before: what is to be run first and is not measured.
    """

    title: str
    words: str
    before: str | None = None


CASES = {
    "seeds": Case(
        "10,000 seeds of 1,000 steps, and their evaluation",
        "run reinforce --env CartPole-v1 --seeds 0-9999 --steps 1000 --out RUN",
    ),
    "evaluation": Case(
        "1,000 evaluation episodes of each of 100 seeds",
        "eval RUN --episodes 1000",
        before="run reinforce --env CartPole-v1 --seeds 0-99 --steps 20000 --out RUN --quiet",
    ),
    "laboratory": Case(
        "laboratory on MountainCar with a limit of 2,147,483,647 steps",
        f"lab measure --env MountainCar-v0 --max-episode-steps {BEYOND} --estimator reinforce "
        "--out RUN",
    ),
    "training": Case(
        "training on MountainCar with that limit",
        f"run reinforce --env MountainCar-v0 --max-episode-steps {BEYOND} --seeds 0-9 --out RUN",
    ),
}


def run(words: str, code: Path, out: Path) -> tuple[float, float, str]:
    """Seconds, peak in bytes, and how a command ended."""
    command = [sys.executable, "-m", "pgzoo", *words.replace("RUN", str(out / "run")).split()]
    path = os.pathsep.join([str(code), str(code / "envs")])
    started = time.monotonic()
    with (out / "said").open("w+") as said:
        process = subprocess.Popen(
            ["timeout", str(MOST_SECONDS), *command],
            env=os.environ | {"PYTHONPATH": path},
            cwd=out,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        _, status, usage = os.wait4(process.pid, 0)
        said.seek(0)
        lines = said.read().strip().splitlines()
    end = {0: "done", 2: lines[-1] if lines else "error"}.get(
        os.waitstatus_to_exitcode(status), f"status {os.waitstatus_to_exitcode(status)}"
    )
    return time.monotonic() - started, usage.ru_maxrss * 1024, end


def measured(case: Case, code: Path) -> tuple[float, float, str]:
    """The same of a case."""
    with TemporaryDirectory() as folder:
        out = Path(folder)
        if case.before is not None:
            run(case.before, code, out)
        return run(case.words, code, out)


@click.command()
@click.option("--before", type=click.Path(exists=True, path_type=Path), help="An earlier checkout.")
@click.option(
    "--case", "cases", multiple=True, type=click.Choice(list(CASES)), help="[default: all]"
)
def main(before: Path | None, cases: tuple[str, ...]) -> None:
    """Measure, and write the table."""
    versions = {"before": before, "now": HERE.parent}
    lines = ["| what | version | peak, GB | seconds | end |", "|---|---|---:|---:|---|"]
    for name in cases or CASES:
        for version, code in versions.items():
            if code is not None:
                seconds, peak, end = measured(CASES[name], code.resolve())
                title = CASES[name].title
                lines.append(f"| {title} | {version} | {peak / 1e9:.2f} | {seconds:.0f} | {end} |")
                print(lines[-1], flush=True)
    head = (
        "# Memory: `benchmarks/memory.py`\n\nPeak of the process and its time, on a shared machine."
    )
    TABLE.write_text("\n".join([head, "", *lines, ""]))


if __name__ == "__main__":
    main()
