"""What there is to see while a run trains: reports, and bars that show them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from pgzoo.errors import UsageError
from pgzoo.learning.state import TrainState
from pgzoo.options import shown
from pgzoo.records.printable import printable
from pgzoo.records.words import duration, spread

LINES_PER_RUN = 10
Manner = Literal["auto", "rich", "tqdm", "lines", "none"]


@dataclass(frozen=True)
class Report:
    """What may be shown after an iteration.

    Attributes:
        iteration: iterations done.
        share: of the whole step budget, in [0, 1].
        returns: each replica's mean return over its last episodes, NaN before the first.
        steps_per_second: environment steps of all replicas in this session, per second.
        seconds_left: estimate.
        failed: newly stopped replicas' seeds, with the reason.
    """

    iteration: int
    share: float
    returns: NDArray[np.float64]
    steps_per_second: float
    seconds_left: float
    failed: dict[int, str]


class Clock:
    """Time spent on a run over all its sessions, and what it says of the rest.

    Args:
        state: at the session's start.
        seconds: that earlier sessions took.
        budget: environment steps of each seed.
    """

    def __init__(self, state: TrainState, seconds: float, budget: int) -> None:
        self._started, self._before, self._budget = time.monotonic(), seconds, budget
        self._steps_before = state.steps

    def seconds(self) -> float:
        """Spent so far."""
        return self._before + time.monotonic() - self._started

    def report(self, before: TrainState, state: TrainState) -> Report:
        """Of the iteration between two states."""
        elapsed = max(time.monotonic() - self._started, 1e-9)
        left = sum(max(self._budget - r.env_steps, 0) for r in state.replicas if not r.finished)
        rate = (state.steps - self._steps_before) / elapsed
        means = [r.recent_mean for r in state.replicas]
        newly = zip(before.replicas, state.replicas, strict=True)
        return Report(
            iteration=state.iteration,
            share=state.share(self._budget),
            returns=np.array([np.nan if m is None else m for m in means]),
            steps_per_second=rate,
            seconds_left=left / rate if rate else float("inf"),
            failed={b.seed: b.failed for a, b in newly if b.failed and not a.failed},
        )


class Display(Protocol):
    """Shows reports for as long as it is entered."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """End."""

    def __call__(self, report: Report, /) -> None:
        """Show an iteration."""


def display(manner: bool | Manner = "auto") -> Display:
    """A way to show progress.

    Args:
        manner: rich or tqdm for a bar, lines for a line at every tenth of the run, none; auto is
            tqdm in a notebook, rich on a terminal, and lines elsewhere. True is auto, False none.
    """
    if isinstance(manner, bool):
        manner = "auto" if manner else "none"
    made: dict[Manner, Callable[[], Display]]
    made = {"rich": RichBar, "tqdm": TqdmBar, "lines": Lines, "none": Silent}
    if not isinstance(manner, str) or manner not in ("auto", *made):
        got = shown(manner)
        raise UsageError(f"Expected `progress` among auto, {', '.join(made)}; got {got}.")
    return Forgiving(made[fitting() if manner == "auto" else manner])


def fitting() -> Manner:
    """The manner that suits where the program runs."""
    shell = sys.modules.get("IPython")
    if shell is not None and "IPKernelApp" in (getattr(shell.get_ipython(), "config", None) or {}):
        return "tqdm"
    return "rich" if sys.stdout is not None and sys.stdout.isatty() else "lines"


class Forgiving:
    """Another display until it cannot be shown any more: its terminal is gone, say.

    Training does not end for that.

    Args:
        make: makes the display.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._shown: Any = None
        self._attempt(lambda _: setattr(self, "_shown", make()), always=True)

    def _attempt(self, show: Callable[[Any], Any], *, always: bool = False) -> None:
        if self._shown is not None or always:
            try:
                show(self._shown)
            # A closed file is a ValueError, as is what its encoding lacks; rich exits on a pipe.
            except (OSError, ValueError, SystemExit):
                self._shown = None

    def __enter__(self) -> Self:
        self._attempt(lambda shown: shown.__enter__())
        return self

    def __exit__(self, *exception: object) -> None:
        self._attempt(lambda shown: shown.__exit__(*exception))

    def __call__(self, report: Any, /) -> None:
        """Show a report."""
        self._attempt(lambda shown: shown(report))


class Silent:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, report: Report) -> None:
        """Show nothing."""


class Lines(Silent):
    """A line at every tenth of the run."""

    def __init__(self) -> None:
        self._lines = 0

    def __call__(self, report: Report) -> None:
        """Print a line if it is time."""
        for text in _failures(report):
            print(printable(text), flush=True)
        if report.share >= self._lines / LINES_PER_RUN:
            self._lines = int(report.share * LINES_PER_RUN) + 1
            line = "iteration {iteration}, {percent:.0f}%: return {returns}, {speed}, {left}"
            print(line.format(percent=100 * report.share, **_fields(report)), flush=True)


class RichBar:
    """A live line on a terminal."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        from pgzoo.records.terminal import Terminal

        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("iteration {task.fields[iteration]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("return [bold]{task.fields[returns]}[/bold]"),
            TextColumn("{task.fields[speed]}"),
            TextColumn("{task.fields[left]}"),
            console=Terminal(),
        )
        self._task = self._progress.add_task(
            "training", total=1.0, iteration=0, returns="…", speed="", left=""
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, report: Report) -> None:
        """Move the bar."""
        for text in _failures(report):
            self._progress.console.print(text, style="red")
        self._progress.update(self._task, completed=report.share, **_fields(report))


class TqdmBar:
    """A bar in a notebook."""

    def __init__(self) -> None:
        from tqdm.auto import tqdm

        self._bar = tqdm(total=100, unit="%", bar_format="{l_bar}{bar}| {postfix}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def __call__(self, report: Report) -> None:
        """Move the bar."""
        for text in _failures(report):
            self._bar.write(printable(text))
        self._bar.n = round(100 * report.share)
        self._bar.set_postfix_str("return {returns}, {speed}, {left}".format(**_fields(report)))


def _failures(report: Report) -> list[str]:
    return [f"seed {s} stopped: {reason}; the others go on" for s, reason in report.failed.items()]


def _fields(report: Report) -> dict[str, Any]:
    return {
        "iteration": report.iteration,
        "returns": spread(report.returns),
        "speed": f"{report.steps_per_second:,.0f} steps/s",
        "left": f"{duration(report.seconds_left)} left",
    }
