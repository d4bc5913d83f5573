"""What the terminal shows while a run trains, and when it is done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from pgzoo.cli.commands import NO_COMMAND, command
from pgzoo.records.intervals import decimals
from pgzoo.records.printable import printable
from pgzoo.records.terminal import Terminal
from pgzoo.records.words import in_words, over_seeds, plus_minus, verdicts

if TYPE_CHECKING:
    import pandas as pd

    from pgzoo.learning.run import Run

MOST_SEEDS_LISTED = 20


class LabDisplay:
    """What the laboratory is doing: a live line on a terminal, plain lines elsewhere."""

    def __init__(self, console: Terminal) -> None:
        self._said = ""
        self._progress: Progress | None = None
        if console.is_terminal:
            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TextColumn("{task.percentage:>3.0f}%"),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self._task = self._progress.add_task("", total=1.0)

    def __enter__(self) -> LabDisplay:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Take the live line away."""
        if self._progress is not None:
            self._progress.stop()

    def __call__(self, share: float, what: str) -> None:
        """Show how much of a stage is done."""
        if self._progress is not None:
            if what != self._said:
                self._progress.reset(self._task, description=what, total=1.0)
            self._progress.update(self._task, completed=share)
        elif what != self._said:
            print(printable(f"{what} …"), flush=True)
        self._said = what


def print_summary(console: Terminal, summary: dict[str, Any]) -> None:
    """The results of a finished run: a row per seed, and all together."""
    table = Table(
        title=f"{summary['agent']} on {summary['env']}: {summary['eval_episodes']} fresh "
        "episodes of every trained policy",
        title_justify="left",
    )
    for name in ("seed", "return", "solved", "steps to threshold", "steps"):
        table.add_column(name, justify="right")
    columns = ("seeds", "eval_mean", "eval_std", "solved", "steps_to_threshold")
    rows = zip(
        *(summary[c] for c in columns),
        summary["env_steps_per_seed"],
        summary["failed"],
        verdicts(summary),
        strict=True,
    )
    for seed, mean, std, solved, reached, steps, failed, sure in list(rows)[:MOST_SEEDS_LISTED]:
        result = Text(plus_minus(mean, std)) if failed is None else Text(failed, "red")
        verdict = Text("" if solved is None else "yes" if solved else "no")
        verdict.stylize("green" if solved else "")
        verdict.append("?" if sure == "too close" else "")
        table.add_row(str(seed), result, verdict, f"{reached:,}" if reached else "–", f"{steps:,}")
    console.print(table)
    _print_more(console, len(summary["seeds"]))
    caption = "return: mean ± standard deviation of its episodes"
    if (threshold := summary["threshold"]) is not None:
        caption += (
            "; steps to threshold: when 100\nepisodes of training averaged "
            f"{threshold:g} and fresh ones confirmed it; ?: too close to be sure"
        )
    console.print(caption, style="dim", highlight=False)
    words = "\n".join(in_words(summary))
    console.print(words, highlight=False, soft_wrap=True)


def _print_more(console: Terminal, seeds: int) -> None:
    """How many seeds a table has left out."""
    if seeds > MOST_SEEDS_LISTED:
        console.print(f"… and {seeds - MOST_SEEDS_LISTED} more seeds")


def print_evaluation(console: Terminal, run: Run, returns: pd.DataFrame, greedy: bool) -> None:
    """Fresh episodes of every policy of a run; those of failed seeds are named, not counted."""
    manner = "most probable actions" if greedy else "sampled actions"
    c = run.config
    title = f"{c.agent} on {c.env}: {len(returns)} fresh episodes of every policy, {manner}"
    table = Table(title=title, title_justify="left")
    for name in ("seed", "return", "least", "median", "greatest"):
        table.add_column(name, justify="right")
    failed = run.failed
    for seed, row in list(returns.items())[:MOST_SEEDS_LISTED]:
        if seed in failed:
            table.add_row(str(seed), Text(failed[seed], "red"), "–", "–", "–")
            continue
        digits = decimals(row.mean())
        numbers = (f"{x:.{digits}f}" for x in (row.min(), row.median(), row.max()))
        table.add_row(str(seed), plus_minus(row.mean(), row.std()), *numbers)
    console.print(table)
    _print_more(console, len(c.seeds))
    means = [row.mean() for seed, row in returns.items() if seed not in failed]
    text = over_seeds(means) if means else "No seed could be evaluated."
    if failed:
        text += f"\n{len(failed)} of {len(c.seeds)} seeds failed in training and are left out"
    console.print(text, highlight=False)


def print_next_commands(console: Terminal, path: Path, summary: dict[str, Any]) -> None:
    """What to try after a run."""
    from pgzoo_envs import renders

    other = "reinforce" if summary["agent"] != "reinforce" else "reinforce-baseline"
    suggested = [
        (command("pgzoo", "tensorboard", path.parent), "curves of all runs there"),
        (command("pgzoo", "watch", path), "a film: untrained beside trained"),
        (command("pgzoo", "eval", path, "--greedy"), "the same policies without sampling"),
        (command("pgzoo", "run", other, "--env", summary["env"]), "another agent to compare with"),
    ]
    if not renders(summary["env"]):
        del suggested[1]
    commands = [(text, purpose) for text, purpose in suggested if text is not None]
    width = max((len(text) for text, _ in commands), default=0)
    lines = [Text.assemble(f"  {text:{width}}  ", (f"# {why}", "dim")) for text, why in commands]
    last = [NO_COMMAND] if len(commands) < len(suggested) else []
    head = f"\nResults: {path}\nNext:"
    console.print(head, *lines, *last, sep="\n", highlight=False, soft_wrap=True)
