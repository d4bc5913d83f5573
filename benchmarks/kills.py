"""Kill a run at random moments with SIGKILL, resume it every time, and compare with one left alone.

Exits with status 1 if any file differs (times aside).
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from pgzoo.records.run_folder import RunFolder

PGZOO = [sys.executable, "-m", "pgzoo"]
TIMES = ("wall_seconds", "steps_per_second", "times_digest", "digest")


def final_state(folder: Path) -> tuple[Any, ...]:
    """Everything a run ends with, except times."""
    checkpoint = RunFolder.open(folder).load_checkpoint()
    assert checkpoint is not None
    tensors, state = checkpoint
    summary = json.loads((folder / "summary.json").read_text())
    return (
        (folder / "metrics.csv").read_bytes(),
        {name: tensor.numpy().tobytes() for name, tensor in tensors.items()},
        state,
        {k: v for k, v in summary.items() if k not in TIMES},
    )


@click.command()
@click.option("--kills", default=30, show_default=True)
@click.option("--agent", default="reinforce-baseline", show_default=True)
@click.option("--env", default="CartPole-v1", show_default=True)
@click.option("--options", default="", help="More options for the runs, as one string.")
@click.option("--seed", default=0, show_default=True, help="For the moments of the kills.")
def main(kills: int, agent: str, env: str, options: str, seed: int) -> None:
    """Prove that runs survive being killed."""
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, parts = Path(folder) / "whole", Path(folder) / "parts"
        start = [*PGZOO, "run", agent, "--env", env, "--quiet", *options.split(), "--out"]
        began = time.monotonic()
        subprocess.run([*start, str(whole)], check=True)
        length = time.monotonic() - began
        killed, finished = 0, 0
        while killed < kills:
            if finished or not parts.exists():
                parts = Path(folder) / f"parts-{killed}"
                command = [*start, str(parts)]
                finished = 0
            process = subprocess.Popen(command)
            try:
                process.wait(moments.uniform(0.2, 0.6) * length)
                finished = 1
                assert process.returncode == 0
                check(whole, parts, killed)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                killed += 1
                command = [*PGZOO, "run", agent, "--quiet", "--resume", str(parts)]
                if not (parts / "config.json").exists():  # killed before it began
                    command = [*start, str(parts)]
        if not finished:
            subprocess.run(command, check=True)
            check(whole, parts, killed)


def check(whole: Path, parts: Path, killed: int) -> None:
    """Compare two finished runs."""
    same = [a == b for a, b in zip(final_state(whole), final_state(parts), strict=True)]
    names = ("metrics.csv", "parameters", "state", "summary.json")
    verdict = ", ".join(
        f"{n} {'identical' if s else 'DIFFERENT'}" for n, s in zip(names, same, strict=True)
    )
    print(f"after {killed} kills: {verdict}", flush=True)
    if not all(same):
        sys.exit(1)


if __name__ == "__main__":
    main()
