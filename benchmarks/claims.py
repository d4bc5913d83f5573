"""Is it true? Six frozen policies, all estimators, and the verdict: ``make claims``.

Trains one policy on CartPole and one on LunarLander, measures every estimator at the start, half
way and at the end of training, and writes ``benchmarks/claims.md`` with its figures.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from pgzoo.lab.statistics import VERDICTS
from pgzoo.records.significance import SIGNIFICANT, holm

ROOT = Path(__file__).parent.parent
RUNS = ROOT / "runs" / "claims"
REPORT = ROOT / "benchmarks" / "claims.md"
PICTURES = ROOT / "benchmarks" / "claims"
MOMENTS = {"random": 0, "half-trained": 50, "trained": 100}
TRAINING = {
    "CartPole-v1": ("reinforce-baseline", []),
    "LunarLander-v3": ("actor-critic", ["--steps", "400000"]),
}
ESTIMATES = {"CartPole-v1": 400, "LunarLander-v3": 100}
REFERENCE_ESTIMATES = {"CartPole-v1": 1600, "LunarLander-v3": 200}
REINFORCE, WHOLE = "reinforce", "reinforce:whole_return=yes"
RLOO, GRPO, PLUS, PLUS_BASELINE = "rloo", "grpo", "reinforce++", "reinforce++-baseline"
QUOTE = (
    "REINFORCE has the highest variance, RLOO less, GRPO and REINFORCE++ less still while staying "
    "unbiased."
)
COLUMNS = {
    "relative_variance": "relative variance",
    "variance": "variance",
    "direction": "cos(mean, g*)",
    "cosine": "cos(single, g*)",
    "scale": "scale",
}
COMPARISONS = (
    ("RLOO less than REINFORCE (G_t)", RLOO, REINFORCE),
    ("RLOO less than REINFORCE (whole return)", RLOO, WHOLE),
    ("GRPO less than RLOO", GRPO, RLOO),
    ("REINFORCE++ less than RLOO", PLUS, RLOO),
    ("REINFORCE++-baseline less than RLOO", PLUS_BASELINE, RLOO),
)
Rows = dict[str, dict[str, Any]]


def pgzoo(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pgzoo", *arguments], check=True, cwd=ROOT)


def train(env: str) -> Path:
    """The policy that is frozen, seed 0."""
    agent, options = TRAINING[env]
    folder = RUNS / f"{agent}-{env}"
    if not (folder / "summary.json").exists():
        if (folder / "config.json").exists():
            pgzoo("run", agent, "--resume", str(folder))
        else:
            pgzoo("run", agent, "--env", env, "--seeds", "0", "--out", str(folder), *options)
    return folder


def is_complete(folder: Path, env: str) -> bool:
    """Whether all that is wanted was measured."""
    if not (folder / "lab.json").exists():
        return False
    found = json.loads((folder / "lab.json").read_text())
    if "comparisons" not in found:  # of an earlier version
        return False
    wanted = (False, ESTIMATES[env], REFERENCE_ESTIMATES[env])
    return (found["interrupted"], found["estimates"], found["reference_estimates"]) == wanted


def measure(env: str, run: Path, moment: str) -> dict[str, Any]:
    folder = RUNS / f"{env}-{moment}"
    if not is_complete(folder, env):
        shutil.rmtree(folder, ignore_errors=True)
        options = ("--at", MOMENTS[moment], "--estimates", ESTIMATES[env])
        reference = ("--reference-estimates", REFERENCE_ESTIMATES[env])
        numbers = [str(x) for x in (*options, *reference)]
        pgzoo("lab", "measure", "--run", str(run), *numbers, "--out", str(folder))
    PICTURES.mkdir(exist_ok=True)
    for suffix in ("png", "pdf"):
        (PICTURES / f"{env}-{moment}.{suffix}").write_bytes((folder / f"lab.{suffix}").read_bytes())
    result: dict[str, Any] = json.loads((folder / "lab.json").read_text())
    return result


def rows_of(result: dict[str, Any]) -> Rows:
    return {row["estimator"]: row for row in result["rows"]}


def value(row: dict[str, Any], name: str) -> float:
    return math.nan if row[name] is None else float(row[name])


def number(x: float) -> str:
    if math.isnan(x):
        return "unknown"
    return "∞" if math.isinf(x) else f"{x:.3g}"


def cell(row: dict[str, Any], name: str) -> str:
    point, low, high = (number(value(row, f"{name}{end}")) for end in ("", "_low", "_high"))
    return f"{point} [{low}, {high}]"


def ratio(result: dict[str, Any], a: str, b: str, quantity: str) -> list[float]:
    """Of a's figure to b's: point, low, high; and the p-value of a ratio of one."""
    pairs = result["comparisons"][quantity]
    found = pairs.get(a, {}).get(b) or pairs[b][a]
    point, low, high, p = (math.nan if x is None else float(x) for x in found)
    if b in pairs.get(a, {}):
        return [point, low, high, p]
    return [1 / x if x else math.inf for x in (point, high, low)] + [p]


def verdicts(result: dict[str, Any], quantity: str) -> list[str]:
    """Of every comparison: which way it is decided, if it is; Holm over all of them."""
    ratios = [ratio(result, a, b, quantity) for _, a, b in COMPARISONS]
    corrected = holm([p for *_, p in ratios])
    words = []
    for (point, low, high, _), p in zip(ratios, corrected, strict=True):
        word = "undecided"  # as is whatever is unknown
        if p < SIGNIFICANT:
            word = "true" if point < 1 else "**false**"
        words.append(f"{word} ({number(point)} [{number(low)}, {number(high)}])")
    return words


def unbiased(row: dict[str, Any]) -> str:
    """True, in direction only, false or undecided; and the laboratory's words for it."""
    words = dict(zip(VERDICTS, ("true", "in direction", "**false**", "undecided"), strict=True))
    return f"{words[row['verdict']]} ({row['in_words']})"


