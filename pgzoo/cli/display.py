"""What the terminal shows while a run trains, and when it is done."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from pgzoo.records.intervals import (
    MIN_RUNS,
    decimals,
    interquartile_mean_interval,
    share_interval,
)

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

    from pgzoo.learning.loop import Report
    from pgzoo.records.run_folder import RunConfig

LINES_PER_RUN = 10
MOST_SEEDS_LISTED = 20


class TrainingDisplay:
    """A live progress line on a terminal, plain lines elsewhere, nothing if ``quiet``."""

    def __init__(self, console: Console, quiet: bool) -> None:
        self._console, self._quiet = console, quiet
        self._lines = 0
        self._progress: Progress | None = None
        if console.is_terminal and not quiet:
            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("iteration {task.fields[iteration]}"),
                BarColumn(bar_width=24),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("return [bold]{task.fields[returns]}[/bold]"),
                TextColumn("{task.fields[speed]}"),
                TextColumn("{task.fields[left]}"),
                console=console,
            )
            self._task = self._progress.add_task(
                "training", total=1.0, iteration=0, returns="…", speed="", left=""
            )

    def __enter__(self) -> TrainingDisplay:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def __call__(self, report: Report) -> None:
        """Show an iteration."""
        for seed, reason in report.failed.items():
            self._console.print(f"seed {seed} stopped: {reason}; the others go on", style="red")
        fields: dict[str, Any] = {
            "iteration": report.iteration,
            "returns": spread(report.returns),
            "speed": f"{report.steps_per_second:,.0f} steps/s",
            "left": f"{duration(report.seconds_left)} left",
        }
        if self._progress is not None:
            self._progress.update(self._task, completed=report.share, **fields)
        elif not self._quiet and report.share >= self._lines / LINES_PER_RUN:
            self._lines = int(report.share * LINES_PER_RUN) + 1
            line = "iteration {iteration}, {percent:.0f}%: return {returns}, {speed}, {left}"
            print(line.format(percent=100 * report.share, **fields), flush=True)


class LabDisplay:
    """What the laboratory is doing: a live line on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self._said = ""
        self._progress: Progress | None = None
        if console.is_terminal:
            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
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
            print(f"{what} …", flush=True)
        self._said = what


def spread(returns: NDArray[np.float64]) -> str:
    """Mean ± standard deviation over seeds."""
    known = returns[~np.isnan(returns)]
    if not len(known):
        return "…"
    if len(known) == 1:
        return f"{known[0]:.{decimals(known[0])}f}"
    return f"{_plus_minus(known.mean(), known.std(ddof=1))} over {len(known)} seeds"


def _plus_minus(mean: float, spread: float) -> str:
    digits = decimals(mean)
    return f"{mean:.{digits}f} ± {spread:.{digits}f}"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if not np.isfinite(seconds):
        return "?"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def print_summary(console: Console, summary: dict[str, Any]) -> None:
    """The results of a finished run: a row per seed, and all together."""
    table = Table(
        title=f"{escape(summary['agent'])} on {summary['env']}: {summary['eval_episodes']} fresh "
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
        strict=True,
    )
    for seed, mean, std, solved, reached, steps, failed in list(rows)[:MOST_SEEDS_LISTED]:
        result = _plus_minus(mean, std) if failed is None else f"[red]{failed}[/red]"
        verdict = "" if solved is None else "[green]yes[/green]" if solved else "no"
        table.add_row(str(seed), result, verdict, f"{reached:,}" if reached else "–", f"{steps:,}")
    console.print(table)
    if len(summary["seeds"]) > MOST_SEEDS_LISTED:
        console.print(f"… and {len(summary['seeds']) - MOST_SEEDS_LISTED} more seeds")
    caption = "return: mean ± standard deviation of its episodes"
    if (threshold := summary["threshold"]) is not None:
        caption += (
            f"; steps to threshold: when 100 episodes\nof training first averaged {threshold:g}"
        )
    console.print(caption, style="dim", highlight=False)
    console.print(_verdict(summary), highlight=False)


def _verdict(summary: dict[str, Any]) -> str:
    means = [m for m in summary["eval_mean"] if m is not None]
    total = sum(summary["env_steps_per_seed"])
    time = (
        f"{total:,} steps in {duration(summary['wall_seconds'])} "
        f"({summary['steps_per_second']:,.0f} steps/s)"
    )
    if not means:
        return f"All seeds failed; {time}."
    text = _over_seeds(means)
    if summary["threshold"] is not None:
        solved = sum(bool(s) for s in summary["solved"])
        text += f"\nsolved (mean ≥ {summary['threshold']:g}): "
        share = share_interval(solved, len(summary["seeds"]))
        text += f"[bold]{solved} of {len(summary['seeds'])} seeds[/bold] "
        text += f"[{share.low:.2f}, {share.high:.2f}]"
    return f"{text}\n{time}"


def print_evaluation(
    console: Console, config: RunConfig, returns: dict[int, NDArray[np.float64]], greedy: bool
) -> None:
    """Fresh episodes of every policy of a run."""
    episodes = len(next(iter(returns.values())))
    manner = "most probable actions" if greedy else "sampled actions"
    title = f"{config.agent} on {config.env}: {episodes} fresh episodes of every policy, {manner}"
    table = Table(title=escape(title), title_justify="left")
    for name in ("seed", "return", "least", "median", "greatest"):
        table.add_column(name, justify="right")
    for seed, row in returns.items():
        digits = decimals(row.mean())
        numbers = (f"{x:.{digits}f}" for x in (row.min(), np.median(row), row.max()))
        table.add_row(str(seed), _plus_minus(row.mean(), row.std(ddof=1)), *numbers)
    console.print(table)
    console.print(_over_seeds([row.mean() for row in returns.values()]), highlight=False)


def _over_seeds(means: Sequence[float]) -> str:
    mean = float(np.mean(means))
    text = f"mean {mean:.{decimals(mean)}f}, "
    text += f"interquartile mean {interquartile_mean_interval(means)}"
    return text + (" (95% interval over seeds)" if len(means) >= MIN_RUNS else "")


def print_next_commands(console: Console, path: Path, summary: dict[str, Any]) -> None:
    """What to try after a run."""
    other = "reinforce" if summary["agent"] != "reinforce" else "reinforce-baseline"
    commands = (
        (f"tensorboard --logdir {shlex.quote(str(path.parent))}", "curves of all runs there"),
        (f"pgzoo eval {shlex.quote(str(path))} --greedy", "the same policies without sampling"),
        (f"pgzoo run {other} --env {summary['env']}", "another agent to compare with"),
    )
    width = max(len(command) for command, _ in commands)
    lines = [
        f"  {escape(f'{command:{width}}')}  [dim]# {purpose}[/dim]" for command, purpose in commands
    ]
    head = f"\nResults: {escape(str(path))}\nNext:"
    console.print(head, *lines, sep="\n", highlight=False, soft_wrap=True)
