"""What there is to see while contenders train: one table for all."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

from pgzoo.errors import UsageError
from pgzoo.learning.progress import LINES_PER_RUN, Forgiving, Manner, fitting
from pgzoo.learning.shards import ShardReport
from pgzoo.options import shown
from pgzoo.records.intervals import decimals
from pgzoo.records.printable import printable
from pgzoo.records.words import duration, plus_minus

if TYPE_CHECKING:
    from rich.table import Table


@dataclass
class Standing:
    """Where one contender stands.

    Attributes:
        label: of the contender.
        budget: environment steps of each seed.
        reports: of its shards, None before the first, with their seeds.
    """

    label: str
    budget: int
    reports: dict[int, tuple[tuple[int, ...], ShardReport | None]] = field(default_factory=dict)

    @property
    def num_seeds(self) -> int:
        """Seeds that are trained."""
        return sum(len(seeds) for seeds, _ in self.reports.values())

    @property
    def share(self) -> float:
        """Of the training that is done, in [0, 1]."""
        done = sum(len(seeds) * r.share for seeds, r in self.reports.values() if r is not None)
        return done / max(self.num_seeds, 1)

    @property
    def returns(self) -> list[float]:
        """Mean returns over the last episodes of the seeds that have any."""
        found = (x for _, r in self.reports.values() if r is not None for x in r.returns)
        return [x for x in found if x is not None and np.isfinite(x)]

    @property
    def steps_per_second(self) -> float:
        """Of the shards that are at work."""
        working = (r for _, r in self.reports.values() if r is not None and r.share < 1)
        return sum(r.steps_per_second for r in working)

    @property
    def steps_left(self) -> float:
        """Environment steps of all seeds."""
        return (1 - self.share) * self.num_seeds * self.budget

    @property
    def failed(self) -> dict[int, str]:
        """Seeds that were stopped, with the reason."""
        reports = (r for _, r in self.reports.values() if r is not None)
        return {seed: reason for r in reports for seed, reason in r.failed.items()}


class Standings:
    """Where all contenders stand.

    Args:
        contenders: their labels and budgets; one may be there twice.
    """

    def __init__(self, contenders: Iterable[tuple[str, int]]) -> None:
        self.of = {label: Standing(label, budget) for label, budget in contenders}
        self.threshold: float | None = None
        self._owner: dict[int, str] = {}

    def add(self, place: int, label: str, seeds: Sequence[int]) -> None:
        """A shard is to be trained."""
        self._owner[place] = label
        self.of[label].reports[place] = (tuple(seeds), None)

    def update(self, place: int, report: ShardReport) -> None:
        """A shard tells where it stands."""
        standing = self.of[self._owner[place]]
        standing.reports[place] = (standing.reports[place][0], report)

    @property
    def share(self) -> float:
        """Of all steps that are done."""
        everything = sum(s.num_seeds * s.budget for s in self.of.values())
        return 1 - sum(s.steps_left for s in self.of.values()) / max(everything, 1)

    @property
    def seconds_left(self) -> float:
        """Estimate for all together, by the speed of now."""
        left = sum(s.steps_left for s in self.of.values())
        rate = sum(s.steps_per_second for s in self.of.values())
        return 0.0 if not left else left / rate if rate else float("inf")


class Display(Protocol):
    """Shows standings for as long as it is entered."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """End."""

    def __call__(self, standings: Standings, /) -> None:
        """Show where all stand."""

    def say(self, line: str) -> None:
        """Show a line that stays."""


def display(manner: bool | Manner, threshold: float | None) -> Display:
    """A way to show progress; ``manner`` as for ``learning.progress.display``.

    Args:
        manner: rich for a live table, tqdm for a bar, lines for a line at every tenth of a
            contender's training, none; auto is what suits. True is auto, False none.
        threshold: the return from which on the environment counts as solved, if it has one.
    """
    if isinstance(manner, bool):
        manner = "auto" if manner else "none"
    if isinstance(manner, str) and manner == "auto":
        manner = fitting()
    made = {"rich": LiveTable, "tqdm": Bar, "lines": Lines, "none": Silent}
    if not isinstance(manner, str) or manner not in made:
        got = shown(manner)
        raise UsageError(f"Expected `progress` among auto, {', '.join(made)}; got {got}.")
    return ForgivingStandings(partial(made[manner], threshold))


class ForgivingStandings(Forgiving):
    """Another display until it cannot be shown any more."""

    def say(self, line: str) -> None:
        """Show a line that stays."""
        self._attempt(lambda shown: shown.say(line))


class Silent:
    """Shows nothing."""

    def __init__(self, threshold: float | None = None) -> None:
        self._threshold = threshold

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, standings: Standings) -> None:
        """Show nothing."""

    def say(self, line: str) -> None:
        """Say nothing."""

    def _cells(self, standing: Standing) -> list[str]:
        """Share, return, seeds at the threshold, speed and time left, in words."""
        returns = np.array(standing.returns)
        shown = "…"
        if len(returns) == 1:
            shown = f"{returns[0]:.{decimals(returns[0])}f}"
        elif len(returns):
            shown = plus_minus(returns.mean(), returns.std(ddof=1))
        solved = "–"
        if self._threshold is not None:
            solved = f"{int((returns >= self._threshold).sum())} of {standing.num_seeds}"
        speed = standing.steps_per_second
        left = standing.steps_left
        if not left:
            time_left = "done"
        elif not speed:
            time_left = "waits"
        else:
            time_left = duration(left / speed)
        return [
            f"{100 * standing.share:.0f}%",
            shown,
            solved,
            f"{speed:,.0f}" if speed else "–",
            time_left,
        ]


class Lines(Silent):
    """A line at every tenth of a contender's training."""

    def __init__(self, threshold: float | None) -> None:
        super().__init__(threshold)
        self._lines: dict[str, int] = {}
        self._failed: set[tuple[str, int]] = set()

    def __call__(self, standings: Standings) -> None:
        """Print lines if it is time."""
        for label, standing in standings.of.items():
            for seed, reason in standing.failed.items():
                if (label, seed) not in self._failed:
                    self._failed.add((label, seed))
                    self.say(f"{label}: seed {seed} stopped: {reason}; the others go on")
            tenth = int(standing.share * LINES_PER_RUN + 1e-9)
            if tenth > self._lines.get(label, 0):
                self._lines[label] = tenth
                share, shown, solved, speed, left = self._cells(standing)
                solved = "" if self._threshold is None else f", {solved} at {self._threshold:g}"
                rest = "done" if left == "done" else f"{speed} steps/s, {left} left"
                self.say(f"{label}: {share}, return {shown}{solved}, {rest}")

    def say(self, line: str) -> None:
        """Print it."""
        print(printable(line), flush=True)


