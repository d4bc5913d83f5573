"""What the default diagnostics cost: training with and without them, in turn."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from pgzoo.cli import main as pgzoo_main
from pgzoo.learning.common import DEFAULT_DIAGNOSES

RUNS = {
    "reinforce-baseline": ("CartPole-v1", 60_000),
    "rloo": ("CartPole-v1", 60_000),
    "ppo": ("CartPole-v1", 40_000),
    "actor-critic": ("LunarLander-v3", 50_000),
}


def seconds(agent: str, env: str, steps: int, times: int) -> float:
    """Training time of ten seeds."""
    with TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        options = f"--env {env} --steps {steps} --seeds 100-109 --diagnostics {times} --quiet"
        pgzoo_main(["run", agent, *options.split(), "--out", str(out)], standalone_mode=False)
        return float(json.loads((out / "summary.json").read_text())["wall_seconds"])


@click.command()
@click.option("--repetitions", default=3, show_default=True)
def main(repetitions: int) -> None:
    """Print the overhead of every agent."""
    print(f"training time with --diagnostics {DEFAULT_DIAGNOSES} over --diagnostics 0, ten seeds")
    for agent, (env, steps) in RUNS.items():
        ratios = []
        for repetition in range(repetitions):
            order = (0, DEFAULT_DIAGNOSES) if repetition % 2 else (DEFAULT_DIAGNOSES, 0)
            found = {times: seconds(agent, env, steps, times) for times in order}
            ratios.append(found[DEFAULT_DIAGNOSES] / found[0] - 1)
        spread = ", ".join(f"{r:+.1%}" for r in sorted(ratios))
        print(f"{agent:20} {env:16} median {statistics.median(ratios):+.1%}   ({spread})")


if __name__ == "__main__":
    main()
