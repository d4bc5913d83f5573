"""What a comparison has found: figures, verdicts, and the files that hold them."""

from __future__ import annotations

import dataclasses
import json
import math
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgzoo.compare.judge import pairs_of, savings_of
from pgzoo.compare.outcome import Outcome
from pgzoo.compare.power import seeds_needed
from pgzoo.compare.question import FORMAT, RESULT, Question
from pgzoo.compare.training import RUNS, UNFINISHED
from pgzoo.compare.verdicts import return_in_words, steps_in_words, too_few_in_words
from pgzoo.errors import UsageError
from pgzoo.records import files
from pgzoo.records.config import LIBRARIES
from pgzoo.records.tensorboard import COMPARED

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from pgzoo.compare.efficiency import Saving
    from pgzoo.compare.figures import Illustration
    from pgzoo.compare.pairs import Pair
    from pgzoo.compare.sequential import Decisions

SHARE_THAT_MATTERS = 0.05
"""Of an environment's threshold: a difference in return that matters, if nobody says another."""
LEVEL = 0.05
SEQUENTIAL = (
    "Seeds were added until pairs were decided: what is decided is said in the verdicts. p-values "
    "and intervals are those of a fixed number of seeds, and are no test here."
)
FORMATS = ("png", "pdf", "svg")
TABLES, FIGURES, FILMS = "tables", "figures", "films"
FOLDERS = (RUNS, UNFINISHED, TABLES, FIGURES, FILMS, COMPARED)
"""Within a comparison's; none of them is a link."""
HOW_SOON = ("mean over", "reached", "steps", "seconds")
"""What columns of a second table begin with: one has no room for all."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Contenders on one environment, and what can be said of them.

    Attributes:
        outcomes: one for each contender.
        question: what was asked.
        notes: what a reader has to know of the runs: reused, skipped, of different budgets.
        decisions: of a comparison that went on until every pair was decided, else None.
        difference: in return, that would matter; None: a twentieth of the threshold.
        command: that repeats it.
        folder: of runs and files.
        films: whether the report shows what every contender does.
        temporary: keeps a temporary folder for as long as the comparison is used.
    """

    outcomes: Sequence[Outcome]
    question: Question
    notes: Sequence[str]
    decisions: Decisions | None
    difference: float | None
    command: str
    folder: Path
    films: bool = False
    temporary: tempfile.TemporaryDirectory[str] | None = dataclasses.field(
        default=None, repr=False, compare=False
    )

    @property
    def title(self) -> str:
        """Contenders and environment, in a line."""
        labels = ", ".join(o.label for o in self.outcomes[:4])
        more = f" and {len(self.outcomes) - 4} more" if len(self.outcomes) > 4 else ""
        return f"{labels}{more} on {self.question.env}"

    @property
    def threshold(self) -> float | None:
        """The return from which on the environment counts as solved, if it has one."""
        return self.outcomes[0].threshold

    @property
    def difference_that_matters(self) -> float | None:
        """In return; None if nobody says one and the environment has no threshold."""
        if self.difference is not None or not self.threshold:
            return self.difference
        exact = SHARE_THAT_MATTERS * abs(self.threshold)
        power = 10.0 ** math.floor(math.log10(exact))
        return math.floor(exact / power) * power

    @cached_property
    def every_pair(self) -> list[Pair]:
        """Final returns of all pairs of contenders."""
        return pairs_of(self.outcomes)

    @cached_property
    def savings(self) -> list[Saving]:
        """Steps to the threshold of all pairs of contenders; none without a threshold."""
        return savings_of(self.outcomes)

    @cached_property
    def table(self) -> pd.DataFrame:
        """A line for each contender, best first; see ``compare.tables``."""
        from pgzoo.compare.tables import contenders_table

        return contenders_table(self.outcomes).set_index("contender")

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """A line for each pair of contenders; see ``compare.tables``."""
        from pgzoo.compare.tables import pairs_table

        return pairs_table(self.every_pair, self.savings)

    @cached_property
    def verdicts(self) -> list[str]:
        """Sentences, a pair's final return and steps to the threshold each; never too strong.

        What is decided comes first.
        """
        return [*self._sentences[0], *self._sentences[1]]

    @cached_property
    def _sentences(self) -> tuple[list[str], list[str]]:
        """On what is decided, and on what is not."""
        comparisons = len(self.every_pair)
        if self.decisions is None:
            said = [(pair.better is not None, self._of_returns(pair)) for pair in self.every_pair]
        else:
            said = self._decided(self.decisions)
        if self.threshold is not None:
            said += [
                (s.faster is not None, steps_in_words(s, comparisons, self.threshold))
                for s in self.savings
            ]
        few = too_few_in_words([len(o.seeds) for o in self.outcomes], comparisons)
        decided = [few] if few is not None else []
        decided += [text for is_decided, text in said if is_decided]
        return decided, [text for is_decided, text in said if not is_decided]

    def _of_returns(self, pair: Pair) -> str:
        comparisons, difference = len(self.every_pair), self.difference_that_matters
        more = None
        if difference is not None and pair.better is None:
            by_label = {o.label: o.known_returns for o in self.outcomes}
            more = seeds_needed(
                by_label[pair.first], by_label[pair.second], difference, level=LEVEL / comparisons
            )
        return return_in_words(pair, comparisons, difference, more)

    def _decided(self, decisions: Decisions) -> list[tuple[bool, str]]:
        """Of a comparison whose seeds were added until every pair was decided."""
        seeds = {o.label: len(o.seeds) for o in self.outcomes}

        def used(pair: tuple[str, str]) -> str:
            return f"{seeds[pair[0]]} and {seeds[pair[1]]} seeds"

        lines = []
        for pair, better in decisions.better.items():
            worse = pair[0] if better == pair[1] else pair[1]
            text = (
                f"{better} ends with a higher return than {worse}: decided, by {used(pair)} at "
                f"most; the probability of any false decision is at most {LEVEL:.0%}"
            )
            lines.append((True, text))
        lines += [
            (False, f"undecided after {used(pair)}: {pair[0]} and {pair[1]}")
            for pair in decisions.undecided
        ]
        return lines

    @cached_property
    def remarks(self) -> list[str]:
        """What a reader has to know beside the numbers: the notes, and what is absent and why."""
        from pgzoo.compare.report import limits

        sequential = [SEQUENTIAL] if self.decisions is not None else []
        return [*self.notes, *sequential, *limits(self.outcomes)]

    def illustrations(self) -> list[Illustration]:
        """All figures, with titles and captions."""
        from pgzoo.compare.figures import draw_all

        return list(draw_all(self.outcomes, self.every_pair, self.title))

    def plot(self, kind: str = "overview") -> Figure:
        """A figure by its name, such as overview, learning_curves or final_returns.

        Raises:
            UsageError: for an unknown one, or one that there is nothing to show in.
        """
        found = {i.name: i.figure for i in self.illustrations()}
        if kind not in found:
            raise UsageError(f"Expected `kind` among {', '.join(found)}; got {kind!r}.")
        return found[kind]

    def report(self, folder: str | Path | None = None) -> Path:
        """Write ``report.html``, a file of its own without anything from elsewhere.

        Args:
            folder: where; None: the comparison's own.

        Returns:
            the file.

        Raises:
            UsageError: if it cannot be written.
        """
        from pgzoo.compare.report import TEMPLATE

        folder = self.folder if folder is None else Path(folder)
        check_folders(folder)
        with _explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._write_report(folder / TEMPLATE, self.illustrations())
        return folder / TEMPLATE

    def _write_report(self, path: Path, figures: Sequence[Illustration]) -> None:
        from pgzoo.compare.films import write_films
        from pgzoo.compare.report import write_report
        from pgzoo.compare.tables import contenders_in_words, pairs_in_words

        words = contenders_in_words(self.table.reset_index())
        soon = [c for c in words.columns if c.startswith(HOW_SOON)]
        films = {}
        if self.films:
            place = path.parent / FILMS
            place.mkdir(exist_ok=True)
            films = write_films(self.outcomes, place)
        write_report(
            path,
            question=self.title,
            outcomes=self.outcomes,
            tables={
                "Contenders: where they end": words.drop(columns=soon),
                "Contenders: how soon": words[["contender", *soon]],
                "Pairs": pairs_in_words(self.pairs),
            },
            verdicts=self._sentences[0],
            undecided=self._sentences[1],
            figures=figures,
            films=films,
            commands=[self.command],
            versions=versions(),
            notes=[*self.notes, *([SEQUENTIAL] if self.decisions is not None else [])],
        )

    def save(self, folder: str | Path) -> None:
        """Write ``compare.json``, ``tables/``, ``figures/``, ``report.html``, ``tensorboard/``.

        Raises:
            UsageError: if the folder cannot be written.
        """
        from pgzoo.compare.dashboard import write_comparison
        from pgzoo.compare.figures import save_all
        from pgzoo.compare.report import TEMPLATE
        from pgzoo.compare.tables import write_tables

        folder = Path(folder)
        check_folders(folder)
        with _explained(folder):
            for name in (TABLES, FIGURES):
                (folder / name).mkdir(parents=True, exist_ok=True)
            figures = self.illustrations()
            write_tables(folder / TABLES, self.outcomes, self.every_pair, self.savings)
            save_all(figures, folder / FIGURES, FORMATS)
            self._write_report(folder / TEMPLATE, figures)
            pictures = {i.title: (folder / FIGURES / f"{i.name}.png") for i in figures}
            write_comparison(
                folder,
                self.outcomes,
                verdicts=[*self.verdicts, *self.remarks],
                figures={title: path.read_bytes() for title, path in pictures.items()},
            )
            content = json.dumps(self.to_json(), indent=2, allow_nan=False, ensure_ascii=False)
            files.write_text(folder / RESULT, content)

    def to_json(self) -> dict[str, Any]:
        """As in ``compare.json``: question, verdicts, all figures' numbers, runs, versions."""
        return {
            "format": FORMAT,
            "question": self.question.to_json(),
            "command": self.command,
            "versions": versions(),
            "verdicts": self.verdicts,
            "remarks": self.remarks,
            "threshold": self.threshold,
            "contenders": [_contender(o) for o in self.outcomes],
            "table": _records(self.table.reset_index()),
            "pairs": _records(self.pairs),
        }

    def __repr__(self) -> str:
        counts = sorted({len(o.seeds) for o in self.outcomes})
        counted = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
        return f"Comparison({self.title!r}, {counted} seeds, {str(self.folder)!r})"

    def _repr_html_(self) -> str:
        from pgzoo.compare.tables import contenders_in_words

        table = contenders_in_words(self.table.reset_index()).to_html(index=False, na_rep="–")
        lists = "".join(
            f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"
            for lines in (self.verdicts, self.remarks)
            if lines
        )
        return f"<p><b>{escape(self.title)}</b></p>{table}{lists}"