class LiveTable(Silent):
    """A live table on a terminal."""

    def __init__(self, threshold: float | None) -> None:
        from rich.live import Live

        from pgzoo.records.terminal import Terminal

        super().__init__(threshold)
        self._live = Live(console=Terminal(), refresh_per_second=4, transient=True)
        self._shown = 0.0

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, standings: Standings) -> None:
        """Draw the table anew."""
        now = time.monotonic()
        if now - self._shown > 0.1 or standings.share >= 1:
            self._shown = now
            self._live.update(self._table(standings))

    def _table(self, standings: Standings) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(
            title=f"{100 * standings.share:.0f}% of all steps, "
            f"{duration(standings.seconds_left)} left",
            title_justify="left",
        )
        at = "solved" if self._threshold is None else f"at {self._threshold:g}"
        table.add_column("contender")
        for name in ("done", "return so far", at, "steps/s", "left"):
            table.add_column(name, justify="right")
        for label, standing in standings.of.items():
            failed = f" {len(standing.failed)} failed" if standing.failed else ""
            table.add_row(Text.assemble(label, (failed, "red")), *self._cells(standing))
        return table

    def say(self, line: str) -> None:
        """Print it above the table."""
        self._live.console.print(line, highlight=False, soft_wrap=True)


class Bar(Silent):
    """A bar in a notebook."""

    def __init__(self, threshold: float | None) -> None:
        from tqdm.auto import tqdm

        super().__init__(threshold)
        self._bar = tqdm(total=100, unit="%", bar_format="{l_bar}{bar}| {postfix}")

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def __call__(self, standings: Standings) -> None:
        """Move the bar."""
        self._bar.n = round(100 * standings.share)
        at_work = [s.label for s in standings.of.values() if 0 < s.share < 1]
        left = duration(standings.seconds_left)
        self._bar.set_postfix_str(printable(f"{', '.join(at_work)}, {left} left"))

    def say(self, line: str) -> None:
        """Write it above the bar."""
        self._bar.write(printable(line))