def estimator_table(rows: Rows) -> str:
    head = ("estimator", *COLUMNS.values(), "verdict", "steps")
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for name, row in rows.items():
        cells = [f"`{name}`", *(cell(row, c) for c in COLUMNS)]
        cells += [row["in_words"], f"{row['steps']:,.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def table_line(text: str, cells: Sequence[str]) -> str:
    """A statement, how often it was found true, false or neither, and each policy's verdict."""
    words = [cell.partition(" (")[0].strip("*") for cell in cells]
    counts = ", ".join(f"{words.count(w)} {w}" for w in dict.fromkeys(sorted(words, reverse=True)))
    return f"| {text} | {counts} | " + " | ".join(cells) + " |"


def verdict_table(results: dict[str, dict[str, Any]]) -> str:
    lines = ["| | in all | " + " | ".join(results) + " |", "|---|---|" + "---|" * len(results)]
    for quantity in ("variance", "relative_variance"):
        of_policies = [verdicts(result, quantity) for result in results.values()]
        for (text, _, _), cells in zip(COMPARISONS, zip(*of_policies, strict=True), strict=True):
            lines.append(table_line(f"{text}: {COLUMNS[quantity]}", cells))
    for name in (REINFORCE, RLOO, GRPO, PLUS, PLUS_BASELINE):
        cells = [unbiased(rows_of(result)[name]) for result in results.values()]
        lines.append(table_line(f"{name} is unbiased", cells))
    return "\n".join(lines) + "\n"


def write(results: dict[str, dict[str, Any]], sections: list[str]) -> None:
    text = f"""# A claim, measured

> {QUOTE}

Written by `make claims` from frozen policies at the start, half way and at the end of a training
run; objective: undiscounted return; 32 trajectories per estimate, groups of 8; 95% intervals. A
comparison is decided by a test of the difference between two estimators, block by block; beside it
is the ratio. The five comparisons of a policy are wrongly decided, any of them, in 5% of cases
(Holm). *Relative variance* is variance over the squared length of the mean gradient: a method that
divides by a standard deviation shrinks the gradient and its raw variance with it, and an optimiser
undoes that. *True* of "unbiased": no bias is found, and one of a quarter of the gradient would be;
*in direction*: unbiased but for its length.

## Verdict

{verdict_table(results)}
"""
    REPORT.write_text(text + "\n".join(sections))


@click.command()
def main() -> None:
    """Train, measure, write benchmarks/claims.md; what is there already is not repeated."""
    results: dict[str, dict[str, Any]] = {}
    sections = []
    for env in TRAINING:
        run = train(env)
        for moment in MOMENTS:
            result = measure(env, run, moment)
            results[f"{env}, {moment}"] = result
            explained = result["explained_variance"]["state"]
            took, stepping = (result["seconds"][k] for k in ("total", "environment"))
            sections.append(
                f"## {env}, {moment}\n\n{result['parameters']}; {ESTIMATES[env]} estimates of each "
                f"estimator. g* is the {result['reference']}; ‖g*‖ = "
                f"{result['gradient_norm']:.4g}. The frozen V(s) explains {explained:.0%} of the "
                f"returns' variance. Environment {stepping:.0f} s, everything else "
                f"{took - stepping:.0f} s.\n\n{estimator_table(rows_of(result))}\n"
                f"![{env}, {moment}](claims/{env}-{moment}.png)\n"
            )
            write(results, sections)


if __name__ == "__main__":
    main()