def versions() -> dict[str, str]:
    """Of pgzoo and what it computes with."""
    return {name: version(name) for name in ("pgzoo", *LIBRARIES)}


def check_folders(folder: Path) -> None:
    """Make sure that a comparison's folders lead nowhere else.

    Raises:
        UsageError: if one of them is a link.
    """
    for name in FOLDERS:
        files.check_kind(folder / name, stat.S_IFDIR)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Say what a user can do about a folder that cannot be written."""
    try:
        yield
    except OSError as error:
        raise files.cannot_write(folder, error) from error


def _contender(outcome: Outcome) -> dict[str, Any]:
    """An outcome without its learning curves, which are in the runs' own files."""
    return {
        "label": outcome.label,
        "agent": outcome.agent,
        "options": {k: _plain(v) for k, v in outcome.options.items()},
        "hyperparameters": {k: _plain(v) for k, v in outcome.config.hyperparameters.items()},
        "policy_kind": outcome.config.policy_kind,
        "estimator_sha256": outcome.config.estimator_sha256,
        "budget": outcome.budget,
        "seeds": list(outcome.seeds),
        "returns": [_plain(x) for x in outcome.returns.tolist()],
        "standard_errors": [_plain(x) for x in outcome.standard_errors.tolist()],
        "failed": list(outcome.failed),
        "trained": outcome.trained.tolist(),
        "steps_to_threshold": list(outcome.steps_to_threshold),
        "seconds_to_threshold": [_plain(x) for x in outcome.seconds_to_threshold],
        "runs": [str(path) for path in outcome.runs],
    }


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{k: _plain(v) for k, v in line.items()} for line in table.to_dict("records")]


def _plain(value: Any) -> Any:
    """As JSON has it: what is unknown is null, infinity a word."""
    if isinstance(value, tuple):
        return list(value)
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value
