"""``report.html``: a comparison in one file, to be read, sent and printed."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined

from pgzoo.agents import AGENTS
from pgzoo.compare.figures import Illustration
from pgzoo.compare.figures.canvas import looks_of
from pgzoo.compare.outcome import Outcome
from pgzoo.errors import UsageError
from pgzoo.options import written
from pgzoo.records.files import read, write_text
from pgzoo.records.intervals import MIN_RUNS
from pgzoo.records.style import rendered

if TYPE_CHECKING:
    import pandas as pd

TEMPLATE = "report.html"
LEAD = "overview"
MOST_CHARACTERS = 34
FILMS = {".gif": "image/gif", ".mp4": "video/mp4"}
ALWAYS = (
    "It is about this environment, these options and these budgets of steps; it says nothing of "
    "others.",
    "The unit is the training run: intervals are over seeds, and hold for each figure and each "
    "point of a curve by itself.",
    "A pair that is undecided is not a pair of equals: more seeds could tell them apart.",
    "Wall time is that of the machine the runs were on, with whatever else it did meanwhile.",
)


def write_report(
    path: Path,
    *,
    question: str,
    outcomes: Sequence[Outcome],
    tables: Mapping[str, pd.DataFrame],
    verdicts: Sequence[str],
    figures: Sequence[Illustration],
    films: Mapping[str, Path],
    commands: Sequence[str],
    versions: Mapping[str, str],
    notes: Sequence[str],
    undecided: Sequence[str] = (),
) -> None:
    """Write the report.

    Everything is in the file: figures as SVG, films as they are. It runs no script and asks for
    nothing elsewhere, and whatever it is given is shown as text.

    Args:
        path: of the file.
        question: that the comparison answers, its title.
        outcomes: of every contender.
        tables: by title, each to be read, as by ``tables.contenders_in_words``.
        verdicts: a sentence each.
        figures: with captions, in the order in which they are shown; the overview comes before
            all else.
        films: GIF or MP4 files by what they show.
        commands: that repeat it, a line each.
        versions: of what it was computed with.
        notes: what was reused, dropped or left out.
        undecided: sentences on pairs that are not decided, if they are to stand apart.

    Raises:
        UsageError: for a film that is neither GIF nor MP4, or cannot be read.
        OSError: if the file cannot be written.
    """
    text = resources.files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["kind"] = _cell_class
    page = environment.from_string(text).render(
        question=question,
        contenders=_contenders(outcomes),
        tables=tables,
        verdicts=verdicts,
        undecided=undecided,
        lead=[_figure(f) for f in figures if f.name == LEAD],
        figures=[_figure(f) for f in figures if f.name != LEAD],
        films=[_film(title, file) for title, file in films.items()],
        commands=commands,
        versions=versions,
        notes=[*notes, *_failures(outcomes)],
        limits=[*limits(outcomes), *ALWAYS],
    )
    write_text(path, page)


def limits(outcomes: Sequence[Outcome]) -> list[str]:
    """What this comparison in particular cannot say."""
    found = []
    if few := [o.label for o in outcomes if len(o.seeds) < MIN_RUNS]:
        found.append(
            f"Fewer than {MIN_RUNS} seeds give no interval, since none would hold: "
            f"{', '.join(few)}."
        )
    if len({o.budget for o in outcomes}) > 1:
        budgets = ", ".join(f"{o.label} {o.budget:,}" for o in outcomes)
        found.append(
            f"Contenders were trained for different numbers of steps ({budgets}): their final "
            "returns are those of different budgets."
        )
    if len({o.seeds for o in outcomes}) > 1:
        counts = ", ".join(f"{o.label} {len(o.seeds)}" for o in outcomes)
        found.append(f"Contenders do not have the same seeds ({counts}).")
    if outcomes[0].threshold is None:
        found.append(
            f"{outcomes[0].config.env} has no return from which on it counts as solved, so nothing "
            "is said of steps to it."
        )
    return found


def _failures(outcomes: Sequence[Outcome]) -> list[str]:
    return [
        f"{o.label}: training of seed {seed} was stopped: {why}. It is worse than any return."
        for o in outcomes
        for seed, why in zip(o.seeds, o.failed, strict=True)
        if why is not None
    ]


def _contenders(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    looks = looks_of(outcomes)
    return [
        {
            "label": o.label,
            "colour": looks[o.label].colour,
            "summary": _summary(o.agent),
            "formula": AGENTS[o.agent].formula if o.agent in AGENTS else "a Ψ of the user's own",
            "options": ", ".join(f"{k} = {written(v)}" for k, v in o.options.items()),
            "seeds": ranges(o.seeds),
            "budget": f"{o.budget:,}",
        }
        for o in outcomes
    ]


def _summary(agent: str) -> str:
    return AGENTS[agent].summary if agent in AGENTS else agent


def ranges(seeds: Sequence[int]) -> str:
    """Increasing seeds as in 0–9, 12."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}–{r[-1]}" for r in runs)


def _cell_class(cell: Any) -> str:
    """How a table's cell may be broken into lines: a number and its interval, never."""
    text = str(cell)
    if text[:1].isdigit() or text[:1] in "-−<∞–":
        return "number"
    return "wide" if len(text) > MOST_CHARACTERS else ""


@dataclass(frozen=True)
class _Embedded:
    """An image or a film inside the page; its width in pixels."""

    title: str
    caption: str
    uri: str
    width: int
    moving: bool


def _figure(illustration: Illustration) -> _Embedded:
    uri = _uri("image/svg+xml", rendered(illustration.figure, "svg"))
    width = round(80 * illustration.figure.get_figwidth())
    return _Embedded(illustration.title, illustration.caption, uri, width, moving=False)


def _film(title: str, file: Path) -> _Embedded:
    kind = FILMS.get(file.suffix.lower())
    if kind is None:
        raise UsageError(
            f"Expected films to be {' or '.join(FILMS)} files, got {file}. Convert it, or leave it "
            "out."
        )
    return _Embedded(title, "", _uri(kind, read(file)), 600, moving=kind.startswith("video"))


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
