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
from pgzoo.cli import zoo_as_markdown
from pgzoo.records.intervals import (
    StepsToThreshold,
    interquartile_mean_interval,
    share_interval,
    steps_to_threshold,
)
from pgzoo.records.words import duration

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
RUNS = ROOT / "runs" / "results"
ENVIRONMENTS = ("CartPole-v1", "LunarLander-v3")
TABULAR = ("all-actions", "reinforce-baseline")
EARLIER = "†"
NOTE = (
    f"{EARLIER} Trained before crossings were confirmed by fresh episodes: the first look counts, "
    "which is early.\n\n"
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


def steps(summary: dict[str, Any], budget: int | None = None) -> StepsToThreshold:
    """To the threshold; a seed that failed would never have reached it."""
    trained = summary["env_steps_per_seed"]
    whole = [max(trained) if f else n for n, f in zip(trained, summary["failed"], strict=True)]
    return steps_to_threshold(summary["steps_to_threshold"], whole, budget)


def kind(summary: dict[str, Any]) -> str:
    """Of its policies."""
    return str(summary.get("policy_kind") or summary["policy"])


def table_row(summary: dict[str, Any], budget: int) -> str:
    """One line of the table; ``budget`` is that of all agents with such policies there."""
    means = [m for m in summary["eval_mean"] if m is not None]
    solved, seeds = sum(map(bool, summary["solved"])), len(summary["seeds"])
    share = share_interval(solved, seeds)
    own, common = steps(summary), steps(summary, budget)
    mark = "" if "policy_kind" in summary else EARLIER
    cells = (
        f"`{summary['agent']}`",
        kind(summary),
        f"{solved} of {seeds} [{share.low:.2f}, {share.high:.2f}]",
        str(interquartile_mean_interval(means)),
        "not reached" if np.isnan(own.median) else f"{own.median:,.0f}{mark}",
        f"{common.reached} of {common.runs} within {common.budget:,}{mark}",
        f"{np.mean(summary['env_steps_per_seed']):,.0f}",
        duration(summary["wall_seconds"]),
    )
    return "| " + " | ".join(cells) + " |\n"


def table() -> str:
    """The rows that have been run, environment by environment."""
    text = ""
    for env in ENVIRONMENTS:
        summaries = [
            json.loads(path.read_text())
            for agent, name, policy in experiments()
            if name == env and (path := RESULTS / f"{agent}-{name}-{policy}.json").exists()
        ]
        if not summaries:
            continue
        head = (
            "agent",
            "policy",
            "solved [95% interval of the share]",
            "return: interquartile mean [95% interval]",
            "steps to threshold, median",
            "reached within the common budget",
            "steps per seed",
            "time, ten seeds",
        )
        rows = "".join(
            table_row(s, min(steps(o).budget for o in summaries if kind(o) == kind(s)))
            for s in summaries
        )
        text += f"**{env}**\n\n| {' | '.join(head)} |\n{'|---' * len(head)}|\n{rows}\n"
        if EARLIER in rows:
            text += NOTE
    return text


def write_table() -> None:
    """Into benchmarks/results and between the README's markers, with the table of the zoo."""
    text = table()
    (RESULTS / "README.md").write_text(f"# Results\n\nWritten by `make results`.\n\n{text}")
    readme = ROOT / "README.md"
    content = readme.read_text()
    for name, part in {"results": f"\n{text}", "zoo": f"{zoo_as_markdown()}\n"}.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)"
        content = re.sub(pattern, lambda m, part=part: m[1] + part + m[2], content, flags=re.DOTALL)
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
