"""The results table: every agent with its documented defaults, ten seeds, run once.

Runs that are complete are not repeated; a run that was interrupted goes on. Each summary is kept in
``benchmarks/results/``, and the table is written there and into the project's README.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np

from pgzoo.agents import AGENTS
from pgzoo.cli.display import duration
from pgzoo.records.intervals import interquartile_mean_interval

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
RUNS = ROOT / "runs" / "results"
ENVIRONMENTS = ("CartPole-v1", "LunarLander-v3")
TABULAR = ("all-actions", "reinforce-baseline")
HEADER = (
    "| agent | policy | solved | return: interquartile mean [95% interval] | "
    "steps to threshold, median | steps per seed | time, ten seeds |\n"
    "|---|---|---|---|---|---|---|\n"
)


def experiments() -> list[tuple[str, str, str]]:
    """Agent, environment and policy of every row."""
    return [
        (agent, env, policy)
        for env in ENVIRONMENTS
        for policy in ("mlp", "tabular")
        for agent in AGENTS
        if policy == "mlp" or agent in TABULAR
    ]


def run(agent: str, env: str, policy: str) -> None:
    """Train, or go on training, and keep the summary."""
    name = f"{agent}-{env}-{policy}"
    folder = RUNS / name
    pgzoo = [sys.executable, "-m", "pgzoo", "run", agent]
    if (folder / "config.json").exists():
        command = [*pgzoo, "--resume", str(folder)]
    else:
        command = [*pgzoo, "--env", env, "--policy", policy, "--seeds", "0-9", "--out", str(folder)]
    subprocess.run(command, check=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_bytes((folder / "summary.json").read_bytes())


def table_row(summary: dict[str, Any]) -> str:
    """One line of the table."""
    means = [m for m in summary["eval_mean"] if m is not None]
    reached = [np.inf if s is None else s for s in summary["steps_to_threshold"]]
    median = np.median(reached)
    cells = (
        f"`{summary['agent']}`",
        summary["policy"],
        f"{sum(map(bool, summary['solved']))} of {len(summary['seeds'])}",
        str(interquartile_mean_interval(means)),
        f"{median:,.0f}" if np.isfinite(median) else "not reached",
        f"{np.mean(summary['env_steps_per_seed']):,.0f}",
        duration(summary["wall_seconds"]),
    )
    return "| " + " | ".join(cells) + " |\n"


def table() -> str:
    """The rows that have been run, environment by environment."""
    text = ""
    for env in ENVIRONMENTS:
        rows = ""
        for agent, name, policy in experiments():
            path = RESULTS / f"{agent}-{name}-{policy}.json"
            if name == env and path.exists():
                rows += table_row(json.loads(path.read_text()))
        if rows:
            text += f"**{env}**\n\n{HEADER}{rows}\n"
    return text


def write_table() -> None:
    """Into benchmarks/results and between the README's markers."""
    text = table()
    (RESULTS / "README.md").write_text(f"# Results\n\nWritten by `make results`.\n\n{text}")
    readme = ROOT / "README.md"
    pattern = r"(<!-- results -->\n).*?(<!-- end of results -->)"
    content = re.sub(
        pattern, lambda m: f"{m[1]}\n{text}{m[2]}", readme.read_text(), flags=re.DOTALL
    )
    readme.write_text(content)


@click.command()
@click.option("--only", default="", help="Run only those whose AGENT-ENV-POLICY matches this.")
@click.option("--table-only", is_flag=True, help="Run nothing, write the table anew.")
def main(only: str, table_only: bool) -> None:
    """Run what is missing, then write the table."""
    for agent, env, policy in experiments():
        if not table_only and re.search(only, f"{agent}-{env}-{policy}"):
            run(agent, env, policy)
            write_table()
    write_table()


if __name__ == "__main__":
    main()
